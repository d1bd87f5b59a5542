"""Calibration that ImageJ writes into a TIFF: unit, resolution tags, spacing, finterval."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from kinocyte.interop.source import Calibration
from kinocyte.interop.units import MICROMETRES, micrometres, minutes, tagged_pixel_um


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def imagej_calibration(
    metadata: Mapping[str, Any], x_per_unit: float | None, y_per_unit: float | None, place: str
) -> tuple[Calibration, tuple[str, ...]]:
    """Return what ImageJ's metadata state, and what a person should know about it.

    Parameters
    ----------
    metadata : mapping
        Keys of the ImageJ description (``unit``, ``yunit``, ``spacing``, ``finterval``, ``tunit``).
    x_per_unit, y_per_unit : float, optional
        Resolution tags, pixels per unit.
    place : str
        File, for messages.

    Returns
    -------
    calibration : Calibration
        Values the file states.
    notes : tuple of str
        Values that were found but are not a calibration.
    """
    unit = str(metadata.get("unit", "")) or None
    stated: dict[str, str] = {}
    notes: list[str] = []
    x_um = _pixel_um(x_per_unit, unit)
    y_um = _pixel_um(y_per_unit, str(metadata.get("yunit", "")) or unit)
    if x_um is not None and y_um is not None:
        stated["pixel size"] = f"ImageJ metadata of '{place}'"
    elif unit and micrometres(1.0, unit) is not None:
        notes.append(
            f"'{place}' states the unit {unit} with a resolution of {x_per_unit}, which is what programs write "
            "that know none"
        )
    spacing = _number(metadata.get("spacing"))
    z_um = micrometres(spacing, str(metadata.get("zunit", "")) or unit) if spacing is not None and unit else None
    if z_um is not None:
        stated["z step"] = f"ImageJ metadata of '{place}'"
    interval = _interval_min(metadata)
    if interval is not None:
        stated["frame interval"] = f"ImageJ metadata of '{place}'"
    calibration = Calibration(
        pixel_y_um=y_um, pixel_x_um=x_um, z_step_um=z_um, frame_interval_min=interval, stated=MappingProxyType(stated)
    )
    return calibration, tuple(notes)


def _pixel_um(per_unit: float | None, unit: str | None) -> float | None:
    """Return the pixel size of one axis, None where the tag holds a default."""
    if per_unit is None or unit is None or per_unit <= 0:
        return None
    one = micrometres(1.0, unit)
    if one is None:
        return None
    if one > MICROMETRES["um"]:  # mm, cm, inch: also how print resolutions are written
        return tagged_pixel_um(per_unit, one)
    if per_unit == 1.0:
        return None
    return one / per_unit


def _interval_min(metadata: Mapping[str, Any]) -> float | None:
    """Return the frame interval; ImageJ writes 0 where it knows none."""
    value = _number(metadata.get("finterval"))
    if value is None or value <= 0:
        return None
    return minutes(value, str(metadata.get("tunit", "")) or "s")
