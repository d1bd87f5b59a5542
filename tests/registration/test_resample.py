"""Undoing drift against scipy, and what must not change on the way."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import ndimage

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.registration import apply_drift, drifted_positions
from kinocyte.simulation.drift import DriftMovie, drift_table, random_walk, steady

Scene = tuple[NDArray[np.float64], NDArray[np.int32]]


def table(*shift_xyz: tuple[float, float, float], angle: list[float] | None = None) -> pl.DataFrame:
    return drift_table(np.array(shift_xyz, dtype=float), None if angle is None else np.array(angle))


def test_linear_is_scipys_linear_inside() -> None:
    movie = np.random.default_rng(0).random((2, 30, 41))
    out = apply_drift(movie, table((0, 0, 0), (2.3, -1.6, 0)), keep_dtype=False)
    oracle = ndimage.shift(movie[1], (1.6, -2.3), order=1, mode="nearest")
    assert_allclose(out[1][3:-3, 3:-4], oracle[3:-3, 3:-4], atol=1e-6)
    assert_array_equal(out[0], movie[0])


@pytest.mark.parametrize("how", ["nearest", "linear", "cubic", "lanczos", "fourier"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_whole_pixels_are_moved_exactly(how: str, dtype: type) -> None:
    movie = np.random.default_rng(0).integers(0, 120, (2, 4, 15, 18)).astype(dtype)
    out = apply_drift(movie, table((0, 0, 0), (3, -2, 1)), interpolation=how)
    assert out.dtype == dtype
    assert_array_equal(out[1][:3, 2:, :15], movie[1][1:, :13, 3:])
    assert not out[1][3:].any()
    assert not out[1][:, :2].any()
    assert not out[1][:, :, 15:].any()


@pytest.mark.parametrize(("how", "limit"), [("linear", 0.1), ("cubic", 0.012), ("lanczos", 0.012), ("fourier", 0.01)])
def test_a_smooth_image_comes_back(how: str, limit: float) -> None:
    y, x = np.mgrid[:64, :64].astype(float)

    def image(dy: float, dx: float) -> NDArray[np.float64]:
        return np.sin(2 * np.pi * (x - dx) / 9) * np.cos(2 * np.pi * (y - dy) / 11)

    out = apply_drift(np.stack([image(0, 0), image(0.6, -1.3)]), table((0, 0, 0), (-1.3, 0.6, 0)), interpolation=how)
    assert np.abs(out[1] - out[0])[8:-8, 8:-8].max() < limit


def test_bit_depth_is_kept_without_overflow() -> None:
    movie = np.zeros((2, 24, 24), np.uint8)
    movie[:, 8:16] = 255
    for how in ("linear", "cubic", "lanczos", "fourier"):
        out = apply_drift(movie, table((0, 0, 0), (0.5, 0.25, 0)), interpolation=how)[1]
        assert out.dtype == np.uint8
        assert out[8:15, 2:-2].min() > 180, how  # an overshoot that wrapped would be dark
        assert out[17:-2, 2:-2].max() < 60, how
    assert apply_drift(movie, table((0, 0, 0), (0.5, 0, 0)), keep_dtype=False)[1].dtype == np.float32


@settings(max_examples=25, deadline=None)
@given(
    shift=st.tuples(*[st.floats(-6, 6)] * 2),
    angle=st.sampled_from([0.0, 7.5, -31.0]),
    canvas=st.sampled_from(["same", "crop", "extend"]),
)
def test_labels_are_moved_never_mixed(shift: tuple[float, float], angle: float, canvas: str) -> None:
    labels = np.zeros((2, 33, 40), np.uint32)
    labels[:, 8:14, 9:20] = 3_000_000_001
    labels[:, 15:25, 15:30] = 7
    drift = table((0, 0, 0), (*shift, 0), angle=[0, angle])
    out = apply_drift(labels, drift, labels=True, canvas=canvas)
    assert out[1].dtype == np.uint32
    assert out[1].shape == out.shape[1:]
    assert set(np.unique(out[1])) <= {0, 7, 3_000_000_001}


def test_crop_shows_what_all_frames_show_and_extend_what_any_shows(scene: Scene) -> None:
    drift = table((0, 0, 0), (2.4, -3.6, 0), (-1.2, 5.0, 0))
    movie = np.ones((3, 40, 50), np.float32)
    cropped = apply_drift(movie, drift, canvas="crop", fill=-9)
    assert cropped.shape == (3, 31, 45)
    assert all((cropped[t] == 1).all() for t in range(3))
    extended = apply_drift(movie, drift, canvas="extend", fill=-9)
    assert extended.shape == (3, 49, 55)
    assert all((extended[t] == 1).sum() >= 39 * 49 for t in range(3))
    with pytest.raises(ParameterError, match="no area"):
        apply_drift(movie, table((0, 0, 0), (60, 0, 0), (0, 0, 0)), canvas="crop")
    turned = apply_drift(movie, table((0, 0, 0), (1, 2, 0), (0, 0, 0), angle=[0, 10, -5]), canvas="crop", fill=-9)
    assert all((turned[t] == 1).all() for t in range(3))


def test_pixels_labels_and_positions_agree(scene: Scene) -> None:
    truth = random_walk(4, step_px=3, angle_step_deg=4, seed=2)
    margin = (40, 40)
    moved = DriftMovie(scene[0], truth, margin)
    labels = DriftMovie(scene[1], truth, margin, order=0, dtype=np.dtype(np.int32))
    pixels = apply_drift(moved, truth, interpolation="cubic")
    inner = (slice(25, -25), slice(25, -25))
    for t in range(1, 4):
        assert np.corrcoef(pixels[t][inner].ravel(), pixels[0][inner].ravel())[0, 1] > 0.995
    scale = Scale(y_um=0.5, x_um=0.25)
    common = sorted(set.intersection(*(set(np.unique(labels[t][30:-30, 30:-30])) for t in range(4))) - {0})
    whole = [n for n in common if len({round(float((labels[t] == n).sum()), -1) for t in range(4)}) == 1]
    assert len(whole) > 3
    rows = [
        {"frame": t, "object_id": int(n), "x_um": x * 0.25, "y_um": y * 0.5}
        for t in range(4)
        for n, (y, x) in zip(whole, ndimage.center_of_mass(labels[t] > 0, labels[t], whole), strict=True)
    ]
    back = drifted_positions(pl.DataFrame(rows), truth, scale, shape=(176, 176))
    spread = back.group_by("object_id").agg((pl.col("x_um") / 0.25).std(), (pl.col("y_um") / 0.5).std())
    assert spread["x_um"].max() < 0.5
    assert spread["y_um"].max() < 0.5
    assert back.select("frame", "object_id").equals(pl.DataFrame(rows).select("frame", "object_id"))


def test_depth_is_moved_in_tables() -> None:
    rows = pl.DataFrame({"frame": [0, 1], "x_um": [4.0, 4.0], "y_um": [2.0, 2.0], "z_um": [1.0, 4.0]})
    drift = table((0, 0, 0), (2, -1, 1.5))
    out = drifted_positions(rows, drift, Scale.isotropic(0.5, z_um=2.0))
    assert out.rows() == [(0, 4.0, 2.0, 1.0), (1, 3.0, 2.5, 1.0)]


def test_wrong_tables_are_refused() -> None:
    movie = np.zeros((3, 8, 8))
    with pytest.raises(ParameterError, match="2 frames, the movie 3"):
        apply_drift(movie, table((0, 0, 0), (1, 0, 0)))
    with pytest.raises(ParameterError, match="finite"):
        apply_drift(movie[:1], table((np.nan, 0, 0)))
    with pytest.raises(ParameterError, match="did you mean 'linear'"):
        apply_drift(movie, steady(3), interpolation="linaer")
    with pytest.raises(ParameterError, match="turns"):
        apply_drift(movie, table((0, 0, 0), (0, 0, 0), (0, 0, 0), angle=[0, 1, 2]), interpolation="fourier")
    with pytest.raises(TableError, match="dx_px"):
        apply_drift(movie, steady(3).drop("dx_px"))
    rows = pl.DataFrame({"frame": [5], "x_um": [1.0], "y_um": [1.0]})
    with pytest.raises(ParameterError, match="Frame 5"):
        drifted_positions(rows, steady(3), Scale.isotropic(1))


def test_frames_are_read_one_at_a_time(scene: Scene) -> None:
    read: list[int] = []

    class Lazy:
        shape, ndim, dtype = (5, 256, 256), 3, np.dtype(np.float64)

        def __getitem__(self, t: int) -> NDArray[np.float64]:
            read.append(t)
            return scene[0]

    out = apply_drift(Lazy(), steady(5))
    assert read == []
    assert out[3].shape == (256, 256)
    assert read == [3]
    assert_array_equal(out[-1], out[4])
    with pytest.raises(IndexError):
        out[5]
