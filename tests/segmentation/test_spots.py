"""Spot detectors: filters against their formulas, positions against the truth and scikit-image."""

import numpy as np
import polars as pl
import pytest
from scipy import ndimage as ndi
from scipy import signal
from scipy.spatial import cKDTree
from skimage import feature

from kinocyte.core import registry
from kinocyte.core.errors import CalibrationError, ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation.dog import DoG
from kinocyte.segmentation.hessian import Hessian
from kinocyte.segmentation.log import LoG
from kinocyte.segmentation.spots import SPOTS, suggested_minimum
from kinocyte.simulation.cells import CellMovie, simulate_cells

DETECTORS = [LoG, DoG, Hessian]
SCALE = Scale.isotropic(0.5)
THICK = Scale(z_um=1.0, y_um=0.5, x_um=0.5)


def simulated(shape, sigma, n, seed=0, spacing_px=12.0, noise=1.0):
    """Return Gaussian spots of height 60 with photon-like noise, and their exact centres in pixels."""
    rng = np.random.default_rng(seed)
    sigma = np.broadcast_to(np.asarray(sigma, float), len(shape))
    centres: list[np.ndarray] = []
    while len(centres) < n:
        c = np.array([rng.uniform(3.0 * s, k - 1 - 3.0 * s) for s, k in zip(sigma, shape, strict=True)])
        if all(np.linalg.norm((c - o) / sigma) * sigma[-1] > spacing_px for o in centres):
            centres.append(c)
    grid = np.indices(shape)
    image = np.full(shape, 20.0)
    for c in centres:
        image += 60.0 * np.exp(-0.5 * sum(((g - k) / s) ** 2 for g, k, s in zip(grid, c, sigma, strict=True)))
    return image + rng.normal(0, noise, shape), np.array(centres)


def positions(spots: pl.DataFrame, ndim: int) -> np.ndarray:
    return spots.select(["z_um", "y_um", "x_um"][3 - ndim :]).to_numpy()


@pytest.mark.parametrize("detector", DETECTORS)
def test_every_spot_is_found_to_a_fraction_of_a_pixel(detector):
    image, truth = simulated((200, 210), 2.5, 40)
    spots = detector(channel="c", radius_um=2.5 * np.sqrt(2) * 0.5).detect(image, SCALE)
    assert spots.schema == pl.Schema(SPOTS)
    distance, index = cKDTree(positions(spots, 2)).query(truth * 0.5)
    assert len(spots) == len(truth) == len(set(index))
    assert np.sqrt((distance**2).mean()) < 0.05 * 0.5
    rough = detector(channel="c", radius_um=2.5 * np.sqrt(2) * 0.5, subpixel=False).detect(image, SCALE)
    coarse, _ = cKDTree(positions(rough, 2)).query(truth * 0.5)
    assert (coarse**2).mean() > 10 * (distance**2).mean()


@pytest.mark.parametrize("detector", DETECTORS)
def test_thick_planes(detector):
    image, truth = simulated((24, 70, 72), (1.6, 3.2, 3.2), 12, spacing_px=18)
    spots = detector(channel="c", radius_um=1.6 * np.sqrt(3)).detect(image, THICK)
    distance, index = cKDTree(positions(spots, 3)).query(truth * [1.0, 0.5, 0.5])
    assert len(spots) == 12 == len(set(index))
    assert distance.max() < 0.15


def test_log_finds_what_the_peer_finds():
    image, _ = simulated((160, 160), 2.0, 30, seed=3)
    mine = LoG(channel="c", radius_um=2.0 * np.sqrt(2), subpixel=False).detect(image, Scale.isotropic(1.0))
    answer = -ndi.gaussian_laplace(image, 2.0, mode="mirror")
    peer = feature.peak_local_max(answer, footprint=np.ones((3, 3)), threshold_abs=2.0, exclude_border=False)
    np.testing.assert_array_equal(positions(mine, 2), peer[np.lexsort(peer.T[::-1])])


@pytest.mark.parametrize(("shape", "scale"), [((40, 45), SCALE), ((14, 22, 25), THICK)])
def test_log_answer_is_the_convolution_with_the_published_kernel(shape, scale):
    image = np.random.default_rng(1).random(shape)
    radius = 1.6
    sigma = [radius / np.sqrt(len(shape)) / s for s in scale.spacing_um(len(shape))]
    reach = [int(6 * s) + 2 for s in sigma]
    grid = np.meshgrid(*[np.arange(-r, r + 1) / s for r, s in zip(reach, sigma, strict=True)], indexing="ij")
    hat = sum((g**2 - 1) / s**2 for g, s in zip(grid, sigma, strict=True)) * np.exp(-0.5 * sum(g**2 for g in grid))
    kernel = -hat / (np.pi * sigma[-1] ** 2)
    wide = np.pad(image, [(r, r) for r in reach], mode="reflect")
    expected = signal.fftconvolve(wide, kernel, mode="valid")
    answer = LoG(channel="c", radius_um=radius).answer(image, scale)
    np.testing.assert_allclose(answer, expected, atol=2e-5 * np.abs(expected).max())


def test_dog_answer_is_the_difference_of_two_blurs():
    image = np.random.default_rng(1).random((60, 64))
    sigma = 2.0 / np.sqrt(2) / 0.5
    narrow, wide = (ndi.gaussian_filter(image, np.sqrt((k * sigma) ** 2 - 0.25), mode="mirror") for k in (0.9, 1.1))
    np.testing.assert_allclose(DoG(channel="c", radius_um=2.0).answer(image, SCALE), narrow - wide, atol=1e-10)


@pytest.mark.parametrize("detector", DETECTORS)
def test_quality_of_a_gaussian_spot_is_the_analytic_value(detector):
    """A spot of height A and width w, blurred by s, is A w^2/S^2 high and curves by A w^2/S^4; S^2 = w^2 + s^2."""
    w, s, height = 3.0, 2.5, 100.0
    y, x = np.mgrid[:81, :81]
    image = height * np.exp(-((y - 40) ** 2 + (x - 40) ** 2) / (2 * w**2))
    spots = detector(channel="c", radius_um=s * np.sqrt(2)).detect(image, Scale.isotropic(1.0))
    best = spots.sort("quality").row(-1, named=True)
    assert (best["x_um"], best["y_um"]) == pytest.approx((40, 40), abs=1e-6)
    curvature = height * w**2 / (w**2 + s**2) ** 2
    blurred = [height * w**2 / (w**2 + (k * s) ** 2 - 0.25) for k in (0.9, 1.1)]
    expected = {"log": 4 * curvature, "dog": blurred[0] - blurred[1], "hessian": (s**2 * curvature) ** 2}
    assert best["quality"] == pytest.approx(expected[detector.name()], rel=2e-3)


@pytest.mark.parametrize("detector", DETECTORS)
def test_frames_without_spots(detector):
    method = detector(channel="c", radius_um=1.5)
    noise = np.random.default_rng(5).normal(100, 7, (300, 300))
    for frame in (np.zeros((40, 40), np.uint8), np.full((30, 31), 7.5), np.full((9, 9), np.nan), noise):
        assert method.detect(frame, SCALE).is_empty()
        assert not method.segment(frame, SCALE).any()
    assert method.detect(np.zeros((0, 5)), SCALE).schema == pl.Schema(SPOTS)
    assert method.replace(min_snr=0.0).detect(noise, SCALE).height > 100


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (1, 8, 8), (3, 3, 3)])
def test_tiny_frames(detector, shape):
    frame = np.zeros(shape)
    frame.flat[0] = 50.0
    spots = detector(channel="c", radius_um=0.5).detect(frame, SCALE if len(shape) == 2 else THICK)
    assert spots.height <= 1


def test_spots_at_the_border_and_of_any_dtype():
    y, x = np.mgrid[:60, :60]
    image = sum(
        200 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 8.0) for cy, cx in ((0, 0), (0, 30), (59, 59), (30, 59))
    )
    for dtype in (np.uint8, np.uint16, np.int32, np.float32, np.float64):
        spots = LoG(channel="c", radius_um=1.4).detect(image.astype(dtype), SCALE)
        assert spots.height == 4


def test_dark_spots_and_median():
    image, truth = simulated((90, 90), 2.5, 6, noise=0.5)
    image[50, 50] = 4000.0
    dark = LoG(channel="c", radius_um=1.8, foreground="dark", median=True).detect(500 - image, SCALE)
    assert dark.height == len(truth)
    assert cKDTree(positions(dark, 2)).query(truth * 0.5)[0].max() < 0.2


def test_pixels_that_are_not_finite_hold_no_spot():
    image, _ = simulated((90, 90), 2.5, 6, noise=0.5)
    clean = LoG(channel="c", radius_um=1.8).detect(image, SCALE)
    image[:, 40] = np.nan
    image[0, 0] = np.inf
    broken = LoG(channel="c", radius_um=1.8).detect(image, SCALE)
    assert broken["quality"].is_finite().all()
    far = clean.filter((pl.col("x_um") - 20.0).abs() > 6.0)
    assert cKDTree(positions(broken, 2)).query(positions(far, 2))[0].max() < 0.1


def test_segment_draws_each_spot_with_its_row():
    image, _ = simulated((120, 120), 2.5, 12, noise=0.5)
    method = LoG(channel="c", radius_um=2.0)
    spots, labels = method.detect(image, SCALE), method.segment({"c": image}, SCALE)
    assert labels.dtype == np.uint32
    assert set(np.unique(labels)) == {0, *spots["label"]}
    grid = np.indices(image.shape) * 0.5
    distance = np.stack([np.hypot(grid[0] - r["y_um"], grid[1] - r["x_um"]) for r in spots.iter_rows(named=True)])
    expected = np.where(distance.min(axis=0) <= 2.0, distance.argmin(axis=0) + 1, 0)
    assert (labels != expected).mean() < 1e-3
    for row in spots.iter_rows(named=True):
        assert labels[round(row["y_um"] / 0.5), round(row["x_um"] / 0.5)] == row["label"]


def test_balls_have_the_volume_of_a_ball():
    image, _ = simulated((24, 70, 72), (1.6, 3.2, 3.2), 3, spacing_px=30, noise=0.2)
    labels = LoG(channel="c", radius_um=3.0).segment(image, THICK)
    volumes = np.bincount(labels.ravel())[1:] * 0.25
    assert volumes.max() == pytest.approx(4 / 3 * np.pi * 27, rel=0.05)


def test_normalised_hessian_and_its_radius_along_z():
    image, _ = simulated((24, 70, 72), (3.0, 3.2, 3.2), 4, spacing_px=25)
    method = Hessian(channel="c", radius_um=2.8, radius_z_um=5.2, normalise=True)
    spots = method.detect(image, THICK)
    assert spots.height == 4
    assert spots["quality"].max() == pytest.approx(1.0)


def test_suggested_minimum_parts_spots_from_noise():
    image, truth = simulated((150, 150), 2.5, 20, noise=4.0)
    spots = LoG(channel="c", radius_um=1.8, min_snr=0.0).detect(image, SCALE)
    assert spots.height > 3 * len(truth)
    assert (spots["quality"] > suggested_minimum(spots)).sum() == len(truth)
    assert suggested_minimum(spots.head(0)) == 0.0


def test_telomeres_in_a_real_movie(data):
    import tifffile

    file = data / "telomere_timelapse_100f" / "timelapse_telomeres_2d.tif"
    movie = tifffile.imread(file)
    scale = Scale.isotropic(1.0)
    counts = [LoG(channel="c", radius_um=2.5).detect(frame, scale).height for frame in movie[::20]]
    assert min(counts) >= 5
    assert max(counts) <= 2 * min(counts)


def test_bad_input_is_named():
    with pytest.raises(ParameterError, match="did you mean"):
        LoG(channel="telomere").detect({"telomeres": np.zeros((5, 5))}, SCALE)
    with pytest.raises(ParameterError, match="shape"):
        LoG(channel="c").detect(np.zeros((2, 2, 2, 2)), SCALE)
    with pytest.raises(CalibrationError):
        LoG(channel="c").detect(np.zeros((3, 4, 4)), SCALE)


@pytest.mark.parametrize("detector", DETECTORS)
def test_detectors_are_registered(detector):
    assert registry.get("segmentation", detector.name()) is detector


@pytest.mark.parametrize("planes", [None, 16])
@pytest.mark.parametrize("detector", DETECTORS)
def test_crowded_cells_are_no_noise(detector, planes):
    """Cells that cover the frame make the usual fluctuation of the filter; planes are three pixels apart."""
    settings = CellMovie(
        frames=1, height_px=100, width_px=100, planes=planes, cells=12 if planes is None else 20, diameter_um=12.0,
        spacing=1.0, snr=6.0,
    )  # fmt: skip
    movie = simulate_cells(settings, seed=2)
    axes = ["z_um", "y_um", "x_um"][3 - settings.ndim :]
    truth = movie.objects.select(axes).to_numpy()
    found = detector(channel="c", radius_um=6.0).detect(movie.frame(0)[0], movie.scale).select(axes).to_numpy()
    away, own = cKDTree(found).query(truth, distance_upper_bound=4.0)
    seen = np.isfinite(away)
    assert len(set(own[seen])) == seen.sum()
    assert seen.mean() >= 0.9
    assert len(found) <= 1.15 * len(truth)
    off = found[own[seen]] - truth[seen]
    assert (np.sqrt((off**2).mean(axis=0)) < 1.0).all()  # a tenth of the diameter, along z too
    assert (np.abs(off.mean(axis=0)) < 0.5).all()


def test_spots_among_bright_pixels_are_asked_for_more_where_the_ratio_is_higher():
    frame = simulate_cells(CellMovie(frames=1, height_px=150, width_px=150, cells=30, spacing=0.95), seed=1).frame(0)
    found = [
        LoG(channel="c", radius_um=6.0, min_snr=r).detect(frame[0], Scale.isotropic(0.65)).height
        for r in (0, 3, 6, 24, 1e9)
    ]
    assert found == sorted(found, reverse=True)
    assert found[2] > 20 > found[-1] == 0


@pytest.mark.parametrize("detector", DETECTORS)
def test_one_value_after_another_finds_what_each_finds_alone(detector):
    rng = np.random.default_rng(8)
    frame = rng.normal(20, 2, (90, 100))
    for a, b in ((20, 20), (30, 60), (70, 40), (55, 85)):
        frame[a - 3 : a + 4, b - 3 : b + 4] += rng.uniform(20, 60)
    frame[5, 5] = np.nan
    kept, values, places = {}, {"channel": "a", "radius_um": 2.0}, []
    changes = (
        {}, {"min_quality": 1e-3}, {"subpixel": False}, {"radius_um": 2.5}, {"min_snr": 0.0}, {"min_snr": 9.0},
        {"foreground": "dark"}, {"median": True}, {"foreground": "bright"},
    )  # fmt: skip
    for change in changes:
        values |= change
        method, before = detector(**values), kept.get("answered")
        spots = method.look(frame, SCALE, kept)
        assert spots.equals(method.detect(frame, SCALE)), change
        places.append(spots.height)
        if set(change) <= {"min_quality", "subpixel"} and before is not None:
            assert kept["answered"] is before, "the frame is not filtered again"
    assert max(places) >= 4
