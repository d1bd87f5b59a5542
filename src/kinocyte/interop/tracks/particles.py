"""XML of particle tracking: the ISBI 2012 challenge, TrackMate's simple export, and Icy's track files.

ISBI: ``root/TrackContestISBI2012/particle/detection@t@x@y@z`` in pixels and frames. TrackMate's simple export:
``Tracks@spaceUnits@timeUnits@frameInterval/particle/detection`` in those units. Icy: ``root/trackgroup/track@id/
detection`` in pixels, and ``root/linklist/link@from@to`` from the end of one track to the start of another.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from kinocyte.core.errors import InputFileError, TableError
from kinocyte.core.scale import Scale
from kinocyte.core.version import __version__
from kinocyte.interop.tracks._xml import attribute_of, java_double, parse
from kinocyte.interop.tracks.base import TrackData, calibrated, track_data
from kinocyte.interop.tracks.files import published
from kinocyte.interop.tracks.text_writers import tracked
from kinocyte.interop.units import micrometres, minutes


class _Target:
    """Takes detections as they flow by."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = ""
        self.units: dict[str, str] = {}
        self.rows: list[tuple[int, float, float, float, float]] = []
        self.names: dict[str, int] = {}
        self.links: list[tuple[str, str]] = []
        self._track = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take the beginning of an element."""
        if not self.root:
            self.root = tag
            if tag not in ("root", "Tracks"):
                msg = f"'{self.path}' begins with <{tag}>; particles are expected in <root> or <Tracks>."
                raise InputFileError(msg)
            self.units = dict(attributes)
        elif tag in ("particle", "track"):
            self._track += 1
            self.names[attributes.get("id", "")] = self._track
        elif tag == "link" and "from" in attributes and "to" in attributes:
            self.links.append((attributes["from"], attributes["to"]))
        elif tag == "detection":
            try:
                t, x, y = (float(attributes[n]) for n in "txy")
                self.rows.append((self._track, t, x, y, float(attributes.get("z", "0"))))
            except (KeyError, ValueError):
                msg = f"'{self.path}' has a detection whose t, x or y is missing or no number; export it again."
                raise InputFileError(msg) from None

    def end(self, tag: str) -> None:
        """Take the end of an element."""

    def data(self, text: str) -> None:
        """Leave text out."""

    def close(self) -> None:
        """End the reading."""


def read_particles(
    path: Path,
    *,
    pixel_size_um: float | None = None,
    z_step_um: float | None = None,
    frame_interval_min: float | None = None,
) -> TrackData:
    """Read XML of the ISBI challenge, TrackMate's simple export or Icy.

    Parameters
    ----------
    path : Path
        The file.
    pixel_size_um, z_step_um, frame_interval_min : float, optional
        Calibration where the file counts pixels and frames.

    Raises
    ------
    InputFileError
        If the file is damaged, unsafe, or holds no particles.
    """
    target = _Target(path)
    parse(path, target)
    calibrated_file = target.root == "Tracks"
    um = micrometres(1.0, target.units.get("spaceUnits")) if calibrated_file else None
    interval = None
    if calibrated_file:
        try:
            interval = minutes(float(target.units.get("frameInterval", "")), target.units.get("timeUnits"))
        except ValueError:
            interval = None
    size, depth = (um, um) if um is not None else (pixel_size_um or 1.0, z_step_um or pixel_size_um or 1.0)
    step = frame_interval_min or interval or 1.0
    notes = [] if um or pixel_size_um else ["positions are in pixels: one is taken as 1 um; give --pixel-size-um"]
    if any(t != round(t) for _, t, *_ in target.rows):
        msg = f"'{path}' has a detection at a fraction of a frame; t counts frames."
        raise InputFileError(msg)
    rows = [(k, int(t), t * step, x * size, y * size, z * depth) for k, t, x, y, z in target.rows]
    schema = {"track": pl.Int64, "frame": pl.Int64, "time_min": pl.Float64, "x_um": pl.Float64, "y_um": pl.Float64,
              "z_um": pl.Float64}  # fmt: skip
    table = pl.DataFrame(rows, schema=schema, orient="row").with_row_index("object_id", offset=1)
    scale = Scale.isotropic(pixel_size_um, frame_interval_min or interval, z_um=z_step_um) if pixel_size_um else None
    try:
        return track_data(
            table.drop("track"), _links(table, target, path), name=path.stem, notes=tuple(notes), scale=scale,
        )  # fmt: skip
    except TableError as error:
        msg = f"'{path}' cannot be used: {error}"
        raise InputFileError(msg) from error


def _links(table: pl.DataFrame, target: _Target, path: Path) -> pl.DataFrame:
    from kinocyte.interop.tracks.text_tables import chained

    links = chained(table, table["track"])
    if not target.links:
        return links
    ends = table.sort("frame").group_by("track").agg(a=pl.col("object_id").first(), b=pl.col("object_id").last())
    known = {t: (a, b) for t, a, b in ends.iter_rows()}
    try:
        pairs = [(known[target.names[a]][1], known[target.names[b]][0]) for a, b in target.links]
    except KeyError as error:
        msg = f"'{path}' links the track {error}, which it does not hold; export it again."
        raise InputFileError(msg) from None
    more = pl.DataFrame(pairs, schema={"source_id": pl.Int64, "target_id": pl.Int64}, orient="row")
    return pl.concat([links.with_columns(pl.all().cast(pl.Int64)), more])


def write_isbi(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write the XML of the ISBI 2012 particle tracking challenge: pixels and frames, one particle a branch."""
    scale = calibrated(data, "The ISBI format")
    rows = tracked(data)
    with published(path, overwrite=overwrite) as place, place.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write('<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<root>\n')
        stream.write(f'  <TrackContestISBI2012 snr="-" density="-" scenario="{attribute_of(data.name)}" ')
        stream.write(f'generatedBy="Kinocyte {attribute_of(__version__)}">\n')
        places = rows.select(
            "track_id", "frame", pl.col("x_um") / scale.x_um, pl.col("y_um") / scale.y_um,
            pl.col("z_um") / (scale.z_um or 1.0),
        )  # fmt: skip
        last = None
        for track, t, *xyz in places.iter_rows():
            if track != last:
                stream.write("    <particle>\n" if last is None else "    </particle>\n    <particle>\n")
                last = track
            x, y, z = (java_double(v) for v in xyz)
            stream.write(f'      <detection t="{t}" x="{x}" y="{y}" z="{z}"/>\n')
        if last is not None:
            stream.write("    </particle>\n")
        stream.write("  </TrackContestISBI2012>\n</root>\n")
