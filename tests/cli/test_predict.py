"""`kinocyte predict` on plain files; torch is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

torch = pytest.importorskip("torch")

from kinocyte.cli import run  # noqa: E402
from kinocyte.learning.data.normalisation import Normalisation  # noqa: E402
from kinocyte.learning.inference.apply import apply  # noqa: E402
from kinocyte.learning.model import ImageModel, InputChannel  # noqa: E402
from kinocyte.learning.tasks.care import Care  # noqa: E402
from kinocyte.learning.tasks.frame_interpolation import FrameInterpolation  # noqa: E402
from kinocyte.learning.tasks.super_resolution import SuperResolution  # noqa: E402
from tests.deep_models import blob_finder, saved, unchanging  # noqa: E402

SPOTS = [(14, 15), (40, 20), (30, 50)]


def movie(n: int = 2) -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    frames = np.random.default_rng(0).normal(100, 1, (n, 64, 64))
    for cy, cx in SPOTS:
        frames += 700 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18)
    return frames.astype(np.uint16)


def written(path: Path, pixels: np.ndarray, axes: str = "TYX") -> Path:
    tifffile.imwrite(
        path, pixels, ome=True, metadata={"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm",
                                          "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"},
    )  # fmt: skip
    return path


def pixel_um(path: Path) -> float:
    with tifffile.TiffFile(path) as file:
        return float(tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]["PhysicalSizeX"])


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KINOCYTE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_objects_of_many_files_and_a_bad_one(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(blob_finder(), models / "blobs")
    folder = tmp_path / "in"
    folder.mkdir()
    written(folder / "a.ome.tif", movie())
    (folder / "b.tif").write_bytes(b"no image")
    written(folder / "c.ome.tif", movie(1))
    assert run(["predict", "blobs", str(folder), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "b.tif" in said.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_labels.tif", "c_labels.tif"]
    labels = tifffile.imread(tmp_path / "out" / "a_labels.tif")
    assert labels.dtype == np.uint16
    assert labels.shape == (2, 64, 64)
    assert [int(f.max()) for f in labels] == [3, 3]
    assert pixel_um(tmp_path / "out" / "a_labels.tif") == 0.5
    before = (tmp_path / "out" / "a_labels.tif").read_bytes()
    assert run(["predict", "blobs", str(folder / "a.ome.tif"), "--out", str(tmp_path / "out")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "out" / "a_labels.tif").read_bytes() == before


def test_restored_images_keep_bit_depth_and_pixel_size(tmp_path: Path) -> None:
    saved(unchanging(), tmp_path / "same")
    pixels = movie()
    source = written(tmp_path / "a.ome.tif", pixels)
    assert run(["predict", str(tmp_path / "same"), str(source), "--out", str(tmp_path / "out"), "--tile-px", "32"]) == 0
    target = tmp_path / "out" / "a_restored.tif"
    restored = tifffile.imread(target)
    assert restored.dtype == np.uint16
    assert np.abs(restored.astype(int) - pixels).max() <= 1
    assert pixel_um(target) == 0.5
    tifffile.imwrite(tmp_path / "half.tif", (pixels[0] / 1000).astype(np.float16))  # OME-TIFF holds no such pixels
    assert run(["predict", str(tmp_path / "same"), str(tmp_path / "half.tif"), "--out", str(tmp_path / "out")]) == 0
    assert tifffile.imread(tmp_path / "out" / "half_restored.tif").dtype == np.float32


def test_finer_pixels_and_frames_between(tmp_path: Path) -> None:
    for task, n in ((SuperResolution(width=2, depth=1), 1), (FrameInterpolation(width=2, depth=1), 2)):
        weights = {k: t.numpy() for k, t in task.build(n, 1, 2).state_dict().items()}
        inputs = tuple(InputChannel(name=f"c{i}") for i in range(n))
        saved(ImageModel("m", task, inputs, (InputChannel(name="out"),), "yx", None, weights), tmp_path / task.name())
    source = written(tmp_path / "a.ome.tif", movie(3))
    assert run(["predict", str(tmp_path / "super_resolution"), str(source), "--out", str(tmp_path / "fine")]) == 0
    assert tifffile.imread(tmp_path / "fine" / "a_restored.tif").shape == (3, 128, 128)
    assert pixel_um(tmp_path / "fine" / "a_restored.tif") == 0.25
    assert run(["predict", str(tmp_path / "frame_interpolation"), str(source), "--out", str(tmp_path / "more")]) == 0
    more = tifffile.imread(tmp_path / "more" / "a_restored.tif")
    assert more.shape == (5, 64, 64)
    np.testing.assert_array_equal(more[::2], movie(3))


def test_how_far_pixels_may_be_off_is_written_in_grey_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Care(width=2, depth=1, probabilistic=True)
    weights = {k: t.numpy() for k, t in task.build(1, 1, 2).state_dict().items()}
    fixed = InputChannel(name="c", normalisation=Normalisation(method="absolute", low=0.0, high=1000.0))
    model = ImageModel("m", task, (fixed,), (fixed,), "yx", None, weights)
    saved(model, tmp_path / "care")
    source = written(tmp_path / "a.ome.tif", movie(2))
    words = [str(source), "--out", str(tmp_path / "out"), "--uncertainty"]
    assert run(["predict", str(tmp_path / "care"), *words]) == 0
    found = tifffile.imread(tmp_path / "out" / "a_uncertainty.tif")
    assert found.dtype == np.float32
    said = apply(model, movie(2)[:1]).maps["uncertainty"]
    np.testing.assert_allclose(found[0], 1000 * said[0], rtol=1e-5)
    assert tifffile.imread(tmp_path / "out" / "a_restored.tif").dtype == np.uint16
    saved(unchanging(), tmp_path / "same")
    assert run(["predict", str(tmp_path / "same"), *words]) == 2
    assert "tells no uncertainty" in capsys.readouterr().err


def test_channels_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(blob_finder(), tmp_path / "blobs")
    both = np.stack([movie(1)[0] * 0, movie(1)[0]])
    source = written(tmp_path / "a.ome.tif", both, "CYX")
    out = ["--out", str(tmp_path / "out")]
    assert run(["predict", str(tmp_path / "blobs"), str(source), *out]) == 1
    assert "--channel" in capsys.readouterr().err
    names = ["--channels", "phase", "--channels", "hoechst"]
    assert run(["predict", str(tmp_path / "blobs"), str(source), "--channel", "hoechst", *names, *out]) == 0
    assert tifffile.imread(tmp_path / "out" / "a_labels.tif").max() == 3


def test_channels_by_number_and_without_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = {k: t.numpy() for k, t in Care(width=2, depth=1).build(2, 2, 2).state_dict().items()}
    inputs = tuple(InputChannel(name=f"channel_{i}") for i in (1, 2))
    targets = tuple(InputChannel(name=f"target {i}") for i in (1, 2))
    saved(ImageModel("m", Care(width=2, depth=1), inputs, targets, "yx", None, weights), tmp_path / "two")
    saved(blob_finder(), tmp_path / "blobs")
    both = written(tmp_path / "two of them #1.ome.tif", np.stack([movie(1)[0] * 0, movie(1)[0]]), "CYX")
    one = written(tmp_path / "one.ome.tif", movie(1))
    out = ["--out", str(tmp_path / "out")]
    assert run(["predict", str(tmp_path / "blobs"), str(both), "--channel", "2", *out]) == 0
    assert tifffile.imread(tmp_path / "out" / "two of them #1_labels.tif").max() == 3
    names = ["--channels", "phase", "--channels", "hoechst"]
    assert run(["predict", str(tmp_path / "two"), str(both), *names, *out]) == 0  # names of the model are numbers
    with tifffile.TiffFile(tmp_path / "out" / "two of them #1_restored.tif") as file:
        described = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]["Channel"]
    assert [c["Name"] for c in described] == ["phase", "hoechst"]
    capsys.readouterr()
    assert run(["predict", str(tmp_path / "two"), str(one), *out]) == 1
    assert "it has 1 channel(s) (channel_1); the model reads 2 together" in capsys.readouterr().err


def test_what_cannot_be_done_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(blob_finder(), tmp_path / "blobs")
    source = str(written(tmp_path / "a.ome.tif", movie(1)))
    out = ["--out", str(tmp_path / "out")]
    assert run(["predict", "no-model", source, *out]) == 2
    assert "There is no model 'no-model'" in capsys.readouterr().err
    assert run(["predict", str(tmp_path / "blobs"), *out]) == 2
    assert "at least one image" in capsys.readouterr().err
    assert run(["predict", str(tmp_path / "blobs"), source, "--probability", "7", *out]) == 2
    assert "probability" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_channels_without_names_are_those_of_the_training(tmp_path: Path) -> None:
    from kinocyte.pipeline.plain.movies import FileOptions, opened
    from kinocyte.pipeline.training.file import parse_image_training

    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", movie(3), metadata={"axes": "CYX"}, photometric="minisblack")
    tifffile.imwrite(tmp_path / "masks" / "a.tif", (movie(1)[0] > 300).astype(np.uint8))
    table = {"task": {"method": "boundary"}, "data": {"inputs": "images", "targets": "masks"}}
    lesson, _ = parse_image_training(table, "train.toml").lesson(tmp_path)
    with opened([str(tmp_path / "images" / "a.tif")], FileOptions()) as movies:
        assert tuple(c.name for c in lesson.inputs) == next(iter(movies)).channels
