"""The plate: places of wells, conditions, wells at the edge."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError
from kinocyte.report.grouping import group_wells
from kinocyte.report.plate_edges import edge_effects
from kinocyte.report.plate_layout import place, plate_of, row_name
from kinocyte.report.plate_map import plate_data, plate_figure


@given(st.integers(0, 700), st.integers(0, 998))
def test_names_of_wells_and_their_places_agree(row: int, column: int) -> None:
    assert place(f"{row_name(row)}{column + 1}") == (row, column)


@pytest.mark.parametrize(
    ("wells", "size"),
    [(["A1"], (2, 3)), (["B2", "C3"], (3, 4)), (["H12"], (8, 12)), (["P24"], (16, 24)),
     (["AF48"], (32, 48)), (["ZZ99"], (702, 99)), ([], (2, 3))],
)  # fmt: skip
def test_the_smallest_plate_that_fits(wells: list[str], size: tuple[int, int]) -> None:
    plate = plate_of(wells)
    assert (plate.n_rows, plate.n_columns) == size


def conditions(**columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame({"well": ["A1", "A2", "B1", "B2"], **columns})


def test_conditions_are_named_by_what_differs() -> None:
    grouping = group_wells(
        conditions(
            cell=["HeLa"] * 4, drug=["none", "none", "Dox", "Dox"], concentration=[0.0, 0.0, 0.5, 2.0],
            unit=["nM", "nM", "nM", "µM"], replicate=[1, 2, 1, 2],
        )
    )  # fmt: skip
    assert grouping.labels == ("none, 0\u00a0nM", "Dox, 0.5\u00a0nM", "Dox, 2\u00a0µM")
    assert grouping.columns == ("drug", "concentration", "unit")
    assert grouping.replicate == "replicate"
    assert grouping.of_well["A2"] == "none, 0\u00a0nM"


def test_numbers_are_ordered_by_size_and_nothing_comes_last() -> None:
    grouping = group_wells(conditions(time=[100, 20, None, 3]))
    assert grouping.labels == ("time 3", "time 20", "time 100", "not stated")


def test_wells_that_do_not_differ_are_one_group() -> None:
    assert group_wells(conditions(drug=["x"] * 4)).labels == ("all wells",)
    assert group_wells(pl.DataFrame({"well": ["A1"]})).labels == ("all wells",)
    assert group_wells(pl.DataFrame({"well": []}, schema={"well": pl.String})).labels == ()


def test_one_column_by_name() -> None:
    grouping = group_wells(conditions(drug=["a", "b", "a", "b"], replicate=[1, 1, 2, 2]), by="replicate")
    assert grouping.labels == ("replicate 1", "replicate 2")
    assert grouping.replicate is None
    with pytest.raises(ParameterError, match="did you mean 'drug'"):
        group_wells(conditions(drug=["a"] * 4), by="drog")


def edge_table(inner: float, edge: float) -> tuple[pl.DataFrame, list[str]]:
    wells = [f"{row_name(r)}{c}" for r in range(3) for c in range(1, 5)]  # 3 x 4 plate: 2 inner wells
    values = [inner if place(w) in {(1, 1), (1, 2)} else edge for w in wells]
    return pl.DataFrame({"well": wells, "q": values}), wells


def test_edge_effect_is_the_difference_within_conditions() -> None:
    # 96 wells; inner wells of the two conditions at 10 and 20, edge wells 2 higher, scatter of plus and minus 1
    wells = [f"{row_name(r)}{c}" for r in range(8) for c in range(1, 13)]
    plate = plate_of(wells)
    treated = {w: place(w)[1] >= 6 for w in wells}
    sign = {w: 1.0 if sum(place(w)) % 2 else -1.0 for w in wells}
    values = [10.0 + 10 * treated[w] + 2 * plate.is_edge(w) + sign[w] for w in wells]
    grouping = group_wells(pl.DataFrame({"well": wells, "drug": ["a" if treated[w] else "b" for w in wells]}))
    row = edge_effects(pl.DataFrame({"well": wells, "q": values}), ["q"], plate, grouping).row(0, named=True)
    assert (row["n_edge"], row["n_inner"]) == (36, 60)
    assert row["difference"] == pytest.approx(2.0, abs=0.15)
    assert row["relative"] == pytest.approx(2.0 / 15, abs=0.02)
    assert row["in_sd"] == pytest.approx(2.0, abs=0.2)
    assert row["look"]


def test_a_condition_that_sits_at_the_edge_is_not_taken_for_an_edge_effect() -> None:
    wells = [f"{row_name(r)}{c}" for r in range(8) for c in range(1, 13)]
    plate = plate_of(wells)
    drug = ["control" if plate.is_edge(w) else "dose" for w in wells]
    values = [1.0 if d == "control" else 5.0 for d in drug]
    grouping = group_wells(pl.DataFrame({"well": wells, "drug": drug}))
    assert edge_effects(pl.DataFrame({"well": wells, "q": values}), ["q"], plate, grouping).is_empty()


def test_too_few_wells_are_not_compared() -> None:
    table, wells = edge_table(1.0, 2.0)
    grouping = group_wells(pl.DataFrame({"well": wells}))
    assert edge_effects(table, ["q"], plate_of(wells), grouping).is_empty()


def test_missing_and_constant_values_are_no_effect() -> None:
    wells = [f"{row_name(r)}{c}" for r in range(8) for c in range(1, 13)]
    table = pl.DataFrame({"well": wells, "q": [5.0] * 96, "n": [None] * 96}, schema_overrides={"n": pl.Float64})
    found = edge_effects(table, ["q", "n"], plate_of(wells), group_wells(pl.DataFrame({"well": wells})))
    assert found.select("quantity", "difference", "in_sd", "look").rows() == [("q", 0.0, None, False)]


def test_the_map_holds_every_well_with_its_values() -> None:
    plate = plate_of(["A1", "B3"])
    grouping = group_wells(pl.DataFrame({"well": ["A1", "B3"], "drug": ["<b>", "y"]}))
    data = plate_data(plate, grouping, pl.DataFrame({"well": ["A1", "B3"], "q": [1.23456789, None]}), {"q": "speed"})
    assert [w["values"] for w in data["wells"]] == [[1.23457], [None]]
    assert [(w["row"], w["column"]) for w in data["wells"]] == [(0, 0), (1, 2)]
    assert data["quantities"] == ["speed"]
    assert [g["name"] for g in data["groups"]] == ["<b>", "y"]
    figure = plate_figure(plate, {"A1": 1.0, "B3": None}, "speed $x$")
    assert len(figure.axes[0].patches) == 6
