"""Masks that touch: against boxes compared one by one, and borders whose length is known."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import PAIRS
from kinocyte.interactions import Contact, Radius


def objects(labels: np.ndarray, scale: Scale, frame: int = 0, first_id: int = 1) -> pl.DataFrame:
    """Return the objects of a label image with their centres."""
    spacing = scale.spacing_um(labels.ndim)
    values = np.unique(labels[labels > 0])
    centre = np.array([np.argwhere(labels == v).mean(axis=0) * spacing for v in values]).reshape(-1, labels.ndim)
    axes = ("z_um", "y_um", "x_um")[3 - labels.ndim :]
    return pl.DataFrame(
        {
            "object_id": np.arange(first_id, first_id + len(values)),
            "frame": np.full(len(values), frame, np.int32),
            "time_min": np.zeros(len(values)),
            "label": values.astype(np.uint32),
            **{n: centre[:, k] for k, n in enumerate(axes)},
        }
    )


def box_distance(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> float:
    """Return the shortest way between two sets of pixels taken as boxes, every pixel with every other."""
    gap = np.maximum(np.abs(a[:, None, :] - b[None, :, :]) - 1, 0) * np.asarray(spacing)
    return float(np.sqrt((gap**2).sum(axis=2)).min())


def all_distances(first: np.ndarray, second: np.ndarray, scale: Scale) -> dict[tuple[int, int], float]:
    spacing = scale.spacing_um(first.ndim)
    out = {}
    for a in np.unique(first[first > 0]).tolist():
        for b in np.unique(second[second > 0]).tolist():
            if first is second and a == b:
                continue
            shared = ((first == a) & (second == b)).any()
            out[a, b] = 0.0 if shared else box_distance(np.argwhere(first == a), np.argwhere(second == b), spacing)
    return out


def blobs(seed: int, shape: tuple[int, ...], n: int) -> np.ndarray:
    """Return boxes put over each other, so that labels touch, hide each other and have several parts."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape, np.uint32)
    for value in range(1, n + 1):
        low = [rng.integers(0, s) for s in shape]
        image[tuple(slice(a, a + rng.integers(1, 7)) for a in low)] = value * 3
    return image


SCALES = {2: Scale(y_um=0.5, x_um=0.8), 3: Scale(z_um=1.7, y_um=0.5, x_um=0.8)}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.sampled_from([0.0, 0.5, 1.3, 3.0]), st.booleans())
def test_contacts_are_those_of_all_boxes(seed: int, ndim: int, tolerance: float, within: bool) -> None:
    shape = (30, 24) if ndim == 2 else (6, 16, 14)
    first = blobs(seed, shape, 7)
    second = first if within else blobs(seed + 1, shape, 7)
    scale = SCALES[ndim]
    a, b = objects(first, scale), objects(second, scale, first_id=100)
    found = Contact(tolerance_um=tolerance).pairs(
        a, None if within else b, scale, lambda _: first, None if within else lambda _: second
    )
    # ids stand in the order of labels
    name = {i: v for t in (a, b) for i, v in t.select("object_id", "label").iter_rows()}
    got = {
        (name[r], name[n]): e
        for r, n, e in found.select("reference_id", "neighbour_id", "edge_distance_um").iter_rows()
    }
    expected = {k: v for k, v in all_distances(first, second, scale).items() if v <= tolerance + 1e-9}
    assert got.keys() == expected.keys()
    for pair, distance in expected.items():
        assert got[pair] == pytest.approx(distance, abs=1e-9)
    size = math.prod(scale.spacing_um(ndim))
    column = "overlap_um2" if ndim == 2 else "overlap_um3"
    for r, n, overlap, part in found.select(
        "reference_id", "neighbour_id", column, "reference_overlap_fraction"
    ).iter_rows():
        common = 0 if within else int(((first == name[r]) & (second == name[n])).sum())
        assert overlap == pytest.approx(common * size)
        assert part == pytest.approx(common / (first == name[r]).sum())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3]))
def test_any_method_tells_the_way_between_the_masks(seed: int, ndim: int) -> None:
    shape = (30, 24) if ndim == 2 else (6, 16, 14)
    first, second, scale = blobs(seed, shape, 6), blobs(seed + 1, shape, 6), SCALES[ndim]
    a, b = objects(first, scale), objects(second, scale)
    found = Radius(radius_um=1000).pairs(a, b, scale, lambda _: first, lambda _: second)
    expected = all_distances(first, second, scale)
    names = (dict(t.select("object_id", "label").iter_rows()) for t in (a, b))
    of_a, of_b = names
    assert found.height == len(expected)
    for r, n, e in found.select("reference_id", "neighbour_id", "edge_distance_um").iter_rows():
        assert e == pytest.approx(expected[of_a[r], of_b[n]], abs=1e-9)


def disc_in_halves(angle: float, radius: float = 40.0) -> np.ndarray:
    y, x = np.mgrid[-50:51, -50:51]
    side = x * math.cos(angle) + y * math.sin(angle) > 0.3
    return np.where(x**2 + y**2 <= radius**2, np.where(side, 2, 1), 0).astype(np.uint32)


@pytest.mark.parametrize("degrees", [0, 10, 22.5, 30, 45, 60, 90, 135])
@pytest.mark.parametrize("tolerance", [0.0, 1.0])
def test_a_slanted_border_is_as_long_as_a_straight_one(degrees: float, tolerance: float) -> None:
    scale, labels = Scale.isotropic(0.5, 1), disc_in_halves(math.radians(degrees))
    found = Contact(tolerance_um=tolerance).pairs(objects(labels, scale), None, scale, lambda _: labels)
    assert found.height == 2
    # a tolerance lets the outline count a little way around both corners
    longer = 2 * tolerance
    for length, part in found.select("contact_length_um", "contact_fraction").iter_rows():
        assert 40 * 0.92 < length < 40 * 1.04 + longer
        assert part == pytest.approx(length / (40 + math.pi * 20), rel=0.05)


def test_pixels_need_not_be_square() -> None:
    labels = np.zeros((60, 30), np.uint32)
    labels[5:55, 5:15], labels[5:55, 15:25] = 1, 2
    tall = Scale(y_um=0.6, x_um=1.0)
    found = Contact().pairs(objects(labels, tall), None, tall, lambda _: labels)
    assert found["contact_length_um"].to_list() == pytest.approx([30, 30], rel=0.08)
    apart = np.where(np.arange(labels.shape[1]) == 15, 0, labels)
    gap = Contact(tolerance_um=2).pairs(objects(apart, tall), None, tall, lambda _: apart)
    assert gap["edge_distance_um"].to_list() == pytest.approx([1, 1])


def test_two_halves_of_a_ball_share_a_disc() -> None:
    z, y, x = np.mgrid[-16:17, -16:17, -16:17]
    labels = np.where(x**2 + y**2 + z**2 <= 15**2, np.where(z + y > 0, 2, 1), 0).astype(np.uint32)
    scale = Scale(z_um=1.0, y_um=1.0, x_um=1.0)
    found = Contact().pairs(objects(labels, scale), None, scale, lambda _: labels)
    assert found["contact_area_um2"].to_list() == pytest.approx([math.pi * 225] * 2, rel=0.1)
    assert "contact_length_um" not in found.columns


def test_in_a_clump_each_cell_touches_its_own_neighbours_only() -> None:
    # a row of four cells in one clump: dilating the whole foreground would join the first with the last
    labels = np.zeros((12, 44), np.uint32)
    for k in range(4):
        labels[2:10, 2 + 10 * k : 12 + 10 * k] = k + 1
    scale = Scale.isotropic(1.0, 1)
    found = Contact(tolerance_um=3).pairs(objects(labels, scale), None, scale, lambda _: labels)
    pairs = set(found.select("reference_id", "neighbour_id").iter_rows())
    assert pairs == {(1, 2), (2, 1), (2, 3), (3, 2), (3, 4), (4, 3)}


def test_real_nuclei_touch_where_boxes_touch(data: Path) -> None:
    from tifffile import imread

    path = data / "celldetective_adcc_and_ricm" / "sample_labelled.tif"
    labels = imread(path).astype(np.uint32)
    scale = Scale.isotropic(0.31, 3)
    found = Contact(tolerance_um=3.0).pairs(objects(labels, scale), None, scale, lambda _: labels)
    from scipy.ndimage import binary_erosion

    edge = {v: np.argwhere((m := labels == v) & ~binary_erosion(m)) for v in np.unique(labels[labels > 0]).tolist()}
    expected = {(a, b): box_distance(p, q, (0.31, 0.31)) for (a, p), (b, q) in combinations(edge.items(), 2)}
    near = {k: v for k, v in expected.items() if v <= 3.0}
    values = list(edge)
    got = {
        (values[r - 1], values[n - 1]): e
        for r, n, e in found.select("reference_id", "neighbour_id", "edge_distance_um").iter_rows()
        if r < n
    }
    assert got == pytest.approx(near)
    assert len(near) >= 1


def test_objects_without_a_mask_have_no_contact() -> None:
    labels = np.zeros((10, 10), np.uint32)
    labels[2:5, 2:5], labels[5:8, 2:5], labels[2:5, 5:8] = 1, 2, 3
    scale = Scale.isotropic(1.0, 1)
    table = objects(labels, scale).with_columns(label=pl.Series([1, None, 9], dtype=pl.UInt32))
    assert Contact().pairs(table, None, scale, lambda _: labels).height == 0
    away = Radius(radius_um=50).pairs(table, None, scale, lambda _: labels)
    assert away.height == 6
    assert away["edge_distance_um"].null_count() == 6


def test_a_mask_inside_another_overlaps_it() -> None:
    outer, inner = np.zeros((30, 30), np.uint32), np.zeros((30, 30), np.uint32)
    outer[3:27, 3:27], inner[12:18, 12:18] = 4, 4
    scale = Scale.isotropic(0.5, 1)
    row = (
        Contact()
        .pairs(objects(outer, scale), objects(inner, scale), scale, lambda _: outer, lambda _: inner)
        .row(0, named=True)
    )
    assert row["overlap_um2"] == 9
    assert row["neighbour_overlap_fraction"] == 1
    assert row["edge_distance_um"] == 0
    assert row["contact_length_um"] == 0
    back = (
        Contact()
        .pairs(objects(inner, scale), objects(outer, scale), scale, lambda _: inner, lambda _: outer)
        .row(0, named=True)
    )
    assert back["contact_fraction"] == pytest.approx(1)
    assert back["reference_overlap_fraction"] == 1
    full = np.ones((6, 6), np.uint32)
    whole = Contact().pairs(
        objects(full, scale), objects(full, scale, first_id=5), scale, lambda _: full, lambda _: full
    )
    assert whole["overlap_um2"].to_list() == [9]
    assert whole["contact_fraction"].to_list() == [None]


def test_every_frame_is_read_once_and_only_where_both_are() -> None:
    scale = Scale.isotropic(1.0, 1)
    labels = disc_in_halves(0.0)
    table = pl.concat([objects(labels, scale, f, 1 + 2 * f) for f in range(4)])
    asked: list[int] = []

    def source(frame: int) -> np.ndarray:
        asked.append(frame)
        return labels

    others = table.filter(pl.col("frame").is_in([1, 3]))
    Contact().pairs(table, others, scale, source, source)
    assert asked == [1, 1, 3, 3]
    asked.clear()
    found = Contact().pairs(table, None, scale, source)
    assert asked == [0, 1, 2, 3]
    assert found.height == 8
    assert set(found.columns) <= set(PAIRS)


def test_no_frames_give_the_columns_of_the_calibration() -> None:
    flat, deep = Scale.isotropic(1.0, 1), Scale.isotropic(1.0, 1, z_um=2.0)
    none = objects(np.zeros((4, 4), np.uint32), flat)
    source = lambda _: np.zeros((4, 4), np.uint32)  # noqa: E731 - shorter than a function
    assert "contact_length_um" in Contact().pairs(none, None, flat, source).columns
    assert "contact_area_um2" in Contact().pairs(none, None, deep, source).columns


def test_label_images_that_do_not_fit_are_refused() -> None:
    scale = Scale.isotropic(1.0, 1)
    labels = disc_in_halves(0.0)
    table = objects(labels, scale)
    with pytest.raises(ParameterError, match="have the shapes"):
        Contact().pairs(table, table.head(1), scale, lambda _: labels, lambda _: labels[:50])
    with pytest.raises(ParameterError, match="frame 0 has 2 axes and the type float64"):
        Contact().pairs(table, None, scale, lambda _: labels.astype(float))
    with pytest.raises(ParameterError, match="holds the label -1"):
        Contact().pairs(table, None, scale, lambda _: labels.astype(np.int32) - 1)
    with pytest.raises(TableError, match="share the label 1"):
        Contact().pairs(table.with_columns(label=pl.lit(1)), None, scale, lambda _: labels)
    two = pl.concat([table.with_columns(well=pl.lit("A")), table.with_columns(well=pl.lit("B"))])
    with pytest.raises(ParameterError, match="belong to one position"):
        Contact().pairs(two, None, scale, lambda _: labels, by="well")
    with pytest.raises(TableError, match="lacks the column 'label'"):
        Contact().pairs(table.drop("label"), None, scale, lambda _: labels)
