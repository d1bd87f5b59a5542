"""Behaviour states: clusters beside scikit-learn's, windows beside hand-made motion, and two behaviours found again."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.statistics import Behaviour
from kinocyte.statistics.behaviour_clusters import adjusted_rand, distances, k_medoids, silhouette
from kinocyte.statistics.behaviour_density import density_clusters
from kinocyte.statistics.behaviour_space import Discriminant, principal_components, standardise, umap_places
from kinocyte.statistics.behaviour_states import choose_n_states, exemplar_ranks, transitions
from kinocyte.statistics.behaviour_windows import windows

Array = np.ndarray[Any, Any]


def clouds(seed: int, n: int = 240, k: int = 4, spread: float = 1.0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-10, 10, (k, 3))
    label = np.arange(n) % k
    return centres[label] + rng.normal(0, spread, (n, 3)), label


# ---------------------------------------------------------------- clusters
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("min_size", [5, 15])
def test_density_as_scikit_learn(seed: int, min_size: int) -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    points, _ = clouds(seed, spread=1.5)
    theirs = cluster.HDBSCAN(min_cluster_size=min_size, copy=True).fit_predict(points)
    ours = density_clusters(points, min_size=min_size)
    # edges of one length may join in another order, which moves single rows at the rim
    assert adjusted_rand(ours, theirs) > 0.95
    assert (ours == -1).sum() == pytest.approx((theirs == -1).sum(), abs=3)
    sizes = np.bincount(ours[ours >= 0])
    assert (np.diff(sizes) <= 0).all()
    assert (sizes >= min_size).all()


def test_crescents_that_no_medoid_can_part() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    points, truth = datasets.make_moons(400, noise=0.06, random_state=2)
    assert adjusted_rand(density_clusters(points, min_size=15), truth) > 0.95
    assert adjusted_rand(k_medoids(points, 2).labels, truth) < 0.6


def test_agreement_and_silhouette_as_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    points, truth = clouds(3, spread=3.0)
    labels = k_medoids(points, 5).labels
    assert adjusted_rand(truth, labels) == pytest.approx(metrics.adjusted_rand_score(truth, labels), abs=1e-12)
    assert silhouette(distances(points, points), labels) == pytest.approx(
        metrics.silhouette_score(points, labels), abs=1e-6
    )


def test_components_as_scikit_learn() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    points = np.random.default_rng(4).normal(size=(80, 6)) @ np.diag([5, 3, 2, 1, 0.5, 0.1])
    ours = principal_components(points, 0.9)
    theirs = decomposition.PCA(n_components=0.9).fit(points)
    assert len(ours.explained) == theirs.n_components_
    np.testing.assert_allclose(ours.explained, theirs.explained_variance_ratio_, rtol=1e-9)
    np.testing.assert_allclose(np.abs(ours.scores), np.abs(theirs.transform(points)), atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_medoids_are_the_best_of_all_choices(seed: int) -> None:
    points, _ = clouds(seed, n=16, k=3)
    apart = distances(points, points)
    best = min(apart[list(c)].min(axis=0).sum() for c in combinations(range(16), 3))
    assert k_medoids(points, 3).cost == pytest.approx(best, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 6))
def test_no_swap_lowers_the_cost(seed: int, n: int, k: int) -> None:
    points = np.random.default_rng(seed).integers(0, 6, (n, 2)).astype(float)  # with rows in one place
    k = min(k, n)
    found = k_medoids(points, k)
    apart = distances(points, points)
    assert found.cost == pytest.approx(apart[found.medoids].min(axis=0).sum(), abs=1e-6)
    for place in range(k):
        for candidate in range(n):
            other = found.medoids.copy()
            other[place] = candidate
            assert apart[other].min(axis=0).sum() >= found.cost - 1e-5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(2, 8))
def test_density_withstands_rows_in_one_place(seed: int, n: int, min_size: int) -> None:
    points = np.random.default_rng(seed).integers(0, 4, (n, 2)).astype(float)
    labels = density_clusters(points, min_size=min_size)
    assert labels.shape == (n,)
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    assert labels.max() == -1 or (sizes >= min_size).all()
    assert (np.diff(sizes) <= 0).all()


def test_many_rows_are_sampled_and_still_found() -> None:
    truth = np.arange(6000) % 4
    corners = np.array([[0, 0], [10, 0], [0, 10], [10, 10]])
    points = corners[truth] + np.random.default_rng(1).normal(0, 1.0, (6000, 2))
    assert adjusted_rand(k_medoids(points, 4).labels, truth) == 1.0
    assert choose_n_states(points)[0] == 4


def test_a_constant_feature_is_left_out() -> None:
    values = np.column_stack([np.arange(10.0), np.full(10, 3.3), np.array([0.0] * 9 + [1e6])])
    scaled, kept = standardise(values)
    assert kept.tolist() == [True, False, True]
    np.testing.assert_allclose(scaled[:, 0].std(), 1.0)
    assert np.abs(scaled).max() <= 5.0


def test_the_discriminant_as_scikit_learn() -> None:
    module = pytest.importorskip("sklearn.discriminant_analysis")
    points, truth = clouds(6, spread=4.0)
    names = [f"s{k}" for k in truth]
    ours = Discriminant.fit(points, names, shrinkage=0.0).probabilities(points)
    theirs = module.LinearDiscriminantAnalysis().fit(points, names).predict_proba(points)
    np.testing.assert_allclose(ours, theirs, atol=0.02)  # they divide the covariance by n, we by n - classes
    with pytest.raises(ParameterError, match="at least two states"):
        Discriminant.fit(points, ["one"] * len(points))


# ---------------------------------------------------------------- windows
def test_motion_of_a_window() -> None:
    x = [0.0, 3.0, 6.0, 9.0, 9.0, 9.0, 9.0]
    y = [0.0, 0.0, 0.0, 0.0, 4.0, 8.0, 12.0]
    table = pl.DataFrame(
        {"track_id": [1] * 7, "time_min": [2.0 * t for t in range(7)], "x_um": x, "y_um": y, "dye": range(7)}
    )
    (whole,) = windows(table.reverse(), features=["dye"], track=["track_id"])[0].to_dicts()
    assert whole["speed_um_per_min"] == pytest.approx(21 / 12)
    assert whole["straightness"] == pytest.approx(15 / 21)
    assert whole["persistence"] == pytest.approx(4 / 5)  # one right angle in five turns
    assert whole["net_speed_um_per_min"] == pytest.approx(15 / 12)
    assert whole["mean_dye"] == 3.0
    cut = windows(table, track=["track_id"], window_min=8.0, min_frames=3)[0]
    assert cut.select("window", "first_time_min", "n_frames").rows() == [(0, 0.0, 4), (1, 8.0, 3)]
    assert cut["straightness"].to_list() == [1.0, 1.0]


def test_a_gap_counts_with_its_time_and_nan_is_no_place() -> None:
    table = pl.DataFrame(
        {
            "track_id": [1] * 5, "time_min": [0.0, 1.0, 3.0, 4.0, 5.0],
            "x_um": [0.0, 1.0, 3.0, float("nan"), 5.0], "y_um": [0.0] * 5,
        }
    )  # fmt: skip
    (row,) = windows(table, track=["track_id"])[0].to_dicts()
    assert row["speed_um_per_min"] == pytest.approx(1.0)
    assert row["straightness"] == pytest.approx(1.0)


def test_words_and_nothing_to_tell_apart_are_refused() -> None:
    table = pl.DataFrame({"track_id": [1], "time_min": [0.0], "x_um": [0.0], "y_um": [0.0], "kind": ["round"]})
    with pytest.raises(TableError, match="'kind' of table 'objects' must hold numbers"):
        windows(table, features=["kind"], track=["track_id"])
    with pytest.raises(ParameterError, match="nothing to tell behaviours apart"):
        windows(table, motion=False, track=["track_id"])
    with pytest.raises(TableError, match="area"):
        windows(table, features=["area"], track=["track_id"])


# ---------------------------------------------------------------- states
def walkers(shares: dict[str, float], n: int = 24, frames: int = 24, seed: int = 0) -> pl.DataFrame:
    """Return cells that run straight or dwell, with the truth; the area of runners is larger."""
    rng = np.random.default_rng(seed)
    rows = []
    for replicate in (1, 2, 3):
        for group, share in shares.items():
            for cell in range(n):
                runs = cell < round(share * n)
                angle, place = rng.uniform(0, 2 * np.pi), rng.uniform(0, 500, 2)
                for t in range(frames):
                    angle += rng.normal(0, 0.2 if runs else 2.0)
                    place = place + rng.gamma(9, 0.25 if runs else 0.05) * np.array([np.cos(angle), np.sin(angle)])
                    well = f"{group}{replicate}"
                    rows.append((group, replicate, well, "1", cell, 5.0 * t, *place, 100 + 20 * runs, runs))
    names = ["drug", "replicate", "well", "position", "track_id", "time_min", "x_um", "y_um", "area_um2", "runs"]
    return pl.DataFrame(rows, schema=names, orient="row")


@pytest.mark.parametrize("clustering", ["k_medoids", "density"])
def test_two_behaviours_are_found_and_their_shares(clustering: Any) -> None:
    table = walkers({"none": 0.25, "drug": 0.75})
    asked = Behaviour(by="drug", features=("area_um2",), clustering=clustering, window_min=60.0, resamples=5)
    found = asked.compare(table)
    keys = ["well", "position", "track_id"]
    truth = table.group_by(keys).agg(pl.col("runs").first())
    points = found.points.join(truth, on=keys)
    named = points.drop_nulls("state")
    assert adjusted_rand(named["state"].to_numpy(), named["runs"].to_numpy()) > 0.97
    assert named.height > 0.95 * points.height
    runner = named.filter("runs")["state"].mode()[0]
    shares = dict(found.groups.select("group", f"share_{runner.replace(' ', '_')}").iter_rows())
    assert shares["none"] == pytest.approx(0.25, abs=0.03)
    assert shares["drug"] == pytest.approx(0.75, abs=0.03)
    assert found.groups["n_replicates"].to_list() == [3, 3]
    test = found.tests.filter(pl.col("test").str.starts_with(f"share of {runner}: ") & pl.col("p").is_not_null())
    assert (test["p_corrected"] >= test["p"]).all()
    assert test["level"].unique().to_list() == ["replicates"]
    stay = found.curves.filter(pl.col("state") == pl.col("next_state"))["probability"]
    assert (stay > 0.95).all()
    assert any("adjusted Rand index" in n for n in found.notes)
    best = found.points.filter(pl.col("exemplar").is_not_null())
    assert best.group_by("state").len()["len"].to_list() == [3, 3]
    again = asked.compare(table.sample(fraction=1.0, shuffle=True, seed=1))
    assert again.points.equals(found.points)


def test_states_a_person_named() -> None:
    table = walkers({"none": 0.3, "drug": 0.7})
    said = pl.when(pl.col("runs")).then(pl.lit("running")).otherwise(pl.lit("dwelling"))
    few = ((pl.col("replicate") == 1) & pl.col("track_id").is_in([0, 1, 22, 23])).and_(pl.col("drug") == "drug")
    table = table.with_columns(pl.when(few).then(said).alias("named"))
    found = Behaviour(by="drug", examples="named").compare(table)
    truth = table.group_by("well", "position", "track_id").agg(said.first().alias("truth"))
    both = found.points.join(truth, on=["well", "position", "track_id"])
    assert (both["state"] == both["truth"]).mean() > 0.97
    assert any("Of 4 examples, each called without its cell, 4 are called right." in n for n in found.notes)


def test_noise_has_no_stable_states() -> None:
    table = walkers({"all": 0.0}, n=40)
    found = Behaviour(n_states=6, resamples=8).compare(table)
    (said,) = (n for n in found.notes if n.startswith("Stability"))
    assert float(said.split("index ")[1].split()[0]) < 0.8
    assert found.tests.is_empty()


def test_transitions_by_hand() -> None:
    rows = pl.DataFrame(
        {
            "group": ["a"] * 5 + ["b"] * 2, "track_id": [1, 1, 1, 1, 2, 3, 3], "window": [0, 1, 2, 4, 0, 0, 1],
            "state": ["x", "y", "x", "y", "x", "x", None],
        }
    )  # fmt: skip
    found = transitions(rows, ["track_id"])
    assert found.rows() == [
        ("a", "x", "x", 0, 0.0, 0), ("a", "x", "y", 1, 1.0, 1), ("a", "y", "x", 1, 1.0, 1), ("a", "y", "y", 0, 0.0, 0),
    ]  # fmt: skip


def test_exemplars_are_of_different_cells() -> None:
    scores = np.array([[0.0], [0.1], [0.2], [5.0], [5.1]])
    ranks = exemplar_ranks(scores, np.array([0, 0, 0, 1, -1]), np.array([0, 0, 1, 2, 3]), 2)
    assert ranks.tolist() == [0, 1, 2, 1, 0]


def test_too_little_is_refused() -> None:
    table = walkers({"none": 0.5}, n=2).filter(pl.col("replicate") == 1)
    with pytest.raises(ParameterError, match="cannot be told apart"):
        Behaviour().compare(table)
    with pytest.raises(ParameterError, match="cannot be told apart"):
        Behaviour().compare(table.clear())
    still = walkers({"none": 0.0}, n=4).with_columns(x_um=pl.lit(1.0), y_um=pl.lit(1.0))
    with pytest.raises(ParameterError, match="0 features that differ"):
        Behaviour().compare(still)
    with pytest.raises(ParameterError, match="found no two states"):
        Behaviour(clustering="density", min_windows=30).compare(walkers({"none": 0.0}, n=4))


def test_without_the_library_umap_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(ParameterError, match="pip install umap-learn"):
        umap_places(np.zeros((10, 2)))
