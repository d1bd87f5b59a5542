"""Pairs, splits, augmentation and patches: properties that training rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.learning.data.augment import Augmentation
from kinocyte.learning.data.normalisation import Normalisation
from kinocyte.learning.data.pairs import Pair, as_labels
from kinocyte.learning.data.patches import MixedSampler, PatchSampler
from kinocyte.learning.data.split import split
from kinocyte.learning.tasks.base import Reading, Task

Singles = NDArray[np.float32]
STILL = Augmentation(flips=False, quarter_turns=False)
WILD = Augmentation(
    rotation_deg=180, scale=0.3, shear_deg=10, elastic_px=2, gain=0.3, offset=0.1, gamma=0.3, blur_px=2,
    gaussian_noise=0.1, poisson_noise=0.05, speckle_noise=0.1, local_noise=0.2, channel_extinction=0.5, flip_depth=True,
)  # fmt: skip


class Plain(Task):
    """Shows patches as they are."""

    method: Literal["plain"] = "plain"
    target: ClassVar[Any] = "labels"
    result: ClassVar[Any] = "labels"

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Any:
        raise NotImplementedError

    def prepare(self, image: Singles, target: Any, rng: np.random.Generator) -> tuple[Singles, Singles]:
        shown = image if target is None else np.asarray(target, np.float32)
        return image, shown if shown.ndim == image.ndim else shown[None]

    def loss(self, output: Any, target: Any) -> dict[str, Any]:
        raise NotImplementedError

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:
        raise NotImplementedError

    def reach(self, ndim: int) -> tuple[int, ...]:
        return (0,) * ndim


class PlainImage(Plain):
    target: ClassVar[Any] = "image"


class Doubled(PlainImage):
    @property
    def enlargement(self) -> int:
        return 2


def ramp(*shape: int) -> Singles:
    """Return an image whose every pixel says where it is."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def discs(n: int, size: int, seed: int = 0) -> NDArray[np.int32]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for k in range(1, n + 1):
        cy, cx = rng.uniform(8, size - 8, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 36] = k
    return labels


def labelled_pairs(n: int = 5, size: int = 64) -> list[Pair]:
    found = []
    for k in range(n):
        labels = discs(6, size, k)
        noise = np.random.default_rng(k).normal(0, 3, labels.shape)
        found.append(Pair(f"im{k}", (100 + 50 * (labels > 0) + noise)[None].astype(np.float32), labels))
    return found


# pairs


def test_a_pair_reads_when_it_is_asked() -> None:
    asked = []

    def image() -> Singles:
        asked.append(1)
        return ramp(2, 4, 5)

    pair = Pair("a", image, channels=("dapi", "gfp"))
    assert not asked
    assert not pair.has_target
    assert pair.target is None
    assert pair.group == "a"
    assert pair.image.shape == (2, 4, 5)
    second = pair.with_channels([1])
    assert second.channels == ("gfp",)
    np.testing.assert_array_equal(second.image[0], pair.image[1])
    with pytest.raises(ParameterError, match="has 2 channels, but channel 4"):
        _ = pair.with_channels([3]).image


def test_images_of_the_wrong_shape_are_named() -> None:
    with pytest.raises(ParameterError, match=r"'flat' has the shape \(4, 5\)"):
        _ = Pair("flat", ramp(4, 5)).image


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (np.array([[0.5, 1]]), "fractions"),
        (np.array([[np.nan, 1]]), "NaN"),
        (np.array([[-1, 1]]), "label -1"),
        (np.array([["a"]]), "whole numbers"),
        (np.zeros((2, 2, 2, 2), int), "shape"),
    ],
)
def test_what_is_no_label_image_is_refused(target: NDArray[Any], reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        as_labels(target, "a")


# split


@given(sizes=st.lists(st.integers(1, 7), min_size=2, max_size=12), share=st.floats(0.01, 0.9), seed=st.integers(0, 99))
def test_no_group_is_on_both_sides(sizes: list[int], share: float, seed: int) -> None:
    pairs = [Pair(f"{g}-{i}", ramp(1, 2, 2), group=f"movie{g}") for g, n in enumerate(sizes) for i in range(n)]
    parts = split(pairs, share, seed)
    train, out = ({p.group for p in side} for side in (parts.training, parts.held_out))
    assert train
    assert out
    assert not train & out
    assert len(parts.training) + len(parts.held_out) == len(pairs)
    backwards = split(pairs[::-1], share, seed)
    assert {p.name for p in backwards.held_out} == {p.name for p in parts.held_out}


def test_equal_groups_are_held_out_as_asked_and_stay_when_others_join() -> None:
    pairs = [Pair(f"{k:03}", ramp(1, 2, 2)) for k in range(100)]
    parts = split(pairs, 0.15, 1)
    assert len(parts.held_out) == 15
    more = split([*pairs, *(Pair(f"new{k}", ramp(1, 2, 2)) for k in range(100))], 0.15, 1)
    stayed = {p.name for p in more.held_out} & {p.name for p in pairs}
    # the first of the old order are still the first among the old
    assert stayed <= {p.name for p in split(pairs, len(stayed) / 100, 1).held_out}
    assert {p.name for p in split(pairs, 0.15, 2).held_out} != {p.name for p in parts.held_out}


def test_one_image_cannot_be_split() -> None:
    frames = [Pair(f"t{t}", ramp(1, 2, 2), group="movie") for t in range(9)]
    with pytest.raises(ParameterError, match="come from one image or movie"):
        split(frames, 0.2, 1)
    assert len(split(frames, 0, 1).training) == 9
    with pytest.raises(ParameterError, match="no pair"):
        split([], 0.2, 1)
    with pytest.raises(ParameterError, match="from 0 to below 1"):
        split(frames, 1.0, 1)


# augmentation


def test_without_anything_a_patch_is_the_middle_of_the_image() -> None:
    image, labels = ramp(2, 9, 11), np.arange(99).reshape(9, 11)
    x, t = STILL.apply(image, labels, np.random.default_rng(0), patch_px=(5, 5))
    np.testing.assert_array_equal(x, image[:, 2:7, 3:8])
    assert t is not None
    np.testing.assert_array_equal(t, labels[2:7, 3:8])


@given(seed=st.integers(0, 500), shape=st.sampled_from([(8, 8), (3, 8, 8), (6, 9)]))
def test_flips_and_turns_keep_every_pixel_and_the_fit(seed: int, shape: tuple[int, ...]) -> None:
    image = ramp(2, *shape)
    labels = image[0].astype(np.int32)
    x, t = Augmentation(flip_depth=True).apply(image, labels, np.random.default_rng(seed))
    assert t is not None
    assert x.shape == image.shape
    np.testing.assert_array_equal(np.sort(x[0], None), np.sort(image[0], None))
    np.testing.assert_array_equal(x[0].astype(np.int32), t)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), volume=st.booleans())
def test_image_and_labels_move_together(seed: int, volume: bool) -> None:
    labels = discs(5, 64, seed)
    if volume:
        labels = np.stack([labels] * 3)
    image = (labels > 0).astype(np.float32)[None]
    geometry = Augmentation(rotation_deg=180, scale=0.3, shear_deg=20, elastic_px=2, flip_depth=True)
    x, t = geometry.apply(image, labels, np.random.default_rng(seed))
    assert t is not None
    assert x.shape[1:] == t.shape == labels.shape
    assert set(np.unique(t)) <= set(np.unique(labels))
    # linear interpolation of the mask is above one half where the nearest pixel belongs to it, but for the rim
    assert np.mean((x[0] > 0.5) != (t > 0)) < 0.03


def test_a_rotation_is_the_one_scipy_makes() -> None:
    from scipy.ndimage import gaussian_filter, rotate

    image = gaussian_filter(np.random.default_rng(0).random((65, 65)), 3).astype(np.float32)
    turned, _ = Augmentation(flips=False, quarter_turns=False, rotation_deg=90).apply(
        image[None], None, np.random.default_rng(3)
    )
    middle = (slice(20, 45), slice(20, 45))
    differences = [
        np.abs(rotate(image, angle, reshape=False, order=1, mode="mirror")[middle] - turned[0][middle]).max()
        for angle in np.arange(-90, 90.1, 0.25)
    ]
    assert min(differences) < 2e-3 < np.median(differences)


def test_a_margin_holds_the_warp() -> None:
    """No mirrored pixel comes into a patch that is cut with its margin: the ramp goes on without a turn."""
    geometry = Augmentation(flips=False, quarter_turns=False, rotation_deg=40, scale=0.3, shear_deg=15, elastic_px=1.5)
    size = (32, 48)
    window = tuple(s + 2 * m for s, m in zip(size, geometry.margin(size), strict=True))
    from kinocyte.learning.data._warp import _draw

    for seed in range(200):
        warp = _draw(geometry, size, np.random.default_rng(seed))
        at = warp.sources(size, window, 1)  # type: ignore[arg-type] # two axes
        assert at.min() >= 0
        assert (at.max(axis=(1, 2)) <= np.array(window) - 1).all()


def test_labels_are_cut_where_the_larger_target_lies() -> None:
    small = np.random.default_rng(0).random((1, 20, 20)).astype(np.float32)
    large = np.kron(small, np.ones((1, 2, 2), np.float32))
    geometry = Augmentation(rotation_deg=30, scale=0.2)
    x, t = geometry.apply(small, large, np.random.default_rng(5), patch_px=(12, 12))
    assert t is not None
    assert t.shape == (1, 24, 24)
    assert np.corrcoef(x[0].ravel(), t[0].reshape(12, 2, 12, 2).mean((1, 3)).ravel())[0, 1] > 0.9


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_everything_together_is_finite_and_follows_the_seed(seed: int) -> None:
    image = np.random.default_rng(1).random((3, 40, 40)).astype(np.float32)
    labels = discs(3, 40)
    first, _ = WILD.apply(image, labels, np.random.default_rng(seed))
    again, _ = WILD.apply(image, labels, np.random.default_rng(seed))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.abs(first[0]).max() > 0, "the first channel never goes dark"


def test_channels_go_dark_but_never_the_first() -> None:
    image = np.ones((3, 4, 4), np.float32)
    dark = np.zeros(3)
    for seed in range(400):
        x, _ = Augmentation(channel_extinction=0.3).apply(image, None, np.random.default_rng(seed))
        dark += x.max(axis=(1, 2)) == 0
    assert dark[0] == 0
    assert np.all(np.abs(dark[1:] / 400 - 0.3) < 0.08)


def test_noise_has_the_variance_that_was_asked() -> None:
    image = np.full((1, 400, 400), 0.5, np.float32)
    plain = {"flips": False, "quarter_turns": False, "probability": 1.0}
    for key, level, variance in (
        ("gaussian_noise", 0.2, lambda u: (0.2 * u) ** 2),
        ("poisson_noise", 0.04, lambda u: 0.04 * u * 0.5),
        ("speckle_noise", 0.3, lambda u: (0.3 * u * 0.5) ** 2),
    ):
        rng = np.random.default_rng(7)
        x, _ = Augmentation.model_validate({**plain, key: level}).apply(image, None, rng)
        replay = np.random.default_rng(7)
        replay.integers(0, 2, 3)  # the draws of the mirrors
        replay.random()
        expected = variance(replay.uniform())
        assert x.var() == pytest.approx(expected, rel=0.03)
        assert x.mean() == pytest.approx(0.5, abs=0.01)


def test_the_target_follows_brightness_only_where_it_is_told_to() -> None:
    image, target = ramp(1, 6, 6) / 36, ramp(1, 6, 6) / 36 + 1
    bright = {"flips": False, "quarter_turns": False, "probability": 1.0, "gain": 0.5, "offset": 0.5}
    x, t = Augmentation.model_validate(bright).apply(image, target, np.random.default_rng(2))
    np.testing.assert_array_equal(t, target)
    x2, t2 = Augmentation.model_validate({**bright, "target_follows": True}).apply(
        image, target, np.random.default_rng(2)
    )
    np.testing.assert_array_equal(x, x2)
    gain, offset = np.polyfit(image.ravel(), x.ravel(), 1)
    assert t2 is not None
    np.testing.assert_allclose(t2, target * gain + offset, rtol=1e-4)


def test_what_does_not_lie_on_each_other_is_refused() -> None:
    with pytest.raises(ParameterError, match="do not lie on each other"):
        STILL.apply(ramp(1, 6, 6), np.zeros((7, 6), int), np.random.default_rng(0))
    with pytest.raises(ParameterError, match="patch of 3 axes"):
        STILL.apply(ramp(1, 6, 6), None, np.random.default_rng(0), patch_px=(2, 2, 2))


# patches


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    one = PatchSampler(labelled_pairs(), 32, WILD, Plain(), 3, batch_size=4)
    other = PatchSampler(labelled_pairs(), 32, WILD, Plain(), 3, batch_size=4, memory_bytes=1)
    wanted = one.batch(17)
    for step in (5, 2, 40):
        other.batch(step)
    for a, b in zip(wanted, other.batch(17), strict=True):
        np.testing.assert_array_equal(a, b)
    assert wanted[0].shape == (4, 1, 32, 32)
    assert not np.array_equal(wanted[0], one.batch(18)[0])
    assert not np.array_equal(
        wanted[0], PatchSampler(labelled_pairs(), 32, WILD, Plain(), 4, batch_size=4).batch(17)[0]
    )


def test_every_pair_is_used_once_a_pass() -> None:
    pairs = [Pair(f"{k}", np.full((1, 8, 8), float(k))) for k in range(6)]
    raw = Normalisation(method="none")
    sampler = PatchSampler(pairs, 4, STILL, PlainNone(), 1, batch_size=3, inputs=[raw])
    for turn in range(3):
        seen = [sampler.batch(turn * 2 + k)[0][:, 0, 0, 0] for k in range(2)]
        assert sorted(np.concatenate(seen)) == list(range(6))


class PlainNone(Plain):
    target: ClassVar[Any] = "none"


def test_half_of_the_patches_have_a_label_where_few_images_do() -> None:
    class Shy(Plain):
        target_optional: ClassVar[bool] = True

    pairs = [
        Pair(str(i), np.full((1, 8, 8), i), np.full((8, 8), i + 1) if i < 3 else None, group=str(i)) for i in range(12)
    ]
    sampler = PatchSampler(
        pairs, 8, STILL, Shy(), 1, batch_size=4, inputs=[Normalisation(method="none", low=0, high=1)]
    )
    shown = np.concatenate([sampler.batch(step)[0][:, 0, 0, 0] for step in range(6)]).astype(int)
    assert (shown[::2] < 3).all()
    assert sorted(shown[1::2]) == list(range(12))  # every pair once, beside those with labels
    assert [int((shown[::2] == i).sum()) for i in range(3)] == [4, 4, 4]
    many = PatchSampler(pairs[:5], 8, STILL, Shy(), 1, batch_size=5, inputs=sampler._inputs)
    assert sorted(many.batch(0)[0][:, 0, 0, 0].astype(int)) == list(range(5))


def test_limits_come_from_the_whole_image() -> None:
    image = np.zeros((1, 64, 64), np.float32)
    image[0, :, 32:] = 1000
    sampler = PatchSampler([Pair("a", image)], 16, STILL, PlainNone(), 1, batch_size=32)
    values = np.unique(sampler.batch(0)[0])
    np.testing.assert_allclose(values, [0, 1], atol=1e-6)


def test_patches_hold_objects() -> None:
    labels = np.zeros((256, 256), np.int32)
    labels[200:210, 30:40] = 7
    pair = Pair("a", labels[None].astype(np.float32), labels)
    sampler = PatchSampler([pair], 32, STILL, Plain(), 1, batch_size=64)
    share = np.mean([t.max() > 0 for t in sampler.batch(0)[1]])
    assert share > 0.8
    nothing = PatchSampler([pair], 32, STILL, Plain(), 1, batch_size=64, with_objects=0)
    assert np.mean([t.max() > 0 for t in nothing.batch(0)[1]]) < 0.3


@pytest.mark.parametrize("augmentation", [STILL, Augmentation(rotation_deg=45, scale=0.2)])
def test_small_images_are_mirrored_and_copies_are_objects_of_their_own(augmentation: Augmentation) -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[4:8, 4:8] = 3
    pair = Pair("a", labels[None].astype(np.float32), labels)
    x, t = PatchSampler([pair], 64, augmentation, Plain(), 1, batch_size=2).batch(0)
    assert x.shape == (2, 1, 64, 64)
    from skimage.measure import label

    assert len(np.unique(t[0])) - 1 >= label(t[0, 0] > 0).max() > 4
    if augmentation is STILL:
        padded = np.pad(labels, 22, mode="reflect")
        np.testing.assert_array_equal(t[0, 0] > 0, padded > 0)


def test_volumes_and_larger_targets() -> None:
    volume = Pair("v", ramp(2, 6, 40, 40), np.ones((6, 40, 40), int))
    x, t = PatchSampler([volume], (4, 16, 16), WILD, Plain(), 1, batch_size=2).batch(0)
    assert x.shape == (2, 2, 4, 16, 16)
    assert t.shape == (2, 1, 4, 16, 16)
    small = np.random.default_rng(0).random((1, 30, 30))
    doubled = Pair("d", small, np.kron(small, np.ones((1, 2, 2))))
    raw = [Normalisation(method="none")]
    x, t = PatchSampler([doubled], 8, Augmentation(), Doubled(), 1, inputs=raw, targets=raw).batch(0)
    np.testing.assert_allclose(np.kron(x, np.ones((1, 1, 2, 2))), t)


def test_faults_name_the_pair() -> None:
    labels = discs(2, 32)
    fine = labels[None].astype(np.float32)
    with pytest.raises(ParameterError, match="'a' has no target"):
        PatchSampler([Pair("a", fine)], 16, STILL, Plain(), 1)
    with pytest.raises(ParameterError, match=r"'b': the target has the shape \(32, 31\)"):
        PatchSampler([Pair("b", fine, labels[:, 1:])], 16, STILL, Plain(), 1).batch(0)
    broken = fine.copy()
    broken[0, 3, 3] = np.nan
    with pytest.raises(ParameterError, match="target of 'c' holds NaN"):
        PatchSampler([Pair("c", fine, broken)], 16, STILL, PlainImage(), 1).batch(0)
    with pytest.raises(ParameterError, match="has 1 channels, but 2 are to be read"):
        PatchSampler([Pair("d", fine, labels)], 16, STILL, Plain(), 1, inputs=[Normalisation()] * 2).batch(0)
    with pytest.raises(ParameterError, match="no pair"):
        PatchSampler([], 16, STILL, Plain(), 1)
    with pytest.raises(ParameterError, match="the images have 2 axes"):
        PatchSampler([Pair("e", fine, labels)], (4, 16, 16), STILL, Plain(), 1).batch(0)


def test_very_large_labels_stay_apart() -> None:
    labels = np.zeros((16, 16), np.int64)
    labels[:4, :4], labels[8:12, 8:12] = 2**40, 2**40 + 1
    _, t = PatchSampler([Pair("a", np.ones((1, 16, 16)), labels)], 16, STILL, Plain(), 1, batch_size=1).batch(0)
    assert sorted(np.unique(t)) == [0, 1, 2]


def test_replayed_patches_come_at_their_share() -> None:
    raw = {"inputs": [Normalisation(method="none")], "batch_size": 8}
    old = PatchSampler([Pair("old", np.zeros((1, 8, 8)))], 4, STILL, PlainNone(), 1, **raw)  # type: ignore[arg-type]
    new = PatchSampler([Pair("new", np.ones((1, 8, 8)))], 4, STILL, PlainNone(), 1, **raw)  # type: ignore[arg-type]
    mixed = MixedSampler(new, old, 0.25)
    mean = np.mean([mixed.batch(step)[0].mean() for step in range(100)])
    assert mean == pytest.approx(0.75, abs=0.05)
    np.testing.assert_array_equal(mixed.batch(3)[0], mixed.batch(3)[0])
