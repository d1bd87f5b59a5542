"""The pages of a TIFF file as its directories declare them, checked against the length of the file.

Decoders return zeros, fewer pages or odd errors for a file that was cut off; reading the directories first
(TIFF 6.0; BigTIFF) finds every such file before anything is imported, without decoding a pixel.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kinocyte.core.errors import InputFileError

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 256, 257, 258, 259, 262, 277
_SUBFILE, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 254, 273, 279, 324, 325
_PLANAR, _FORMAT = 284, 339
_WANTED = frozenset({
    _SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR, _FORMAT,
    _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES,
})  # fmt: skip
#: struct codes of the integer field types: BYTE, SHORT, LONG, IFD, LONG8, IFD8
_INTEGER = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True, slots=True)
class Page:
    """What one directory declares."""

    height: int
    width: int
    samples: int
    planar: bool
    bits: int
    sample_format: int
    compression: int
    photometric: int
    is_reduced: bool
    last_byte: int

    @property
    def dtype(self) -> np.dtype[np.generic] | None:
        """Return the type of a decoded pixel, or None for one that numpy has no name for."""
        kind = {1: "u", 2: "i", 3: "f", 4: "u"}.get(self.sample_format)
        bits = self.bits
        if kind == "u" and bits not in {8, 16, 32, 64}:
            if not 1 <= bits <= 64:
                return None
            bits = next(b for b in (8, 16, 32, 64) if bits <= b)  # 12-bit cameras come out as 16
        if kind is None or (kind == "f" and bits not in {16, 32, 64}) or bits not in {8, 16, 32, 64}:
            return None
        return np.dtype(f"{kind}{bits // 8}")


def _cut_off(path: Path, size: int, need: int | None = None) -> InputFileError:
    if size == 0:
        return InputFileError(f"'{path}' is empty (0 bytes); copy it again from the microscope or leave it out.")
    more = f", its directory speaks of {need}" if need is not None else ""
    return InputFileError(
        f"'{path}' was cut off ({size} bytes{more}); copy it again from the microscope or leave it out."
    )


def read_pages(path: Path, *, limit: int | None = None) -> list[Page]:
    """Return what each page of a TIFF or BigTIFF declares.

    Parameters
    ----------
    path : Path
        The file.
    limit : int, optional
        Stop after this many pages.

    Raises
    ------
    InputFileError
        If the file is empty, no TIFF, cut off, or its directories are damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            order, big, offset = _header(file, path, size)
            pages: list[Page] = []
            seen: set[int] = set()
            while offset and (limit is None or len(pages) < limit):
                if offset in seen:
                    msg = f"'{path}' is damaged: its page directories run in a circle after page {len(pages)}."
                    raise InputFileError(msg)
                seen.add(offset)
                if offset >= size:
                    raise _cut_off(path, size, offset)
                page, offset = _directory(file, order, big=big, offset=offset, size=size)
                if page.last_byte > size:
                    raise _cut_off(path, size, page.last_byte)
                pages.append(page)
        except struct.error as error:
            raise _cut_off(path, size) from error
    if not pages:
        msg = f"'{path}' is a TIFF file without a single image; export it again or leave it out."
        raise InputFileError(msg)
    return pages


def _header(file: BinaryIO, path: Path, size: int) -> tuple[str, bool, int]:
    head = file.read(8)
    if size < 8:
        raise _cut_off(path, size)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack(f"{order}H", head[2:4])[0] if order else 0
    if order is None or version not in {42, 43}:
        msg = f"'{path}' is no TIFF file although its name says so; export it again or leave it out."
        raise InputFileError(msg)
    if version == 42:
        return order, False, struct.unpack(f"{order}I", head[4:8])[0]
    return order, True, struct.unpack(f"{order}Q", file.read(8))[0]


def _directory(file: BinaryIO, order: str, *, big: bool, offset: int, size: int) -> tuple[Page, int]:
    """Return the page declared at an offset and the offset of the next directory."""
    file.seek(offset)
    count_size, entry_size, inline = (8, 20, 8) if big else (2, 12, 4)
    count = struct.unpack(f"{order}{'Q' if big else 'H'}", file.read(count_size))[0]
    if count > 4096:
        raise struct.error
    block = file.read(count * entry_size)
    following = struct.unpack(f"{order}{'Q' if big else 'I'}", file.read(inline))[0]
    tags: dict[int, tuple[int, ...]] = {}
    head = f"{order}HH{'Q' if big else 'I'}"
    head_size = struct.calcsize(head)
    last = 0
    for i in range(count):
        entry = block[i * entry_size : (i + 1) * entry_size]
        tag, kind, number = struct.unpack(head, entry[:head_size])
        length = number * _SIZES.get(kind, 0)
        data = entry[head_size : head_size + length]
        if length > inline:
            at = struct.unpack(f"{order}{'Q' if big else 'I'}", entry[head_size:])[0]
            last = max(last, at + length)
            if tag in _WANTED and at + length <= size:
                file.seek(at)
                data = file.read(length)
        if tag in _WANTED and kind in _INTEGER and len(data) == length:
            tags[tag] = struct.unpack(f"{order}{number}{_INTEGER[kind]}", data)
    return _page(tags, last), following


def _page(tags: dict[int, tuple[int, ...]], end: int) -> Page:
    def first(tag: int, default: int) -> int:
        return (tags.get(tag) or (default,))[0]

    starts = tags.get(_STRIPS) or tags.get(_TILES) or ()
    lengths = tags.get(_STRIP_BYTES) or tags.get(_TILE_BYTES) or ()
    height, width = first(_HEIGHT, 0), first(_WIDTH, 0)
    samples, bits, compression = first(_SAMPLES, 1), first(_BITS, 1), first(_COMPRESSION, 1)
    last = max((a + b for a, b in zip(starts, lengths, strict=False)), default=0)
    last = max(last, end)
    if not lengths and len(starts) == 1 and compression == 1:  # old writers leave the byte count out
        last = max(end, starts[0] + height * width * samples * bits // 8)
    return Page(
        height=height,
        width=width,
        samples=samples,
        planar=first(_PLANAR, 1) == 2,
        bits=bits,
        sample_format=first(_FORMAT, 1),
        compression=compression,
        photometric=first(_PHOTOMETRIC, 1),
        is_reduced=bool(first(_SUBFILE, 0) & 1),
        last_byte=last,
    )
