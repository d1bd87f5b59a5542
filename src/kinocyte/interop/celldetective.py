"""Experiment folders of Celldetective: ``config.ini``, ``W1/100/movie``, masks and tables.

Pickles are never opened: reading one runs whatever code it holds.
"""

from __future__ import annotations

import configparser
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import polars as pl

from kinocyte.core.errors import InputFileError
from kinocyte.core.scale import Scale
from kinocyte.interop.celldetective_tables import population_tables, read_csv
from kinocyte.interop.file_kinds import IMAGE_SUFFIXES
from kinocyte.interop.label_files import frame_files, label_movie
from kinocyte.interop.planes import PlaneRef, RawRef
from kinocyte.interop.source import Calibration, Found, TableMaker, Unreadable
from kinocyte.interop.stack import Stack
from kinocyte.interop.tiff import read_stacks
from kinocyte.interop.units import natural_key

_READER = "Celldetective"
_SINGULAR: Mapping[str, str] = MappingProxyType({
    "cell_types": "cell_type", "antibodies": "antibody", "concentrations": "concentration",
    "pharmaceutical_agents": "pharmaceutical_agent",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Config:
    """What ``config.ini`` states."""

    path: Path
    pixel_um: float | None
    interval_min: float | None
    n_frames: int | None
    prefix: str
    channels: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    units: str | None


def experiment_folder(path: Path) -> Path | None:
    """Return the folder of the Celldetective experiment that a path is or lies in, None where there is none."""
    start = path.parent if path.name == "config.ini" else path
    for folder in (start, *start.parents[:2]):
        config = folder / "config.ini"
        if config.is_file() and "[MovieSettings]" in config.read_text(encoding="utf-8", errors="replace"):
            return folder
    return None


def read_celldetective(folder: Path, inside: Path | None = None) -> list[Found]:
    """Return the movies of a Celldetective experiment with masks, tables and conditions.

    Parameters
    ----------
    folder : Path
        Folder with ``config.ini``.
    inside : Path, optional
        Only positions below this folder.
    """
    try:
        config = _read_config(folder / "config.ini")
    except InputFileError as error:
        return [Unreadable(folder.name, _READER, (folder / "config.ini",), str(error))]
    found: list[Found] = []
    for well in sorted(folder.glob("W*"), key=lambda p: natural_key(p.name)):
        if not re.fullmatch(r"W[1-9]\d*", well.name):
            continue
        for position in sorted(well.iterdir(), key=lambda p: natural_key(p.name)):
            wanted = inside is None or position.is_relative_to(inside) or inside.is_relative_to(position)
            if (position / "movie").is_dir() and wanted:
                found.append(_position(config, well.name, position))
    if not found:
        msg = f"'{folder}' has a config.ini of Celldetective but no movie such as W1/100/movie/stack.tif."
        return [Unreadable(folder.name, _READER, (folder / "config.ini",), msg)]
    return found


def _read_config(path: Path) -> _Config:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8", errors="replace"))
    except configparser.Error as error:
        msg = f"'{path}' cannot be read ({str(error).splitlines()[0]}); correct that line."
        raise InputFileError(msg) from error

    def number(section: str, key: str) -> float | None:
        text = parser.get(section, key, fallback="")
        try:
            value = float(text)
        except ValueError:
            return None
        return value if math.isfinite(value) and value > 0 else None

    channels: dict[int, str] = {}
    for name, text in parser.items("Channels") if parser.has_section("Channels") else ():
        if text.strip().isdigit():
            index = int(text)
            if index in channels:
                msg = f"'{path}' gives channel {index} to both {channels[index]} and {name}; correct [Channels]."
                raise InputFileError(msg)
            channels[index] = name
    if sorted(channels) != list(range(len(channels))):
        msg = f"'{path}' numbers its channels {sorted(channels)}; they run from 0 without a gap, correct [Channels]."
        raise InputFileError(msg)
    labels = {
        key: tuple(v.strip() for v in text.split(","))
        for key, text in (parser.items("Labels") if parser.has_section("Labels") else ())
    }
    n_frames = number("MovieSettings", "len_movie")
    return _Config(
        path=path,
        pixel_um=number("MovieSettings", "pxtoum"),
        interval_min=number("MovieSettings", "frametomin"),
        n_frames=int(n_frames) if n_frames else None,
        prefix=parser.get("MovieSettings", "movie_prefix", fallback="").strip(),
        channels=tuple(channels[i] for i in sorted(channels)),
        labels=MappingProxyType(labels),
        units=parser.get("Metadata", "concentration_units", fallback=None),
    )


def _position(config: _Config, well: str, folder: Path) -> Found:
    name = f"{well} {folder.name}"
    try:
        path = _stack_file(config, folder)
        stack = _arrange(read_stacks(path, axes=None), path, config)
    except (InputFileError, OSError) as error:
        return Unreadable(name, _READER, (folder,), str(error))
    stated = {"pixel size": config.pixel_um, "frame interval": config.interval_min}
    movie = stack.replace(
        name=name,
        well=f"A{int(well[1:])}",
        field="".join(c for c in folder.name if c.isalnum() and c.isascii()),
        channels=config.channels or None,
        files=(path, config.path),
        questions=(),
        calibration=Calibration(
            pixel_y_um=config.pixel_um,
            pixel_x_um=config.pixel_um,
            frame_interval_min=config.interval_min,
            stated=MappingProxyType({k: f"'{config.path}'" for k, v in stated.items() if v}),
        ),
    ).movie(_READER)
    labels = []
    notes = list(movie.notes)
    for masks in sorted(folder.glob("labels_*")):
        files = {t: p for t, p in frame_files(masks, "").items() if t < movie.shape[0]}
        population = _identifier(masks.name.removeprefix("labels_"))
        if files:
            labels.append(label_movie(population, files, movie.plane_shape))
            absent = sorted(set(range(movie.shape[0])) - set(files))
            if absent:
                notes.append(
                    f"labels of {population} in '{name}' are absent in {len(absent)} frames (first {absent[0]})"
                )
    tables = folder / "output" / "tables"
    if any(tables.glob("*.pkl")):
        notes.append(f"pickles in '{tables}' were not opened, as they can run code; save the tables as CSV")
    return movie.replace(
        labels=tuple(labels),
        tables=_table_maker(tables, movie.shape[0]),
        conditions=MappingProxyType(_conditions(config, well)),
        notes=tuple(notes),
    )


def _identifier(text: str) -> str:
    name = re.sub(r"\W+", "_", text, flags=re.ASCII)
    return name if name[:1].isalpha() else f"cells_{name}"


def _stack_file(config: _Config, folder: Path) -> Path:
    stacks = [
        p
        for p in sorted((folder / "movie").iterdir(), key=lambda p: natural_key(p.name))
        if p.suffix.lower() in IMAGE_SUFFIXES and p.name.startswith(config.prefix) and not p.name.startswith(".")
    ]
    plain = (
        [p for p in stacks if not p.name.startswith("Corrected")]
        if not config.prefix.startswith("Corrected")
        else stacks
    )
    if len(plain) != 1:
        names = ", ".join(p.name for p in plain[:4]) or "none"
        msg = (
            f"'{folder / 'movie'}' should hold one stack whose name starts with '{config.prefix}', found "
            f"{names}; set movie_prefix in config.ini."
        )
        raise InputFileError(msg)
    return plain[0]


def _arrange(stacks: list[Stack], path: Path, config: _Config) -> Stack:
    """Return the stack with frames and channels as ``config.ini`` counts them.

    Celldetective writes channel after channel within a frame; what the file calls z or nothing is then time.
    """
    stack = stacks[0]
    if stack.questions:
        stack = read_stacks(path, axes="tyx", override=True)[0]
    n_channels = max(1, len(config.channels))
    t, c, z = stack.shape[:3]
    if z == 1 and c == n_channels and config.n_frames in {t, None}:
        return stack
    total = t * c * z
    n_frames = config.n_frames or total // n_channels
    if total != n_frames * n_channels:
        msg = (
            f"'{path}' holds {total} planes, '{config.path}' speaks of {n_frames} frames of {n_channels} channels; "
            "correct len_movie or [Channels]."
        )
        raise InputFileError(msg)

    def locate(frame: int, channel: int, _z: int) -> PlaneRef | RawRef | None:
        rest, at_c = divmod(frame * n_channels + channel, c)
        at_t, at_z = divmod(rest, z)
        return stack.locate(at_t, at_c, at_z)

    note = f"'{path.name}' is read as {n_frames} frames of {n_channels} channels, as config.ini says"
    return stack.replace(shape=(n_frames, n_channels, 1, *stack.shape[3:]), locate=locate, notes=(note,))


def _conditions(config: _Config, well: str) -> dict[str, str | float | None]:
    number = int(well[1:]) - 1
    out: dict[str, str | float | None] = {"celldetective_well": well}
    for key, values in config.labels.items():
        text = values[number] if number < len(values) else ""
        numeric = all(_is_number(v) for v in values)
        out[_SINGULAR.get(key, key)] = float(text) if numeric and text else (text or None)
    if config.units:
        out["concentration_unit"] = config.units
    return out


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _table_maker(folder: Path, n_frames: int) -> TableMaker | None:
    files = sorted(folder.glob("trajectories_*.csv")) if folder.is_dir() else []
    if not files:
        return None

    def make(scale: Scale) -> Mapping[str, pl.DataFrame]:
        tables: dict[str, pl.DataFrame] = {}
        for path in files:
            name = path.stem.removeprefix("trajectories_")
            if name == "pairs":
                tables["celldetective_pairs"] = read_csv(path)
            else:
                tables |= population_tables(path, _identifier(name), scale, n_frames)
        return tables

    return make
