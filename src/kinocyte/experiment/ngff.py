"""OME-Zarr metadata: written as 0.5, read as 0.4 or 0.5.

Source: OME-NGFF specification 0.5, https://ngff.openmicroscopy.org/0.5/ (plate, well, multiscales, omero, image-label).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kinocyte.core.errors import CalibrationError, StoreError
from kinocyte.core.scale import Scale

VERSION = "0.5"
AXES = "tczyx"
_AXIS_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_UM_PER_UNIT = {
    "micrometer": 1.0,
    "micron": 1.0,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "nanometer": 1e-3,
    "nm": 1e-3,
    "millimeter": 1e3,
    "mm": 1e3,
    "meter": 1e6,
    "m": 1e6,
    "centimeter": 1e4,
    "picometer": 1e-6,
    "angstrom": 1e-4,
    "inch": 25400.0,
}
_MIN_PER_UNIT = {
    "minute": 1.0,
    "min": 1.0,
    "second": 1 / 60,
    "s": 1 / 60,
    "millisecond": 1 / 60000,
    "ms": 1 / 60000,
    "hour": 60.0,
    "h": 60.0,
    "day": 1440.0,
    "microsecond": 1 / 6e7,
}
#: Channel colours that stay apart for colour-blind readers (Okabe and Ito), first channel grey.
COLOURS = ("FFFFFF", "56B4E9", "E69F00", "CC79A7", "009E73", "F0E442", "0072B2", "D55E00")


@dataclass(frozen=True)
class Multiscale:
    """What one image group says of itself: axes, levels and calibration as far as stated."""

    axes: str
    levels: tuple[str, ...]
    channels: tuple[str, ...]
    spacing: Mapping[str, float]
    units: Mapping[str, str]

    def scale(self, place: str, times_min: Sequence[float] | None = None) -> Scale:
        """Return the calibration in micrometres and minutes.

        Raises
        ------
        CalibrationError
            If pixel size or unit is not stated, or the unit is unknown.
        """
        size = {a: self._convert(a, _UM_PER_UNIT, place, "micrometer") for a in "zyx" if a in self.axes}
        interval = None
        if "t" in self.axes and self.units.get("t"):
            interval = self._convert("t", _MIN_PER_UNIT, place, "minute")
        return Scale(
            y_um=size["y"],
            x_um=size["x"],
            z_um=size.get("z"),
            frame_interval_min=interval,
            times_min=tuple(times_min) if times_min is not None else None,
        )

    def _convert(self, axis: str, table: Mapping[str, float], place: str, wanted: str) -> float:
        unit = self.units.get(axis)
        if unit is None:
            msg = (
                f"{place} does not state the unit of its {axis} axis; import it with "
                "`kinocyte import ... --pixel-size-um` (and --frame-interval-min) to state the calibration."
            )
            raise CalibrationError(msg)
        if unit not in table:
            msg = f"{place} gives its {axis} axis in '{unit}', which is not a unit of OME-Zarr; expected '{wanted}'."
            raise CalibrationError(msg)
        return self.spacing.get(axis, 1.0) * table[unit]


def ome(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the OME part of a group's attributes, whichever version wrote it."""
    inner = attributes.get("ome")
    return inner if isinstance(inner, Mapping) else attributes


def parse_multiscale(attributes: Mapping[str, Any], place: str) -> Multiscale:
    """Read the image metadata of a group.

    Raises
    ------
    StoreError
        If the group is not an OME-Zarr image.
    """
    document = ome(attributes)
    try:
        image = document["multiscales"][0]
        raw_axes = image["axes"]
        datasets = image["datasets"]
        names = [a["name"] if isinstance(a, Mapping) else str(a) for a in raw_axes]
        levels = tuple(str(d["path"]) for d in datasets)
    except (KeyError, IndexError, TypeError) as error:
        msg = f"{place} is not an OME-Zarr image of version 0.4 or 0.5 (no multiscales with axes)."
        raise StoreError(msg) from error
    axes = "".join(str(n).lower() for n in names)
    bad = [p for p in levels if p.startswith(("/", ".")) or ".." in p]
    if not set(axes) <= set(AXES) or len(set(axes)) != len(axes) or not {"y", "x"} <= set(axes) or bad or not levels:
        msg = f"{place} has axes {names} and levels {list(levels)}; only t, c, z, y, x and plain level names are read."
        raise StoreError(msg)
    spacing = dict.fromkeys(axes, 1.0)
    for transforms in (datasets[0].get("coordinateTransformations"), image.get("coordinateTransformations")):
        for transform in transforms or ():
            if transform.get("type") == "scale":
                for axis, value in zip(axes, transform["scale"], strict=False):
                    spacing[axis] *= float(value)
    units = {
        axis: str(a["unit"]) for axis, a in zip(axes, raw_axes, strict=True) if isinstance(a, Mapping) and a.get("unit")
    }
    channels = tuple(str(c.get("label", i)) for i, c in enumerate((document.get("omero") or {}).get("channels", [])))
    return Multiscale(axes, levels, channels, spacing, units)


def image_attributes(
    name: str,
    axes: str,
    scale: Scale,
    *,
    n_levels: int,
    channels: Sequence[str] = (),
    window: tuple[float, float] = (0, 1),
) -> dict[str, Any]:
    """Return the ``ome`` document of an image or label group written by us."""
    sizes = {"t": scale.frame_interval_min or 1.0, "c": 1.0, "z": scale.z_um or 1.0, "y": scale.y_um, "x": scale.x_um}
    described = []
    for axis in axes:
        entry: dict[str, Any] = {"name": axis, "type": _AXIS_TYPES[axis]}
        if axis in "yx" or (axis == "z" and scale.z_um is not None):
            entry["unit"] = "micrometer"
        if axis == "t" and scale.frame_interval_min is not None:
            entry["unit"] = "minute"
        described.append(entry)
    datasets = []
    for level in range(n_levels):
        factor = {a: 2**level if a in "yx" else 1 for a in axes}
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [{"type": "scale", "scale": [sizes[a] * factor[a] for a in axes]}],
            }
        )
    document: dict[str, Any] = {
        "version": VERSION,
        "multiscales": [{"name": name, "axes": described, "datasets": datasets}],
    }
    if channels:
        low, high = window
        document["omero"] = {
            "channels": [
                {
                    "label": channel,
                    "color": COLOURS[i % len(COLOURS)],
                    "active": i < 4,
                    "window": {"min": low, "max": high, "start": low, "end": high},
                }
                for i, channel in enumerate(channels)
            ],
        }
    return document


def plate_attributes(name: str, wells: Sequence[tuple[str, str]], n_fields: int) -> dict[str, Any]:
    """Return the ``ome`` document of a plate with the given (row, column) wells."""
    rows = sorted({r for r, _ in wells}, key=lambda r: (len(r), r))
    columns = sorted({c for _, c in wells}, key=int)
    plate: dict[str, Any] = {
        "version": VERSION,
        "name": name,
        "acquisitions": [{"id": 0}],
        "rows": [{"name": r} for r in rows],
        "columns": [{"name": c} for c in columns],
        "wells": [{"path": f"{r}/{c}", "rowIndex": rows.index(r), "columnIndex": columns.index(c)} for r, c in wells],
    }
    if n_fields:
        plate["field_count"] = n_fields
    return {"version": VERSION, "plate": plate}


def well_attributes(fields: Sequence[str]) -> dict[str, Any]:
    """Return the ``ome`` document of a well with the given fields."""
    return {"version": VERSION, "well": {"version": VERSION, "images": [{"path": f, "acquisition": 0} for f in fields]}}


def parse_plate(attributes: Mapping[str, Any], place: str) -> list[str]:
    """Return the well paths of a plate after checking that they stay inside it."""
    try:
        paths = [str(w["path"]) for w in ome(attributes)["plate"]["wells"]]
    except (KeyError, TypeError) as error:
        msg = f"{place} is not an OME-Zarr plate of version 0.4 or 0.5."
        raise StoreError(msg) from error
    return [_inside(p, 2, place) for p in paths]


def parse_well(attributes: Mapping[str, Any], place: str) -> list[str]:
    """Return the image paths of a well after checking that they stay inside it."""
    try:
        paths = [str(i["path"]) for i in ome(attributes)["well"]["images"]]
    except (KeyError, TypeError) as error:
        msg = f"{place} is not an OME-Zarr well of version 0.4 or 0.5."
        raise StoreError(msg) from error
    return [_inside(p, 1, place) for p in paths]


def _inside(path: str, depth: int, place: str) -> str:
    parts = path.split("/")
    if len(parts) != depth or any(not p or p.startswith(".") or "\\" in p for p in parts):
        msg = f"{place} names a path '{path}' that does not lie inside it; the metadata is damaged."
        raise StoreError(msg)
    return path
