"""Networks of tasks that give images: shapes, what an output depends on, and that tiles change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from kinocyte.core.errors import ParameterError
from kinocyte.learning.devices import repeatable
from kinocyte.learning.tasks.base import Task
from kinocyte.learning.tasks.care import Care
from kinocyte.learning.tasks.denoise_segment import DenoiseSegment
from kinocyte.learning.tasks.frame_interpolation import FrameInterpolation
from kinocyte.learning.tasks.noise2noise import Noise2Noise
from kinocyte.learning.tasks.noise2void import Noise2Void
from kinocyte.learning.tasks.pix2pix import Pix2Pix
from kinocyte.learning.tasks.super_resolution import SuperResolution
from kinocyte.learning.tasks.virtual_stain import VirtualStain

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than they bring to networks this small."""
    with repeatable(seed=0):
        yield


SMALL: dict[str, Any] = {"width": 4, "depth": 2}
#: task, channels in, channels of the target, outputs
CASES = [
    (Care(**SMALL), 2, 2, 2),
    (Care(**SMALL, residual=False), 3, 1, 1),
    (Care(**SMALL, probabilistic=True), 2, 2, 4),
    (Noise2Noise(**SMALL), 1, 1, 1),
    (Noise2Void(**SMALL, version="n2v"), 2, 1, 2),
    (Noise2Void(**SMALL), 2, 1, 2),
    (VirtualStain(**SMALL), 3, 2, 2),
    (Pix2Pix(**SMALL), 1, 3, 3),
    (SuperResolution(**SMALL), 2, 1, 1),
    (SuperResolution(**SMALL, factor=4), 1, 1, 1),
    (SuperResolution(**SMALL, upsampling="resize"), 1, 2, 2),
    (FrameInterpolation(**SMALL, largest_shift_px=2.5), 4, 2, 2),
    (DenoiseSegment(**SMALL), 2, 1, 5),
]
IDS = [f"{t!r}-{n}-{m}" for t, n, m, _ in CASES]


def restless(task: Task, n_inputs: int, n_targets: int, ndim: int) -> Any:
    """Return a network in double precision whose last weights are large enough that all of it shows."""
    torch.manual_seed(3)
    network = task.build(n_inputs, n_targets, ndim).double().eval()
    with torch.no_grad():
        for values in network.parameters():
            values.add_(0.1 * torch.randn_like(values))
    return network


def size(task: Task, ndim: int, least: int) -> tuple[int, ...]:
    return tuple(-(-least // d) * d for d in task.divisor(ndim))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(("task", "n_inputs", "n_targets", "n_outputs"), CASES, ids=IDS)
def test_an_output_has_the_shape_of_its_task(
    task: Task, n_inputs: int, n_targets: int, n_outputs: int, ndim: int
) -> None:
    network = restless(task, n_inputs, n_targets, ndim)
    given = (3, 12, 20) if ndim == 3 else (12, 20)  # uneven beyond what the divisor asks for
    shape = tuple(-(-n // d) * d for n, d in zip(given, task.divisor(ndim), strict=True))
    with torch.no_grad():
        out = network(torch.rand(2, n_inputs, *shape, dtype=torch.float64))
    plane = [n * task.enlargement for n in shape[-2:]]
    assert tuple(out.shape) == (2, n_outputs, *shape[:-2], *plane)
    assert tuple(network.divisor) == task.divisor(ndim)
    assert tuple(network.reach) == task.reach(ndim)


@pytest.mark.parametrize(("task", "n_inputs", "n_targets", "n_outputs"), CASES, ids=IDS)
def test_an_output_depends_on_nothing_beyond_the_reach(
    task: Task, n_inputs: int, n_targets: int, n_outputs: int
) -> None:
    network = restless(task, n_inputs, n_targets, 2)
    reach, divisor, factor = task.reach(2), task.divisor(2), task.enlargement
    n = size(task, 2, 2 * max(reach) + 8 * divisor[0])[0]
    farthest = [0, 0]
    for place in range(n // 2, n // 2 + divisor[0]):
        image = torch.rand(1, n_inputs, n, n, dtype=torch.float64, requires_grad=True)
        block = network(image)[:, :, place * factor : (place + 1) * factor, place * factor : (place + 1) * factor]
        (grad,) = torch.autograd.grad(block.square().sum(), image)
        used = torch.nonzero(grad[0].abs().amax(0))
        farthest = [max(f, int((used[:, axis] - place).abs().max())) for axis, f in enumerate(farthest)]
    assert all(f <= r for f, r in zip(farthest, reach, strict=True))
    if not isinstance(task, FrameInterpolation):
        # not longer than needed either; pooling looks at the largest pixel only, which hides some of the farthest
        assert all(r - f <= 2 * divisor[0] for f, r in zip(farthest, reach, strict=True))


@pytest.mark.parametrize(("task", "n_inputs", "n_targets", "n_outputs"), CASES, ids=IDS)
def test_a_tile_gives_what_the_whole_image_gives(task: Task, n_inputs: int, n_targets: int, n_outputs: int) -> None:
    network = restless(task, n_inputs, n_targets, 2)
    step, factor = task.divisor(2)[0], task.enlargement
    margin = -(-task.reach(2)[0] // step) * step
    n, begin = 2 * margin + 6 * step, margin + step
    image = torch.rand(1, n_inputs, n, n, dtype=torch.float64)
    with torch.no_grad():
        whole = network(image)
        tile = network(image[:, :, begin - margin : begin + 2 * step + margin, begin - margin :])
    inside = tile[:, :, margin * factor : (margin + 2 * step) * factor, margin * factor :]
    wanted = whole[:, :, begin * factor : (begin + 2 * step) * factor, begin * factor :]
    assert float((inside - wanted).abs().max()) < 1e-12


def test_volumes_depend_on_planes_within_the_reach() -> None:
    task = Noise2Void(width=2, depth=2, flat=1)
    network = restless(task, 1, 1, 3)
    image = torch.rand(1, 1, 48, 8, 8, dtype=torch.float64, requires_grad=True)
    for plane in (24, 25):
        (grad,) = torch.autograd.grad(network(image)[0, 0, plane].square().sum(), image)
        used = torch.nonzero(grad[0, 0].abs().amax((1, 2)))[:, 0]
        assert int((used - plane).abs().max()) <= task.reach(3)[0]


def test_moving_by_whole_pixels_is_a_shift_and_by_halves_a_mean() -> None:
    from kinocyte.learning.networks.flow_estimate import moved

    image = torch.arange(30, dtype=torch.float64).reshape(1, 1, 5, 6)
    shift = torch.zeros(1, 2, 5, 6, dtype=torch.float64)
    shift[:, 0], shift[:, 1] = 1.0, -2.0
    np.testing.assert_array_equal(moved(image, shift)[0, 0, :4, 2:], image[0, 0, 1:, :4])
    shift[:, 0], shift[:, 1] = 0.0, 0.5
    half = (image[0, 0, :, :-1] + image[0, 0, :, 1:]) / 2
    np.testing.assert_allclose(moved(image, shift)[0, 0, :, :-1], half)


def test_moving_is_what_torch_samples() -> None:
    from kinocyte.learning.networks.flow_estimate import moved

    torch.manual_seed(1)
    image = torch.rand(2, 3, 7, 9, 11, dtype=torch.float64)
    shift = 6 * torch.rand(2, 3, 7, 9, 11, dtype=torch.float64) - 3
    base = torch.meshgrid(*(torch.arange(n) for n in (7, 9, 11)), indexing="ij")
    sides = [2 * (base[a] + shift[:, a]) / (n - 1) - 1 for a, n in enumerate((7, 9, 11))]
    wanted = torch.nn.functional.grid_sample(
        image, torch.stack(sides[::-1], dim=-1), padding_mode="border", align_corners=True
    )
    np.testing.assert_allclose(moved(image, shift), wanted, atol=1e-12)


def test_the_order_of_two_frames_does_not_matter_where_time_has_no_arrow() -> None:
    torch.manual_seed(2)
    network = restless(FrameInterpolation(width=2, depth=1), 2, 1, 2).float()
    arrow = FrameInterpolation(width=2, depth=1, turn_round=False).build(2, 1, 2).eval()
    arrow.load_state_dict(network.state_dict())
    frames = torch.rand(1, 2, 8, 8)
    with torch.no_grad():
        forwards, backwards = network(frames), network(frames.flip(1))
        torch.testing.assert_close(forwards, backwards, rtol=0, atol=0)
        torch.testing.assert_close(forwards, (arrow(frames) + arrow(frames.flip(1))) / 2)
        assert not torch.equal(arrow(frames), arrow(frames.flip(1)))


def blobs(shape: tuple[int, ...], moved_px: tuple[float, ...]) -> np.ndarray:
    """Return three blobs that have moved by so much."""
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    width = np.array((1.5, 4.0, 4.0)[-len(shape) :]).reshape(-1, *[1] * len(shape))
    total = np.zeros(shape)
    for share in (0.3, 0.5, 0.7):
        centre = (np.array(shape) * share + moved_px).reshape(width.shape)
        total += np.exp(-(((places - centre) / width) ** 2).sum(axis=0) / 2)
    return total


@pytest.mark.parametrize(("shape", "shift"), [((48, 64), (3.0, -4.0)), ((8, 48, 64), (0.5, 3.0, -4.0))])
def test_before_training_both_frames_are_moved_to_the_middle(shape: tuple[int, ...], shift: tuple[float, ...]) -> None:
    network = FrameInterpolation(width=2, depth=3, flat=2, largest_shift_px=8).build(2, 1, len(shape)).eval()
    around = [blobs(shape, tuple(when * s for s in shift)) for when in (-0.5, 0.5)]
    middle = blobs(shape, tuple(0 * s for s in shift))
    with torch.no_grad():
        made = network(torch.tensor(np.stack(around)[None], dtype=torch.float32))[0, 0].numpy()
    assert np.mean((made - middle) ** 2) < 0.2 * np.mean((np.mean(around, axis=0) - middle) ** 2)


def test_an_estimated_shift_is_the_same_to_the_bit_in_a_tile_of_its_reach() -> None:
    from kinocyte.learning.networks.flow_estimate import half_shifts, reach

    torch.manual_seed(5)
    before, after = torch.rand(2, 1, 2, 170, 168)
    margin = -(-reach(3.0, [(2, 2)], 2)[0] // 2) * 2  # tiles begin on the coarsest grid
    whole = half_shifts(before, after, 3.0, [(2, 2)])
    low, high, n = 4, 4 + 2 * margin + 10, 10
    tile = half_shifts(before[..., low:high, low:high], after[..., low:high, low:high], 3.0, [(2, 2)])
    kept, place = slice(margin, margin + n), slice(low + margin, low + margin + n)
    assert torch.equal(tile[..., kept, kept], whole[..., place, place])
    assert high < 168
    assert float(whole.abs().max()) > 1


def test_nothing_moves_where_nothing_is_seen_or_nothing_changes() -> None:
    from kinocyte.learning.networks.flow_estimate import half_shifts

    flat = torch.full((1, 2, 8, 8), 0.3)
    assert not half_shifts(flat, flat + 0.1, 4.0, [(2, 2)]).any()
    frame = torch.rand(1, 2, 4, 8, 8)
    assert not half_shifts(frame, frame, 4.0, [(1, 2, 2)]).any()


def test_blurred_pooling_of_a_ramp() -> None:
    from kinocyte.learning.networks.blind_spot import blur_pooled

    ramp = torch.arange(8, dtype=torch.float64).reshape(1, 1, 8, 1).expand(1, 1, 8, 8)
    # the larger of two neighbours is the next one; smoothing leaves a ramp; the border is repeated
    np.testing.assert_allclose(blur_pooled(ramp, (2, 2))[0, 0, :, 1], [1.25, 3, 5, 6.75])


def test_channels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ParameterError, match="frame before, then those of the frame after"):
        FrameInterpolation().build(3, 1, 2)
    critic = Pix2Pix(critic_width=2).critic(1, 1, 2)
    with pytest.raises(ParameterError, match="smaller critic_depth"):
        critic(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16))
    assert critic(torch.zeros(1, 1, 24, 24), torch.zeros(1, 1, 24, 24)).shape == (1, 1, 1, 1)


#: one of each network, volumes where what they do differs there
EXPORTED = [(i, 2) for i in (0, 2, 5, 9, 10, 11)] + [(5, 3), (8, 3), (11, 3)]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # the format that other programs read
@pytest.mark.parametrize(("case", "ndim"), EXPORTED, ids=[f"{IDS[i]}-{n}D" for i, n in EXPORTED])
def test_a_network_that_is_exported_takes_images_of_other_sizes(case: int, ndim: int) -> None:
    task, n_inputs, n_targets, _ = CASES[case]
    network = restless(task, n_inputs, n_targets, ndim)
    small, large = (task.divisor(ndim)[0], 8, 8), (2 * task.divisor(ndim)[0], 12, 16)
    with torch.no_grad():
        exported = torch.jit.trace(
            network, torch.rand(1, n_inputs, *small[-ndim:], dtype=torch.float64), check_trace=False
        )
        image = torch.rand(1, n_inputs, *large[-ndim:], dtype=torch.float64)
        np.testing.assert_allclose(exported(image), network(image), atol=1e-12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter
def test_an_exported_motion_estimate_takes_images_of_other_sizes_elsewhere() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from kinocyte.learning.image_package import describe
    from kinocyte.learning.model import ImageModel, InputChannel

    task = FrameInterpolation(width=2, depth=1, largest_shift_px=6)  # with a coarser scale
    network = restless(task, 2, 1, 2).float()
    weights = {name: values.detach().numpy() for name, values in network.state_dict().items()}
    channels = tuple(InputChannel(name=n) for n in ("before", "after", "between"))
    model = ImageModel("between", task, channels[:2], channels[2:], "yx", None, weights)
    _, files = describe(model, formats=("onnx",))
    session = onnxruntime.InferenceSession(files["weights.onnx"], providers=["CPUExecutionProvider"])
    image = torch.rand(1, 2, 72, 90)
    with torch.no_grad():
        np.testing.assert_allclose(session.run(None, {"input": image.numpy()})[0], network(image), atol=1e-4)
    with pytest.raises(ParameterError, match="this version of Kinocyte makes for frame_interpolation"):
        model.replace(weights={name: a for name, a in weights.items() if "out" not in name}).network()
