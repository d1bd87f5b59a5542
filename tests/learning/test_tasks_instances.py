"""Tasks that find objects and classes: what is learnt of labels gives the labels again; losses; tuned thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kinocyte.core.errors import ParameterError  # noqa: E402 - torch may be missing
from kinocyte.evaluation.segmentation import score_segmentation  # noqa: E402
from kinocyte.learning.tasks.base import Task  # noqa: E402
from kinocyte.learning.tasks.flows import Flows  # noqa: E402
from kinocyte.learning.tasks.semantic import Boundary, Semantic, softmax  # noqa: E402
from kinocyte.learning.tasks.stardist import StarDist  # noqa: E402
from tests.learning._training_scene import blobs  # noqa: E402

RNG = np.random.default_rng(0)
INSTANCES: list[Task] = [StarDist(grid=1), StarDist(grid=2), Flows(), Boundary()]


def perfect(task: Task, labels: np.ndarray) -> np.ndarray:
    """Return the output of a network that has learnt its target perfectly."""
    _, target = task.prepare(np.zeros((1, *labels.shape), np.float32), labels, RNG)
    if isinstance(task, Boundary | Semantic):
        n = 3 if isinstance(task, Boundary) else int(labels.max()) + 1
        return np.moveaxis(20 * np.eye(n, dtype=np.float32)[target[0].astype(int)], -1, 0)
    chance = np.clip(target[:1], 1e-4, 1 - 1e-4)
    rest = target[1:] / (10.0 if isinstance(task, StarDist) else 1.0)
    return np.concatenate([np.log(chance / (1 - chance)), rest])


def touching(size: int = 48) -> np.ndarray:
    """Return two half discs that touch, a disc and a small square."""
    y, x = np.mgrid[:size, :size]
    labels = np.where((y - 15) ** 2 + (x - 15) ** 2 < 100, np.where(x < 15, 3, 7), 0)
    labels[(y - 35) ** 2 + (x - 34) ** 2 < 64] = 4
    labels[36:42, 8:14] = 9
    return labels.astype(np.int32)


@pytest.mark.parametrize("task", INSTANCES, ids=repr)
def test_what_is_learnt_of_labels_gives_the_labels_again(task: Task) -> None:
    labels = touching()
    found = task.read(perfect(task, labels), task.untuned)
    assert found.labels is not None
    assert found.quality is not None
    assert found.labels.shape == labels.shape
    assert found.labels.max() == len(found.quality) == 4
    scores = score_segmentation(labels, found.labels)
    assert scores.f1 == 1.0
    assert (scores.mean_matched_iou or 0) > 0.85
    assert ((found.quality > 0.5) & (found.quality <= 1)).all()


@pytest.mark.parametrize("task", [StarDist(), Flows(), Boundary()], ids=repr)
def test_labels_of_real_nuclei_survive(task: Task, data: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    masks = sorted((data / "dsb2018" / "train" / "masks").glob("*.tif"))[:3]
    for path in masks:
        labels = tifffile.imread(path)[:256, :256].astype(np.int32)
        found = task.read(perfect(task, labels), task.untuned).labels
        assert found is not None
        assert (score_segmentation(labels, found[: labels.shape[0], : labels.shape[1]]).f1 or 0) > 0.95


@pytest.mark.parametrize("background", [0.0, 0.01])
def test_the_loss_of_stardist_is_its_formula(background: float) -> None:
    task = StarDist(grid=1, n_rays=8, distance_weight=0.5, background_weight=background)
    _, wanted = task.prepare(np.zeros((1, 48, 48), np.float32), touching(), RNG)
    target = torch.from_numpy(np.stack([wanted, np.zeros_like(wanted)]))
    output = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    found = task.loss(output, target)
    depth, chance = target[:, 0].double(), torch.sigmoid(output[:, 0].double())
    probability = -(depth * chance.log() + (1 - depth) * (1 - chance).log()).mean()
    error = (10 * output[:, 1:] - target[:, 1:]).abs().mean(1) / target[:, 1:].mean(1).clamp(min=3)
    distance = (depth * error).sum() / depth.sum()
    outside = torch.where(depth > 0, 0, output[:, 1:].abs().mean(1)).mean()
    assert float(found["probability"]) == pytest.approx(float(probability), rel=1e-5)
    assert float(found["distance"]) == pytest.approx(float(distance), rel=1e-5)
    assert float(found["loss"]) == pytest.approx(float(probability + 0.5 * distance + background * outside), rel=1e-5)


@pytest.mark.parametrize("task", [*INSTANCES, Semantic()], ids=repr)
def test_the_loss_is_least_for_the_perfect_output(task: Task) -> None:
    labels = touching() if not isinstance(task, Semantic) else (touching() > 0).astype(np.int32)
    _, target = task.prepare(np.zeros((1, *labels.shape), np.float32), labels, RNG)
    best = torch.from_numpy(perfect(task, labels)[None].astype(np.float32))
    wanted = torch.from_numpy(target[None])
    least = task.loss(best, wanted)
    assert {"loss"} < least.keys()
    worse = task.loss(best + torch.randn(best.shape, generator=torch.Generator().manual_seed(0)), wanted)
    assert float(least["loss"]) < float(worse["loss"])


@pytest.mark.parametrize("task", [*INSTANCES, Semantic()], ids=repr)
def test_an_empty_image_has_no_objects_and_a_finite_loss(task: Task) -> None:
    labels = np.zeros((16, 16), np.int32)
    _, target = task.prepare(np.zeros((1, 16, 16), np.float32), labels, RNG)
    n = 2 if isinstance(task, Semantic) else perfect(task, labels).shape[0]
    output = np.zeros((n, *target.shape[1:]), np.float32)
    assert np.isfinite(float(task.loss(torch.from_numpy(output[None]), torch.from_numpy(target[None]))["loss"]))
    output[0] = 20 if isinstance(task, Boundary | Semantic) else -20
    found = task.read(output, task.untuned)
    assert found.labels is not None
    assert found.labels.max() == 0


@pytest.mark.parametrize("task", [StarDist(n_rays=24, grid=1, width=2, depth=1), Flows(width=2, depth=1)], ids=repr)
def test_volumes(task: Task) -> None:
    z, y, x = np.mgrid[:16, :24, :24]
    labels = ((z - 8) ** 2 + (y - 8) ** 2 + (x - 8) ** 2 < 36).astype(np.int32)
    labels[(z - 7) ** 2 + (y - 17) ** 2 + (x - 16) ** 2 < 25] = 2
    found = task.read(perfect(task, labels), task.untuned).labels
    assert found is not None
    assert score_segmentation(labels, found).f1 == 1.0
    net = task.build(2, 1, 3)
    _, target = task.prepare(np.zeros((2, *labels.shape), np.float32), labels, RNG)
    assert net(torch.zeros(1, 2, *labels.shape)).shape[1:] == target.shape


@pytest.mark.parametrize(
    "task", [StarDist(width=8, depth=2, n_rays=16, last_width=16), Flows(width=8, depth=2), Boundary(width=8, depth=2)],
    ids=lambda task: task.name(),
)  # fmt: skip
def test_a_network_learns_one_image(task: Task) -> None:
    pair = blobs(1, size=48, seed=2)[0]
    labels, image = np.asarray(pair.target), pair.image / 100
    x, target = (torch.from_numpy(a[None]) for a in task.prepare(image, labels, RNG))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = task.build(1, 1, 2)
    optimiser = torch.optim.AdamW(net.parameters(), lr=5e-3)
    for _ in range(120):
        task.step({"network": net}, {"network": optimiser}, (x, target))
    output = net(x)[0].detach().numpy()
    settings = task.tune([output], [labels])
    assert settings.keys() == task.untuned.keys()
    found = task.read(output, settings).labels
    assert found is not None
    assert (score_segmentation(labels, found).f1 or 0) >= 0.8


def test_tuned_thresholds_are_better_than_the_first_ones() -> None:
    task, labels = StarDist(grid=1), touching()
    output = perfect(task, labels)
    chance = 0.45 / (1 + np.exp(-output[0]))  # a network that is never sure of an object
    output[0] = np.log(chance / (1 - chance))
    settings = task.tune([output], [labels])
    assert settings["probability_threshold"] < 0.5
    before, after = (task.read(output, s).labels for s in (task.untuned, settings))
    assert before is not None
    assert after is not None
    ap = [score_segmentation(labels, found).mean_average_precision or 0 for found in (before, after)]
    assert ap[1] >= ap[0]
    assert task.tune([output], [np.zeros_like(labels)]) == dict(task.untuned)


def test_tuning_is_not_lost_in_the_shapes_of_a_network_that_has_hardly_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    task, labels = StarDist(grid=1, n_rays=8), touching()
    everywhere = np.concatenate([np.full((1, 48, 48), 2.0, np.float32), np.ones((8, 48, 48), np.float32)])

    def assembled(*_: object, **__: object) -> None:
        raise AssertionError("shapes of all pixels are told apart")

    monkeypatch.setattr("kinocyte.learning.star_convex.polygons_to_labels", assembled)
    assert task.tune([everywhere], [labels]) == dict(task.untuned)


def test_classes_are_read_with_their_probabilities() -> None:
    classes = np.array([[0, 1], [2, 1]], np.int32)
    found = Semantic().read(perfect(Semantic(), classes), {})
    assert np.array_equal(found.labels, classes)  # type: ignore[arg-type]
    assert found.maps["probability"].sum(axis=0) == pytest.approx(np.ones((2, 2)))
    assert softmax(np.full((2, 1), 1000.0, np.float32)) == pytest.approx(0.5)


def test_an_edge_counts_by_the_size_of_its_object() -> None:
    task, size = StarDist(grid=1, n_rays=8, background_weight=0), 64
    y, x = np.mgrid[:size, :size]
    parts: list[Any] = []
    for radius in (8, 16):
        labels = ((y - 32) ** 2 + (x - 32) ** 2 < radius**2).astype(np.int32)
        output = perfect(task, labels)
        output[1:] *= 1.1
        _, target = task.prepare(np.zeros((1, size, size), np.float32), labels, RNG)
        parts.append(task.loss(torch.from_numpy(output[None]), torch.from_numpy(target[None]))["distance"])
    assert [float(p) for p in parts] == pytest.approx([0.1, 0.1], rel=0.02)


def test_what_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(ParameterError, match="without labels"):
        StarDist().prepare(np.zeros((1, 8, 8), np.float32), None, RNG)
    with pytest.raises(ParameterError, match="without labels"):
        Flows().prepare(np.zeros((1, 8, 8), np.float32), None, RNG)
    with pytest.raises(ParameterError, match="two classes"):
        Semantic().build(1, 1, 2)
    with pytest.raises(ParameterError, match="flat"):
        StarDist(flat=1).build(1, 1, 3)
