"""Tables, plots, gates, figures and comparisons in a window: what is seen is what the library gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("napari")
pytest.importorskip("pyqtgraph")

import kinocyte
from kinocyte.app.session import Selection
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from tests.app.small import PIPELINE, QUIET, Desk, desk, finished, has_colour, store  # noqa: F401 - fixtures

pytestmark = QUIET
Open = Callable[..., Desk]


def open_explore(desk: Open) -> Desk:  # noqa: F811 - the fixture
    from kinocyte.app.explore.panel import ExplorePanel

    opened = desk(ExplorePanel, size=(1000, 700))
    opened.until(lambda: opened.panel.frame.height > 0)
    opened.rest()
    return opened


def enter(opened: Desk, name: str, text: str) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    line = opened.find(name)
    line.setText(text)
    QTest.keyClick(line, Qt.Key.Key_Return)
    opened.rest()


def set_data(box: Any, value: str) -> None:
    assert box.findData(value) >= 0, value
    box.setCurrentIndex(box.findData(value))


def test_the_table_is_asked_derived_from_sorted_and_collapsed(desk: Open) -> None:  # noqa: F811
    opened = open_explore(desk)
    panel = opened.panel
    objects = opened.position().objects("nuclei")
    assert panel.frame.height == objects.height
    enter(opened, "explore_derive", "ratio = mean_pi / mean_dna; log_area = log(area_um2)")
    enter(opened, "explore_query", "ratio > 0.4")
    kept = objects.filter(pl.col("mean_pi") / pl.col("mean_dna") > 0.4)
    assert panel.frame["object_id"].to_list() == kept["object_id"].to_list()
    np.testing.assert_allclose(panel.frame["log_area"], np.log(kept["area_um2"]))
    enter(opened, "explore_query", "rato > 0.4")
    assert "did you mean 'ratio'" in opened.find("explore_error").text()
    assert opened.find("explore_error").isVisible()
    enter(opened, "explore_query", "")
    assert not opened.find("explore_error").isVisible()
    head = panel.view.horizontalHeader()
    column = panel.frame.columns.index("area_um2")
    head.sectionClicked.emit(column)
    opened.rest()
    assert panel.frame["area_um2"].to_list() == sorted(objects["area_um2"].to_list())
    head.sectionClicked.emit(column)
    opened.rest()
    assert panel.frame["area_um2"][0] == objects["area_um2"].max()
    panel._sort = ("", False)
    set_data(opened.find("explore_collapse"), "collapse_tracks")
    opened.rest()
    assert panel.frame.height == opened.position().tracks("nuclei").height
    mean = objects.filter(track_id=1)["area_um2"].mean()
    assert panel.frame.filter(track_id=1)["mean_area_um2"].item() == pytest.approx(mean)
    opened.find("explore_everywhere").setChecked(True)
    opened.rest()
    assert panel.frame["position"].n_unique() == 4
    assert set(panel.frame["well"]) == {"A1", "A2", "B1", "B2"}


def test_rows_and_points_lead_to_the_cell_and_back(desk: Open) -> None:  # noqa: F811
    opened = open_explore(desk)
    panel = opened.panel
    index = panel.model.index(20, 2)
    panel.view.scrollTo(index)
    opened.click_at(panel.view.viewport(), panel.view.visualRect(index).center())
    row = panel.frame.row(20, named=True)
    assert opened.session.selection.object_ids == (row["object_id"],)
    assert opened.session.frame == row["frame"]
    panel.tabs.setCurrentIndex(1)
    opened.rest()
    x, y = panel.x_box.currentData(), panel.y_box.currentData()
    lonely = panel.frame.sort("area_um2").row(-1, named=True)
    opened.click_at(panel.plot.plot.viewport(), panel.plot.screen_of(lonely[x], lonely[y]))
    assert opened.session.selection.object_ids == (lonely["object_id"],)
    assert has_colour(opened.picture(), "#e69f00") > 10, "the chosen point has a ring"
    opened.session.select(Selection("nuclei", (), (int(panel.frame["object_id"][3]),), "image"))
    opened.rest()
    assert panel.view.selectionModel().selectedRows()[0].row() == 3
    opened.find("explore_everywhere").setChecked(True)
    opened.rest()
    far = next(i for i, p in enumerate(panel.frame["position"]) if p == "B1/1")
    panel._choose_row(far)
    opened.rest()
    assert opened.session.position.id == "B1/1"


def test_a_gate_is_drawn_shown_and_kept_as_data(desk: Open) -> None:  # noqa: F811
    opened = open_explore(desk)
    panel = opened.panel
    opened.find("explore_everywhere").setChecked(True)
    opened.rest()
    panel.tabs.setCurrentIndex(1)
    set_data(panel.x_box, "mean_pi")
    set_data(panel.y_box, "area_um2")
    opened.rest()
    assert not opened.find("gate_keep").isEnabled()
    opened.click("gate_rectangle")
    port = panel.plot.plot.viewport()
    (x0, x1), (y0, y1) = panel.plot.plot.viewRange()
    for corner in ((0.5 * (x0 + x1), y0 + 0.02 * (y1 - y0)), (x1 - 0.02 * (x1 - x0), y1 - 0.02 * (y1 - y0))):
        opened.click_at(port, panel.plot.screen_of(*corner))
        opened.wait(350)  # slower than a double-click
    inside = panel.gate.inside
    assert panel.gate.condition.startswith(("2", "3"))
    bright = panel.frame.filter(pl.col("mean_pi") > 0.5 * (x0 + x1))
    assert inside.height == bright.height > 0
    opened.click("gate_show")
    here = inside.filter(position=opened.session.position.id)
    assert opened.session.selection.object_ids == tuple(here["object_id"])
    assert "lie in other positions" in opened.said[-1][0]
    opened.find("gate_name").setText("signal")
    opened.find("gate_value").setText("bright")
    opened.click("gate_keep")
    opened.rest()
    entry = opened.position().journal.entries()[-1]
    assert (entry.action, entry.payload["name"], len(entry.payload["objects"])) == (
        "set_object_class", "signal", inside.filter(position="A1/1").height,
    )  # fmt: skip
    assert len(opened.position("B2/1").journal.entries()) == 1
    kept = opened.position().objects("nuclei").filter(signal="bright")
    assert set(kept["object_id"]) == set(inside.filter(position="A1/1")["object_id"])
    text = panel.gate.snippet()
    assert run(parse_pipeline(PIPELINE + text.replace("[population]\n", "")), opened.session.experiment,
               where=Workers(workers=0)).ok  # fmt: skip
    found = opened.position("B2/1").objects("nuclei").filter(pl.col("signal_state"))
    assert set(found["object_id"]) == set(inside.filter(position="B2/1")["object_id"]), "the pipeline finds the same"


def test_a_polygon_of_tracks_becomes_a_class_of_tracks(desk: Open) -> None:  # noqa: F811
    opened = open_explore(desk)
    panel = opened.panel
    set_data(opened.find("explore_table"), "tracks")
    opened.rest()
    panel.tabs.setCurrentIndex(1)
    set_data(panel.x_box, "first_frame")
    set_data(panel.y_box, "last_frame")
    opened.rest()
    opened.click("gate_polygon")
    for x, y, ends in ((-1, 5, False), (1, 5, False), (1, 9, False), (-1, 9, False), (-1, 9, True)):
        panel.plot.drawn.emit(float(x), float(y), ends)
    assert opened.find("gate_of").currentText() == "their tracks"
    inside = panel.gate.inside["track_id"].to_list()
    assert inside == panel.frame.filter(first_frame=0)["track_id"].to_list()
    opened.find("gate_name").setText("founder")
    opened.click("gate_keep")
    opened.rest()
    tracks = opened.position().tracks("nuclei").filter(founder="inside")
    assert tracks["track_id"].to_list() == inside
    opened.key("z", ctrl=True)
    opened.rest()
    assert "founder" not in opened.position().tracks("nuclei").columns
    panel.gate.begin("polygon")
    for x, y, ends in ((0, 0, False), (1, 1, False), (1, 0, False), (0, 2, True)):
        panel.plot.drawn.emit(float(x), float(y), ends)
    assert "crosses itself" in opened.said[-1][0]


def test_a_million_rows_and_points_do_not_stop_the_window(
    desk: Open,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kinocyte.app.explore.rows import Shown

    opened = open_explore(desk)
    panel = opened.panel
    rng = np.random.default_rng(1)
    n = 1_000_000
    frame = pl.DataFrame(
        {"position": ["A1/1"] * n, "object_id": np.arange(n), "a": rng.normal(size=n), "b": rng.normal(size=n)}
    )
    asked, real = [0], panel.model.data

    def counted(index: Any, role: int = 0) -> Any:
        asked[0] += 1
        return real(index, role)

    monkeypatch.setattr(panel.model, "data", counted)
    panel._show(Shown(frame, ("a", "b"), ()))
    for at in (0, 999_999, 500_000):
        panel.view.scrollTo(panel.model.index(at, 0))
        opened.wait(5)
        opened.picture()
        assert panel.model.data(panel.model.index(at, 1)) == str(at)
    assert asked[0] < 20_000, "only the rows on the screen are read"
    panel.tabs.setCurrentIndex(1)
    set_data(panel.x_box, "a")
    set_data(panel.y_box, "b")
    opened.rest()
    assert "1,000,000 points shown as density" in opened.find("plot_told").text()
    assert len(np.unique(opened.picture().reshape(-1, 3), axis=0)) > 100, "a picture in many colours"


def test_figures_are_saved_with_their_data_in_the_width_of_a_journal(desk: Open, tmp_path: Path) -> None:  # noqa: F811
    opened = open_explore(desk)
    panel = opened.panel
    panel.tabs.setCurrentIndex(1)
    for kind, width in (("scatter", 0), ("histogram", 1), ("ecdf", 2), ("lines", 0)):
        set_data(opened.find("explore_kind"), kind)
        opened.find("explore_save_width").setCurrentIndex(width)
        opened.find("explore_save_file").setText(kind)
        panel.save.save(tmp_path / kind)
        opened.rest()
        names = sorted(p.name for p in (tmp_path / kind).iterdir())
        assert names == [f"{kind}.csv", f"{kind}.pdf", f"{kind}.svg"]
        svg = (tmp_path / kind / f"{kind}.svg").read_text()
        points = (85.0, 114.0, 174.0)[width] / 25.4 * 72
        assert f'width="{points:.0f}' in svg or f'width="{points:.1f}' in svg or f"{points:.2f}"[:4] in svg[:600]
        assert pl.read_csv(tmp_path / kind / f"{kind}.csv").height == panel.frame.height
    panel.save_csv(tmp_path / "rows.csv")
    opened.rest()
    assert pl.read_csv(tmp_path / "rows.csv").height == panel.frame.height


def test_a_comparison_is_what_the_pipeline_writes(desk: Open, tmp_path: Path) -> None:  # noqa: F811
    from kinocyte.app.explore.comparing import ComparePanel

    opened = desk(ComparePanel, size=(1000, 700))
    panel = opened.panel
    panel.form.set_value({"method": "survival", "by": "drug"})
    opened.click("compare_ask")
    opened.rest()
    assert "event" in opened.find("compare_error").text()
    for asked in (
        {"method": "survival", "event": "bright", "by": "drug"},
        {"method": "aligned_signal", "event": "bright", "signal": "mean_pi", "by": "drug", "min_cells": 1},
        {"method": "values", "value": "area_um2", "by": "drug", "draws": 100},
    ):
        panel.form.set_value(asked)
        opened.click("compare_ask")
        opened.rest()
        assert panel.answer.method == asked["method"], opened.find("compare_error").text()
        lines = "\n".join(f"{k} = {v!r}" for k, v in panel.document().items())
        text = f"{PIPELINE}\n[[comparison]]\n{lines}\n".replace("'", '"')
        assert run(parse_pipeline(text), opened.session.experiment, where=Workers(workers=0)).ok
        (stored,) = kinocyte.open(opened.session.experiment.url).comparisons()
        for name, frame in stored.frames.items():
            assert frame.equals(panel.answer.frames[name]), (asked["method"], name)
        assert panel.canvas is not None
        panel.save.save(tmp_path / asked["method"])
        opened.rest()
        assert (tmp_path / asked["method"] / f"{asked['method']}.csv").stat().st_size > 20
    for sentence in panel.answer.sentences:
        assert sentence.split(",")[0] in opened.find("compare_text").toPlainText()
