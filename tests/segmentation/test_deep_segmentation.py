"""Segmentation and restoration by trained networks, alone and in a pipeline; torch is needed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import kinocyte  # noqa: E402
from kinocyte import Scale  # noqa: E402
from kinocyte.core.errors import CalibrationError, InputFileError, MissingExtraError, ParameterError  # noqa: E402
from kinocyte.experiment.experiment import Experiment  # noqa: E402
from kinocyte.learning.model import ImageModel, InputChannel  # noqa: E402
from kinocyte.learning.tasks.flows import Flows as FlowTask  # noqa: E402
from kinocyte.pipeline.parse import parse_pipeline  # noqa: E402
from kinocyte.pipeline.run import run  # noqa: E402
from kinocyte.restoration.chain import fit_chain  # noqa: E402
from kinocyte.restoration.deep import Deep  # noqa: E402
from kinocyte.segmentation.flows import Flows  # noqa: E402
from kinocyte.segmentation.semantic import Semantic  # noqa: E402
from kinocyte.segmentation.stardist import StarDist  # noqa: E402
from tests.deep_models import blob_finder, saved, unchanging  # noqa: E402

SCALE = Scale.isotropic(0.5, 1.0)
SPOTS = [(14, 15), (40, 20), (30, 50)]


def frame(*, size: int = 64, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    image = np.random.default_rng(seed).normal(100, noise, (size, size))
    for i, (cy, cx) in enumerate(SPOTS):
        image += (600 + 100 * i) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18)
    return image.astype(np.uint16)


@pytest.fixture
def blob_model(tmp_path: Path) -> Path:
    return saved(blob_finder(), tmp_path / "blobs")


def test_bright_spots_become_objects_with_a_quality(blob_model: Path) -> None:
    method = StarDist(model=str(blob_model))
    labels, quality = method.segment_with_quality({"dna": frame()}, SCALE)
    assert method.channels == ("dna",)
    assert labels.dtype == np.uint32
    assert labels.max() == len(quality) == 3
    found = [labels[y, x] for y, x in SPOTS]
    assert sorted(found) == [1, 2, 3]
    assert quality[found[2] - 1] == quality.max()  # the brightest
    assert (labels == found[0]).sum() == pytest.approx(np.pi * 25, rel=0.15)
    np.testing.assert_array_equal(method.segment(frame(), SCALE), labels)


def test_what_is_not_wanted_is_left_out_with_its_quality(blob_model: Path) -> None:
    every, quality = StarDist(model=str(blob_model)).segment_with_quality(frame(), SCALE)
    best, kept = StarDist(model=str(blob_model), min_quality=float(quality.max())).segment_with_quality(frame(), SCALE)
    assert kept.tolist() == [quality.max()]
    assert best.max() == 1
    none, nothing = StarDist(model=str(blob_model), min_area_um2=1000).segment_with_quality(frame(), SCALE)
    assert not none.any()
    assert nothing.size == 0
    inner, left = StarDist(model=str(blob_model), exclude_border_um=4.6).segment_with_quality(frame(), SCALE)
    assert inner.max() == len(left) == 2
    np.testing.assert_array_equal(np.sort(left), np.sort(quality[np.unique(every[inner > 0]) - 1]))
    strict = StarDist(model=str(blob_model), probability=0.999).segment(frame(), SCALE)
    assert not strict.any()


def test_a_stack_is_read_plane_by_plane_by_a_model_for_planes(blob_model: Path) -> None:
    stack = np.stack([frame(seed=s) for s in range(3)])
    scale = Scale.isotropic(0.5, 1.0, z_um=1.0)
    labels, quality = StarDist(model=str(blob_model)).segment_with_quality({"dna": stack}, scale)
    assert labels.shape == stack.shape
    assert labels.max() == len(quality) == 3
    assert 0.5 < quality.min() <= quality.max() <= 1


def test_what_was_not_taken_holds_no_objects(blob_model: Path) -> None:
    method, nothing = StarDist(model=str(blob_model)), np.full((64, 64), np.nan)
    labels, quality = method.segment_with_quality(nothing, SCALE)
    assert labels.shape == (64, 64)
    assert not labels.any()
    assert quality.size == 0
    stack = np.stack([frame(), nothing]).astype(np.float32)
    planes = method.segment(stack, Scale.isotropic(0.5, 1.0, z_um=1.0))
    assert planes[0].max() == 3
    assert not planes[1].any()


def test_the_model_and_the_data_must_fit(blob_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="names 2 channel"):
        StarDist(model=str(blob_model), channel=("dna", "rna")).segment(frame(), SCALE)
    with pytest.raises(ParameterError, match="names 2 channel"):  # before any frame is read
        StarDist(model=str(blob_model), channel=("dna", "rna")).ready(SCALE, 2)
    with pytest.raises(ParameterError, match="no channel 'rna'"):
        StarDist(model=str(blob_model), channel="rna").segment({"dna": frame()}, SCALE)
    with pytest.raises(ParameterError, match="is for stardist"):
        Semantic(model=str(blob_model)).segment(frame(), SCALE)
    with pytest.raises(InputFileError, match=r"no model 'nuclei-flu'.*valid"):
        _ = StarDist(model="nuclei-flu").channels
    sized = saved(blob_finder(pixel_um=(0.02, 0.02)), tmp_path / "sized")
    with pytest.raises(CalibrationError, match="trained at"):
        StarDist(model=str(sized)).ready(SCALE, 2)
    same = saved(unchanging(), tmp_path / "same")
    with pytest.raises(ParameterError, match="is for care"):
        StarDist(model=str(same)).ready(SCALE, 2)
    with pytest.raises(ParameterError, match="finds objects"):
        Deep(model=str(blob_model)).ready(SCALE, 2)


def test_without_torch_one_sentence_says_what_to_install(blob_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'kinocyte\[deep\]'"):
        StarDist(model=str(blob_model)).ready(SCALE, 2)
    with pytest.raises(MissingExtraError, match="PyTorch"):
        Deep(model=str(blob_model)).ready(SCALE, 2)


def test_restoration_keeps_grey_values_and_type(tmp_path: Path) -> None:
    model = saved(unchanging(), tmp_path / "same")
    movie = np.stack([frame(seed=s) for s in range(3)])
    chain = fit_chain([Deep(model=str(model))], movie, SCALE)
    restored = chain.restore(movie[1], 1)
    assert restored.dtype == np.uint16
    assert np.abs(restored.astype(int) - movie[1]).max() <= 1
    stacks = np.stack([movie, movie])
    scale = Scale.isotropic(0.5, 1.0, z_um=2.0)
    volume = fit_chain([Deep(model=str(model))], stacks, scale).restore(stacks[0], 0)
    assert np.abs(volume.astype(int) - stacks[0]).max() <= 1


def test_probabilities_of_another_program_become_objects(data: Path) -> None:
    pytest.importorskip("onnxruntime")
    folder = data / "bioimageio_unet2d_nuclei_broad"
    image = np.load(folder / "test_input.npy")[0, 0]
    method = Semantic(model=str(folder), min_area_um2=20)
    labels, quality = method.segment_with_quality({"raw_intensity": image}, Scale.isotropic(1.0))
    assert method.channels == ("raw_intensity",)
    assert labels.max() == len(quality) > 5
    assert quality.min() > 0.5
    with pytest.raises(ParameterError, match=r"no class 'nucleus'.*probability"):
        Semantic(model=str(folder), object_class="nucleus").segment(image, Scale.isotropic(1.0))


def test_flows_of_a_network_become_objects(tmp_path: Path) -> None:
    task = FlowTask(width=1, depth=0)
    weights = {n: np.zeros(t.shape, np.float32) for n, t in task.build(1, 1, 2).state_dict().items()}
    weights["down.0.first.weight"][0, 0, 1, 1] = weights["down.0.second.weight"][0, 0, 1, 1] = 1.0
    weights["out.weight"][0] = 20.0
    weights["out.bias"][0] = -6.0
    model = ImageModel(
        "flat", task, (InputChannel(name="dna"),), (InputChannel(name="labels"),), "yx", None, weights
    )  # fmt: skip
    place = saved(model, tmp_path / "flat")
    labels, quality = Flows(model=str(place)).segment_with_quality(frame(), SCALE)
    # vectors of length 0: nobody walks, no crowd, no object
    assert not labels.any()
    assert quality.size == 0
    with pytest.raises(ParameterError, match="is for flows"):
        StarDist(model=str(place)).segment(frame(), SCALE)


PIPELINE = """\
name = "deep"
seed = 1
[restoration.denoise]
method = "deep"
model = "{same}"
channel = "dna"
[corrected]
[population.nuclei.segmentation]
method = "stardist"
model = "{blobs}"
channel = "dna"
[population.nuclei.tracking]
method = "lap"
max_distance_um = 6.0
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    made = kinocyte.create(tmp_path / "e.zarr")
    writer = made.new_position(
        well="A1", field="1", shape=(2, 1, 1, 64, 64), dtype=np.dtype(np.uint16), channels=["dna"], scale=SCALE
    )
    for t in range(2):
        writer.write(t, frame(seed=t)[None])
    writer.finish()
    return kinocyte.open(made.url)


def test_a_pipeline_runs_and_sees_that_a_model_was_trained_anew(
    experiment: Experiment, tmp_path: Path, blob_model: Path
) -> None:
    same = saved(unchanging(), tmp_path / "same")
    pipeline = parse_pipeline(PIPELINE.format(same=same, blobs=blob_model))
    first = run(pipeline, experiment)
    assert first.ok, [o.message for o in first.failed]
    position = kinocyte.open(experiment.url).positions["A1/1"]
    objects = position.objects("nuclei")
    assert objects.height == 6
    assert objects["quality"].is_between(0.5, 1).all()
    assert not [o for o in run(pipeline, experiment).outcomes if o.status == "done"]
    shutil.rmtree(blob_model)
    saved(blob_finder(radius_px=7.0), blob_model)
    retrained = run(pipeline, experiment)
    assert any(o.task.endswith("nuclei.segmentation") for o in retrained.outcomes if o.status == "done")
    labels = kinocyte.open(experiment.url).positions["A1/1"].labels("nuclei")
    assert (np.asarray(labels.frame(0)) == 1).sum() == pytest.approx(np.pi * 49, rel=0.15)


def test_a_wrong_model_is_refused_before_anything_runs(experiment: Experiment, tmp_path: Path) -> None:
    same = saved(unchanging(), tmp_path / "same")
    with pytest.raises(ParameterError, match="is for care"):
        run(parse_pipeline(PIPELINE.format(same=same, blobs=same)), experiment)
    assert not kinocyte.open(experiment.url).positions["A1/1"].populations
