"""Checksums of pixels: a disk or a network that changes a byte is found out, not analysed.

Compressed chunks carry none of their own: one flipped bit may give other pixels without a word. Beside the arrays of
an image lies ``checksums.json`` with the CRC-32 of each frame, of each channel alone where there are channels, so that
every frame can be checked as it is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.experiment.groups import read_json, write_json
from kinocyte.experiment.storage import Storage

NAME = "checksums.json"


def checksum(pixels: NDArray[Any]) -> int:
    """Return the CRC-32 of the bytes of an array in C order, little-endian."""
    array = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return zlib.crc32(array.view(np.uint8).data if array.size else b"")


def checksums(block: NDArray[Any], *, channels: bool) -> list[int]:
    """Return the checksums of a frame: of each channel, (c, [z,] y, x), or of the whole."""
    return [checksum(c) for c in block] if channels else [checksum(block)]


def write_checks(storage: Storage, path: str, checks: Sequence[Sequence[int]]) -> None:
    """Write the checksums of all frames of an image group."""
    write_json(storage, f"{path}/{NAME}", {"algorithm": "crc32", "frames": [list(c) for c in checks]})


def read_checks(storage: Storage, path: str) -> list[list[int]] | None:
    """Return the checksums of all frames, or None where there are none, as in images of other programs."""
    document = read_json(storage, f"{path}/{NAME}" if path else NAME)
    if document is None or document.get("algorithm") != "crc32":
        return None
    frames = document.get("frames")
    return frames if isinstance(frames, list) else None
