"""The BioImage.IO description of a model for images, the files that go with it, and the way back."""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from kinocyte.core import registry
from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.core.version import __version__
from kinocyte.learning._image_card import distinct, readme
from kinocyte.learning.devices import need_torch
from kinocyte.learning.model import ImageModel, InputChannel
from kinocyte.learning.package import Package, described, from_npy, npy
from kinocyte.learning.tensors import read_tensors, write_tensors

Singles = NDArray[np.float32]
Format = Literal["torchscript", "onnx"]

#: least length of a test image along each axis
_TEST_PX = {2: (64, 64), 3: (16, 32, 32)}
#: a package that names more channels, or comes with a larger test image, is not believed
_MOST_CHANNELS, _MOST_TEST_VALUES = 256, 50_000_000
_OPSET = 18
_TOLERANCE = 1e-3


def network_of(task: Mapping[str, Any], n_inputs: int, n_targets: int, ndim: int) -> Any:
    """Return the network of a task described by plain values: for other programs that read our state dict."""
    return registry.parse("task", task).build(n_inputs, n_targets, ndim)  # type: ignore[attr-defined]  # a task


def describe(
    model: ImageModel, formats: Sequence[Format] = ("torchscript", "onnx")
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return ``rdf.yaml`` (BioImage.IO model 0.5) as a table, and the other files by name.

    Parameters
    ----------
    model : ImageModel
        What is described.
    formats : sequence of {"torchscript", "onnx"}
        Forms of the network beside its weights, for programs without Kinocyte. ONNX needs the package ``onnx``.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    """
    given, said = _test_tensors(model)
    files = {
        "weights.safetensors": write_tensors(model.weights),
        "test_input.npy": npy(given),
        "test_output.npy": npy(said),
    }
    exported, left_out = _exported(model, formats)
    files |= exported
    files["README.md"] = readme(model, left_out).encode()
    card = model.card
    rdf = {
        "format_version": "0.5.4",
        "type": "model",
        "name": _title(model.name),
        "description": str(card.get("description") or f"A model for {model.task.name()}.")[:1000],
        "authors": [{"name": a} for a in card.get("authors", ["unknown"])],
        "license": card.get("license", "BSD-3-Clause"),
        "tags": [model.task.name(), f"{model.ndim}d", "kinocyte", "fluorescence-light-microscopy"],
        "cite": _cited([*card.get("cite", ()), *model.task.references]),
        "documentation": {"source": "README.md"},
        "timestamp": card.get("timestamp", datetime.now(UTC).isoformat(timespec="seconds")),
        "inputs": [_input(model, described("test_input.npy", files["test_input.npy"]))],
        "outputs": [_output(model, said.shape[1], described("test_output.npy", files["test_output.npy"]))],
        "weights": _weights(model, files),
        "config": {
            "bioimageio": {"reproducibility_tolerance": [_tolerance(said)]},
            "kinocyte": _ours(model, left_out),
        },
    }
    return rdf, files


def _tolerance(said: NDArray[Any]) -> dict[str, float]:
    """Return how much an output may differ between machines: a thousandth, and of its largest value."""
    return {"relative_tolerance": _TOLERANCE, "absolute_tolerance": _TOLERANCE * float(np.abs(said).max(initial=1e-12))}


def _test_tensors(model: ImageModel) -> tuple[Singles, Singles]:
    """Return an image of blobs in raw grey values with a batch of one, and what the network says of it."""
    torch = need_torch("Saving a model")
    rng = np.random.default_rng(0)
    size = [-(-n // d) * d for n, d in zip(_TEST_PX[model.ndim], model.task.divisor(model.ndim), strict=True)]
    places = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"))
    image = rng.normal(100, 5, (len(model.inputs), *size))
    for centre in rng.uniform(0, 1, (6, model.ndim)) * size:
        off = ((places - centre.reshape(-1, *[1] * model.ndim)) ** 2).sum(axis=0)
        image += rng.uniform(200, 600) * np.exp(-off / (2 * 5.0**2))
    given = image.astype(np.float32)
    with torch.no_grad():
        said = model.network()(torch.from_numpy(model.normalised(given)[None])).float().numpy()
    return given[None], np.ascontiguousarray(said)


def _exported(model: ImageModel, formats: Sequence[Format]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the network in other forms, and why a form was left out."""
    torch = need_torch("Saving a model")
    files: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    given, _ = _test_tensors(model)
    x = torch.from_numpy(model.normalised(given[0])[None])
    for form in formats:
        if form == "onnx" and importlib.util.find_spec("onnx") is None:
            left_out[form] = "the package onnx is not installed"
            continue
        with warnings.catch_warnings():  # notes of the exporters to their developers
            warnings.simplefilter("ignore")
            try:
                name, content = (_torchscript if form == "torchscript" else _onnx)(model, x)
            except (RuntimeError, torch.onnx.OnnxExporterError, ValueError) as error:
                left_out[form] = f"torch cannot export this network: {' '.join(str(error).split())[:200]}"
                continue
        files[name] = content
    return files, left_out


def _torchscript(model: ImageModel, x: Any) -> tuple[str, bytes]:
    torch = need_torch("Saving a model")
    buffer = io.BytesIO()
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(model.network(), x, check_trace=False), buffer)
    return "weights.pt", buffer.getvalue()


def _onnx(model: ImageModel, x: Any) -> tuple[str, bytes]:
    torch = need_torch("Saving a model")
    buffer = io.BytesIO()
    free = {0: "batch", **{2 + i: axis for i, axis in enumerate(model.axes)}}
    with torch.no_grad():
        torch.onnx.export(
            model.network(), (x,), buffer, input_names=["input"], output_names=["output"], opset_version=_OPSET,
            dynamic_axes={"input": free, "output": {0: "batch", **{i: f"out_{n}" for i, n in free.items() if i}}},
            dynamo=False,
        )  # fmt: skip
    return "weights.onnx", buffer.getvalue()


def _weights(model: ImageModel, files: Mapping[str, bytes]) -> dict[str, Any]:
    version = str(need_torch("Saving a model").__version__).partition("+")[0]
    kwargs = {
        "task": model.task.model_dump(mode="json"), "n_inputs": len(model.inputs),
        "n_targets": max(len(model.targets), 1), "ndim": model.ndim,
    }  # fmt: skip
    found: dict[str, Any] = {
        "pytorch_state_dict": {
            **described("weights.safetensors", files["weights.safetensors"]),
            "architecture": {
                "callable": "network_of",
                "import_from": "kinocyte.learning.image_package",
                "kwargs": kwargs,
            },
            "pytorch_version": version,
        }
    }
    if "weights.pt" in files:
        found["torchscript"] = {**described("weights.pt", files["weights.pt"]), "pytorch_version": version}
    if "weights.onnx" in files:
        found["onnx"] = {**described("weights.onnx", files["weights.onnx"]), "opset_version": _OPSET}
    for form in ("torchscript", "onnx"):
        if form in found:
            found[form]["parent"] = "pytorch_state_dict"
    return found


def _ours(model: ImageModel, left_out: Mapping[str, str]) -> dict[str, Any]:
    return {
        "kind": "image",
        "name": model.name,
        "task": model.task.model_dump(mode="json"),
        "inputs": [c.model_dump(mode="json") for c in model.inputs],
        "targets": [c.model_dump(mode="json") for c in model.targets],
        "axes": model.axes,
        "pixel_um": None if model.pixel_um is None else list(model.pixel_um),
        "settings": dict(model.settings),
        "reach_px": list(model.task.reach(model.ndim)),
        "left_out": dict(left_out),
        "version": __version__.partition("+")[0],
        "card": dict(model.card),
    }


def _input(model: ImageModel, test: dict[str, str]) -> dict[str, Any]:
    space = [
        {"type": "space", "id": axis, "size": {"min": d, "step": d}, **_spacing(model, i, 1.0)}
        for i, (axis, d) in enumerate(zip(model.axes, model.task.divisor(model.ndim), strict=True))
    ]
    names = [_identifier(c.name, i) for i, c in enumerate(model.inputs)]
    return {
        "id": "input",
        "axes": [{"type": "batch"}, {"type": "channel", "id": "channel", "channel_names": names}, *space],
        "data": {"type": "float32"},
        "test_tensor": test,
        "preprocessing": _preprocessing(model),
    }


def _output(model: ImageModel, channels: int, test: dict[str, str]) -> dict[str, Any]:
    ratio = model.task.stride / model.task.enlargement
    space = [
        {
            "type": "space", "id": axis, "size": {"tensor_id": "input", "axis_id": axis},
            **_spacing(model, i, 1.0 if axis == "z" and model.task.enlargement > 1 else ratio),
        }
        for i, axis in enumerate(model.axes)
    ]  # fmt: skip
    names = [_identifier(c.name, i) for i, c in enumerate(model.targets)]
    if len(names) != channels:
        names = [f"output_{i}" for i in range(channels)]
    return {
        "id": "output",
        "axes": [{"type": "batch"}, {"type": "channel", "id": "channel", "channel_names": names}, *space],
        "data": {"type": "float32"},
        "test_tensor": test,
    }


def _spacing(model: ImageModel, axis: int, ratio: float) -> dict[str, Any]:
    if model.pixel_um is None:
        return {"scale": ratio}
    return {"scale": model.pixel_um[axis] * ratio, "unit": "micrometer"}


def _preprocessing(model: ImageModel) -> list[dict[str, Any]]:
    """Return our normalisation in the words of BioImage.IO, where they suffice; the whole is in ``config``."""
    scales = [c.normalisation for c in model.inputs]
    if all(n.method == "percentile" for n in scales) and len({(n.low, n.high) for n in scales}) == 1:
        kwargs = {"axes": list(model.axes), "min_percentile": scales[0].low, "max_percentile": scales[0].high}
        return [{"id": "scale_range", "kwargs": {**kwargs, "eps": 1e-9}}]
    if any(n.method == "percentile" for n in scales):
        return []
    limits = [(n.low, n.high) if n.method == "absolute" else (0.0, 1.0) for n in scales]
    gain, offset = [1 / (h - b) for b, h in limits], [-b / (h - b) for b, h in limits]
    if len(limits) == 1:
        return [{"id": "scale_linear", "kwargs": {"gain": gain[0], "offset": offset[0]}}]
    return [{"id": "scale_linear", "kwargs": {"axis": "channel", "gain": gain, "offset": offset}}]


def _identifier(name: str, i: int) -> str:
    found = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_")
    return found if found.isidentifier() else f"channel_{i}_{found}".rstrip("_")


def _title(name: str) -> str:
    found = re.sub(r"[^A-Za-z0-9_+\- ()]", "-", name)
    return (found if len(found) >= 5 else f"model {found}")[:128]


def _cited(lines: Sequence[str]) -> list[dict[str, str]]:
    found = []
    for line in distinct(lines):
        doi, arxiv = re.search(r"(10\.\d{4,}/\S+[\w)])", line), re.search(r"arXiv:(\d+\.\d+)", line)
        address = re.search(r"https?://\S+", line)
        if doi:
            found.append({"text": line, "doi": doi[1]})
        elif arxiv or address:
            found.append(
                {"text": line, "url": f"https://arxiv.org/abs/{arxiv[1]}" if arxiv else str(address and address[0])}
            )
    return found


def shipped() -> dict[str, Path]:
    """Return the models for images that come with Kinocyte, by name."""
    folder = Path(str(resources("kinocyte") / "data" / "models"))
    return {
        path.parent.name: path.parent
        for path in sorted(folder.glob("*/rdf.yaml"))
        if "kind: image" in path.read_text(encoding="utf-8")
    }


def load(package: Package, *, checked: bool = True) -> ImageModel:
    """Return the model of a package that Kinocyte wrote; see `kinocyte.learning.model.load_image_model`.

    Raises
    ------
    InputFileError
        If it is none of ours for images, or it does not compute what it says it does.
    """
    path = Path(package.name)
    try:
        model = _read(package)
        tensors = [package.rdf[side][0]["test_tensor"] for side in ("inputs", "outputs")]
    except (KeyError, TypeError, IndexError, ValueError, ParameterError) as error:
        if isinstance(error, InputFileError):
            raise
        msg = f"{path} is no model for images of Kinocyte: {_wrong(error)} in its rdf.yaml."
        raise InputFileError(msg) from error
    if checked:
        _check(model, path, *(from_npy(package.checked(t), name=f"{path}/{t['source']}") for t in tensors))
    return model


def _wrong(error: Exception) -> str:
    """Return in one line what is wrong with a description."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))} = {first.get('input')!r} is refused ({first['msg']})"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return f"{error} is wrong" if isinstance(error, ValueError) else str(error)


def _read(package: Package) -> ImageModel:
    ours = package.rdf["config"]["kinocyte"]
    if ours["kind"] != "image":
        raise ValueError(ours["kind"])
    if max(len(ours["inputs"]), len(ours["targets"])) > _MOST_CHANNELS or ours["axes"] not in {"yx", "zyx"}:
        raise ValueError(ours["axes"])
    entry = package.rdf["weights"]["pytorch_state_dict"]
    weights = read_tensors(package.checked(entry), name=f"{package.name}/{entry['source']}")
    if not all(np.isfinite(a).all() for a in weights.values()):
        msg = f"{package.name}/{entry['source']} holds weights that are no numbers; train it again."
        raise InputFileError(msg)
    size = ours["pixel_um"]
    return ImageModel(
        name=str(ours["name"]),
        task=registry.parse("task", ours["task"]),  # type: ignore[arg-type]  # methods of the kind are tasks
        inputs=tuple(InputChannel.model_validate(c) for c in ours["inputs"]),
        targets=tuple(InputChannel.model_validate(c) for c in ours["targets"]),
        axes=ours["axes"],
        pixel_um=None if size is None else tuple(float(s) for s in size),
        weights=weights,
        settings={str(k): float(v) for k, v in ours["settings"].items()},
        card=dict(ours["card"]),
    )


def _check(model: ImageModel, path: Path, given: NDArray[Any], wanted: NDArray[Any]) -> None:
    """Refuse a model that does not give its test output."""
    torch = need_torch(f"The model '{model.name}'")
    if given.ndim != model.ndim + 2 or len(given) != 1 or given.dtype != np.float32 or given.size > _MOST_TEST_VALUES:
        msg = f"The test input of {path} has the shape {given.shape}, which does not fit the model; get it again."
        raise InputFileError(msg)
    try:
        with torch.no_grad():
            found = model.network()(torch.from_numpy(model.normalised(given[0])[None])).float().numpy()
    except (ParameterError, RuntimeError) as error:
        msg = f"The model {path} cannot be computed: {' '.join(str(error).split())}"
        raise InputFileError(msg) from error
    most = _tolerance(wanted)["absolute_tolerance"]
    if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=_TOLERANCE, atol=most):
        msg = f"The model {path} does not give the test output that it comes with; get it again."
        raise InputFileError(msg)
