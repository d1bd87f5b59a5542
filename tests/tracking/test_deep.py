"""Linkers in three dimensions: a movie with planes farther apart than pixels, and its true lineage."""

from __future__ import annotations

import polars as pl
import pytest

from kinocyte.simulation.cells import CellMovie, SimulatedMovie, simulate_cells
from kinocyte.tracking import LAP, Bayesian, Kalman, Linker, Nearest, Overlap

LINKERS: dict[str, tuple[Linker, float, int]] = {
    "lap": (LAP(max_distance_um=10, max_frame_gap=2, splitting_max_distance_um=12), 0.98, 26),
    "kalman": (Kalman(max_distance_um=10, search_radius_um=10, splitting_max_distance_um=12), 0.98, 26),
    "bayesian": (Bayesian(max_distance_um=10), 0.93, 4),
    "nearest": (Nearest(max_distance_um=10), 0.94, 0),
    "overlap": (Overlap(min_iou=0.15), 0.93, 8),
    "iou": (LAP(cost="iou", splitting_max_distance_um=12), 0.95, 10),
}


@pytest.fixture(scope="module")
def movie() -> SimulatedMovie:
    settings = CellMovie(
        frames=16, height_px=100, width_px=100, planes=16, cells=12, elongation=1.0, spacing=1.1, death_rate_per_h=0,
        division_rate_per_h=1.0, shortest_cycle_min=0,
    )  # fmt: skip
    return simulate_cells(settings, seed=1)


def divisions(links: pl.DataFrame) -> set[tuple[int, ...]]:
    daughters = links.group_by("source_id").agg(pl.col("target_id").sort())
    return {(mother, *both) for mother, both in daughters.iter_rows() if len(both) == 2}


@pytest.mark.parametrize("name", LINKERS)
def test_links_and_divisions_in_three_dimensions(movie: SimulatedMovie, name: str) -> None:
    linker, f1, divided = LINKERS[name]
    links = linker.link(movie.objects, labels=movie.labels)
    true, found = (set(t.select("source_id", "target_id").iter_rows()) for t in (movie.links, links))
    assert 2 * len(true & found) / (len(true) + len(found)) >= f1
    assert len(divisions(movie.links)) == 33
    assert len(divisions(links) & divisions(movie.links)) >= divided
    assert len(divisions(links) - divisions(movie.links)) <= 4


def test_depth_counts_in_micrometres(movie: SimulatedMovie) -> None:
    flat = LAP(max_distance_um=10).link(movie.objects.with_columns(z_um=0.0))
    deep = LAP(max_distance_um=10).link(movie.objects)
    true = set(movie.links.select("source_id", "target_id").iter_rows())
    wrong = [len(set(t.select("source_id", "target_id").iter_rows()) - true) for t in (flat, deep)]
    assert wrong[1] < wrong[0] / 3
