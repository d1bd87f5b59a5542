"""Models that other programs made, and packages that mean harm."""

from __future__ import annotations

import io
import json
import pickle  # noqa: TID251 - a hostile file is made here
import shutil
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import ndimage as ndi

torch = pytest.importorskip("torch")

from kinocyte.core.errors import InputFileError, ParameterError, StoreError  # noqa: E402
from kinocyte.learning import zoo  # noqa: E402
from kinocyte.learning.foreign import convert  # noqa: E402
from kinocyte.learning.foreign.operations import run  # noqa: E402
from kinocyte.learning.foreign.packages import model_of  # noqa: E402
from kinocyte.learning.foreign.tasks import Starshape  # noqa: E402
from kinocyte.learning.inference.apply import apply  # noqa: E402
from kinocyte.learning.model import load_image_model  # noqa: E402
from kinocyte.learning.package import read_package  # noqa: E402
from tests.deep_models import blob_finder, saved  # noqa: E402


@pytest.fixture
def nuclei(data: Path) -> Path:
    return data / "bioimageio_unet2d_nuclei_broad"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KINOCYTE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_the_nuclei_network_gives_its_test_output(nuclei: Path, tmp_path: Path, form: str) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    package = read_package(nuclei)
    model = model_of(
        type(package)({**package.rdf, "weights": {form: package.rdf["weights"][form]}}, package.files, "n")
    )
    given, wanted = np.load(nuclei / "test_input.npy"), np.load(nuclei / "test_output.npy")
    assert model.form == form
    np.testing.assert_allclose(apply(model, given[0]).image, wanted[0], atol=1e-4)
    wide = np.concatenate([given[0], given[0][:, :, ::-1]], axis=2)[:, :600]
    in_windows = apply(model, wide).image
    assert in_windows.shape == wide.shape
    assert apply(model, given[0][:, :100, :90]).image.shape == (1, 100, 90)


def test_a_package_that_does_not_give_its_test_output_is_refused(nuclei: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(nuclei, broken)
    for path in (broken, *broken.iterdir()):
        path.chmod(0o755)
    output = np.load(broken / "test_output.npy")
    np.save(broken / "test_output.npy", 1 - output)
    with pytest.raises(InputFileError, match="is not the described one"):
        zoo.load(broken)
    rdf = yaml.safe_load((broken / "bioimageio.yaml").read_text())
    del rdf["outputs"][0]["test_tensor"]["sha256"]
    (broken / "bioimageio.yaml").write_text(yaml.safe_dump(rdf))
    with pytest.raises(InputFileError, match="does not give the test output"):
        zoo.load(broken)


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        ({"id": "scale_linear", "kwargs": {"gain": 2.0, "offset": 1.0}}, lambda x: 2 * x + 1),
        ({"name": "scale_linear", "kwargs": {"gain": [2.0, 3.0], "offset": [0.0, 1.0], "axes": "yx"}},
         lambda x: x * np.array([2, 3])[:, None, None] + np.array([0, 1])[:, None, None]),
        ({"id": "binarize", "kwargs": {"threshold": 0.3}}, lambda x: x > 0.3),
        ({"id": "clip", "kwargs": {"min": 0.1, "max": 0.4}}, lambda x: np.clip(x, 0.1, 0.4)),
        ({"name": "sigmoid"}, lambda x: 1 / (1 + np.exp(-x))),
        ({"id": "softmax", "kwargs": {"axis": "channel"}}, lambda x: np.exp(x) / np.exp(x).sum(0)),
        ({"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "yx"}},
         lambda x: (x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True)),
        ({"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 3.0, "std": 2.0}}, lambda x: (x - 3) / 2),
        ({"id": "scale_range", "kwargs": {"axes": ["y", "x"], "min_percentile": 0, "max_percentile": 100}},
         lambda x: (x - x.min((1, 2), keepdims=True)) / np.ptp(x, axis=(1, 2), keepdims=True)),
    ],
)  # fmt: skip
def test_operations_do_what_the_description_says(operation: dict, wanted: object) -> None:
    image = np.random.default_rng(0).uniform(0, 1, (2, 8, 9)).astype(np.float32)
    np.testing.assert_allclose(run([operation], image, ("channel", "y", "x")), wanted(image), atol=1e-4)


def test_operations_that_are_not_known_are_named() -> None:
    with pytest.raises(InputFileError, match=r"'run_script'.*valid: binarize"):
        run([{"id": "run_script"}], np.zeros((1, 4, 4), np.float32), ("channel", "y", "x"))
    with pytest.raises(InputFileError, match="are not understood"):
        run(
            [{"id": "scale_linear", "kwargs": {"gain": "much"}}], np.zeros((1, 4, 4), np.float32), ("channel", "y", "x")
        )


def keras_files(folder: Path, *, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write a small StarDist model as Keras would, and return its layers in order."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(seed)
    shapes = {
        "conv2d_4": (3, 3, 1, 4), "conv2d_5": (3, 3, 4, 4), "down_level_0_no_0": (3, 3, 4, 4),
        "down_level_0_no_1": (3, 3, 4, 4), "middle_0": (3, 3, 4, 8), "middle_2": (3, 3, 8, 4),
        "up_level_0_no_0": (3, 3, 8, 4), "up_level_0_no_2": (3, 3, 4, 4), "features": (3, 3, 4, 6),
        "prob": (1, 1, 6, 1), "dist": (1, 1, 6, 8),
    }  # fmt: skip
    layers = {
        n: (rng.normal(0, 0.3, s).astype("f4"), rng.normal(0, 0.1, s[-1]).astype("f4")) for n, s in shapes.items()
    }
    folder.mkdir()
    with h5py.File(folder / "weights_best.h5", "w") as file:
        names = ["input", *shapes, "max_0"]
        file.attrs["layer_names"] = [n.encode() for n in names]
        for name in names:
            group = file.create_group(name)
            own = [f"{name}/kernel:0", f"{name}/bias:0"] if name in layers else []
            group.attrs["weight_names"] = np.array([n.encode() for n in own]) if own else np.zeros(0, "S1")
            for inside, array in zip(own, layers.get(name, ()), strict=True):
                group.create_dataset(inside, data=array)
    config = {
        "n_dim": 2, "n_rays": 8, "grid": [2, 2], "backbone": "unet", "n_channel_in": 1, "unet_n_depth": 1,
        "unet_kernel_size": [3, 3], "unet_n_filter_base": 4, "unet_n_conv_per_depth": 2, "unet_pool": [2, 2],
        "unet_activation": "relu", "unet_last_activation": "relu", "unet_batch_norm": False, "unet_prefix": "",
        "net_conv_after_unet": 6,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "thresholds.json").write_text(json.dumps({"prob": 0.43, "nms": 0.3}))
    return layers


def keras_forward(image: np.ndarray, layers: dict) -> np.ndarray:
    """Compute the network as Keras defines its layers, with correlations of scipy; channels last."""

    def conv(x: np.ndarray, name: str, *, relu: bool = True) -> np.ndarray:
        kernel, bias = layers[name]
        out = np.stack([
            sum(ndi.correlate(x[..., i], kernel[..., i, o], mode="constant") for i in range(x.shape[-1])) + bias[o]
            for o in range(kernel.shape[-1])
        ], axis=-1)  # fmt: skip
        return np.maximum(out, 0) if relu else out

    def pool(x: np.ndarray) -> np.ndarray:
        return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max(axis=(1, 3))

    x = pool(conv(conv(image[..., None].astype(float), "conv2d_4"), "conv2d_5"))
    beside = conv(conv(x, "down_level_0_no_0"), "down_level_0_no_1")
    x = conv(conv(pool(beside), "middle_0"), "middle_2")
    x = np.concatenate([x.repeat(2, 0).repeat(2, 1), beside], axis=-1)
    x = conv(conv(conv(x, "up_level_0_no_0"), "up_level_0_no_2"), "features")
    logit, far = conv(x, "prob", relu=False), conv(x, "dist", relu=False)
    return np.concatenate([1 / (1 + np.exp(-logit)), far], axis=-1)


def test_a_keras_model_computes_what_keras_defines(tmp_path: Path) -> None:
    layers = keras_files(tmp_path / "2D_demo")
    assert convert.kind_of(tmp_path / "2D_demo") == "stardist"
    model = convert.converted(tmp_path / "2D_demo", "stardist", name="demo")
    image = np.random.default_rng(1).normal(size=(16, 24)).astype(np.float32)
    with torch.no_grad():
        output = model.network()(torch.from_numpy(image)[None, None])[0].numpy()
    wanted = keras_forward(image, layers)
    np.testing.assert_allclose(1 / (1 + np.exp(-output[0])), wanted[..., 0], atol=1e-5)
    np.testing.assert_allclose(output[1:] * 10, wanted[..., 1:].transpose(2, 0, 1), atol=1e-4)
    assert model.settings == {"probability_threshold": 0.43, "overlap_threshold": 0.3}


def test_hostile_keras_files_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    keras_files(tmp_path / "links")
    keras_files(tmp_path / "other", seed=1)
    with h5py.File(tmp_path / "links" / "weights_best.h5", "a") as file:
        del file["features"]["features"]["kernel:0"]
        file["features"]["features"]["kernel:0"] = h5py.ExternalLink(
            str(tmp_path / "other" / "weights_best.h5"), "/features/features/kernel:0"
        )
    with pytest.raises(InputFileError, match="links 'kernel:0' to another place"):
        convert.converted(tmp_path / "links", "stardist", name="m")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "unet_batch_norm": True}))
    with pytest.raises(InputFileError, match="unet_batch_norm = True"):
        convert.converted(tmp_path / "other", "stardist", name="m")
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "n_rays": 16}))
    with pytest.raises(InputFileError, match="not those of the network"):
        convert.converted(tmp_path / "other", "stardist", name="m")
    (tmp_path / "other" / "weights_best.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputFileError, match="no file of Keras"):
        convert.converted(tmp_path / "other", "stardist", name="m")


def cellpose_state(widths: tuple[int, ...] = (2, 4, 8)) -> dict[str, torch.Tensor]:
    """Return the tensors of a Cellpose network by the names that its files have."""
    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def norm(name: str, n: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(n) + 0.5, torch.randn(n) * 0.1
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.randn(n) * 0.1, torch.rand(n) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(3)

    def conv(name: str, a: int, b: int, size: int, at: int) -> None:
        norm(f"{name}.0", a)
        state[f"{name}.{at}.weight"], state[f"{name}.{at}.bias"] = torch.randn(b, a, size, size) * 0.2, torch.zeros(b)

    for i, (a, b) in enumerate(pairwise(widths)):
        for k in range(4):
            conv(f"downsample.down.res_down_{i}.conv.conv_{k}", b if k else a, b, 3, 2)
        conv(f"downsample.down.res_down_{i}.proj", a, b, 1, 1)
    below = [*widths[1:], widths[-1]]
    for i in range(len(widths) - 1):
        name = f"upsample.up.res_up_{i}"
        conv(f"{name}.conv.conv_0", below[i + 1], below[i], 3, 2)
        for k in (1, 2, 3):
            conv(f"{name}.conv.conv_{k}.conv", below[i], below[i], 3, 2)
            state[f"{name}.conv.conv_{k}.full.weight"] = torch.randn(below[i], below[-1])
            state[f"{name}.conv.conv_{k}.full.bias"] = torch.zeros(below[i])
        conv(f"{name}.proj", below[i + 1], below[i], 1, 1)
    conv("output", widths[1], 3, 1, 2)
    state["diam_mean"], state["diam_labels"] = torch.full((1,), 17.0), torch.full((1,), 20.0)
    return state


def test_cellpose_weights_are_read(tmp_path: Path, models: Path) -> None:
    torch.save(cellpose_state(), tmp_path / "cyto_like")
    assert convert.kind_of(tmp_path / "cyto_like") == "cellpose"
    model = convert.converted(tmp_path / "cyto_like", "cellpose", name="cyto", diameter_um=8.5)
    assert model.pixel_um == (0.5, 0.5)
    assert model.task.widths == (2, 4, 8)
    image = np.random.default_rng(0).integers(0, 900, (1, 33, 50)).astype(np.uint16)
    plain = apply(model, image)
    assert plain.labels.shape == (33, 50)
    assert plain.maps["flow"].shape == (2, 33, 50)
    tiled = apply(model, image, tile_px=16)
    np.testing.assert_array_equal(plain.maps["flow"], tiled.maps["flow"])
    model.save(models / "cyto")
    np.testing.assert_array_equal(apply(load_image_model("cyto"), image).labels, plain.labels)
    with pytest.raises(ParameterError, match="positive diameter"):
        convert.converted(tmp_path / "cyto_like", "cellpose", name="cyto", diameter_um=-1.0)
    with pytest.raises(ParameterError, match="for Cellpose"):
        convert.converted(tmp_path / "cyto_like", "starshape", name="cyto", diameter_um=8.0)


def test_starshape_weights_find_nuclei(data: Path) -> None:
    import tifffile

    from kinocyte.evaluation.segmentation import score_segmentation

    model = convert.converted(data / "starshape_dsb2018_pytorch" / "model_weights.t7", "starshape", name="starshape")
    scores = []
    for path in sorted((data / "dsb2018" / "test" / "images").glob("*.tif"))[2:5]:
        image = tifffile.imread(path)
        truth = tifffile.imread(path.parent.parent / "masks" / path.name).astype(np.int32)
        found = apply(model, image[None])
        assert len(found.quality) == found.labels.max()
        scores.append(score_segmentation(truth, found.labels).f1)
    assert np.mean(scores) > 0.95


@pytest.fixture(scope="module")
def local(data: Path) -> tuple[Starshape, dict[str, np.ndarray], np.ndarray]:
    """Return the task, weights made of the published ones over crops of training images, and those crops."""
    import tifffile

    model = convert.converted(data / "starshape_dsb2018_pytorch" / "model_weights.t7", "starshape", name="theirs")
    images = sorted((data / "dsb2018" / "train" / "images").glob("*.tif"))[:8]
    seen = np.stack([model.normalised(tifffile.imread(p)[None])[:, :128, :128] for p in images])
    task = Starshape(local=True)
    return task, dict(task.adopted(model.task, model.weights, lambda i: seen[i % 2 :: 2])), seen


def test_starshape_without_group_norm_says_nearly_the_same(
    data: Path, local: tuple[Starshape, dict[str, np.ndarray], np.ndarray]
) -> None:
    task, weights, seen = local
    published = convert.converted(
        data / "starshape_dsb2018_pytorch" / "model_weights.t7", "starshape", name="starshape"
    )
    ours = published.replace(task=task, weights=weights).network()
    assert not any(isinstance(m, torch.nn.GroupNorm) for m in ours.modules())
    with torch.no_grad():
        told, wanted = ours(torch.from_numpy(seen)), published.network()(torch.from_numpy(seen))
    inside = wanted[:, 0] > 0
    assert float((torch.sigmoid(told[:, 0]) - torch.sigmoid(wanted[:, 0])).abs().mean()) < 0.03
    off = (told[:, 1:] - wanted[:, 1:]).abs().mean(1)[inside] / wanted[:, 1:].mean(1)[inside]
    assert float(off.median()) < 0.15
    again = task.adopted(task, weights, lambda _: seen)
    assert again is weights


def test_a_coarser_grid_of_starshape_is_the_finer_one_at_fewer_pixels(
    local: tuple[Starshape, dict[str, np.ndarray], np.ndarray],
) -> None:
    task, weights, seen = local
    said = {}
    for grid in (1, 2, 4):
        network = task.model_copy(update={"grid": grid}).build(1, 1, 2)
        network.load_state_dict({n: torch.from_numpy(a) for n, a in weights.items()})
        with torch.no_grad():
            said[grid] = network(torch.from_numpy(seen[:2]))
    for grid in (2, 4):
        torch.testing.assert_close(said[grid], said[1][..., ::grid, ::grid], rtol=1e-4, atol=1e-4)


def test_starshape_without_group_norm_sees_no_farther_than_it_says(
    local: tuple[Starshape, dict[str, np.ndarray], np.ndarray],
) -> None:
    task, weights, _ = local
    network = task.build(1, 1, 2)
    network.load_state_dict({n: torch.from_numpy(a) for n, a in weights.items()})
    reach, farthest = task.reach(2)[0], 0
    for place in range(88, 96):
        image = torch.rand(1, 1, 184, 24, generator=torch.Generator().manual_seed(1), requires_grad=True)
        network(image)[0, :, place].sum().backward()
        rows = torch.nonzero(image.grad[0, 0].abs().sum(1))[:, 0]
        farthest = max(farthest, place - int(rows.min()), int(rows.max()) - place)
    assert farthest <= reach < 2 * farthest


class _Shout:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this must never run",))


def test_pickles_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(_Shout()))
    torch.save({"w": _Shout()}, tmp_path / "evil.pth")
    torch.save({"w": torch.tensor([np.nan])}, tmp_path / "nan.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, why in (("evil.pt", "more than numbers"), ("evil.pth", "more than numbers"), ("nan.pth", "no numbers"),
                      ("list.pth", "no state dict")):  # fmt: skip
        with pytest.raises(InputFileError, match=why):
            convert.kind_of(tmp_path / name)
    assert "never run" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "C:\\out.txt"])
def test_archives_that_lead_out_are_refused(tmp_path: Path, models: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "slip.zip", "w") as archive:
        archive.writestr("rdf.yaml", "type: model\n")
        archive.writestr(name, "x")
    with pytest.raises(InputFileError, match="leads out of it"):
        zoo.install(tmp_path / "slip.zip")
    assert not models.exists()


def test_bombs_and_links_are_refused(tmp_path: Path, models: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rdf.yaml", "type: model\n")
        archive.writestr("zeros", bytes(20_000_000))
    with pytest.raises(InputFileError, match="far more than its size"):
        zoo.install(tmp_path / "bomb.zip")
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "rdf.yaml").write_text("type: model\n")
    (folder / "weights.pt").symlink_to("/etc/hostname")
    with pytest.raises(InputFileError, match="holds the link"):
        zoo.install(folder)


def test_packages_with_code_or_odd_channels_are_refused(nuclei: Path) -> None:
    package = read_package(nuclei)
    Package = type(package)
    only = {"pytorch_state_dict": package.rdf["weights"]["pytorch_state_dict"]}
    with pytest.raises(InputFileError, match="need their code"):
        model_of(Package({**package.rdf, "weights": only}, package.files, "p"))
    axes = package.rdf["inputs"][0]["axes"]
    many = [{**a, "channel_names": [f"c{i}" for i in range(3)]} if a["type"] == "channel" else a for a in axes]
    with pytest.raises(InputFileError, match=r"1 channels where 3|has the shape"):
        model_of(Package({**package.rdf, "inputs": [{**package.rdf["inputs"][0], "axes": many}]}, package.files, "p"))
    with pytest.raises(InputFileError, match="has 2 inputs"):
        model_of(Package({**package.rdf, "inputs": package.rdf["inputs"] * 2}, package.files, "p"))
    with pytest.raises(InputFileError, match="not understood"):
        model_of(Package({**package.rdf, "inputs": "none"}, package.files, "p"))
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Shout()], dtype=object), allow_pickle=True)
    files = {**package.files, "test_input.npy": buffer.getvalue()}
    entry = {**package.rdf["inputs"][0], "test_tensor": {"source": "test_input.npy"}}
    with pytest.raises(InputFileError, match="array of numbers"):
        model_of(Package({**package.rdf, "inputs": [entry]}, files, "p"))


def test_the_zoo_keeps_what_is_installed(tmp_path: Path, models: Path) -> None:
    source = saved(blob_finder(), tmp_path / "blobs.zip")
    place = zoo.install(source)
    assert place == models / "blobs"
    assert zoo.installed() == {"blobs": place}
    assert zoo.find("blobs") == place
    assert load_image_model("blobs") is load_image_model("blobs")
    with pytest.raises(StoreError, match="installed already"):
        zoo.install(source)
    assert zoo.install(source, "again").name == "again"
    with pytest.raises(ParameterError, match="cannot be called"):
        zoo.install(source, "../out")
    assert zoo.remove("blobs") == place
    with pytest.raises(InputFileError, match=r"No model 'blobs'.*valid: again"):
        zoo.remove("blobs")
    assert list(models.iterdir()) == [models / "again"]
