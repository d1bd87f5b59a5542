"""TrackMate XML written: so that TrackMate opens it, and so that a file that was read comes back whole.

What was read and not changed is written as it was; positions, times or links that were changed replace the old ones,
and the features of tracks are computed again where links changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.interop.tracks._xml import Node, attribute_of, number_texts, opening, text_of, write_node
from kinocyte.interop.tracks.base import Contours, TrackData
from kinocyte.interop.tracks.branches import lineages, link_rows
from kinocyte.interop.tracks.files import published
from kinocyte.interop.tracks.outlines import with_outlines, with_radii
from kinocyte.interop.tracks.trackmate import OWN_ID, TrackMateFile, scaled
from kinocyte.interop.tracks.trackmate_new import extended, new_file, radii_um, track_features

_BLOCK = 10_000
_LARGEST_ID = 2**31 - 1
#: attribute of a spot to the column that decides its value
_PLACES = {"POSITION_X": "x_um", "POSITION_Y": "y_um", "POSITION_Z": "z_um", "POSITION_T": "time_min"}


def write_trackmate(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write a TrackMate XML; a file that was read with `read_trackmate` comes back with all it held.

    Numeric features become features of TrackMate with their column noted beside; text columns have no counterpart there
    and are left out, except those a TrackMate file brought. Ids that TrackMate cannot count (below 0, above 2**31 - 1)
    are numbered anew and kept in the feature ``KINOCYTE_OBJECT_ID``. Objects of label images
    have their outlines in 2D, and the radius of a disc or ball as large.

    Parameters
    ----------
    path : Path
        File to write.
    data : TrackData
        Objects and links.
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    StoreError
        If something is there already, or the disk may not be written.
    """
    session = session_of(with_radii(with_outlines(data)))
    with published(path, overwrite=overwrite) as place, place.open("w", encoding="utf-8", newline="") as stream:
        stream.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        writer = _Writer(stream, session)
        write_node(session.file.root, stream.write, writer.parts)
        stream.write("\n")


@dataclass(frozen=True)
class Session:
    """Track data in the words of TrackMate.

    Parameters
    ----------
    data : TrackData
        What is written.
    file : TrackMateFile
        The session: as it was read, or new, with every feature declared.
    spots : polars.DataFrame
        Attributes of ``Spot``, one row an object.
    tracks : polars.DataFrame
        Attributes of ``Track``.
    visible : tuple of int
        ``TRACK_ID`` of the visible tracks.
    track_of : array (n,), int64
        ``TRACK_ID`` of each link.
    """

    data: TrackData
    file: TrackMateFile
    spots: pl.DataFrame
    tracks: pl.DataFrame
    visible: tuple[int, ...]
    track_of: NDArray[np.int64]

    def edges(self) -> pl.DataFrame:
        """Return the links as attributes of ``Edge``, and their track as ``TRACK``."""
        links = self.data.links
        if not links.height:
            return pl.DataFrame({"TRACK": []})
        number = pl.DataFrame({"from": self.data.objects["object_id"], "to": self.spots["ID"]})
        ends = [
            links.select(pl.col(c).alias("from"))
            .join(number, on="from", how="left", maintain_order="left")["to"]
            .alias(a)
            for c, a in (("source_id", "SPOT_SOURCE_ID"), ("target_id", "SPOT_TARGET_ID"))
        ]
        features = [links[c].alias(a) for a, c in self.file.edge_columns.items() if c in links.columns]
        return pl.DataFrame([*ends, *features, pl.Series("TRACK", self.track_of)])


def session_of(data: TrackData) -> Session:
    """Return track data in the words of TrackMate: the session it was read from, or a new one."""
    file = data.payload if isinstance(data.payload, TrackMateFile) else new_file(data)
    ids = data.objects["object_id"]
    fits = not len(ids) or bool(((ids >= 0) & (ids <= _LARGEST_ID)).all())
    file = extended(file, data, own_ids=not fits)
    tracks, visible, track_of = _tracks(data, file)
    return Session(data, file, _spots(data, file, fits=fits), tracks, tuple(visible), track_of)


class _Writer:
    """Writes the parts of a file that hold spots and tracks."""

    def __init__(self, stream: IO[str], session: Session) -> None:
        self._write: Callable[[str], object] = stream.write
        self._data, self._file, self._spots = session.data, session.file, session.spots
        self._session = session
        self.parts = {
            "AllSpots": self._all_spots, "AllTracks": self._all_tracks, "FilteredTracks": self._filtered,
        }  # fmt: skip

    def _all_spots(self, node: Node) -> None:
        spots, outlines = self._spots, _Outlines(self._data, self._file)
        count = {"nspots": str(spots.height)} if "nspots" in node.attributes else {}
        self._write(opening(Node(node.tag, {**node.attributes, **count})) + ">")
        frames = self._data.objects["frame"]
        order = list(dict.fromkeys([*self._file.frames, *sorted(frames.unique().to_list())]))
        rank = frames.replace_strict(order, list(range(len(order))), return_dtype=pl.Int64) if len(frames) else frames
        rows = np.argsort(rank.to_numpy(), kind="stable")
        edges = np.searchsorted(rank.to_numpy()[rows], np.arange(len(order) + 1))
        texts = self._spot_texts(rows, outlines)
        for k, frame in enumerate(order):
            self._write(f'\n      <SpotsInFrame frame="{frame}">')
            for _ in range(edges[k], edges[k + 1]):
                self._write("\n        " + next(texts))
            self._write("\n      </SpotsInFrame>")
        self._write(f"\n    </{node.tag}>")

    def _spot_texts(self, rows: NDArray[np.intp], outlines: _Outlines) -> Iterator[str]:
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            heads = _attributes(self._spots[part])
            for row, head in zip(part.tolist(), heads, strict=True):
                yield f"<Spot{head}{outlines.of(row)}"

    def _all_tracks(self, node: Node) -> None:
        self._write(opening(node) + ">")
        links, tracks = self._session.edges(), self._session.tracks
        edges: dict[int, list[str]] = {}
        for track, edge in zip(self._session.track_of.tolist(), _attributes(links.drop("TRACK")), strict=True):
            edges.setdefault(track, []).append(edge)
        for track, head in zip(tracks["TRACK_ID"].to_list(), _attributes(tracks), strict=True):
            self._write(f"\n      <Track{head}>")
            for edge in edges.get(track, ()):
                self._write(f"\n        <Edge{edge} />")
            self._write("\n      </Track>")
        self._write(f"\n    </{node.tag}>")

    def _filtered(self, node: Node) -> None:
        self._write(opening(node) + ">")
        for track in self._session.visible:
            self._write(f'\n      <TrackID TRACK_ID="{track}" />')
        self._write(f"\n    </{node.tag}>")


class _Outlines:
    """The end of a spot: its outline, as it was read where it was not changed."""

    def __init__(self, data: TrackData, file: TrackMateFile) -> None:
        own = file.outlines
        same = len(own) == len(data.contours) and np.array_equal(own.object_id, data.contours.object_id)
        same = same and np.array_equal(own.start, data.contours.start)
        same = same and np.array_equal(own.xy_um * file.um_per_unit, data.contours.xy_um, equal_nan=True)
        self._contours: Contours = own if same else data.contours.scaled(1.0 / file.um_per_unit)
        self._ids = data.objects["object_id"].to_list()
        self._at = {int(i): k for k, i in enumerate(self._contours.object_id)}

    def of(self, row: int) -> str:
        """Return what follows the attributes of a spot."""
        k = self._at.get(self._ids[row])
        if k is None:
            return " />"
        xy = self._contours.xy_um[self._contours.start[k] : self._contours.start[k + 1]]
        numbers = number_texts(pl.Series(xy.ravel(), dtype=pl.Float64)).to_list()
        return f' ROI_N_POINTS="{len(xy)}">{" ".join(numbers)}</Spot>'


def _attributes(rows: pl.DataFrame) -> list[str]:
    """Return the attributes of each row; nulls are left out."""
    parts = []
    for name in rows.columns:
        values = rows[name]
        if values.dtype == pl.Null or values.null_count() == values.len():
            continue
        text = number_texts(values)
        if values.dtype == pl.String:
            text = pl.Series([None if v is None else attribute_of(v) for v in text.to_list()], dtype=pl.String)
        head = text_of(f' {name}="')
        parts.append((pl.lit(head) + text.alias(name) + pl.lit('"')).fill_null(""))
    if not parts:
        return [""] * rows.height
    return pl.select(pl.concat_str(parts)).to_series().to_list()


def _spots(data: TrackData, file: TrackMateFile, *, fits: bool) -> pl.DataFrame:
    """Return the objects as attributes of spots, as they were read where they were not changed."""
    objects = data.objects
    ids = objects["object_id"]
    columns = [(ids if fits else pl.Series(np.arange(objects.height))).alias("ID")]
    now = {"FRAME": objects["frame"].cast(pl.Int64), **{a: objects[c] for a, c in _PLACES.items()}}
    if "quality" in objects.columns:
        now["QUALITY"] = objects["quality"]
    factors = dict.fromkeys(_PLACES, file.um_per_unit) | {"POSITION_T": file.min_per_unit}
    if not isinstance(data.payload, TrackMateFile):
        columns += _bare_spot(data, now)
    for attribute, column in file.spot_columns.items():
        old = objects[column] if column in objects.columns else None
        if attribute in now:
            columns.append(_unless_changed(old, now.pop(attribute), factors.get(attribute, 1.0)).alias(attribute))
        elif old is not None:
            columns.append(old.alias(attribute))
    if not fits:
        columns.append(ids.alias(OWN_ID))
    return pl.DataFrame(columns)


def _bare_spot(data: TrackData, now: dict[str, pl.Series]) -> list[pl.Series]:
    """Return what TrackMate's reader expects of every spot, for tracks from elsewhere."""
    objects = data.objects
    named = "name" in objects.columns and objects["name"].dtype == pl.String
    names = objects["name"] if named else pl.select("ID" + objects["object_id"].cast(pl.String)).to_series()
    quality = now["QUALITY"].fill_null(float("nan")) if "QUALITY" in now else pl.Series([float("nan")] * objects.height)
    return [
        names.alias("name"), quality.cast(pl.Float64).alias("QUALITY"),
        *(now[a].alias(a) for a in (*_PLACES, "FRAME")),
        radii_um(data), pl.Series("VISIBILITY", np.ones(objects.height, np.int64)),
    ]  # fmt: skip


def _unless_changed(old: pl.Series | None, now: pl.Series, factor: float) -> pl.Series:
    """Return the value that was read wherever it still says what the object says now."""
    wanted = now.cast(pl.Float64) if factor == 1.0 else now / factor
    if old is None or not old.dtype.is_numeric():
        return now if now.dtype.is_integer() else wanted
    was = scaled(old, factor)
    same = was.eq_missing(now.cast(pl.Float64)) | (was.is_nan() & now.is_null()).fill_null(value=False)
    same = same | (old.is_null() & (now.is_null() | (now == 0.0))).fill_null(value=False)
    if same.all():
        return old
    return pl.select(pl.when(same).then(old.cast(pl.Float64)).otherwise(wanted)).to_series()


def _tracks(data: TrackData, file: TrackMateFile) -> tuple[pl.DataFrame, list[int], NDArray[np.int64]]:
    """Return the rows of ``Track``, the visible ones, and the track of each link."""
    links = data.links
    ends = links.select("source_id", "target_id").to_numpy().astype(np.int64).reshape(-1, 2)
    if "TRACK_ID" in links.columns and np.array_equal(ends, file.ends[:, :2]) and not links["TRACK_ID"].null_count():
        shown = file.visible if file.visible is not None else file.tracks.get_column("TRACK_ID", default=None)
        return (
            file.tracks if file.tracks.height else _no_tracks(),
            list(shown if shown is not None else ()),
            links["TRACK_ID"].to_numpy(),
        )
    return _new_tracks(data, file)


def _no_tracks() -> pl.DataFrame:
    return pl.DataFrame({"TRACK_ID": []}, schema={"TRACK_ID": pl.Int64})


def _new_tracks(data: TrackData, file: TrackMateFile) -> tuple[pl.DataFrame, list[int], NDArray[np.int64]]:
    """Return tracks of links that were made or changed; what stayed a track keeps its id, name and visibility."""
    source, target = link_rows(data)
    group = lineages(data.objects.height, source, target)[source] if len(source) else np.zeros(0, np.int64)
    old = (
        data.links["TRACK_ID"] if "TRACK_ID" in data.links.columns else pl.Series([None] * len(source), dtype=pl.Int64)
    )
    table = pl.DataFrame({"group": group, "old": old})
    claims = (
        table.drop_nulls().group_by("old", "group").len().sort(["len", "old", "group"], descending=[True, False, False])
    )
    owner: dict[int, int] = {}
    taken: set[int] = set()
    for track, g, _ in claims.iter_rows():
        if g not in owner and track not in taken:
            owner[g] = track
            taken.add(track)
    known = set(file.tracks["TRACK_ID"].to_list()) if file.tracks.height else set()
    free = max(known, default=-1) + 1
    for g in dict.fromkeys(group.tolist()):
        if g not in owner:
            owner[g] = free
            free += 1
    of_link = np.array([owner[g] for g in group.tolist()], np.int64)
    names = dict(file.tracks.select("TRACK_ID", "name").iter_rows()) if "name" in file.tracks.columns else {}
    tracks = track_features(data, file, source, target, of_link)
    name = pl.Series("name", [names.get(t) or f"Track_{t}" for t in tracks["TRACK_ID"].to_list()], dtype=pl.String)
    hidden = known - set(file.visible) if file.visible is not None else set()
    tracks = _unchanged(tracks.insert_column(0, name), data, file, of_link)
    return tracks, [t for t in tracks["TRACK_ID"].to_list() if t not in hidden], of_link


def _unchanged(tracks: pl.DataFrame, data: TrackData, file: TrackMateFile, of_link: NDArray[np.int64]) -> pl.DataFrame:
    """Return the tracks where those whose links are what they were have the row that was read."""
    before, now = (
        {t: frozenset(pairs) for t, pairs in _by_track(ends, track).items()}
        for ends, track in (
            (file.ends[:, :2], file.ends[:, 2]),
            (data.links.select("source_id", "target_id").to_numpy().reshape(-1, 2), of_link),
        )
    )
    same = [t for t in tracks["TRACK_ID"].to_list() if t in before and before[t] == now[t]]
    rows = file.tracks.filter(pl.col("TRACK_ID").is_in(same)) if file.tracks.height else file.tracks
    if not rows.height:
        return tracks
    order = tracks.select("TRACK_ID")
    joined = pl.concat([rows, tracks.filter(~pl.col("TRACK_ID").is_in(same))], how="diagonal_relaxed")
    return order.join(joined, on="TRACK_ID", how="left", maintain_order="left").select(joined.columns)


def _by_track(ends: NDArray[np.int64], track: NDArray[np.int64]) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for (a, b), t in zip(ends.tolist(), track.tolist(), strict=True):
        found.setdefault(t, []).append((a, b))
    return found
