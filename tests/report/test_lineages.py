"""The report draws the lineages of cells that divided, and says what filters left out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import kinocyte
from kinocyte import Scale
from kinocyte.core.lineages import lineage_names
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from kinocyte.report.filters_section import filters
from kinocyte.report.lineages_section import MOST_LEAVES, _most_branched, lineages
from kinocyte.report.material import Sketchbook
from kinocyte.report.methods_text import methods_text, steps
from kinocyte.simulation.cells import CellMovie, simulate_cells

TEXT = """
[population.nuclei.segmentation]
method = "threshold"
channel = "dna"
threshold = "fixed"
low = 400.0
min_area_um2 = 0.5
[[population.nuclei.filter]]
feature = "area_um2"
min = 12.5
otsu = "above"
[population.nuclei.tracking]
method = "lap"
max_distance_um = 3.0
splitting_max_distance_um = 5.0
[[population.nuclei.track_filter]]
feature = "n_objects"
min = 3
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a folder of figures and what the report says: a cell that divides, one that walks, crumbs."""
    folder = tmp_path_factory.mktemp("lineages")
    y, x = np.mgrid[:64, :80]
    experiment = kinocyte.create(folder / "e.zarr")
    writer = experiment.new_position(
        well="A1", field="1", shape=(6, 1, 1, 64, 80), dtype=np.uint16, channels=["dna"],
        scale=Scale(y_um=0.5, x_um=0.5, frame_interval_min=5.0),
    )  # fmt: skip
    for t in range(6):
        frame = np.full((64, 80), 100.0)
        apart = 0 if t < 3 else 5 + 2 * (t - 3)
        for cy, cx, r in ((20, 20 - apart, 5), (20, 20 + apart, 5), (48, 30 + t, 5), (48, 60 + t % 2, 2.2)):
            frame[np.hypot(y - cy, x - cx) <= r] = 900
        writer.write(t, frame.astype(np.uint16)[None])
    writer.finish()
    opened = kinocyte.open(experiment.url)
    assert run(parse_pipeline(TEXT), opened, where=Workers(workers=0)).ok
    tracks = opened.position("A1/1").tracks("nuclei")
    assert tracks["lineage_name"].to_list() == ["1", "2", "1a", "1b"]
    material: Any = SimpleNamespace(populations=["nuclei"], positions=list(opened.positions.values()))
    (drawn,) = lineages(material, Sketchbook(folder, ("svg",)))
    told = " ".join(
        f"{r['population']} {r['what']} {r['feature']} {r['asked']} {r['failed']}" for r in filters(material)
    )
    sentences = " ".join(methods_text(opened, steps(opened)).sentences)
    return folder, f"{drawn.title}. {drawn.caption} {drawn.svg} {told} {sentences}"


def test_the_lineages_are_drawn_with_their_names(page: tuple[Path, str]) -> None:
    folder, text = page
    assert "Lineages of nuclei" in text
    assert "1 of 1 divisions" in text
    rows = (folder / "nuclei_lineages.csv").read_text()
    assert "1a" in rows
    assert "1b" in rows
    assert "<svg" in text


def test_the_filters_are_told_with_their_limits(page: tuple[Path, str]) -> None:
    text = page[1]
    assert "at least 12.5 and above the limit of Otsu" in text
    assert "were filtered with the filter “area_um2” (min 12.5; otsu above)" in text


def test_names_say_who_descends_from_whom() -> None:
    movie = simulate_cells(CellMovie(frames=40, cells=5, division_rate_per_h=1.0, shortest_cycle_min=20.0), seed=1)
    tracks = movie.tracks.sort("track_id")
    names = dict(zip(tracks["track_id"], lineage_names(tracks), strict=True))
    assert len(set(names.values())) == tracks.height
    for track, parent, root in tracks.select("track_id", "parent_id", "root_id").iter_rows():
        assert names[track].startswith(str(root))
        assert parent is None or names[track][:-1] == names[parent]


def test_as_many_lineages_are_drawn_as_fit() -> None:
    movie = simulate_cells(CellMovie(frames=60, cells=30, division_rate_per_h=1.0, shortest_cycle_min=20.0), seed=1)
    shown, n = _most_branched(movie.tracks)
    leaves = shown.filter(~shown["track_id"].is_in(shown["parent_id"].drop_nulls().implode())).height
    assert n >= 1
    assert leaves <= MOST_LEAVES or n == 1
