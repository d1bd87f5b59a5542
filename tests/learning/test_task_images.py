"""Tasks that give images: what they show a network, what they compare, how they read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from kinocyte.learning.data.pairs import Pair
from kinocyte.learning.devices import repeatable
from kinocyte.learning.tasks._blind_spot import hide, scattered
from kinocyte.learning.tasks.care import LEAST_SCALE, Care
from kinocyte.learning.tasks.denoise_segment import BESIDE, EDGE, INSIDE, DenoiseSegment, pixel_classes
from kinocyte.learning.tasks.frame_interpolation import FrameInterpolation, neighbours_and_between
from kinocyte.learning.tasks.noise2noise import Noise2Noise
from kinocyte.learning.tasks.noise2void import Noise2Void
from kinocyte.learning.tasks.pix2pix import Pix2Pix
from kinocyte.learning.tasks.super_resolution import SuperResolution
from kinocyte.learning.tasks.virtual_stain import VirtualStain

NAMES = (
    "care", "noise2void", "noise2noise", "virtual_stain", "pix2pix", "super_resolution", "frame_interpolation",
    "denoise_segment",
)  # fmt: skip


def test_the_tasks_are_methods_like_any_other() -> None:
    assert set(NAMES) <= set(registry.names("task"))
    assert registry.parse("task", {"method": "noise2void", "version": "n2v"}) == Noise2Void(version="n2v")


# --- blind spots ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(600, 500), (20, 120, 130)])
def test_the_share_of_hidden_pixels_is_the_one_asked_for(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    at = scattered(shape, 0.00198, rng)
    # one a box, so the number varies less than that of independent draws
    assert len(at) / np.prod(shape) == pytest.approx(0.00198, rel=0.06)


def test_hidden_pixels_lie_anywhere_with_equal_chance() -> None:
    rng = np.random.default_rng(2)
    count = np.zeros((17, 13))
    for _ in range(3000):
        np.add.at(count, tuple(scattered((17, 13), 0.02, rng).T), 1)
    expected = count.sum() / count.size
    chi2 = ((count - expected) ** 2 / expected).sum()
    assert expected == pytest.approx(3000 * 0.02, rel=0.1)
    # strata make counts steadier than chance alone: the mean of chi2 would be 220
    assert chi2 < 290
    assert abs(count[0].mean() - expected) < 0.1 * expected
    assert abs(count[:, -1].mean() - expected) < 0.1 * expected


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([(5, 7), (1, 30), (3, 9, 8), (24, 24)]),
    st.sampled_from(["neighbour", "median"]),
    st.integers(1, 5),
    st.floats(0.002, 0.1),
    st.integers(0, 2**31),
)
def test_what_a_network_sees_does_not_depend_on_the_own_value_of_a_hidden_pixel(
    shape: tuple[int, ...], by: Any, radius: int, share: float, seed: int
) -> None:
    image = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)
    how = {"share": share, "radius_px": radius, "by": by}
    shown, mask = hide(image, np.random.default_rng(seed), **how)
    other = np.where(mask > 0, 1e6 * np.random.default_rng(seed + 1).normal(size=image.shape), image)
    again, same = hide(other.astype(np.float32), np.random.default_rng(seed), **how)
    np.testing.assert_array_equal(mask, same)
    np.testing.assert_array_equal(shown, again)
    assert mask.sum() >= 1
    np.testing.assert_array_equal(np.where(mask > 0, 0, shown), np.where(mask > 0, 0, image))


def test_a_hidden_pixel_shows_a_neighbour_or_the_median_of_all() -> None:
    rng = np.random.default_rng(4)
    image = np.arange(60 * 60, dtype=np.float32).reshape(1, 60, 60)
    shown, mask = hide(image, np.random.default_rng(5), share=0.003, radius_px=2, by="neighbour")
    for y, x in np.argwhere(mask[0]):
        window = image[0, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        assert shown[0, y, x] in window
        assert shown[0, y, x] != image[0, y, x]
    flat = rng.normal(size=(1, 60, 60)).astype(np.float32)
    shown, mask = hide(flat, np.random.default_rng(6), share=0.003, radius_px=2, by="median")
    for y, x in np.argwhere(mask[0]):
        window = flat.copy()
        window[mask > 0] = np.nan
        wanted = np.nanmedian(window[0, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3])
        assert shown[0, y, x] == pytest.approx(wanted)


def test_an_image_of_one_pixel_hides_nothing() -> None:
    shown, mask = hide(np.ones((1, 1, 1), np.float32), np.random.default_rng(0), share=0.01, radius_px=2, by="median")
    assert shown.tolist() == [[[1.0]]]
    assert mask.sum() == 0


@pytest.mark.parametrize("version", ["n2v", "n2v2"])
def test_the_loss_of_noise2void_has_a_gradient_at_hidden_pixels_alone(version: Any) -> None:
    torch = pytest.importorskip("torch")
    task = Noise2Void(version=version, hidden=0.02)
    rng = np.random.default_rng(1)
    image = rng.normal(size=(2, 32, 32)).astype(np.float32)
    _, target = task.prepare(image, None, rng)
    assert target.shape == (3, 32, 32)
    output = torch.zeros(1, 2, 32, 32, requires_grad=True)
    loss = task.loss(output, torch.from_numpy(target)[None])["loss"]
    hidden = target[2] > 0
    assert loss.item() == pytest.approx(float((image[:, hidden] ** 2).mean()), rel=1e-5)
    (grad,) = torch.autograd.grad(loss, output)
    np.testing.assert_array_equal((grad[0].numpy() != 0).all(axis=0), hidden)


# --- pairs of images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [Care(), Noise2Noise(), VirtualStain(), Pix2Pix(), SuperResolution()])
def test_a_task_of_pairs_without_a_target_says_so(task: Any) -> None:
    with pytest.raises(ParameterError, match=f"'{task.name()}' learns from pairs"):
        task.prepare(np.zeros((1, 8, 8), np.float32), None, np.random.default_rng(0))


@pytest.mark.parametrize("error", ["absolute", "squared"])
def test_losses_are_the_errors_they_are_called(error: Any) -> None:
    torch = pytest.importorskip("torch")
    output, target = torch.tensor([[[[1.0, 4.0]]]]), torch.tensor([[[[0.0, 0.0]]]])
    wanted = {"absolute": 2.5, "squared": 8.5}[error]
    for task in (Care(error=error), Noise2Noise(error=error), VirtualStain(error=error), SuperResolution(error=error)):
        assert float(task.loss(output, target)["loss"]) == pytest.approx(wanted)


def test_noise2noise_swaps_its_pairs_half_of_the_time() -> None:
    rng = np.random.default_rng(0)
    a, b = np.zeros((1, 2, 2), np.float32), np.ones((1, 2, 2), np.float32)
    first = [float(Noise2Noise().prepare(a, b, rng)[0].mean()) for _ in range(400)]
    assert 0.4 < np.mean(first) < 0.6
    assert Noise2Noise(swap=False).prepare(a, b, rng)[0].mean() == 0


def test_the_scale_of_a_probabilistic_model_is_the_likeliest_one() -> None:
    torch = pytest.importorskip("torch")
    from scipy.stats import laplace

    task = Care(probabilistic=True)
    off = laplace.rvs(scale=0.3, size=20_000, random_state=1).astype(np.float32)
    target = torch.from_numpy(off).reshape(1, 1, 100, 200)
    losses = {}
    for raw in np.linspace(-4, 2, 61):
        output = torch.stack([torch.zeros(1, 100, 200), torch.full((1, 100, 200), float(raw))], dim=1)
        scale = float(np.logaddexp(0, raw)) + LEAST_SCALE
        losses[scale] = float(task.loss(output, target)["surprise"])
        assert losses[scale] == pytest.approx(-laplace.logpdf(off, scale=scale).mean(), rel=1e-4)
    assert min(losses, key=losses.__getitem__) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("error", ["absolute", "squared"])
def test_a_scale_leaves_what_the_image_learns_as_it_is(error: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    target = torch.from_numpy(rng.normal(size=(2, 1, 8, 8)).astype(np.float32))
    start = torch.from_numpy(rng.normal(size=(2, 2, 8, 8)).astype(np.float32))
    both, alone = start.clone().requires_grad_(), start[:, :1].clone().requires_grad_()
    loss = Care(probabilistic=True, error=error).loss(both, target)["loss"]
    bare = Care(error=error).loss(alone, target)["loss"]
    loss.backward()
    bare.backward()
    assert loss.item() == pytest.approx(bare.item())
    np.testing.assert_allclose(both.grad[:, :1], alone.grad, rtol=1e-5)
    # the scale of each pixel is pulled towards its error
    scale = torch.nn.functional.softplus(start[:, 1:]) + LEAST_SCALE
    np.testing.assert_array_equal(both.grad[:, 1:] > 0, scale > (start[:, :1] - target).abs())


def test_uncertainty_is_read_beside_the_image() -> None:
    output = np.stack([np.full((4, 5), 7.0), np.full((4, 5), -100.0)]).astype(np.float32)
    read = Care(probabilistic=True).read(output, {})
    assert read.image is not None
    np.testing.assert_array_equal(read.image, np.full((1, 4, 5), 7.0))
    np.testing.assert_allclose(read.maps["uncertainty"], LEAST_SCALE)
    assert Care().read(output, {}).image is output


# --- movies --------------------------------------------------------------------------------------------------------


def test_a_movie_gives_each_frame_with_its_neighbours() -> None:
    movie = np.arange(5 * 2 * 3 * 4).reshape(5, 2, 3, 4)
    made = list(neighbours_and_between(movie))
    assert [t for t, _, _ in made] == [1, 2, 3]
    for t, around, between in made:
        np.testing.assert_array_equal(around, np.concatenate([movie[t - 1], movie[t + 1]]))
        np.testing.assert_array_equal(between, movie[t])
    assert [t for t, _, _ in neighbours_and_between(movie, distance=2)] == [2]
    with pytest.raises(ParameterError, match="at least 5 frames"):
        list(neighbours_and_between(movie[:4], distance=2))


def test_time_is_turned_round_by_frames_not_by_channels() -> None:
    around = np.arange(4, dtype=np.float32).reshape(4, 1, 1)
    between = np.full((2, 1, 1), 9, np.float32)
    rng = np.random.default_rng(0)
    seen = {tuple(FrameInterpolation().prepare(around, between, rng)[0].ravel()) for _ in range(30)}
    assert seen == {(0, 1, 2, 3), (2, 3, 0, 1)}
    with pytest.raises(ParameterError, match="has 3 channels"):
        FrameInterpolation().prepare(around[:3], between, rng)


def test_motion_is_learnt() -> None:
    """Something that moves by four pixels a step, which the mean of both frames shows twice."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)

    def frames() -> Any:
        y, x = np.mgrid[:32, :32]
        cy, cx = rng.uniform(12, 20, 2)
        dy, dx = rng.choice([-4, 4], 2)
        return [np.exp(-((y - cy - s * dy) ** 2 + (x - cx - s * dx) ** 2) / 12) for s in (-1, 1, 0)]

    task = FrameInterpolation(width=8, depth=2, largest_shift_px=6)
    with repeatable(seed=0):
        network = task.build(2, 1, 2)
        optimiser = torch.optim.Adam(network.parameters(), 3e-3)
        for _ in range(60):
            batch = torch.tensor(np.stack([frames() for _ in range(6)]), dtype=torch.float32)
            optimiser.zero_grad()
            task.loss(network(batch[:, :2]), batch[:, 2:])["loss"].backward()
            optimiser.step()
        batch = torch.tensor(np.stack([frames() for _ in range(32)]), dtype=torch.float32)
        with torch.no_grad():
            off = (network(batch[:, :2]) - batch[:, 2:]).square().mean()
        assert float(off) < 0.5 * float((batch[:, :2].mean(1, keepdim=True) - batch[:, 2:]).square().mean())


# --- adversarial ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adversarial", ["cross_entropy", "least_squares"])
@pytest.mark.parametrize("shape", [(32, 40), (3, 24, 24)])
def test_a_step_of_pix2pix_changes_both_networks_and_leaves_no_gradient_of_one_in_the_other(
    adversarial: Any, shape: tuple[int, ...]
) -> None:
    torch = pytest.importorskip("torch")
    task = Pix2Pix(width=4, depth=2, flat=2, critic_width=4, adversarial=adversarial)
    with repeatable(seed=1):
        networks = task.networks(2, 1, len(shape))
        # a step of nothing: whatever changes below changed by its own optimiser
        still = {name: torch.optim.SGD(n.parameters(), 0.0) for name, n in networks.items()}
        batch = torch.rand(2, 2, *shape), torch.rand(2, 1, *shape)
        task.step(networks, still, batch)
        with torch.no_grad():
            made = networks["network"](batch[0])
            judged = [networks["critic"](batch[0], i) for i in (batch[1], made)]
        if adversarial == "least_squares":
            wanted = ((judged[0] - 1).square().mean() + judged[1].square().mean()) / 2
        else:
            plus = torch.nn.functional.softplus
            wanted = (plus(-judged[0]).mean() + plus(judged[1]).mean()) / 2
        parts = task.step(networks, still, batch)
        assert float(parts["critic"]) == pytest.approx(float(wanted), rel=1e-5)
        assert float(parts["pixels"]) == pytest.approx(float((made - batch[1]).abs().mean()), rel=1e-5)
        assert float(parts["loss"]) == pytest.approx(float(parts["convincing"] + 100 * parts["pixels"]), rel=1e-5)
        before = {name: [p.clone() for p in n.parameters()] for name, n in networks.items()}
        task.step(
            networks, {"network": still["network"], "critic": torch.optim.Adam(networks["critic"].parameters())}, batch
        )
        assert all(torch.equal(p, q) for p, q in zip(networks["network"].parameters(), before["network"], strict=True))
        assert not all(
            torch.equal(p, q) for p, q in zip(networks["critic"].parameters(), before["critic"], strict=True)
        )
        assert all(p.requires_grad for p in networks["critic"].parameters())


# --- denoising with segmentation -----------------------------------------------------------------------------------


def test_classes_of_pixels() -> None:
    labels = np.zeros((6, 7), int)
    labels[1:5, 1:4] = 3
    labels[1:5, 4:7] = 5
    classes = pixel_classes(labels)
    assert classes.tolist() == [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 2, 2, 2, 2, 2, 2],
        [0, 2, 1, 2, 2, 1, 1],
        [0, 2, 1, 2, 2, 1, 1],
        [0, 2, 2, 2, 2, 2, 2],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    assert (BESIDE, INSIDE, EDGE) == (0, 1, 2)


def test_objects_come_back_from_perfect_classes() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:60, :60]
    labels = np.zeros((60, 60), np.uint32)
    for i, (cy, cx) in enumerate(((15, 15), (15, 31), (40, 20), (42, 44)), start=1):
        labels[((y - cy) ** 2 + (x - cx) ** 2 <= 64) & (labels == 0)] = i
    logits = 6 * (pixel_classes(labels)[None] == np.arange(3)[:, None, None]).astype(np.float32)
    output = np.concatenate([rng.normal(size=(1, 60, 60)), logits]).astype(np.float32)
    task = DenoiseSegment()
    read = task.read(output, task.untuned)
    assert read.labels is not None
    assert read.labels.dtype == np.uint32
    pairs = set(zip(read.labels.ravel().tolist(), labels.ravel().tolist(), strict=True))
    assert len(pairs) == 5  # the same objects, to the pixel
    np.testing.assert_allclose(read.quality, 1, atol=0.01)
    np.testing.assert_array_equal(read.maps["denoised"], output[:1])
    assert task.tune([output], [labels])["probability_threshold"] == 0.3
    empty = task.read(np.zeros((4, 8, 8), np.float32) + np.array([0, 9, 0, 0], np.float32)[:, None, None], {})
    assert empty.labels is not None
    assert empty.labels.max() == 0
    assert empty.quality is not None
    assert empty.quality.size == 0


def test_images_without_labels_teach_denoising_alone() -> None:
    torch = pytest.importorskip("torch")
    task = DenoiseSegment(hidden=0.02)
    rng = np.random.default_rng(1)
    image = rng.normal(size=(1, 24, 24)).astype(np.float32)
    labels = np.zeros((24, 24), int)
    labels[4:12, 4:12] = 1
    for known, teaches in ((labels, True), (None, False)):
        shown, target = task.prepare(image, known, rng)
        assert shown.shape == image.shape
        output = torch.zeros(1, 4, 24, 24, requires_grad=True)
        parts = task.loss(output, torch.from_numpy(target)[None])
        (grad,) = torch.autograd.grad(parts["loss"], output)
        assert bool(grad[0, :1].abs().sum() > 0)
        assert bool(grad[0, 1:].abs().sum() > 0) == teaches
        # equal chances of three classes
        assert parts["objects"].item() == pytest.approx(np.log(3) if teaches else 0.0, rel=1e-4)


# --- what tasks make of images without targets ---------------------------------------------------------------------


def test_frames_of_each_movie_are_learnt_from_their_neighbours() -> None:
    def movie(name: str, n: int) -> list[Pair]:
        return [Pair(f"{name}{t}", np.full((2, 4, 4), t, float), None, name, channels=("a", "b")) for t in range(n)]

    made = FrameInterpolation().arranged([*movie("m", 4), *movie("n", 2), *movie("o", 3)])
    assert [(p.name, p.group) for p in made] == [("m1", "m"), ("m2", "m"), ("o1", "o")]
    for pair, t in zip(made, (1, 2, 1), strict=True):
        assert pair.image[:, 0, 0].tolist() == [t - 1, t - 1, t + 1, t + 1]
        assert pair.target is not None
        assert pair.target[:, 0, 0].tolist() == [t, t]
        assert pair.channels == ("a before", "b before", "a after", "b after")
    with pytest.raises(ParameterError, match="None of the 1 movies has three frames"):
        FrameInterpolation().arranged(movie("n", 2))
    given = [Pair("x", np.zeros((2, 4, 4)), np.zeros((1, 4, 4)))]
    assert FrameInterpolation().arranged(given) == given


def test_fine_images_are_learnt_from_their_means() -> None:
    image = np.arange(2 * 5 * 6, dtype=np.uint16).reshape(2, 5, 6)
    (pair,) = SuperResolution().arranged([Pair("x", image, pixel_um=(0.3, 0.2))])
    assert pair.target is not None
    np.testing.assert_array_equal(pair.target, image[:, :4])
    assert pair.image.shape == (2, 2, 3)
    assert pair.image[0, 0, 0] == image[0, :2, :2].mean()
    assert pair.pixel_um == (0.6, 0.4)
    volume = SuperResolution(factor=4).arranged([Pair("x", np.ones((1, 3, 9, 8)))])[0]
    assert volume.image.shape == (1, 3, 2, 2)


def test_a_restored_image_has_the_grey_values_of_its_input() -> None:
    from kinocyte.learning.data.augment import Augmentation
    from kinocyte.learning.data.patches import PatchSampler
    from kinocyte.learning.grey_values import limits, restored
    from kinocyte.learning.model import ImageModel, InputChannel

    rng = np.random.default_rng(1)
    clean = 500 + 100 * rng.random((1, 32, 32))
    noisy = clean + rng.normal(0, 200, clean.shape)
    still = Augmentation(flips=False, quarter_turns=False)
    for task in (Care(), Care(same_grey_values=False)):
        sampler = PatchSampler([Pair("x", noisy, clean)], 32, still, task, 1, batch_size=1)
        target = sampler.batch(0)[1][0]
        channel = (InputChannel(name="x"),)
        model = ImageModel("m", task, channel, channel, "yx", None, {})
        back = restored(model, target, limits(noisy))
        if task.same_grey_values:
            np.testing.assert_allclose(back, clean, rtol=1e-4)
        else:
            np.testing.assert_array_equal(back, target)


def test_targets_with_more_light_are_brought_to_the_grey_values_of_their_inputs() -> None:
    rng = np.random.default_rng(2)
    signal = rng.gamma(2, 50, (2, 64, 64))
    dim = 100 + 0.25 * signal + rng.normal(0, 5, signal.shape)
    (pair,) = Care(fit_grey_values=True, same_grey_values=False).arranged([Pair("x", dim, 3000 + 4 * signal)])
    np.testing.assert_allclose(pair.target, 100 + 0.25 * signal, atol=1.0)  # the noise leaves the gain uncertain
    assert Care(fit_grey_values=True, same_grey_values=False).scaled_as_input
    bright = Pair("x", dim, signal)
    assert Care().arranged([bright])[0] is bright
    flat, none = Care(fit_grey_values=True).arranged([Pair("x", dim, np.full((1, 64, 64), 7.0)), Pair("y", dim)])
    assert (flat.target == 7).all()
    assert not none.has_target


def test_a_stain_on_a_fixed_scale_comes_back_in_its_grey_values() -> None:
    from kinocyte.learning.data.normalisation import Normalisation
    from kinocyte.learning.grey_values import restored
    from kinocyte.learning.model import ImageModel, InputChannel

    scale = Normalisation(method="absolute", low=100, high=1100)
    targets = (InputChannel(name="dapi", normalisation=scale), InputChannel(name="gfp"))
    model = ImageModel("m", VirtualStain(), (InputChannel(name="phase"),), targets, "yx", None, {})
    back = restored(model, np.full((2, 1, 1), 0.5, np.float32), [(7.0, 9.0)])
    assert back.ravel().tolist() == [600.0, 0.5]
