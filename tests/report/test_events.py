"""The section of events and the data that lie beside the figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from kinocyte.core.errors import StoreError
from kinocyte.experiment.comparisons import write_comparison
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.records import Record
from kinocyte.report import write_report
from kinocyte.report.drawing import new_figure
from kinocyte.report.material import Sketchbook
from kinocyte.statistics import Behaviour
from tests.report.conftest import add_position


def death(classes: dict[int, tuple[str, float | None]]) -> pl.DataFrame:
    rows = [(t, "death", c, at, 2.0 if at else None, None) for t, (c, at) in classes.items()]
    names = ["track_id", "event", "class", "time_min", "time_se_min", "confidence"]
    return pl.DataFrame(rows, schema=names, orient="row", schema_overrides={"confidence": pl.Float64})


@pytest.fixture
def dying(new_experiment: Callable[..., Experiment]) -> Experiment:
    made = new_experiment()
    for well, n_dead in (("A1", 2), ("B1", 5)):
        position = add_position(made, well, "1", n_cells=7, seed=ord(well[0]))
        classes: dict[int, tuple[str, float | None]] = {
            t: ("event", 20.0 + 9 * t) if t <= n_dead else ("none", None) for t in range(1, 8)
        }
        classes[7] = ("censored_left", None)
        classes[6] = ("excluded", None)
        method = {"methods": [{"method": "threshold_transition", "name": "death", "when": "mean_dye > 850.5"}]}
        record = Record(
            step="events",
            population="cells",
            fingerprint="f",
            method=method,
            versions={"kinocyte": "0.1.0"},
            seconds=1.0,
        )
        position.write_table("cells_events", death(classes))
        position.records.put(record)
    made.set_conditions(pl.DataFrame({"well": ["A1", "B1"], "drug": ["none", "toxin"], "replicate": [1, 1]}))
    return made


def test_events_are_counted_and_drawn_with_their_data(dying: Experiment, tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    page = write_report(dying, tmp_path / "r.html", figures_dir=folder, formats=("svg",)).read_text(encoding="utf-8")
    section = page[page.index('<section id="events"') :]
    section = section[: section.index("</section>")]
    assert '<a href="#events">Events</a>' in page
    assert "death of cells" in section
    rows = [r for r in section.split("<tr>") if 'class="text"' in r]
    for name, counts in (("none", (7, 2, 3, 1, 1)), ("toxin", (7, 5, 0, 1, 1))):
        (row,) = (r for r in rows if f">{name}<" in r)
        labels = ("tracks", "event", "none", "censored left", "excluded")
        for label, count in zip(labels, counts, strict=True):
            assert f'data-label="{label}">{count}</td>' in row, (name, label)
    assert 'data-label="median time">33.5<' in section
    assert section.count("<svg") == 2
    assert "mean dye of cells" in section
    drawn = pl.read_csv(folder / "cells_death_heat_map.csv")
    assert (folder / "cells_death_heat_map.svg").is_file()
    assert drawn["cell"].n_unique() == 12  # the excluded ones are not drawn
    first = drawn.filter((pl.col("group") == "toxin") & (pl.col("row") == 0))
    assert first["event_time_min"].unique().to_list() == [29.0]
    position = dying.positions["B1/1"]
    own = position.objects("cells").filter(pl.col("track_id") == 1).sort("frame")["mean_dye"].to_list()
    assert first.sort("time_min")["value"].to_list() == pytest.approx(own)
    examples = pl.read_csv(folder / "cells_death_examples.csv")
    assert examples["cell"].n_unique() == 6
    assert examples["time_se_min"].to_list() == [2.0] * examples.height


def test_without_a_signal_counts_alone_are_shown(dying: Experiment, tmp_path: Path) -> None:
    for position in dying.positions.values():
        position.records.put(
            Record(
                step="events", population="cells", fingerprint="f", versions={"kinocyte": "0.1.0"}, seconds=1.0,
                method={"methods": [{"method": "group", "name": "death", "when": "unheard_of > 3"}]},
            )
        )  # fmt: skip
    page = write_report(dying, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "No measured signal lies behind it" in page
    assert "median time (min)" in page


def test_without_events_there_is_no_section(experiment: Experiment, tmp_path: Path) -> None:
    page = write_report(experiment, tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'id="events"' not in page
    assert "#events" not in page


def test_behaviour_of_an_experiment_is_drawn_with_its_data(experiment: Experiment, tmp_path: Path) -> None:
    parts = [
        p.objects("cells").select(pl.lit(p.well).alias("well"), pl.lit(p.id).alias("position"), pl.all())
        for p in experiment.positions.values()
    ]
    table = pl.concat(parts).join(experiment.conditions, on="well", how="left")
    asked = Behaviour(by="drug", features=("area_um2",), n_states=2, resamples=3)
    found = asked.compare(table)
    frames = {n: getattr(found, n) for n in ("groups", "curves", "points", "tests", "effects")}
    document = {
        "number": 1,
        "title": "What cells do",
        "method": found.method,
        "parameters": asked.model_dump(mode="json"),
    }
    write_comparison(experiment.storage, "behaviour", {**document, "notes": list(found.notes)}, frames)
    folder = tmp_path / "figures"
    try:
        page = write_report(experiment, tmp_path / "r.html", figures_dir=folder, formats=("svg",)).read_text("utf-8")
    finally:
        experiment.storage.remove("comparisons/behaviour/comparison.json")
    assert "What cells do" in page
    assert "adjusted Rand index" in page
    assert pl.read_csv(folder / "comparison_behaviour_points.csv").height == found.points.height


def test_data_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    book = Sketchbook(tmp_path / "figures", ("svg",))
    (tmp_path / "figures" / "plot.csv").mkdir(parents=True)
    with pytest.raises(StoreError, match="data of figure plot cannot be written"):
        book.add("plot", new_figure(1.0), "Plot", "A plot.", data=pl.DataFrame({"a": [1]}))
    assert Sketchbook().add("plot", new_figure(1.0), "Plot", "A plot.", data=pl.DataFrame({"a": [1]})).name == "plot"


def test_groups_show_their_shares_and_their_gate(dying: Experiment, tmp_path: Path) -> None:
    for position in dying.positions.values():
        cells = position.objects("cells")
        large = cells.select("object_id", (pl.col("object_id") % 4 == 0).alias("large_state"))
        position.write_table("cells_states", large)
        method = {"methods": [{"method": "group", "name": "large", "when": "mean_dye > 850.5 and area_um2 > 3"}]}
        record = Record(step="events", population="cells", fingerprint="f", method=method, seconds=1.0)
        position.records.put(record)
    page = write_report(dying, tmp_path / "r.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="events"') :]
    section = section[section.index("large of cells") : section.index("</section>")]
    shown = pl.concat([p.objects("cells") for p in dying.positions.values()])["large_state"]
    assert shown.dtype == pl.Boolean
    assert section.count('data-label="share"') == 4
    assert ">true<" in section
    assert "Gate of large" in section
    assert section.count("<svg") == 1
