"""Torch, where it is installed: which device, and the same numbers in every run."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from kinocyte.core.errors import MissingExtraError, ParameterError

Device = Literal["auto", "cpu", "cuda", "mps"]


def need_torch(purpose: str) -> Any:
    """Return torch.

    Parameters
    ----------
    purpose : str
        What needs it, as the start of a sentence.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        msg = f"{purpose} needs PyTorch, which is not installed; install it with: pip install 'kinocyte[deep]'"
        raise MissingExtraError(msg) from error
    return torch


def pick(device: Device) -> str:
    """Return the name of the device to compute on.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    ParameterError
        If the device asked for is not there.
    """
    torch = need_torch("Training")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[device]:
        found = ", ".join(name for name, is_there in there.items() if is_there)
        msg = f"device is '{device}', which torch does not find on this machine; it finds: {found}."
        raise ParameterError(msg)
    return device


def hardware() -> str:
    """Return the system, the processor and the GPUs of this machine in words; what cannot be found out is left out."""
    parts = [f"{platform.system()} {platform.machine()}", _processor()]
    try:
        import torch
    except ImportError:
        pass
    else:
        parts += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(part for part in parts if part)


def _processor() -> str:
    try:  # Linux, where Python does not know it
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2] for line in lines if line.startswith("model name")), platform.processor())
    return " ".join(named.split())


@contextmanager
def repeatable(seed: int, *, threads: int = 1) -> Iterator[None]:
    """Make torch draw and add up in one order while this lasts, then leave it as it was.

    On a processor, with the same version of torch, two runs give the same numbers to the last bit. The sum of many
    numbers depends on how many threads add them, so their number is part of it.
    """
    torch = need_torch("Training")
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=False)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(mode=before[1])
        torch.set_rng_state(before[2])
