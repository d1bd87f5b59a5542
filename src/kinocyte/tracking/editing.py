"""Corrections of a person applied to objects, links and label images: the same again after every new segmentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from kinocyte.core.scale import Scale
from kinocyte.core.schema import EVENTS
from kinocyte.tracking._edit_actions import ACTIONS
from kinocyte.tracking._edit_masks import PIXELS, Masks
from kinocyte.tracking._edit_sheet import MADE_EACH, MADE_FROM, Conflict, Sheet, TrackEdit
from kinocyte.tracking._edit_state import Cells, Links
from kinocyte.tracking.base import LabelSource
from kinocyte.tracking.lineage import build_tracks

__all__ = ["MADE_EACH", "MADE_FROM", "Correction", "Replayed", "replay", "tracks_meant"]

_REPORT = {
    "number": pl.Int64,
    "action": pl.String,
    "author": pl.String,
    "time": pl.String,
    "status": pl.String,
    "message": pl.String,
}
_CLASSES = {"track_id": pl.Int64, "name": pl.String, "value": pl.String}
Saying = tuple[str, str]


class Correction(Protocol):
    """One entry of a journal."""

    @property
    def number(self) -> int:
        """Return the running number."""

    @property
    def action(self) -> str:
        """Return what was done, a key of ``ACTIONS``."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """Return to what it was done; ``seen`` is the segmentation the person saw."""

    @property
    def author(self) -> str:
        """Return who did it."""

    @property
    def time(self) -> str:
        """Return when."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What corrections make of the tables.

    Attributes
    ----------
    objects, links, tracks, members : polars.DataFrame
        The tables after all corrections, with the columns of `kinocyte.core.schema`; ``tracks`` and ``members`` are
        built from the corrected links. A link a person made has no cost and the confidence 1.
    events : polars.DataFrame
        `kinocyte.core.schema.EVENTS`: events that a person set, one row a track and event.
    track_classes : polars.DataFrame
        ``track_id name value``: classes that a person gave to tracks.
    pixels : polars.DataFrame
        ``frame start length label``: runs of pixels whose label changed, counted row by row from 0.
    report : polars.DataFrame
        ``number action author time status message``, one row a correction in order. ``status`` is ``applied``,
        ``adapted`` (applied, to what now stands in that place) or ``conflict`` (not applied).
    named : frozenset of int
        Objects that corrections which were applied name, other than as part of a track; without those removed.
    asked : frozenset of int
        Objects that corrections name, applied or not.
    """

    objects: pl.DataFrame
    links: pl.DataFrame
    tracks: pl.DataFrame
    members: pl.DataFrame
    events: pl.DataFrame
    track_classes: pl.DataFrame
    pixels: pl.DataFrame
    report: pl.DataFrame
    named: frozenset[int] = frozenset()
    asked: frozenset[int] = frozenset()


def replay(
    objects: pl.DataFrame,
    links: pl.DataFrame,
    entries: Sequence[Correction],
    scale: Scale,
    *,
    labels: LabelSource | None = None,
    seen: str = "",
    untracked: Sequence[int] = (),
    left_out: Sequence[int] = (),
) -> Replayed:
    """Apply corrections in order.

    An object is known by its id while the segmentation is the one that the person saw. After another segmentation it
    is the object whose mask lies where the noted one stood, or the nearest one within the reach that was noted, if no
    other is nearly as near. A correction whose objects are not found again is not applied, and the report says why.

    Parameters
    ----------
    objects : polars.DataFrame
        `kinocyte.core.schema.OBJECTS` as segmentation made them.
    links : polars.DataFrame
        `kinocyte.core.schema.LINKS` as tracking made them.
    entries : sequence of Correction
        Corrections that hold, oldest first. An object that a correction makes gets the id
        ``MADE_FROM + number * MADE_EACH`` and following.
    scale : Scale
        Calibration.
    labels : callable, optional
        Label image of a frame, (y, x) or (z, y, x); without it the objects are points.
    seen : str
        Fingerprint of the segmentation that made ``objects``; an empty one fits none.
    untracked : sequence of int
        Ids of objects that mending left out of all tracks; they stay out unless a correction links them.
    left_out : sequence of int
        Ids of the objects of lineages that a filter left out, whose links are among ``links``. Such a lineage stays out
        unless a correction names one of its objects, or links it with others.

    Returns
    -------
    Replayed
        The tables after the corrections; without entries those that were given.

    Raises
    ------
    TableError
        If a table lacks a column.
    """
    masks = None if labels is None else Masks(labels, scale)
    sheet = Sheet(Cells(objects), Links(links), masks, scale, seen)
    said: dict[int, Saying] = {}
    named: set[int] = set()
    asked: set[int] = set()
    of_tracks: set[int] = set()
    for entry in entries:
        said[entry.number] = _apply(sheet, entry)
        if said[entry.number][0] != "conflict":
            named |= {i for i in sheet.asked if sheet.cells.get(i) is not None}
        asked |= sheet.asked
        if any(e.number == entry.number for e in sheet.track_edits[-1:]):
            of_tracks |= sheet.asked
    cells, joined = _with_classes(sheet), sheet.links.table(sheet.cells)
    followed = _followed(cells, joined, untracked)
    tracks, members = build_tracks(followed, joined)
    out = _still_out(tracks, members, set(left_out) - named)
    if out:
        joined = joined.filter(~pl.col("source_id").is_in(out))
        tracks, members = build_tracks(followed.filter(~pl.col("object_id").is_in(out)), joined)
    events, classes = _of_tracks(sheet.track_edits, members, said)
    report = pl.DataFrame(
        [(e.number, e.action, e.author, e.time, *said[e.number]) for e in entries], schema=_REPORT, orient="row"
    )
    pixels = pl.DataFrame(schema=dict(PIXELS)) if masks is None else masks.runs()
    return Replayed(
        cells, joined, tracks, members, events, classes, pixels, report, frozenset(named - of_tracks), frozenset(asked)
    )


def tracks_meant(
    objects: pl.DataFrame,
    members: pl.DataFrame,
    anchors: Sequence[Sequence[Mapping[str, Any]]],
    scale: Scale,
    *,
    seen: str,
    seen_then: str,
) -> list[int | str]:
    """Return the tracks that a person named by some of their objects, or a sentence for one that is not there.

    Parameters
    ----------
    objects, members : polars.DataFrame
        `kinocyte.core.schema.OBJECTS` and ``MEMBERS`` as they are now, corrections applied.
    anchors : sequence of sequence of mapping
        The objects of each track as the journal notes them.
    scale : Scale
        Calibration.
    seen, seen_then : str
        Fingerprint of the segmentation now, and when the person spoke.
    """
    sheet = Sheet(Cells(objects), Links(_NO_LINKS), None, scale, seen)
    track_of = dict(members.select("object_id", "track_id").iter_rows())
    found: list[int | str] = []
    for mine in anchors:
        sheet.begin(0, seen_then)
        tracks: Counter[int] = Counter()
        missing = []
        for anchor in mine:
            try:
                object_id = sheet.find(anchor).object_id
            except Conflict as conflict:
                missing.append(str(conflict))
                continue
            if object_id in track_of:
                tracks[track_of[object_id]] += 1
        ranked = tracks.most_common(2)
        if not ranked:
            found.append(_sentence(missing[0] if missing else "its objects belong to no track"))
        elif len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
            found.append(f"{_torn(tracks)}; say it again of the track that is meant.")
        else:
            found.append(ranked[0][0])
    return found


_NO_LINKS = pl.DataFrame(schema={"source_id": pl.Int64, "target_id": pl.Int64})


def _with_classes(sheet: Sheet) -> pl.DataFrame:
    """Return the objects with the classes that people gave them, a column a name; the newest word counts."""
    cells = sheet.cells.table(sheet.scale)
    given: dict[str, dict[int, str]] = {}
    for name, value, ids in sheet.object_classes:
        given.setdefault(name, {}).update(dict.fromkeys(ids, value))
    for name, values in given.items():
        rows = pl.DataFrame({"object_id": list(values), name: list(values.values())})
        key = pl.col("object_id").cast(cells.schema["object_id"])
        cells = cells.join(rows.with_columns(key), on="object_id", how="left", maintain_order="left")
    return cells


def _followed(cells: pl.DataFrame, links: pl.DataFrame, untracked: Sequence[int]) -> pl.DataFrame:
    """Return the objects that tracks are made of."""
    if not untracked:
        return cells
    linked = pl.concat([links["source_id"], links["target_id"]]).unique()
    left_out = pl.col("object_id").is_in(list(untracked)) & ~pl.col("object_id").is_in(linked.implode())
    return cells.filter(~left_out)


def _still_out(tracks: pl.DataFrame, members: pl.DataFrame, out: set[int]) -> list[int]:
    """Return the objects of lineages all of whose objects are out."""
    if not out:
        return []
    lineage = members.join(tracks.select("track_id", "root_id"), on="track_id", how="left")
    whole = pl.col("object_id").is_in(list(out)).all().over("root_id")
    return list(lineage.filter(whole)["object_id"])


def _apply(sheet: Sheet, entry: Correction) -> Saying:
    sheet.begin(entry.number, str(entry.payload.get("seen", "")))
    action = ACTIONS.get(entry.action)
    if action is None:
        return "conflict", f"This Kinocyte knows no correction '{entry.action}'; install a newer one."
    try:
        action(sheet, entry.payload)
    except Conflict as conflict:
        return "conflict", _sentence(str(conflict))
    except (KeyError, TypeError, ValueError) as error:
        return "conflict", f"The entry is damaged ({type(error).__name__}: {error}); undo it and correct again."
    notes = list(dict.fromkeys(sheet.notes))
    return ("adapted", _sentence("; ".join(notes))) if notes else ("applied", "")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _of_tracks(
    edits: Sequence[TrackEdit], members: pl.DataFrame, said: dict[int, Saying]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what was said of tracks, by the tracks that now hold the named objects; the newest word counts."""
    anchors = {i for e in edits for i in e.anchors}
    track_of = dict(members.filter(pl.col("object_id").is_in(list(anchors))).iter_rows()) if anchors else {}
    events: dict[tuple[int, str], tuple[Any, ...]] = {}
    classes: dict[tuple[int, str], str] = {}
    lost: Counter[int] = Counter()
    for edit in edits:
        tracks = Counter(track_of[a] for a in edit.anchors if a in track_of)
        ranked = tracks.most_common(2)
        if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
            why = "The objects of the track were removed" if not ranked else _torn(tracks)
            lost[edit.number] += 1
            all_lost = lost[edit.number] == edit.n_tracks
            rest = "" if all_lost else f" ({lost[edit.number]} of {edit.n_tracks} tracks)"
            status = "conflict" if all_lost else "adapted"
            said[edit.number] = (status, f"{why}; say it again of the track that is meant{rest}.")
            continue
        if len(tracks) > 1:
            said[edit.number] = ("adapted", f"{_torn(tracks)}; it was said of track {ranked[0][0]}, which has most.")
        track, values = ranked[0][0], edit.values
        if edit.action == "set_event":
            name = str(values["event"])
            time = values.get("time_min")
            events[track, name] = (track, name, str(values["class"]), time, None if time is None else 0.0, 1.0)
        else:
            classes[track, str(values["name"])] = str(values["value"])
    schema = {n: c.dtype for n, c in EVENTS.items()}
    return (
        pl.DataFrame([events[k] for k in sorted(events)], schema=schema, orient="row"),
        pl.DataFrame([(*k, classes[k]) for k in sorted(classes)], schema=_CLASSES, orient="row"),
    )


def _torn(tracks: Counter[int]) -> str:
    return f"The objects of the track now belong to the tracks {', '.join(str(t) for t in sorted(tracks))}"
