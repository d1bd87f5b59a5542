"""What computes a network: torch on a device, in one precision, so that a result depends on the model and image alone.

On a processor it is torch in single precision with the channels last: the quickest of those compared in
``benchmarks/inference.py`` that changes no number. Half precision (bf16) moves outputs in the third digit, and a choice
by measurement would make a result depend on what else the machine was doing, so neither is taken.

Torch computes convolutions of few numbers by other code than those of many (the rule is in ATen's ``Convolution.cpp``),
which rounds in another order: the same pixels in a small and in a large part would differ in the last digits. On x86-64
every convolution is therefore computed by oneDNN, which is what torch takes for the many. With it a part of any size
gives the same bits on a processor, with one thread or several; elsewhere the same up to rounding.
"""

from __future__ import annotations

import platform
import weakref
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinocyte.learning.devices import Device, need_torch, pick
from kinocyte.learning.inference.tiles import Geometry
from kinocyte.learning.model import ImageModel

Singles = NDArray[np.float32]

#: memory that the numbers between the layers may take on a processor, and share of the free memory on a GPU
CPU_BYTES, GPU_SHARE = 1.5e9, 0.6


class Engine(Protocol):
    """A network that takes one image (channels, [z], y, x) and returns its output, on whatever device."""

    geometry: Geometry
    name: str

    def __call__(self, x: Singles) -> Singles:
        """Return (outputs, [z], y, x) of (channels, [z], y, x); lengths are multiples of the divisor."""
        ...

    def most_pixels(self) -> float:
        """Return how many input pixels fit into memory at once."""
        ...


def geometry_of(model: ImageModel) -> Geometry:
    """Return how the output of a model's network lies over its input."""
    n, task = model.ndim, model.task
    up = (1, task.enlargement, task.enlargement)[3 - n :]
    return Geometry(tuple(task.divisor(n)), tuple(task.reach(n)), up, (task.stride,) * n)


class TorchEngine:
    """A model's network on a device of torch."""

    def __init__(self, model: ImageModel, device: str) -> None:
        torch = need_torch(f"The model '{model.name}'")
        self._torch, self._device, self._n_inputs = torch, device, len(model.inputs)
        self.geometry, self.name = geometry_of(model), f"torch {torch.__version__} {device} float32 channels_last"
        self._last = torch.channels_last if model.ndim == 2 else torch.channels_last_3d
        self._network = model.network().to(device=device, memory_format=self._last)
        self._bytes_a_pixel: float | None = None
        if device == "cpu":
            _by_one_code(torch, self._network)

    def __call__(self, x: Singles) -> Singles:
        """Return the output of one image; see `Engine`."""
        torch = self._torch
        tensor = torch.from_numpy(np.ascontiguousarray(x))[None].to(self._device)
        with torch.inference_mode(), _full_precision(torch, self._device):
            said = self._network(tensor.contiguous(memory_format=self._last))[0]
            return np.ascontiguousarray(said.float().cpu().numpy())

    def most_pixels(self) -> float:
        """Return how many input pixels fit into memory at once; see `Engine`."""
        if self._bytes_a_pixel is None:
            self._bytes_a_pixel = self._measured_bytes()
        room = CPU_BYTES
        if self._device == "cuda":
            room = GPU_SHARE * self._torch.cuda.mem_get_info()[0]
        return room / self._bytes_a_pixel

    def _measured_bytes(self) -> float:
        """Return bytes a pixel: half of what all layers give, since half of them are shortcuts that are kept."""
        torch, total = self._torch, 0

        def count(_module: Any, _given: Any, said: Any) -> None:
            nonlocal total
            total += said.numel() * said.element_size() if hasattr(said, "numel") else 0

        leaves = [m for m in self._network.modules() if not list(m.children())]
        hooks = [m.register_forward_hook(count) for m in leaves]
        shape = tuple(2 * d for d in self.geometry.divisor)
        try:
            with torch.inference_mode():
                self._network(torch.zeros((1, self._n_inputs, *shape), device=self._device))
        finally:
            for hook in hooks:
                hook.remove()
        return max(0.5 * total / float(np.prod(shape)), 64.0)


def _by_one_code(torch: Any, network: Any) -> None:
    """Let every convolution of a network be computed by oneDNN, however few numbers it is given."""
    if platform.machine().lower() not in {"x86_64", "amd64"} or not torch.backends.mkldnn.is_available():
        return
    compute = torch.ops.aten.mkldnn_convolution

    def forward(module: Any, x: Any, weight: Any, bias: Any) -> Any:
        return compute(x, weight, bias, module.padding, module.stride, module.dilation, module.groups)

    for module in network.modules():
        plain = type(module) in {torch.nn.Conv2d, torch.nn.Conv3d} and module.padding_mode == "zeros"
        if plain and not isinstance(module.padding, str):
            module._conv_forward = partial(forward, module)


class _full_precision:  # noqa: N801 - a context like those of torch
    """Single precision on a GPU without the shortened one (TF32) that torch takes for convolutions."""

    def __init__(self, torch: Any, device: str) -> None:
        self._torch, self._on = torch, device == "cuda"

    def __enter__(self) -> None:
        if self._on:
            self._before = self._torch.backends.cudnn.allow_tf32, self._torch.backends.cudnn.deterministic
            self._torch.backends.cudnn.allow_tf32, self._torch.backends.cudnn.deterministic = False, True

    def __exit__(self, *_: object) -> None:
        if self._on:
            self._torch.backends.cudnn.allow_tf32, self._torch.backends.cudnn.deterministic = self._before


_engines: weakref.WeakKeyDictionary[ImageModel, dict[str, Engine]] = weakref.WeakKeyDictionary()


def engine_of(model: ImageModel, device: Device = "auto") -> Engine:
    """Return the engine of a model, made once for each model and device.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    ParameterError
        If the device is not there.
    """
    need_torch(f"The model '{model.name}'")
    on = pick(device)
    known = _engines.setdefault(model, {})
    if on not in known:
        own = getattr(model, "engine", None)  # models of other programs bring their own
        known[on] = TorchEngine(model, on) if own is None else own(on)
    return known[on]


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of torch or ONNX Runtime says that memory did not suffice."""
    words = str(error).lower()
    short = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate memory")
    return type(error).__name__ == "OutOfMemoryError" or any(s in words for s in short)
