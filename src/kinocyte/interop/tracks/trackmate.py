"""TrackMate XML: what the file holds beyond objects and links, and the reader.

The file is read as it flows by: memory holds the tables, never the document. Facts: a spot is one ``Spot`` element
under the ``SpotsInFrame`` of its frame, an edge one ``Edge`` under its ``Track``, ``FilteredTracks`` names the visible
tracks; positions and times are in the units of ``Model``; outlines are relative to the centre. The first pixel's centre
is the origin, as it is here.
"""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import LINKS, OBJECTS
from kinocyte.interop.tracks._xml import Columns, Node, parse
from kinocyte.interop.tracks.base import Contours, TrackData, track_data
from kinocyte.interop.units import micrometres, minutes

#: Holds the object's own number where TrackMate, which counts spots in 32 bits, cannot.
OWN_ID = "KINOCYTE_OBJECT_ID"
_BULK = ("AllSpots", "AllTracks", "FilteredTracks")


@dataclass(frozen=True)
class TrackMateFile:
    """What a TrackMate file holds beyond objects and links.

    Parameters
    ----------
    root : Node
        Everything but spots, tracks and edges, word for word: log, feature declarations, settings, filters, GUI state,
        display settings and elements we do not know.
    spot_columns, edge_columns : mapping of str to str
        Attribute of the file to column of the table, in the order of the file.
    tracks : polars.DataFrame
        One row a ``Track`` with its attributes (``name``, ``TRACK_ID``, features).
    visible : tuple of int, optional
        ``TRACK_ID`` of the visible tracks; None where the file has no ``FilteredTracks``.
    frames : tuple of int
        Frames that have a ``SpotsInFrame``, empty ones as well.
    um_per_unit, min_per_unit : float
        Length and time of one unit of the file.
    outlines : Contours
        Outlines in the unit of the file.
    ends : array (n, 3), int64
        ``source_id target_id TRACK_ID`` of the links as they were read.
    """

    root: Node
    spot_columns: Mapping[str, str]
    edge_columns: Mapping[str, str]
    tracks: pl.DataFrame
    visible: tuple[int, ...] | None
    frames: tuple[int, ...]
    um_per_unit: float
    min_per_unit: float
    outlines: Contours
    ends: NDArray[np.int64]


def read_trackmate(
    path: Path,
    *,
    visible_only: bool = False,
    pixel_size_um: float | None = None,
    frame_interval_min: float | None = None,
) -> TrackData:
    """Read a TrackMate XML, also gzipped or alone in a zip.

    Parameters
    ----------
    path : Path
        The file.
    visible_only : bool
        Leave out tracks that the track filters hide and spots that the spot filters hide.
    pixel_size_um : float, optional
        Width of a pixel, where the file counts in pixels or states it wrongly.
    frame_interval_min : float, optional
        Time between frames, where the file counts in frames or states it wrongly.

    Raises
    ------
    InputFileError
        If the file is damaged, unsafe, or no TrackMate file.
    """
    target = _Target(path)
    parse(path, target, opened=_opened)
    units = _Units.of(target.root, path, pixel_size_um, frame_interval_min)
    spots, edges, notes = target.spots.frame(), target.edges.frame(), list(units.notes)
    if target.unknown:
        notes.append(
            f"elements inside spots or tracks that are not known are left out: {', '.join(sorted(target.unknown))}"
        )
    declared = target.root.find("Model")
    objects, spot_columns = _objects(spots, units, path, _declared(declared, "SpotFeatures"))
    known = objects.select("object_id", "frame", ID=spots["ID"] if spots.height else pl.Series(dtype=pl.Int64))
    links, edge_columns, lost = _links(edges, known, path, _declared(declared, "EdgeFeatures"))
    notes += lost
    outlines = _outlines(target, objects)
    tracks = target.tracks.frame()
    payload = TrackMateFile(
        target.root, spot_columns, edge_columns, tracks, target.visible, tuple(target.frames), units.um, units.min,
        outlines, _ends(links),
    )  # fmt: skip
    try:
        data = track_data(
            objects, links, name=units.name or path.name.removesuffix(".gz").removesuffix(".xml"),
            scale=units.scale(objects), contours=outlines.scaled(units.um), shape=units.shape(objects), payload=payload,
            notes=tuple(notes),
        )  # fmt: skip
    except TableError as error:
        msg = f"'{path}' cannot be used: {error}"
        raise InputFileError(msg) from error
    return visible(data) if visible_only else data


def _ends(links: pl.DataFrame) -> NDArray[np.int64]:
    """Return both ends and the track of each link, (n, 3)."""
    if not links.height:
        return np.empty((0, 3), np.int64)
    ends: NDArray[np.int64] = links.select("source_id", "target_id", "TRACK_ID").to_numpy().astype(np.int64)
    return ends


def visible(data: TrackData) -> TrackData:
    """Return the data without what TrackMate's filters hide; without a TrackMate file nothing is hidden."""
    file = data.payload
    if not isinstance(file, TrackMateFile):
        return data
    objects, links = data.objects, data.links
    if "VISIBILITY" in objects.columns:
        objects = objects.filter(pl.col("VISIBILITY").cast(pl.Float64, strict=False).fill_null(1.0) > 0)
    if file.visible is not None and "TRACK_ID" in links.columns:
        hidden = links.filter(~pl.col("TRACK_ID").is_in(list(file.visible)))
        gone = pl.concat([hidden["source_id"], hidden["target_id"]]).unique()
        links = links.filter(pl.col("TRACK_ID").is_in(list(file.visible)))
        objects = objects.filter(~pl.col("object_id").is_in(gone.implode()))
    kept = objects["object_id"].implode()
    links = links.filter(pl.col("source_id").is_in(kept) & pl.col("target_id").is_in(kept))
    return data.replace(objects=objects, links=links)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file, gzipped or the only one of a zip, or as it is."""
    with path.open("rb") as stream:
        head = stream.read(2)
        stream.seek(0)
        if head == b"\x1f\x8b":
            with gzip.open(stream) as unpacked:
                yield unpacked
        elif head == b"PK":
            with zipfile.ZipFile(stream) as archive, archive.open(archive.namelist()[0]) as unpacked:
                yield unpacked
        else:
            yield stream


class _Target:
    """Takes the elements as they flow by: spots and edges into columns, the rest as nodes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = Node("")
        self.spots, self.edges = Columns(text=("name",)), Columns()
        self.tracks = Columns(text=("name",))
        self.visible: tuple[int, ...] | None = None
        self.frames: list[int] = []
        self.outlines: dict[int, NDArray[np.float64]] = {}
        self.unknown: set[str] = set()
        self.n_spots = 0
        self._stack: list[Node] = []
        self._bulk = ""
        self._frame, self._track = 0, ""
        self._text: list[str] | None = None
        self._points = False
        self._shown: list[int] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take the beginning of an element."""
        if self._bulk:
            self._bulk_start(tag, attributes)
            return
        node = Node(tag, dict(attributes))
        if self._stack:
            self._stack[-1].children.append(node)
        elif tag != "TrackMate":
            msg = f"'{self.path}' is no TrackMate file: it begins with <{tag}>; save the session in TrackMate."
            raise InputFileError(msg)
        else:
            self.root = node
        self._stack.append(node)
        if tag in _BULK and len(self._stack) == 3 and self._stack[1].tag == "Model":
            self._bulk = tag

    def _bulk_start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "Spot":
            attributes["FRAME "] = str(self._frame)  # the frame it stands in; no attribute can be called so
            self._points = "ROI_N_POINTS" in attributes
            attributes.pop("ROI_N_POINTS", None)
            self.spots.add(attributes)
            self._text = [] if self._points else None
        elif tag == "Edge":
            attributes["TRACK "] = self._track
            self.edges.add(attributes)
        elif tag == "SpotsInFrame":
            self._frame = self._whole(attributes.get("frame"), "frame", tag)
            self.frames.append(self._frame)
        elif tag == "Track":
            self._track = str(self._whole(attributes.get("TRACK_ID"), "TRACK_ID", tag))
            self.tracks.add(attributes)
        elif tag == "TrackID":
            self._shown.append(self._whole(attributes.get("TRACK_ID"), "TRACK_ID", tag))
        else:
            self.unknown.add(tag)

    def _whole(self, text: str | None, name: str, tag: str) -> int:
        try:
            return int(text or "")
        except ValueError:
            msg = f"'{self.path}' has a <{tag}> whose {name} is {text!r}; a whole number is expected."
            raise InputFileError(msg) from None

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if not self._bulk:
            self._stack.pop()
        elif tag == "Spot":
            if self._points and self._text is not None:
                self.outlines[self.n_spots] = self._polygon("".join(self._text))
            self.n_spots += 1
            self._text = None
        elif tag == self._bulk:
            if tag == "FilteredTracks":
                self.visible = tuple(self._shown)
            self._bulk = ""
            self._stack.pop()

    def _polygon(self, text: str) -> NDArray[np.float64]:
        try:
            return np.array(text.split(), np.float64).reshape(-1, 2)
        except ValueError:
            msg = f"'{self.path}' has an outline in frame {self._frame} that is no list of x y x y ..; save it again."
            raise InputFileError(msg) from None

    def data(self, text: str) -> None:
        """Take text."""
        if self._bulk:
            if self._text is not None:
                self._text.append(text)
        elif self._stack:
            children = self._stack[-1].children
            if children and isinstance(children[-1], str):
                children[-1] += text
            else:
                children.append(text)

    def comment(self, text: str) -> None:
        """Take a comment."""
        if self._stack and not self._bulk:
            self._stack[-1].children.append(Node("!--", {}, [text]))

    def pi(self, target: str, text: str | None = None) -> None:
        """Leave processing instructions out."""

    def close(self) -> Node:
        """Return the document without spots and edges."""
        return self.root


@dataclass(frozen=True)
class _Units:
    """Calibration of a file, and how its units become micrometres and minutes."""

    um: float
    min: float
    image: Mapping[str, str]
    stated: bool
    pixel_size_um: float | None
    frame_interval_min: float | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, root: Node, path: Path, pixel_um: float | None, interval_min: float | None) -> _Units:
        """Read the units of a file; what a person states wins."""
        model, settings = root.find("Model"), root.find("Settings")
        if model is None:
            msg = f"'{path}' is a TrackMate file without a Model; save the session in TrackMate again."
            raise InputFileError(msg)
        for name, value in (("--pixel-size-um", pixel_um), ("--frame-interval-min", interval_min)):
            if value is not None and not (value > 0 and np.isfinite(value)):
                msg = f"{name} is {value}; give a number above 0."
                raise ParameterError(msg)
        image_node = settings.find("ImageData") if settings is not None else None
        image = image_node.attributes if image_node is not None else {}
        notes = []
        width, interval = _number(image, "pixelwidth") or 1.0, _number(image, "timeinterval") or 1.0
        space, time = model.attributes.get("spatialunits", "pixel"), model.attributes.get("timeunits", "frame")
        um = pixel_um / width if pixel_um is not None else micrometres(1.0, space)
        minute = interval_min / interval if interval_min is not None else minutes(1.0, time)
        if um is None:
            notes.append(f"lengths are in '{space}': one is taken as 1 um; give --pixel-size-um")
        if minute is None:
            notes.append(f"times are in '{time}': one is taken as 1 min; give --frame-interval-min")
        return cls(um or 1.0, minute or 1.0, image, um is not None, pixel_um, interval_min, tuple(notes))

    @property
    def name(self) -> str:
        """Return the name of the image without its ending."""
        return self.image.get("filename", "").rpartition("/")[2].rpartition("\\")[2].rpartition(".")[0]

    def scale(self, objects: pl.DataFrame) -> Scale | None:
        """Return the calibration, None where the file counts in pixels or states none."""
        width, height = _number(self.image, "pixelwidth"), _number(self.image, "pixelheight")
        if not self.stated or width is None or height is None:
            return None
        depth, interval = _number(self.image, "voxeldepth"), _number(self.image, "timeinterval")
        deep = (_number(self.image, "nslices") or 1) > 1 or bool((objects["z_um"] != 0).any())
        return Scale(
            y_um=height * self.um, x_um=width * self.um, z_um=depth * self.um if depth is not None and deep else None,
            frame_interval_min=interval * self.min if interval is not None else None,
        )  # fmt: skip

    def shape(self, objects: pl.DataFrame) -> tuple[int, ...] | None:
        """Return the size of the movie where the file states it."""
        sizes = [_number(self.image, n) for n in ("nframes", "nslices", "height", "width")]
        if any(s is None for s in sizes):
            return None
        t, z, y, x = (int(s or 0) for s in sizes)
        return (t, z, y, x) if z > 1 or (objects["z_um"] != 0).any() else (t, y, x)


def _number(attributes: Mapping[str, str], name: str) -> float | None:
    """Return a positive number of an attribute."""
    try:
        value = float(attributes.get(name, ""))
    except ValueError:
        return None
    return value if np.isfinite(value) and value > 0 else None


def _declared(model: Node | None, kind: str) -> dict[str, str]:
    """Return the columns that our own writer noted for features, by feature."""
    declarations = model.find("FeatureDeclarations") if model is not None else None
    features = declarations.find(kind) if declarations is not None else None
    if features is None:
        return {}
    return {
        f.attributes["feature"]: f.attributes["column"]
        for f in features.elements()
        if "column" in f.attributes and "feature" in f.attributes
    }


def _columns(attributes: Iterable[str], own: Mapping[str, str], taken: Iterable[str]) -> dict[str, str]:
    """Return the column of each attribute; a name of ours that means something else gets a ``_`` behind."""
    columns: dict[str, str] = {}
    used = set(taken)
    for attribute in attributes:
        name = own.get(attribute, attribute)
        while name in used and own.get(attribute) is None:
            name += "_"
        if name in columns.values():
            name = attribute
        columns[attribute] = name
    return columns


def _objects(
    spots: pl.DataFrame, units: _Units, path: Path, own: Mapping[str, str]
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return objects with the features as they stand in the file, and which attribute is which column."""
    if not spots.height:
        return pl.DataFrame(schema={n: c.dtype for n, c in OBJECTS.items() if c.required}), {}
    for name in ("ID", "POSITION_X", "POSITION_Y"):
        if name not in spots.columns or not spots[name].dtype.is_numeric() or spots[name].null_count():
            msg = f"'{path}' has a spot whose {name} is missing or no number; save the session in TrackMate again."
            raise InputFileError(msg)
    if not spots["ID"].dtype.is_integer():
        msg = f"'{path}' has spots whose ID is no whole number; save the session in TrackMate again."
        raise InputFileError(msg)
    own_ids = OWN_ID in spots.columns and spots[OWN_ID].dtype.is_integer() and not spots[OWN_ID].null_count()
    attributes = [c for c in spots.columns if c not in ("ID", "FRAME ", OWN_ID if own_ids else "")]
    columns = _columns(attributes, own, OBJECTS)
    z = "POSITION_Z" in spots.columns and spots["POSITION_Z"].dtype.is_numeric()
    base: dict[str, Any] = {
        "object_id": spots[OWN_ID if own_ids else "ID"],
        "frame": spots["FRAME "].cast(pl.Int32),
        "x_um": scaled(spots["POSITION_X"], units.um),
        "y_um": scaled(spots["POSITION_Y"], units.um),
        "z_um": scaled(spots["POSITION_Z"], units.um).fill_null(0.0) if z else pl.lit(0.0),
        "time_min": _times(spots, units),
    }
    if "QUALITY" in spots.columns and spots["QUALITY"].dtype.is_numeric():
        base["quality"] = spots["QUALITY"].cast(pl.Float64).fill_nan(None)
    features = [spots[a].alias(c) for a, c in columns.items()]
    table = pl.select([v.alias(k) for k, v in base.items() if k not in columns.values()]).with_columns(features)
    if "label" in table.columns:
        table = table.with_columns(table["label"].cast(pl.UInt32, strict=False))
        if table["label"].null_count():
            table = table.drop("label")
    return table, columns


def scaled(values: pl.Series, factor: float) -> pl.Series:
    """Return numbers in micrometres or minutes; a factor of 1 leaves every bit as it is."""
    numbers = values.cast(pl.Float64)
    return numbers if factor == 1.0 else numbers * factor


def _times(spots: pl.DataFrame, units: _Units) -> pl.Series:
    """Return the times in minutes; a spot without one gets that of its frame."""
    step = (_number(units.image, "timeinterval") or 1.0) * units.min
    by_frame = spots["FRAME "].cast(pl.Float64) * step
    if "POSITION_T" not in spots.columns or not spots["POSITION_T"].dtype.is_numeric():
        return by_frame
    times = scaled(spots["POSITION_T"], units.min)
    return pl.select(pl.when(times.is_null()).then(by_frame).otherwise(times)).to_series()


def _links(
    edges: pl.DataFrame, known: pl.DataFrame, path: Path, own: Mapping[str, str]
) -> tuple[pl.DataFrame, dict[str, str], list[str]]:
    """Return links with ``TRACK_ID`` and features, which attribute is which column, and what was left out."""
    if not edges.height:
        return pl.DataFrame(schema={"source_id": pl.Int64, "target_id": pl.Int64}), {}, []
    for name in ("SPOT_SOURCE_ID", "SPOT_TARGET_ID"):
        if name not in edges.columns or not edges[name].dtype.is_integer() or edges[name].null_count():
            msg = f"'{path}' has an edge whose {name} is missing or no whole number; save the session again."
            raise InputFileError(msg)
    attributes = [c for c in edges.columns if c not in ("SPOT_SOURCE_ID", "SPOT_TARGET_ID", "TRACK ")]
    cost = {"LINK_COST": "cost"} if "LINK_COST" in attributes and edges["LINK_COST"].dtype.is_numeric() else {}
    columns = _columns(attributes, {**own, **cost}, [*LINKS, "TRACK_ID"])
    ends = {"SPOT_SOURCE_ID": ("source_id", "a"), "SPOT_TARGET_ID": ("target_id", "b")}
    for name, (end, frame) in ends.items():
        there = known.rename({"ID": name, "object_id": end, "frame": frame}).unique(name, keep="first")
        edges = edges.join(there, on=name, how="left", maintain_order="left")
    table = edges.select(
        "source_id", "target_id", pl.col("TRACK ").cast(pl.Int64).alias("TRACK_ID"),
        *(pl.col(a).alias(c) for a, c in columns.items()),
    )  # fmt: skip
    return _forward(table, edges["a"], edges["b"], columns)


def _forward(
    table: pl.DataFrame, a: pl.Series, b: pl.Series, columns: dict[str, str]
) -> tuple[pl.DataFrame, dict[str, str], list[str]]:
    """Return the links from the earlier to the later object, without those that join nothing."""
    notes = []
    dangling = (a.is_null() | b.is_null()).sum()
    if dangling:
        notes.append(f"{dangling} edges name a spot that is not in the file and are left out, as in TrackMate")
    level = (a == b).fill_null(value=False).sum()
    if level:
        notes.append(f"{level} edges join spots of one frame and are left out")
    backward = (a > b).fill_null(value=False)
    if backward.any():
        notes.append(f"{backward.sum()} edges run backward in time; they are turned round")
        table = table.with_columns(
            pl.when(backward).then("target_id").otherwise("source_id").alias("source_id"),
            pl.when(backward).then("source_id").otherwise("target_id").alias("target_id"),
        )
    return table.filter((a != b).fill_null(value=False)), columns, notes


def _outlines(target: _Target, objects: pl.DataFrame) -> Contours:
    ids = objects["object_id"]
    rows = list(target.outlines)
    return Contours.of(dict(zip(ids.gather(rows).to_list() if rows else [], target.outlines.values(), strict=True)))
