"""`kinocyte statistics hazard` and `incidence`: risk over time, and events that exclude each other, in any table."""

from __future__ import annotations

from pathlib import Path

from kinocyte.cli._options import (
    By,
    Confidence,
    Correction,
    Duration,
    Entry,
    EventIs,
    Happened,
    Json,
    Pairing,
    Position,
    Reference,
    Replicate,
    happened,
    named,
    position_of,
    share,
)


def hazard(
    file: Path,
    /,
    *,
    duration: Duration,
    event: Happened,
    by: By = None,
    replicate: Replicate = None,
    position: Position = None,
    entry: Entry = None,
    event_is: EventIs = None,
    json: Json = False,
    interval: float | None = None,
    bandwidth: float | None = None,
    reference: Reference = None,
    pairing: Pairing = "auto",
    correction: Correction = "holm",
    confidence: Confidence = 0.95,
) -> int:
    """Events per time under observation, in intervals of time and as a smooth curve, for the groups of a table.

    --json prints one object: file, method, rows, columns {duration, event, by, replicate, position, entry}, groups,
    tests, details, notes. groups, one each: group, n (= n_cells), n_positions, n_replicates, events, exposure (summed
    time under observation), rate, rate_low, rate_high, interval_over (cells or replicates), curve [{time, hazard, low,
    high}], replicates [{replicate, n_cells, events, exposure, rate}]. details, one each: group, start, stop, events,
    exposure, hazard, low, high. tests: as of 'kinocyte statistics survival'.

    Parameters
    ----------
    file : Path
        CSV or Parquet with one row a cell.
    interval : float
        Width of the intervals of time; an eighth of the observation when left out.
    bandwidth : float
        Half width of the smoothing kernel; an eighth of the observation when left out.
    """
    from kinocyte.cli._compared import present
    from kinocyte.interop.plain_tables import read_table
    from kinocyte.statistics.hazard_comparison import compare_hazard

    read = happened(read_table(file), event, event_is, file)
    position = position_of(read, position)
    found = compare_hazard(
        read, duration=duration, event=event, by=by, replicate=replicate, position=position, entry=entry,
        interval=interval, bandwidth=bandwidth, pairing=pairing, reference=reference, correction=correction,
        confidence=share(confidence), name=named(file),
    )  # fmt: skip
    columns = {"duration": duration, "event": event, "by": by, "replicate": replicate, "position": position,
               "entry": entry}  # fmt: skip
    return present(file, read, columns, found, json=json)


def incidence(
    file: Path,
    /,
    *,
    duration: str,
    cause: str,
    event: str,
    by: By = None,
    replicate: Replicate = None,
    position: Position = None,
    entry: Entry = None,
    json: Json = False,
    at: float | None = None,
    reference: Reference = None,
    pairing: Pairing = "auto",
    correction: Correction = "holm",
    confidence: Confidence = 0.95,
) -> int:
    """Cumulative incidence of one kind of event where another one (division, escape) excludes it.

    Tests are Gray's log-rank test of incidences, log-rank and Cox for the event's own (cause-specific) hazard, and
    with --replicate the t-test on the incidences of replicates.

    --json prints one object: file, method, rows, columns {duration, cause, event, by, replicate, position, entry},
    groups, tests, notes. groups, one each: group, n (= n_cells), n_positions, n_replicates, events, competing,
    censored, incidence, incidence_low, incidence_high, incidence_at, curve [{time, incidence, low, high,
    standard_error, at_risk, events}], replicates [{replicate, n_cells, events, incidence}]. tests: as of 'kinocyte
    statistics survival'.

    Parameters
    ----------
    file : Path
        CSV or Parquet with one row a cell.
    duration : str
        Column: time to the first event, or to the last sight of the cell.
    cause : str
        Column: the kind of event a cell left with, empty where it was lost from sight.
    event : str
        The kind of event that is looked at; every other kind is competing.
    at : float
        Time of the incidence that is compared; how long every group is known when left out.
    """
    from kinocyte.cli._compared import present
    from kinocyte.interop.plain_tables import read_table
    from kinocyte.statistics.incidence_comparison import compare_incidence

    read = read_table(file)
    position = position_of(read, position)
    found = compare_incidence(
        read, duration=duration, cause=cause, event=event, by=by, replicate=replicate, position=position, entry=entry,
        pairing=pairing, reference=reference, until=at, correction=correction, confidence=share(confidence),
        name=named(file),
    )  # fmt: skip
    columns = {"duration": duration, "cause": cause, "event": event, "by": by, "replicate": replicate,
               "position": position, "entry": entry}  # fmt: skip
    return present(file, read, columns, found, json=json)
