"""What a person calls to correct the events of pairs of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kinocyte.core.errors import ParameterError, StoreError, nearest
from kinocyte.core.schema import EVENT_CLASSES
from kinocyte.experiment.journal import Entry
from kinocyte.experiment.names import item_name
from kinocyte.experiment.references import References

if TYPE_CHECKING:
    from kinocyte.experiment.position import Position


class PairEditor:
    """Corrects the events of the pairs of one interaction of one position.

    A pair is named by its two tracks, and each track by three of its objects, so that the correction finds the same
    two cells after another segmentation. The next ``kinocyte run`` applies it.

    Parameters
    ----------
    position : Position
        Where.
    interaction : str
        Name of the interaction, as its tables begin.

    Raises
    ------
    StoreError
        If there is no such interaction, or no event was looked for in its pairs.
    """

    def __init__(self, position: Position, interaction: str) -> None:
        record = position.records.get("interaction", interaction)
        if record is None or f"{interaction}_pair_events" not in position.tables:
            ends = "_pair_events"
            known = [t.removesuffix(ends) for t in position.tables if t.endswith(ends)]
            msg = f"Position {position.id} has no events of pairs of '{interaction}'; {nearest(interaction, known)}."
            raise StoreError(msg)
        self._position, self._interaction = position, interaction
        sides = (str(record.method["reference"]), str(record.method["neighbour"]))
        self._sides = tuple(References(position, side) for side in sides)

    def set_event(
        self, event: str, event_class: str, time_min: float | None = None, *, reference_track: int, neighbour_track: int
    ) -> Entry:
        """Say whether and when something happened to a pair.

        Parameters
        ----------
        event : str
            Name of an event of the interaction.
        event_class : {"event", "none", "censored_left", "excluded"}
            What happened.
        time_min : float, optional
            When; needed for the class ``event``.
        reference_track, neighbour_track : int
            The tracks of both cells.

        Raises
        ------
        ParameterError
            If there is no such event, class or pair, or the time is missing or not finite.
        """
        known = self._position.table(f"{self._interaction}_pair_events")["event"].unique().to_list()
        if event not in known:
            msg = f"The pairs of '{self._interaction}' have no event '{event}'; {nearest(event, known)}."
            raise ParameterError(msg)
        if event_class not in EVENT_CLASSES:
            msg = f"'{event_class}' is no class of an event; {nearest(event_class, EVENT_CLASSES)}."
            raise ParameterError(msg)
        if (event_class == "event") != (time_min is not None) or not np.isfinite(time_min or 0.0):
            msg = "time_min is a number of minutes for the class 'event' and left out for all others."
            raise ParameterError(msg)
        self._check_pair(reference_track, neighbour_track)
        reference, neighbour = self._sides
        payload: dict[str, Any] = {
            "event": item_name(event, "event"),
            "class": event_class,
            "time_min": None if time_min is None else float(time_min),
            "reference": reference.of_track(reference_track, None),
            "neighbour": neighbour.of_track(neighbour_track, None),
            "seen": reference.seen,
            "neighbour_seen": neighbour.seen,
        }
        return self._position.journal.append("set_pair_event", payload, self._interaction)

    def _check_pair(self, reference_track: int, neighbour_track: int) -> None:
        tracks = self._position.table(f"{self._interaction}_pair_tracks")
        if tracks.filter(reference_track_id=reference_track, neighbour_track_id=neighbour_track).is_empty():
            msg = (
                f"The tracks {reference_track} and {neighbour_track} of position {self._position.id} are no pair of "
                f"'{self._interaction}'; see its pair_tracks."
            )
            raise ParameterError(msg)
