"""Frames read in tiles: the labels of the whole frame whatever the tiles, and memory that does not grow with it."""

import tracemalloc

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation import _walks as walks
from kinocyte.segmentation.dog import DoG
from kinocyte.segmentation.hessian import Hessian
from kinocyte.segmentation.log import LoG
from kinocyte.segmentation.pixel_classifier import PixelClassifier
from kinocyte.segmentation.pixel_training import train_pixel_classifier
from kinocyte.segmentation.threshold import Threshold
from kinocyte.segmentation.tiled import detect_tiled, segment_tiled

SCALE = Scale.isotropic(0.5)
DEEP = Scale.isotropic(0.5, z_um=1.0)
GAUSS = ({"filter": "gaussian", "sigma_um": 0.7},)


def frame(shape=(120, 140), seed=0, size=3.0):
    """Return blobs of all sizes, with holes and bridges, as 16-bit grey values."""
    rng = np.random.default_rng(seed)
    smooth = ndi.gaussian_filter(rng.normal(size=shape), size)
    smooth = smooth / smooth.std()
    return rng.poisson(100 + 400 * (smooth > 0.4) * (1 + 0.2 * smooth)).astype(np.uint16)


METHODS = {
    "otsu": {},
    "triangle, spread": {"threshold": "triangle", "hysteresis": 0.5, "min_contrast": 0.0},
    "no filter": {"filters": (), "fill_holes": False, "connectivity": "face"},
    "fixed": {"threshold": "fixed", "low": 300.0, "high": 900.0, "hysteresis_low": 200.0},
    "dark": {"foreground": "dark", "min_contrast": 0.0},
    "distance": {"split": "distance", "seed_distance_um": 3.0, "exclude_border_um": 1.0},
    "intensity": {"split": "intensity", "seed_distance_um": 3.0, "connectivity": "face"},
    "h": {"split": "h_maxima", "seed_h_um": 0.4, "max_area_um2": 60.0, "exclude_border_um": 0.0},
    "none": {"split": "none", "keep": ({"feature": "solidity", "min": 0.7},)},
    "li": {"threshold": "li", "hysteresis": 0.7},
    "background": {"threshold": "background", "background_sd": 4.0},
    "background, dark": {"threshold": "background", "background_sd": 0.1, "foreground": "dark", "min_area_um2": 0.5},
    "adaptive": {"threshold": "adaptive", "min_contrast": 2.0, "foreground": "dark"},
    "outline": {"outline_fraction": 0.5, "connectivity": "face"},
    "local": {"threshold": "local", "window_um": 20.0, "local_offset": 30.0, "hysteresis": 0.9},
    "niblack": {"threshold": "niblack", "window_um": 21.0, "local_k": -0.4},
    "sauvola": {"threshold": "sauvola", "window_um": 60.0, "local_k": 0.1, "foreground": "dark"},
    "frame-wide filters": {
        "filters": (
            {"filter": "gaussian", "sigma_um": 0.7},
            {"filter": "normalise", "low_percentile": 3.0},
            {"filter": "invert"},
            {"filter": "std", "size_um": 3.0},
        )
    },
    "masks": {
        "filters": ({"filter": "multiotsu"}, {"filter": "local", "window_um": 8.0}, {"filter": "otsu"}),
        "threshold": "fixed",
        "low": 0.5,
    },
    "more masks": {
        "filters": ({"filter": "niblack", "window_um": 9.0}, {"filter": "sauvola", "window_um": 5.0}),
        "threshold": "fixed",
        "low": 0.5,
    },
    "filters": {
        "filters": (
            {"filter": "median", "radius_um": 1.0},
            {"filter": "tophat", "radius_um": 6.0},
            {"filter": "dog", "small_sigma_um": 0.5, "large_sigma_um": 4.0},
        )
    },
    "more filters": {
        "filters": (
            {"filter": "power", "exponent": 0.5},
            {"filter": "maximum", "radius_um": 0.6},
            {"filter": "percentile", "radius_um": 1.0, "percentile": 30.0},
            {"filter": "log", "sigma_um": 1.5},
        )
    },
}


@pytest.mark.parametrize("name", METHODS)
def test_the_labels_are_those_of_the_whole_frame(name):
    method = Threshold(channel="a", **({"filters": GAUSS, "min_contrast": 0.0, "min_area_um2": 2.0} | METHODS[name]))
    image = frame()
    whole = method.segment(image, SCALE)
    assert whole.max() > 3
    for tile_px in (29, 64, 500):
        np.testing.assert_array_equal(segment_tiled(method, {"a": image}, SCALE, tile_px=tile_px), whole)


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.integers(16, 70),
    st.integers(0, 9),
    st.sampled_from(["face", "full"]),
)
@example((1, 60), 16, 0, "full")
def test_any_frame_in_any_tiles(shape, tile_px, seed, connectivity):
    """Noise falls into many parts that meet at the corners of tiles, with holes in holes."""
    image = np.random.default_rng(seed).integers(0, 2, shape).astype(np.uint8)
    method = Threshold(
        channel="a", filters=(), threshold="fixed", low=1.0, min_area_um2=None, connectivity=connectivity, split="neck"
    )
    np.testing.assert_array_equal(segment_tiled(method, image, SCALE, tile_px=tile_px), method.segment(image, SCALE))


RULES = ["otsu", "triangle", "li", "background", "adaptive", "local", "niblack", "sauvola"]


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.integers(16, 40),
    st.sampled_from(RULES),
    st.sampled_from([np.uint8, np.int32, np.float32, np.float64]),
    st.integers(0, 9),
    st.booleans(),
)
def test_any_level_in_any_tiles(shape, tile_px, rule, dtype, seed, gaps):
    """The level of the frame is found in passes over the tiles, with whole numbers for sums; NaN is left out."""
    rng = np.random.default_rng(seed)
    image = (ndi.gaussian_filter(rng.normal(size=shape), 2.0) * 400 + 100).clip(0, 255).astype(dtype)
    if gaps and image.dtype.kind == "f":
        image[rng.random(shape) < 0.05] = np.nan
    method = Threshold(
        channel="a", filters=GAUSS if seed % 2 else (), threshold=rule, min_area_um2=None, window_um=9.0,
        min_contrast=float(seed % 3), split="none" if seed % 4 else "intensity",
    )  # fmt: skip
    np.testing.assert_array_equal(segment_tiled(method, image, SCALE, tile_px=tile_px), method.segment(image, SCALE))


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_ranks_and_sums_of_blocks(size):
    rng = np.random.default_rng(size)
    values = np.concatenate([rng.normal(0, 1e3, size), -np.abs(rng.normal(0, 1e-3, size)), [0.0, -0.0, 7.0]])
    parts = np.array_split(values, 3)
    assert walks.median(lambda: parts, values.size) == np.median(values)
    for q in (0.0, 3.0, 99.8, 100.0):
        assert walks.percentile(lambda: parts, values.size, q) == pytest.approx(np.percentile(values, q), rel=1e-14)
    found = walks.sums(lambda: parts, values.min(), values.max())
    assert found == walks.sums(lambda: (values[::-1],), values.min(), values.max())
    span = np.ptp(values)
    assert (found.mean, found.std) == pytest.approx((values.mean(), values.std()), abs=1e-8 * span)


@pytest.mark.parametrize("top", [5e-324, 1e-300, 1e300, 1.7e308])
def test_sums_of_the_smallest_and_widest_ranges(top):
    values = np.array([-top, 0.0, top, top])
    found = walks.sums(lambda: (values,), -top, top)
    assert found.mean / top == pytest.approx(0.25, abs=0.3 if top == 5e-324 else 1e-8)
    assert np.isfinite(found.std)


def test_stacks():
    image = frame((20, 50, 60), seed=3)
    method = Threshold(channel="a", filters=GAUSS, split="distance", min_volume_um3=3.0, min_contrast=0.0)
    whole = method.segment(image, DEEP)
    assert whole.max() > 3
    for tile_px in (40, 80, 999):
        np.testing.assert_array_equal(segment_tiled(method, image, DEEP, tile_px=tile_px), whole)


@pytest.mark.parametrize("detector", [
    LoG(channel="a", radius_um=2.0, min_snr=1),
    LoG(channel="a", radius_um=1.2, foreground="dark", median=True, min_snr=2),
    DoG(channel="a", radius_um=1.5, min_snr=1),
    Hessian(channel="a", radius_um=1.5, normalise=True, min_quality=0.01, min_snr=0.5),
    LoG(channel="a", radius_um=2.0, subpixel=False, min_snr=0),
])  # fmt: skip
def test_spots_are_those_of_the_whole_frame(detector):
    for image, scale in ((frame(size=2.0), SCALE), (frame((16, 50, 60), seed=2, size=2.0), DEEP)):
        whole = detector.detect(image, scale)
        assert whole.height > 2
        for tile_px in (64, 700):
            tiled = detect_tiled(detector, image, scale, tile_px=tile_px)
            assert tiled.columns == whole.columns
            np.testing.assert_allclose(tiled.to_numpy(), whole.to_numpy(), rtol=1e-9, atol=1e-9)
            np.testing.assert_array_equal(
                segment_tiled(detector, image, scale, tile_px=tile_px), detector.segment(image, scale)
            )


def test_pixel_classifier(tmp_path):
    image = frame()
    strokes = np.where(np.random.default_rng(0).random(image.shape) < 0.05, (image > 250) + 1, 0)
    model = train_pixel_classifier([image], [strokes], SCALE, channels=("a",), trees=10, sigmas_um=(0.5, 1.0))
    model.save(tmp_path / "m.npz")
    method = PixelClassifier(model=str(tmp_path / "m.npz"), smoothing_um=0.5, min_area_um2=2.0)
    whole = method.segment(image, SCALE)
    assert whole.max() > 3
    for tile_px in (32, 65, 999):
        np.testing.assert_array_equal(segment_tiled(method, image, SCALE, tile_px=tile_px), whole)


def test_memory_follows_the_tile_and_not_the_frame(tmp_path):
    """A frame of 6.5 MB whose float64 copy alone takes 26 MB, from disk to disk."""
    shape = (1800, 1800)
    pixels = np.memmap(tmp_path / "in.raw", np.uint16, "w+", shape=shape)
    pixels[:] = np.tile(frame((300, 300), seed=5), (6, 6))
    out = np.memmap(tmp_path / "out.raw", np.uint32, "w+", shape=shape)
    method = Threshold(channel="a", filters=GAUSS, min_contrast=0.0)
    segment_tiled(method, pixels[:300, :300], SCALE, tile_px=256)  # compiles outside of the measurement
    tracemalloc.start()
    segment_tiled(method, pixels, SCALE, tile_px=256, out=out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert out.max() > 1000
    assert out[-300:, -300:].any()


@pytest.mark.parametrize("image", [np.zeros((40, 40), np.uint8), np.full((40, 40), 7.5), np.zeros((40, 40), bool)])
def test_frames_without_contrast(image):
    out = np.full(image.shape, 9, np.uint32)
    segment_tiled(Threshold(channel="a"), image, SCALE, tile_px=16, out=out)
    assert not out.any()
    assert detect_tiled(LoG(channel="a"), image, SCALE, tile_px=16).height == 0


@pytest.mark.parametrize(
    ("method", "image", "says"),
    [
        (Threshold(channel="a", filters=({"filter": "clahe"},)), np.zeros((9, 9)), "'clahe' needs the whole frame"),
        (Threshold(channel="a", keep=({"feature": "contrast", "min": 1},)), np.zeros((9, 9)), "'contrast' needs"),
        (LoG(channel="a"), np.full((9, 9), np.nan), "holds NaN or inf"),
        (Threshold(channel="b"), {"a": np.zeros((9, 9))}, "no channel 'b'"),
        (Threshold(channel="a"), np.zeros((9, 9), complex), "real numbers"),
    ],
)
def test_what_tiles_cannot_do_is_said(method, image, says):
    with pytest.raises(ParameterError, match=says):
        segment_tiled(method, image, SCALE, tile_px=16)


def test_real_nuclei(data):
    file = sorted((data / "dsb2018" / "test" / "images").glob("*.tif"))[3]
    image, method = tifffile.imread(file), Threshold(channel="dna")
    whole = method.segment(image, SCALE)
    assert whole.max() > 3
    np.testing.assert_array_equal(segment_tiled(method, image, SCALE, tile_px=100), whole)
