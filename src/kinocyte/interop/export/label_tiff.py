"""Label images as TIFF stacks, one file a position and population, written frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.experiment.arrays import Labels
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.position import Position

_BIG_BYTES = 2**32 - 2**25


def write_labels(experiment: Experiment, folder: Path, populations: Sequence[str]) -> list[Path]:
    """Write OME-TIFF stacks: 16 bit where the labels fit, 32 bit otherwise; calibrated in um and minutes."""
    written = []
    for position in experiment.positions.values():
        for population in populations:
            if not position.has_labels(population):
                continue
            target = folder / f"{position.well}_{position.field}_{population}.ome.tif"
            write_labels_of(position, population, target)
            written.append(target)
    return written


def write_labels_of(position: Position, population: str, target: Path) -> None:
    """Write the labels of one population of one position as one OME-TIFF stack.

    Parameters
    ----------
    position : Position
        Where.
    population : str
        Whose; there must be labels.
    target : Path
        File to write.
    """
    import tifffile

    labels, scale = position.labels(population), position.scale
    dtype = np.dtype(np.uint16 if _highest(labels) <= np.iinfo(np.uint16).max else np.uint32)
    metadata: dict[str, Any] = {
        "axes": "TZYX" if labels.is_3d else "TYX",
        "PhysicalSizeX": scale.x_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": scale.y_um,
        "PhysicalSizeYUnit": "µm",
        "Name": f"{position.id} {population}",
    }
    if scale.z_um is not None:
        metadata |= {"PhysicalSizeZ": scale.z_um, "PhysicalSizeZUnit": "µm"}
    if scale.frame_interval_min is not None:
        metadata |= {"TimeIncrement": scale.frame_interval_min, "TimeIncrementUnit": "min"}
    shape = (labels.n_frames, *labels.frame_shape)
    large = int(np.prod(shape)) * dtype.itemsize > _BIG_BYTES
    with tifffile.TiffWriter(target, ome=True, bigtiff=large) as tif:
        tif.write(
            _planes(labels, dtype),
            shape=shape,
            dtype=dtype,
            compression="zlib",
            metadata=metadata,
            photometric="minisblack",
        )


def _highest(labels: Labels) -> int:
    return max((int(labels.frame(t).max(initial=0)) for t in range(labels.n_frames)), default=0)


def _planes(labels: Labels, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    for t in range(labels.n_frames):
        frame = labels.frame(t).astype(dtype)
        yield from frame if frame.ndim == 3 else (frame,)
