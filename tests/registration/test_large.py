"""Memory follows the size of a frame, never the length of a movie; voxels need not be cubes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import ndimage

from kinocyte.core.scale import Scale
from kinocyte.registration import PhaseCorrelation, apply_drift
from kinocyte.registration import _prepare as prepare
from kinocyte.registration import _tiles as tiles
from kinocyte.registration._coarse import Search
from kinocyte.registration._spectrum import Grid, band

#: Odd sizes, as of the slide scanner's 9969 x 9487 px, an eighth of each.
HEIGHT, WIDTH = 1247, 1185


def huge(path: Path, n: int) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """Return a memory-mapped movie of one texture at whole shifts, and the shifts (dy, dx)."""
    rng = np.random.default_rng(0)
    coarse = rng.random((HEIGHT // 8 + 12, WIDTH // 8 + 12)) * 4000
    scene = ndimage.zoom(coarse, 8, order=1)
    shift = rng.integers(-20, 21, (n, 2))
    shift[0] = 0
    movie = np.lib.format.open_memmap(path, "w+", np.uint16, (n, HEIGHT, WIDTH))
    for t, (dy, dx) in enumerate(shift):
        movie[t] = scene[30 - dy : 30 - dy + HEIGHT, 30 - dx : 30 - dx + WIDTH] + rng.normal(500, 30, (HEIGHT, WIDTH))
    movie.flush()
    return np.load(path, mmap_mode="r"), shift.astype(float)


def test_memory_is_bounded_by_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of frames of 10 000 x 10 000 px, scaled down with the frames of this test."""
    share = 9969 * 9487 / (HEIGHT * WIDTH)
    monkeypatch.setattr(prepare, "MOST_PIXELS", int(prepare.MOST_PIXELS / share))
    monkeypatch.setattr(prepare, "CACHE_BYTES", int(prepare.CACHE_BYTES / share))
    monkeypatch.setattr(prepare, "GROUP_BYTES", int(prepare.GROUP_BYTES / share))
    frame_bytes = HEIGHT * WIDTH * 2
    peak = {}
    for n in (4, 12, 36):  # the first time compiles, which takes memory too
        movie, shift = huge(tmp_path / f"{n}.npy", n)
        tracemalloc.start()
        table = PhaseCorrelation().estimate(movie)
        for t in (0, n - 1):
            assert apply_drift(movie, table)[t].shape == (HEIGHT, WIDTH)
        peak[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        found = table.select("dy_px", "dx_px").to_numpy()
        assert np.sqrt((((found - shift) - (found - shift).mean(axis=0)) ** 2).mean()) < 0.05
    assert peak[12] < 4 * frame_bytes
    assert peak[36] < 1.5 * peak[12]  # two threads hold a frame more or less


def test_four_channels_of_odd_size_are_read_a_frame_at_a_time(tmp_path: Path) -> None:
    movie, shift = huge(tmp_path / "channels.npy", 5)
    table = PhaseCorrelation().estimate([movie, movie, movie, movie])
    assert_allclose(table.select("dy_px", "dx_px"), shift, atol=0.05)


def test_a_length_means_the_same_along_z_as_in_the_plane() -> None:
    grid = Grid((16, 32, 32), (0, 1, 2))
    passed = band(grid.cycles(depth_px=4.0), 2.0, 0.0)
    # planes four pixels apart: a wave of 8 planes is one of 32 pixels
    assert passed[2, 0, 0] == pytest.approx(passed[0, 1, 0])
    assert passed[2, 0, 0] == pytest.approx(passed[0, 0, 1])
    assert Search().depth_px == 1.0


def test_flat_voxels_are_registered_in_volumes() -> None:
    rng = np.random.default_rng(1)
    fine = ndimage.gaussian_filter(rng.random((72, 110, 110)), (3, 3, 3)) * 9000
    movie = np.stack([fine[8 - dz : 56 - dz : 3, 10:90, 10 + dx : 90 + dx] for dz, dx in ((0, 0), (3, 2), (6, -1))])
    scale = Scale(y_um=0.5, x_um=0.5, z_um=1.5)
    table = PhaseCorrelation(stack="volume", smallest_um=1.0, largest_um=20.0).estimate(movie, scale)
    assert_allclose(table["dz_px"], [0, 1, 2], atol=0.15)
    assert_allclose(table["dx_px"], [0, -2, 1], atol=0.1)


def test_shifts_of_frames_that_are_made_smaller_are_measured_on_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "MOST_PIXELS", 100_000)
    movie, shift = huge(tmp_path / "movie.npy", 5)
    mask = np.ones((HEIGHT, WIDTH), dtype=bool)
    mask[:, :200] = False
    error_px = {}
    for side in (2000, 300):  # frames too small for four tiles, and not
        monkeypatch.setattr(tiles, "SIDE", side)
        table = PhaseCorrelation().estimate(movie, mask=mask)
        error = table.select("dy_px", "dx_px").to_numpy() - shift
        error_px[side] = float(np.sqrt(((error - error.mean(axis=0)) ** 2).mean()))
    assert error_px[300] < 0.01
    assert error_px[300] < error_px[2000]


def test_a_frame_is_read_a_few_times_however_large() -> None:
    reads = 0

    class Counted:
        shape, ndim, dtype = (30, 512, 512), 3, np.dtype(np.uint16)

        def __getitem__(self, t: int) -> NDArray[np.uint16]:
            nonlocal reads
            reads += 1
            return np.random.default_rng(t).integers(0, 60, (512, 512), dtype=np.uint16) + scene

    rng = np.random.default_rng(0)
    scene = (ndimage.gaussian_filter(rng.random((512, 512)), 3) * 9000).astype(np.uint16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "CACHE_BYTES", 4_000_000)
        patch.setattr(prepare, "GROUP_BYTES", 8_000_000)  # groups of 7 frames
        PhaseCorrelation().estimate(Counted())
    assert reads <= 3 * 30
