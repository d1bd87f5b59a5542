"""`kinocyte statistics hazard` and `incidence`: risk over time, and events that exclude each other, in any table."""

from __future__ import annotations

from pathlib import Path

from kinocyte.cli.statistics import Correction, Pairing, happened, named, position_of, share


def hazard(
    file: Path,
    /,
    *,
    duration: str,
    event: str,
    by: str | None = None,
    replicate: str | None = None,
    position: str | None = None,
    entry: str | None = None,
    event_is: str | None = None,
    json: bool = False,
    interval: float | None = None,
    bandwidth: float | None = None,
    reference: str | None = None,
    pairing: Pairing = "auto",
    correction: Correction = "holm",
    confidence: float = 0.95,
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
    duration : str
        Column: time to the event, or to the last sight of the cell.
    event : str
        Column: true and false, 1 and 0, or event, none, censored_left and excluded (the last two are left out).
    by : str
        Column of the groups.
    replicate : str
        Column of the biological replicate.
    position : str
        Column of the field of view, to count them; 'position' where the table has one.
    entry : str
        Column: time at which the cell came under observation, where that is later than 0.
    event_is : str
        Word in the column of the event that says it happened, such as dead; every other word says it did not.
    json : bool
        Print one JSON object instead of tables.
    interval : float
        Width of the intervals of time; an eighth of the observation when left out.
    bandwidth : float
        Half width of the smoothing kernel; an eighth of the observation when left out.
    reference : str
        Group the others are compared with; all pairs when left out.
    pairing : str
        Whether replicates of the same name in two groups belong together, as those of one day do. auto: when all
        names are the same.
    correction : str
        Correction of p-values for the number of pairs.
    confidence : float
        Confidence of bands and intervals.
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
    by: str | None = None,
    replicate: str | None = None,
    position: str | None = None,
    entry: str | None = None,
    json: bool = False,
    at: float | None = None,
    reference: str | None = None,
    pairing: Pairing = "auto",
    correction: Correction = "holm",
    confidence: float = 0.95,
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
    by : str
        Column of the groups.
    replicate : str
        Column of the biological replicate.
    position : str
        Column of the field of view, to count them; 'position' where the table has one.
    entry : str
        Column: time at which the cell came under observation, where that is later than 0.
    json : bool
        Print one JSON object instead of tables.
    at : float
        Time of the incidence that is compared; how long every group is known when left out.
    reference : str
        Group the others are compared with; all pairs when left out.
    pairing : str
        Whether replicates of the same name in two groups belong together, as those of one day do. auto: when all
        names are the same.
    correction : str
        Correction of p-values for the number of pairs.
    confidence : float
        Confidence of bands and intervals.
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
