"""From the units that files use to micrometres and minutes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

#: micrometres in one unit; spellings of ImageJ, OME and OME-Zarr
MICROMETRES: Mapping[str, float] = MappingProxyType({
    "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometers": 1.0,
    "micrometre": 1.0, "micrometres": 1.0,
    "nm": 1e-3, "nanometer": 1e-3, "nanometers": 1e-3, "nanometre": 1e-3,
    "pm": 1e-6, "picometer": 1e-6, "å": 1e-4, "angstrom": 1e-4,
    "mm": 1e3, "millimeter": 1e3, "millimetre": 1e3, "cm": 1e4, "centimeter": 1e4, "centimetre": 1e4,
    "dm": 1e5, "m": 1e6, "meter": 1e6, "metre": 1e6, "in": 25400.0, "inch": 25400.0, "inches": 25400.0,
})  # fmt: skip

#: seconds in one unit
SECONDS: Mapping[str, float] = MappingProxyType({
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0,
    "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
    "µs": 1e-6, "μs": 1e-6, "us": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6,
    "ns": 1e-9, "nanosecond": 1e-9,
    "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0,
})  # fmt: skip

#: A pixel of a light microscope is smaller than this; larger values are print resolutions (72 dpi = 353 um).
LARGEST_TAGGED_PIXEL_UM = 5.0


def _plain(unit: str) -> str:
    """Return a unit in lower case with Java's escapes of non-ASCII letters resolved."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m.group(1), 16)), unit)
    return text.strip().strip("\x00").lower()


def micrometres(value: float, unit: str | None) -> float | None:
    """Return a length in micrometres, or None where the unit is no length or the value no size."""
    factor = MICROMETRES.get(_plain(unit)) if unit else None
    if factor is None or not math.isfinite(value) or value <= 0:
        return None
    return value if factor == 1.0 else value * factor


def minutes(value: float, unit: str | None) -> float | None:
    """Return a time in minutes, or None where the unit is no time or the value not finite."""
    factor = SECONDS.get(_plain(unit)) if unit else None
    if factor is None or not math.isfinite(value):
        return None
    return value if factor == 60.0 else value * factor / 60.0


def tagged_pixel_um(pixels_per_unit: float, um_per_unit: float) -> float | None:
    """Return the pixel size that a resolution tag states, or None where it is a print resolution.

    Programs that know no calibration write 1, 72, 96, 150 or 300 pixels per inch or centimetre into the
    tag. All of these are pixels of more than `LARGEST_TAGGED_PIXEL_UM`; no objective gives such pixels.
    """
    if not math.isfinite(pixels_per_unit) or pixels_per_unit <= 0:
        return None
    size = um_per_unit / pixels_per_unit
    return size if size < LARGEST_TAGGED_PIXEL_UM else None


def timing(
    times_min: Sequence[float | None], nominal_min: float | None
) -> tuple[float | None, tuple[float, ...] | None]:
    """Return the frame interval and, where frames are not equidistant, their measured times.

    Parameters
    ----------
    times_min : sequence of float or None
        Measured time of each frame in minutes, None where not recorded.
    nominal_min : float, optional
        Interval that the acquisition was set to.

    Returns
    -------
    interval_min : float or None
        The nominal interval, else the mean of the measured ones.
    times_min : tuple of float or None
        The measured times where one deviates from the grid by more than 1 % of the interval.
    """
    nominal = nominal_min if nominal_min is not None and math.isfinite(nominal_min) and nominal_min > 0 else None
    measured = [t for t in times_min if t is not None and math.isfinite(t)]
    if len(measured) < 2 or len(measured) < len(times_min):
        return nominal, None
    times = np.asarray(measured, np.float64)
    if np.any(np.diff(times) <= 0):
        return nominal, None
    interval = nominal if nominal is not None else float((times[-1] - times[0]) / (len(times) - 1))
    grid = times[0] + interval * np.arange(len(times))
    if np.max(np.abs(times - grid)) <= 0.01 * interval:
        return interval, None
    return interval, tuple(float(t) for t in times)


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts ``t9`` before ``t10``."""
    parts = re.split(r"(\d+)", text)
    return tuple((1, int(p), p) if p.isdigit() and p.isascii() else (0, 0, p) for p in parts)
