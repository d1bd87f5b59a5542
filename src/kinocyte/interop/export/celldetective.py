"""Experiment folders of Celldetective: ``config.ini``, movies, one mask a frame, and tables in its codes.

Layout and codes: Torro et al. 2025, eLife 14, RP105302, and the files that program writes. Its own project folder is
2D with one calibration for all positions; what does not fit is refused before anything is written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import StoreError
from kinocyte.experiment.arrays import Image
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.position import Position
from kinocyte.interop.export.celldetective_tables import pairs_table, trajectories

_BIG_BYTES = 2**32 - 2**25
_IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)
#: Labels of a well that Celldetective always asks for, and the condition columns that hold them.
_LABELS = {
    "cell_types": ("cell_type", "cell_types", "cells"),
    "antibodies": ("antibody", "antibodies"),
    "concentrations": ("concentration", "concentrations", "dose"),
    "pharmaceutical_agents": ("pharmaceutical_agent", "pharmaceutical_agents", "drug"),
}
_UNITS = ("concentration_unit", "concentration_units", "unit")


@dataclass(frozen=True, slots=True)
class _Place:
    """One position and the folder it goes to."""

    position: Position
    image: Image
    well: str
    folder: Path


def write_celldetective(experiment: Experiment, folder: Path, populations: Sequence[str]) -> list[Path]:
    """Write ``celldetective/`` with everything Celldetective opens: movies, masks, tables, classes and conditions.

    Wells become ``W1, W2, ..`` in their order, positions ``100, 101, ..``; ``positions.csv`` says which is which.
    Objects that belong to no track are left out where a population was tracked, as Celldetective knows none.

    Returns
    -------
    list of Path
        ``config.ini``, ``positions.csv``, movies and tables.

    Raises
    ------
    StoreError
        If positions are 3D, differ in channels or calibration, or have no frame interval.
    """
    root = folder / "celldetective"
    places = _places(experiment, root)
    _check(places)
    written = [_write_config(experiment, root, places, populations)]
    listed = [{"well": p.position.well, "field": p.position.field, "folder": _relative(p, root)} for p in places]
    pl.DataFrame(listed).write_csv(root / "positions.csv")
    written.append(root / "positions.csv")
    for place in places:
        written.append(_write_movie(place))
        tables = place.folder / "output" / "tables"
        tables.mkdir(parents=True)
        for population in populations:
            _write_masks(place, population)
            table = trajectories(place.position, population)
            if table is not None:
                table.write_csv(tables / f"trajectories_{population}.csv")
                written.append(tables / f"trajectories_{population}.csv")
        pairs = pairs_table(place.position, populations)
        if pairs is not None:
            pairs.write_csv(tables / "trajectories_pairs.csv")
            written.append(tables / "trajectories_pairs.csv")
    return written


def _relative(place: _Place, root: Path) -> str:
    return place.folder.relative_to(root).as_posix()


def _places(experiment: Experiment, root: Path) -> list[_Place]:
    places = []
    wells = list(experiment.wells)
    for number, well in enumerate(wells, start=1):
        own = [p for p in experiment.positions.values() if p.well == well]
        for field, position in enumerate(own):
            where = root / f"W{number}" / f"{number}{field:02d}"
            places.append(_Place(position, position.image(), f"W{number}", where))
    if not places:
        msg = f"{experiment.url} has no positions to write; import movies first."
        raise StoreError(msg)
    return places


def _check(places: Sequence[_Place]) -> None:
    """Refuse what one ``config.ini`` cannot say.

    Raises
    ------
    StoreError
        With the position and what differs.
    """
    first = places[0]
    for place in places:
        image, scale, name = place.image, place.position.scale, place.position.id
        if image.is_3d and image.size("z") > 1:
            msg = f"Position {name} has {image.size('z')} planes and Celldetective reads 2D movies; project it first."
            raise StoreError(msg)
        if not math.isclose(scale.y_um, scale.x_um, rel_tol=1e-6):
            msg = f"Position {name} has pixels of {scale.y_um} x {scale.x_um} um and Celldetective knows square ones."
            raise StoreError(msg)
        if image.n_frames > 1 and _interval_min(place) is None:
            msg = f"Position {name} has no frame interval, which config.ini needs; give it with --frame-interval-min."
            raise StoreError(msg)
        same = {
            "channels": image.channels == first.image.channels,
            "a pixel size": math.isclose(scale.x_um, first.position.scale.x_um, rel_tol=1e-6),
            "a frame interval": _same_interval(place, first),
            "a number of frames": image.n_frames == first.image.n_frames,
        }
        for what, holds in same.items():
            if not holds:
                msg = f"Positions {first.position.id} and {name} differ in {what.removeprefix('a ')}; "
                raise StoreError(f"{msg}config.ini of Celldetective has one for all: export them apart.")


def _interval_min(place: _Place) -> float | None:
    """Return the stated interval, or the median of measured ones."""
    scale = place.position.scale
    if scale.frame_interval_min is not None:
        return scale.frame_interval_min
    if scale.times_min is not None and len(scale.times_min) > 1:
        return float(np.median(np.diff(scale.times_min)))
    return None


def _same_interval(a: _Place, b: _Place) -> bool:
    first, second = _interval_min(a), _interval_min(b)
    if first is None or second is None:
        return first is second
    return math.isclose(first, second, rel_tol=0.01)


# ------------------------------------------------------------------------------------------------- configuration
def _write_config(experiment: Experiment, root: Path, places: Sequence[_Place], populations: Sequence[str]) -> Path:
    first = places[0]
    height, width = first.image.frame_shape[-2:]
    interval = _interval_min(first)
    sections: dict[str, dict[str, str]] = {
        "Populations": {"populations": ",".join(populations)},
        "MovieSettings": {
            "pxtoum": repr(first.position.scale.x_um),
            "frametomin": "nan" if interval is None else repr(interval),
            "len_movie": str(first.image.n_frames),
            "shape_x": str(width),
            "shape_y": str(height),
            "movie_prefix": "",
        },
        "Channels": {name: str(i) for i, name in enumerate(_channel_keys(first.image.channels))},
        "Labels": _labels(experiment.conditions),
    }
    unit = _unit(experiment.conditions)
    if unit:
        sections["Metadata"] = {"concentration_units": unit}
    lines = []
    for section, entries in sections.items():
        lines += [f"[{section}]", *(f"{key} = {text}" for key, text in entries.items()), ""]
    root.mkdir(parents=True)
    path = root / "config.ini"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _channel_keys(channels: Sequence[str]) -> list[str]:
    """Return channel names as keys of an INI file, which knows no capitals; equal ones are numbered."""
    keys: list[str] = []
    for channel in channels:
        key = re.sub(r"\W+", "_", channel.lower()).strip("_") or "channel"
        keys.append(key if key not in keys else f"{key}_{len(keys)}")
    return keys


def _labels(conditions: pl.DataFrame) -> dict[str, str]:
    """Return every condition as one entry with a value a well, under Celldetective's name where it has one."""
    out: dict[str, str] = {}
    used = {"well", *_UNITS}
    for key, names in _LABELS.items():
        column = next((n for n in names if n in conditions.columns and n not in used), None)
        values = [""] * conditions.height if column is None else [_label(v) for v in conditions[column]]
        out[key] = ",".join(values)
        used.add(column or "")
    for column in conditions.columns:
        if column not in used:
            out[re.sub(r"\W+", "_", column.lower())] = ",".join(_label(v) for v in conditions[column])
    return out


def _label(value: Any) -> str:
    """Return a value that a comma-separated line of an INI file holds: no comma, no line break, no ``%``."""
    if value is None:
        return ""
    text = f"{value:.15g}" if isinstance(value, float) else str(value)
    return re.sub(r"\s+", " ", text.replace(",", ";").replace("%", " percent")).strip()


def _unit(conditions: pl.DataFrame) -> str:
    for column in _UNITS:
        if column in conditions.columns:
            known = conditions[column].drop_nulls().unique().sort().to_list()
            return _label(known[0]) if len(known) == 1 else ""
    return ""


# ------------------------------------------------------------------------------------------------- pixels
def _write_movie(place: _Place) -> Path:
    """Write the movie plane after plane: all channels of frame 0, then those of frame 1."""
    import tifffile

    image = place.image
    dtype = image.dtype if image.dtype.type in _IMAGEJ_TYPES else np.dtype(np.float32)
    shape = (image.n_frames, len(image.channels), *image.frame_shape[-2:])
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    target = place.folder / "movie" / f"{place.folder.name}.tif"
    target.parent.mkdir(parents=True)
    if size > _BIG_BYTES:
        with tifffile.TiffWriter(target, bigtiff=True) as tif:
            tif.write(_planes(image, dtype), shape=shape, dtype=dtype, photometric="minisblack", metadata=None)
        return target
    pixel_um = place.position.scale.x_um
    metadata: dict[str, Any] = {"axes": "TCYX", "unit": "um"}
    interval = _interval_min(place)
    if interval is not None:
        metadata["finterval"] = interval * 60.0
    with tifffile.TiffWriter(target, imagej=True) as tif:
        tif.write(
            _planes(image, dtype), shape=shape, dtype=dtype, resolution=(1.0 / pixel_um, 1.0 / pixel_um),
            metadata=metadata, photometric="minisblack",
        )  # fmt: skip
    return target


def _planes(image: Image, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    for t in range(image.n_frames):
        for channel in range(len(image.channels)):
            yield image.frame(t, channel).reshape(image.frame_shape[-2:]).astype(dtype, copy=False)


def _write_masks(place: _Place, population: str) -> None:
    """Write ``labels_<population>/0000.tif``, 16 bit where the labels of the frame fit."""
    import tifffile

    if not place.position.has_labels(population):
        return
    labels = place.position.labels(population)
    folder = place.folder / f"labels_{population}"
    folder.mkdir()
    for t in range(labels.n_frames):
        frame = labels.frame(t).reshape(labels.frame_shape[-2:])
        small = int(frame.max(initial=0)) <= np.iinfo(np.uint16).max
        tifffile.imwrite(folder / f"{t:04d}.tif", frame.astype(np.uint16 if small else np.uint32), compression="zlib")
