"""Weights as safetensors: a header in JSON and plain numbers, nothing that could run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError

_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1",
        "BOOL": "|b1",
    }
)  # fmt: skip
_LONGEST_HEADER = 100_000_000


def write_tensors(arrays: Mapping[str, NDArray[Any]], *, notes: Mapping[str, str] | None = None) -> bytes:
    """Return arrays as the bytes of a safetensors file, in order of their names.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Numbers of any of the types of the format.
    notes : mapping of str to str, optional
        Kept in the header under ``__metadata__``.

    References
    ----------
    https://github.com/huggingface/safetensors, section "Format".
    """
    header: dict[str, Any] = {"__metadata__": dict(notes)} if notes else {}
    codes = {v: k for k, v in _TYPES.items()}
    parts, at = [], 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        part = array.tobytes()
        header[name] = {
            "dtype": codes[array.dtype.str], "shape": list(arrays[name].shape), "data_offsets": [at, at + len(part)],
        }  # fmt: skip
        at += len(part)
        parts.append(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def read_tensors(content: bytes, *, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file.

    Parameters
    ----------
    content : bytes
        The whole file.
    name : str
        What to call it in messages.

    Raises
    ------
    InputFileError
        If it is not a whole safetensors file, or of a type that numpy lacks.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(_LONGEST_HEADER, len(content) - 8):
        raise _refused(name, "its header is cut off")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise _refused(name, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _refused(name, "its header is no table")
    body = memoryview(content)[8 + length :]
    header.pop("__metadata__", None)
    found = {str(key): _tensor(body, key, entry, name) for key, entry in header.items()}
    used = sum(a.nbytes for a in found.values())
    if used != len(body):
        raise _refused(name, f"it holds {len(body)} bytes of numbers where its header lists {used}")
    return found


def _tensor(body: memoryview, key: str, entry: Any, name: str) -> NDArray[Any]:
    try:
        dtype, shape = np.dtype(_TYPES[entry["dtype"]]), tuple(int(n) for n in entry["shape"])
        begin, end = (int(n) for n in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(name, f"the entry '{key}' of its header is not understood") from error
    size = dtype.itemsize
    for n in shape:
        size *= n
    if min((0, *shape)) < 0 or not 0 <= begin <= end <= len(body) or end - begin != size:
        raise _refused(name, f"the numbers of '{key}' are not where its header says")
    return np.frombuffer(body[begin:end], dtype).reshape(shape).copy()


def _refused(name: str, why: str) -> InputFileError:
    return InputFileError(f"{name} is not a whole safetensors file: {why}; copy or download it again.")
