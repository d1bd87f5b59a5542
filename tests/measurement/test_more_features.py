"""Ellipse, contrast, Zernike moments, detected area, and filters on any feature."""

import gzip
import math

import mahotas
import numpy as np
import polars as pl
import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage as ndi
from skimage import draw, filters

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.measurement import (
    AreaDetected,
    Contrast,
    Ellipse,
    FeatureFilter,
    Zernike,
    passes,
    polygon_features,
    suggested_limit,
)
from kinocyte.measurement.tracks import track_features

SCALE = Scale.isotropic(0.5)
OF_OUTLINES = {
    "AREA": "area_um2", "PERIMETER": "perimeter_um", "CIRCULARITY": "circularity", "SOLIDITY": "solidity",
    "SHAPE_INDEX": "shape_index", "RADIUS": "radius_um", "ELLIPSE_X0": "ellipse_x0_um",
    "ELLIPSE_Y0": "ellipse_y0_um", "ELLIPSE_MAJOR": "ellipse_major_um", "ELLIPSE_MINOR": "ellipse_minor_um",
    "ELLIPSE_ASPECTRATIO": "ellipse_aspect_ratio",
}  # fmt: skip
TRACKMATE = ["ecoli_trackmate_geff/Ecoli_growth_on_agar_pad.xml.gz", "ecoli_trackmate_geff/FakeTracks.xml"]


def spots_of(data, name):
    raw = (data / name).read_bytes()
    return list(fromstring(gzip.decompress(raw) if name.endswith(".gz") else raw).iter("Spot"))


@pytest.mark.parametrize("name", TRACKMATE)
def test_outlines_equal_trackmate(data, name):
    spots = [s for s in spots_of(data, name) if s.get("ROI_N_POINTS")]
    assert len(spots) > 100
    ours = polygon_features([np.array(s.text.split(), dtype=float).reshape(-1, 2) for s in spots])
    compared = {key: column for key, column in OF_OUTLINES.items() if key in spots[0].attrib}
    assert len(compared) >= 10
    for key, column in compared.items():
        theirs = np.array([float(s.get(key)) for s in spots])
        np.testing.assert_allclose(ours[column].to_numpy(), theirs, rtol=1e-6, atol=1e-9, err_msg=key)
    turned = ours["ellipse_theta_rad"].to_numpy() - [float(s.get("ELLIPSE_THETA")) for s in spots]
    np.testing.assert_allclose(np.sin(turned), 0.0, atol=1e-6)


@pytest.mark.parametrize("name", [*TRACKMATE, "trackmate_oracles/with_splitting.xml"])
def test_contrast_and_snr_hang_together_as_in_trackmate(data, name):
    """Its images are not here; of mean, deviation and contrast its own SNR must follow by our definition."""
    first = 0
    for spot in spots_of(data, name):
        end = "_CH1" if "CONTRAST_CH1" in spot.attrib else ""
        mean, contrast = float(spot.get(f"MEAN_INTENSITY{end}")), float(spot.get(f"CONTRAST{end}"))
        spread = float(spot.get(f"STD_INTENSITY{end}") or spot.get("STANDARD_DEVIATION"))
        if spread == 0 or contrast == -1:
            continue
        outside = mean * (1 - contrast) / (1 + contrast)
        assert (mean - outside) / spread == pytest.approx(float(spot.get(f"SNR{end}")), rel=1e-6)
        first += 1
    assert first > 50


def test_contrast_of_squares():
    """Twice a square of side 6 about its centre is one of side 12."""
    labels = np.zeros((30, 40), np.uint32)
    labels[10:16, 12:18] = 7
    labels[16:22, 12:18] = 9
    rng = np.random.default_rng(0)
    image = rng.integers(10, 50, labels.shape).astype(float)
    found = Contrast().measure(labels, {"a": image}, SCALE)
    for label, top in ((7, 10), (9, 16)):
        inner = image[top : top + 6, 12:18]
        around = np.ones_like(labels, dtype=bool)
        around[:] = False
        around[top - 3 : top + 9, 9:21] = True
        around[top : top + 6, 12:18] = False
        outer = image[around].mean()
        row = found.row(by_predicate=pl.col("label") == label, named=True)
        assert row["contrast_a"] == pytest.approx((inner.mean() - outer) / (inner.mean() + outer))
        assert row["snr_a"] == pytest.approx((inner.mean() - outer) / inner.std(ddof=1))


@pytest.mark.parametrize("turned", [np.rot90, np.flipud, np.transpose, lambda a: np.pad(a, ((13, 8), (9, 21)))])
def test_contrast_of_an_object_does_not_depend_on_how_it_lies(turned):
    labels = np.zeros((60, 70), np.uint32)
    for i, (y, x) in enumerate([(20, 20), (40, 48)], start=1):  # centres on pixels: half as far is often between two
        labels[draw.ellipse(y, x, 8, 5, rotation=0.7)] = i
    image = np.random.default_rng(0).uniform(50, 90, labels.shape) + 100 * (labels > 0)
    ours = Contrast().measure(labels, {"a": image}, SCALE)
    other = Contrast().measure(turned(labels), {"a": turned(image)}, SCALE)
    assert ours.to_numpy() == pytest.approx(other.to_numpy(), rel=1e-12)


def test_contrast_of_hostile_objects():
    labels = np.zeros((5, 6), np.uint32)
    labels[0, 0], labels[2:4, 2:4] = 1, 2
    image = np.full(labels.shape, np.nan)
    image[2:4, 2:4] = 5.0
    found = Contrast().measure(labels, {"a": image}, SCALE)
    assert found["contrast_a"].to_list() == [None, None]
    assert found["snr_a"].to_list() == [None, None]
    assert Contrast().measure(np.zeros((4, 4), np.uint32), {"a": np.zeros((4, 4))}, SCALE).height == 0
    filled = Contrast().measure(np.ones((4, 4), np.uint32), {"a": np.ones((4, 4))}, SCALE)
    assert filled["contrast_a"].to_list() == [None]
    deep = np.zeros((5, 9, 9), np.uint32)
    deep[1:4, 3:6, 3:6] = 1
    stack = Contrast().measure(deep, {"a": 10.0 + 10.0 * deep}, Scale.isotropic(1, z_um=2))
    assert stack["contrast_a"].to_list() == [pytest.approx(1 / 3)]


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=9), elements=st.integers(0, 3))
)
def test_any_labels_have_a_row_each(labels):
    scale = Scale.isotropic(0.5, z_um=1.0)
    present = np.unique(labels[labels > 0]).tolist()
    methods = [Contrast(), AreaDetected(above=1.0)] + ([Ellipse(), Zernike(degree=3)] if labels.ndim == 2 else [])
    for method in methods:
        table = method.measure(labels.astype(np.uint32), {"a": labels}, scale)
        assert table["label"].to_list() == present
        assert not any(table[c].is_nan().any() for c in table.columns if table[c].dtype == pl.Float64)


def test_the_ellipse_of_a_drawn_ellipse():
    labels = np.zeros((120, 160), np.uint32)
    y, x = draw.ellipse(60, 80, 20, 45, rotation=0.5)
    labels[y, x] = 3
    row = Ellipse().measure(labels, {}, Scale.isotropic(0.5)).row(0, named=True)
    assert row["label"] == 3
    assert row["ellipse_major_um"] == pytest.approx(22.5, rel=0.02)
    assert row["ellipse_minor_um"] == pytest.approx(10.0, rel=0.02)
    assert row["ellipse_aspect_ratio"] == pytest.approx(2.25, rel=0.03)
    assert abs(math.sin(row["ellipse_theta_rad"] + 0.5)) < 0.02
    assert abs(row["ellipse_x0_um"]) < 0.1
    with pytest.raises(ParameterError, match="2D"):
        Ellipse().measure(np.zeros((2, 3, 3), np.uint32), {}, Scale.isotropic(1, z_um=1))


def test_outlines_that_are_none():
    flat = [np.zeros((0, 2)), np.ones((1, 2)), np.array([[0.0, 0], [1, 1], [2, 2], [3, 3], [4, 4], [5, 5]])]
    found = polygon_features(flat)
    assert found["ellipse_major_um"].null_count() == 3
    assert found["solidity"].null_count() == 3
    assert polygon_features([]).height == 0
    with pytest.raises(ParameterError, match="vertices"):
        polygon_features([np.zeros(4)])
    circle = np.stack([5 + 3 * np.cos(np.arange(40) * np.pi / 20), 7 + 3 * np.sin(np.arange(40) * np.pi / 20)], axis=1)
    row = polygon_features([circle]).row(0, named=True)
    assert (row["ellipse_x0_um"], row["ellipse_y0_um"]) == (pytest.approx(5), pytest.approx(7))
    assert (row["ellipse_major_um"], row["ellipse_minor_um"]) == (pytest.approx(3), pytest.approx(3))


def blobs():
    return (ndi.label(ndi.gaussian_filter(np.random.default_rng(3).random((90, 90)), 3) > 0.5)[0]).astype(np.uint32)


def test_zernike_moments_equal_mahotas():
    labels = blobs()
    image = np.random.default_rng(1).integers(1, 200, labels.shape)
    found = Zernike(channels=("a",), degree=8).measure(labels, {"a": image}, SCALE)
    names = [(n, m) for n in range(9) for m in range(n + 1) if (n - m) % 2 == 0]
    checked = 0
    for row in found.iter_rows(named=True):
        for end, weight in (("", np.ones(labels.shape)), ("_a", image.astype(float))):
            alone = np.where(labels == row["label"], weight, 0.0)
            y, x = np.nonzero(alone)
            cm = ndi.center_of_mass(alone)
            radius = np.hypot(y - cm[0], x - cm[1]).max()
            if radius == 0:
                assert row[f"zernike_0_0{end}"] is None
                continue
            peer = mahotas.features.zernike_moments(alone, radius * (1 + 1e-12), degree=8, cm=cm)
            np.testing.assert_allclose([row[f"zernike_{n}_{m}{end}"] for n, m in names], peer, rtol=1e-6, atol=1e-8)
            checked += 1
    assert checked > 10
    with pytest.raises(ParameterError, match="2D"):
        Zernike().measure(np.zeros((2, 3, 3), np.uint32), {}, Scale.isotropic(1, z_um=1))


def test_zernike_moments_do_not_mind_turning():
    labels = blobs()
    plain, turned = (Zernike().measure(np.ascontiguousarray(i), {}, SCALE) for i in (labels, np.rot90(labels)))
    np.testing.assert_allclose(plain.to_numpy(), turned.to_numpy(), atol=1e-9)


def test_detected_area():
    labels = np.zeros((4, 6), np.uint32)
    labels[:2, :3], labels[2:, 3:] = 4, 6
    image = np.arange(24.0).reshape(4, 6)
    image[0, 0] = np.nan
    found = AreaDetected(above=7.0).measure(labels, {"DNA 1": image}, SCALE)
    assert found.columns == ["label", "area_detected_DNA_1_um2", "fraction_detected_DNA_1"]
    assert found.row(0) == (4, 0.25, pytest.approx(0.2))
    assert found.row(1) == (6, 6 * 0.25, 1.0)
    dark = AreaDetected(above=7.0, dark=True).measure(labels, {"a": image}, SCALE)
    assert dark.row(0)[1:] == (0.75, pytest.approx(0.6))
    deep = AreaDetected(above=0.0).measure(labels[None], {"a": image[None]}, Scale.isotropic(0.5, z_um=2))
    assert "volume_detected_a_um3" in deep.columns


@settings(max_examples=80, deadline=None)
@given(hnp.arrays(np.float64, st.integers(2, 60), elements=st.integers(0, 40)))
def test_the_suggested_limit_is_otsus(values):
    table = pl.DataFrame({"f": values})
    limit = suggested_limit(table, "f")
    if np.ptp(values) == 0:
        assert limit is None
        return
    upper = values >= limit
    assert upper.any()
    assert not upper.all()

    def between(mask):
        return mask.mean() * (1 - mask.mean()) * (values[mask].mean() - values[~mask].mean()) ** 2

    peer = values > filters.threshold_otsu(values.astype(int))
    assert between(upper) >= between(peer) * (1 - 1e-9)


def test_filters_keep_what_lies_within_their_limits():
    table = pl.DataFrame({"q": [1.0, 2, 10, 11, None, float("nan"), float("inf")], "n": [5, 6, 7, 8, 9, 10, 11]})
    assert passes(table, [FeatureFilter(feature="q", otsu="above")]).to_list() == [False, False, True, True] + 3 * [
        False
    ]
    assert passes(table, [FeatureFilter(feature="q", otsu="below")]).to_list() == [True, True] + 5 * [False]
    both = passes(table, [FeatureFilter(feature="q", min=2), FeatureFilter(feature="n", max=7)])
    assert both.to_list() == [False, True, True] + 4 * [False]
    assert passes(table, []).all()
    assert passes(table.head(0), [FeatureFilter(feature="q", otsu="above")]).len() == 0
    with pytest.raises(TableError, match="did you mean 'q'"):
        passes(table.rename({"n": "nn"}), [FeatureFilter(feature="qq", min=1)])
    for nonsense in ({}, {"min": 3, "max": 2}):
        with pytest.raises(ValueError, match="min"):
            FeatureFilter(feature="q", **nonsense)


@pytest.mark.parametrize("name", TRACKMATE)
def test_the_mean_quality_of_tracks_equals_trackmate(data, name):
    raw = (data / name).read_bytes()
    root = fromstring(gzip.decompress(raw) if name.endswith(".gz") else raw)
    member = {
        int(e.get(end)): int(t.get("TRACK_ID"))
        for t in root.iter("Track") for e in t.iter("Edge") for end in ("SPOT_SOURCE_ID", "SPOT_TARGET_ID")
    }  # fmt: skip
    spots = [s for s in root.iter("Spot") if int(s.get("ID")) in member]
    objects = pl.DataFrame(
        {
            "object_id": [int(s.get("ID")) for s in spots], "frame": [int(s.get("FRAME")) for s in spots],
            "time_min": [float(s.get("POSITION_T")) for s in spots],
            "x_um": [float(s.get("POSITION_X")) for s in spots],
            "y_um": [float(s.get("POSITION_Y")) for s in spots], "quality": [float(s.get("QUALITY")) for s in spots],
            "root_id": [member[int(s.get("ID"))] for s in spots],
        }
    )  # fmt: skip
    links = pl.DataFrame(
        [(int(e.get("SPOT_SOURCE_ID")), int(e.get("SPOT_TARGET_ID"))) for e in root.iter("Edge")],
        schema=["source_id", "target_id"], orient="row",
    )  # fmt: skip
    ours = track_features(objects, links, by="root_id")
    theirs = {int(t.get("TRACK_ID")): float(t.get("TRACK_MEAN_QUALITY")) for t in root.iter("Track")}
    np.testing.assert_allclose(ours["mean_quality"], [theirs[k] for k in ours["root_id"]], rtol=1e-6)
