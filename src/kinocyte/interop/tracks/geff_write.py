"""GEFF written: frames and micrometres as axes, every feature a property."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.schema import unit_of_column
from kinocyte.core.version import __version__
from kinocyte.interop.tracks.base import Contours, TrackData
from kinocyte.interop.tracks.branches import with_tracks
from kinocyte.interop.tracks.files import published
from kinocyte.interop.tracks.geff import GeffFile, Property

if TYPE_CHECKING:
    import zarr

_UNITS = {"um": "micrometer", "min": "minute"}
_CHUNK = 1 << 16


def write_geff(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write a GEFF 1.1 as a Zarr 2 group, which its Java and Python readers open.

    The axes are ``t`` in frames (with the frame interval as its scale), ``z`` in 3D, ``y`` and ``x`` in micrometres;
    features are properties with their unit, outlines the property ``contour``, branches and lineages the properties
    ``track_id`` and ``lineage_id``.

    Raises
    ------
    StoreError
        If something is there already, or the disk may not be written.
    """
    import zarr

    data = with_tracks(data)
    nodes = _node_properties(data)
    edges = {c: _property(data.links[c]) for c in ["cost", "confidence", *data.link_features] if _fits(data.links[c])}
    file = data.payload if isinstance(data.payload, GeffFile) else None
    own = {n: p for n, p in nodes.items() if p is not None}
    if file is not None and np.array_equal(file.object_ids, data.objects["object_id"].to_numpy()):
        own = {**file.node_properties, **own}
        edges = {**{n: p for n, p in file.edge_properties.items() if len(p.values) == data.links.height}, **edges}
    known = file.metadata if file is not None else {}
    metadata = _metadata(data, own, edges, known)
    with published(path, overwrite=overwrite) as place:
        group = zarr.open_group(place, mode="w", zarr_format=2)
        group.attrs["geff"] = metadata
        ids = data.objects["object_id"].to_numpy()
        kind = np.uint64 if not len(ids) or ids.min() >= 0 else np.int64
        _array(group, "nodes/ids", ids.astype(kind))
        ends = data.links.select("source_id", "target_id").to_numpy().reshape(-1, 2)
        _array(group, "edges/ids", ends.astype(kind))
        for part, properties in (("nodes", own), ("edges", edges)):
            group.require_group(f"{part}/props")
            for name, prop in properties.items():
                _array(group, f"{part}/props/{name}/values", prop.values)
                if prop.missing is not None and prop.missing.any():
                    _array(group, f"{part}/props/{name}/missing", prop.missing)
                if prop.data is not None:
                    _array(group, f"{part}/props/{name}/data", prop.data)


def _array(group: zarr.Group, name: str, values: NDArray[Any]) -> None:
    """Write an array in chunks; group and array names are made of column names, which hold no separator."""
    chunks = (min(max(len(values), 1), _CHUNK), *values.shape[1:])
    array = group.create_array(name, shape=values.shape, chunks=chunks, dtype=values.dtype)
    if values.size:
        array[...] = values


def _fits(column: pl.Series) -> bool:
    dtype = column.dtype
    named = bool(column.name) and not set(column.name) & set("/\\") and not column.name.startswith((".", "__"))
    numeric = dtype.is_integer() or dtype.is_float() or dtype in (pl.Boolean, pl.String)
    return named and numeric and dtype != pl.Int128 and column.null_count() < max(column.len(), 1)


def _property(column: pl.Series) -> Property:
    missing = column.is_null().to_numpy() if column.null_count() else None
    if column.dtype == pl.String:
        texts = [v.replace("\x00", "") if v else "" for v in column.to_list()]
        width = max((len(t) for t in texts), default=1)
        return Property(np.array(texts, f"<U{max(width, 1)}"), missing, None)
    filled = column.fill_null(value=False) if column.dtype == pl.Boolean else column.fill_null(0)
    return Property(filled.to_numpy(), missing, None)


def _node_properties(data: TrackData) -> dict[str, Property | None]:
    objects = data.objects
    axes = [("t", objects["frame"]), ("y", objects["y_um"]), ("x", objects["x_um"])]
    if data.is_3d:
        axes.insert(1, ("z", objects["z_um"]))
    properties: dict[str, Property | None] = {n: _property(s) for n, s in axes}
    columns = ["time_min", "label", *(["quality"] if "quality" in objects.columns else []), *data.object_features]
    for name in columns:
        if name not in properties and name not in ("track_id", "lineage_id") and _fits(objects[name]):
            properties[name] = _property(objects[name])
    properties |= _track_properties(data)
    if len(data.contours):
        properties["contour"] = _contour(data.contours, objects["object_id"].to_numpy())
    return properties


def _track_properties(data: TrackData) -> dict[str, Property]:
    if data.tracks is None or data.members is None or not data.objects.height:
        return {}
    joined = (
        data.objects.select("object_id")
        .join(data.members, on="object_id", how="left", maintain_order="left")
        .join(data.tracks.select("track_id", lineage_id="root_id"), on="track_id", how="left", maintain_order="left")
    )
    return {n: _property(joined[n]) for n in ("track_id", "lineage_id") if joined[n].null_count() < joined.height}


def _contour(contours: Contours, ids: NDArray[np.int64]) -> Property:
    at = {int(i): k for k, i in enumerate(contours.object_id)}
    places = [at.get(int(i), -1) for i in ids]
    missing = np.array([p < 0 for p in places], np.bool_)
    values = np.zeros((len(ids), 3), np.uint64)
    for row, k in enumerate(places):
        if k >= 0:
            values[row] = (2 * contours.start[k], contours.start[k + 1] - contours.start[k], 2)
    return Property(values, missing if missing.any() else None, contours.xy_um.ravel())


def _metadata(
    data: TrackData, nodes: Mapping[str, Property], edges: Mapping[str, Property], known: Mapping[str, Any]
) -> dict[str, Any]:
    interval = data.scale.frame_interval_min if data.scale is not None else None
    t = {"name": "t", "type": "time", "unit": "frame"}
    if interval is not None:
        t |= {"scale": interval, "scaled_unit": "minute"}  # type: ignore[dict-item] # a number beside texts
    axes = [t, *({"name": a, "type": "space", "unit": "micrometer"} for a in ("zyx" if data.is_3d else "yx"))]
    for axis in axes:
        values = nodes[str(axis["name"])].values
        finite = values[np.isfinite(values.astype(np.float64))]
        if finite.size:
            axis |= {"min": float(finite.min()), "max": float(finite.max())}  # type: ignore[dict-item] # as above
    extra = dict(known.get("extra") or {}) if isinstance(known.get("extra"), dict) else {}
    extra["kinocyte"] = {"version": __version__}
    if data.scale is not None:
        extra["kinocyte"]["scale"] = data.scale.model_dump(mode="json")
    hints = {"display_horizontal": "x", "display_vertical": "y", "display_time": "t"}
    track_props = {k: p for k, p in (("tracklet", "track_id"), ("lineage", "lineage_id")) if p in nodes}
    return {
        "geff_version": "1.1", "directed": True, "axes": axes,
        "node_props_metadata": {n: _described(n, p, known.get("node_props_metadata")) for n, p in nodes.items()},
        "edge_props_metadata": {n: _described(n, p, known.get("edge_props_metadata")) for n, p in edges.items()},
        "sphere": None, "ellipsoid": None, "track_node_props": _usable(track_props, nodes),
        "related_objects": known.get("related_objects"), "extra": extra,
        "display_hints": hints | ({"display_depth": "z"} if data.is_3d else {}),
    }  # fmt: skip


def _usable(track_props: dict[str, str], nodes: Mapping[str, Property]) -> dict[str, str] | None:
    """Return the properties that name tracks where every node has one; the format allows no gaps there."""
    whole = {k: p for k, p in track_props.items() if nodes[p].missing is None}
    return whole or None


def _described(name: str, prop: Property, known: Any) -> dict[str, Any]:
    values = prop.values if prop.data is None else prop.data
    dtype = "str" if values.dtype.kind in "UTO" else values.dtype.name
    unit = unit_of_column(name)
    found = {
        "identifier": name, "dtype": dtype, "varlength": prop.data is not None,
        "unit": "micrometer" if name in ("contour", "x", "y", "z") else _UNITS.get(unit or "", unit), "name": name,
        "description": None,
    }  # fmt: skip
    before = known.get(name) if isinstance(known, Mapping) else None
    if isinstance(before, Mapping):
        found |= {k: before[k] for k in ("unit", "name", "description") if k in before}
    return found
