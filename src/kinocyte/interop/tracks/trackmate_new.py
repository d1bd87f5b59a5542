"""A TrackMate session for tracks that come from elsewhere: declarations, settings, features of tracks."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.schema import unit_of_column
from kinocyte.core.version import __version__
from kinocyte.interop.tracks._xml import Node, java_double
from kinocyte.interop.tracks.base import NO_CONTOURS, TrackData, calibrated
from kinocyte.interop.tracks.trackmate import OWN_ID, TrackMateFile

#: Version of TrackMate whose layout is written.
LAYOUT = "7.14.0"

_Features = Mapping[str, tuple[str, str, str, bool]]
#: Key to name, short name, dimension, and whether it is a whole number.
SPOT_FEATURES: _Features = MappingProxyType({
    "QUALITY": ("Quality", "Quality", "QUALITY", False),
    "POSITION_X": ("X", "X", "POSITION", False),
    "POSITION_Y": ("Y", "Y", "POSITION", False),
    "POSITION_Z": ("Z", "Z", "POSITION", False),
    "POSITION_T": ("T", "T", "TIME", False),
    "FRAME": ("Frame", "Frame", "NONE", True),
    "RADIUS": ("Radius", "R", "LENGTH", False),
    "VISIBILITY": ("Visibility", "Visibility", "NONE", True),
})  # fmt: skip
EDGE_FEATURES: _Features = MappingProxyType({
    "SPOT_SOURCE_ID": ("Source spot ID", "Source ID", "NONE", True),
    "SPOT_TARGET_ID": ("Target spot ID", "Target ID", "NONE", True),
    "LINK_COST": ("Edge cost", "Cost", "COST", False),
})  # fmt: skip
TRACK_FEATURES: _Features = MappingProxyType({
    "TRACK_INDEX": ("Track index", "Index", "NONE", True),
    "TRACK_ID": ("Track ID", "ID", "NONE", True),
    "NUMBER_SPOTS": ("Number of spots in track", "N spots", "NONE", True),
    "NUMBER_GAPS": ("Number of gaps", "N gaps", "NONE", True),
    "NUMBER_SPLITS": ("Number of split events", "N splits", "NONE", True),
    "NUMBER_MERGES": ("Number of merge events", "N merges", "NONE", True),
    "NUMBER_COMPLEX": ("Number of complex points", "N complex", "NONE", True),
    "LONGEST_GAP": ("Longest gap", "Lgst gap", "NONE", True),
    "TRACK_DURATION": ("Track duration", "Duration", "TIME", False),
    "TRACK_START": ("Track start", "Track start", "TIME", False),
    "TRACK_STOP": ("Track stop", "Track stop", "TIME", False),
    "TRACK_DISPLACEMENT": ("Track displacement", "Track disp.", "LENGTH", False),
    "TRACK_X_LOCATION": ("Track mean X", "Track X", "POSITION", False),
    "TRACK_Y_LOCATION": ("Track mean Y", "Track Y", "POSITION", False),
    "TRACK_Z_LOCATION": ("Track mean Z", "Track Z", "POSITION", False),
})  # fmt: skip
#: Columns of ours that are features TrackMate knows: key, name, short name. Intensities are not among them: it numbers
#: channels, and a table of objects does not tell which channel is which number.
_KNOWN_SPOT: Mapping[str, tuple[str, str, str]] = MappingProxyType({
    "area_um2": ("AREA", "Area", "Area"),
    "perimeter_um": ("PERIMETER", "Perimeter", "Perim."),
    "circularity": ("CIRCULARITY", "Circularity", "Circ."),
    "solidity": ("SOLIDITY", "Solidity", "Solidity"),
})  # fmt: skip
_KNOWN_EDGE: Mapping[str, tuple[str, str, str]] = MappingProxyType({
    "displacement_um": ("DISPLACEMENT", "Displacement", "Disp."),
    "speed_um_per_min": ("SPEED", "Speed", "Speed"),
    "directional_change_rate_rad_per_min": ("DIRECTIONAL_CHANGE_RATE", "Directional change rate", "Dir. change"),
})  # fmt: skip
_DIMENSIONS = MappingProxyType({
    "um": "LENGTH", "um2": "AREA", "um3": "VOLUME", "min": "TIME", "um/min": "VELOCITY", "rad": "ANGLE",
    "rad/min": "ANGLE_RATE",
})  # fmt: skip


def new_file(data: TrackData) -> TrackMateFile:
    """Return an empty TrackMate session that fits tracks from elsewhere, in micrometres and minutes.

    The radius of a spot is its ``radius_um``, else that of a disc of its ``area_um2`` or a ball of its ``volume_um3``;
    where none of these is known it is 5 pixels, which is only how large the spot is drawn.
    """
    root = Node("TrackMate", {"version": LAYOUT})
    root.add("Log").children.append(f"Written by Kinocyte {__version__}.")
    model = root.add("Model", spatialunits="micron", timeunits="min")
    declarations = model.add("FeatureDeclarations")
    for kind, features in (
        ("SpotFeatures", SPOT_FEATURES), ("EdgeFeatures", EDGE_FEATURES), ("TrackFeatures", TRACK_FEATURES),
    ):  # fmt: skip
        place = declarations.add(kind)
        for key, (name, short, dimension, whole) in features.items():
            place.children.append(_feature(key, name, short, dimension, whole=whole))
    model.add("AllSpots", nspots="0")
    model.add("AllTracks")
    model.add("FilteredTracks")
    _settings(root, data)
    root.add("GUIState", state="ConfigureViews")
    return TrackMateFile(
        root, {}, {"LINK_COST": "cost"}, pl.DataFrame(), None, (), 1.0, 1.0, NO_CONTOURS, np.empty((0, 3), np.int64),
    )  # fmt: skip


def _feature(key: str, name: str, short: str, dimension: str, *, whole: bool) -> Node:
    return Node("Feature", {
        "feature": key, "name": name, "shortname": short, "dimension": dimension, "isint": "true" if whole else "false",
    })  # fmt: skip


def key_of(column: str) -> str:
    """Return a column's name as TrackMate writes features: capitals, digits and ``_``."""
    key = re.sub(r"[^A-Z0-9_]", "_", column.upper())
    return key if key[:1].isalpha() else f"F_{key}"


def known_key(column: str) -> str:
    """Return the feature of TrackMate that a column of ours is, empty where it knows none."""
    return {**_KNOWN_SPOT, **_KNOWN_EDGE}.get(column, ("",))[0]


def _keys(
    table: pl.DataFrame, columns: list[str], taken: set[str], known: Mapping[str, tuple[str, str, str]]
) -> dict[str, str]:
    """Return a key of its own for each numeric column that holds anything: TrackMate's where it knows the feature."""
    keys: dict[str, str] = {}
    used = {*taken, "ID", "NAME", "LABEL", "TRACK_ID", "ROI_N_POINTS", OWN_ID}
    for column in dict.fromkeys(columns):
        if column not in table.columns or not _storable(table[column]):
            continue
        theirs = known[column][0] if column in known else ""
        base = key = theirs if theirs and theirs not in {*used, *table.columns} else key_of(column)
        n = 2
        while key in used:
            key, n = f"{base}_{n}", n + 1
        used.add(key)
        keys[key] = column
    return keys


def _storable(values: pl.Series) -> bool:
    return (values.dtype.is_numeric() or values.dtype == pl.Boolean) and values.null_count() < values.len()


def _settings(root: Node, data: TrackData) -> None:
    """Add the settings that TrackMate's reader asks for: image, crop, manual detector and tracker, no filters."""
    scale = calibrated(data, "TrackMate")
    objects = data.objects
    sizes = movie_shape(data)
    t, z, y, x = sizes if len(sizes) == 4 else (sizes[0], 1, *sizes[1:])
    settings = root.add("Settings")
    folder, _, filename = data.image_file.replace("\\", "/").rpartition("/")
    settings.add(
        "ImageData", filename=filename or f"{data.name}.tif", folder=f"{folder}/" if folder else "",
        width=str(x), height=str(y), nslices=str(z),
        nframes=str(t), pixelwidth=java_double(scale.x_um), pixelheight=java_double(scale.y_um),
        voxeldepth=java_double(scale.z_um or 1.0), timeinterval=java_double(scale.frame_interval_min or 1.0),
    )  # fmt: skip
    first = min([0, *objects["frame"].to_list()])
    settings.add(
        "BasicSettings", xstart="0", xend=str(x - 1), ystart="0", yend=str(y - 1), zstart="0", zend=str(z - 1),
        tstart=str(first), tend=str(t - 1),
    )  # fmt: skip
    settings.add("DetectorSettings", DETECTOR_NAME="MANUAL_DETECTOR", RADIUS=java_double(5 * scale.pixel_size_um))
    settings.add("InitialSpotFilter", feature="QUALITY", value="0.0", isabove="true")
    settings.add("SpotFilterCollection")
    settings.add("TrackerSettings", TRACKER_NAME="MANUAL_TRACKER")
    settings.add("TrackFilterCollection")
    analyzers = settings.add("AnalyzerCollection")
    for kind in ("SpotAnalyzers", "EdgeAnalyzers", "TrackAnalyzers"):
        analyzers.add(kind)


def movie_shape(data: TrackData) -> tuple[int, ...]:
    """Return the size of the movie, (t, y, x) or (t, z, y, x): as it is known, else one that holds every object."""
    if data.shape is not None:
        return data.shape
    scale = calibrated(data, "TrackMate")

    def size(column: str, step: float) -> int:
        values = data.objects[column].cast(pl.Float64).fill_nan(None).drop_nulls()
        high = float(values.max() or 0.0) if values.len() else 0.0  # type: ignore[arg-type] # a number: the column is
        return max(int(min(high / step + 0.5, 2**31 - 2)) + 1, 1) if np.isfinite(high) else 1

    deep = (size("z_um", scale.z_um or 1.0),) if data.is_3d else ()
    return (size("frame", 1.0), *deep, size("y_um", scale.y_um), size("x_um", scale.x_um))


def radii_um(data: TrackData) -> pl.Series:
    """Return the radius each object is drawn with, in micrometres."""
    objects = data.objects
    if "RADIUS" in objects.columns and objects["RADIUS"].dtype.is_numeric():
        factor = data.payload.um_per_unit if isinstance(data.payload, TrackMateFile) else 1.0
        radius = objects["RADIUS"].cast(pl.Float64) * factor
    elif "radius_um" in objects.columns:
        radius = objects["radius_um"].cast(pl.Float64)
    elif "volume_um3" in objects.columns:
        radius = (objects["volume_um3"].cast(pl.Float64) * 3 / (4 * np.pi)).cbrt()
    elif "area_um2" in objects.columns:
        radius = (objects["area_um2"].cast(pl.Float64) / np.pi).sqrt()
    else:
        radius = pl.Series([None] * objects.height, dtype=pl.Float64)
    drawn = 5 * (data.scale.pixel_size_um if data.scale is not None else 1.0)
    return radius.fill_nan(None).fill_null(drawn).alias("RADIUS")


def extended(file: TrackMateFile, data: TrackData, *, own_ids: bool) -> TrackMateFile:
    """Return the session with every feature that the tables have and the session did not know, and its declaration.

    Parameters
    ----------
    file : TrackMateFile
        As it was read, or new.
    data : TrackData
        Objects and links with their features.
    own_ids : bool
        Also declare the feature that keeps ids TrackMate cannot count.
    """
    root = copy.deepcopy(file.root)
    model = root.find("Model")
    declarations = model.find("FeatureDeclarations") if model is not None else None
    fresh = not isinstance(data.payload, TrackMateFile)
    spots = [c for c in (["label"] if fresh else []) + data.object_features if c not in file.spot_columns.values()]
    edges = [c for c in ["confidence", *data.link_features] if c not in file.edge_columns.values() and c != "TRACK_ID"]
    # TrackMate's own features are in the units of the file, ours in micrometres and minutes
    same = file.um_per_unit == 1.0 and file.min_per_unit == 1.0
    spot_known, edge_known = (_KNOWN_SPOT, _KNOWN_EDGE) if same else ({}, {})
    spots = [c for c in spots if c not in SPOT_FEATURES]
    spot_keys = _keys(data.objects, spots, {*SPOT_FEATURES, *file.spot_columns}, spot_known)
    edge_keys = _keys(data.links, edges, {*EDGE_FEATURES, *file.edge_columns}, edge_known)
    if declarations is not None:
        _declare(declarations.find("SpotFeatures"), spot_keys, data.objects, spot_known)
        _declare(declarations.find("EdgeFeatures"), edge_keys, data.links, edge_known)
        if own_ids:
            _own_id_feature(declarations)
    return dataclasses.replace(
        file,
        root=root,
        spot_columns={**file.spot_columns, **spot_keys},
        edge_columns={**file.edge_columns, **edge_keys},
    )


def _declare(
    place: Node | None, keys: Mapping[str, str], table: pl.DataFrame, known: Mapping[str, tuple[str, str, str]]
) -> None:
    for key, column in keys.items() if place is not None else ():
        whole = table[column].dtype.is_integer() or table[column].dtype == pl.Boolean
        dimension = _DIMENSIONS.get(unit_of_column(column) or "", "NONE")
        name, short = known[column][1:] if column in known and known[column][0] == key else (column, column)
        node = _feature(key, name, short, dimension, whole=whole)
        node.attributes["column"] = column
        if place is not None:
            place.children.append(node)


def _own_id_feature(declarations: Node) -> None:
    place = declarations.find("SpotFeatures")
    if place is not None and all(f.attributes.get("feature") != OWN_ID for f in place.elements()):
        place.children.append(_feature(OWN_ID, "Object id in Kinocyte", "Object id", "NONE", whole=True))


def track_features(
    data: TrackData, file: TrackMateFile, source: NDArray[np.int64], target: NDArray[np.int64], track: NDArray[np.int64]
) -> pl.DataFrame:
    """Return one row a track, in order of appearance: counts, times and places as TrackMate defines them.

    Parameters
    ----------
    data : TrackData
        Objects and links.
    file : TrackMateFile
        Its units are those of the features.
    source, target : array (n,), int64
        Rows of the objects that each link joins.
    track : array (n,), int64
        ``TRACK_ID`` of each link.
    """
    n = data.objects.height
    outs, ins = np.bincount(source, minlength=n), np.bincount(target, minlength=n)
    spot_of = np.full(n, -1, np.int64)
    spot_of[source] = track
    spot_of[target] = track
    spots = pl.DataFrame({
        "TRACK_ID": spot_of, "t": data.objects["time_min"] / file.min_per_unit,
        **{a: data.objects[f"{a}_um"] / file.um_per_unit for a in "xyz"},
        "split": (outs > 1) & (ins <= 1), "merge": (ins > 1) & (outs <= 1), "complex": (outs > 1) & (ins > 1),
    }).filter(pl.col("TRACK_ID") >= 0)  # fmt: skip
    away = sum(((pl.col(a).last() - pl.col(a).first()) ** 2 for a in "xyz"), pl.lit(0.0)).sqrt()
    per_spot = spots.sort("t", maintain_order=True).group_by("TRACK_ID").agg(
        pl.len().cast(pl.Int64).alias("NUMBER_SPOTS"),
        pl.col("split").sum().cast(pl.Int64).alias("NUMBER_SPLITS"),
        pl.col("merge").sum().cast(pl.Int64).alias("NUMBER_MERGES"),
        pl.col("complex").sum().cast(pl.Int64).alias("NUMBER_COMPLEX"),
        (pl.col("t").max() - pl.col("t").min()).alias("TRACK_DURATION"),
        pl.col("t").min().alias("TRACK_START"), pl.col("t").max().alias("TRACK_STOP"),
        away.alias("TRACK_DISPLACEMENT"),
        *(pl.col(a).mean().alias(f"TRACK_{a.upper()}_LOCATION") for a in "xyz"),
    )  # fmt: skip
    gaps = pl.DataFrame({"TRACK_ID": track, "gap": data.links["frame_gap"].cast(pl.Int64)})
    per_link = gaps.group_by("TRACK_ID", maintain_order=True).agg(
        (pl.col("gap") > 1).sum().cast(pl.Int64).alias("NUMBER_GAPS"), (pl.col("gap").max() - 1).alias("LONGEST_GAP")
    )
    joined = per_link.join(per_spot, on="TRACK_ID", how="left", maintain_order="left").with_row_index("TRACK_INDEX")
    return joined.select(
        ["TRACK_ID", "TRACK_INDEX", *(f for f in TRACK_FEATURES if f not in ("TRACK_ID", "TRACK_INDEX"))]
    )
