"""GEFF, the graph exchange file format, on Zarr: nodes, edges and their properties.

Facts: https://live-image-tracking-tools.github.io/geff (version 1.1; 1.0 and the early layout 0.1 with ``attrs`` for
``props`` are read as well). Properties are ``values`` with an optional mask ``missing``; those of variable length hold
offset and shape in ``values`` and their numbers in ``data``. We read and write with zarr, which the base install has,
and test with the geff library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, TableError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import OBJECTS
from kinocyte.interop.tracks.base import NO_CONTOURS, Contours, TrackData, track_data
from kinocyte.interop.units import micrometres, minutes

if TYPE_CHECKING:
    import zarr

#: Properties that hold outlines relative to the centre, ours first.
OUTLINES = ("contour", "ROI_coords")
#: Properties that hold the frame where the time axis is in minutes or seconds.
_FRAMES = ("frame", "FRAME", "timepoint", "t")
_DAMAGED = (OSError, ValueError, KeyError, TypeError, RuntimeError, IndexError, AttributeError)


@dataclass(frozen=True)
class Property:
    """Values of a property, one a node or edge; ``data`` for variable length."""

    values: NDArray[Any]
    missing: NDArray[np.bool_] | None
    data: NDArray[Any] | None


@dataclass(frozen=True)
class GeffFile:
    """What a GEFF holds beyond tables: properties of several dimensions, and its metadata.

    Parameters
    ----------
    metadata : mapping
        The attribute ``geff`` as it was.
    node_properties, edge_properties : mapping of str to Property
        Properties that are no columns.
    object_ids : array (n,), int64
        Nodes the node properties belong to, in order.
    """

    metadata: Mapping[str, Any]
    node_properties: Mapping[str, Property]
    edge_properties: Mapping[str, Property]
    object_ids: NDArray[np.int64]


def is_geff(path: Path) -> Path | None:
    """Return the group of a folder that holds a graph: itself or a child; None where there is none."""
    if not path.is_dir():
        return None
    for group in (path, *sorted(p for p in path.iterdir() if p.is_dir() and not p.is_symlink())):
        attributes = _attributes(group)
        if "geff" in attributes or "geff_version" in attributes:
            return group
    return None


def _attributes(group: Path) -> Mapping[str, Any]:
    for name in ("zarr.json", ".zattrs"):
        try:
            content = json.loads((group / name).read_bytes())
        except (OSError, ValueError):
            continue
        found = content.get("attributes", {}) if name == "zarr.json" and isinstance(content, dict) else content
        if isinstance(found, dict):
            return found
    return MappingProxyType({})


def read_geff(
    path: Path,
    *,
    pixel_size_um: float | None = None,
    z_step_um: float | None = None,
    frame_interval_min: float | None = None,
) -> TrackData:
    """Read a GEFF: a Zarr group, or a folder that holds one.

    Parameters
    ----------
    path : Path
        The folder.
    pixel_size_um, z_step_um, frame_interval_min : float, optional
        Calibration where the axes are in pixels or frames and do not state it.

    Raises
    ------
    InputFileError
        If it is damaged, lacks axes, or holds codecs that could run code.
    """
    import zarr

    place = is_geff(path)
    if place is None:
        msg = f"'{path}' holds no GEFF: no group has the attribute 'geff'."
        raise InputFileError(msg)
    try:
        group = zarr.open_group(place, mode="r")
        attributes = dict(group.attrs)
        graph = _Graph(group, attributes.get("geff", attributes), path)
        return _data(graph, path, pixel_size_um, z_step_um, frame_interval_min)
    except TableError as error:
        msg = f"'{path}' cannot be used: {error}"
        raise InputFileError(msg) from error
    except InputFileError:
        raise
    except _DAMAGED as error:
        msg = f"'{path}' is a damaged GEFF ({' '.join(str(error).split())[:200]}); export it again."
        raise InputFileError(msg) from error


class _Graph:
    """The arrays of a GEFF."""

    def __init__(self, group: zarr.Group, metadata: Any, path: Path) -> None:
        if not isinstance(metadata, dict) or "nodes" not in group or "edges" not in group:
            msg = f"'{path}' is a GEFF without nodes or edges; export it again."
            raise InputFileError(msg)
        self.metadata, self.path = metadata, path
        self._group = group
        self.nodes = self.array("nodes/ids")
        self.edges = self.array("edges/ids").reshape(-1, 2)
        self.ids, self.ends = self._integers()

    def _integers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return ids of nodes and ends of edges as integers; the early layout has text, which is numbered."""
        if self.nodes.dtype.kind in "iu":
            big = [a for a in (self.nodes, self.edges) if a.size and a.dtype.kind == "u" and a.max() > 2**63 - 1]
            if big:
                msg = f"'{self.path}' has ids above 2**63 - 1; number the nodes from 1."
                raise InputFileError(msg)
            return self.nodes.astype(np.int64), self.edges.astype(np.int64)
        names, edges = [str(n) for n in self.nodes.tolist()], self.edges.astype(str)
        number = {n: i for i, n in enumerate(names, start=1)}
        ends = [[number[str(a)], number[str(b)]] for a, b in edges.tolist()]
        return np.arange(1, len(names) + 1), np.array(ends, np.int64).reshape(-1, 2)

    def array(self, name: str) -> NDArray[Any]:
        """Return an array of the group; one whose codec could run code is refused."""
        import zarr

        found = self._group[name]
        if not isinstance(found, zarr.Array):
            msg = f"'{self.path}' has no array {name}; export it again."
            raise InputFileError(msg)
        if "pickle" in json.dumps(found.metadata.to_dict(), default=str).lower():
            msg = f"'{self.path}' packs {name} with pickle, which can run code; it is not read."
            raise InputFileError(msg)
        return np.asarray(found[...])

    def properties(self, kind: str) -> Iterator[tuple[str, Property]]:
        """Go through the properties of ``nodes`` or ``edges``."""
        for layout in ("props", "attrs"):
            place = f"{kind}/{layout}"
            if place in self._group:
                for name in sorted(self._group[place].group_keys()):  # type: ignore[union-attr] # a group, as it lists
                    there = {k: self.array(f"{place}/{name}/{k}") for k in self._group[f"{place}/{name}"].array_keys()}  # type: ignore[union-attr]
                    missing = there.get("missing")
                    yield (
                        name,
                        Property(
                            there["values"],
                            missing.astype(np.bool_) if missing is not None else None,
                            there.get("data"),
                        ),
                    )


def _data(
    graph: _Graph, path: Path, pixel_um: float | None, step_um: float | None, interval_min: float | None
) -> TrackData:
    nodes, edges = dict(graph.properties("nodes")), dict(graph.properties("edges"))
    axes = _axes(graph.metadata, nodes)
    notes: list[str] = []
    columns: dict[str, Any] = {"object_id": pl.Series(graph.ids)}
    time, spatial = axes[0], axes[1:]
    sizes = {"x": pixel_um, "y": pixel_um, "z": step_um or pixel_um}
    for letter, axis in zip("xyz", reversed(spatial), strict=False):
        factor, note = _length(axis, sizes[letter])
        notes += note
        columns[f"{letter}_um"] = nodes[axis["name"]].values.astype(np.float64) * factor + _offset(axis, factor)
    columns |= _times(time, nodes, interval_min, notes)
    outlines, plain, rest = NO_CONTOURS, [], {}
    for name, prop in nodes.items():
        series = _series(name, prop)
        if name in OUTLINES and prop.values.ndim > 1 and not len(outlines):
            outlines = _contours(prop, graph.ids)
        elif series is None:
            rest[name] = prop
        elif name in OBJECTS or name not in [a["name"] for a in axes]:
            plain.append(series)
    for series in plain:
        known = OBJECTS.get(series.name)
        if known is None or (series.name not in columns and (known.nullable or not series.null_count())):
            columns[series.name] = series
    links, others = _edge_table(graph, edges)
    payload = GeffFile(graph.metadata, rest, others, graph.ids)
    return track_data(
        pl.DataFrame(columns), links, name=path.name.removesuffix(".zarr").removesuffix(".geff"),
        scale=_scale(graph.metadata, pixel_um, step_um, interval_min), contours=outlines, payload=payload,
        notes=tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _edge_table(graph: _Graph, edges: Mapping[str, Property]) -> tuple[pl.DataFrame, dict[str, Property]]:
    columns: dict[str, Any] = {"source_id": graph.ends[:, 0], "target_id": graph.ends[:, 1]}
    others: dict[str, Property] = {}
    for name, prop in edges.items():
        series = _series(name, prop)
        if series is None:
            others[name] = prop
        elif name not in ("source_id", "target_id", "frame_gap"):
            columns[name] = series
    return pl.DataFrame(columns), others


def _axes(metadata: Mapping[str, Any], nodes: Mapping[str, Property]) -> list[dict[str, Any]]:
    """Return time and space axes, time first, x last."""
    given = [a for a in metadata.get("axes") or [] if isinstance(a, dict) and a.get("name") in nodes]
    time = [a for a in given if a.get("type") == "time"] or [a for a in given if a["name"] in ("t", "time", "frame")]
    space = [a for a in given if a.get("type") == "space"] or [a for a in given if a["name"] in ("z", "y", "x")]
    time = time or [{"name": n} for n in ("t", *_FRAMES) if n in nodes][:1]
    space = space or [{"name": n} for n in ("z", "y", "x") if n in nodes]
    hints = metadata.get("display_hints") or {}
    order = [hints.get(f"display_{h}") for h in ("depth", "vertical", "horizontal")]
    named = {a["name"]: a for a in space}
    if order[1] in named and order[2] in named:
        space = [named[n] for n in order if n in named]
    elif {"x", "y"} <= set(named):
        space = [named[n] for n in ("z", "y", "x") if n in named]
    elif len(space) > 1 and str(space[0]["name"])[-1:].lower() == "x":
        space = space[::-1]
    if not time or not 2 <= len(space) <= 3:
        msg = "it names no time axis and two or three space axes"
        raise ValueError(msg)
    return [time[0], *space]


def _length(axis: Mapping[str, Any], size_um: float | None) -> tuple[float, list[str]]:
    """Return micrometres of one unit of an axis, and what had to be taken for granted."""
    unit, scale, scaled_unit = axis.get("unit"), axis.get("scale"), axis.get("scaled_unit")
    factor = micrometres(1.0, unit) if isinstance(unit, str) else None
    if factor is not None:
        return factor, []
    if isinstance(scale, (int, float)) and isinstance(scaled_unit, str) and micrometres(1.0, scaled_unit) is not None:
        return float(scale) * (micrometres(1.0, scaled_unit) or 1.0), []
    if size_um is not None:
        return size_um, []
    return 1.0, ["the axes state no length: one is taken as 1 um; give --pixel-size-um"]


def _offset(axis: Mapping[str, Any], factor: float) -> float:
    offset = axis.get("offset")
    scale = axis.get("scale")
    if not isinstance(offset, (int, float)):
        return 0.0
    return float(offset) * (factor / float(scale) if isinstance(scale, (int, float)) and scale else factor)


def _times(
    axis: Mapping[str, Any], nodes: Mapping[str, Property], interval_min: float | None, notes: list[str]
) -> dict[str, Any]:
    """Return frame and time of each node."""
    values = nodes[axis["name"]].values
    unit, scale, scaled_unit = axis.get("unit"), axis.get("scale"), axis.get("scaled_unit")
    factor = minutes(1.0, unit) if isinstance(unit, str) else None
    if factor is None:
        if isinstance(scale, (int, float)) and isinstance(scaled_unit, str):
            step = float(scale) * (minutes(1.0, scaled_unit) or 1.0)
        else:
            step = interval_min or 1.0
            notes += (
                [] if interval_min else ["the axes state no time: a frame is taken as 1 min; give --frame-interval-min"]
            )
        own = nodes.get("time_min")
        times = own.values if own is not None and own.missing is None else values.astype(np.float64) * step
        return {"frame": _whole(values), "time_min": times.astype(np.float64)}
    name = next((n for n in _FRAMES if n in nodes and nodes[n].values.dtype.kind in "iu"), None)
    times = values.astype(np.float64) * factor
    if name is not None:
        return {"frame": nodes[name].values.astype(np.int64), "time_min": times}
    return {"frame": frames_of(times), "time_min": times}


def frames_of(times: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the frame of each time: on the grid of the smallest step, else the rank of the time."""
    unique = np.unique(times)
    if len(unique) < 2:
        return np.zeros(len(times), np.int64)
    step = float(np.min(np.diff(unique)[np.diff(unique) > 1e-9 * max(abs(unique[-1]), 1.0)], initial=np.inf))
    grid = (times - unique[0]) / step
    if np.isfinite(step) and np.abs(grid - np.rint(grid)).max() < 0.1 and grid.max() < 10 * len(unique) + 100:
        start = unique[0] / step
        first = round(start) if abs(start - round(start)) < 1e-6 and start >= 0 else 0
        frames: NDArray[np.int64] = np.rint(grid).astype(np.int64) + first
        return frames
    ranks: NDArray[np.int64] = np.searchsorted(unique, times).astype(np.int64)
    return ranks


def _whole(values: NDArray[Any]) -> NDArray[np.int64]:
    frames = np.rint(values.astype(np.float64)).astype(np.int64)
    if np.any(frames != values):
        msg = "its time axis counts frames, but holds fractions"
        raise ValueError(msg)
    return frames


def _series(name: str, prop: Property) -> pl.Series | None:
    """Return a property as a column, None for one of several dimensions."""
    if prop.data is not None or prop.values.ndim != 1:
        return None
    values = prop.values
    if values.dtype.kind in "biuf":
        series = pl.Series(name, np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="))))
    else:
        series = pl.Series(name, [str(v) for v in values.tolist()], dtype=pl.String)
    if prop.missing is not None and prop.missing.any():
        series = pl.select(pl.when(pl.Series(prop.missing)).then(None).otherwise(series).alias(name)).to_series()
    return series


def _contours(prop: Property, ids: NDArray[np.int64]) -> Contours:
    missing = prop.missing if prop.missing is not None else np.zeros(len(ids), np.bool_)
    outlines = {}
    for k, node in enumerate(ids.tolist()):
        if missing[k]:
            continue
        if prop.data is None:
            outline = prop.values[k]
        else:
            start, *shape = (int(v) for v in prop.values[k])
            outline = prop.data[start : start + int(np.prod(shape))].reshape(shape)
        if outline.size:
            outlines[node] = outline.reshape(-1, 2)
    return Contours.of(outlines)


def _scale(
    metadata: Mapping[str, Any], pixel_um: float | None, step_um: float | None, interval_min: float | None
) -> Scale | None:
    noted = (metadata.get("extra") or {}).get("kinocyte") if isinstance(metadata.get("extra"), dict) else None
    if isinstance(noted, dict) and isinstance(noted.get("scale"), dict) and pixel_um is None:
        return Scale.model_validate(noted["scale"])
    if pixel_um is None:
        return None
    return Scale(y_um=pixel_um, x_um=pixel_um, z_um=step_um, frame_interval_min=interval_min)
