"""Movies of known drift: what they show is compared with what follows from the numbers on paper."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import DRIFT
from kinocyte.registration import apply_drift
from kinocyte.simulation.drift import (
    PUBLISHED_NOISE_SD,
    Crawl,
    DriftMovie,
    drift_table,
    jumps,
    noise_at_snr,
    published_drift,
    random_walk,
    steady,
)

Floats = NDArray[np.float64]


def waves(y: Floats, x: Floats) -> Floats:
    """Return a texture known everywhere, also between pixels."""
    return 500 + 100 * np.sin(0.31 * x + 0.2) * np.cos(0.23 * y) + 60 * np.cos(0.17 * x - 0.29 * y)


def grid(*shape: int) -> list[Floats]:
    return [a.astype(float) for a in np.indices(shape)]


def blob(shape: tuple[int, ...], centre: tuple[float, ...], sigma: float = 2.0) -> Floats:
    where = zip(grid(*shape), centre, strict=True)
    return np.asarray(100 * np.exp(-sum((a - c) ** 2 for a, c in where) / (2 * sigma**2)))


def centre_of(frame: NDArray[Any]) -> Floats:
    """Return the centre of mass, in the order of the axes."""
    light = np.clip(frame.astype(float) - 1, 0, None)
    return np.array([(a * light).sum() for a in grid(*frame.shape)]) / light.sum()


def shifts(table: pl.DataFrame) -> Floats:
    return table.select("dx_px", "dy_px", "dz_px").to_numpy()


def test_table_7_is_the_one_that_was_printed(data: Path) -> None:
    (thesis,) = (data.parent / "papers").glob("pylvanainen_thesis*.txt") or (None,)
    text = thesis.read_text(encoding="utf-8", errors="replace")
    start = text.index("Table 7: Drift table indicating")
    rows = re.findall(r"^(\d+) (-?[\d.]+) (-?[\d.]+) (-?[\d.]+) *$", text[start : start + 2000], re.MULTILINE)[:25]
    assert [int(r[0]) for r in rows] == list(range(1, 26))
    printed = np.array([[float(v) for v in r[1:]] for r in rows])
    np.testing.assert_array_equal(shifts(published_drift(first_at_rest=False)), printed)


def test_the_published_drift_and_its_noise() -> None:
    drift = published_drift()
    assert drift.columns == list(DRIFT)
    assert drift.height == 25
    assert shifts(drift)[0].tolist() == [0, 0, 0], "the generator left the first frame where it was"
    np.testing.assert_allclose(shifts(drift)[-1], [62.7437, -137.609, -14.8706])
    assert published_drift(axial=False)["dz_px"].abs().max() == 0
    assert len(PUBLISHED_NOISE_SD) == 12


def test_a_random_walk_has_steps_of_the_given_spread() -> None:
    drift = random_walk(20_000, step_px=2.0, axial_step_px=0.5, angle_step_deg=0.1, seed=7)
    steps = np.diff(shifts(drift), axis=0)
    np.testing.assert_allclose(steps.std(axis=0), [2.0, 2.0, 0.5], rtol=0.03)
    np.testing.assert_allclose(steps.mean(axis=0), 0, atol=0.06)
    assert np.diff(drift["angle_deg"].to_numpy()).std() == pytest.approx(0.1, rel=0.03)
    assert shifts(drift)[0].tolist() == [0, 0, 0]
    assert drift.equals(random_walk(20_000, step_px=2.0, axial_step_px=0.5, angle_step_deg=0.1, seed=7))
    assert not drift.equals(random_walk(20_000, step_px=2.0, axial_step_px=0.5, angle_step_deg=0.1, seed=8))


def test_jumps_are_rests_and_leaps_of_one_length() -> None:
    drift = jumps(4000, size_px=5.0, probability=0.2, seed=1)
    length = np.linalg.norm(np.diff(shifts(drift), axis=0), axis=1)
    leaping = length > 1e-9
    np.testing.assert_allclose(length[leaping], 5.0, atol=1e-9)
    assert leaping.mean() == pytest.approx(0.2, abs=0.03)
    assert drift["dz_px"].abs().max() == 0


def test_a_steady_drift_is_a_line() -> None:
    drift = steady(5, step_px=(0.5, -0.25, 1.0), angle_step_deg=0.1)
    np.testing.assert_allclose(shifts(drift), np.arange(5)[:, None] * [0.5, -0.25, 1.0])
    np.testing.assert_allclose(drift["angle_deg"].to_numpy(), np.arange(5) * 0.1)


@settings(max_examples=20, deadline=None)
@given(dx=st.floats(-6, 6), dy=st.floats(-6, 6))
def test_content_is_where_the_table_says(dx: float, dy: float) -> None:
    y, x = grid(80, 90)
    movie = DriftMovie(waves(y, x), drift_table(np.array([[0, 0, 0], [dx, dy, 0]])), (10, 10), order=5)
    # a pixel shows what lay dx to its left and dy above it
    wanted = waves(y - dy, x - dx)[10:-10, 10:-10]
    inner = (slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(movie.clean(1)[inner], wanted[inner], atol=0.1)
    np.testing.assert_array_equal(movie.clean(0), waves(y, x)[10:-10, 10:-10])
    assert movie.shape == (2, 60, 70)


def test_stacks_move_along_z() -> None:
    scene = blob((24, 30, 32), (10, 14, 15))
    movie = DriftMovie(scene, drift_table(np.array([[0, 0, 0], [1.5, -2.0, 3.25]])), (2, 4, 4))
    moved = centre_of(movie[1]) - centre_of(movie[0])
    np.testing.assert_allclose(moved, [3.25, -2.0, 1.5], atol=0.02)
    assert movie.shape == (2, 20, 22, 24)


def test_content_turns_about_the_centre_from_x_towards_y_and_then_moves() -> None:
    scene = blob((61, 61), (30, 45))
    table = drift_table(np.array([[0.0, 0, 0], [0, 0, 0], [3, -4, 0]]), np.array([0.0, 30.0, 30.0]))
    movie = DriftMovie(scene, table)
    turned = [30 + 15 * np.sin(np.deg2rad(30)), 30 + 15 * np.cos(np.deg2rad(30))]
    np.testing.assert_allclose(centre_of(movie[1]), turned, atol=0.02)
    np.testing.assert_allclose(centre_of(movie[2]), [turned[0] - 4, turned[1] + 3], atol=0.02)


def test_correction_undoes_what_simulation_did() -> None:
    y, x = grid(100, 110)
    table = random_walk(5, step_px=2.0, angle_step_deg=1.0, seed=3)
    movie = DriftMovie(waves(y, x), table, (14, 14))
    still = apply_drift(np.stack([movie[t] for t in range(5)]), table, interpolation="cubic")
    for t in range(1, 5):
        difference = still[t][16:-16, 16:-16] - movie[0][16:-16, 16:-16]
        assert np.abs(difference).max() < 1.5, "of 160 grey values of contrast"


def test_bleaching_flicker_and_blank_frames() -> None:
    y, x = grid(40, 40)
    rest = drift_table(np.zeros((400, 3)))
    bleached = DriftMovie(waves(y, x), rest, bleach_frames=50)
    means = np.array([bleached[t].mean() for t in (0, 50, 100)])
    np.testing.assert_allclose(means / means[0], np.exp([0, -1, -2]), rtol=1e-5)
    flickering = DriftMovie(np.full((4, 4), 100.0), rest, flicker=0.1)
    levels = np.array([flickering[t].mean() for t in range(400)])
    assert levels.mean() == pytest.approx(100, rel=0.02)
    assert levels.std() == pytest.approx(10, rel=0.1)
    blank = DriftMovie(waves(y, x), rest, blank=(3,), noise_sd=1.0)
    assert abs(blank[3].mean()) < 0.2
    assert blank[2].mean() > 300


def test_noise_is_as_strong_as_asked_for() -> None:
    scene = blob((200, 200), (100, 100), 12.0) + 20
    rest = drift_table(np.zeros((3, 3)))
    quiet = DriftMovie(scene, rest)
    for snr in (1.2, 5.0):
        level = noise_at_snr(scene, snr)
        noise = DriftMovie(scene, rest, noise_sd=level)[1] - quiet[1]
        assert noise.std() == pytest.approx(level, rel=0.02)
        assert abs(noise.mean()) < 4 * level / 200
        assert (np.percentile(scene, 99.9) - np.median(scene)) / noise.std() == pytest.approx(snr, rel=0.02)
    with pytest.raises(ParameterError, match="above 0"):
        noise_at_snr(scene, 0.0)
    with pytest.raises(ParameterError, match="no signal"):
        noise_at_snr(np.zeros((4, 4)), 2.0)
    photons = DriftMovie(np.full((300, 300), 50.0), rest, shot_noise=True)[0]
    assert photons.var() == pytest.approx(50, rel=0.03)
    assert photons.mean() == pytest.approx(50, rel=0.01)


def test_patterns_stay_while_the_sample_moves() -> None:
    y, x = grid(40, 44)
    dirt = blob((40, 44), (8, 9), 1.5)
    gain = 1 + 0.3 * (x / 43)
    movie = DriftMovie(waves(y, x), steady(3, step_px=(2, 1, 0)), fixed_pattern=dirt, gain_pattern=gain)
    for t in range(3):
        np.testing.assert_allclose(movie[t], movie.clean(t) * gain + dirt, rtol=1e-5)


def test_half_of_the_objects_crawl_by_themselves() -> None:
    shape = (220, 220)
    labels = np.zeros(shape, dtype=np.int32)
    scene = np.full(shape, 10.0)
    places = [(y, x) for y in range(15, 220, 20) for x in range(15, 220, 20)]
    for k, (y, x) in enumerate(places, start=1):
        labels[y - 2 : y + 3, x - 2 : x + 3] = k
    scene[labels > 0] = 110
    n = 12
    movie = DriftMovie(scene, drift_table(np.zeros((n, 3))), crawl=Crawl(labels, step_px=0.4, fraction=0.5), seed=3)
    ways = []
    for y, x in places:
        window = (slice(y - 9, y + 10), slice(x - 9, x + 10))
        ways.append(centre_of(movie[n - 1][window] - 10) - centre_of(movie[0][window] - 10))
    far = np.linalg.norm(ways, axis=1)
    moved = np.array(ways)[far > 0.02]
    assert len(moved) / len(places) == pytest.approx(0.5, abs=0.12)
    assert moved.std() == pytest.approx(0.4 * np.sqrt(n - 1), rel=0.2)
    assert movie[n - 1].sum() == pytest.approx(movie[0].sum(), rel=1e-3), "objects move, they do not fade"


def test_objects_may_shine_and_fade() -> None:
    labels = np.zeros((20, 20), dtype=np.int32)
    labels[4:8, 4:8], labels[12:16, 12:16] = 1, 2
    scene = np.where(labels > 0, 60.0, 10.0)
    amplitude = np.array([[1, 1, 0], [1, 0, 1]], dtype=float)
    movie = DriftMovie(
        scene, drift_table(np.zeros((2, 3))), crawl=Crawl(labels, step_px=0.0, fraction=0.0), amplitude=amplitude
    )
    assert [movie[t][5, 5] for t in (0, 1)] == [60, 10]
    assert [movie[t][13, 13] for t in (0, 1)] == [10, 60]


def test_types_are_rounded_and_clipped() -> None:
    scene = np.array([[-5.0, 0.4, 0.6], [254.6, 300.0, 1e9]])
    frame = DriftMovie(scene, drift_table(np.zeros((1, 3))), dtype=np.dtype(np.uint8))[0]
    assert frame.dtype == np.uint8
    assert frame.tolist() == [[0, 0, 1], [255, 255, 255]]


def test_frames_are_the_same_in_any_order() -> None:
    y, x = grid(30, 30)
    movie = DriftMovie(waves(y, x), random_walk(6, seed=1), (3, 3), noise_sd=5, flicker=0.1, seed=9)
    backwards = [movie[t] for t in range(5, -1, -1)][::-1]
    for t in range(6):
        np.testing.assert_array_equal(movie[t], backwards[t])
    np.testing.assert_array_equal(movie[-1], movie[5])
    assert not np.array_equal(movie[2], DriftMovie(waves(y, x), movie.drift, (3, 3), noise_sd=5, flicker=0.1)[2])
    with pytest.raises(IndexError):
        movie[6]


def test_what_cannot_be_simulated_is_refused() -> None:
    one = drift_table(np.zeros((1, 3)))
    with pytest.raises(ParameterError, match="one stack"):
        DriftMovie(np.zeros(5), one)
    with pytest.raises(ParameterError, match="one number per axis"):
        DriftMovie(np.zeros((5, 5)), one, (1, 1, 1))
    with pytest.raises(ParameterError, match="leaves nothing"):
        DriftMovie(np.zeros((5, 5)), one, (3, 3))
    with pytest.raises(ParameterError, match="needs the objects"):
        DriftMovie(np.zeros((5, 5)), one, amplitude=np.ones((1, 2)))
