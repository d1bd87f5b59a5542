"""Models for images as BioImage.IO packages: written, read, refused."""

from __future__ import annotations

import gc
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kinocyte.core.errors import InputFileError, ParameterError, StoreError  # noqa: E402 - torch may be missing
from kinocyte.learning.data.normalisation import Normalisation  # noqa: E402
from kinocyte.learning.image_package import describe, shipped  # noqa: E402
from kinocyte.learning.model import ImageModel, InputChannel, load_image_model  # noqa: E402
from kinocyte.learning.tasks.base import Task  # noqa: E402
from kinocyte.learning.tasks.semantic import Semantic  # noqa: E402
from kinocyte.learning.tasks.stardist import StarDist  # noqa: E402

STARDIST = StarDist(width=2, depth=1, n_rays=4, last_width=4)


def model(task: Task = STARDIST, *, ndim: int = 2, inputs: int = 1, targets: int = 1, **changes: Any) -> ImageModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = task.build(inputs, targets, ndim)
    channels = tuple(InputChannel(name=f"dye {i + 1}") for i in range(inputs))
    made = ImageModel(
        "tiny nuclei", task, channels, tuple(InputChannel(name=f"class {i}") for i in range(targets)),
        "yx" if ndim == 2 else "zyx", None, {n: t.numpy() for n, t in network.state_dict().items()},
        dict(task.untuned), {"description": "A test.", "authors": ["A. Person"], "cite": ["Web, https://example.org"]},
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "model"
    model().save(folder)
    return folder


CASES: list[dict[str, Any]] = [
    {},
    {"task": Semantic(width=2, depth=1), "targets": 3, "inputs": 2, "pixel_um": (0.5, 0.5)},
    {
        "task": StarDist(width=2, depth=1, n_rays=4, last_width=4, grid=1, flat=1),
        "ndim": 3,
        "pixel_um": (2.0, 0.5, 0.5),
    },
]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # bioimageio.spec leaves files open
@pytest.mark.parametrize("case", CASES, ids=["plane", "classes", "volume"])
def test_the_package_is_valid_and_comes_back(case: dict[str, Any], tmp_path: Path) -> None:
    spec = pytest.importorskip("bioimageio.spec")
    made = model(**case)
    made.save(tmp_path / "model")
    back = load_image_model(tmp_path / "model")
    for name in ("name", "task", "inputs", "targets", "axes", "pixel_um", "settings", "card"):
        assert getattr(back, name) == getattr(made, name), name
    assert all(np.array_equal(back.weights[n], a) for n, a in made.weights.items())
    summary = spec.load_description(tmp_path / "model" / "rdf.yaml").validation_summary
    gc.collect()  # what was left open is closed here, and not in the middle of another test
    assert summary.status in {"passed", "valid-format"}, summary.format()


def test_an_archive_is_read_like_a_folder(package: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "model"), "zip", package))
    assert load_image_model(archive).settings == load_image_model(package).settings


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_other_forms_compute_the_same(package: Path) -> None:
    session = pytest.importorskip("onnxruntime").InferenceSession(str(package / "weights.onnx"))
    made = load_image_model(package)
    scripted = torch.jit.load(package / "weights.pt")
    for size in ((32, 32), (64, 96)):
        x = np.random.default_rng(0).random((2, 1, *size), np.float32)
        with torch.no_grad():
            wanted = made.network()(torch.from_numpy(x)).numpy()
            assert np.allclose(scripted(torch.from_numpy(x)).numpy(), wanted, atol=1e-5)
        assert np.allclose(session.run(None, {"input": x})[0], wanted, atol=1e-5)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_bioimageio_computes_the_test_output(package: Path) -> None:
    core = pytest.importorskip("bioimageio.core")
    summary = core.test_model(package / "rdf.yaml", weight_format="torchscript")
    gc.collect()
    assert summary.status == "passed", summary.format()


def test_the_page_says_what_a_person_must_know(package: Path) -> None:
    page = (package / "README.md").read_text()
    for words in (
        "A test.",
        "## Validation",
        "not validated",
        "percentiles 1 and 99.8",
        "10.1007/978-3-030-00934-2_30",
    ):
        assert words in page


def test_a_package_that_was_changed_is_refused(package: Path, tmp_path: Path) -> None:
    def changed(name: str, content: bytes) -> Path:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        shutil.copytree(package, folder)
        (folder / name).write_bytes(content)
        return folder

    rdf = (package / "rdf.yaml").read_text()
    with pytest.raises(InputFileError, match="not the described one"):
        load_image_model(changed("weights.safetensors", b"x" * 100))
    with pytest.raises(InputFileError, match="not the described one"):
        load_image_model(changed("test_output.npy", b"x"))
    for old, new, words in [
        ("kind: image", "kind: joint", "no model for images"),
        ("method: stardist", "method: stardust", "did you mean"),
        ("n_rays: 4", "n_rays: 5", "not those of the network"),
        ("n_rays: 4", "n_rays: 100000", "no model for images"),
        ("axes: yx", "axes: tyx", "no model for images"),
        ("\n        low: ", "\n        low: .nan # ", r"low = nan is refused \([^\n]*\) in its rdf.yaml.$"),
    ]:
        assert old in rdf
        with pytest.raises(InputFileError, match=words):
            load_image_model(changed("rdf.yaml", rdf.replace(old, new).encode()))


def test_weights_that_give_another_output_are_refused(package: Path, tmp_path: Path) -> None:
    made = load_image_model(package)
    rdf, files = describe(made, formats=())
    other, more = describe(made.replace(weights={n: a + 0.1 for n, a in made.weights.items()}), formats=())
    del rdf
    from kinocyte.learning.package import write_package

    other["outputs"][0]["test_tensor"] = {"source": "test_output.npy"}
    write_package(tmp_path / "model", other, {**more, "test_output.npy": files["test_output.npy"]})
    with pytest.raises(InputFileError, match="does not give the test output"):
        load_image_model(tmp_path / "model")
    made.replace(weights={n: a * np.float32(np.nan) for n, a in made.weights.items()})


def test_nothing_is_overwritten_and_nothing_is_guessed(package: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="exists already"):
        model().save(package)
    with pytest.raises(InputFileError, match="There is no model "):
        load_image_model(tmp_path / "nothing")
    run = tmp_path / "run"
    shutil.copytree(package, run / "model")
    assert load_image_model(run).name == "tiny nuclei"  # the folder of a finished training


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"reads 1 channels \(dye 1\)"):
        model().normalised(np.zeros((2, 8, 8)))
    with pytest.raises(ParameterError, match="reads 1 channels"):
        model().normalised(np.zeros((8, 8)))
    wrong = model().replace(weights={"a": np.zeros(3, np.float32)})
    with pytest.raises(ParameterError, match="not those of the network"):
        wrong.network()


@pytest.mark.parametrize(
    ("scales", "wanted"),
    [
        ([Normalisation()] * 2, "scale_range"),
        ([Normalisation(method="absolute", low=100, high=200)] * 2, "scale_linear"),
        ([Normalisation(), Normalisation(method="none")], None),
    ],
)
def test_normalisation_is_said_in_the_words_of_bioimageio(scales: list[Normalisation], wanted: str | None) -> None:
    made = model(inputs=2)
    channels = tuple(InputChannel(name=c.name, normalisation=n) for c, n in zip(made.inputs, scales, strict=True))
    rdf, _ = describe(made.replace(inputs=channels), formats=())
    steps = rdf["inputs"][0]["preprocessing"]
    assert [s["id"] for s in steps] == ([] if wanted is None else [wanted])
    if wanted == "scale_linear":
        assert steps[0]["kwargs"]["gain"] == [0.01, 0.01]
        assert steps[0]["kwargs"]["offset"] == [-1.0, -1.0]


@pytest.mark.parametrize("name", sorted(shipped()))
def test_models_that_come_with_kinocyte_are_whole(name: str) -> None:
    made = load_image_model(name)
    folder = shipped()[name]
    assert sum(p.stat().st_size for p in folder.iterdir()) < 20_000_000
    assert made.card["license"]
    assert made.card["training"]["settings"]["seed"] >= 0
    page = (folder / "README.md").read_text()
    assert "## Validation" in page
    assert "not validated" not in page
