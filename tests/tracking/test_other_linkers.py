"""Nearest, manual, overlap and Kalman linking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.registry import get
from kinocyte.core.schema import LINKS
from kinocyte.simulation.cells import CellMovie, simulate_cells
from kinocyte.tracking import LAP, Kalman, Linker, Manual, Nearest, Overlap
from kinocyte.tracking._overlap import overlaps


def objects(*rows: tuple[float, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        [(i + 1, int(r[0]), *map(float, r[1:])) for i, r in enumerate(rows)],
        schema={"object_id": pl.Int64, "frame": pl.Int32, "x_um": pl.Float64, "y_um": pl.Float64},
        orient="row",
    )


def pairs(links: pl.DataFrame) -> set[tuple[int, int]]:
    return set(links.select("source_id", "target_id").iter_rows())


def f1(found: set[tuple[int, int]], true: set[tuple[int, int]]) -> float:
    return 2 * len(found & true) / (len(found) + len(true))


@pytest.mark.parametrize("method", [Nearest(), Manual(), Kalman(), Kalman(splitting_max_distance_um=9)])
def test_nothing_in_nothing_out(method: Linker) -> None:
    assert get("tracking", method.name()) is type(method)
    for movie in (objects(), objects((0, 1, 1)), objects((0, float("nan"), 1), (1, 1, 1))):
        links = method.link(movie)
        assert links.is_empty()
        assert dict(links.schema) == {n: c.dtype for n, c in LINKS.items()}


def test_nearest_takes_the_closest_pair_first() -> None:
    movie = objects((0, 0, 0), (0, 4, 0), (1, 3, 0), (1, 9, 0), (3, 9, 0))
    links = Nearest(max_distance_um=10).link(movie)
    assert pairs(links) == {(2, 3), (1, 4)}
    assert links["cost"].to_list() == [81.0, 1.0]
    assert links["confidence"].to_list() == pytest.approx([0.0, 0.8])


def test_nearest_is_what_a_kd_tree_finds_where_nobody_competes() -> None:
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(0)
    a = rng.random((300, 2)) * 1000
    b = a[rng.permutation(300)] + rng.normal(0, 0.1, (300, 2))
    movie = objects(*[(0, *p) for p in a], *[(1, *p) for p in b])
    near = cKDTree(b).query(a)[1]
    assert pairs(Nearest(max_distance_um=5).link(movie)) == {(i + 1, int(j) + 301) for i, j in enumerate(near)}


def test_manual_links_are_taken_over() -> None:
    movie = objects((0, 0, 0), (2, 4, 0), (3, 3, 0))
    links = Manual(pairs=((2, 3), (1, 2))).link(movie)
    assert links.select("source_id", "target_id", "frame_gap").rows() == [(1, 2, 2), (2, 3, 1)]
    with pytest.raises(TableError, match="names object 9"):
        Manual(pairs=((1, 9),)).link(movie)
    with pytest.raises(TableError, match="name the earlier object first"):
        Manual(pairs=((3, 1),)).link(movie)


def test_kalman_follows_straight_movers_where_position_alone_fails() -> None:
    # two files of cells that march through each other
    rows = []
    for t in range(40):
        for k in range(6):
            rows += [(t, 20.0 * k + 6.0 * t, 0.0), (t, 230.0 + 20.0 * k - 6.0 * t, 2.0)]
    movie = objects(*rows)
    true = {(i, i + 12) for i in range(1, 39 * 12 + 1)}
    steady = Kalman(max_distance_um=15, search_radius_um=10).link(movie)
    assert pairs(steady) == true
    by_place = LAP(max_distance_um=15, gap_max_distance_um=1, compatible="trackmate").link(movie)
    assert f1(pairs(by_place), true) < 0.9
    assert steady["confidence"].min() > 0.0


def test_kalman_coasts_over_a_gap_and_no_farther() -> None:
    rows = [(t, 5.0 * t, 0.0) for t in range(12) if t not in {6, 7}]
    for gap, links in ((3, 9), (2, 8)):
        done = Kalman(max_distance_um=8, search_radius_um=4, max_frame_gap=gap, velocity_change_um=0.5).link(
            objects(*rows)
        )
        assert len(done) == links
        assert done["frame_gap"].max() == (3 if gap == 3 else 1)


def test_kalman_on_real_cells(hela: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    cells, links = hela
    found = pairs(Kalman(max_distance_um=20, splitting_max_distance_um=25, max_frame_gap=1).link(cells))
    assert f1(found, pairs(links)) > 0.98


def disks(*centres: tuple[float, float, float], size: int = 60) -> NDArray[np.uint32]:
    y, x = np.mgrid[:size, :size]
    image = np.zeros((size, size), np.uint32)
    for k, (cy, cx, r) in enumerate(centres):
        image[(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = k + 1
    return image


def of_labels(images: list[NDArray[np.uint32]]) -> pl.DataFrame:
    rows = [(f, int(v)) for f, image in enumerate(images) for v in np.unique(image) if v]
    return pl.DataFrame([(i + 1, *r) for i, r in enumerate(rows)], schema=["object_id", "frame", "label"], orient="row")


def test_overlap_is_the_share_of_common_pixels(data: Path) -> None:
    movie = tifffile.imread(data / "laptrack_examples" / "epidermis_labels_5f.tif").astype(np.uint32)
    first, second, iou = overlaps(movie[0], movie[1])
    assert len(first) > 200
    for a, b, got in list(zip(first, second, iou, strict=True))[::7]:
        one, two = movie[0] == a, movie[1] == b
        assert got == pytest.approx((one & two).sum() / (one | two).sum(), abs=1e-12)


@pytest.mark.parametrize("scale", [0.5, 1.3, 2.0])
def test_scaled_overlap_is_that_of_larger_disks(scale: float) -> None:
    first, second, iou = overlaps(disks((30, 24, 8)), disks((30, 34, 8)), scale)
    big = disks((30, 24, 8 * scale)) > 0, disks((30, 34, 8 * scale)) > 0
    common, total = (big[0] & big[1]).sum(), (big[0] | big[1]).sum()
    if common == 0:
        assert len(iou) == 0
    else:
        assert (first.tolist(), second.tolist()) == ([1], [1])
        assert iou[0] == pytest.approx(common / total, abs=0.03)


def test_overlap_in_three_dimensions_is_that_in_two() -> None:
    a, b = disks((30, 24, 8)), disks((30, 30, 8))
    for scale in (1.0, 1.5):
        flat = overlaps(a, b, scale)[2]
        assert overlaps(a[None], b[None], scale)[2] == pytest.approx(flat)
    stack = overlaps(np.stack([a, a]), np.stack([b, np.zeros_like(b)]))[2][0]
    assert 0 < stack < overlaps(a, b)[2][0]


def test_daughters_and_gaps_by_overlap() -> None:
    images = [
        disks((30, 30, 9), (10, 10, 5)), disks((30, 31, 9)), disks((30, 24, 6), (30, 38, 6), (10, 11, 5)),
    ]  # fmt: skip
    movie = of_labels(images)
    links = Overlap(min_iou=0.2, max_frame_gap=2).link(movie, labels=lambda f: images[f])
    assert links.select("source_id", "target_id", "frame_gap").rows() == [(1, 3, 1), (2, 6, 2), (3, 4, 1), (3, 5, 1)]
    single = Overlap(min_iou=0.2, divisions=False).link(movie, labels=lambda f: images[f])
    assert single["source_id"].to_list() == [1, 3]
    assert (links["cost"] < 0.8).all()
    with pytest.raises(ParameterError, match="needs the label images"):
        Overlap().link(movie)


def test_daughters_overlap_their_mother_together() -> None:
    """Each daughter is half as large as her mother and overlaps her too little alone; a neighbour never counts."""
    images = [disks((30, 30, 9), (30, 60, 9)), disks((22, 30, 6), (38, 30, 6), (30, 52, 9))]
    movie = of_labels(images)
    first, second, iou = overlaps(*images)
    assert iou[(first == 1) & (second < 3)].max() < 0.3
    links = Overlap().link(movie, labels=lambda f: images[f])
    assert links.filter(pl.col("source_id") == 1)["target_id"].to_list() == [3, 4]
    assert Overlap(divisions=False).link(movie, labels=lambda f: images[f]).filter(pl.col("source_id") == 1).is_empty()


def test_divisions_of_simulated_cells_by_overlap() -> None:
    settings = CellMovie(
        frames=15, height_px=160, width_px=160, cells=16, division_rate_per_h=0.8, shortest_cycle_min=20,
        death_rate_per_h=0,
    )  # fmt: skip
    movie = simulate_cells(settings, seed=4)
    found, true = (
        {m: tuple(sorted(d)) for m, d in t.group_by("source_id").agg("target_id").iter_rows() if len(d) > 1}.items()
        for t in (Overlap().link(movie.objects, labels=movie.labels), movie.links)
    )
    assert len(true) > 10
    assert len(found & true) > 0.6 * len(true)
    assert len(found - true) <= 1


def test_tissue_is_linked_alike_by_overlap_and_position(data: Path) -> None:
    movie = tifffile.imread(data / "laptrack_examples" / "epidermis_labels_5f.tif").astype(np.uint32)
    table = of_labels(list(movie))
    centre = [np.argwhere(movie[f] == v).mean(axis=0) for f, v in table.select("frame", "label").iter_rows()]
    table = table.with_columns(
        x_um=pl.Series([float(c[1]) for c in centre]), y_um=pl.Series([float(c[0]) for c in centre])
    )
    by_mask = pairs(Overlap(divisions=False).link(table, labels=lambda f: movie[f]))
    by_place = pairs(LAP(max_distance_um=15).link(table))
    assert len(by_mask) > 400
    assert f1(by_mask, by_place) > 0.95
