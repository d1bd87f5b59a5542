"""What people said of pairs, found again among the pairs that are there now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from kinocyte.core.schema import EVENTS, empty
from kinocyte.experiment.journal import mark_of
from kinocyte.experiment.position import Position


@dataclass(frozen=True, eq=False)
class SaidOfPairs:
    """Events of pairs that people set.

    Attributes
    ----------
    events : polars.DataFrame
        `kinocyte.core.schema.EVENTS`, ``track_id`` is the number of the pair.
    summary : dict
        For the record of the step: ``journal``, the mark of what was applied, and ``corrections``, rows
        ``[number, status, message]``; empty where nobody said anything.
    warnings : list of str
        One sentence a correction that could not be applied.
    """

    events: pl.DataFrame
    summary: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def read(
        cls, position: Position, interaction: str, sides: Sequence[str], found: Mapping[str, pl.DataFrame]
    ) -> SaidOfPairs:
        """Return what the journal says of the pairs of an interaction.

        Parameters
        ----------
        position : Position
            Where.
        interaction : str
            Name of its tables.
        sides : sequence of str
            The population of the reference and that of the neighbour, one name where both are the same.
        found : mapping of str to polars.DataFrame
            ``pair_tracks`` as they are now.
        """
        from kinocyte.tracking.editing import tracks_meant

        entries = position.journal.active_of(interaction)
        if not entries:
            return NOTHING_SAID
        meant: list[list[int | str]] = []
        for number, key in enumerate(("reference", "neighbour")):
            side = sides[min(number, len(sides) - 1)]
            objects = position.table(position.in_force(f"{side}_objects"))
            members = position.table(position.in_force(f"{side}_members"))
            record = position.records.get("segmentation", side)
            seen = "" if record is None else record.fingerprint
            meant.append(
                [
                    tracks_meant(
                        objects,
                        members,
                        [e.payload[key]],
                        position.scale,
                        seen=seen,
                        seen_then=str(e.payload["seen" if key == "reference" else "neighbour_seen"]),
                    )[0]
                    for e in entries
                ]
            )
        tracks = found["pair_tracks"].select("reference_track_id", "neighbour_track_id", "pair_id")
        pairs = {(r, n): p for r, n, p in tracks.iter_rows()}
        said: list[list[Any]] = []
        events: dict[tuple[int, str], tuple[Any, ...]] = {}
        for entry, reference, neighbour in zip(entries, *meant, strict=True):
            wrong = next((m for m in (reference, neighbour) if isinstance(m, str)), None)
            pair = pairs.get((reference, neighbour))  # a sentence is no key and finds none
            if pair is None:
                message = wrong or f"The tracks {reference} and {neighbour} are no pair any more."
                said.append([entry.number, "conflict", message])
                continue
            name, time = str(entry.payload["event"]), entry.payload.get("time_min")
            error = None if time is None else 0.0
            events[pair, name] = (pair, name, str(entry.payload["class"]), time, error, 1.0)
            said.append([entry.number, "applied", ""])
        lost = [f"Correction {n} (set_pair_event) was not applied: {m}" for n, s, m in said if s == "conflict"]
        schema = {n: c.dtype for n, c in EVENTS.items()}
        table = pl.DataFrame([events[k] for k in sorted(events)], schema=schema, orient="row")
        return cls(table, {"journal": mark_of(entries), "corrections": said}, lost)


#: where nobody said anything
NOTHING_SAID = SaidOfPairs(empty(EVENTS))
