"""Rotation, size and shear against known truth, and undone in pixels, labels and positions."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import ndimage

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.registration import PhaseCorrelation, apply_drift, drifted_positions
from kinocyte.registration._geometry import composed, decomposed
from tests.registration.scenes import nuclei

Floats = NDArray[np.float64]
MARGIN, SIDE = 48, 224


def truth(model: str, n: int, seed: int = 3) -> pl.DataFrame:
    """Return a drift table of random transforms, frame 0 at rest."""
    rng = np.random.default_rng(seed)
    same = np.exp(rng.normal(0, 0.04, n))
    columns = {
        "frame": np.arange(n),
        "dx_px": rng.normal(0, 4, n),
        "dy_px": rng.normal(0, 4, n),
        "dz_px": np.zeros(n),
        "angle_deg": rng.normal(0, 2, n),
        "quality": np.ones(n),
        "scale_x": np.ones(n) if model == "rigid" else same,
        "scale_y": np.exp(rng.normal(0, 0.04, n)) if model == "affine" else np.ones(n) if model == "rigid" else same,
        "shear_x": rng.normal(0, 0.03, n) if model == "affine" else np.zeros(n),
    }
    for name, values in columns.items():
        values[0] = 1 if name in {"quality", "scale_x", "scale_y"} else 0
    return pl.DataFrame(columns)


def matrices_xy(table: pl.DataFrame) -> Floats:
    """Return the matrices (t, 2, 2) in (x, y), written out from the documented formula."""
    out = []
    for row in table.iter_rows(named=True):
        a = np.deg2rad(row["angle_deg"])
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        shear = np.array([[1, row.get("shear_x", 0.0)], [0, 1]])
        out.append(turn @ shear @ np.diag([row.get("scale_x", 1.0), row.get("scale_y", 1.0)]))
    return np.array(out)


def moved(scene: NDArray[np.number], table: pl.DataFrame, *, order: int = 3, noise_sd: float = 0.0) -> Floats:
    """Return the scene transformed by scipy about its centre, and cropped."""
    rng = np.random.default_rng(5)
    centre = (np.array(scene.shape) - 1) / 2
    frames = []
    for matrix, row in zip(matrices_xy(table), table.iter_rows(named=True), strict=True):
        back = np.linalg.inv(matrix[::-1, ::-1])
        offset = centre - back @ (centre + np.array([row["dy_px"], row["dx_px"]]))
        frame = ndimage.affine_transform(scene.astype(float), back, offset, order=order, mode="reflect")
        frames.append(frame[MARGIN:-MARGIN, MARGIN:-MARGIN] + rng.normal(0, noise_sd, (SIDE, SIDE)))
    return np.array(frames)


@pytest.fixture(scope="module")
def scene() -> tuple[Floats, NDArray[np.int32]]:
    return nuclei(SIDE + 2 * MARGIN, 110, 0)


@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
@pytest.mark.parametrize("masked", [False, True])
def test_known_transforms_are_found_and_undone(
    scene: tuple[Floats, NDArray[np.int32]], model: str, masked: bool
) -> None:
    table = truth(model, 6)
    movie = moved(scene[0], table, noise_sd=20)
    mask = None
    if masked:
        mask = np.ones((SIDE, SIDE), bool)
        mask[:, :50] = False
        movie[:, :, :50] = nuclei(SIDE, 60, seed=9)[0][:, :50] * 2  # a strip that stays, such as a ruler
    found = PhaseCorrelation(model=model, fixed_pattern="keep").estimate(movie, mask=mask)
    assert_allclose(found["angle_deg"], table["angle_deg"], atol=0.05)
    assert_allclose(found.select("dx_px", "dy_px"), table.select("dx_px", "dy_px"), atol=0.1)
    if model == "rigid":
        assert "scale_x" not in found.columns
    else:
        names = ["scale_x", "scale_y", "shear_x"]
        assert_allclose(found.select(names), table.select(names), atol=2e-3)
    back = apply_drift(movie, found, interpolation="cubic")
    inner = (slice(40, -40), slice(80, -40))
    for t in range(1, 6):
        assert np.corrcoef(back[t][inner].ravel(), back[0][inner].ravel())[0, 1] > 0.97


def test_similarity_scales_both_axes_alike_and_large_turns_are_found(scene: tuple[Floats, NDArray[np.int32]]) -> None:
    table = truth("similarity", 4).with_columns(
        angle_deg=pl.Series([0.0, 14.0, -22.0, 35.0]), scale_x=pl.Series([1.0, 1.15, 0.88, 1.05])
    )
    table = table.with_columns(scale_y=pl.col("scale_x"))
    found = PhaseCorrelation(model="similarity").estimate(moved(scene[0], table, noise_sd=10))
    assert_allclose(found["angle_deg"], table["angle_deg"], atol=0.05)
    assert_allclose(found["scale_x"], table["scale_x"], atol=2e-3)
    assert_allclose(found["scale_x"], found["scale_y"], rtol=1e-9)
    assert_allclose(found["shear_x"], 0, atol=1e-9)


def test_pixels_labels_and_positions_are_laid_back_alike(scene: tuple[Floats, NDArray[np.int32]]) -> None:
    table = truth("affine", 4, seed=8)
    labels = moved(scene[1], table, order=0).astype(np.int32)
    back = apply_drift(labels, table, labels=True)
    for t in range(1, 4):
        inner = (slice(30, -30), slice(30, -30))
        assert set(np.unique(back[t])) <= set(np.unique(scene[1]))
        assert (back[t][inner] == back[0][inner]).mean() > 0.97
    # an oracle for positions: the documented formula, forwards
    rng = np.random.default_rng(0)
    place = rng.uniform(20, SIDE - 20, (10, 2))
    centre = (SIDE - 1) / 2
    scale = Scale(y_um=0.5, x_um=0.25)
    rows = []
    for t, matrix in enumerate(matrices_xy(table)):
        there = (place - centre) @ matrix.T + centre + table.select("dx_px", "dy_px").to_numpy()[t]
        rows += [{"frame": t, "x_um": x * 0.25, "y_um": y * 0.5} for x, y in there]
    undone = drifted_positions(pl.DataFrame(rows), table, scale, shape=(SIDE, SIDE))
    wanted = np.tile(place, (4, 1)) * [0.25, 0.5]
    assert_allclose(undone.select("x_um", "y_um"), wanted, atol=1e-9)
    with pytest.raises(ParameterError, match="shape"):
        drifted_positions(pl.DataFrame(rows), table, scale)


def test_crop_and_extend_hold_what_frames_show() -> None:
    table = truth("affine", 5, seed=1)
    movie = np.ones((5, 60, 90), np.float32)
    cropped = apply_drift(movie, table, canvas="crop", fill=-9)
    assert all((cropped[t] == 1).all() for t in range(5))
    assert min(cropped.shape[1:]) > 30
    extended = apply_drift(movie, table, canvas="extend", fill=-9)
    size = np.abs(np.linalg.det(matrices_xy(table)))
    for t in range(5):
        assert abs((extended[t] == 1).sum() - movie[t].size / size[t]) < 160  # nothing of any frame is cut off


@settings(max_examples=40, deadline=None)
@given(angle=st.floats(-170, 170), scale_x=st.floats(0.2, 4), scale_y=st.floats(0.2, 4), shear=st.floats(-1, 1))
def test_columns_and_matrices_say_the_same(angle: float, scale_x: float, scale_y: float, shear: float) -> None:
    columns = [np.array([v]) for v in (angle, scale_x, scale_y, shear)]
    assert_allclose(np.array(decomposed(composed(*columns)))[:, 0], [angle, scale_x, scale_y, shear], atol=1e-9)


def test_a_scale_that_is_none_is_refused(scene: tuple[Floats, NDArray[np.int32]]) -> None:
    table = truth("affine", 3)
    for wrong, words in ((0.0, "above 0"), (np.nan, "finite")):
        bad = table.with_columns(scale_x=pl.Series([1.0, wrong, 1.0]))
        with pytest.raises(ParameterError, match=words):
            apply_drift(np.ones((3, 20, 20)), bad)


@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
@pytest.mark.parametrize(
    "movie",
    [
        np.zeros((4, 32, 32)),
        np.full((3, 16, 16), np.nan),
        np.random.default_rng(0).normal(size=(1, 20, 20)),
        np.random.default_rng(0).normal(size=(4, 1, 24)),
        np.random.default_rng(0).normal(size=(4, 3, 2)),
        np.random.default_rng(0).normal(size=(3, 3, 31, 33)),
    ],
)
def test_movies_without_anything_to_register_come_back_whole(movie: Floats, model: str) -> None:
    table = PhaseCorrelation(model=model).estimate(movie)
    assert table.height == len(movie)
    assert np.isfinite(table.select("dx_px", "dy_px", "dz_px", "angle_deg").to_numpy()).all()
    assert apply_drift(movie, table).shape == movie.shape
