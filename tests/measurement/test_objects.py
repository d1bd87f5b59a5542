"""Objects found in label images of any values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from kinocyte.core.scale import Scale
from kinocyte.measurement.objects import find_objects

SCALE = Scale(y_um=0.5, x_um=0.25, z_um=2.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_centres_and_sizes_equal_scipy(dtype: type) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (31, 47)).astype(dtype)
    found = find_objects(labels, SCALE)
    values = np.arange(1, 9)
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, values))
    assert found["label"].to_list() == values.tolist()
    np.testing.assert_allclose(found["y_um"], centres[:, 0] * 0.5, rtol=1e-12)
    np.testing.assert_allclose(found["x_um"], centres[:, 1] * 0.25, rtol=1e-12)
    assert found["z_um"].to_list() == [0.0] * 8
    assert found["area_px"].to_list() == np.bincount(labels.ravel().astype(int))[1:].tolist()


def test_sparse_and_huge_values_stay_exact() -> None:
    labels = np.zeros((4, 5, 6), np.int64)
    labels[1, 2, 3] = 2**32 - 1
    labels[0, 0, :2] = 2**31 + 7
    labels[3, 4, 5] = 1
    found = find_objects(labels, SCALE)
    assert found["label"].to_list() == [1, 2**31 + 7, 2**32 - 1]
    assert found.row(1) == (2**31 + 7, 0.125, 0.0, 0.0, 2)
    assert found.row(2) == (2**32 - 1, 0.75, 1.0, 2.0, 1)


def test_a_view_that_is_not_contiguous_is_read_right() -> None:
    labels = np.arange(48, dtype=np.uint32).reshape(6, 8)
    assert find_objects(labels[::2, ::-3], SCALE).equals(find_objects(labels[::2, ::-3].copy(), SCALE))


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (4, 4), (0, 3, 3), (2, 3, 3)])
def test_no_objects_give_no_rows(shape: tuple[int, ...]) -> None:
    found = find_objects(np.zeros(shape, np.uint16), SCALE)
    assert found.height == 0
    assert found.schema == find_objects(np.ones((2, 2), np.uint8), SCALE).schema


def test_one_object_that_fills_a_large_frame() -> None:
    found = find_objects(np.ones((3000, 3000), np.uint8), SCALE)
    assert found.row(0) == (1, 2999 / 2 * 0.25, 2999 / 2 * 0.5, 0.0, 9_000_000)
