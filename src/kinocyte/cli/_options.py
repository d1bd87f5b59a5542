"""Options that several commands share, with their help; and what commands on tables of other programs do with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from kinocyte.core.errors import ParameterError, nearest

if TYPE_CHECKING:
    import polars as pl

Several = Annotated[tuple[str, ...], Parameter(consume_multiple=True)]
Json = Annotated[bool, Parameter(help="Print one JSON object instead of tables.")]

Duration = Annotated[str, Parameter(help="Column: time to the event, or to the last sight of the cell.")]
Happened = Annotated[
    str,
    Parameter(
        help="Column: true and false, 1 and 0, or event, none, censored_left and excluded (the last two are left out)."
    ),
]
EventIs = Annotated[
    str | None,
    Parameter(
        help="Word in the column of the event that says it happened, such as dead; every other word says it did not."
    ),
]
Entry = Annotated[
    str | None,
    Parameter(help="Column: time at which the cell came under observation, where that is later than 0."),
]
Groups = Annotated[str, Parameter(help="Column of the groups.")]
By = Annotated[str | None, Parameter(help="Column of the groups.")]
Replicate = Annotated[str | None, Parameter(help="Column of the biological replicate.")]
Position = Annotated[
    str | None,
    Parameter(help="Column of the field of view, to count them; 'position' where the table has one."),
]
Reference = Annotated[str | None, Parameter(help="Group the others are compared with; all pairs when left out.")]
Pairing = Annotated[
    Literal["auto", "paired", "unpaired"],
    Parameter(
        help="Whether replicates of the same name in two groups belong together, as those of one day do. auto: when "
        "all names are the same."
    ),
]
Correction = Annotated[
    Literal["holm", "benjamini_hochberg", "bonferroni", "none"],
    Parameter(help="Correction of p-values for the number of tests."),
]
Confidence = Annotated[float, Parameter(help="Confidence of bands and intervals.")]


def named(file: Path) -> str:
    """Return what a table is called in messages."""
    return file.name


def position_of(read: pl.DataFrame, position: str | None) -> str | None:
    """Return the column of the field of view: the one that is named, or 'position' where there is one."""
    if position is None and "position" in read.columns:
        return "position"
    return position


def happened(read: pl.DataFrame, event: str, word: str | None, file: Path) -> pl.DataFrame:
    """Return the table with an event told by a word as true and false; unknown ones stay so."""
    import polars as pl

    from kinocyte.core.schema import require

    if word is None:
        return read
    require(read, [event], table=named(file))
    said = read[event].cast(pl.String).str.strip_chars()
    if not (said == word).any():
        msg = f"The column '{event}' of table '{named(file)}' never says '{word}'; "
        raise ParameterError(msg + nearest(word, said.drop_nulls().unique().sort()) + ".")
    return read.with_columns((said == word).alias(event))


def share(confidence: float) -> float:
    """Return a confidence after checking that it is a share."""
    if not 0 < confidence < 1:
        msg = f"--confidence is {confidence:g}; give a share between 0 and 1, such as 0.95."
        raise ParameterError(msg)
    return confidence
