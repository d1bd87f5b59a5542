"""A movie as one OME-Zarr 0.5 image, written frame by frame as its frames are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, StoreError
from kinocyte.core.scale import Scale
from kinocyte.experiment.groups import write_group
from kinocyte.experiment.ngff import image_attributes
from kinocyte.experiment.storage import Storage
from kinocyte.experiment.writing import ArrayWriter
from kinocyte.interop.source import Calibration


def write_movie(
    target: Path,
    frames: Iterator[NDArray[Any]],
    *,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    channels: Sequence[str],
    calibration: Calibration,
) -> None:
    """Write a movie so that a reader finds the whole image or none; memory holds one frame of all channels.

    Parameters
    ----------
    target : Path
        Folder to make, its name ending in ``.ome.zarr``; it must not exist yet.
    frames, shape, dtype, channels, calibration
        As `kinocyte.interop.export.movie_tiff.write_movie` takes them. What the calibration leaves open has no unit.

    Raises
    ------
    ParameterError
        If the pixels are complex numbers.
    StoreError
        If the folder exists already or the disk may not be written.
    """
    check_type(dtype)
    if target.exists():
        msg = f"{target} exists already and is left as it is; name another folder."
        raise StoreError(msg)
    storage = Storage(target.absolute().parent)
    staged = storage.staging(target.name)
    axes = "tczyx" if len(shape) == 5 else "tcyx"
    arrays = ArrayWriter(storage, staged, axes=axes, shape=shape, dtype=dtype)
    try:
        arrays.open()
        for t in range(shape[0]):
            arrays.write(t, np.stack([next(frames) for _ in range(shape[1])]))
        document = _document(target.name.removesuffix(".ome.zarr"), arrays, channels, calibration)
        ours = {} if calibration.times_min is None else {"times_min": list(calibration.times_min)}
        write_group(storage, staged, {"ome": document, "kinocyte": ours})
        storage.publish(staged, target.name)
    finally:
        storage.remove(staged)


def check_type(dtype: np.dtype[Any]) -> None:
    """Refuse pixels that are no real numbers.

    Raises
    ------
    ParameterError
        For complex numbers.
    """
    if dtype.kind not in "biuf":
        msg = f"OME-Zarr holds no {dtype} pixels; convert the movie to whole or floating-point numbers."
        raise ParameterError(msg)


def _document(name: str, arrays: ArrayWriter, channels: Sequence[str], known: Calibration) -> dict[str, Any]:
    scale = Scale(
        y_um=known.pixel_y_um or 1.0, x_um=known.pixel_x_um or 1.0, z_um=known.z_step_um,
        frame_interval_min=known.frame_interval_min,
    )  # fmt: skip
    levels, window = arrays.n_levels, arrays.window()
    document = image_attributes(name, arrays.axes, scale, n_levels=levels, channels=channels, window=window)
    unknown = {a for a, size in (("y", known.pixel_y_um), ("x", known.pixel_x_um)) if size is None}
    for axis in document["multiscales"][0]["axes"]:
        if axis["name"] in unknown:
            del axis["unit"]
    return document
