"""OME-Zarr images and plates of version 0.4 and 0.5, on disk or behind a URL, as something to import."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from kinocyte.core.errors import InputFileError, KinocyteError
from kinocyte.experiment.arrays import Image as StoredImage
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.groups import read_attributes
from kinocyte.experiment.ngff import Multiscale, ome, parse_multiscale
from kinocyte.experiment.position import Position
from kinocyte.experiment.storage import Storage
from kinocyte.interop.source import Calibration, Found, Image, LabelMovie, Movie, Unreadable
from kinocyte.interop.units import micrometres, minutes

_READER = "OME-Zarr"
_GROUP_FILES = ("zarr.json", ".zattrs", ".zgroup")


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a zarr group."""
    return path.is_dir() and any((path / n).is_file() for n in _GROUP_FILES)


def is_experiment(path: Path) -> bool:
    """Tell whether a zarr folder is an experiment of ours."""
    try:
        inner = (read_attributes(Storage(path), "") or {}).get("kinocyte")
    except KinocyteError:
        return False
    return isinstance(inner, dict) and "format" in inner


def read_omezarr(place: str) -> list[Found]:
    """Return the movies of an OME-Zarr image or plate, one for each position.

    Parameters
    ----------
    place : str
        Folder or fsspec URL.
    """
    name = place.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr").removesuffix(".ome")
    try:
        experiment = Experiment(Storage(place))
        positions = list(experiment.positions.values())
        document = ome(read_attributes(experiment.storage, "") or {})
    except KinocyteError as error:
        return [Unreadable(name, _READER, (Path(place),), str(error))]
    is_plate = "plate" in document
    found: list[Found] = []
    for position in positions:
        title = f"{name} {position.id}" if is_plate else (name if len(positions) == 1 else f"{name} {position.field}")
        try:
            movie = _movie(title, place, position, experiment.storage)
        except KinocyteError as error:
            found.append(Unreadable(title, _READER, (Path(place),), str(error)))
            continue
        found.append(movie.replace(well=position.well, field=position.field) if is_plate else movie)
    if not found:
        return [Unreadable(name, _READER, (Path(place),), f"'{place}' is an OME-Zarr plate without a single image.")]
    return found


def _movie(name: str, place: str, position: Position, storage: Storage) -> Movie:
    image = position.image("raw")
    meta = (
        parse_multiscale(read_attributes(storage, position.path) or {}, position.place)
        if not position.is_linked
        else None
    )
    is_3d = image.size("z") > 1
    depth = image.size("z")

    def read(t: int, c: int) -> Image:
        try:
            plane = image.frame(t, c)
        except KinocyteError as error:
            raise InputFileError(str(error)) from error
        except Exception as error:  # codecs raise whatever their C library returns
            msg = f"Frame {t}, channel {c} of '{position.place}' cannot be decoded ({error}); copy the store again."
            raise InputFileError(msg) from error
        return plane if is_3d else plane.reshape(plane.shape[-2:])

    n_channels = image.size("c")
    names = image.channels if meta is None or len(meta.channels) == n_channels else None
    return Movie(
        name=name,
        reader=_READER,
        shape=(image.n_frames, n_channels, depth, image.size("y"), image.size("x")),
        dtype=image.dtype.newbyteorder("="),
        read_plane=read,
        files=(Path(place),),
        channels=names,
        is_3d=is_3d,
        calibration=_calibration(meta, image, position),
        labels=_labels(position, is_3d=is_3d),
        link=(image, storage.url, position.path),
    )


def _calibration(meta: Multiscale | None, image: StoredImage, position: Position) -> Calibration:
    """Return what the transforms state; a scale without a unit is not a calibration."""
    if meta is None:
        scale = image.scale
        return Calibration(scale.y_um, scale.x_um, scale.z_um, scale.frame_interval_min, scale.times_min)
    size = {a: micrometres(meta.spacing[a], meta.units.get(a)) for a in "zyx" if a in meta.axes}
    interval = minutes(meta.spacing["t"], meta.units.get("t")) if "t" in meta.axes else None
    times = position.attributes.get("times_min")
    stated = {"pixel size": size["x"] and size["y"], "z step": size.get("z"), "frame interval": interval}
    return Calibration(
        pixel_y_um=size["y"],
        pixel_x_um=size["x"],
        z_step_um=size.get("z"),
        frame_interval_min=interval if interval and interval > 0 else None,
        times_min=tuple(times) if times else None,
        stated=MappingProxyType({k: f"'{position.place}'" for k, v in stated.items() if v}),
    )


def _labels(position: Position, *, is_3d: bool) -> tuple[LabelMovie, ...]:
    movies = []
    for name in position.label_names:
        labels = position.labels(name)

        def read(t: int, name: str = name) -> Image:
            plane = position.labels(name).frame(t)
            return plane if is_3d else plane.reshape(plane.shape[-2:])

        movies.append(LabelMovie(name, read, frames=frozenset(range(labels.n_frames)), files=(Path(labels.place),)))
    return tuple(movies)
