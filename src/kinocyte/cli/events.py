"""`kinocyte events`: what happened on each track, in a table of any program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from kinocyte.cli._options import Json, Several
from kinocyte.cli.console import out as console
from kinocyte.cli.console import print_json
from kinocyte.cli.console import table as show
from kinocyte.core.errors import ParameterError, TableError, nearest

if TYPE_CHECKING:
    import polars as pl

app = App(name="events", help_format="plaintext", help="Find events of tracks in any CSV or Parquet.")

_NAMES = ("track_id", "time_min", "object_id")
#: columns that tell places apart, so that tracks of the same name in two of them are two tracks
_PLACES = ("well", "position", "site", "field", "fov", "movie", "plate")


@app.command
def transitions(
    file: Path,
    /,
    *,
    track: str,
    time: str,
    signal: str,
    threshold: str,
    out: Path,
    name: str = "transition",
    direction: Literal["rise", "fall"] = "rise",
    by: Several = (),
    json: Json = False,
) -> int:
    """Find when a signal crosses a threshold for good, with times between frames.

    Writes one row a track: the --by columns, track_id (as the table names it), event, class (event; none: it never
    crosses; censored_left: it was beyond from the start; excluded: no verdict), time_min and time_se_min (in the
    unit of the time column), confidence, time_low_min and time_high_min (95 % interval), r2, threshold (the one
    that was used), first_min, last_min and n_frames (when the track was seen).

    --json prints one object: file, out, tracks, threshold, counts {event, none, censored_left, excluded}, notes (where
    the threshold lies in the noise).

    Parameters
    ----------
    file : Path
        CSV or Parquet with one row a track and time.
    track : str
        Column that tells tracks apart.
    time : str
        Column of the time.
    signal : str
        Column of the signal, or a formula of columns such as 'green / red'.
    threshold : str
        A number, or auto: found in the data between two populations of values.
    out : Path
        CSV or Parquet (by its ending) to write; it must not exist yet.
    name : str
        What the event is called.
    direction : str
        Whether the signal lies above (rise) or below (fall) the threshold after the event.
    by : tuple of str
        Further columns that tell tracks apart, such as well and position.
    """
    from kinocyte.core.schema import require
    from kinocyte.events.expression import parse
    from kinocyte.events.threshold_transition import ThresholdTransition
    from kinocyte.interop.plain_tables import check_new, read_table

    check_new(out)
    level = threshold if threshold == "auto" else str(_number(threshold))
    read, signal = _named_plainly(read_table(file), signal, (track, time, *by))
    try:
        parse(signal)  # refused by its own words, before it stands in a condition
    except ParameterError as error:
        msg = f"--signal '{signal}' is no column of {file.name}; {nearest(signal, read.columns)}. As a formula: {error}"
        raise ParameterError(msg) from None
    formula = f"({signal}) {'>' if direction == 'rise' else '<'} {level}"
    method = ThresholdTransition(when=formula)
    require(read, [track, time, *by, *method.columns], table=file.name)
    _check_places(read, (*by, track), track)
    cells, keys = _as_cells(read.filter(read[track].is_not_null()), (*by, track), time, method.columns)
    detected = method.detect(cells, name)
    found, notes = detected.events, list(detected.notes)
    events = _written(found, keys, track, out)
    used = events["threshold"].drop_nulls()
    summary = {"file": str(file), "out": str(out), "tracks": events.height, "counts": _counts(events),
               "threshold": float(used[0]) if used.len() else None, "notes": notes}  # fmt: skip
    if json:
        print_json(summary)
        return 0
    _show(name, events)
    if used.len():
        console.print(f"threshold {used[0]:.6g}; the times stand in {out}", markup=False, soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    return 0


@app.command
def deep(
    file: Path,
    /,
    *,
    track: str,
    time: str,
    signal: Several,
    out: Path,
    model: str = "events-step",
    name: str = "event",
    min_confidence: float = 0.5,
    by: Several = (),
    json: Json = False,
) -> int:
    """Find events that a network was trained to see; no PyTorch is needed.

    Writes one row a track: the --by columns, track_id (as the table names it), event, class (event, none,
    censored_left; excluded: no signal), time_min and time_se_min (in the unit of the time column), confidence,
    p_event, p_none, p_censored_left, first_min, last_min and n_frames (when the track was seen).

    --json prints one object: file, out, tracks, model, counts {event, none, censored_left, excluded}.

    Parameters
    ----------
    file : Path
        CSV or Parquet with one row a track and time. Give all cells: what is low and high is taken from all of them.
    track : str
        Column that tells tracks apart.
    time : str
        Column of the time.
    signal : tuple of str
        Columns or formulas in the order of the model's signals; for a signal that steps down its negative, written
        --signal=-calcein.
    out : Path
        CSV or Parquet (by its ending) to write; it must not exist yet.
    model : str
        Package that 'kinocyte train' made, folder or zip; or events-step, which comes with Kinocyte and was trained on
        simulated signals that step up.
    name : str
        What the event is called.
    min_confidence : float
        Least probability of an event; below it the likelier of the other classes is taken.
    by : tuple of str
        Further columns that tell tracks apart, such as well and position; each of their values is a population.
    """
    from kinocyte.core.schema import require
    from kinocyte.events.deep import Deep
    from kinocyte.interop.plain_tables import check_new, read_table

    check_new(out)
    read, signals = read_table(file), []
    for one in signal:
        read, plain = _named_plainly(read, one, (track, time, *by))
        signals.append(plain)
    method = Deep(signals=tuple(signals), model=model, min_confidence=min_confidence)
    require(read, [track, time, *by, *method.columns], table=file.name)
    _check_places(read, (*by, track), track)
    cells, keys = _as_cells(read.filter(read[track].is_not_null()), (*by, track), time, method.columns, also=by)
    found = method.detect(cells, name, by=by).events
    events = _written(found.drop(by), keys, track, out)
    summary = {"file": str(file), "out": str(out), "tracks": events.height, "model": model, "counts": _counts(events)}
    if json:
        print_json(summary)
        return 0
    _show(name, events)
    console.print(f"The times stand in {out}.", markup=False, soft_wrap=True)
    return 0


def _written(found: pl.DataFrame, keys: pl.DataFrame, track: str, out: Path) -> pl.DataFrame:
    """Write events with the names of their tracks, and return them."""
    from kinocyte.interop.plain_tables import write_table

    found = found.rename({"track_id": "track_id_"})
    events = keys.join(found, on="track_id_", how="right", maintain_order="right").drop("track_id_")
    events = events.rename({track: "track_id"})
    write_table(events, out)
    return events


def _counts(events: pl.DataFrame) -> dict[str, int]:
    """Return how many tracks have each class."""
    counts = dict.fromkeys(("event", "none", "censored_left", "excluded"), 0)
    return counts | dict(events["class"].value_counts().iter_rows())


def _show(name: str, events: pl.DataFrame) -> None:
    show(f"{name} of {events.height} tracks", ("class", "tracks"), list(_counts(events).items()))


def _named_plainly(read: pl.DataFrame, signal: str, others: tuple[str, ...]) -> tuple[pl.DataFrame, str]:
    """Return the table with its signal under a name that a formula can hold, where it is a column of another name."""
    if signal not in read.columns or signal in others or (signal.isidentifier() and signal not in _NAMES):
        return read, signal
    plain = "signal"
    while plain in read.columns:
        plain += "_"
    return read.rename({signal: plain}), plain


def _check_places(read: pl.DataFrame, key: tuple[str, ...], track: str) -> None:
    """Raise where tracks of one name stand in several places that nobody named."""
    import polars as pl

    for name in (c for c in read.columns if c.strip().lower() in _PLACES and c not in key):
        if read.schema[name].is_float():
            continue
        tracks = read.filter(pl.col(track).is_not_null()).group_by(*key).agg(pl.col(name).n_unique())
        several = tracks.filter(pl.col(name) > 1)
        if several.height:
            one, named = several[track].sort().to_list()[0], " ".join((*(k for k in key if k != track), name))
            msg = (
                f"Track {one} stands in several values of '{name}', which makes it several tracks; "
                f"name the column, --by {named}, or take it out of the table."
            )
            raise TableError(msg)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"--threshold {text} is refused; give a number, or auto."
        raise ParameterError(msg) from None


def _as_cells(
    read: pl.DataFrame, key: tuple[str, ...], time: str, columns: tuple[str, ...], *, also: tuple[str, ...] = ()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows as event methods take them, and which number stands for which track."""
    import polars as pl

    # a CSV does not say what a column without any value would have held
    empty = [c for c in (time, *columns) if read[c].null_count() == read.height]
    read = read.with_columns(pl.col(c).cast(pl.Float64) for c in empty)
    if not read[time].dtype.is_numeric():
        msg = f"The column '{time}' holds words, not times; convert it to numbers first."
        raise TableError(msg)
    clash = next((c for c in columns if c in _NAMES and c != time), None)
    if clash is not None:
        msg = f"--signal names the column '{clash}', which has a meaning of its own here; rename it in the table."
        raise ParameterError(msg)
    known = read.filter(read[time].is_not_null())
    twice = known.filter(known.select(*key, time).is_duplicated())
    if twice.height:
        track = ", ".join(str(twice[k][0]) for k in key)
        msg = (
            f"Track {track} has several rows at {time} = {twice[time][0]}; keep one, or name the columns that tell "
            "tracks of the same name apart: --by well position."
        )
        raise TableError(msg)
    number = read.select(pl.struct(key).rank("dense").cast(pl.Int64).alias("track_id")).to_series()
    cells = read.select(list(dict.fromkeys((*columns, *also)))).with_columns(
        number, read[time].cast(pl.Float64).alias("time_min"), pl.int_range(read.height).alias("object_id")
    )
    return cells, read.select(*key, number.alias("track_id_")).unique(maintain_order=True)
