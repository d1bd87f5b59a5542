"""Drift against known truth, real movies, and what may go wrong in a movie."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import DRIFT
from kinocyte.registration import PhaseCorrelation, estimate_drift
from kinocyte.registration._backfit import backfit
from kinocyte.simulation.drift import Crawl, DriftMovie, drift_table, jumps, random_walk, steady
from tests.registration.scenes import nuclei

MARGIN = (48, 48)
Scene = tuple[NDArray[np.float64], NDArray[np.int32]]


def rms_px(table: pl.DataFrame, truth: pl.DataFrame, *, leave: tuple[int, ...] = (), z: bool = False) -> float:
    """Return the root mean square error per axis, the common offset removed."""
    columns = ["dz_px"] if z else ["dx_px", "dy_px"]
    error = table.select(columns).to_numpy() - truth.select(columns).to_numpy()
    error = np.delete(error, list(leave), axis=0)
    return float(np.sqrt(((error - error.mean(axis=0)) ** 2).mean()))


def band_limited(side: int, shift_yx: tuple[float, float], seed: int = 0) -> NDArray[np.float32]:
    """Return a periodic random image moved exactly, by the phase of its Fourier coefficients."""
    rng = np.random.default_rng(seed)
    ky, kx = np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)
    amplitude = np.exp(-((ky**2 + kx**2) / 0.1**2)) * side
    spectrum = np.fft.fft2(rng.normal(size=(side, side))) * amplitude
    moved = spectrum * np.exp(-2j * np.pi * (ky * shift_yx[0] + kx * shift_yx[1]))
    return np.fft.ifft2(moved).real.astype(np.float32)


@pytest.mark.parametrize("correlation", ["weighted", "phase", "normalised"])
@pytest.mark.parametrize("reference", ["global", "first", "previous", "template"])
def test_known_shifts_are_found_to_a_hundredth_of_a_pixel(reference: str, correlation: str) -> None:
    shift = [(0.0, 0.0), (0.37, -1.21), (2.5, 3.75), (-4.13, 6.02), (-1.0, 0.5)]
    movie = np.stack([band_limited(160, s)[16:-16, 12:-17] for s in shift])
    table = PhaseCorrelation(reference=reference, correlation=correlation, fixed_pattern="keep").estimate(movie)
    assert_allclose(table.select("dy_px", "dx_px").to_numpy(), shift, atol=0.01)
    assert table["quality"].min() > 0.8
    assert not table["outlier"].any()


def test_the_table_follows_the_schema(scene: Scene) -> None:
    table = estimate_drift(DriftMovie(scene[0], random_walk(5), MARGIN))
    assert table.columns[: len(DRIFT)] == list(DRIFT)
    assert all(table[n].dtype == c.dtype for n, c in DRIFT.items())
    assert table.row(0)[1:5] == (0.0, 0.0, 0.0, 0.0)
    assert registry.get("registration", "phase_correlation") is PhaseCorrelation


@pytest.mark.parametrize("noise_sd", [20.0, 200.0, 600.0])
def test_noise_is_borne(scene: Scene, noise_sd: float) -> None:
    truth = random_walk(12, step_px=1.5, seed=1)
    table = PhaseCorrelation().estimate(DriftMovie(scene[0], truth, MARGIN, noise_sd=noise_sd))
    assert rms_px(table, truth) < {20.0: 0.02, 200.0: 0.1, 600.0: 0.35}[noise_sd]


@pytest.mark.parametrize("noise_sd", [30.0, 300.0])
def test_the_predicted_error_is_the_error(scene: Scene, noise_sd: float) -> None:
    truth = random_walk(20, step_px=1.0, seed=6)
    table = PhaseCorrelation().estimate(DriftMovie(scene[0], truth, MARGIN, noise_sd=noise_sd))
    predicted = float(np.sqrt((table["error_px"].to_numpy() ** 2).mean()))
    assert 0.4 < predicted / rms_px(table, truth) < 2.5


def test_blank_frames_are_interpolated_and_named(scene: Scene) -> None:
    truth, blank = steady(14, step_px=(0.7, -0.4, 0.0)), (0, 5, 6, 13)
    for noise_sd in (0.0, 30.0):
        movie = DriftMovie(scene[0], truth, MARGIN, noise_sd=noise_sd, blank=blank)
        table = PhaseCorrelation().estimate(movie)
        assert tuple(table.filter(pl.col("interpolated"))["frame"]) == blank
        assert tuple(table.filter(pl.col("quality") == 0)["frame"]) == blank
        assert rms_px(table, truth, leave=(0, 13)) < 0.03
    for reference in ("previous", "first", "template"):
        table = PhaseCorrelation(reference=reference).estimate(movie)
        assert rms_px(table, truth, leave=(0, 13)) < 0.1


def test_a_frame_out_of_sight_or_saturated_is_named(scene: Scene) -> None:
    truth = steady(10, step_px=(0.5, 0.2, 0.0))
    movie = np.stack([DriftMovie(scene[0], truth, MARGIN, noise_sd=10)[t] for t in range(10)])
    movie[3] = nuclei(256, 60, seed=77)[0][48:-48, 48:-48]
    movie[7] = 65535
    table = PhaseCorrelation().estimate(movie)
    assert table.filter(pl.col("outlier"))["frame"].to_list() == [3, 7]
    assert rms_px(table, truth) < 0.05


def test_a_sample_under_a_fixed_pattern_is_seen_to_move(scene: Scene) -> None:
    dirt = 1.5 * nuclei(160, 30, seed=9)[0]
    for truth in (steady(16, step_px=(0.6, 0.4, 0.0)), random_walk(16, step_px=2.0, seed=3)):
        movie = DriftMovie(scene[0], truth, MARGIN, noise_sd=20, fixed_pattern=dirt)
        assert rms_px(PhaseCorrelation().estimate(movie), truth) < 0.1
        still = PhaseCorrelation(fixed_pattern="keep").estimate(movie)
        assert still.select("dx_px", "dy_px").to_numpy().std() < 0.2 * np.std(truth["dx_px"].to_numpy())


def test_a_pattern_that_may_hide_a_drift_is_named(scene: Scene) -> None:
    truth = random_walk(14, step_px=2, seed=3)
    few, _ = nuclei(256, 10, seed=1)
    dirt = 2 * nuclei(160, 15, seed=9)[0]
    hidden = PhaseCorrelation().estimate(DriftMovie(few, truth, MARGIN, noise_sd=30, fixed_pattern=dirt))
    assert rms_px(hidden, truth) > 1  # too little of the sample is seen to tell
    assert set(hidden["fixed_pattern"]) == {"suspected"}
    plenty = PhaseCorrelation().estimate(DriftMovie(scene[0], truth, MARGIN, noise_sd=30, fixed_pattern=dirt))
    assert rms_px(plenty, truth) < 0.1
    assert set(plenty["fixed_pattern"]) == {"removed"}
    for drift in (truth, drift_table(np.zeros((14, 3)))):
        clean = PhaseCorrelation().estimate(DriftMovie(scene[0], drift, MARGIN, noise_sd=30))
        assert set(clean["fixed_pattern"]) == {"none"}


def test_a_sample_at_rest_stays_at_rest_whatever_crawls_on_it(scene: Scene) -> None:
    truth = drift_table(np.zeros((14, 3)))
    for fraction in (0.03, 0.5):
        movie = DriftMovie(scene[0], truth, MARGIN, noise_sd=30, crawl=Crawl(scene[1], 1.5, fraction))
        assert rms_px(PhaseCorrelation().estimate(movie), truth) < 0.1


def test_moving_cells_flicker_and_bleaching_do_not_pull(scene: Scene) -> None:
    truth = jumps(16, size_px=5, probability=0.4, seed=2)
    crawling = DriftMovie(scene[0], truth, MARGIN, noise_sd=30, crawl=Crawl(scene[1], 1.5, 0.5))
    assert rms_px(PhaseCorrelation().estimate(crawling), truth) < 0.1
    fading = DriftMovie(scene[0], truth, MARGIN, noise_sd=30, bleach_frames=10, flicker=0.3)
    assert rms_px(PhaseCorrelation().estimate(fading), truth) < 0.1


def test_channels_that_exchange_their_signal_are_combined(scene: Scene) -> None:
    truth = random_walk(16, step_px=1.5, seed=5)
    phase = np.arange(16)[:, None] / 12 + np.random.default_rng(0).random(int(scene[1].max()) + 1)
    share = 0.5 + 0.5 * np.cos(2 * np.pi * phase)
    resting = Crawl(scene[1], 0.0, 0.0)
    red = DriftMovie(scene[0], truth, MARGIN, noise_sd=20, crawl=resting, amplitude=share)
    green = DriftMovie(scene[0], truth, MARGIN, noise_sd=20, crawl=resting, amplitude=1 - share, seed=1)
    assert rms_px(PhaseCorrelation().estimate([red, green]), truth) < 0.05
    named = {"red": red, "green": green}
    assert rms_px(PhaseCorrelation(combine="joint", channel=("red", "green")).estimate(named), truth) < 0.1
    with pytest.raises(ParameterError, match="did you mean 'green'"):
        PhaseCorrelation(channel="gren").estimate(named)


def stack_scene() -> NDArray[np.float64]:
    """Return a stack of blobs at random depths."""
    rng = np.random.default_rng(4)
    z, y, x = np.mgrid[:30, :128, :128].astype(np.float32)
    out = np.full(z.shape, 100.0)
    for cz, cy, cx, a in zip(*rng.uniform([[2], [5], [5], [300]], [[28], [123], [123], [900]], (4, 45)), strict=True):
        out += a * np.exp(-((z - cz) ** 2) / 4.5 - ((y - cy) ** 2 + (x - cx) ** 2) / 18)
    return out


@pytest.mark.parametrize("stack", ["projection", "volume"])
def test_stacks_are_registered_along_all_axes(stack: str) -> None:
    truth = drift_table(np.cumsum(np.random.default_rng(0).normal(0, [1.5, 1.5, 0.6], (6, 3)), axis=0))
    lazy = DriftMovie(stack_scene(), truth, (5, 16, 16), noise_sd=40, dtype=np.dtype(np.uint16), order=1)
    movie = np.stack([lazy[t] for t in range(6)])
    table = PhaseCorrelation(stack=stack).estimate(movie)
    assert rms_px(table, truth) < 0.05
    assert rms_px(table, truth, z=True) < 0.1
    assert PhaseCorrelation(stack="projection", axial=False).estimate(movie)["dz_px"].to_list() == [0.0] * 6
    assert rms_px(PhaseCorrelation(projection="max", axial_view="x").estimate(movie), truth, z=True) < 0.15


def test_stacks_in_noise_are_registered_along_z() -> None:
    steps = np.random.default_rng(0).normal(0, [2.0, 2.0, 0.7], (12, 3))
    truth = drift_table(np.cumsum(steps, axis=0))
    movie = DriftMovie(stack_scene(), truth, (5, 16, 16), noise_sd=400, order=1)  # as much as the brightest objects
    table = PhaseCorrelation().estimate(np.stack([movie[t] for t in range(12)]))
    assert rms_px(table, truth, z=True) < 0.1


def test_an_image_at_rest_is_told_from_one_that_moves() -> None:
    rng = np.random.default_rng(3)
    rest = rng.normal(size=(1, 40, 48)).astype(np.float32)
    sample = rng.normal(size=(60, 70)).astype(np.float32)
    path = np.column_stack([np.zeros(12), rng.integers(0, 12, 12), rng.integers(0, 12, 12)]).astype(float)
    frames = [rest + sample[12 - int(y) :, 12 - int(x) :][:40, :48] for _, y, x in path]
    found = backfit(frames, path)
    assert np.corrcoef((found - found.mean()).ravel(), (rest - rest.mean()).ravel())[0, 1] > 0.99


def test_rotation_is_found(scene: Scene) -> None:
    truth = random_walk(6, step_px=1.5, angle_step_deg=1.5, seed=3)
    table = PhaseCorrelation(model="rigid").estimate(DriftMovie(scene[0], truth, MARGIN, noise_sd=10))
    assert_allclose(table["angle_deg"], truth["angle_deg"], atol=0.02)
    assert_allclose(table["dx_px"], truth["dx_px"], atol=0.05)
    assert_allclose(table["dy_px"], truth["dy_px"], atol=0.05)
    with pytest.raises(ParameterError, match="rigid"):
        PhaseCorrelation(model="rigid", stack="volume").estimate(np.ones((3, 4, 16, 16)) * np.arange(16))


def test_region_mask_band_edges_beads_and_averaging(scene: Scene) -> None:
    truth = steady(12, step_px=(0.4, 0.3, 0.0))
    movie = np.stack([DriftMovie(scene[0], truth, MARGIN, noise_sd=10)[t] for t in range(12)])
    movie[:, :40] = nuclei(160, 20, 5)[0][:40] * 3  # a band that stays, such as a time stamp
    scale = Scale.isotropic(0.5)
    assert rms_px(PhaseCorrelation(region_px=(45, 160, 0, 160), fixed_pattern="keep").estimate(movie), truth) < 0.05
    mask = np.zeros((160, 160), bool)
    mask[44:] = True
    assert rms_px(PhaseCorrelation(fixed_pattern="keep").estimate(movie, mask=mask), truth) < 0.05
    clean = movie[:, 44:]
    for options in (
        {"smallest_um": 1.0, "largest_um": 20.0},
        {"enhance": "edges"},
        {"enhance": "beads", "bead_diameter_um": 5.0},
        {"average_frames": 2},
        {"max_step_um": 2.0, "max_total_um": 20.0},
    ):
        assert rms_px(PhaseCorrelation(**options).estimate(clean, scale), truth) < 0.12, options


def test_bounds_hold(scene: Scene) -> None:
    truth = steady(8, step_px=(2.0, 0.0, 0.0))
    movie = DriftMovie(scene[0], truth, MARGIN)
    table = PhaseCorrelation(max_total_um=4.5).estimate(movie, Scale.isotropic(0.5))
    assert table.filter(pl.col("interpolated"))["frame"].to_list() == [5, 6, 7]
    with pytest.raises(ParameterError, match="pixel size"):
        PhaseCorrelation(max_total_um=4.5).estimate(movie)


def test_long_movies_are_tied_together_by_several_strides(scene: Scene) -> None:
    truth = random_walk(150, step_px=0.6, seed=8)
    table = PhaseCorrelation().estimate(DriftMovie(scene[0], truth, MARGIN, noise_sd=30))
    assert rms_px(table, truth) < 0.02


@pytest.mark.parametrize(
    "movie",
    [
        np.zeros((4, 32, 32)),
        np.full((3, 17, 9), 7, np.uint8),
        np.full((3, 16, 16), np.nan),
        np.random.default_rng(0).normal(size=(1, 20, 20)),
        np.random.default_rng(0).normal(size=(5, 1, 1)),
        np.random.default_rng(0).normal(size=(4, 1, 24)),
        np.random.default_rng(0).normal(size=(4, 3, 2)),
        np.random.default_rng(0).normal(size=(3, 2, 5, 31)),
        np.random.default_rng(0).integers(0, 2, (4, 24, 24)).astype(bool),
    ],
)
@pytest.mark.parametrize("reference", ["global", "previous"])
def test_movies_without_anything_to_register_come_back_whole(movie: NDArray[np.generic], reference: str) -> None:
    table = PhaseCorrelation(reference=reference).estimate(movie)
    assert table.height == len(movie)
    assert np.isfinite(table.select(list(DRIFT)).to_numpy()).all()
    lost = table.filter(pl.col("quality") == 0)
    assert lost["interpolated"].all()


def test_nan_and_infinite_pixels_are_left_out(scene: Scene) -> None:
    truth = steady(8, step_px=(0.5, 0.4, 0.0))
    movie = np.stack([DriftMovie(scene[0], truth, MARGIN)[t] for t in range(8)])
    movie[:, 10:20, 10:30] = np.nan
    movie[3, 50, 60] = np.inf
    assert rms_px(PhaseCorrelation(fixed_pattern="keep").estimate(movie), truth) < 0.05


@settings(max_examples=8, deadline=None)
@given(gain=st.floats(0.05, 50), offset=st.floats(-200, 5000), dy=st.integers(-6, 6), dx=st.integers(-6, 6))
def test_brightness_does_not_matter_and_whole_shifts_add_up(gain: float, offset: float, dy: int, dx: int) -> None:
    image, _ = nuclei(120, 20, seed=2)
    frames = [image[20:-20, 20:-20], image[20 - dy : 100 - dy, 20 - dx : 100 - dx] * gain + offset]
    table = PhaseCorrelation().estimate(np.stack([*frames, frames[0]]))
    assert_allclose(table["dy_px"], [0, dy, 0], atol=0.02)
    assert_allclose(table["dx_px"], [0, dx, 0], atol=0.02)


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="region_px"):
        PhaseCorrelation(region_px=(5, 2, 0, 4))
    with pytest.raises(ValueError, match="lags"):
        PhaseCorrelation(lags=())
    with pytest.raises(ValueError, match="smallest_um"):
        PhaseCorrelation(smallest_um=3, largest_um=2)
    movie = np.random.default_rng(0).normal(size=(3, 16, 16))
    with pytest.raises(ParameterError, match="region"):
        PhaseCorrelation(region_px=(0, 20, 0, 4)).estimate(movie)
    with pytest.raises(ParameterError, match="mask"):
        PhaseCorrelation().estimate(movie, mask=np.ones((3, 3), bool))
    with pytest.raises(ParameterError, match="mask"):
        PhaseCorrelation().estimate(movie, mask=np.zeros((16, 16), bool))
    with pytest.raises(ParameterError, match="axes"):
        PhaseCorrelation().estimate(np.zeros((3, 16)))
    with pytest.raises(ParameterError, match="empty"):
        PhaseCorrelation().estimate(np.zeros((0, 16, 16)))
    with pytest.raises(ParameterError, match="shape"):
        PhaseCorrelation().estimate([movie, movie[:, :8]])


def test_the_same_movie_gives_the_same_table(scene: Scene) -> None:
    movie = DriftMovie(scene[0], random_walk(6, seed=1), MARGIN, noise_sd=50)
    assert PhaseCorrelation().estimate(movie).equals(PhaseCorrelation().estimate(movie, seed=5))


def test_real_stage_jitter(data) -> None:
    """Cells crawl by several pixels a frame; fine structure of the plate tells the stage.

    The jitter was measured elsewhere on the full frame (see the data's provenance), as the shift that undoes it.
    """
    movie = tifffile.imread(data / "incucyte_mcf_3ch" / "HC01501_B2_1_crop_TCYX_PGR.tif")
    measured = [
        (0, 0), (9.5, 1), (22, 0.5), (11, 4.5), (15, -7), (30, 2), (10.5, -2), (19.5, -6.5), (20, -5), (26, -2),
        (3.5, -1),
    ]  # fmt: skip
    table = PhaseCorrelation().estimate(movie[:, 0])
    assert_allclose(-table.select("dy_px", "dx_px").to_numpy(), measured, atol=0.5)


def test_a_real_movie_moves_as_stackreg_says(data) -> None:
    folder = data / "pystackreg_pc12_drift"
    movie = tifffile.imread(folder / "pc12-unreg.tif")
    table = PhaseCorrelation().estimate(movie)
    assert_allclose(np.abs(table["dy_px"].to_numpy()[1:]), [8.1, 13.5, 15.2, 12.3], atol=0.6)
    assert np.abs(table["dx_px"].to_numpy()).max() < 2


def test_two_rounds_of_staining(data) -> None:
    folder = data / "dapi_two_rounds_registration"
    first = tifffile.imread(folder / "anchor_nuclei_downsampled.tiff")[:912, :624]
    second = tifffile.imread(folder / "r1_DAPI_downsampled.tiff")[:912, :624]
    table = PhaseCorrelation().estimate(np.stack([first, second]))
    shift = table.select("dy_px", "dx_px").to_numpy()[1]
    assert_allclose(shift * -np.sign(shift[0]), [-11.4, 3.8], atol=0.5)


def test_organoids_drift_steadily_at_the_start(data) -> None:
    folder = data / "fis_organoids_drift_plate" / "W0001--fsk--0.008"
    movie = np.stack([tifffile.imread(f)[..., 1] for f in sorted(folder.glob("*.tif"))])
    table = PhaseCorrelation().estimate(movie)
    last = np.abs(table.select("dy_px", "dx_px").to_numpy()[-1])
    assert_allclose(np.sort(last), [1.6, 3.2], atol=0.5)
    assert all(b - a > -0.6 for a, b in pairwise(np.abs(table["dx_px"].to_numpy())))


def test_parameters_may_be_given_without_the_method() -> None:
    movie = np.stack([band_limited(96, s)[16:-16, 12:-17] for s in [(0.0, 0.0), (0.5, -1.5), (1.0, 1.0)]])
    short = estimate_drift(movie, reference="first", correlation="phase")
    assert short.equals(PhaseCorrelation(reference="first", correlation="phase").estimate(movie))
    with pytest.raises(ParameterError, match="no parameter 'referense'; did you mean 'reference'"):
        estimate_drift(movie, referense="first")
    with pytest.raises(ParameterError, match="template_frames = 0 is refused"):
        estimate_drift(movie, template_frames=0)
