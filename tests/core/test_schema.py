"""Table schemas."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from kinocyte.core import schema
from kinocyte.core.errors import TableError
from kinocyte.core.schema import LINKS, OBJECTS, TRACKS, conform, empty, require, unit_of_column

SCHEMAS = {n: getattr(schema, n) for n in ("OBJECTS", "LINKS", "TRACKS", "MEMBERS", "EVENTS", "DRIFT")}


def objects() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "area_um2": [10.0, 12.0],
            "object_id": [1, 2],
            "frame": [0, 1],
            "label": [1, 1],
            "time_min": [0, 30],
            "x_um": [1.0, 1.5],
            "y_um": [2.0, 2.5],
            "z_um": [0.0, 0.0],
        }
    )


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("area_um2", "um2"),
        ("volume_um3", "um3"),
        ("speed_um_per_min", "um/min"),
        ("growth_um2_per_min", "um2/min"),
        ("rate_per_min", "1/min"),
        ("turning_rad_per_min", "rad/min"),
        ("time_min", "min"),
        ("x_um", "um"),
        ("dx_px", "px"),
        ("angle_deg", "deg"),
        ("mean_hoechst", None),
        ("minimum", None),
        ("um", None),
    ],
)
def test_units_are_read_from_the_end_of_a_name(name: str, unit: str | None) -> None:
    assert unit_of_column(name) == unit


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_declared_unit_is_the_one_in_the_name(name: str) -> None:
    for column, declared in SCHEMAS[name].items():
        assert declared.help, f"{name}.{column} has no help"
        assert declared.unit == unit_of_column(column), f"{name}.{column}"


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_empty_table_conforms_to_its_own_schema(name: str) -> None:
    table = empty(SCHEMAS[name])
    assert table.height == 0
    assert_frame_equal(conform(table, SCHEMAS[name], table=name.lower()), table)


def test_columns_of_the_schema_come_first_and_are_cast() -> None:
    table = conform(objects(), OBJECTS, table="nuclei_objects")
    assert table.columns == [
        "object_id",
        "frame",
        "label",
        "time_min",
        "x_um",
        "y_um",
        "z_um",
        "area_um2",
    ]
    assert table.schema["label"] == pl.UInt32
    assert table.schema["time_min"] == pl.Float64
    assert table["area_um2"].to_list() == [10.0, 12.0]


def test_a_missing_column_is_named_with_its_nearest() -> None:
    with pytest.raises(TableError, match=r"'nuclei_objects' lacks the column 'frame'; did you mean 'frames'\?"):
        conform(objects().rename({"frame": "frames"}), OBJECTS, table="nuclei_objects")


@pytest.mark.parametrize(
    "wrong",
    [
        pl.Series("frame", ["zero", "one"]),
        pl.Series("frame", [0.0, float("nan")]),
        pl.Series("frame", [0.0, 1.5]),
        pl.Series("label", [1, -1]),
        pl.Series("label", [1, 2**32]),
    ],
    ids=["text", "nan", "fraction", "negative", "overflow"],
)
def test_a_value_that_does_not_fit_its_type_is_refused(wrong: pl.Series) -> None:
    with pytest.raises(TableError, match=f"'nuclei_objects' holds a value in the column '{wrong.name}'"):
        conform(objects().with_columns(wrong), OBJECTS, table="nuclei_objects")


def test_whole_numbers_written_as_floats_are_accepted() -> None:
    table = conform(objects().with_columns(pl.col("frame").cast(pl.Float64)), OBJECTS, table="nuclei_objects")
    assert table["frame"].to_list() == [0, 1]


def test_a_null_where_none_may_stand_names_its_row() -> None:
    table = objects().with_columns(pl.Series("x_um", [1.0, None]))
    with pytest.raises(TableError, match="no x_um in row 1"):
        conform(table, OBJECTS, table="nuclei_objects")


def test_nulls_are_kept_where_they_may_stand() -> None:
    links = pl.DataFrame(
        {
            "source_id": [1],
            "target_id": [2],
            "cost": pl.Series([None], dtype=pl.Float64),
            "frame_gap": [1],
            "confidence": pl.Series([None], dtype=pl.Float64),
        }
    )
    assert conform(links, LINKS, table="links")["cost"].to_list() == [None]
    roots = (
        empty(TRACKS)
        .clear(1)
        .with_columns(
            pl.col("track_id", "root_id").fill_null(1),
            pl.col("generation", "first_frame", "last_frame").fill_null(0),
        )
    )
    assert conform(roots, TRACKS, table="tracks")["parent_id"].to_list() == [None]


def test_an_optional_column_is_cast_when_present() -> None:
    table = conform(objects().with_columns(quality=pl.lit(1)), OBJECTS, table="nuclei_objects")
    assert table.schema["quality"] == pl.Float64
    assert table.columns.index("quality") < table.columns.index("area_um2")


@given(
    st.lists(
        st.tuples(st.integers(1, 2**62), st.integers(0, 2**31 - 1), st.integers(0, 2**32 - 1)),
        max_size=20,
    )
)
def test_conforming_twice_changes_nothing(rows: list[tuple[int, int, int]]) -> None:
    table = pl.DataFrame(rows, schema=["object_id", "frame", "label"], orient="row").with_columns(
        time_min=0.0, x_um=0.0, y_um=0.0, z_um=0.0
    )
    once = conform(table, OBJECTS, table="t")
    assert_frame_equal(conform(once, OBJECTS, table="t"), once)
    assert once["object_id"].to_list() == [r[0] for r in rows]


def test_require_names_the_nearest_column() -> None:
    require(objects(), ["x_um", "y_um"], table="nuclei_objects")
    with pytest.raises(TableError, match=r"lacks the column 'area_um'; did you mean 'area_um2'\?"):
        require(objects(), ["x_um", "area_um"], table="nuclei_objects")
