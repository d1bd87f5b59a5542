"""Plots of what a pipeline found: hazard, sums, distributions, neighbours, gates, corrections, examples of states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte.experiment.comparisons import write_comparison
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.records import Record
from kinocyte.report import write_report
from kinocyte.report.gates_section import gate_of
from kinocyte.statistics import Behaviour, Comparison, compare_additive, compare_hazard, compare_values
from tests.report.conftest import add_position

FRAMES = ("groups", "curves", "points", "tests", "effects", "details")
WHEN = "mean_dye > 800 and area_um2 < 32"


def store(experiment: Experiment, name: str, found: Comparison, number: int, **parameters: object) -> None:
    document = {"number": number, "title": name, "method": found.method, "parameters": parameters, "subject": "cells",
                "notes": list(found.notes)}  # fmt: skip
    write_comparison(experiment.storage, name, document, {n: getattr(found, n) for n in FRAMES})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Experiment]:
    """Return the page of two wells with one of everything, and the folder of its figures."""
    folder = tmp_path_factory.mktemp("plots")
    made = kinocyte.create(folder / "e.zarr")
    rng = np.random.default_rng(0)
    parts = []
    for i, well in enumerate(("A1", "B1")):
        position = add_position(made, well, "1", n_cells=6, seed=i)
        objects = position.objects("cells")
        near = pl.Series("pairs_n_inclusive", rng.poisson(1 + i, objects.height))
        position.write_table("pairs_neighbourhood", objects.select("object_id").with_columns(near))
        position.write_table("pairs_contacts", pl.DataFrame({"duration_min": rng.exponential(10 + 10 * i, 30)}))
        events = pl.DataFrame(
            {"track_id": range(1, 7), "event": ["bright"] * 6, "class": ["event", "none"] * 3,
             "time_min": [20.0, None] * 3, "time_se_min": [1.0, None] * 3, "confidence": [0.9] * 6},
        )  # fmt: skip
        position.write_table("cells_events", events)
        method = {"methods": [{"method": "group", "name": "bright", "when": WHEN}]}
        position.records.put(Record(step="events", population="cells", fingerprint="f", method=method))
        said = events.head(3).with_columns(pl.lit("none").alias("class"), pl.lit(None, pl.Float64).alias("time_min"))
        position.write_table("cells_set_events", said)
        parts.append(objects.with_columns(position=pl.lit(position.id), well=pl.lit(well), drug=pl.lit(well)))
    made.set_conditions(pl.DataFrame({"well": ["A1", "B1"], "drug": ["none", "toxin"]}))
    lives = pl.DataFrame({"t": rng.exponential(30, 300), "e": rng.random(300) < 0.8, "g": ["a", "b", "c"] * 100,
                          "r": np.repeat([1, 2, 3], 100), "v": rng.normal(0, 1, 300)})  # fmt: skip
    store(made, "hazard", compare_hazard(lives, duration="t", event="e", by="g"), 1, event="death", by="g")
    sums = compare_additive(lives, value="v", by="g", observed="a", first="b", second="c", replicate="r")
    store(made, "sums", sums, 2, value="v", by="g")
    store(made, "values", compare_values(lives, value="v", by="g", replicate="r", draws=100), 3, value="v", by="g")
    asked = Behaviour(
        by="drug", features=("mean_dye", "area_um2"), n_states=2, window_min=60.0, resamples=3, replicate=""
    )
    store(made, "states", asked.compare(pl.concat(parts)), 4, by="drug")
    out = write_report(made, folder / "r.html", figures_dir=folder / "figures", formats=("svg",))
    return out.read_text(encoding="utf-8"), folder / "figures", made


def test_every_answer_has_its_plots_and_their_data(page: tuple[str, Path, Experiment]) -> None:
    html, folder, _ = page
    for name in ("hazard", "sums", "values", "values_ecdf", "values_violin", "states", "states_transitions"):
        assert (folder / f"comparison_{name}.svg").is_file(), name
        assert list(folder.glob(f"comparison_{name}*.csv")), name
    cells = pl.read_csv(folder / "comparison_values_ecdf.csv")
    assert cells.columns == ["group", "replicate", "value"]
    assert cells.height == 300
    assert "Best examples of" in html
    assert html.count('class="strip"') > 2


def test_neighbours_gates_and_corrections_stand_on_the_page(page: tuple[str, Path, Experiment]) -> None:
    html, folder, made = page
    assert '<section id="neighbours"' in html
    drawn = pl.read_csv(folder / "pairs_neighbours.csv")
    counts = made.positions["B1/1"].table("pairs_neighbourhood")["pairs_n_inclusive"]
    mine = drawn.filter(pl.col("group") == "toxin")
    assert mine["len"].sum() == counts.len()
    assert (mine["len"] * mine["pairs_n_inclusive"]).sum() == counts.sum()
    assert (folder / "cells_bright_gate.svg").is_file()
    corrected = pl.read_csv(folder / "cells_bright_corrections.csv").sort("called")
    assert corrected.rows() == [("none", "event", 4), ("none", "none", 2)]


def test_which_conditions_are_rectangles() -> None:
    assert gate_of(WHEN, "mean_dye", "area_um2") == (800.0, None, None, 32.0)
    assert gate_of("1 <= a <= 2 and b >= -3", "a", "b") == (1.0, 2.0, -3.0, None)
    assert gate_of("a > 2 * b", "a", "b") is None
    assert gate_of("a > 2 or b > 3", "a", "b") is None
