"""Star-convex shapes against the stardist package, and what must hold of them whatever they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError
from kinocyte.learning.star_convex import Rays, distances, edge_distance, polygons_to_labels, rays_2d, rays_3d

stardist = pytest.importorskip("stardist")


@pytest.fixture(scope="module")
def nuclei(data: Path) -> np.ndarray:
    return tifffile.imread(data / "stardist_examples" / "mask2d.tif").astype(np.int32)


@pytest.fixture(scope="module")
def volume(data: Path) -> np.ndarray:
    return tifffile.imread(data / "stardist_examples" / "mask3d.tif").astype(np.int32)[8:24, 10:50, :40]


def overlaps(a: np.ndarray, b: np.ndarray, wanted: list[int] | None = None) -> np.ndarray:
    """Return the best intersection over union of each object of a with one of b."""
    best = []
    for label in wanted or np.unique(a[a > 0]):
        mask = a == label
        other = np.bincount(b[mask]).argmax()
        best.append(0.0 if other == 0 else (mask & (b == other)).sum() / (mask | (b == other)).sum())
    return np.array(best)


@pytest.mark.parametrize(("n", "stride"), [(32, 1), (32, 2), (5, 3)])
def test_distances_are_those_of_stardist(nuclei: np.ndarray, n: int, stride: int) -> None:
    ours = distances(nuclei, rays_2d(n), stride=stride)
    theirs = stardist.star_dist(nuclei, n, grid=(stride, stride))
    np.testing.assert_allclose(ours, theirs.transpose(2, 0, 1), atol=1e-4)


def test_distances_in_volumes_are_those_of_stardist(volume: np.ndarray) -> None:
    rays = rays_3d(32, (1.0, 2.0, 2.0))
    theirs_rays = stardist.Rays_GoldenSpiral(32, anisotropy=(2.0, 1.0, 1.0))
    np.testing.assert_allclose(rays.directions, theirs_rays.vertices, atol=1e-6)
    theirs = np.moveaxis(stardist.star_dist3D(volume, theirs_rays, grid=(1, 2, 2)), -1, 0)
    ours = distances(volume, rays, stride=(1, 2, 2))
    inside = ours > 0
    np.testing.assert_array_equal(inside, theirs > 0)
    # in volumes theirs ends up to one step beyond the edge; ours ends at it, as both do in the plane
    beyond = (theirs - ours)[inside]
    assert beyond.min() > -0.4
    assert np.quantile(beyond, 0.999) < 1.1


def test_edge_distance_is_that_of_stardist(nuclei: np.ndarray, volume: np.ndarray) -> None:
    np.testing.assert_allclose(edge_distance(nuclei), stardist.edt_prob(nuclei), atol=1e-5)
    np.testing.assert_allclose(
        edge_distance(volume, spacing=(2, 1, 1)), stardist.edt_prob(volume, anisotropy=(2, 1, 1)), atol=1e-5
    )
    np.testing.assert_array_equal(edge_distance(nuclei, stride=2), edge_distance(nuclei)[::2, ::2])


def test_one_object_that_fills_the_image_is_deepest_in_its_middle() -> None:
    depth = edge_distance(np.ones((7, 9), np.int32))
    assert depth.max() == depth[3, 4] == 1
    assert depth[0, 0] == pytest.approx(0.25)


def test_objects_are_those_that_stardist_assembles(nuclei: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    lengths = distances(nuclei, rays_2d(32)) * rng.normal(1, 0.08, (32, *nuclei.shape))
    depth = edge_distance(nuclei) * rng.uniform(0.9, 1, nuclei.shape)
    lengths, depth = lengths.astype(np.float32), depth.astype(np.float32)
    ours, quality = polygons_to_labels(depth, lengths, rays_2d(32), probability_threshold=0.3, overlap_threshold=0.4)
    near, score, far = stardist.nms.non_maximum_suppression(
        np.ascontiguousarray(lengths.transpose(1, 2, 0)), depth, b=None, nms_thresh=0.4, prob_thresh=0.3
    )
    theirs = stardist.geometry.polygons_to_label(far, near, nuclei.shape, prob=score)
    assert abs(len(quality) - len(score)) <= 1
    np.testing.assert_allclose(np.sort(quality)[-60:], np.sort(score)[-60:], atol=1e-6)
    assert np.median(overlaps(ours, theirs)) == pytest.approx(1, abs=0.005)
    assert np.mean(overlaps(nuclei, ours) > 0.7) > 0.95


def test_objects_of_a_volume_come_back(volume: np.ndarray) -> None:
    rays = rays_3d(96)
    depth = edge_distance(volume) * np.random.default_rng(0).uniform(0.99, 1, volume.shape).astype(np.float32)
    ours, quality = polygons_to_labels(depth, distances(volume, rays), rays, probability_threshold=0.5)
    large = [k for k in range(1, int(volume.max()) + 1) if (volume == k).sum() > 300]
    assert np.median(overlaps(volume, ours, large)) > 0.7
    theirs_rays = stardist.Rays_GoldenSpiral(96)
    theirs = stardist.geometry.polyhedron_to_label(
        *_winners(depth, distances(volume, rays), theirs_rays), rays=theirs_rays, shape=volume.shape, verbose=False
    )
    assert abs(int(theirs.max()) - len(quality)) <= 1
    assert np.median(overlaps(ours, theirs)) > 0.9


@pytest.mark.parametrize(("what", "stride"), [("nuclei", 1), ("nuclei", 2), ("volume", 1)])
def test_pixels_near_the_edge_mend_shapes_that_their_middle_misjudges(
    request: pytest.FixtureRequest, what: str, stride: int
) -> None:
    truth: np.ndarray = request.getfixturevalue(what)
    rays = rays_2d(32) if truth.ndim == 2 else rays_3d(64)
    lengths, depth = distances(truth, rays, stride=stride), edge_distance(truth, stride=stride)
    rng = np.random.default_rng(3)
    wrong = (lengths * rng.normal(1, 0.2, lengths.shape)).astype(np.float32)  # the farther the edge, the more
    large = [k for k in np.unique(truth)[1:] if (truth == k).sum() > 300]

    def right(maps: np.ndarray, *, refine: bool) -> float:
        labels, _ = polygons_to_labels(depth, maps, rays, refine=refine, stride=stride, shape=truth.shape)
        return float(np.mean(overlaps(truth, labels, large)))

    assert right(wrong, refine=True) > right(wrong, refine=False) + 0.02
    assert right(lengths, refine=True) > right(lengths, refine=False) - 0.01  # what is right stays so


def _winners(depth: np.ndarray, lengths: np.ndarray, rays: object) -> tuple[np.ndarray, np.ndarray]:
    points, _, far = stardist.nms.non_maximum_suppression_3d(
        np.ascontiguousarray(np.moveaxis(lengths, 0, -1)), depth, rays, b=0, nms_thresh=0.4, prob_thresh=0.5
    )
    return far, points


def test_a_disc_has_the_area_of_its_polygon() -> None:
    rays, probability = rays_2d(64), np.zeros((101, 101), np.float32)
    probability[50, 50] = 0.9
    labels, quality = polygons_to_labels(probability, np.full((64, 101, 101), 30.0, np.float32), rays)
    assert quality.tolist() == [np.float32(0.9)]
    assert labels.sum() == pytest.approx(0.5 * 64 * 900 * np.sin(2 * np.pi / 64), rel=0.01)


def test_a_ball_has_the_volume_of_its_polyhedron() -> None:
    rays, probability = rays_3d(200), np.zeros((41, 41, 41), np.float32)
    probability[20, 20, 20] = 0.9
    labels, _ = polygons_to_labels(probability, np.full((200, 41, 41, 41), 15.0, np.float32), rays)
    assert labels.sum() == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.06)


@given(st.floats(0.1, 0.9), st.floats(0, 14), st.floats(3, 9), st.floats(3, 9))
@settings(max_examples=60, deadline=None)
def test_two_discs_are_kept_as_their_overlap_says(threshold: float, apart: float, r: float, s: float) -> None:
    rays, shape = rays_2d(128), (40, 60)
    apart = round(apart)
    probability, lengths = np.zeros(shape, np.float32), np.zeros((128, *shape), np.float32)
    probability[20, 20], lengths[:, 20, 20] = 0.9, r
    probability[20, 20 + apart], lengths[:, 20, 20 + apart] = (0.8, s) if apart else (0.9, r)
    shared = _lens(r, s, apart) / (np.pi * min(r, s) ** 2)
    labels, quality = polygons_to_labels(probability, lengths, rays, overlap_threshold=threshold)
    if apart and abs(shared - threshold) > 0.02:
        assert len(quality) == (1 if shared > threshold else 2) or labels.max() == len(quality) == 1
    assert set(np.unique(labels)) == set(range(len(quality) + 1))


def _lens(r: float, s: float, d: float) -> float:
    if d >= r + s:
        return 0.0
    if d <= abs(r - s):
        return np.pi * min(r, s) ** 2
    a, b = np.arccos((d * d + r * r - s * s) / (2 * d * r)), np.arccos((d * d + s * s - r * r) / (2 * d * s))
    return r * r * (a - np.sin(2 * a) / 2) + s * s * (b - np.sin(2 * b) / 2)


@pytest.mark.parametrize("fill", [np.nan, np.inf, -1.0, 0.0, 1e9])
def test_distances_that_mean_nothing_do_no_harm(fill: float) -> None:
    rays, shape = rays_2d(8), (12, 10)
    deep, meant = np.full(shape, 0.9, np.float32), np.full((8, *shape), fill, np.float32)
    for refine in (False, True):
        labels, quality = polygons_to_labels(deep, meant, rays, refine=refine)
        assert labels.shape == shape
        assert labels.max() == len(quality)
    nothing, none = polygons_to_labels(np.full(shape, np.nan, np.float32), np.full((8, *shape), 2.0, np.float32), rays)
    assert not nothing.any()
    assert none.size == 0


def test_an_image_without_objects_has_no_distances() -> None:
    empty = np.zeros((8, 8), np.uint16)
    assert not distances(empty, rays_2d(8)).any()
    assert not edge_distance(empty).any()


@pytest.mark.parametrize("turn", [np.array([[-1.0, 0], [0, 1]]), np.array([[0.0, -1], [1, 0]])])
def test_distances_of_a_turned_image_are_read_along_our_rays(nuclei: np.ndarray, turn: np.ndarray) -> None:
    rays = rays_2d(32)
    turned = nuclei[::-1] if turn[0, 0] else np.rot90(nuclei)
    index, share = rays.turned(turn)
    seen = distances(turned, rays)
    back = np.einsum("kf,kfyx->kyx", share, seen[index])
    again = back[:, ::-1] if turn[0, 0] else np.rot90(back, -1, (1, 2))
    off = np.abs(again - distances(nuclei, rays))
    assert np.mean(off > 0.01) < 0.02  # rays that run along the border of two pixels are rounded to the other one
    assert set(np.unique(share)) == {0.0, 1.0}


def test_rays_in_space_turn_by_their_faces() -> None:
    rays = rays_3d(200)
    index, share = rays.turned(np.diag([-1.0, 1, 1]))
    bent = rays.directions @ np.array([1.0, 0.3, -0.2])
    read = (share * (rays.directions @ np.array([-1.0, 0.3, -0.2]))[index]).sum(axis=1)
    assert np.abs(read - bent).max() < 0.1


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ParameterError, match="at least 3 rays"):
        rays_2d(2)
    with pytest.raises(ParameterError, match="rays_3d"):
        distances(np.zeros((3, 4, 5), int), rays_2d(8))
    with pytest.raises(ParameterError, match="shape"):
        polygons_to_labels(np.zeros((3, 4), np.float32), np.zeros((8, 4, 4), np.float32), rays_2d(8))
    assert isinstance(rays_3d(12), Rays)
