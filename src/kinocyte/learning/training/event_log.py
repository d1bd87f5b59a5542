"""The history as an event file of TensorBoard, written without it.

A file of TFRecords (length, masked checksum of the length, content, masked checksum of the content) of ``Event``
messages in the wire format of Protocol Buffers.

References
----------
https://www.tensorflow.org/tutorials/load_data/tfrecord, section "TFRecords format details"; event.proto and
summary.proto of TensorFlow; https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cache

#: generator of CRC-32C (Castagnoli), bits reversed
_POLYNOMIAL = 0x82F63B78


@cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


def crc32c(content: bytes) -> int:
    """Return the CRC-32C of bytes (RFC 3720, appendix B.4)."""
    table, value = _table(), 0xFFFFFFFF
    for byte in content:
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def _masked(content: bytes) -> bytes:
    value = crc32c(content)
    return struct.pack("<I", (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _masked(length) + content + _masked(content)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def write_events(rows: Sequence[Mapping[str, float]]) -> bytes:
    """Return the history as an event file; ``train_loss`` becomes the scalar ``train/loss``.

    Parameters
    ----------
    rows : sequence of mapping
        With ``step`` and ``seconds`` (taken as the time of the clock, from 0).
    """
    version = b"\x09" + struct.pack("<d", 0.0) + _bytes(3, b"brain.Event:2")
    out = [_record(version)]
    for row in rows:
        values = b"".join(
            _bytes(1, _bytes(1, _tag(name).encode()) + b"\x15" + struct.pack("<f", value))
            for name, value in row.items()
            if name not in {"step", "seconds"}
        )
        head = b"\x09" + struct.pack("<d", row.get("seconds", 0.0)) + b"\x10" + _varint(int(row["step"]))
        out.append(_record(head + _bytes(5, values)))
    return b"".join(out)


def _tag(name: str) -> str:
    for group in ("train", "held_out"):
        if name.startswith(f"{group}_"):
            return f"{group}/{name.removeprefix(f'{group}_')}"
    return name
