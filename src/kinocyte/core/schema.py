"""Columns of the tables: name, type, unit and meaning, in one place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from kinocyte.core.errors import ParameterError, TableError, nearest


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    dtype: type[pl.DataType] | pl.DataType
    help: str
    unit: str | None = None
    required: bool = True
    nullable: bool = False


Schema = Mapping[str, Column]

#: Units by the end of a column's name; the longest suffix wins.
UNIT_SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        "_um_per_min": "um/min",
        "_um2_per_min": "um2/min",
        "_per_min": "1/min",
        "_per_um": "1/um",
        "_per_um2": "1/um2",
        "_per_um3": "1/um3",
        "_rad_per_min": "rad/min",
        "_um": "um",
        "_um2": "um2",
        "_um3": "um3",
        "_px": "px",
        "_min": "min",
        "_deg": "deg",
        "_rad": "rad",
    }
)


def unit_of_column(name: str) -> str | None:
    """Return the unit a column's name ends in, or None for a pure number."""
    fits = [s for s in UNIT_SUFFIXES if name.endswith(s)]
    return UNIT_SUFFIXES[max(fits, key=len)] if fits else None


#: how German letters are written where only plain ones may stand
_PLAIN = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "µ": "u", "μ": "u"}
)


def column_name(channel: str) -> str:
    """Return a channel's name as it stands in columns: ``mean_<column_name(channel)>``.

    Letters of any script, digits and ``_`` stay as they are, capitals too. Umlauts become two letters (``ü`` is
    ``ue``), other accents fall away (``é`` is ``e``), and anything else (spaces, dots, slashes, brackets) becomes one
    ``_``, none at either end. So ``"Zell Körper"`` gives ``Zell_Koerper`` and ``".. GFP (488)"`` gives ``GFP_488``.

    Raises
    ------
    ParameterError
        If nothing is left of the name.
    """
    composed = unicodedata.normalize("NFC", channel).translate(_PLAIN)
    plain = "".join(c for c in unicodedata.normalize("NFKD", composed) if not unicodedata.combining(c))
    name = re.sub(r"[\W_]+", "_", plain).strip("_")
    if not name:
        msg = f"The channel name {channel!r} holds no letter and no digit; rename the channel."
        raise ParameterError(msg)
    return name


def column_names(channels: Iterable[str]) -> dict[str, str]:
    """Return `column_name` of every channel, in order.

    Raises
    ------
    ParameterError
        If two channels would share one name.
    """
    names: dict[str, str] = {}
    for channel in channels:
        name = column_name(channel)
        for other, taken in names.items():
            if taken == name and other != channel:
                msg = f"The channels {other!r} and {channel!r} would both be the column '{name}'; rename one of them."
                raise ParameterError(msg)
        names[channel] = name
    return names


OBJECTS: Schema = MappingProxyType(
    {
        "object_id": Column(pl.Int64, "running number of the object within population and position, from 1"),
        "frame": Column(pl.Int32, "frame of the movie, from 0"),
        "label": Column(pl.UInt32, "value in the label image of that frame"),
        "time_min": Column(pl.Float64, "time of the frame", "min"),
        "x_um": Column(pl.Float64, "centre, first pixel centre = 0", "um"),
        "y_um": Column(pl.Float64, "centre, first pixel centre = 0", "um"),
        "z_um": Column(pl.Float64, "centre; 0 in 2D", "um"),
        "quality": Column(pl.Float64, "confidence of the segmentation", required=False, nullable=True),
    }
)

LINKS: Schema = MappingProxyType(
    {
        "source_id": Column(pl.Int64, "object_id in the earlier frame"),
        "target_id": Column(pl.Int64, "object_id in the later frame"),
        "cost": Column(pl.Float64, "cost of the link as the linker defines it", nullable=True),
        "frame_gap": Column(pl.Int32, "frames between both ends, 1 = consecutive"),
        "confidence": Column(pl.Float64, "0 to 1, how clearly the link beats its best alternative", nullable=True),
    }
)

TRACKS: Schema = MappingProxyType(
    {
        "track_id": Column(pl.Int64, "one branch between divisions, from 1"),
        "parent_id": Column(pl.Int64, "track the branch came from", nullable=True),
        "root_id": Column(pl.Int64, "first track of the lineage"),
        "generation": Column(pl.Int32, "divisions since the root"),
        "first_frame": Column(pl.Int32, "first frame with an object"),
        "last_frame": Column(pl.Int32, "last frame with an object"),
        "division_confidence": Column(
            pl.Float64, "0 to 1, how sure it is that the branch ends by dividing", required=False, nullable=True
        ),
    }
)

MEMBERS: Schema = MappingProxyType(
    {
        "object_id": Column(pl.Int64, "object"),
        "track_id": Column(pl.Int64, "track the object belongs to"),
    }
)

EVENTS: Schema = MappingProxyType(
    {
        "track_id": Column(pl.Int64, "track"),
        "event": Column(pl.String, "name of the event"),
        "class": Column(pl.String, "event, none, censored_left or excluded"),
        "time_min": Column(pl.Float64, "time of the event", "min", nullable=True),
        "time_se_min": Column(pl.Float64, "standard error of the time", "min", nullable=True),
        "confidence": Column(pl.Float64, "0 to 1", nullable=True),
    }
)

PAIRS: Schema = MappingProxyType(
    {
        "reference_id": Column(pl.Int64, "object_id of the cell that is looked from"),
        "neighbour_id": Column(pl.Int64, "object_id of the cell beside it"),
        "reference_track_id": Column(pl.Int64, "track of the reference cell", nullable=True),
        "neighbour_track_id": Column(pl.Int64, "track of the neighbour", nullable=True),
        "frame": Column(pl.Int32, "frame of the movie, from 0"),
        "time_min": Column(pl.Float64, "time of the frame", "min"),
        "distance_um": Column(pl.Float64, "from centre to centre", "um"),
        "edge_distance_um": Column(
            pl.Float64, "shortest way between both masks, 0 where they touch or overlap", "um", nullable=True
        ),
        "contact_length_um": Column(
            pl.Float64, "outline of the reference that the neighbour touches (contact, 2D)", "um", False, True
        ),
        "contact_area_um2": Column(
            pl.Float64, "surface of the reference that the neighbour touches (contact, 3D)", "um2", False, True
        ),
        "contact_fraction": Column(
            pl.Float64, "part of the outline of the reference that is touched", None, False, True
        ),
        "overlap_um2": Column(pl.Float64, "area of both masks together (contact, 2D)", "um2", False, True),
        "overlap_um3": Column(pl.Float64, "volume of both masks together (contact, 3D)", "um3", False, True),
        "reference_overlap_fraction": Column(pl.Float64, "overlap over the size of the reference", None, False, True),
        "neighbour_overlap_fraction": Column(pl.Float64, "overlap over the size of the neighbour", None, False, True),
    }
)

DRIFT: Schema = MappingProxyType(
    {
        "frame": Column(pl.Int32, "frame of the movie, from 0"),
        "dx_px": Column(pl.Float64, "shift of the content along x", "px"),
        "dy_px": Column(pl.Float64, "shift of the content along y", "px"),
        "dz_px": Column(pl.Float64, "shift of the content along z", "px"),
        "angle_deg": Column(pl.Float64, "rotation of the content", "deg"),
        "quality": Column(pl.Float64, "0 to 1; 0 = could not be registered"),
    }
)

EVENT_CLASSES = ("event", "none", "censored_left", "excluded")


def empty(schema: Schema) -> pl.DataFrame:
    """Return a table without rows that has every required column of a schema."""
    return pl.DataFrame(schema={n: c.dtype for n, c in schema.items() if c.required})


def conform(frame: pl.DataFrame, schema: Schema, *, table: str) -> pl.DataFrame:
    """Return the table with the schema's columns first and cast to the schema's types.

    Parameters
    ----------
    frame : polars.DataFrame
        Any table that holds at least the required columns.
    schema : mapping of str to Column
        What the table must hold.
    table : str
        Name for the message.

    Raises
    ------
    TableError
        If a required column is missing, cannot be cast, or holds nulls where none may stand.
    """
    missing = [n for n, c in schema.items() if c.required and n not in frame.columns]
    if missing:
        msg = f"Table '{table}' lacks the column '{missing[0]}'; {nearest(missing[0], frame.columns)}."
        raise TableError(msg)
    known = [n for n in schema if n in frame.columns]
    rest = [n for n in frame.columns if n not in schema]
    out = frame.select([_cast(frame[n], schema[n].dtype, table) for n in known] + [pl.col(n) for n in rest])
    for name in known:
        if not schema[name].nullable and out[name].null_count():
            row = int(out[name].is_null().arg_max() or 0)
            msg = f"Table '{table}' has no {name} in row {row}; every row needs one."
            raise TableError(msg)
    return out


def _cast(column: pl.Series, dtype: type[pl.DataType] | pl.DataType, table: str) -> pl.Series:
    """Return the column in the type of the schema; polars alone would cut 1.5 to 1."""
    try:
        cast = column.cast(dtype)
        wrong = column.dtype.is_float() and cast.dtype.is_integer() and bool((column != cast).any())
    except pl.exceptions.PolarsError:
        wrong = True
    if wrong:
        wanted = dtype if isinstance(dtype, pl.DataType) else dtype()
        msg = (
            f"Table '{table}' holds a value in the column '{column.name}' ({column.dtype}) that is no {wanted}; "
            "correct the values of that column."
        )
        raise TableError(msg)
    return cast


def require(frame: pl.DataFrame, columns: Sequence[str], *, table: str) -> None:
    """Raise `TableError` naming the nearest column when one is missing."""
    for name in columns:
        if name not in frame.columns:
            msg = f"Table '{table}' lacks the column '{name}'; {nearest(name, frame.columns)}."
            raise TableError(msg)
