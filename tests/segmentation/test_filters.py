"""Filters against scipy and scikit-image, and what a pipeline file may say."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import ndimage as ndi
from skimage import exposure, morphology
from skimage import filters as peer

from kinocyte.core.scale import Scale
from kinocyte.segmentation.filters import Filter, FilterSpec, apply_filters

SPEC = TypeAdapter(Filter)
PIXEL_UM = 0.5
SCALE = Scale.isotropic(PIXEL_UM)
STACK_SCALE = Scale(z_um=2.0, y_um=0.5, x_um=0.5)
IMAGE = np.random.default_rng(4).gamma(2.0, 40.0, (48, 53))
STACK = np.random.default_rng(4).gamma(2.0, 40.0, (7, 24, 25))


def run(image, scale=SCALE, **spec) -> np.ndarray:
    before = image.copy()
    out = apply_filters(image, [SPEC.validate_python(spec)], scale)
    np.testing.assert_array_equal(image, before)
    assert out.dtype == np.float64
    assert out.shape == image.shape
    return out


def ball(radius_um, spacing):
    reach = [int(radius_um / s) for s in spacing]
    grid = np.meshgrid(*[np.arange(-r, r + 1) * s for r, s in zip(reach, spacing, strict=True)], indexing="ij")
    return sum(g**2 for g in grid) <= radius_um**2 + 1e-9


DISC = ball(1.5, (0.5, 0.5))
BALL = ball(2.0, (2.0, 0.5, 0.5))


def test_disc_and_ball_are_those_of_scikit_image():
    np.testing.assert_array_equal(DISC, morphology.disk(3))
    assert BALL.shape == (3, 9, 9)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"filter": "gaussian", "sigma_um": 1.0}, lambda a: ndi.gaussian_filter(a, 2, mode="nearest")),
        ({"filter": "median", "radius_um": 1.5}, lambda a: ndi.median_filter(a, footprint=DISC, mode="nearest")),
        ({"filter": "maximum", "radius_um": 1.5}, lambda a: ndi.maximum_filter(a, footprint=DISC, mode="nearest")),
        ({"filter": "minimum", "radius_um": 1.5}, lambda a: ndi.minimum_filter(a, footprint=DISC, mode="nearest")),
        (
            {"filter": "percentile", "radius_um": 1.5, "percentile": 20},
            lambda a: ndi.percentile_filter(a, 20, footprint=DISC, mode="nearest"),
        ),
        ({"filter": "subtract", "value": 100}, lambda a: a - 100),
        ({"filter": "subtract", "value": 100, "clip": True}, lambda a: np.clip(a - 100, 0, None)),
        ({"filter": "absolute"}, np.abs),
        ({"filter": "ln"}, lambda a: np.log(np.maximum(a, 1))),
        ({"filter": "power", "exponent": 0.5}, np.sqrt),
        ({"filter": "variance", "size_um": 2.5}, lambda a: ndi.generic_filter(a, np.var, size=5, mode="nearest")),
        ({"filter": "std", "size_um": 2.5}, lambda a: ndi.generic_filter(a, np.std, size=5, mode="nearest")),
        ({"filter": "laplace"}, lambda a: ndi.laplace(a, mode="nearest") / 0.25),
        (
            {"filter": "dog", "small_sigma_um": 0.5, "large_sigma_um": 2.0},
            lambda a: peer.difference_of_gaussians(a, 1, 4, mode="nearest"),
        ),
        (
            {"filter": "log", "sigma_um": 1.0},
            lambda a: -4 * 0.25 * 1.0 * ndi.gaussian_laplace(a, 2, mode="nearest") * 4,
        ),
        ({"filter": "tophat", "radius_um": 1.5}, lambda a: ndi.white_tophat(a, footprint=DISC, mode="nearest")),
        ({"filter": "invert"}, lambda a: a.max() - a),
        ({"filter": "invert", "value": 255}, lambda a: 255 - a),
        ({"filter": "otsu"}, lambda a: (a > peer.threshold_otsu(a)).astype(float)),
        ({"filter": "multiotsu"}, lambda a: np.digitize(a, peer.threshold_multiotsu(a)).astype(float)),
        (
            {"filter": "local", "window_um": 5.5},
            lambda a: (a > peer.threshold_local(a, 11, mode="nearest")).astype(float),
        ),
        (
            {"filter": "niblack", "window_um": 5.5, "k": -0.3},
            lambda a: (a > peer.threshold_niblack(a, 11, -0.3)).astype(float),
        ),
        (
            {"filter": "sauvola", "window_um": 5.5},
            lambda a: (a > peer.threshold_sauvola(a, 11, 0.2, r=np.ptp(a) / 2)).astype(float),
        ),
        (
            {"filter": "clahe", "tile_um": 8, "clip_limit": 0.02},
            lambda a: exposure.equalize_adapthist((a - a.min()) / np.ptp(a), kernel_size=16, clip_limit=0.02),
        ),
        (
            {"filter": "normalise", "low_percentile": 5, "high_percentile": 95},
            lambda a: (a - np.percentile(a, 5)) / (np.percentile(a, 95) - np.percentile(a, 5)),
        ),
    ],
    ids=lambda v: v["filter"] if isinstance(v, dict) else "",
)
def test_2d_filters_equal_their_peers(spec, expected):
    np.testing.assert_allclose(run(IMAGE, **spec), expected(IMAGE), rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"filter": "gaussian", "sigma_um": 1.0}, lambda a: ndi.gaussian_filter(a, (0.5, 2, 2), mode="nearest")),
        ({"filter": "median", "radius_um": 2.0}, lambda a: ndi.median_filter(a, footprint=BALL, mode="nearest")),
        ({"filter": "maximum", "radius_um": 2.0}, lambda a: ndi.maximum_filter(a, footprint=BALL, mode="nearest")),
        ({"filter": "tophat", "radius_um": 2.0}, lambda a: ndi.white_tophat(a, footprint=BALL, mode="nearest")),
        (
            {"filter": "laplace"},
            lambda a: sum(
                ndi.correlate1d(a, [1, -2, 1], axis=k, mode="nearest") / s**2 for k, s in enumerate((2.0, 0.5, 0.5))
            ),
        ),
    ],
    ids=lambda v: v["filter"] if isinstance(v, dict) else "",
)
def test_3d_filters_respect_the_distance_of_planes(spec, expected):
    np.testing.assert_allclose(run(STACK, STACK_SCALE, **spec), expected(STACK), rtol=1e-9, atol=1e-8)


def test_log_peaks_in_the_middle_of_a_blob_of_its_size():
    y, x = np.mgrid[:61, :61]
    radius = 8.0
    disc = ((y - 30) ** 2 + (x - 30) ** 2 <= radius**2).astype(float)
    answers = {s: run(disc, filter="log", sigma_um=s * PIXEL_UM)[30, 30] for s in (3.0, radius / np.sqrt(2), 9.0)}
    assert answers[radius / np.sqrt(2)] == max(answers.values())
    best = run(disc, filter="log", sigma_um=radius / np.sqrt(2) * PIXEL_UM)
    assert np.unravel_index(best.argmax(), best.shape) == (30, 30)


@pytest.mark.parametrize("radius_um", [3.0, 20.0])
def test_rolling_ball_removes_a_slope_and_keeps_spots(radius_um):
    y, x = np.mgrid[:120, :130]
    slope = 100.0 + 0.3 * x + 0.2 * y
    spot = 50.0 * np.exp(-((y - 60) ** 2 + (x - 65) ** 2) / 8.0)
    out = run(slope + spot, filter="rolling_ball", radius_um=radius_um)
    assert out.min() >= -1e-9
    assert np.percentile(out, 80) < 6.0
    assert out[60, 65] > 40.0
    assert np.unravel_index(out.argmax(), out.shape) == (60, 65)


def test_rolling_ball_lies_beneath_and_never_touches_a_constant():
    np.testing.assert_allclose(run(np.full((40, 40), 7.0), filter="rolling_ball", radius_um=4.0), 0.0, atol=1e-9)
    assert run(IMAGE, filter="rolling_ball", radius_um=30.0).min() >= -1e-9
    assert run(STACK, STACK_SCALE, filter="rolling_ball", radius_um=2.0).min() >= -1e-9


def names() -> list[str]:
    return sorted(SPEC.json_schema()["discriminator"]["mapping"])


def test_the_promised_filters_are_there():
    promised = (
        "gaussian median maximum minimum percentile subtract absolute ln variance std laplace dog log tophat invert"
    )
    promised += " otsu multiotsu local niblack sauvola rolling_ball clahe"
    assert set(promised.split()) <= set(names())


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (3, 1, 5), (20, 20)])
def test_every_filter_takes_small_and_constant_images(name, shape):
    spec = {"filter": name, **({"value": 3.0} if name == "subtract" else {})}
    scale = SCALE if len(shape) == 2 else STACK_SCALE
    for image in (np.full(shape, 5.0), np.zeros(shape), np.arange(np.prod(shape), dtype=float).reshape(shape)):
        assert np.isfinite(run(image, scale, **spec)).all()


@pytest.mark.parametrize("name", names())
def test_every_filter_survives_a_dump(name):
    spec = SPEC.validate_python({"filter": name, **({"value": 3.0} if name == "subtract" else {})})
    assert isinstance(spec, FilterSpec)
    assert SPEC.validate_python(spec.model_dump(exclude_unset=True)) == spec
    assert SPEC.validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    "spec",
    [
        {"filter": "gauss", "sigma_um": 1},
        {"filter": "gaussian", "sigma": 1},
        {"filter": "gaussian", "sigma_um": 0},
        {"filter": "gaussian", "sigma_um": float("nan")},
        {"filter": "dog", "small_sigma_um": 3, "large_sigma_um": 2},
        {"filter": "percentile", "percentile": 101},
        {"filter": "subtract"},
        {"filter": "multiotsu", "classes": 1},
        {"filter": "normalise", "low_percentile": 60, "high_percentile": 50},
    ],
)
def test_wrong_specs_are_refused(spec):
    with pytest.raises(ValidationError):
        SPEC.validate_python(spec)


def test_without_filters_the_image_keeps_its_dtype():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert apply_filters(image, (), SCALE) is image
