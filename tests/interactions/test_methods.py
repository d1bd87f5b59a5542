"""Who is whose neighbour: against brute force, scipy, and geometry that is known."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import PAIRS, empty
from kinocyte.interactions import Contact, Delaunay, InteractionMethod, Nearest, Radius

SCALE = Scale.isotropic(1.0, 2.0)
CENTRES = [Radius(radius_um=20), Nearest(k=2), Delaunay()]


def cells(place: np.ndarray, frame: np.ndarray | int = 0, **more: object) -> pl.DataFrame:
    """Return a table of cells at places (n, 2) or (n, 3)."""
    place = np.asarray(place, float).reshape(len(place), -1) if len(place) else np.empty((0, 2))
    n = len(place)
    frames = np.broadcast_to(np.asarray(frame, np.int32), n)
    table = pl.DataFrame({"object_id": np.arange(1, n + 1), "frame": frames, "time_min": frames * 2.0})
    table = table.with_columns(pl.Series(axis + "_um", place[:, k]) for k, axis in enumerate("xyz"[: place.shape[1]]))
    return table.with_columns(**{k: pl.Series(v) for k, v in more.items()}) if more else table


def ids(pairs: pl.DataFrame) -> set[tuple[int, int]]:
    return set(pairs.select("reference_id", "neighbour_id").iter_rows())


def random_cells(seed: int, n: int, frames: int, ndim: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    # whole numbers make ties and exact distances common
    return cells(rng.integers(0, 40, (n, ndim)), rng.integers(0, frames, n))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(0, 40), st.integers(1, 4), st.sampled_from([2, 3]))
def test_radius_finds_what_brute_force_finds(seed: int, n: int, m: int, frames: int, ndim: int) -> None:
    from scipy.spatial.distance import cdist

    a, b = random_cells(seed, n, frames, ndim), random_cells(seed + 1, m, frames, ndim)
    axes = ["x_um", "y_um", "z_um"][:ndim]
    for other, within in ((b, False), (None, True)):
        second = a if other is None else other
        found = Radius(radius_um=10).pairs(a, other, SCALE)
        near = np.zeros((n, second.height), bool)
        if n and second.height:
            near = cdist(a.select(axes).to_numpy(), second.select(axes).to_numpy()) <= 10
            near &= a["frame"].to_numpy()[:, None] == second["frame"].to_numpy()[None, :]
        if within:
            np.fill_diagonal(near, val=False)
        assert ids(found) == {(i + 1, j + 1) for i, j in np.argwhere(near).tolist()}
        assert found.height == near.sum()
        assert found.equals(found.sort("frame", "reference_id", "neighbour_id"))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 6), st.booleans(), st.sampled_from([2, 3]))
def test_nearest_finds_what_sorting_finds(seed: int, n: int, k: int, within: bool, ndim: int) -> None:
    a = random_cells(seed, n, 3, ndim)
    b = a if within else random_cells(seed + 1, n, 3, ndim)
    found = Nearest(k=k, max_distance_um=25).pairs(a, None if within else b, SCALE)
    expected = set()
    axes = ["x_um", "y_um", "z_um"][:ndim]
    place, there = a.select(axes).to_numpy(), b.select(axes).to_numpy()
    for i in range(n):
        away = np.sqrt(((there - place[i]) ** 2).sum(axis=1))
        fits = (b["frame"].to_numpy() == a["frame"][i]) & (away <= 25)
        if within:
            fits[i] = False
        # ties go to the lower id
        order = sorted(np.flatnonzero(fits).tolist(), key=lambda j: (away[j], j))
        expected |= {(i + 1, j + 1) for j in order[:k]}
    assert ids(found) == expected


def empty_circles(place: np.ndarray) -> set[tuple[int, int]]:
    """Return the edges of all triangles whose circumcircle holds no other point."""
    edges = set()
    for triple in combinations(range(len(place)), 3):
        a, b, c = place[list(triple)]
        matrix = 2 * np.array([b - a, c - a])
        if abs(np.linalg.det(matrix)) < 1e-9:
            continue
        centre = np.linalg.solve(matrix, [b @ b - a @ a, c @ c - a @ a])
        radius = np.linalg.norm(a - centre)
        rest = np.delete(place, triple, axis=0)
        if not len(rest) or (np.linalg.norm(rest - centre, axis=1) > radius - 1e-9).all():
            edges |= set(combinations(triple, 2))
    return edges


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 16))
def test_delaunay_has_the_edges_of_empty_circles(seed: int, n: int) -> None:
    place = np.random.default_rng(seed).uniform(0, 100, (n, 2))
    found = ids(Delaunay().pairs(cells(place), None, SCALE))
    expected = {(i + 1, j + 1) for i, j in empty_circles(place)}
    assert found == expected | {(j, i) for i, j in expected}
    # across two populations the same edges, between the two
    split = n // 2
    across = Delaunay().pairs(cells(place[:split]), cells(place[split:]), SCALE)
    assert ids(across) == {(i, j - split) for i, j in expected if i <= split < j}


def test_cells_of_a_honeycomb_have_six_neighbours() -> None:
    y, x = np.mgrid[:7, :7]
    place = np.stack([(x + 0.5 * (y % 2)).ravel() * 10, y.ravel() * 10 * math.sqrt(3) / 2], axis=1)
    found = Delaunay(max_distance_um=12).pairs(cells(place), None, SCALE)
    middle = 3 * 7 + 3 + 1
    assert found.filter(pl.col("reference_id") == middle).height == 6
    assert found["distance_um"].max() == pytest.approx(10)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ([], set()),
        ([[1, 1]], set()),
        ([[1, 1], [5, 1]], {(1, 2)}),
        ([[1, 1], [9, 1], [5, 1]], {(1, 3), (2, 3)}),  # in one line
        ([[3, 3], [3, 3]], {(1, 2)}),  # at one place
        ([[0, 0], [8, 8], [0, 0]], {(1, 3), (1, 2), (2, 3)}),
        ([[0, 0, 5], [8, 0, 5], [0, 8, 5], [8, 9, 5]], {(1, 2), (1, 3), (2, 3), (2, 4), (3, 4)}),  # in one plane
    ],
)
def test_delaunay_of_few_or_flat_cells(place: list[list[float]], expected: set[tuple[int, int]]) -> None:
    found = ids(Delaunay().pairs(cells(np.array(place, float)), None, SCALE))
    assert found == expected | {(j, i) for i, j in expected}


@pytest.mark.parametrize("method", CENTRES, ids=lambda m: m.name())
def test_nothing_in_nothing_out(method: InteractionMethod) -> None:
    some, none = cells(np.array([[1, 1], [2, 2]])), cells(np.empty((0, 2)))
    for a, b in ((none, none), (some, none), (none, some), (none, None)):
        found = method.pairs(a, b, SCALE)
        assert found.height == 0
        assert found.schema == empty(PAIRS).schema
    alone = method.pairs(cells(np.array([[1, 1]])), None, SCALE)
    assert alone.height == 0


@pytest.mark.parametrize("method", CENTRES, ids=lambda m: m.name())
def test_a_cell_that_is_nowhere_has_no_neighbours(method: InteractionMethod) -> None:
    place = np.array([[0, 0], [np.nan, 3], [4, np.inf], [3, 0], [0, 3]])
    table = cells(place).with_columns(x_um=pl.when(pl.col("object_id") == 5).then(None).otherwise("x_um"))
    assert ids(method.pairs(table, None, SCALE)) == {(1, 4), (4, 1)}


@pytest.mark.parametrize("method", CENTRES, ids=lambda m: m.name())
def test_the_order_of_rows_does_not_matter(method: InteractionMethod) -> None:
    a, b = random_cells(1, 60, 3, 2), random_cells(2, 60, 3, 2)
    found = method.pairs(a, b, SCALE)
    assert method.pairs(a.sample(fraction=1, shuffle=True, seed=1), b.reverse(), SCALE).equals(found)
    assert found.height > 0


@pytest.mark.parametrize("method", CENTRES, ids=lambda m: m.name())
def test_positions_are_kept_apart_though_ids_repeat(method: InteractionMethod) -> None:
    one, two = random_cells(1, 30, 2, 2), random_cells(2, 30, 2, 2)
    other = random_cells(3, 25, 2, 2)
    places = [pl.lit("A1").alias("well"), pl.lit("B2").alias("well")]
    together = pl.concat([one.with_columns(places[0]), two.with_columns(places[1])])
    others = pl.concat([other.with_columns(places[1]), other.with_columns(places[0])])
    found = method.pairs(together, others, SCALE, by="well")
    apart = [method.pairs(t, other, SCALE).select(w, pl.all()) for t, w in zip((one, two), places, strict=True)]
    assert found.equals(pl.concat(apart))
    with pytest.raises(TableError, match=r"more than once.*'by'"):
        method.pairs(together, others, SCALE)


def test_ten_populations_pair_with_each_other() -> None:
    populations = [random_cells(s, 20, 3, 2) for s in range(10)]
    for i, j in combinations(range(10), 2):
        forth = Radius(radius_um=15).pairs(populations[i], populations[j], SCALE)
        back = Radius(radius_um=15).pairs(populations[j], populations[i], SCALE)
        assert ids(forth) == {(a, b) for b, a in ids(back)}
        assert forth.height > 0


def test_time_comes_from_the_scale_and_tracks_may_be_missing() -> None:
    table = cells(np.array([[0, 0], [1, 0], [0, 0], [1, 0]]), np.array([0, 0, 3, 3])).drop("time_min")
    found = Radius(radius_um=2).pairs(table, None, SCALE)
    assert found["time_min"].to_list() == [0, 0, 6, 6]
    assert found["reference_track_id"].null_count() == 4
    tracked = table.with_columns(track_id=pl.Series([7, None, 7, 9]))
    assert Radius(radius_um=2).pairs(tracked, None, SCALE)["neighbour_track_id"].to_list() == [None, 7, 9, 7]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop("x_um"), "lacks the column 'x_um'"),
        (lambda t: t.with_columns(x_um=pl.lit("far")), "holds String; numbers are needed"),
        (lambda t: t.with_columns(frame=pl.Series([0, None])), "every object needs a whole number"),
        (lambda t: t.with_columns(object_id=pl.Series([1.0, 1.5])), "object_id = 1.5 in row 1"),
        (lambda t: t.with_columns(object_id=pl.Series([4, 4])), "object_id 4 more than once"),
    ],
)
def test_what_cannot_be_is_refused(change, said: str) -> None:  # type: ignore[no-untyped-def] # a lambda of the table
    with pytest.raises(TableError, match=said):
        Radius().pairs(change(cells(np.array([[1, 1], [2, 2]]))), None, SCALE)


def test_the_methods_are_installed() -> None:
    assert registry.names("interaction") == ["contact", "delaunay", "nearest", "radius"]
    assert [registry.get("interaction", n)().needs_labels for n in registry.names("interaction")] == [True] + [
        False
    ] * 3


def test_contact_says_what_is_missing() -> None:
    table = cells(np.array([[1, 1], [2, 2]]), label=[1, 2])
    with pytest.raises(ParameterError, match="reference_labels is missing"):
        Contact().pairs(table, None, SCALE)
    with pytest.raises(ParameterError, match="neighbour_labels is missing"):
        Contact().pairs(table, table.head(1), SCALE, lambda _: np.zeros((4, 4), np.uint32))
