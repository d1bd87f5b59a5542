"""A movie as one OME-TIFF, written plane by plane as its frames are computed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, StoreError
from kinocyte.experiment.storage import write_error
from kinocyte.interop.source import Calibration

_BIG_BYTES = 2**32 - 2**25
_OME_TYPES = ("u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8")


def write_movie(
    target: Path,
    frames: Iterator[NDArray[Any]],
    *,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    channels: Sequence[str],
    calibration: Calibration,
) -> None:
    """Write a movie so that a reader finds the whole file or none; memory holds one frame.

    Parameters
    ----------
    target : Path
        File to write; it must not exist yet.
    frames : iterator of array
        One channel of one frame at a time, (y, x) or (z, y, x): all channels of frame 0, then those of frame 1.
    shape : sequence of int
        (t, c, y, x) or (t, c, z, y, x).
    dtype : numpy.dtype
        Type of every frame.
    channels : sequence of str
        Channel names.
    calibration : Calibration
        Sizes in um and times in minutes; what is None is not written.

    Raises
    ------
    ParameterError
        If OME-TIFF does not know the type of the pixels.
    StoreError
        If the file exists already or the disk may not be written.
    """
    import tifffile

    check_type(dtype)
    if target.exists():
        msg = f"{target} exists already and is left as it is; name another folder."
        raise StoreError(msg)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    big = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize > _BIG_BYTES
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tifffile.TiffWriter(partial, ome=True, bigtiff=big) as tif:
            tif.write(
                _planes(frames), shape=tuple(shape), dtype=dtype, photometric="minisblack",
                metadata=_metadata(shape, channels, calibration),
            )  # fmt: skip
        partial.replace(target)
    except OSError as error:
        if error.errno is None:  # a sentence of ours about the file that is read
            raise
        raise write_error(str(target), error) from error
    finally:
        partial.unlink(missing_ok=True)


def check_type(dtype: np.dtype[Any]) -> None:
    """Refuse pixels that OME-TIFF has no type for.

    Raises
    ------
    ParameterError
        For 64 bit whole numbers, half floats and complex numbers.
    """
    if dtype.str[1:] not in _OME_TYPES:
        msg = f"OME-TIFF holds no {dtype} pixels; convert the movie to 8, 16 or 32 bit."
        raise ParameterError(msg)


def _planes(frames: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    for frame in frames:
        yield from frame if frame.ndim == 3 else (frame,)


def _metadata(shape: Sequence[int], channels: Sequence[str], calibration: Calibration) -> dict[str, Any]:
    found: dict[str, Any] = {"axes": "TCZYX" if len(shape) == 5 else "TCYX", "Channel": {"Name": list(channels)}}
    sizes = {"X": calibration.pixel_x_um, "Y": calibration.pixel_y_um, "Z": calibration.z_step_um}
    for axis, size in sizes.items():
        if size is not None:
            found |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    if calibration.frame_interval_min is not None:
        found |= {"TimeIncrement": calibration.frame_interval_min, "TimeIncrementUnit": "min"}
    if calibration.times_min is not None:
        planes = int(np.prod(shape[1:-2]))
        times = [t for t in calibration.times_min for _ in range(planes)]
        found["Plane"] = {"DeltaT": times, "DeltaTUnit": ["min"] * len(times)}
    return found
