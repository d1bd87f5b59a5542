"""`kinocyte statistics`: what differs between groups of cells, in a table of any program."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cyclopts import App

from kinocyte.cli._options import (
    By,
    Confidence,
    Correction,
    Duration,
    Entry,
    EventIs,
    Groups,
    Happened,
    Json,
    Pairing,
    Position,
    Reference,
    Replicate,
    Several,
    happened,
    named,
    position_of,
    share,
)

app = App(name="statistics", help_format="plaintext", help="Compare groups of cells in any CSV or Parquet.")

app.command("kinocyte.cli.statistics_over_time:hazard", help="How often the event happens, and how that changes.")
app.command("kinocyte.cli.statistics_over_time:incidence", help="One kind of event where another excludes it.")
app.command("kinocyte.cli.statistics_of_tables:additive", help="Whether one group is the sum of two others.")
app.command("kinocyte.cli.statistics_of_tables:table", help="Make one table of another, step by step.")


@app.command
def survival(
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
    until: float | None = None,
    reference: Reference = None,
    pairing: Pairing = "auto",
    correction: Correction = "holm",
    confidence: Confidence = 0.95,
) -> int:
    """Kaplan-Meier curves, medians, restricted means, log-rank and Cox for the groups of a table, one row a cell.

    With --replicate, replicates are the sample of every test, and a group with one replicate is not tested. Without
    it each cell counts as an independent sample.

    --json prints one object: file, method, rows, columns {duration, event, by, replicate, position, entry}, groups,
    tests, notes. groups, one each: group, n (= n_cells), n_positions, n_replicates, events, censored, median,
    median_low, median_high, restricted_mean, restricted_mean_se, restricted_mean_low, restricted_mean_high,
    restricted_to, interval_over (cells or replicates), curve [{time, survival, low, high, at_risk, events,
    censored}], replicates [{replicate, n_cells, events, median, restricted_mean}]. tests, one each: test, level
    (cells or replicates), group_a, group_b (compared with group_a; null for all groups at once), statistic, df, p,
    p_corrected, correction, effect, effect_value, effect_low, effect_high, n_cells, n_positions, n_replicates,
    refused (why there is no p), sentence. What is not known is null, as a median that the curve does not reach.

    Parameters
    ----------
    file : Path
        CSV or Parquet with one row a cell.
    until : float
        End of the restricted mean; the time to which every group and every replicate is known when left out.
    """
    from kinocyte.cli._compared import present
    from kinocyte.interop.plain_tables import read_table
    from kinocyte.statistics.survival_comparison import compare_survival

    read = happened(read_table(file), event, event_is, file)
    position = position_of(read, position)
    found = compare_survival(
        read, duration=duration, event=event, by=by, replicate=replicate, position=position, entry=entry,
        pairing=pairing, reference=reference, until=until, correction=correction, confidence=share(confidence),
        name=named(file),
    )  # fmt: skip
    columns = {"duration": duration, "event": event, "by": by, "replicate": replicate, "position": position,
               "entry": entry}  # fmt: skip
    return present(file, read, columns, found, json=json)


@app.command
def compare(
    file: Path,
    /,
    *,
    value: str,
    by: Groups,
    replicate: Replicate = None,
    position: Position = None,
    cell: Several = (),
    json: Json = False,
    reference: Reference = None,
    pairing: Pairing = "auto",
    correction: Correction = "holm",
    confidence: Confidence = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> int:
    """Means, tests and effect sizes for one number a cell.

    With --replicate: t-test on the means of replicates (Welch, or paired where the groups share their replicates) and
    mixed model; Mann-Whitney and Kolmogorov-Smirnov give their statistic without a p-value, and a group with one
    replicate is not tested. Without it: Welch, Mann-Whitney and Kolmogorov-Smirnov on cells.

    --json prints one object: file, method, rows, columns {value, by, replicate, position, cell}, groups, tests,
    effects, notes. groups, one each: group, n (= n_cells), n_positions, n_replicates, mean, sd, median, q25, q75,
    mean_low, mean_high, interval_over (cells or replicates), replicates [{replicate, n_cells, mean, median}].
    tests: as of 'kinocyte statistics survival'. effects, one each: group_a, group_b, effect (Cliff's delta, Hedges'
    g, Cohen's d), value, low, high, magnitude (negligible, small, medium, large), interval (how it was made),
    n_cells, n_positions, n_replicates.

    Parameters
    ----------
    file : Path
        CSV or Parquet with one row a cell.
    value : str
        Column of the number.
    cell : tuple of str
        Columns that tell cells apart, where a cell has several rows: their mean counts once.
    draws : int
        Draws of the bootstrap.
    seed : int
        Seed of the bootstrap.
    """
    from kinocyte.cli._compared import present
    from kinocyte.interop.plain_tables import read_table
    from kinocyte.statistics.value_comparison import compare_values

    read = read_table(file)
    position = position_of(read, position)
    found = compare_values(
        read, value=value, by=by, cell=cell, replicate=replicate, position=position, pairing=pairing,
        reference=reference, correction=correction, confidence=share(confidence), draws=draws, seed=seed,
        name=named(file),
    )  # fmt: skip
    columns = {"value": value, "by": by, "replicate": replicate, "position": position, "cell": list(cell)}
    return present(file, read, columns, found, json=json)


@app.command
def align(
    file: Path,
    /,
    *,
    signal: str,
    time: str,
    event_time: str,
    track: Several,
    by: By = None,
    replicate: Replicate = None,
    position: Position = None,
    json: Json = False,
    bin_width: float | None = None,
    before: float | None = None,
    after: float | None = None,
    statistic: Literal["mean", "median"] = "mean",
    min_cells: int = 5,
    confidence: Confidence = 0.95,
) -> int:
    """Average a signal over cells in time relative to an event of each cell.

    --json prints one object: file, method, rows, columns, groups, tests (none), notes. groups, one each: group, n
    (= n_cells), n_positions, n_replicates, curve [{time, n_cells, n_replicates, value, low, high, replicate_value,
    replicate_low, replicate_high}], replicates [{replicate, time, n_cells, value}].

    Parameters
    ----------
    file : Path
        CSV or Parquet with one row a cell and frame.
    signal : str
        Column of the signal.
    time : str
        Column of the time.
    event_time : str
        Column of the time of the cell's event, in the unit of the time; empty where it has none.
    track : tuple of str
        Columns that tell cells apart, such as position track_id.
    bin_width : float
        Width of the bins of time; the time between frames when left out.
    before : float
        How far to look before the event.
    after : float
        How far to look after the event.
    statistic : str
        What is taken over cells.
    min_cells : int
        Times with fewer cells in a group are left out.
    """
    from kinocyte.cli._compared import present
    from kinocyte.interop.plain_tables import read_table
    from kinocyte.statistics.alignment import align_signal

    read = read_table(file)
    position = position_of(read, position)
    found = align_signal(
        read, signal=signal, time=time, event_time=event_time, track=track, by=by, replicate=replicate,
        position=position, bin_width=bin_width, before=before, after=after, statistic=statistic, min_cells=min_cells,
        confidence=share(confidence), name=named(file),
    )  # fmt: skip
    columns = {"signal": signal, "time": time, "event_time": event_time, "track": list(track), "by": by,
               "replicate": replicate, "position": position}  # fmt: skip
    return present(file, read, columns, found, json=json)


@app.command
def dose(
    file: Path,
    /,
    *,
    dose: str,
    value: str,
    by: str | None = None,
    replicate: str | None = None,
    position: Position = None,
    json: Json = False,
    reference: Reference = None,
    correction: Correction = "holm",
    confidence: Confidence = 0.95,
) -> int:
    """Fit a four-parameter logistic curve: EC50 with its interval, slope and asymptotes, a curve a group.

    --json prints one object: file, method, rows, columns, groups, tests, notes. groups, one each: group, n (=
    n_cells), n_positions, n_replicates, n_points, n_doses, ec50, ec50_low, ec50_high, hill (negative for a curve
    that falls), bottom, top, at_zero, at_infinity, residual_sd, r_squared, refused, curve [{dose, value}],
    replicates [{dose, replicate, n_cells, value}]. tests: as of 'kinocyte statistics survival'.

    Parameters
    ----------
    file : Path
        CSV or Parquet with one row a cell.
    dose : str
        Column of the dose; 0 is the control.
    value : str
        Column of the response.
    by : str
        Column of the groups that get a curve each, such as the drug.
    replicate : str
        Column of the biological replicate: the points of the fit are then their means.
    """
    from kinocyte.cli._compared import present
    from kinocyte.interop.plain_tables import read_table
    from kinocyte.statistics.dose_comparison import compare_doses

    read = read_table(file)
    position = position_of(read, position)
    found = compare_doses(
        read, dose=dose, value=value, by=by, replicate=replicate, position=position, reference=reference,
        correction=correction, confidence=share(confidence), name=named(file),
    )  # fmt: skip
    columns = {"dose": dose, "value": value, "by": by, "replicate": replicate, "position": position}
    return present(file, read, columns, found, json=json)
