"""ND2, CZI and LIF through the reader plugins of bioio (extra ``formats``); every scene is a position.

Two things are read from the library below the plugin, because the plugin loses them: the times of an ND2
(its interval divides by one frame too many) and the wavelengths of a Leica lambda scan (it keeps the first).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from kinocyte.core.errors import InputFileError, MissingExtraError
from kinocyte.interop.filename_pattern import parse_well
from kinocyte.interop.planes import native
from kinocyte.interop.pool import Pool
from kinocyte.interop.source import Calibration, Found, Image, Movie, Unreadable
from kinocyte.interop.units import timing

#: plugin that reads a file name ending
PLUGINS: Mapping[str, str] = MappingProxyType({".nd2": "bioio_nd2", ".czi": "bioio_czi", ".lif": "bioio_lif"})
_INSTALL = 'python -m pip install "kinocyte[formats]"'


@dataclass(frozen=True, slots=True)
class _Scene:
    """One image of a file: axes as the reader names them, and how to read a plane of it."""

    name: str
    sizes: Mapping[str, int]
    dtype: np.dtype[Any]
    channels: tuple[str, ...] | None
    calibration: Calibration
    opener: Callable[[Any], Any]
    read: Callable[[Any, int, int], Image]
    closer: Callable[[Any], None]
    problem: str | None = None


def read_vendor(path: Path) -> list[Found]:
    """Return the movies of a ND2, CZI or LIF file, one for each scene.

    Raises
    ------
    MissingExtraError
        If the extra ``formats`` is not installed.
    """
    suffix = path.suffix.lower()
    kind = suffix[1:].upper()
    plugin = _plugin(suffix, path)
    if path.stat().st_size == 0:
        msg = f"'{path}' is empty (0 bytes); copy it again from the microscope or leave it out."
        return [Unreadable(path.stem, kind, (path,), msg)]
    try:
        scenes = _lif_scenes(path) if suffix == ".lif" else _bioio_scenes(path, plugin)
    except Exception as error:  # noqa: BLE001 - the vendors' libraries raise whatever they like
        msg = (
            f"'{path}' cannot be read as {kind} ({_first_line(error)}); copy it again from the microscope or "
            "leave it out."
        )
        return [Unreadable(path.stem, kind, (path,), msg)]
    return [_movie(path, kind, scene, number, alone=len(scenes) == 1) for number, scene in enumerate(scenes)]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _plugin(suffix: str, path: Path) -> Any:
    try:
        if suffix == ".lif":
            importlib.import_module("liffile")
        return importlib.import_module(PLUGINS[suffix])
    except ImportError as error:
        msg = f"Reading '{path.name}' needs the extra 'formats'; install it with: {_INSTALL}"
        raise MissingExtraError(msg) from error


def _movie(path: Path, kind: str, scene: _Scene, number: int, *, alone: bool) -> Movie:
    extra = {a: n for a, n in scene.sizes.items() if a not in "TCZYX" and n > 1}
    sizes = [scene.sizes.get(a, 1) for a in "TCZYX"]
    name = path.stem if alone else (scene.name if scene.name.startswith(path.stem) else f"{path.stem} {scene.name}")
    pool = Pool(scene.opener, scene.closer, idle=2)
    is_3d = sizes[2] > 1

    def read(t: int, c: int) -> Image:
        try:
            with pool.borrow(number) as handle:
                image = scene.read(handle, t, c)
        except Exception as error:  # the vendors' libraries raise whatever they like
            msg = (
                f"Frame {t}, channel {c} of '{path}' cannot be decoded ({_first_line(error)}); copy it again "
                "from the microscope."
            )
            raise InputFileError(msg) from error
        return native(image if is_3d else image.reshape(image.shape[-2:]))

    problems: tuple[str, ...] = (scene.problem,) if scene.problem else ()
    if extra:
        axes = ", ".join(f"{a} ({n})" for a, n in extra.items())
        problems += (
            f"'{name}' has the axes {axes} beside t, c, z, y, x; export it with these merged or as separate files.",
        )
    well = _well(scene.name)
    return Movie(
        name=name,
        reader=kind,
        shape=(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]),
        dtype=scene.dtype,
        read_plane=read,
        files=(path,),
        well=well,
        channels=scene.channels,
        is_3d=is_3d,
        calibration=scene.calibration,
        problems=problems,
        close=pool.close,
    )


def _well(scene: str) -> str | None:
    """Return the well that a scene name such as ``P3-B2`` or ``B2`` states."""
    found = re.fullmatch(r"(?:P\d+-)?([A-P]\d{1,2})", scene)
    return parse_well(found[1]) if found and not re.fullmatch(r"P\d+", scene) else None


def _bioio_scenes(path: Path, plugin: Any) -> list[_Scene]:
    reader = plugin.Reader(path)
    scenes = []
    for index, name in enumerate(reader.scenes):
        reader.set_scene(index)
        dims = reader.dims
        sizes = {a: int(getattr(dims, a)) for a in dims.order}
        samples = sizes.pop("S", 1)
        names = tuple(str(n) for n in reader.channel_names or ())
        if samples > 1:
            sizes["S"] = samples  # colour cameras: reported as an axis that is not supported
        scenes.append(
            _Scene(
                name=str(name),
                sizes=sizes,
                dtype=np.dtype(reader.dtype).newbyteorder("="),
                channels=names if len(names) == sizes.get("C", 1) and all(names) else None,
                calibration=_bioio_calibration(path, reader, sizes, index),
                opener=_scene_opener(path, plugin),
                read=_read_bioio,
                closer=_drop,
            )
        )
    return scenes


def _drop(handle: Any) -> None:
    """Let a bioio reader go; it opens its file for each read."""
    del handle


def _scene_opener(path: Path, plugin: Any) -> Callable[[int], Any]:
    def opener(scene: int) -> Any:
        reader = plugin.Reader(path)
        reader.set_scene(scene)
        return reader

    return opener


def _read_bioio(reader: Any, t: int, c: int) -> Image:
    image: Image = np.asarray(reader.get_image_dask_data("ZYX", T=t, C=c).compute(scheduler="synchronous"))
    return image


def _bioio_calibration(path: Path, reader: Any, sizes: Mapping[str, int], scene: int) -> Calibration:
    pixel = reader.physical_pixel_sizes
    interval, times = (
        _nd2_times(path, scene, sizes.get("T", 1)) if path.suffix.lower() == ".nd2" else (_interval_min(reader), None)
    )
    size = {k: float(v) if v is not None and v > 0 else None for k, v in zip("zyx", pixel, strict=True)}
    stated = {"pixel size": size["x"] and size["y"], "z step": size["z"], "frame interval": interval}
    return Calibration(
        pixel_y_um=size["y"],
        pixel_x_um=size["x"],
        z_step_um=size["z"],
        frame_interval_min=interval,
        times_min=times,
        stated=MappingProxyType({k: f"metadata of '{path.name}'" for k, v in stated.items() if v}),
    )


def _interval_min(reader: Any) -> float | None:
    interval = reader.time_interval
    if interval is None:
        return None
    seconds = interval.total_seconds() if hasattr(interval, "total_seconds") else float(interval)
    return seconds / 60.0 if seconds > 0 else None


def _nd2_times(path: Path, scene: int, frames: int) -> tuple[float | None, tuple[float, ...] | None]:
    """Return interval and times of one position of an ND2."""
    import nd2

    with nd2.ND2File(path) as file:
        period = next(
            (
                loop.parameters.periodMs
                for loop in file.experiment
                if loop.type == "TimeLoop" and loop.parameters.periodMs > 0
            ),
            None,
        )
        times: list[float | None] = [None] * frames
        for sequence, at in enumerate(file.loop_indices):
            t = at.get("T", 0)
            if at.get("P", 0) != scene or at.get("Z", 0) != 0 or t >= frames or times[t] is not None:
                continue
            record = file.frame_metadata(sequence)
            channels = getattr(record, "channels", None)
            if channels:
                times[t] = channels[0].time.relativeTimeMs / 60000.0
    return timing(times, None if period is None else period / 60000.0)


def _lif_scenes(path: Path) -> list[_Scene]:
    import liffile

    with liffile.LifFile(path) as file:
        return [_lif_scene(path, image, number) for number, image in enumerate(file.images)]


#: axes of liffile whose steps we keep as channels: emission and excitation wavelength
_WAVELENGTHS = ("λ", "Λ")


def _lif_scene(path: Path, image: Any, number: int) -> _Scene:
    import liffile

    found = {str(a): int(n) for a, n in image.sizes.items()}
    bands = [a for a in _WAVELENGTHS if found.get(a, 1) > 1]
    channels = found.get("C", 1)
    sizes = {**{a: n for a, n in found.items() if a not in _WAVELENGTHS}, "C": channels}
    names: tuple[str, ...] | None = None
    if len(bands) == 1:
        nanometres = [round(float(w) * 1e9, 3) for w in image.coords[bands[0]]]
        colour = "emission" if bands[0] == "λ" else "excitation"
        sizes["C"] = channels * len(nanometres)
        names = tuple(
            f"{colour} {w:g} nm" + (f" channel {c + 1}" if channels > 1 else "")
            for c in range(channels)
            for w in nanometres
        )
    elif bands:
        sizes.update({a: found[a] for a in bands})
    band = bands[0] if len(bands) == 1 else None

    def read(handle: Any, t: int, c: int) -> Image:
        data = handle.images[number]
        outer, inner = divmod(c, found[band]) if band else (c, 0)
        at = {"T": t, "C": outer, **({band: inner} if band else {})}
        return _lif_planes(data, at, found)

    return _Scene(
        name=str(image.name),
        sizes=sizes,
        dtype=np.dtype(image.dtype).newbyteorder("="),
        channels=names,
        calibration=_lif_calibration(path, image, found),
        opener=lambda _scene: liffile.LifFile(path),
        read=read,
        closer=lambda handle: handle.close(),
        problem=_lif_cut_off(path, image),
    )


def _lif_cut_off(path: Path, image: Any) -> str | None:
    """Return a sentence where the pixels of an image reach beyond the end of the file."""
    block = image.memory_block
    end, size = int(block.offset) + int(block.size), path.stat().st_size
    if end <= size and int(block.size) >= int(image.nbytes):
        return None
    return (
        f"'{path}' was cut off ({size} bytes, image '{image.name}' needs {end}); copy it again from the microscope "
        "or leave it out."
    )


def _lif_planes(image: Any, at: Mapping[str, int], sizes: Mapping[str, int]) -> Image:
    """Return (z, y, x) of one time and channel, one plane after the other."""
    fixed = {a: i for a, i in at.items() if a in sizes}
    depth = range(sizes.get("Z", 1))
    planes = [np.asarray(image.frame(**fixed, **({"Z": z} if "Z" in sizes else {}))) for z in depth]
    return np.stack([p.reshape(p.shape[-2:]) for p in planes])


def _lif_calibration(path: Path, image: Any, sizes: Mapping[str, int]) -> Calibration:
    """Return steps of the coordinates, which liffile gives in metres and seconds."""

    def step_um(axis: str) -> float | None:
        values = image.coords.get(axis)
        if values is None or sizes.get(axis, 1) < 2:
            return None
        step = abs(float(values[-1]) - float(values[0])) / (len(values) - 1) * 1e6
        return step if step > 0 else None

    seconds = image.coords.get("T")
    interval, times = timing([float(s) / 60.0 for s in seconds], None) if seconds is not None else (None, None)
    y, x, z = step_um("Y"), step_um("X"), step_um("Z")
    stated = {"pixel size": y and x, "z step": z, "frame interval": interval}
    return Calibration(
        pixel_y_um=y,
        pixel_x_um=x,
        z_step_um=z,
        frame_interval_min=interval,
        times_min=times,
        stated=MappingProxyType({k: f"metadata of '{path.name}'" for k, v in stated.items() if v}),
    )
