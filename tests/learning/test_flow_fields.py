"""Flow fields against what they must be for shapes whose answer is known, and there and back on real labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError
from kinocyte.learning.flow_fields import flows, labels_from_flows


def disc(shape: tuple[int, ...], *centre: float, radius: float) -> np.ndarray:
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


@pytest.mark.parametrize(("shape", "centre"), [((41, 41), (20, 20)), ((25, 25, 25), (12, 12, 12))])
def test_flows_of_a_ball_lead_to_its_middle(shape: tuple[int, ...], centre: tuple[int, ...]) -> None:
    ball = disc(shape, *centre, radius=min(shape) * 0.4).astype(np.int32)
    field = flows(ball)
    assert field.shape == (len(shape), *shape)
    where = np.argwhere(ball)
    to_middle = np.asarray(centre) - where
    far = np.linalg.norm(to_middle, axis=1)
    cosine = (field[(slice(None), *where.T)].T * to_middle).sum(axis=1)[far > 1] / far[far > 1]
    assert cosine.min() > 0.94  # at the edge pixels know of their neighbours only
    np.testing.assert_allclose(np.linalg.norm(field, axis=0)[ball > 0][far > 0], 1, atol=1e-5)
    assert not field[:, ball == 0].any()


def test_labels_come_back_from_their_flows(data: Path) -> None:
    labels = tifffile.imread(data / "stardist_examples" / "mask2d.tif").astype(np.int32)
    found, quality = labels_from_flows(flows(labels), (labels > 0).astype(np.float32), min_pixels=5)
    ious = []
    for number in np.unique(labels[labels > 0]):
        mask = labels == number
        if mask.sum() >= 20:
            other = np.bincount(found[mask]).argmax()
            ious.append((mask & (found == other)).sum() / (mask | (found == other)).sum() if other else 0)
    assert np.median(ious) > 0.98
    assert np.mean(np.array(ious) > 0.8) > 0.95
    assert len(quality) == found.max()
    assert quality.min() > 0.9


def test_labels_come_back_in_volumes() -> None:
    labels = np.zeros((20, 40, 40), np.int32)
    for k, c in enumerate([(6, 10, 10), (12, 12, 26), (8, 28, 20)], start=1):
        labels[disc(labels.shape, *c, radius=6)] = k
    found, quality = labels_from_flows(flows(labels), (labels > 0).astype(np.float32))
    assert len(quality) == 3
    for k in (1, 2, 3):
        mask = labels == k
        other = np.bincount(found[mask]).argmax()
        assert (mask & (found == other)).sum() / (mask | (found == other)).sum() > 0.95


def test_objects_whose_field_is_another_are_left_out() -> None:
    labels = (disc((60, 60), 18, 18, radius=10) + 2 * disc((60, 60), 42, 42, radius=10)).astype(np.int32)
    field, chance = flows(labels), np.where(labels == 2, 0.7, 0.9 * (labels > 0)).astype(np.float32)
    crooked = field.copy()
    angle = 1.2  # pixels spiral into the middle
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    crooked[:, labels == 1] = turn @ crooked[:, labels == 1]
    both, _ = labels_from_flows(crooked, chance, flow_error=None)
    one, quality = labels_from_flows(crooked, chance, flow_error=0.4)
    assert both.max() == 2
    assert one.max() == 1
    assert quality[0] == pytest.approx(0.7, abs=1e-5)
    assert set(np.unique(labels[one == 1])) == {2}


@given(st.integers(0, 2**32 - 1), st.sampled_from([(9, 13), (1, 1), (4, 6, 5)]))
@settings(max_examples=25, deadline=None)
def test_noise_gives_labels_without_gaps(seed: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    field = rng.normal(0, 2, (len(shape), *shape)).astype(np.float32)
    chance = rng.uniform(0, 1, shape).astype(np.float32)
    field.flat[rng.integers(field.size)] = np.nan
    chance.flat[0] = np.nan
    labels, quality = labels_from_flows(field, chance, probability_threshold=0.2, min_pixels=1)
    assert set(np.unique(labels)) <= set(range(len(quality) + 1))
    assert labels.max() == len(quality)
    assert np.isfinite(quality).all()


def test_nothing_gives_nothing() -> None:
    assert not flows(np.zeros((5, 6), np.uint16)).any()
    labels, quality = labels_from_flows(np.zeros((2, 5, 6), np.float32), np.zeros((5, 6), np.float32))
    assert not labels.any()
    assert quality.size == 0
    with pytest.raises(ParameterError, match="one vector a pixel"):
        labels_from_flows(np.zeros((3, 5, 6), np.float32), np.zeros((5, 6), np.float32))
    with pytest.raises(ParameterError, match="2 or 3"):
        flows(np.zeros(5, int))


def walk_pixel_by_pixel(field: np.ndarray, starts: np.ndarray, rounds: int) -> np.ndarray:
    """Walk as the kernel does, in plain Python."""
    ends = []
    ny, nx = field.shape[1:]
    for y0, x0 in starts:
        y, x = float(y0), float(x0)
        for _ in range(rounds):
            i, j = min(int(y), ny - 2), min(int(x), nx - 2)
            fy, fx = y - i, x - j
            dy, dx = (
                (1 - fy) * (1 - fx) * f[i, j] + (1 - fy) * fx * f[i, j + 1] + fy * (1 - fx) * f[i + 1, j]
                + fy * fx * f[i + 1, j + 1] for f in field
            )  # fmt: skip
            y, x = min(max(y + dy, 0.0), ny - 1.0), min(max(x + dx, 0.0), nx - 1.0)
            if dy * dy + dx * dx < 1e-4:
                break
        ends.append((y, x))
    return np.array(ends)


def test_walkers_end_where_a_plain_walk_ends() -> None:
    from kinocyte.learning._flow_kernel import walk

    labels = (disc((60, 60), 18, 18, radius=11) + 2 * disc((60, 60), 40, 40, radius=14)).astype(np.int32)
    field = flows(labels)
    starts = np.argwhere(labels)
    volume = np.zeros((3, 1, 60, 60), np.float32)
    volume[1:, 0] = field
    ends = np.empty((len(starts), 3), np.float32)
    padded = np.concatenate([np.zeros((len(starts), 1), int), starts], axis=1).astype(np.int32)
    walk(volume, padded, 50, ends)
    plain = walk_pixel_by_pixel(field, starts, 50)
    np.testing.assert_allclose(ends[:, 1:], plain, atol=0.02)
