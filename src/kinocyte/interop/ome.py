"""OME-TIFF: images, planes and calibration as the OME-XML in the file states them."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from kinocyte.core.errors import InputFileError
from kinocyte.interop.planes import PlaneRef, page_dtype
from kinocyte.interop.source import Calibration
from kinocyte.interop.stack import Stack
from kinocyte.interop.tiff_layout import Page, read_pages
from kinocyte.interop.units import micrometres, minutes, timing

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # noqa: TID251 - the type only; parsing is defusedxml's

_TYPES: Mapping[str, str] = MappingProxyType({
    "int8": "i1", "int16": "i2", "int32": "i4", "uint8": "u1", "uint16": "u2", "uint32": "u4", "float": "f4",
    "double": "f8", "bit": "u1",
})  # fmt: skip
_RGB = ("red", "green", "blue", "alpha")


def parse_ome(text: str, path: Path) -> Element:
    """Return the root of OME-XML.

    Raises
    ------
    InputFileError
        If the text is no XML, or holds entities that may not be trusted.
    """
    try:
        root: Element = ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, DefusedXmlException, LookupError, ValueError) as error:
        msg = f"The OME-XML in '{path}' is damaged ({error}); export the file again."
        raise InputFileError(msg) from error
    return root


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _children(element: Element, name: str) -> Iterator[Element]:
    return (e for e in element if _local(e.tag) == name)


def _all(element: Element, name: str) -> Iterator[Element]:
    return (e for e in element.iter() if _local(e.tag) == name)


def _number(element: Element, key: str) -> float | None:
    try:
        return float(element.get(key, ""))
    except ValueError:
        return None


def set_files(root: Element, path: Path) -> set[Path]:
    """Return the files an OME-TIFF set consists of, this one included."""
    names = {u.get("FileName") for u in _all(root, "UUID")} - {None}
    return {path} | {path.parent / str(n) for n in names}


def metadata_file(root: Element, path: Path) -> Path | None:
    """Return the file that holds the metadata where this one says it is binary only."""
    for element in _all(root, "BinaryOnly"):
        name = element.get("MetadataFile")
        if name:
            return path.parent / name
    return None


@dataclass(frozen=True, slots=True)
class _Place:
    """Well and field of an image in a screen."""

    well: str
    field: str


def _plate_places(root: Element) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    for well in _all(root, "Well"):
        row, column = well.get("Row"), well.get("Column")
        if row is None or column is None or not (row.isdigit() and column.isdigit()) or int(row) >= 26:
            continue
        name = f"{string.ascii_uppercase[int(row)]}{int(column) + 1}"
        for i, sample in enumerate(_children(well, "WellSample")):
            for ref in _children(sample, "ImageRef"):
                places[ref.get("ID", "")] = _Place(name, str(i + 1))
    return places


def ome_stacks(path: Path, text: str) -> list[Stack]:
    """Return one stack for each image that the OME-XML describes.

    Parameters
    ----------
    path : Path
        File that holds the XML.
    text : str
        The XML.

    Raises
    ------
    InputFileError
        If the XML is damaged or describes no image.
    """
    root = parse_ome(text, path)
    images = [(i, p) for i in _children(root, "Image") for p in _children(i, "Pixels")]
    if not images:
        msg = f"The OME-XML in '{path}' describes no image; export the file again."
        raise InputFileError(msg)
    places = _plate_places(root)
    files = _Files(path, root)
    stem = path.name.removesuffix(path.suffix).removesuffix(".ome").removesuffix(".companion")
    stacks = []
    for number, (image, pixels) in enumerate(images):
        name = stem if len(images) == 1 else f"{stem} {image.get('Name') or number}"
        place = places.get(image.get("ID", ""))
        stack = _stack(name, pixels, files)
        stacks.append(stack.replace(well=place.well, field=place.field) if place else stack)
    return stacks


class _Files:
    """Files of a set by the names the XML uses, with their pages."""

    def __init__(self, path: Path, root: Element) -> None:
        self.path = path
        self._own_uuid = root.get("UUID")
        self._alone = len({u.get("FileName") for u in _all(root, "UUID")} - {None}) <= 1
        self._pages: dict[Path, list[Page]] = {}

    def resolve(self, data: Element) -> Path:
        """Return the file that a TiffData element points to; a renamed single file is this one."""
        for uuid in _children(data, "UUID"):
            name = uuid.get("FileName")
            if name and (self.path.parent / name).is_file():
                return self.path.parent / name
            own = (uuid.text or "").strip() == self._own_uuid or self._alone
            if name and not (own and self.path.suffix.lower() != ".ome"):
                return self.path.parent / name
        return self.path

    def pages(self, path: Path) -> list[Page]:
        """Return the pages of a file, none where it is absent."""
        if path not in self._pages:
            self._pages[path] = read_pages(path) if path.is_file() else []
        return self._pages[path]


def _stack(name: str, pixels: Element, files: _Files) -> Stack:
    sizes = {k: int(_number(pixels, f"Size{k}") or 1) for k in "TCZYX"}
    channels = list(_children(pixels, "Channel"))
    samples = max([int(_number(c, "SamplesPerPixel") or 1) for c in channels], default=1)
    planes, used, missing = _plane_map(pixels, sizes, samples, files)
    shape = (sizes["T"], sizes["C"], sizes["Z"], sizes["Y"], sizes["X"])
    dtype = np.dtype(_TYPES[pixels.get("Type", "")]) if pixels.get("Type") in _TYPES else None
    _check_pages(name, planes, shape, dtype, files)
    if dtype is None:
        msg = (
            f"'{files.path}' holds pixels of the type {pixels.get('Type')}, which are no intensities; export "
            "it as 8 or 16 bit."
        )
        raise InputFileError(msg)

    def locate(t: int, c: int, z: int) -> PlaneRef | None:
        ref = planes.get((t, c // samples, z))
        if ref is None or samples == 1:
            return ref
        page = files.pages(ref.path)[ref.page]
        inside = (c % samples,) if page.planar else (..., c % samples)
        return PlaneRef(ref.path, ref.page, inside)

    return Stack(
        name=name,
        shape=shape,
        dtype=dtype,
        locate=locate,
        files=tuple(sorted(used)),
        has="".join(k.lower() for k in "TCZ" if sizes[k] > 1),
        channels=_channel_names(channels, samples, sizes["C"]),
        calibration=_calibration(pixels, sizes["T"], files.path.name),
        missing=MappingProxyType(missing),
    )


def _channel_names(channels: Sequence[Element], samples: int, size: int) -> tuple[str, ...] | None:
    names = [c.get("Name") or "" for c in channels]
    if samples > 1:
        names = [f"{n} {_RGB[s]}".strip() if samples <= 4 else f"{n} {s}" for n in names for s in range(samples)]
    return tuple(names) if len(names) == size and all(names) else None


def _plane_map(
    pixels: Element, sizes: Mapping[str, int], samples: int, files: _Files
) -> tuple[dict[tuple[int, int, int], PlaneRef], set[Path], dict[int, str]]:
    """Return where each plane (t, channel, z) lies, the files, and frames that lack something."""
    axes = [a for a in pixels.get("DimensionOrder", "XYCZT")[2:] if a in "CZT"]
    counts = {"T": sizes["T"], "C": max(1, sizes["C"] // samples), "Z": sizes["Z"]}
    total = counts["T"] * counts["C"] * counts["Z"]
    planes: dict[tuple[int, int, int], PlaneRef] = {}
    used: set[Path] = set()
    absent: dict[int, str] = {}
    blocks = list(_children(pixels, "TiffData")) or [pixels]
    for data in blocks:
        path = files.resolve(data)
        pages = len(files.pages(path))
        first = int(_number(data, "IFD") or 0)
        given = _number(data, "PlaneCount")
        count = int(given) if given is not None else (1 if data.get("IFD") is not None else min(pages or 1, total))
        start = {a: int(_number(data, f"First{a}") or 0) for a in "CZT"}
        linear, step = 0, 1
        for a in axes:
            linear += start[a] * step
            step *= counts[a]
        for k in range(min(count, total - linear)):
            rest, at = linear + k, {}
            for a in axes:
                rest, at[a] = divmod(rest, counts[a])
            if first + k < pages:
                planes[at["T"], at["C"], at["Z"]] = PlaneRef(path, first + k)
                used.add(path)
            else:
                reason = f"'{path}' holds {pages} pages, page {first + k} is wanted" if pages else f"'{path}' is absent"
                absent.setdefault(at["T"], reason)
    missing: dict[int, str] = {}
    for t in range(counts["T"]):
        holes = [(c, z) for c in range(counts["C"]) for z in range(counts["Z"]) if (t, c, z) not in planes]
        if holes:
            missing[t] = absent.get(
                t, f"channel {holes[0][0]}, plane {holes[0][1]} is in no file of '{files.path.name}'"
            )
    return planes, used or {files.path}, missing


def _check_pages(
    name: str,
    planes: Mapping[tuple[int, int, int], PlaneRef],
    shape: Sequence[int],
    dtype: np.dtype[np.generic] | None,
    files: _Files,
) -> None:
    """Raise where a page has another size or type than the XML announces."""
    for (t, c, z), ref in planes.items():
        page = files.pages(ref.path)[ref.page]
        found = page_dtype(ref.path, page)
        if (page.height, page.width) != tuple(shape[3:]) or (dtype is not None and found != dtype):
            msg = (
                f"Page {ref.page} of '{ref.path}' (frame {t}, channel {c}, plane {z} of '{name}') is "
                f"{page.height} x {page.width} "
                f"{found}, its OME-XML says {shape[3]} x {shape[4]} {dtype}; export the file again."
            )
            raise InputFileError(msg)


def _calibration(pixels: Element, frames: int, place: str) -> Calibration:
    """Return physical sizes and times; a size without a unit is in um, a time in s (OME 2016-06)."""
    size: dict[str, float | None] = {}
    for axis in "XYZ":
        value = _number(pixels, f"PhysicalSize{axis}")
        size[axis] = None if value is None else micrometres(value, pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    increment = _number(pixels, "TimeIncrement")
    nominal = None if increment is None else minutes(increment, pixels.get("TimeIncrementUnit", "s"))
    times: list[float | None] = [None] * frames
    for plane in _children(pixels, "Plane"):
        t, delta = _number(plane, "TheT"), _number(plane, "DeltaT")
        first = (_number(plane, "TheC") or 0) == 0 and (_number(plane, "TheZ") or 0) == 0
        if first and t is not None and delta is not None and 0 <= int(t) < frames:
            times[int(t)] = minutes(delta, plane.get("DeltaTUnit", "s"))
    interval, measured = timing(times, nominal)
    stated = {
        "pixel size": size["X"] is not None and size["Y"] is not None,
        "z step": size["Z"] is not None,
        "frame interval": interval is not None,
    }
    return Calibration(
        pixel_y_um=size["Y"],
        pixel_x_um=size["X"],
        z_step_um=size["Z"],
        frame_interval_min=interval,
        times_min=measured,
        stated=MappingProxyType({k: f"OME metadata of '{place}'" for k, v in stated.items() if v}),
    )
