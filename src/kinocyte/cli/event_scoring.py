"""`kinocyte evaluate events`: how far called events are from annotated ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kinocyte.cli._options import Json, Several
from kinocyte.cli.console import out, print_json, score, table
from kinocyte.core.errors import ParameterError, TableError, nearest

if TYPE_CHECKING:
    import polars as pl

    from kinocyte.evaluation.events import EventScores

_PLACE = ("well", "position")
_SCORES = {
    "tracks": "tracks that somebody annotated",
    "accuracy": "share with the right class",
    "true_positives": "events found",
    "false_positives": "events called that were none",
    "false_negatives": "events missed",
    "precision": "share of called events that are right",
    "recall": "share of events that were found",
    "f1": "harmonic mean of both",
    "mean_absolute_error_min": "error of their times, mean",
    "median_absolute_error_min": "error of their times, median",
    "bias_min": "called minus annotated time; above 0 is late",
    "r_squared": "called against annotated times",
}


def events(
    truth: Path,
    result: Path,
    /,
    *,
    event: str | None = None,
    by: Several = (),
    tolerance_min: float | None = None,
    errors: Path | None = None,
    json: Json = False,
) -> int:
    """Score called events against annotated ones: confusion of classes, precision, recall, and errors of time.

    Tracks that were annotated as excluded are not scored; a track that was not called counts as none. Tables that
    hold the columns well and position, or those of --by, may hold several positions.

    Parameters
    ----------
    truth : Path
        CSV or Parquet with one row a track: track_id, class (event, none, censored_left or excluded) and time_min.
    result : Path
        Such a table of what was called, as `kinocyte export` and `kinocyte events transitions` write it.
    event : str
        Name of the event, where the tables hold several in their column event.
    by : tuple of str
        Further columns of both tables that tell tracks of the same name apart, such as movie.
    tolerance_min : float
        An event called further than this from its annotated time is both false and missed.
    errors : Path
        File to write, CSV or Parquet: one row a track whose class or time is off. It must not exist yet.
    """
    from kinocyte.cli._scored import check_errors_file, write_errors
    from kinocyte.evaluation.events import score_events

    check_errors_file(errors)
    annotated, called = _rows(truth, event), _rows(result, event)
    annotated, called, names = _numbered(annotated, called, by)
    scores = score_events(annotated, called, tolerance_min=tolerance_min)
    off = scores.errors if names is None else names.join(scores.errors, on="track_id", how="right").drop("track_id")
    if errors is not None:
        write_errors(off, errors)
    if json:
        document = {
            "truth": str(truth), "result": str(result), **scores.as_dict(),
            "confusion": scores.confusion.to_dicts(), "errors": off.to_dicts(),
        }  # fmt: skip
        print_json(document)
    else:
        _show(scores, errors)
    return 0


def _rows(path: Path, event: str | None) -> pl.DataFrame:
    """Return the rows of one kind of event."""
    import polars as pl

    from kinocyte.interop.plain_tables import read_table

    rows = read_table(path)
    lacking = next((c for c in ("track_id", "class", "time_min") if c not in rows.columns), None)
    if lacking is not None:
        msg = f"'{path}' lacks the column {lacking}; {nearest(lacking, rows.columns)}."
        raise TableError(msg)
    known = [str(e) for e in rows["event"].cast(pl.String).unique().sort()] if "event" in rows.columns else []
    if event is None and len(known) > 1:
        msg = f"'{path}' holds several events ({', '.join(known)}); name one with --event."
        raise ParameterError(msg)
    if event is not None and known:
        if event not in known:
            msg = f"'{path}' holds no event '{event}'; {nearest(event, known)}."
            raise ParameterError(msg)
        rows = rows.filter(pl.col("event").cast(pl.String) == event)
    return rows.with_columns(pl.col("class").cast(pl.String))


def _numbered(
    annotated: pl.DataFrame, called: pl.DataFrame, by: tuple[str, ...]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame | None]:
    """Return both tables with tracks that are told apart between positions, and what the numbers stand for."""
    import polars as pl

    for column in by:
        lacking = next((t for t in (annotated, called) if column not in t.columns), None)
        if lacking is not None:
            msg = f"One of the tables lacks the column '{column}' of --by; {nearest(column, lacking.columns)}."
            raise TableError(msg)
    places = dict.fromkeys((*by, *_PLACE))
    key = [c for c in places if c in annotated.columns and c in called.columns]
    if not key:
        return annotated, called, None
    tracks = [t.select(*(pl.col(c).cast(pl.String) for c in key), pl.col("track_id")) for t in (annotated, called)]
    names = pl.concat(tracks, how="vertical_relaxed").unique(maintain_order=True).rename({"track_id": "track"})
    names = names.with_row_index("track_id")
    out = [
        t.with_columns(pl.col(c).cast(pl.String) for c in key)
        .rename({"track_id": "track"})
        .join(names, on=[*key, "track"], how="left", nulls_equal=True, maintain_order="left")
        for t in (annotated, called)
    ]
    return out[0], out[1], names.with_columns(pl.col("track_id").cast(pl.Int64))


def _show(scores: EventScores, errors: Path | None) -> None:
    rows = [(name.replace("_", " "), score(v), _SCORES[name]) for name, v in scores.as_dict().items()]
    table("Events against the truth", ("score", "value", "what it is"), rows)
    table("Classes", ("annotated", "called", "tracks"), scores.confusion.rows())
    if errors is not None:
        out.print(f"Every error is in {errors}.", markup=False, soft_wrap=True)
    elif scores.errors.height:
        out.print("Every track whose class or time is off: --errors FILE.csv")
