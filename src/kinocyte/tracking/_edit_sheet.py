"""What corrections are applied to, and how the cell that a person meant is found again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kinocyte.core.scale import Scale
from kinocyte.tracking._edit_masks import Masks, Pixels
from kinocyte.tracking._edit_state import Cells, Links, Spot

#: Objects that a correction makes are numbered from here: 1,000 numbers a correction, so that they never change.
MADE_FROM = 1_000_000_000
MADE_EACH = 1000
#: Another object must be this much farther than the nearest for the nearest to be meant.
_CLEARLY_FARTHER = 2.0
_SAME_PLACE_UM = 1e-6
_LARGEST_LABEL = 0xFFFFFFFF

Reference = Mapping[str, Any]


class Conflict(Exception):  # noqa: N818 - not an error of the program: what a person asked cannot be done any more
    """A correction cannot be applied; holds the sentence that says why."""


@dataclass
class TrackEdit:
    """What a person says of a whole track, named by objects that belong to it."""

    number: int
    action: str
    anchors: list[int]
    values: Mapping[str, Any]
    n_tracks: int = 1
    """How many tracks the correction speaks of."""


@dataclass
class Sheet:
    """Objects, links and masks in the state after some corrections."""

    cells: Cells
    links: Links
    masks: Masks | None
    scale: Scale
    seen: str
    number: int = 0
    entry_seen: str = ""
    notes: list[str] = field(default_factory=list)
    track_edits: list[TrackEdit] = field(default_factory=list)
    object_classes: list[tuple[str, str, list[int]]] = field(default_factory=list)
    asked: set[int] = field(default_factory=set)
    """Objects that the correction names, as they are found."""
    _known: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    _taken: dict[tuple[str, int], int] = field(default_factory=dict)
    _made: int = 0

    def begin(self, number: int, seen: str) -> None:
        """Start with the next correction."""
        self.number, self.entry_seen, self._made = number, seen, 0
        self.notes = []
        self.asked = set()

    # ------------------------------------------------------------ finding
    def find(self, reference: Reference) -> Spot:
        """Return the object that a person meant.

        An object of the same segmentation is known by its id. After another segmentation it is the one whose mask
        lies at the noted place, or the nearest within the noted reach; it must be the only one in question.
        """
        object_id = int(reference["object_id"])
        segmented = self.masks is None or bool(reference.get("label"))  # mending numbers what it adds anew
        if (self.seen == self.entry_seen != "" and segmented) or object_id >= MADE_FROM:
            return self._standing(object_id, reference)
        key = (self.entry_seen, object_id)
        if key not in self._known:
            self._known[key] = self._recognise(reference)
        now, note = self._known[key]
        if note:
            self.notes.append(note)
        return self._standing(now, reference)

    def _standing(self, object_id: int, reference: Reference) -> Spot:
        spot = self.cells.get(object_id)
        if spot is not None:
            self.asked.add(object_id)
            return spot
        if object_id >= MADE_FROM:
            maker = (object_id - MADE_FROM) // MADE_EACH
            msg = f"object {object_id} of correction {maker} is not there (not applied, undone, or removed since)"
            raise Conflict(msg)
        msg = f"object {object_id} in frame {reference['frame']} is not there any more"
        raise Conflict(msg)

    def _recognise(self, reference: Reference) -> tuple[int, str]:
        """Return the id an object has now, and a note if it is another or lies elsewhere."""
        object_id, spot = int(reference["object_id"]), self._search(reference)
        other = self._taken.setdefault((self.entry_seen, spot.object_id), object_id)
        if other != object_id:
            msg = f"objects {other} and {object_id} are one object now, {spot.object_id} in frame {spot.frame}"
            raise Conflict(msg)
        moved_um = float(np.linalg.norm(spot.centre_um - _centre_um(reference)))
        same = spot.object_id == object_id and moved_um <= _SAME_PLACE_UM
        return spot.object_id, "" if same else f"object {object_id} is now {spot.object_id}, {moved_um:.2f} um away"

    def _search(self, reference: Reference) -> Spot:
        """Return the object of the tables as they were given that stands where the noted one stood."""
        frame, centre = int(reference["frame"]), _centre_um(reference)
        reach, object_id = float(reference["reach_um"]), reference["object_id"]
        where = f"at x {centre[0]:.1f} um, y {centre[1]:.1f} um in frame {frame}"
        near = self.cells.given_near(frame, centre, reach)
        if not near:
            msg = f"no object stands {where} within {reach:.1f} um, where object {object_id} stood"
            raise Conflict(msg)
        under = 0 if self.masks is None else self.masks.given_at(frame, centre)
        covering = [n for n in near if n[2].label == under != 0]
        if covering:
            return covering[0][2]
        if len(near) > 1 and near[1][0] < _CLEARLY_FARTHER * near[0][0]:
            msg = f"objects {near[0][1]} and {near[1][1]} both stand {where}, where object {object_id} stood"
            raise Conflict(msg)
        return near[0][2]

    def find_all(self, references: list[Reference], *, one_frame: bool = False) -> list[Spot]:
        """Return several objects, all different."""
        spots = [self.find(r) for r in references]
        for spot in spots:
            if sum(s.object_id == spot.object_id for s in spots) > 1:
                msg = f"two of the objects are one object now, {spot.object_id} in frame {spot.frame}"
                raise Conflict(msg)
        if one_frame and len({s.frame for s in spots}) > 1:
            msg = "the objects lie in different frames"
            raise Conflict(msg)
        return spots

    # ------------------------------------------------------------ changing
    def next_id(self) -> int:
        """Return the id of the next object that this correction makes."""
        object_id = MADE_FROM + self.number * MADE_EACH + self._made
        if self.cells.get(object_id) is not None or self._made >= MADE_EACH:
            msg = f"the object number {object_id} is taken; number the imported objects below {MADE_FROM}"
            raise Conflict(msg)
        self._made += 1
        return object_id

    def free_label(self, frame: int, n: int = 1) -> int:
        """Return the first of ``n`` labels that no object of a frame has; 0 where there are no masks."""
        if self.masks is None:
            return 0
        image = self.masks.frame(frame)
        used = self.cells.largest_label(frame)
        label = max(int(image.max()) if image.size else 0, used) + 1
        if label + n - 1 > _LARGEST_LABEL:
            msg = f"frame {frame} uses the largest label there is; renumber its labels"
            raise Conflict(msg)
        return label

    def remove(self, spot: Spot) -> None:
        """Take an object, its links and its mask away."""
        self.links.detach(spot.object_id)
        self.cells.remove(spot.object_id)
        if self.masks is not None and spot.label:
            self.masks.paint(spot.frame, self.masks.pixels_of(spot.frame, spot.label), 0)

    def paint(self, frame: int, pixels: Pixels, label: int) -> None:
        """Give pixels to a label and measure again where the objects concerned are; one without pixels is gone."""
        if self.masks is None:
            return
        labels = np.append(np.unique(self.masks.frame(frame).ravel()[pixels]), label)
        self.masks.paint(frame, pixels, label)
        for value in {int(v) for v in labels} - {0}:
            self.place(frame, value)

    def place(self, frame: int, label: int) -> None:
        """Move an object to the middle of its mask."""
        spot = self.cells.with_label(frame, label)
        if spot is None or self.masks is None:
            return
        pixels = self.masks.pixels_of(frame, label)
        if len(pixels):
            self.cells.put(Spot(spot.object_id, frame, label, *self.masks.centre_um(frame, pixels)))
        else:
            self.links.detach(spot.object_id)
            self.cells.remove(spot.object_id)


def _centre_um(reference: Reference) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([reference["x_um"], reference["y_um"], reference.get("z_um") or 0.0], dtype=np.float64)
