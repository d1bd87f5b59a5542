"""Tables of positions for other programs: one function a format, each returns the table that is written.

Programs that know tracks but no links get the branches between divisions as tracks.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from kinocyte.core.errors import InputFileError, TableError
from kinocyte.interop.tracks.base import TrackData, calibrated, track_data
from kinocyte.interop.tracks.branches import with_tracks
from kinocyte.interop.tracks.files import published, read_text, refuse_existing
from kinocyte.interop.tracks.text_tables import chained, dialect_of, read_rows, read_table
from kinocyte.interop.tracks.trackmate_new import radii_um


def tracked(data: TrackData) -> pl.DataFrame:
    """Return the objects with their ``track_id``, sorted by track and frame; objects in no track are left out."""
    whole = with_tracks(data)
    if whole.members is None:
        msg = f"'{data.name}' has no tracks."
        raise TableError(msg)
    objects = data.objects.drop("track_id", strict=False)
    return objects.join(whole.members, on="object_id", maintain_order="left").sort("track_id", "frame")


def _csv(path: Path, table: pl.DataFrame, *, overwrite: bool) -> None:
    with published(path, overwrite=overwrite) as place:
        table.write_csv(place)


def write_celltrackr(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write ``track,t,x,y[,z]`` for celltrackR's ``read.tracks.csv``: seconds and micrometres."""
    depth = [pl.col("z_um").alias("z")] if data.is_3d else []
    columns = [pl.col("track_id").alias("track"), pl.col("time_min").mul(60).alias("t"), pl.col("x_um").alias("x")]
    _csv(path, tracked(data).select(*columns, pl.col("y_um").alias("y"), *depth), overwrite=overwrite)


def write_motilitylab(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write the table MotilityLab reads: tracking id, time point, time in seconds, position in micrometres."""
    table = tracked(data).select(
        pl.col("track_id").alias("Tracking ID"), pl.col("frame").alias("Timepoint"),
        pl.col("time_min").mul(60).alias("Time (sec)"), pl.col("x_um").alias("X pos (µm)"),
        pl.col("y_um").alias("Y pos (µm)"), pl.col("z_um").alias("Z pos (µm)"),
    )  # fmt: skip
    _csv(path, table, overwrite=overwrite)


def write_motilitylab_json(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write tracks as JSON: ``{"tracks": [{"id", "points": [[t, x, y, z], ..]}, ..]}`` in seconds and micrometres."""
    groups = (
        tracked(data)
        .group_by("track_id", maintain_order=True)
        .agg(pl.concat_list(pl.col("time_min") * 60, "x_um", "y_um", "z_um").alias("points"), pl.col("frame"))
    )
    document = {
        "format": "motilitylab", "name": data.name, "timeunit": "s", "spaceunit": "um",
        "dimensions": ["t", "x", "y", "z"],
        "tracks": [{"id": i, "points": p, "frames": f} for i, p, f in groups.iter_rows()],
    }  # fmt: skip
    with published(path, overwrite=overwrite) as place:
        place.write_text(json.dumps(document, indent=1), encoding="utf-8")


def read_motilitylab_json(path: Path) -> TrackData:
    """Read what `write_motilitylab_json` writes.

    Raises
    ------
    InputFileError
        If it is no such JSON.
    """
    try:
        document = json.loads(read_text(path))
        rows = [
            (str(track["id"]), frame, *(float(v) for v in point))
            for track in document["tracks"]
            for frame, point in zip(track["frames"], track["points"], strict=True)
        ]
        names = ["track", "frame", "t", "x_um", "y_um", "z_um"]
        table = pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None).with_row_index(
            "object_id", offset=1
        )
        objects = table.select("object_id", "frame", "x_um", "y_um", "z_um", time_min=pl.col("t") / 60)
        return track_data(objects, chained(objects, table["track"]), name=str(document.get("name", path.stem)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, pl.exceptions.PolarsError) as error:
        msg = f"'{path}' is no JSON of tracks ({' '.join(str(error).split())[:120]}); export it again."
        raise InputFileError(msg) from error


def write_mastodon(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write the table that Mastodon's CSV importer takes: one parent an object, -1 for none, micrometres.

    Objects are numbered anew where an id is negative. Of several parents (a merge) the one of the nearest frame,
    then of the cheapest link is kept.
    """
    objects = data.objects
    ids = objects["object_id"]
    number = pl.DataFrame({"object_id": ids, "id": ids if not len(ids) or ids.min() >= 0 else range(len(ids))})  # type: ignore[operator] # a number
    best = data.links.sort("frame_gap", "cost", "source_id", nulls_last=True).unique("target_id", keep="first")
    parents = best.select("source_id", object_id="target_id").join(
        number.rename({"object_id": "source_id", "id": "parent_id"}), on="source_id"
    )
    quality = pl.col("quality") if "quality" in objects.columns else pl.lit(None, dtype=pl.Float64).alias("quality")
    table = (
        objects.with_columns(radii_um(data).alias("_radius"))
        .join(number, on="object_id", maintain_order="left")
        .join(parents, on="object_id", how="left", maintain_order="left")
        .select(
            "id", pl.col("parent_id").fill_null(-1), "frame", pl.col("x_um").alias("x"), pl.col("y_um").alias("y"),
            pl.col("z_um").alias("z"), pl.col("_radius").alias("radius"), "label", quality,
        )
    )  # fmt: skip
    _csv(path, table, overwrite=overwrite)


def write_napari(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write napari's Tracks layer: ``track_id,t[,z],y,x`` in pixels, and beside it ``<name>_graph.json``."""
    scale = calibrated(data, "napari")
    whole = with_tracks(data)
    depth = [(pl.col("z_um") / (scale.z_um or 1.0)).alias("z")] if data.is_3d else []
    rows = tracked(data).select(
        "track_id", pl.col("frame").alias("t"), *depth, (pl.col("y_um") / scale.y_um).alias("y"),
        (pl.col("x_um") / scale.x_um).alias("x"),
    )  # fmt: skip
    parents = whole.tracks.drop_nulls("parent_id") if whole.tracks is not None else None
    graph = {str(t): [p] for t, p in parents.select("track_id", "parent_id").iter_rows()} if parents is not None else {}
    beside = _graph_of(path)
    refuse_existing(path, overwrite=overwrite)
    with published(beside, overwrite=overwrite) as place:
        place.write_text(json.dumps(graph, indent=1), encoding="utf-8")
    _csv(path, rows, overwrite=overwrite)


def _graph_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}_graph.json")


def napari_graph(path: Path, data: TrackData, tracks: pl.Series) -> TrackData:
    """Return the data with the links that the graph beside a napari table adds: parent's last to child's first object.

    Raises
    ------
    InputFileError
        If the graph is no JSON of track to parents, or names a track that is not there.
    """
    beside = _graph_of(path)
    if not beside.is_file():
        return data
    table = data.objects.select("object_id", "frame", track=tracks.cast(pl.Int64, strict=False)).sort("frame")
    ends = table.group_by("track").agg(first=pl.col("object_id").first(), last=pl.col("object_id").last())
    known = {t: (a, b) for t, a, b in ends.iter_rows()}
    try:
        graph = json.loads(read_text(beside))
        pairs = [
            (known[int(p)][1], known[int(child)][0])
            for child, parents in graph.items()
            for p in (parents if isinstance(parents, list) else [parents])
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"'{beside}' is no graph of the tracks in '{path.name}' ({error}); export both again."
        raise InputFileError(msg) from error
    more = pl.DataFrame(pairs, schema={"source_id": pl.Int64, "target_id": pl.Int64}, orient="row")
    links = pl.concat([data.links.select("source_id", "target_id"), more])
    return track_data(data.objects, links, name=data.name, scale=data.scale, notes=data.notes)


def write_colab(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write the table of spots that CellTracksColab loads: TrackMate's column names, one header row."""
    table = tracked(data).with_columns(radii_um(data.replace(objects=tracked(data))).alias("RADIUS")).select(
        ("ID" + pl.col("object_id").cast(pl.String)).alias("LABEL"), pl.col("object_id").alias("ID"),
        pl.col("track_id").alias("TRACK_ID"), *_spot_columns(), "RADIUS", pl.lit(1).alias("VISIBILITY"),
        *(pl.col(c) for c in data.object_features if c.islower() and data.objects[c].dtype.is_numeric()),
    )  # fmt: skip
    _csv(path, table, overwrite=overwrite)


def _spot_columns() -> list[pl.Expr]:
    return [
        pl.col("x_um").alias("POSITION_X"), pl.col("y_um").alias("POSITION_Y"), pl.col("z_um").alias("POSITION_Z"),
        pl.col("time_min").alias("POSITION_T"), pl.col("frame").alias("FRAME"),
    ]  # fmt: skip


def write_kinocyte(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write one row an object with its ``track_id``, all features and our column names."""
    table = tracked(data)
    plain = [c for c, t in table.schema.items() if not t.is_nested()]
    _csv(path, table.select(plain), overwrite=overwrite)


def read_positions(
    path: Path,
    *,
    pixel_size_um: float | None = None,
    z_step_um: float | None = None,
    frame_interval_min: float | None = None,
) -> TrackData:
    """Read a table of positions (`read_table`); for napari's with the graph that lies beside it.

    Raises
    ------
    InputFileError
        If the table or the graph is damaged.
    """
    data = read_table(path, pixel_size_um=pixel_size_um, z_step_um=z_step_um, frame_interval_min=frame_interval_min)
    dialect = dialect_of(path)
    if dialect is None or dialect.name != "napari":
        return data
    return napari_graph(path, data, read_rows(path)["track_id"])
