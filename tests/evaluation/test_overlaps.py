"""Counting of shared pixels and the pairing of objects, against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import regionprops

from kinocyte.core.errors import ParameterError
from kinocyte.evaluation.assignment import best_pairs
from kinocyte.evaluation.overlaps import overlaps, regions

SHAPES = st.one_of(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7), st.just((0, 5)))
DTYPES = st.sampled_from([np.uint8, np.uint16, np.int32, np.uint32, np.int64])


@given(st.data())
def test_overlaps_count_every_pixel(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    a, b = (data.draw(hnp.arrays(data.draw(DTYPES), shape, elements=st.integers(0, 4))) for _ in range(2))
    found = overlaps(a, b)
    shared = {
        (i, j): int(((a == i) & (b == j)).sum())
        for i in range(1, 5)
        for j in range(1, 5)
        if ((a == i) & (b == j)).any()
    }
    pairs = zip(found.reference.label[found.pair_reference], found.result.label[found.pair_result], strict=True)
    assert dict(zip(pairs, found.shared_px, strict=True)) == shared
    ious = {k: n / ((a == k[0]) | (b == k[1])).sum() for k, n in shared.items()}
    assert found.iou.tolist() == [ious[k] for k in sorted(ious)]
    assert found.covered.tolist() == [shared[k] / (a == k[0]).sum() for k in sorted(shared)]
    for side, image in ((found.reference, a), (found.result, b)):
        assert side.label.tolist() == [v for v in np.unique(image) if v]
        for label, area, centre in zip(side.label, side.area_px, side.centre_px, strict=True):
            assert area == (image == label).sum()
            np.testing.assert_allclose(centre, np.argwhere(image == label).mean(axis=0))


def test_regions_agree_with_skimage() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 6, (5, 20, 30))
    mine = regions(image)
    for n, theirs in enumerate(regionprops(image)):
        assert (mine.label[n], mine.area_px[n]) == (theirs.label, theirs.area)
        np.testing.assert_allclose(mine.centre_px[n], theirs.centroid)


def test_what_is_no_label_image_is_refused() -> None:
    ones = np.ones((3, 3), int)
    for bad, says in ((ones * 0.5, "float64"), (-ones, "label -1"), (np.full((3, 3), 2**64 - 1, np.uint64), "largest")):
        with pytest.raises(ParameterError, match=says):
            overlaps(ones, bad)
    assert overlaps(ones > 0, ones).iou.tolist() == [1.0]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), unique=True, max_size=9),
    st.lists(st.integers(-2, 9), min_size=9, max_size=9),
)
def test_best_pairs_is_the_best_of_all(pairs: list[tuple[int, int]], gains: list[int]) -> None:
    gain = np.array(gains[: len(pairs)], float)
    left, right = (np.array([p[k] for p in pairs], np.int64) for k in (0, 1))
    chosen = best_pairs(left * 1000, right - 7, gain)
    assert len(set(left[chosen])) == chosen.sum() == len(set(right[chosen]))
    best = 0.0
    for size in range(len(pairs) + 1):
        for some in itertools.combinations(range(len(pairs)), size):
            index = list(some)
            if len(set(left[index])) == size == len(set(right[index])):
                best = max(best, float(gain[index].sum()))
    assert gain[chosen].sum() == best
