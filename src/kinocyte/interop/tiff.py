"""TIFF, BigTIFF, ImageJ hyperstacks and OME-TIFF, also in sets of several files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import tifffile

from kinocyte.core.errors import InputFileError
from kinocyte.interop.axes import settle_axes
from kinocyte.interop.imagej import imagej_calibration
from kinocyte.interop.ome import metadata_file, ome_stacks, parse_ome
from kinocyte.interop.planes import PlaneRef, RawRef, main_page, page_dtype
from kinocyte.interop.source import Calibration
from kinocyte.interop.stack import Locate, Stack
from kinocyte.interop.tiff_layout import Page, read_pages
from kinocyte.interop.units import tagged_pixel_um

#: A page with less than this share of the largest page's area is a preview.
PREVIEW_SHARE = 0.25
_RGB = ("red", "green", "blue", "alpha")
#: tifffile's axis letters that we understand; every other means "ask"
_LETTERS = {"T": "t", "C": "c", "Z": "z", "Y": "y", "X": "x", "S": "s"}


def read_stacks(path: Path, *, axes: str | None = None, override: bool = False) -> list[Stack]:
    """Return the stacks that a TIFF file holds: one, or one for each image of an OME-TIFF.

    Parameters
    ----------
    path : Path
        A TIFF, or the ``.companion.ome`` of a set.
    axes : str, optional
        What ``--axes`` says.
    override : bool
        Whether ``--axes`` wins over the file.

    Raises
    ------
    InputFileError
        If the file is empty, cut off, damaged, or its pages differ in size or type.
    """
    if path.suffix.lower() == ".ome":
        return ome_stacks(path, path.read_text(encoding="utf-8"))
    pages = read_pages(path)
    try:
        with tifffile.TiffFile(path) as file:
            text = str(file.ome_metadata) if file.is_ome and file.ome_metadata else None
            if text is None:
                return [_plain_stack(path, file, pages, axes=axes, override=override)]
    except InputFileError:
        raise
    except Exception as error:  # damaged metadata make tifffile raise whatever its parsers do
        msg = f"'{path}' cannot be read as a TIFF ({error}); export it again or leave it out."
        raise InputFileError(msg) from error
    companion = metadata_file(parse_ome(text, path), path)
    if companion is None:
        return ome_stacks(path, text)
    if not companion.is_file():
        msg = f"'{path}' keeps its metadata in '{companion.name}', which is not beside it; copy that file here too."
        raise InputFileError(msg)
    return read_stacks(companion, axes=axes, override=override)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The array a plain TIFF holds and how its pages make it up."""

    axes: str
    shape: tuple[int, ...]
    page_ndim: int
    pages: tuple[int, ...]
    raw: RawRef | None


def _plain_stack(
    path: Path, file: tifffile.TiffFile, pages: Sequence[Page], *, axes: str | None, override: bool
) -> Stack:
    main, left_out = _full_pages(path, pages)
    layout = _layout(path, file, main)
    answer = settle_axes(layout.axes, layout.shape, option=axes, override=override, place=str(path))
    sizes = {a: n for a, n in zip(answer.axes, layout.shape, strict=True) if a not in "1?"}
    samples = sizes.get("s", 1)
    shape = (
        sizes.get("t", 1),
        sizes.get("c", 1) * samples,
        sizes.get("z", 1),
        sizes["y"],
        sizes["x"],
    )
    calibration, notes = _calibration(path, file)
    if left_out:
        notes += (f"{left_out} preview page(s) of '{path.name}' were left out",)
    if answer.note:
        notes += (answer.note,)
    if "z" in layout.axes and shape[2] > 1 and shape[0] == 1 and file.is_imagej:
        notes += (
            f"'{path.name}' states {shape[2]} slices in z; if they are frames, give --axes tyx --override-metadata",
        )
    return Stack(
        name=path.name.removesuffix(path.suffix).removesuffix(".ome"),
        shape=shape,
        dtype=page_dtype(path, pages[main[0]]),
        locate=_locator(path, layout, answer.axes, samples),
        files=(path,),
        has="".join(a for a in answer.axes if a in "tcz"),
        channels=_channels(file, shape[1], samples),
        calibration=calibration,
        questions=(answer.question,) if answer.question else (),
        notes=notes,
    )


def _full_pages(path: Path, pages: Sequence[Page]) -> tuple[list[int], int]:
    """Return the indices of the pages of full size and how many previews there are.

    Raises
    ------
    InputFileError
        If a page is neither a preview nor like the others.
    """
    first = main_page(pages)
    area = first.height * first.width
    keep = [i for i, p in enumerate(pages) if not p.is_reduced and p.height * p.width >= PREVIEW_SHARE * area]
    keep = keep or [pages.index(first)]
    like = pages[keep[0]]
    for i in keep:
        p = pages[i]
        if (p.height, p.width, p.samples, p.dtype) != (like.height, like.width, like.samples, like.dtype):
            msg = (
                f"Page {i} of '{path}' is {p.height} x {p.width} {p.dtype}, page {keep[0]} is {like.height} x "
                f"{like.width} "
                f"{like.dtype}; frames of one movie have one size and type, export it again."
            )
            raise InputFileError(msg)
    return keep, len(pages) - len(keep)


def _layout(path: Path, file: tifffile.TiffFile, main: Sequence[int]) -> _Layout:
    page: Any = file.pages[main[0]]  # the first page is never a lazy frame
    series = next((s for s in file.series if _first_index(s) == main[0]), None)
    page_axes = _letters(page.axes)
    if series is not None:
        wanted = int(np.prod(series.shape)) // int(np.prod(page.shape))
        letters, shape = _letters(series.axes), tuple(int(n) for n in series.shape)
        if len(letters) >= len(page.shape) and shape[len(shape) - len(page.shape) :] == tuple(page.shape):
            if series.kind == "shaped" and page.planarconfig == 2 and not _names_axes(page):
                letters = letters.replace("s", "?")  # tifffile guesses RGB from three or four frames
            if wanted == len(main):
                return _Layout(letters, shape, len(page.shape), tuple(main), None)
            if wanted > len(main) and series.dataoffset is not None:
                raw = RawRef(path, int(series.dataoffset), tuple(page.shape), page.dtype.newbyteorder(file.byteorder))
                _check_contiguous(path, raw, wanted)
                return _Layout(letters, shape, len(page.shape), (), raw)
    return _Layout(f"?{page_axes}", (len(main), *page.shape), len(page.shape), tuple(main), None)


def _first_index(series: tifffile.TiffPageSeries) -> int | None:
    first = series.pages[0] if len(series.pages) else None
    return None if first is None else int(first.index)


def _check_contiguous(path: Path, raw: RawRef, planes: int) -> None:
    need = raw.offset + planes * math.prod(raw.shape) * raw.dtype.itemsize
    size = path.stat().st_size
    if need > size:
        msg = (
            f"'{path}' was cut off ({size} bytes, {need} are announced); copy it again from the microscope or "
            "leave it out."
        )
        raise InputFileError(msg)


def _letters(axes: str) -> str:
    return "".join(_LETTERS.get(a, "?") for a in axes)


def _names_axes(page: Any) -> bool:
    try:
        return "axes" in json.loads(page.description)
    except ValueError:
        return False


def _locator(path: Path, layout: _Layout, axes: str, samples: int) -> Locate:
    """Return where plane (t, c, z) lies, for pages in the order of the leading axes."""
    lead = len(layout.shape) - layout.page_ndim
    raw, pages = layout.raw, layout.pages

    def locate(t: int, c: int, z: int) -> PlaneRef | RawRef:
        at = {"t": t, "c": c // samples, "z": z, "s": c % samples}
        number = 0
        for axis, size in zip(axes[:lead], layout.shape[:lead], strict=True):
            number = number * size + at.get(axis, 0)
        inside = tuple(slice(None) if a in "yx" else at.get(a, 0) for a in axes[lead:])
        if all(isinstance(i, slice) for i in inside):
            inside = ()
        if raw is None:
            return PlaneRef(path, pages[number], inside)
        item = math.prod(raw.shape) * raw.dtype.itemsize
        if not inside:
            return RawRef(path, raw.offset + number * item, raw.shape, raw.dtype)
        msg = (
            f"'{path}' keeps colours inside pages without directories, which cannot be read frame by frame; "
            "save it again as OME-TIFF."
        )
        raise InputFileError(msg)

    return locate


def _channels(file: tifffile.TiffFile, count: int, samples: int) -> tuple[str, ...] | None:
    """Return channel names: colours of an RGB image, or ImageJ's slice labels where they name channels."""
    if samples > 1 and count == samples <= 4:
        return _RGB[:samples]
    labels = (file.imagej_metadata or {}).get("Labels") if file.is_imagej else None
    if count > 1 and isinstance(labels, (list, tuple)) and len(labels) == count:
        names = tuple(str(n).strip() for n in labels)
        return names if all(names) and len(set(names)) == count else None
    return None


def _resolution(file: tifffile.TiffFile) -> tuple[float | None, float | None, int]:
    page: Any = file.pages[0]  # the first page is never a lazy frame
    tags = page.tags
    found: list[float | None] = []
    for name in ("XResolution", "YResolution"):
        value = tags[name].value if name in tags else None
        pair = isinstance(value, (tuple, list)) and len(value) == 2 and value[1]
        found.append(value[0] / value[1] if pair and value is not None else None)
    unit = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 2
    return found[0], found[1], unit


def _calibration(path: Path, file: tifffile.TiffFile) -> tuple[Calibration, tuple[str, ...]]:
    x, y, unit = _resolution(file)
    if file.is_imagej:
        return imagej_calibration(file.imagej_metadata or {}, x, y, path.name)
    per_unit = {2: 25400.0, 3: 10000.0}.get(unit)
    if per_unit is None or x is None or y is None:
        return Calibration(), ()
    x_um, y_um = tagged_pixel_um(x, per_unit), tagged_pixel_um(y, per_unit)
    if x_um is None or y_um is None:
        return Calibration(), ()
    stated = MappingProxyType({"pixel size": f"resolution tag of '{path.name}'"})
    return Calibration(pixel_y_um=y_um, pixel_x_um=x_um, stated=stated), ()
