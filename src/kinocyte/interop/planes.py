"""Single planes of TIFF, PNG and raw files, decoded when they are asked for."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from kinocyte.core.errors import InputFileError
from kinocyte.interop.pool import Pool
from kinocyte.interop.source import Image
from kinocyte.interop.tiff_layout import Page, read_pages

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class PlaneRef:
    """Where one plane (y, x) lies.

    Parameters
    ----------
    path : Path
        The file.
    page : int
        Page of a TIFF.
    inside : tuple
        Index into the decoded page where it holds more than (y, x), such as ``(..., 1)`` for green.
    """

    path: Path
    page: int = 0
    inside: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class RawRef:
    """An uncompressed plane at a byte offset."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Size and type of the first image of a file, and how many images it holds."""

    height: int
    width: int
    samples: int
    dtype: np.dtype[Any]
    count: int


TiffPool = Pool[Path, tifffile.TiffFile]


def tiff_pool() -> TiffPool:
    """Return a pool of open TIFF files."""
    return Pool(tifffile.TiffFile, tifffile.TiffFile.close)


def native(image: Image) -> Image:
    """Return pixels in this machine's byte order, booleans as 0 and 1."""
    if image.dtype == np.bool_:
        return image.astype(np.uint8)
    return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))


def read_plane(ref: PlaneRef | RawRef, pool: TiffPool) -> Image:
    """Return one plane (y, x).

    Raises
    ------
    InputFileError
        If the file is gone or cannot be decoded.
    """
    try:
        if isinstance(ref, RawRef):
            return _read_raw(ref)
        if ref.path.suffix.lower() == ".png":
            image = _read_png(ref.path)
        else:
            with pool.borrow(ref.path) as file:
                image = file.pages[ref.page].asarray(maxworkers=1)
    except InputFileError:
        raise
    except FileNotFoundError as error:
        msg = f"'{ref.path}' is gone; put it back and run the import again."
        raise InputFileError(msg) from error
    except Exception as error:  # decoders raise whatever their C library returns
        page = f" (page {ref.page})" if isinstance(ref, PlaneRef) and ref.page else ""
        msg = f"'{ref.path}'{page} cannot be decoded ({error}); copy it again from the microscope or leave it out."
        raise InputFileError(msg) from error
    return native(image[ref.inside] if ref.inside else image)


def _read_raw(ref: RawRef) -> Image:
    count = int(np.prod(ref.shape))
    with ref.path.open("rb") as file:
        file.seek(ref.offset)
        data = file.read(count * ref.dtype.itemsize)
    if len(data) < count * ref.dtype.itemsize:
        msg = f"'{ref.path}' was cut off; copy it again from the microscope or leave it out."
        raise InputFileError(msg)
    return native(np.frombuffer(data, ref.dtype).reshape(ref.shape))


def _read_png(path: Path) -> Image:
    import imagecodecs

    image: Image = imagecodecs.png_decode(path.read_bytes())
    return image


def stack_reader(
    locate: Callable[[int, int, int], PlaneRef | RawRef | None],
    shape: Sequence[int],
    dtype: np.dtype[Any],
    *,
    is_3d: bool,
    pool: TiffPool,
) -> Callable[[int, int], Image]:
    """Return ``read(t, c)`` built on a function that tells where each plane lies.

    A plane that ``locate`` does not know is returned as zeros; the movie lists it as missing.
    """
    _, _, depth, height, width = shape

    def plane(t: int, c: int, z: int) -> Image:
        ref = locate(t, c, z)
        return np.zeros((height, width), dtype) if ref is None else read_plane(ref, pool)

    def read(t: int, c: int) -> Image:
        if not is_3d:
            return plane(t, c, 0)
        planes = [plane(t, c, z) for z in range(depth)]
        sizes = {p.shape for p in planes}
        if len(sizes) > 1:
            msg = f"The planes of frame {t} differ in size ({sorted(sizes)}); export the stack again."
            raise InputFileError(msg)
        return np.stack(planes)

    return read


def image_facts(path: Path) -> ImageFacts:
    """Return size and type of a TIFF or PNG after checking that the file is whole.

    Raises
    ------
    InputFileError
        If the file is empty, cut off, or of a type that holds no intensities.
    """
    if path.suffix.lower() == ".png":
        return _png_facts(path)
    pages = read_pages(path)
    main = main_page(pages)
    return ImageFacts(main.height, main.width, main.samples, page_dtype(path, main), len(pages))


def main_page(pages: Sequence[Page]) -> Page:
    """Return the first page of full size; previews and thumbnails are smaller."""
    full = [p for p in pages if not p.is_reduced] or list(pages)
    return max(full, key=lambda p: p.height * p.width)


def page_dtype(path: Path, page: Page) -> np.dtype[Any]:
    """Return the pixel type of a page.

    Raises
    ------
    InputFileError
        If it is complex or of a width that cannot be stored.
    """
    dtype = page.dtype
    if dtype is None:
        msg = (
            f"'{path}' holds pixels of {page.bits} bits (format {page.sample_format}), which are no "
            "intensities; export it as 8 or 16 bit."
        )
        raise InputFileError(msg)
    return dtype


def _png_facts(path: Path) -> ImageFacts:
    size = path.stat().st_size
    if size == 0:
        msg = f"'{path}' is empty (0 bytes); copy it again from the microscope or leave it out."
        raise InputFileError(msg)
    with path.open("rb") as file:
        head = file.read(33)
        file.seek(max(0, size - 12))
        tail = file.read(12)
    if head[:8] != _PNG_SIGNATURE or len(head) < 33:
        msg = f"'{path}' is no PNG file although its name says so; export it again or leave it out."
        raise InputFileError(msg)
    if tail[4:8] != b"IEND" or struct.unpack(">I", head[29:33])[0] != zlib.crc32(head[12:29]):
        msg = f"'{path}' was cut off or is damaged ({size} bytes); copy it again from the microscope or leave it out."
        raise InputFileError(msg)
    width, height, bits, color = struct.unpack(">IIBB", head[16:26])
    if color == 3:
        msg = f"'{path}' holds palette colours, not intensities; export it as a grey image."
        raise InputFileError(msg)
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    return ImageFacts(height, width, samples, np.dtype(np.uint16 if bits == 16 else np.uint8), 1)
