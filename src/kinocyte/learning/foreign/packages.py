"""BioImage.IO packages of other programs, with a network as TorchScript or ONNX."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError
from kinocyte.learning.data.normalisation import Normalisation
from kinocyte.learning.devices import need_torch
from kinocyte.learning.foreign.operations import run
from kinocyte.learning.inference.engine import Engine
from kinocyte.learning.inference.tiles import Geometry
from kinocyte.learning.model import ImageModel, InputChannel
from kinocyte.learning.package import Package, from_npy
from kinocyte.learning.tasks.base import Module, Reading, Task

Singles = NDArray[np.float32]

_SHORT = {"b": "batch", "c": "channel", "z": "z", "y": "y", "x": "x", "t": "time", "i": "index"}
_MOST_CHANNELS, _MOST_TEST_VALUES = 256, 50_000_000


def is_ours(package: Package) -> bool:
    """Tell whether a package was written by Kinocyte."""
    config = package.rdf.get("config")
    return isinstance(config, dict) and isinstance(config.get("kinocyte"), dict)


class Packaged(Task):
    """What a package of another program does; its network is applied as it is and cannot be trained here."""

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "image"
    result: ClassVar[Literal["labels", "classes", "image"]] = "image"
    method: Literal["packaged"] = "packaged"
    divisors: tuple[int, ...] = ()
    halo: tuple[int, ...] = ()
    axes: tuple[str, ...] = ()
    postprocessing: tuple[dict[str, Any], ...] = ()

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:  # noqa: ARG002 - there is none
        """Refuse: the network comes as a whole."""
        raise self._refused()

    def prepare(self, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> tuple[Singles, Singles]:  # noqa: ARG002 - see build
        """Refuse: see `build`."""
        raise self._refused()

    def loss(self, output: Any, target: Any) -> dict[str, Any]:  # noqa: ARG002 - see build
        """Refuse: see `build`."""
        raise self._refused()

    def _refused(self) -> InputFileError:
        return InputFileError("A packaged network of another program can be applied, but not trained on.")

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:  # noqa: ARG002 - there are none
        """Return the output after the postprocessing of the package."""
        return Reading(image=run(self.postprocessing, output, self.axes))

    def divisor(self, ndim: int) -> tuple[int, ...]:  # noqa: ARG002 - known
        """Return what each length of an input must be a multiple of."""
        return self.divisors

    def reach(self, ndim: int) -> tuple[int, ...]:  # noqa: ARG002 - known
        """Return the halo that the package states."""
        return self.halo


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One input or output of a description, of either version."""

    axes: tuple[str, ...]
    channels: tuple[str, ...]
    sizes: Mapping[str, tuple[int, int]]  # smallest and step; step 0: fixed
    halo: Mapping[str, int]
    operations: tuple[dict[str, Any], ...]
    scale_um: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class PackagedModel(ImageModel):
    """A model of another program."""

    content: bytes = b""
    form: Literal["torchscript", "onnx"] = "torchscript"
    given: _Tensor | None = field(default=None, repr=False)
    said: _Tensor | None = field(default=None, repr=False)

    def preprocessed(self, image: Singles) -> Singles:
        """Return an image (channels, [z], y, x) as the network wants it."""
        assert self.given is not None  # noqa: S101 - made by model_of
        return run(self.given.operations, image, ("channel", *self.axes))

    def engine(self, device: str) -> Engine:
        """Return what computes the network."""
        assert self.given is not None  # noqa: S101 - made by model_of
        assert self.said is not None  # noqa: S101 - made by model_of
        return PackagedEngine(self, device, self.given, self.said)


class PackagedEngine:
    """A network of another program; one of fixed size is moved over the image in windows that overlap by its halo."""

    def __init__(self, model: PackagedModel, device: str, given: _Tensor, said: _Tensor) -> None:
        self._given, self._said, self._axes = given, said, ("channel", *model.axes)
        self.geometry = Geometry(model.task.divisor(0), model.task.reach(0), (1,) * model.ndim, (1,) * model.ndim)
        self._compute, self.name = _computing(model, device)
        self._least = tuple(given.sizes[a][0] for a in model.axes)
        self._fixed = all(given.sizes[a][1] == 0 for a in model.axes)

    def most_pixels(self) -> float:
        """Return how many input pixels fit into memory at once: 16 million, or any number in windows."""
        return np.inf if self._fixed else 1.6e7

    def __call__(self, x: Singles) -> Singles:
        """Return the output of one image; see `kinocyte.learning.inference.engine.Engine`."""
        shape = x.shape[1:]
        more = [max(least - n, 0) for n, least in zip(shape, self._least, strict=True)]
        wide = np.pad(x, [(0, 0), *((0, m) for m in more)], mode="symmetric") if any(more) else x
        out = self._windows(wide) if self._fixed and wide.shape[1:] != self._least else self._run(wide)
        return np.ascontiguousarray(out[(slice(None), *(slice(0, n) for n in shape))])

    def _windows(self, wide: Singles) -> Singles:
        out = None
        places = []
        for n, size, halo in zip(wide.shape[1:], self._least, self.geometry.reach, strict=True):
            step = max(size - 2 * halo, 1)
            starts = sorted({*range(0, n - size, step), n - size})
            places.append([(s, 0 if s == 0 else halo, size if s + size == n else size - halo) for s in starts])
        for box in product(*places):
            read = tuple(slice(s, s + size) for (s, _, _), size in zip(box, self._least, strict=True))
            said = self._run(wide[(slice(None), *read)])
            if out is None:
                out = np.empty((len(said), *wide.shape[1:]), np.float32)
            inner = tuple(slice(low, high) for _, low, high in box)
            out[(slice(None), *(slice(s + low, s + high) for s, low, high in box))] = said[(slice(None), *inner)]
        assert out is not None  # noqa: S101 - there is one window at least
        return out

    def _run(self, x: Singles) -> Singles:
        """Return (channels, [z], y, x) of such an image, in the order of axes that the network has."""
        names = [a for a in self._given.axes if a in self._axes]
        arranged = x.transpose([self._axes.index(a) for a in names])
        for place, axis in enumerate(self._given.axes):
            if axis not in self._axes:  # the batch, and axes of length 1
                arranged = np.expand_dims(arranged, place)
        said = self._compute(np.ascontiguousarray(arranged, np.float32))
        if said.ndim != len(self._said.axes):
            msg = (
                f"The network gives {said.ndim} axes where its description names {len(self._said.axes)}; get it again."
            )
            raise InputFileError(msg)
        said = said.reshape([n for n, a in zip(said.shape, self._said.axes, strict=True) if a in self._axes])
        left = [a for a in self._said.axes if a in self._axes]
        if "channel" not in left:
            said, left = said[None], ["channel", *left]
        return np.ascontiguousarray(said.transpose([left.index(a) for a in self._axes]), np.float32)


def model_of(package: Package, *, checked: bool = True) -> PackagedModel:
    """Return the model of a BioImage.IO package with one input and one output image.

    Parameters
    ----------
    package : Package
        With a network as TorchScript or ONNX; anything that could run code otherwise is not looked at.
    checked : bool
        Compare its answer to its test input with its test output.

    Raises
    ------
    InputFileError
        If it needs what is not there, or does not give its test output.
    """
    rdf = package.rdf
    try:
        given, said = (_tensor(rdf[side], package.name, side) for side in ("inputs", "outputs"))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        msg = f"The description of the model package {package.name} is not understood: {error!r}; get it again."
        raise InputFileError(msg) from error
    form, content = _weights(package)
    axes: Literal["yx", "zyx"] = "zyx" if "z" in given.axes and given.sizes["z"] != (1, 0) else "yx"
    for side in (given, said):
        odd = [a for a in side.axes if a not in {"batch", "channel", *axes} and a != "z"]
        if odd or not {*axes} <= {*side.axes}:
            msg = f"The model package {package.name} has the axes {', '.join(side.axes)}; only images (z) y x are read."
            raise InputFileError(msg)
    steps = tuple(max(given.sizes[a][1], 1) for a in axes)
    task = Packaged(
        divisors=steps, halo=tuple(said.halo.get(a, 0) or _unknown_halo(given, a) for a in axes),
        axes=("channel", *axes), postprocessing=said.operations,
    )  # fmt: skip
    model = PackagedModel(
        name=str(rdf.get("name", "model")), task=task, inputs=_channels(given), targets=_channels(said), axes=axes,
        pixel_um=_pixel_um(given, axes), weights={}, card=_card(rdf), content=content, form=form, given=given,
        said=said,
    )  # fmt: skip
    if checked:
        _check(model, package)
    return model


def _unknown_halo(given: _Tensor, axis: str) -> int:
    """Return how far tiles overlap where a package does not say how far its network looks."""
    return min(32, given.sizes[axis][0] // 4)


def _channels(tensor: _Tensor) -> tuple[InputChannel, ...]:
    return tuple(InputChannel(name=n, normalisation=Normalisation(method="none")) for n in tensor.channels)


def _card(rdf: Mapping[str, Any]) -> dict[str, Any]:
    authors = [str(a.get("name", a)) if isinstance(a, dict) else str(a) for a in rdf.get("authors") or ()]
    cite = [str(c.get("text", c)) if isinstance(c, dict) else str(c) for c in rdf.get("cite") or ()]
    return {
        "description": str(rdf.get("description", "")), "authors": authors, "cite": cite,
        "license": str(rdf.get("license", "not stated")), "made_by": "another program",
    }  # fmt: skip


def _pixel_um(given: _Tensor, axes: str) -> tuple[float, ...] | None:
    return tuple(given.scale_um[a] for a in axes) if all(a in given.scale_um for a in axes) else None


def _tensor(entries: Sequence[Mapping[str, Any]], name: str, side: str) -> _Tensor:
    if not isinstance(entries, list):
        msg = f"{side} is no list"
        raise TypeError(msg)
    if len(entries) != 1:
        msg = f"The model package {name} has {len(entries)} {side}; only models with one are read."
        raise InputFileError(msg)
    entry = entries[0]
    found = _new_axes(entry) if not isinstance(entry["axes"], str) else _old_axes(entry)
    if not 0 < len(found.channels) <= _MOST_CHANNELS:
        msg = f"The model package {name} names {len(found.channels)} channels; get it again."
        raise InputFileError(msg)
    return found


def _new_axes(entry: Mapping[str, Any]) -> _Tensor:
    """Return a tensor as version 0.5 describes it."""
    axes: list[str] = []
    channels: tuple[str, ...] = ("channel_0",)
    sizes: dict[str, tuple[int, int]] = {}
    halo: dict[str, int] = {}
    scale: dict[str, float] = {}
    for axis in entry["axes"]:
        kind = str(axis["type"])
        name = {"batch": "batch", "channel": "channel"}.get(kind) or str(axis.get("id") or "x")
        axes.append(name)
        if kind == "channel":
            channels = tuple(str(c) for c in axis["channel_names"])
        elif kind == "space":
            size = axis.get("size", 1)
            by_rule = isinstance(size, Mapping)
            sizes[name] = (int(size.get("min", 1)), int(size.get("step", 1))) if by_rule else (int(size), 0)
            halo[name] = int(axis.get("halo", 0))
            if axis.get("unit") == "micrometer":
                scale[name] = float(axis.get("scale", 1.0))
    operations = tuple(dict(p) for key in ("preprocessing", "postprocessing") for p in entry.get(key) or ())
    return _Tensor(tuple(axes), channels, sizes, halo, operations, scale)


def _old_axes(entry: Mapping[str, Any]) -> _Tensor:
    """Return a tensor as version 0.4 describes it: axes are letters, lengths are lists."""
    letters = str(entry["axes"])
    axes = tuple(_SHORT[a] for a in letters)
    shape = entry["shape"]
    least, step = (shape["min"], shape["step"]) if isinstance(shape, Mapping) and "min" in shape else (shape, None)
    sizes: dict[str, tuple[int, int]] = {}
    channels: tuple[str, ...] = ("channel_0",)
    if not isinstance(least, Mapping):
        sizes = {
            a: (int(n), int(step[i]) if step is not None else 0)
            for i, (a, n) in enumerate(zip(axes, least, strict=True))
        }
        channels = tuple(f"channel_{i}" for i in range(sizes["channel"][0])) if "channel" in sizes else channels
    elif "channel" in axes:  # an output as a multiple of the input; only its channels are of use
        place = axes.index("channel")
        channels = tuple(f"channel_{i}" for i in range(int(2 * float(least["offset"][place]) or 1)))
    halo = dict(zip(axes, (int(h) for h in entry.get("halo") or ()), strict=False))
    operations = tuple(dict(p) for key in ("preprocessing", "postprocessing") for p in entry.get(key) or ())
    return _Tensor(axes, channels, sizes, halo, operations, {})


def _weights(package: Package) -> tuple[Literal["torchscript", "onnx"], bytes]:
    """Return the network: as ONNX where ONNX Runtime is installed, else as TorchScript."""
    import importlib.util

    there = package.rdf.get("weights")
    forms: dict[str, Any] = there if isinstance(there, dict) else {}
    if "onnx" in forms and (importlib.util.find_spec("onnxruntime") is not None or "torchscript" not in forms):
        return "onnx", package.checked(forms["onnx"])
    if "torchscript" in forms:
        return "torchscript", package.checked(forms["torchscript"])
    msg = (
        f"The model package {package.name} holds its network as {', '.join(forms) or 'nothing'}; only TorchScript and "
        "ONNX of other programs are read, since the other forms need their code."
    )
    raise InputFileError(msg)


def _computing(model: PackagedModel, device: str) -> tuple[Any, str]:
    """Return a function from array to array, and what it runs on."""
    if model.form == "onnx":
        return _onnx(model)
    torch = need_torch(f"The model '{model.name}'")
    try:
        with warnings.catch_warnings():  # torch would rather have a newer form, which packages do not hold
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(io.BytesIO(model.content), map_location=device).eval()
    except RuntimeError as error:
        msg = f"The network of the model '{model.name}' cannot be read: {' '.join(str(error).split())[:200]}."
        raise InputFileError(msg) from error

    def compute(x: Singles) -> Singles:
        with torch.inference_mode():
            said = network(torch.from_numpy(x).to(device))
        if not hasattr(said, "cpu"):
            msg = f"The network of the model '{model.name}' gives several outputs; only one is read."
            raise InputFileError(msg)
        return np.asarray(said.float().cpu().numpy())

    return compute, f"torchscript {torch.__version__} {device}"


def _onnx(model: PackagedModel) -> tuple[Any, str]:
    from kinocyte.core.errors import MissingExtraError

    try:
        import onnxruntime  # type: ignore[import-untyped]  # a library without types
    except ImportError as error:
        msg = f"The model '{model.name}' needs ONNX Runtime; install it with: pip install onnxruntime"
        raise MissingExtraError(msg) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(need_torch(f"The model '{model.name}'").get_num_threads())
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base
        msg = f"The network of the model '{model.name}' cannot be read: {' '.join(str(error).split())[:200]}."
        raise InputFileError(msg) from error
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        msg = f"The network of the model '{model.name}' has several inputs or outputs; only one of each is read."
        raise InputFileError(msg)
    name = session.get_inputs()[0].name

    def compute(x: Singles) -> Singles:
        return np.asarray(session.run(None, {name: x})[0], np.float32)

    return compute, f"onnxruntime {onnxruntime.__version__} cpu"


def _check(model: PackagedModel, package: Package) -> None:
    """Refuse a model that does not give its test output."""
    given, wanted = (_test_tensor(package, side) for side in ("inputs", "outputs"))
    assert model.given is not None  # noqa: S101 - made by model_of
    assert model.said is not None  # noqa: S101 - made by model_of
    found: list[Singles] = []
    for tensor, array in ((model.given, given), (model.said, wanted)):
        if array.ndim != len(tensor.axes) or array.size > _MOST_TEST_VALUES or array.dtype.kind not in "fiub":
            msg = f"A test image of {package.name} has the shape {array.shape}, which does not fit its description."
            raise InputFileError(msg)
        at = tuple(slice(None) if a in {"channel", *model.axes} else 0 for a in tensor.axes)
        names = [a for a in tensor.axes if a in {"channel", *model.axes}]
        plain = array[at] if "channel" in names else array[at][None]
        names = names if "channel" in names else ["channel", *names]
        found.append(plain.transpose([names.index(a) for a in ("channel", *model.axes)]).astype(np.float32))
    if len(found[0]) != len(model.inputs):
        msg = f"The test image of {package.name} has {len(found[0])} channels where {len(model.inputs)} are described."
        raise InputFileError(msg)
    from kinocyte.learning.inference.apply import apply

    said = apply(model, found[0]).image
    if said is None or said.shape != found[1].shape or not np.allclose(said, found[1], rtol=1e-3, atol=2e-3):
        msg = f"The model package {package.name} does not give the test output that it comes with; get it again."
        raise InputFileError(msg)


def _test_tensor(package: Package, side: str) -> NDArray[Any]:
    entry = package.rdf[side][0].get("test_tensor")
    if isinstance(entry, Mapping):
        return from_npy(package.checked(entry), name=f"{package.name}/{entry.get('source')}")
    listed = package.rdf.get(f"test_{side}") or [None]  # version 0.4
    if not isinstance(listed[0], str):
        msg = f"The model package {package.name} comes without test images, so that it cannot be checked; get another."
        raise InputFileError(msg)
    return from_npy(package.file(listed[0]), name=f"{package.name}/{listed[0]}")
