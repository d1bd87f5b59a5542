"""Following one cell from one object on, until it is not clear where it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import LINKS, conform, require
from kinocyte.tracking._edit_state import Cells, Links, Spot
from kinocyte.tracking.base import LabelSource


@dataclass(frozen=True, slots=True)
class Proposal:
    """A way through the objects that a person may accept.

    Attributes
    ----------
    links : polars.DataFrame
        `kinocyte.core.schema.LINKS`; ``cost`` is the distance in um from the place that was expected, or 1 - IoU.
    reason : str
        Why it ends where it ends.
    """

    links: pl.DataFrame
    reason: str

    @property
    def object_ids(self) -> list[int]:
        """Return the objects in order, the one it began with first; empty if there is no link."""
        return [] if self.links.is_empty() else [self.links["source_id"][0], *self.links["target_id"]]


def extend(
    objects: pl.DataFrame,
    links: pl.DataFrame,
    object_id: int,
    *,
    max_distance_um: float,
    labels: LabelSource | None = None,
    max_frame_gap: int = 1,
    clearly: float = 2.0,
    min_iou: float = 0.2,
    last_frame: int | None = None,
) -> Proposal:
    """Propose the links of one cell from one object on.

    In each next frame the cell is the object whose mask overlaps the last one's most (where there are masks and the
    overlap is clear), or the one nearest to where the cell would be at constant velocity. The way ends where no object
    is within reach, where a second object is nearly as good, and where the object belongs to another track.

    Parameters
    ----------
    objects, links : polars.DataFrame
        `kinocyte.core.schema.OBJECTS` and ``LINKS``.
    object_id : int
        Where to start.
    max_distance_um : float
        Farthest from the expected place.
    labels : callable, optional
        Label image of a frame.
    max_frame_gap : int
        Largest difference of frames of a link; 1 = no gap.
    clearly : float
        How many times farther (or less overlapping) the second best object must be.
    min_iou : float
        Smallest intersection over union of two masks that counts.
    last_frame : int, optional
        Where to stop.

    Returns
    -------
    Proposal
        Proposed links and the reason of the end.

    Raises
    ------
    ParameterError
        If there is no such object, or it is linked onwards already, or a parameter makes no sense.
    """
    require(objects, ("object_id", "frame", "x_um", "y_um"), table="objects")
    if max_distance_um <= 0 or max_frame_gap < 1 or clearly < 1:
        msg = "max_distance_um must be above 0, max_frame_gap and clearly at least 1."
        raise ParameterError(msg)
    cells, given = Cells(objects), Links(links)
    spot = cells.get(object_id)
    if spot is None:
        msg = f"There is no object {object_id} to start from."
        raise ParameterError(msg)
    if given.successors(object_id):
        msg = f"Object {object_id} is linked to object {given.successors(object_id)[0]} already; start at its last one."
        raise ParameterError(msg)
    end = int(objects["frame"].max()) if last_frame is None else last_frame  # type: ignore[arg-type]  # not empty here
    before = [s for s in map(cells.get, given.predecessors(object_id)) if s is not None]
    walk = _Walk(cells, given, labels, max_distance_um, clearly, min_iou, [*before[:1], spot])
    rows: list[tuple[int, int, float, int, float]] = []
    reason = ""
    while not reason:
        here = walk.path[-1]
        reason = (
            f"frame {end} is the last" if here.frame >= end else f"no object is within reach of object {here.object_id}"
        )
        for frame in range(here.frame + 1, min(here.frame + max_frame_gap, end) + 1):
            found = walk.step(frame)
            if isinstance(found, str):
                reason = found
            if found is not None:
                break
        else:
            continue
        if not isinstance(found, str) and found is not None:
            there, cost, confidence = found
            rows.append((here.object_id, there.object_id, cost, there.frame - here.frame, confidence))
            walk.path.append(there)
            reason = ""
    table = pl.DataFrame(rows, schema={n: c.dtype for n, c in LINKS.items()}, orient="row")
    return Proposal(conform(table, LINKS, table="links"), f"{reason[:1].upper()}{reason[1:]}.")


@dataclass
class _Walk:
    cells: Cells
    links: Links
    labels: LabelSource | None
    max_distance_um: float
    clearly: float
    min_iou: float
    path: list[Spot]

    def step(self, frame: int) -> tuple[Spot, float, float] | str | None:
        """Return the object the cell goes on with, its cost and confidence; why it is unclear; None if none is near."""
        spots = list(self.cells.in_frame(frame))
        best = self._by_overlap(frame, spots) or self._by_place(frame, spots)
        if best is None or isinstance(best, str):
            return best
        taken = self.links.predecessors(best[0].object_id)
        if taken:
            return f"object {best[0].object_id} in frame {frame} is linked to object {taken[0]}"
        return best

    def _by_overlap(self, frame: int, spots: list[Spot]) -> tuple[Spot, float, float] | None:
        here = self.path[-1]
        if self.labels is None or not here.label:
            return None
        own, there = self.labels(here.frame) == here.label, self.labels(frame)
        values, shared = np.unique(there[own], return_counts=True)
        found = []
        for value, n in zip(values.tolist(), shared.tolist(), strict=True):
            spot = next((s for s in spots if s.label == value), None) if value else None
            if spot is not None:
                found.append((n / (int(own.sum()) + int((there == value).sum()) - n), spot))
        found.sort(key=lambda f: (-f[0], f[1].object_id))
        if not found or found[0][0] < self.min_iou:
            return None
        second = found[1][0] if len(found) > 1 else 0.0
        if second * self.clearly > found[0][0]:
            return None
        return found[0][1], 1.0 - found[0][0], 1.0 - second / found[0][0]

    def _by_place(self, frame: int, spots: list[Spot]) -> tuple[Spot, float, float] | str | None:
        goal = self._expected_um(frame)
        near = sorted((float(np.linalg.norm(s.centre_um - goal)), s.object_id, s) for s in spots)
        if not near or near[0][0] > self.max_distance_um:
            return None
        first, second = near[0][0], near[1][0] if len(near) > 1 else np.inf
        if second <= self.max_distance_um and second <= self.clearly * first:
            return f"objects {near[0][1]} and {near[1][1]} in frame {frame} are both near"
        return near[0][2], first, 1.0 - (first / second if second > 0 else 1.0)

    def _expected_um(self, frame: int) -> NDArray[np.float64]:
        here = self.path[-1]
        if len(self.path) == 1:
            return here.centre_um
        last = self.path[-2]
        speed = (here.centre_um - last.centre_um) / (here.frame - last.frame)
        return np.asarray(here.centre_um + speed * (frame - here.frame), dtype=np.float64)
