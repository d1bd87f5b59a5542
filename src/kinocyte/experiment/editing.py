"""What a person calls to correct cells: every call checks, and adds one entry to the journal of the position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, StoreError, nearest
from kinocyte.core.schema import EVENT_CLASSES
from kinocyte.experiment.corrected import REPLAY
from kinocyte.experiment.editing_shapes import Disc, Outline, Shape, runs_of
from kinocyte.experiment.journal import Entry
from kinocyte.experiment.names import item_name
from kinocyte.experiment.references import References

if TYPE_CHECKING:
    from kinocyte.experiment.position import Position

__all__ = ["Disc", "Editor", "Outline", "list_corrections"]

Point = Sequence[float]
_LINKING = ("link", "link_chain", "divide", "swap", "merge_objects", "split_object")


class Editor:
    """Corrects the cells of one population of one position.

    Nothing is computed here: each method adds one entry to the journal and returns it. The corrections are applied by
    the next ``kinocyte run``. Objects are named by the ids that the person sees; the entry also notes frame and place,
    by which they are found again after another segmentation.

    Parameters
    ----------
    position : Position
        Where.
    population : str
        Whose cells.

    Raises
    ------
    StoreError
        If there is no such population.
    """

    def __init__(self, position: Position, population: str) -> None:
        if f"{population}_objects" not in position.tables:
            known = [t.removesuffix("_objects") for t in position.tables if t.endswith("_objects")]
            msg = f"Position {position.id} has no cells '{population}' to correct; {nearest(population, known)}."
            raise StoreError(msg)
        self._position, self._population = position, population
        self._cells = References(position, population)

    # ------------------------------------------------------------ objects
    def add(self, frame: int, shape: Shape) -> Entry:
        """Add an object; pixels of other objects stay theirs. Its id is ``ids_made(entry)[0]``.

        Parameters
        ----------
        frame : int
            Where in time.
        shape : Disc, Outline or array of bool
            A disc, an outline (both in um), or a mask of the size of the frame.
        """
        return self._append("add_object", frame=self._frame(frame), shape=self._shape(shape, frame))

    def remove(self, object_id: int) -> Entry:
        """Remove an object with its mask and its links."""
        return self._append("remove_object", object=self._cells.of(object_id))

    def move(self, object_id: int, x_um: float, y_um: float, z_um: float = 0.0) -> Entry:
        """Move an object with its mask, by whole pixels, so that its centre lies at a place."""
        place = dict(zip(("x_um", "y_um", "z_um"), _finite([x_um, y_um, z_um], "The place"), strict=True))
        return self._append("move_object", object=self._cells.of(object_id), **place)

    def merge(self, *object_ids: int) -> Entry:
        """Make objects of one frame one object, which keeps the id of the first and the links of all."""
        if len(object_ids) < 2:
            msg = "Name at least two objects to merge."
            raise ParameterError(msg)
        references = self._cells.of_several(object_ids)
        frames = {r["frame"] for r in references}
        if len(frames) > 1:
            msg = f"The objects lie in the frames {sorted(frames)}; only objects of one frame can be merged."
            raise ParameterError(msg)
        return self._append("merge_objects", objects=references)

    def split(self, object_id: int, *, line_um: Sequence[Point] | None = None, seeds_um: Sequence[Point] = ()) -> Entry:
        """Split an object along a line, or into the parts nearest to seeds.

        Parameters
        ----------
        object_id : int
            What to split. The larger part (of a line), or that of the first seed, keeps the id; the others have
            ``ids_made(entry)``. Each link goes to the part that is nearest to its other end.
        line_um : two points, optional
            ``[(x, y), (x, y)]``; the line is thought without end.
        seeds_um : points, optional
            Two or more ``(x, y)`` or ``(x, y, z)``.
        """
        if (line_um is None) == (len(seeds_um) == 0):
            msg = "Give either line_um or seeds_um."
            raise ParameterError(msg)
        points = [_finite(p, "A point") for p in (seeds_um if line_um is None else line_um)]
        if (
            len({tuple(p) for p in points}) != len(points)
            or len(points) < 2
            or (line_um is not None and len(points) != 2)
        ):
            msg = "A line needs two different points; seeds are two or more different points."
            raise ParameterError(msg)
        key = "seeds_um" if line_um is None else "line_um"
        return self._append("split_object", object=self._cells.of(object_id), **{key: points})

    def paint(self, object_id: int, mask: NDArray[np.bool_]) -> Entry:
        """Give pixels to an object, also those of other objects.

        Parameters
        ----------
        object_id : int
            Whose they become.
        mask : array of bool
            The pixels, of the size of a frame.
        """
        reference = self._cells.of(object_id)
        return self._append(
            "paint", object=reference, frame=reference["frame"], shape=self._shape(mask, reference["frame"])
        )

    def erase(self, frame: int, mask: NDArray[np.bool_]) -> Entry:
        """Take pixels from whatever objects they belong to; an object without pixels is gone."""
        return self._append("paint", object=None, frame=self._frame(frame), shape=self._shape(mask, frame))

    def renumber(self, object_id: int, label: int) -> Entry:
        """Give an object another value in the label image of its frame; the value must be free there.

        Nothing else changes: an object keeps its id, its links and its track.
        """
        reference = self._cells.of(object_id)
        if not reference["label"]:
            msg = f"Object {object_id} of position {self._position.id} has no mask that could be renumbered."
            raise ParameterError(msg)
        if not 1 <= label <= 0xFFFFFFFF:
            msg = f"A label is a whole number from 1 to 4294967295, not {label}."
            raise ParameterError(msg)
        return self._append("renumber", object=reference, label=int(label))

    def set_object_class(self, value: str, object_ids: Sequence[int], *, name: str = "object_class") -> Entry:
        """Give objects a class, as one correction: the column ``name`` of the objects holds it.

        Parameters
        ----------
        value : str
            The class, such as the name of a gate.
        object_ids : sequence of int
            Whose; an object that had another value of this name gets the new one.
        name : str
            Column; the objects must not have it already.
        """
        if not object_ids:
            msg = f"No object was named for the class '{value}'; choose some first."
            raise ParameterError(msg)
        self._check_class(value, name, self._cells.object_columns())
        return self._append("set_object_class", objects=self._cells.of_many(object_ids), name=name, value=value)

    # ------------------------------------------------------------ links
    def link(self, source_id: int, target_id: int) -> Entry:
        """Link two objects; other links from the first and to the second are taken away."""
        source, target = self._forward([source_id, target_id])
        return self._append("link", source=source, target=target)

    def link_chain(self, *object_ids: int) -> Entry:
        """Link objects one after the other, as one correction."""
        if len(object_ids) < 2:
            msg = "Name at least two objects to link."
            raise ParameterError(msg)
        return self._append("link_chain", objects=self._forward(object_ids))

    def unlink(self, source_id: int, target_id: int) -> Entry:
        """Take the link between two objects away."""
        source, target = self._forward([source_id, target_id])
        if not self._cells.linked(source_id, target_id) and not self._pending_links():
            msg = f"Objects {source_id} and {target_id} of position {self._position.id} are not linked."
            raise ParameterError(msg)
        return self._append("unlink", source=source, target=target)

    def swap(self, first_id: int, second_id: int) -> Entry:
        """Exchange two cells from the frame of these objects on, where the linker mistook one for the other."""
        first, second = self._cells.of_several([first_id, second_id])
        if first["frame"] != second["frame"]:
            frames = f"{first['frame']} and {second['frame']}"
            msg = f"The objects {first_id} and {second_id} are in the frames {frames}; swap two of one frame."
            raise ParameterError(msg)
        return self._append("swap", first=first, second=second)

    def divide(self, mother_id: int, *daughter_ids: int) -> Entry:
        """Say that a cell divides: its links lead to the daughters and nowhere else."""
        if len(daughter_ids) < 2:
            msg = "Name the object of the mother and those of at least two daughters."
            raise ParameterError(msg)
        mother, *daughters = self._cells.of_several([mother_id, *daughter_ids])
        for daughter in daughters:
            _check_forward(mother, daughter)
        return self._append("divide", mother=mother, daughters=daughters)

    # ------------------------------------------------------------ tracks
    def merge_tracks(self, first_id: int, second_id: int) -> Entry:
        """Make two tracks of one cell one track: the earlier one goes on as the later one.

        Parameters
        ----------
        first_id, second_id : int
            Ids of tracks in either order; one must end before the other begins.
        """
        first, second = (self._cells.ends_of(t) for t in (first_id, second_id))
        if first[0]["frame"] > second[0]["frame"]:
            first, second = second, first
        if first_id == second_id or first[1]["frame"] >= second[0]["frame"]:
            frames = f"{second[0]['frame']} to {min(first[1]['frame'], second[1]['frame'])}"
            msg = f"The tracks {first_id} and {second_id} are both there in the frames {frames}; cut one of them first."
            raise ParameterError(msg)
        return self._append("link", source=first[1], target=second[0])

    def set_event(
        self,
        event: str,
        event_class: str,
        time_min: float | None = None,
        *,
        track_id: int | None = None,
        object_id: int | None = None,
    ) -> Entry:
        """Say whether and when something happened to a track.

        Parameters
        ----------
        event : str
            Name of the event, found by the pipeline or new.
        event_class : {"event", "none", "censored_left", "excluded"}
            What happened.
        time_min : float, optional
            When; needed for the class ``event``.
        track_id, object_id : int
            The track, or an object that belongs to it.
        """
        if event_class not in EVENT_CLASSES:
            msg = f"'{event_class}' is no class of an event; {nearest(event_class, EVENT_CLASSES)}."
            raise ParameterError(msg)
        if (event_class == "event") != (time_min is not None):
            msg = "time_min is given for the class 'event' and for no other."
            raise ParameterError(msg)
        time = None if time_min is None else _finite([time_min], "time_min")[0]
        values = {"event": item_name(event, "event"), "class": event_class, "time_min": time}
        return self._append("set_event", track=self._cells.of_track(track_id, object_id), **values)

    def set_track_class(
        self, value: str, *, name: str = "track_class", track_id: int | None = None, object_id: int | None = None
    ) -> Entry:
        """Give a track a class: the column ``name`` of the tracks holds it."""
        self._check_class(value, name, self._cells.track_columns())
        return self._append("set_track_class", track=self._cells.of_track(track_id, object_id), name=name, value=value)

    def set_track_classes(self, value: str, track_ids: Sequence[int], *, name: str = "track_class") -> Entry:
        """Give many tracks one class, as one correction: what a gate or a selection does; see `set_track_class`."""
        if not track_ids:
            msg = f"No track was named for the class '{value}'; choose some first."
            raise ParameterError(msg)
        self._check_class(value, name, self._cells.track_columns())
        tracks = self._cells.of_tracks(dict.fromkeys(int(t) for t in track_ids))
        return self._append("set_track_classes", tracks=tracks, name=name, value=value)

    # ------------------------------------------------------------ history
    def undo(self) -> Entry | None:
        """Take back the newest correction of the position and return it, or None if there is none."""
        return self._position.journal.undo()

    def redo(self) -> Entry | None:
        """Restore what was last undone and return it, or None if there is nothing to restore."""
        return self._position.journal.redo()

    def ids_made(self, entry: Entry) -> list[int]:
        """Return the ids of the objects that an entry makes."""
        return list(self._cells.made_by(entry))

    # ------------------------------------------------------------ checks
    def _check_class(self, value: str, name: str, taken: set[str]) -> None:
        if item_name(name, "class") in taken:
            msg = f"There is a column '{name}' already; choose another name."
            raise ParameterError(msg)
        if not value.strip():
            msg = "A class needs at least one letter."
            raise ParameterError(msg)

    def _append(self, action: str, **payload: Any) -> Entry:
        payload["seen"] = self._cells.seen
        return self._position.journal.append(action, payload, self._population)

    def _frame(self, frame: int) -> int:
        n = self._position.n_frames
        if not 0 <= frame < n:
            msg = f"Position {self._position.id} has frames 0 to {n - 1}; there is no frame {frame}."
            raise ParameterError(msg)
        return int(frame)

    def _shape(self, shape: Shape, frame: int) -> dict[str, Any]:
        has_labels = self._position.has_labels(self._population)
        if isinstance(shape, Disc):
            return shape.document()
        if not has_labels:
            msg = f"Position {self._position.id} has no label image of '{self._population}'; add a Disc, for a point."
            raise ParameterError(msg)
        if isinstance(shape, Outline):
            return shape.document()
        return runs_of(shape, self._position.image_of(self._population).frame_shape, frame)

    def _forward(self, object_ids: Sequence[int]) -> list[dict[str, Any]]:
        references = self._cells.of_several(object_ids)
        for a, b in pairwise(references):
            _check_forward(a, b)
        return references

    def _pending_links(self) -> bool:
        """Tell whether a correction that was not applied yet may have made links."""
        journal, population = self._position.journal, self._population
        record = self._position.records.get(REPLAY, population)
        applied = record is not None and record.summary.get("journal") == journal.mark(population)
        return not applied and any(e.action in _LINKING for e in journal.active_of(population))


def _check_forward(a: dict[str, Any], b: dict[str, Any]) -> None:
    if b["frame"] <= a["frame"]:
        msg = (
            f"A link runs forward in time: object {a['object_id']} is in frame {a['frame']}, "
            f"object {b['object_id']} in frame {b['frame']}."
        )
        raise ParameterError(msg)


def _finite(values: Sequence[float], what: str) -> list[float]:
    numbers = [float(v) for v in values]
    if not np.isfinite(numbers).all() or len(numbers) > 3:
        msg = f"{what} is {list(values)}; give finite numbers in um (times in minutes)."
        raise ParameterError(msg)
    return numbers


_SCHEMA = {
    "number": pl.Int64,
    "population": pl.String,
    "action": pl.String,
    "author": pl.String,
    "time": pl.String,
    "status": pl.String,
    "message": pl.String,
}


def list_corrections(position: Position, population: str | None) -> pl.DataFrame:
    """Return the corrections of a position that hold, and what became of them; see `Position.corrections`."""
    rows: list[tuple[Any, ...]] = []
    outcomes: dict[str, dict[int, tuple[str, str]]] = {}
    for entry in position.journal.active():
        name = entry.population or ""
        if population is not None and name != population:
            continue
        if name not in outcomes:
            outcomes[name] = dict(_outcomes(position, name))
        status, message = outcomes[name].get(entry.number, ("noted" if entry.is_note else "pending", ""))
        rows.append((entry.number, name, entry.action, entry.author, entry.time, status, message))
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _outcomes(position: Position, population: str) -> Iterator[tuple[int, tuple[str, str]]]:
    table = f"{population}_corrections"
    if position.stands(table):
        for number, status, message in position.table(table).select("number", "status", "message").iter_rows():
            yield number, (status, message)
        return
    pairs = position.records.get("interaction", population)
    if pairs is not None and pairs.summary.get("journal") == position.journal.mark(population):
        for number, status, message in pairs.summary.get("corrections", ()):
            yield int(number), (str(status), str(message))
