"""The threshold method: its parts against scikit-image, its promises on hostile input."""

import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError
from scipy import ndimage as ndi
from skimage import feature, filters, measure, segmentation

from kinocyte.core.errors import CalibrationError, ParameterError
from kinocyte.core.registry import parse
from kinocyte.core.scale import Scale
from kinocyte.segmentation.threshold import Threshold

SCALE = Scale.isotropic(0.5)
PLAIN = {"filters": (), "min_area_um2": None, "split": "none", "fill_holes": False}


def scene(shape=(120, 130), radius=9.0, centres=((30, 30), (30, 90), (80, 40), (85, 100)), noise=3.0, seed=0):
    """Return discs of 100 on a background of 20 with noise."""
    grid = np.indices(shape)
    image = np.full(shape, 20.0)
    for c in centres:
        squared = sum((g - k) ** 2 for g, k in zip(grid, c, strict=True))
        image[squared <= radius**2] = 100.0
    return image + np.random.default_rng(seed).normal(0, noise, shape)


def is_sequential(labels):
    ids, first = np.unique(labels, return_index=True)
    first = first[ids > 0]
    return (
        labels.dtype == np.uint32
        and list(ids[ids > 0]) == list(range(1, len(first) + 1))
        and (np.diff(first) > 0).all()
    )


@pytest.mark.parametrize("rule", ["otsu", "triangle", "li"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_plain_threshold_equals_scikit_image(rule, dtype):
    image = scene().astype(dtype)
    level = {"otsu": filters.threshold_otsu, "triangle": filters.threshold_triangle, "li": filters.threshold_li}[rule](
        image
    )
    expected = measure.label(image > level)
    mine = Threshold(channel="dna", threshold=rule, min_contrast=0, **PLAIN).segment(image, SCALE)
    np.testing.assert_array_equal(mine, expected)


def test_the_whole_chain_equals_a_scikit_image_loop():
    """Gaussian, Otsu, holes, components, size, distance, seeds, watershed, with seeds of different height."""
    image = scene(centres=((30, 30), (30, 47), (80, 40), (85, 100), (99, 108)), radius=9.5)
    image[80, 40] = 0.0
    smooth = filters.gaussian(image, 1.2, mode="nearest", preserve_range=True)
    mask = ndi.binary_fill_holes(smooth > filters.threshold_otsu(smooth))
    parts = measure.label(mask)
    distance = ndi.distance_transform_edt(mask)
    peaks = feature.peak_local_max(
        distance, min_distance=8, footprint=np.ones((3, 3)), p_norm=2, labels=parts, exclude_border=False
    )
    markers = np.zeros(mask.shape, int)
    markers[tuple(peaks[np.lexsort(peaks.T[::-1])].T)] = np.arange(1, len(peaks) + 1)
    split = segmentation.watershed(-distance, markers, mask=mask, connectivity=2)
    sizes = np.bincount(split.ravel())
    expected = measure.label(np.where(sizes[split] * 0.25 >= 10, split, 0), connectivity=2)
    method = Threshold(
        channel="dna", filters=({"filter": "gaussian", "sigma_um": 0.6},), split="distance", seed_distance_um=4.0
    )
    mine = method.segment(image, SCALE)
    assert mine.max() == 5
    np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize("rule", ["local", "niblack", "sauvola"])
def test_local_levels_follow_an_uneven_background(rule):
    ramp = np.linspace(0, 150, 130)[None, :]
    image = scene(noise=1.0) + ramp
    method = Threshold(
        channel="dna",
        threshold=rule,
        window_um=25.0,
        local_k=-0.8 if rule == "niblack" else 0.0,
        local_offset=15.0 if rule == "local" else 0.0,
        level_factor=1.1 if rule == "sauvola" else 1.0,
        min_contrast=0,
    )
    labels = method.segment(image, SCALE)
    centres = {(30, 30), (30, 90), (80, 40), (85, 100)}
    assert len({int(labels[c]) for c in centres} - {0}) == 4


def test_fixed_range_includes_both_ends():
    image = np.array([[1, 5, 9, 13]], dtype=np.uint16)
    out = Threshold(channel="c", threshold="fixed", low=5, high=9, **PLAIN).segment(image, SCALE)
    np.testing.assert_array_equal(out, [[0, 1, 1, 0]])
    below = Threshold(channel="c", threshold="fixed", high=5, **PLAIN).segment(image, SCALE)
    np.testing.assert_array_equal(below, [[1, 1, 0, 0]])


def test_hysteresis_equals_scikit_image():
    image = filters.gaussian(np.random.default_rng(1).random((90, 90)), 2, preserve_range=True)
    low, high = np.percentile(image, [70, 93])
    expected = measure.label(filters.apply_hysteresis_threshold(image, low, high))
    method = Threshold(channel="c", threshold="fixed", low=high, hysteresis_low=low, connectivity="face", **PLAIN)
    np.testing.assert_array_equal(method.segment(image, SCALE) > 0, expected > 0)


def test_automatic_hysteresis_spreads_towards_the_background():
    image = ndi.gaussian_filter(scene(noise=0.5), 2.0)
    tight, wide = (Threshold(channel="c", hysteresis=h).segment(image, SCALE) for h in (None, 0.3))
    assert wide.max() == tight.max() == 4
    assert ((tight > 0) <= (wide > 0)).all()
    assert (wide > 0).sum() > 1.15 * (tight > 0).sum()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_background_rule_finds_a_single_cell(sign):
    image = scene((600, 600), 8.0, ((300, 200),), noise=10.0)
    method = Threshold(channel="c", threshold="background", foreground="bright" if sign > 0 else "dark")
    labels = method.segment(sign * image, SCALE)
    assert labels.max() == 1
    assert labels[300, 200] == 1
    assert (labels > 0).sum() == pytest.approx(np.pi * 64, rel=0.25)


def test_dark_objects():
    dark = Threshold(channel="c", foreground="dark").segment(200.0 - scene(), SCALE)
    bright = Threshold(channel="c").segment(scene(), SCALE)
    assert dark.max() == bright.max() == 4
    assert ((dark > 0) != (bright > 0)).mean() < 0.002
    assert Threshold(channel="c", foreground="dark", split="intensity").segment(200.0 - scene(), SCALE).max() >= 4


# ---- frames without cells -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["otsu", "triangle", "li", "background", "local", "niblack", "sauvola"])
@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((64, 64), np.uint8),
        np.full((64, 64), 7.5),
        np.random.default_rng(0).normal(100, 5, (200, 200)),
        np.random.default_rng(0).poisson(3, (200, 200)).astype(np.uint16),
        np.random.default_rng(0).normal(100, 5, (200, 200)) + np.linspace(0, 40, 200),
    ],
    ids=["zeros", "constant", "noise", "photons", "slope"],
)
def test_a_frame_without_cells_has_no_objects(rule, frame):
    smallest = 2.0 if rule == "background" else None  # single specks of few photons do exceed any level
    assert not Threshold(channel="c", threshold=rule, min_area_um2=smallest).segment(frame, SCALE).any()


def test_without_the_guard_noise_is_taken_for_cells():
    frame = np.random.default_rng(0).normal(100, 5, (200, 200))
    assert Threshold(channel="c", min_contrast=0, min_area_um2=None).segment(frame, SCALE).max() > 20


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (0, 4, 4)])
def test_an_array_without_pixels(shape):
    scale = Scale(z_um=1, y_um=1, x_um=1)
    assert Threshold(channel="c").segment(np.zeros(shape), scale).shape == shape


def test_a_frame_that_is_all_object():
    out = Threshold(channel="c", threshold="fixed", low=1).segment(np.full((30, 31), 5.0), SCALE)
    assert (out == 1).all()


def test_one_pixel():
    out = Threshold(channel="c", threshold="fixed", low=1, **PLAIN).segment(np.array([[3]]), SCALE)
    np.testing.assert_array_equal(out, [[1]])


# ---- broken pixels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_pixels_that_are_not_finite_are_background(bad, dtype):
    image = scene().astype(dtype)
    clean = Threshold(channel="c").segment(image, SCALE)
    image[28:33, 28:33] = bad
    image[0] = bad
    labels = Threshold(channel="c").segment(image, SCALE)
    assert not labels[~np.isfinite(image)].any()
    assert labels.max() == 4
    far = np.s_[60:]
    assert ((labels[far] > 0) != (clean[far] > 0)).mean() < 0.002


def test_nothing_but_nan():
    assert not Threshold(channel="c").segment(np.full((20, 20), np.nan), SCALE).any()
    assert not Threshold(channel="c", threshold="fixed", high=1).segment(np.full((20, 20), -np.inf), SCALE).any()


def test_bool_image():
    image = np.zeros((20, 20), bool)
    image[5:12, 5:12] = True
    assert Threshold(channel="c", filters=(), min_area_um2=None).segment(image, SCALE).sum() == 49


def test_the_frame_is_not_changed():
    image = scene()
    image[3, 3] = np.nan
    before = image.copy()
    Threshold(channel="c").segment(image, SCALE)
    np.testing.assert_array_equal(image, before)


def test_views_in_any_memory_order_give_the_same():
    image = scene()
    expected = Threshold(channel="c").segment(image, SCALE)
    np.testing.assert_array_equal(Threshold(channel="c").segment(np.asfortranarray(image), SCALE), expected)
    doubled = np.repeat(np.repeat(image, 2, 0), 2, 1)[::2, ::2]
    np.testing.assert_array_equal(Threshold(channel="c").segment(doubled, SCALE), expected)
    big_endian = image.astype(">f8")
    np.testing.assert_array_equal(Threshold(channel="c").segment(big_endian, SCALE), expected)
    read_only = image.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(Threshold(channel="c").segment(read_only, SCALE), expected)


# ---- what is kept ---------------------------------------------------------------------------------------------------


def test_border_exclusion_is_a_plain_distance_whatever_the_filters_say():
    """Celldetective summed filter arguments into the width of the excluded edge: 'subtract 100' dropped 100 px."""
    image = scene(centres=((60, 4), (60, 30), (60, 65), (60, 100)), noise=0.0) + 100.0
    method = Threshold(channel="c", filters=({"filter": "subtract", "value": 100.0},))
    kept = {
        gap: int(method.replace(exclude_border_um=gap).segment(image, SCALE).max())
        for gap in (None, 0, 9.9, 10, 10.4, 10.5)
    }
    # the discs end 0, 10.5, 28 and 10 um from the nearest side
    assert kept == {None: 4, 0: 3, 9.9: 3, 10: 2, 10.4: 2, 10.5: 1}
    assert method.replace(exclude_border_um=10.5).segment(image, SCALE)[60, 65] == 1


def test_size_limits_are_physical_and_inclusive():
    image = np.zeros((40, 80), np.uint8)
    image[5:9, 5:9] = 200
    image[10:20, 30:40] = 200
    image[10:30, 50:70] = 200
    count = {}
    for low, high in ((None, None), (4.0, None), (4.01, None), (None, 25.0), (4.0, 25.0), (25.1, 99.9)):
        method = Threshold(channel="c", filters=(), min_area_um2=low, max_area_um2=high)
        count[low, high] = int(method.segment(image, SCALE).max())
    assert list(count.values()) == [3, 3, 2, 2, 2, 0]


def test_property_filters():
    image = scene(noise=0.0)
    image[60, 5:60] = 100.0
    image[20:40, 80:100] *= 2.0
    base = Threshold(channel="c", filters=(), min_area_um2=None, split="none")
    assert base.segment(image, SCALE).max() == 5
    assert base.replace(keep=[{"feature": "eccentricity", "max": 0.9}]).segment(image, SCALE).max() == 4
    assert base.replace(keep=[{"feature": "area_um2", "min": 20}]).segment(image, SCALE).max() == 4
    assert base.replace(keep=[{"feature": "max", "min": 150}]).segment(image, SCALE).max() == 1
    assert base.replace(keep=[{"feature": "circularity", "min": 0.5}]).segment(image, SCALE).max() == 4
    assert base.replace(keep=[{"feature": "mean", "max": 150}, {"feature": "solidity", "min": 0.8}]).segment(
        image, SCALE
    ).max() in {3, 4}
    assert base.replace(keep=[{"feature": "contrast", "min": 1000}]).segment(image, SCALE).max() == 0


def test_properties_that_do_not_exist_in_3d_are_named():
    scale = Scale(z_um=2, y_um=1, x_um=1)
    image = np.zeros((5, 20, 20))
    image[1:4, 5:15, 5:15] = 100
    method = Threshold(channel="c", filters=(), keep=[{"feature": "eccentricity", "max": 0.9}])
    with pytest.raises(ParameterError, match="eccentricity"):
        method.segment(image, scale)
    assert (
        Threshold(channel="c", filters=(), keep=[{"feature": "volume_um3", "min": 599, "max": 601}])
        .segment(image, scale)
        .max()
        == 1
    )


# ---- splitting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {"split": "neck"},
        {"split": "distance", "seed_distance_um": 6.0},
        {"split": "h_maxima", "seed_h_um": 1.0},
        {"split": "intensity", "seed_distance_um": 6.0, "filters": ({"filter": "gaussian", "sigma_um": 3.0},)},
    ],
    ids=lambda h: h["split"],
)
def test_touching_cells_are_parted(how):
    image = scene(centres=((60, 40), (60, 60)), radius=11.0, noise=1.0)
    assert Threshold(channel="c", split="none").segment(image, SCALE).max() == 1
    labels = Threshold(channel="c", **how).segment(image, SCALE)
    assert labels.max() == 2
    assert labels[60, 38] != labels[60, 62]


def test_splitting_does_not_depend_on_the_pixel_size():
    counts = []
    for zoom in (1, 2, 4):
        centres = ((30 * zoom, 25 * zoom), (30 * zoom, 43 * zoom))
        image = scene((60 * zoom, 70 * zoom), 10.0 * zoom, centres, noise=0.5)
        for how in ("neck", "distance", "h_maxima"):
            method = Threshold(channel="c", split=how, seed_distance_um=6.0, seed_h_um=0.8)
            counts.append(int(method.segment(image, Scale.isotropic(0.8 / zoom)).max()))
    assert counts == [2] * 9


def test_3d_with_thick_planes():
    shape, scale = (12, 60, 90), Scale(z_um=2.0, y_um=0.5, x_um=0.5)
    z, y, x = np.indices(shape)
    image = np.full(shape, 10.0)
    for cx in (30, 55):
        image[((z - 6) * 2.0) ** 2 + ((y - 30) * 0.5) ** 2 + ((x - cx) * 0.5) ** 2 <= 7.0**2] = 100.0
    image += np.random.default_rng(2).normal(0, 2, shape)
    assert Threshold(channel="c", split="none").segment(image, scale).max() == 1
    for how in ({"split": "neck"}, {"split": "distance", "seed_distance_um": 8.0}, {"split": "h_maxima"}):
        labels = Threshold(channel="c", **how).segment(image, scale)
        assert labels.max() == 2
        volumes = np.bincount(labels.ravel())[1:] * 0.5
        np.testing.assert_allclose(volumes, 4 / 3 * np.pi * 7.0**3, rtol=0.12)
    assert Threshold(channel="c", min_volume_um3=2000.0).segment(image, scale).max() == 0


# ---- the contract ---------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=14)),
    st.sampled_from(["none", "neck", "distance", "h_maxima", "intensity"]),
    st.sampled_from(["otsu", "triangle", "li", "fixed"]),
    st.booleans(),
)
def test_labels_are_sequential_and_repeatable(image, split, rule, fill):
    method = Threshold(
        channel="c",
        filters=(),
        threshold=rule,
        low=100 if rule == "fixed" else None,
        split=split,
        fill_holes=fill,
        min_contrast=0,
        min_area_um2=None,
        seed_distance_um=1.0,
        seed_h_um=0.3,
    )
    scale = Scale(z_um=1.0, y_um=0.5, x_um=0.5)
    labels = method.segment(image, scale)
    assert is_sequential(labels)
    assert labels.shape == image.shape
    np.testing.assert_array_equal(method.segment(image, scale, seed=5), labels)
    whole = method.replace(split="none").segment(image, scale)
    np.testing.assert_array_equal(whole > 0, labels > 0)


def test_a_mapping_of_channels_and_a_wrong_name():
    image = scene()
    method = Threshold(channel="dna")
    assert method.channels == ("dna",)
    np.testing.assert_array_equal(method.segment({"dna": image, "gfp": image * 0}, SCALE), method.segment(image, SCALE))
    with pytest.raises(ParameterError, match="did you mean"):
        method.segment({"dn": image}, SCALE)


def test_bad_arrays_are_named():
    method = Threshold(channel="dna")
    with pytest.raises(ParameterError, match="'dna' has shape"):
        method.segment(np.zeros((2, 2, 2, 2)), SCALE)
    with pytest.raises(ParameterError, match="complex"):
        method.segment(np.zeros((2, 2), complex), SCALE)
    with pytest.raises(CalibrationError, match="distance of planes"):
        method.segment(np.zeros((3, 4, 4)), SCALE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": "fixed"},
        {"threshold": "fixed", "low": 5, "high": 3},
        {"threshold": "fixed", "low": 5, "hysteresis_low": 7},
        {"threshold": "fixed", "low": 5, "hysteresis": 0.5},
        {"threshold": "otsu", "low": 5},
        {"threshold": "otzu"},
        {"exclude_border_um": -1},
        {"max_neck": 1.0},
        {"filters": [{"filter": "blur"}]},
        {"keep": [{"feature": "area_um2"}]},
        {"keep": [{"feature": "area_um2", "min": 5, "max": 3}]},
        {"sigma": 3},
    ],
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        Threshold(channel="dna", **wrong)


def test_a_pipeline_table_reads_as_it_looks():
    text = """
    method = "threshold"
    channel = "dna"
    filters = [{ filter = "median", radius_um = 1.0 }, { filter = "gaussian", sigma_um = 0.8 }]
    threshold = "li"
    split = "distance"
    seed_distance_um = 6.0
    keep = [{ feature = "solidity", min = 0.8 }]
    """
    method = parse("segmentation", tomllib.loads(text))
    assert isinstance(method, Threshold)
    assert [f.filter for f in method.filters] == ["median", "gaussian"]
    assert method.replace(split="none").filters == method.filters
    assert Threshold.model_validate_json(method.model_dump_json()) == method
    assert "filters" in repr(method)


def test_one_value_after_another_gives_what_each_gives_alone():
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:90, :90]
    discs = [(y - a) ** 2 + (x - b) ** 2 < 64 for a, b in ((20, 20), (20, 34), (60, 25), (45, 70), (2, 60), (75, 72))]
    frame = 100.0 * np.any(discs, axis=0) + rng.normal(10, 1, (90, 90))
    frame[:2, :3] = np.nan
    kept = {}
    changes = (
        {}, {"min_area_um2": 30.0}, {"split": "distance"}, {"seed_distance_um": 3.0}, {"split": "none"},
        {"level_factor": 1.2}, {"exclude_border_um": 0.0}, {"filters": ()}, {"threshold": "adaptive"},
        {"split": "neck"}, {"fill_holes": False}, {"keep": ({"feature": "solidity", "min": 0.8},)},
        {"threshold": "otsu"}, {},
    )  # fmt: skip
    values = {"channel": "a"}
    for change in changes:
        values |= change
        method, before = Threshold(**values), {k: v[1] for k, v in kept.items()}
        looked = method.look(frame, SCALE, kept)
        filtered, level = method.level(frame, SCALE)
        assert np.array_equal(looked.labels, method.segment(frame, SCALE)), change
        assert np.array_equal(looked.filtered, filtered)
        assert looked.level == level
        assert looked.labels.max() >= 3
        if before and "level_factor" in change:
            assert kept["known"][1] is before["known"], "the values are not counted again"
        if before and "min_area_um2" in change:
            assert all(kept[k][1] is v for k, v in before.items())
    assert before["split"] is kept["split"][1]  # the last change is none
