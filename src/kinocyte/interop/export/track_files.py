"""Tracks of every position for other programs, one file or folder a position and population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.position import Position
from kinocyte.interop.tracks.base import TrackData, track_data
from kinocyte.interop.tracks.formats import FORMATS, write_tracks
from kinocyte.interop.tracks.outlines import with_outlines

#: what outlines are traced for here; the writers of TrackMate and CellPhe trace them themselves
_OUTLINED = ("geff", "rois")


def tracks_of(position: Position, population: str) -> TrackData:
    """Return objects, links, tracks and label images of a population at one position.

    Objects whose lineage was filtered out are not among them: in a file of tracks they would be tracks of one object.
    """
    image = position.image_of(population)
    tables = {
        name: getattr(position, name)(population)
        for name in ("links", "tracks", "members")
        if position.stands(f"{population}_{name}")
    }
    objects = position.objects(population).drop("track_id", strict=False)
    if "members" in tables:
        objects = objects.join(tables["members"].select("object_id"), on="object_id", how="semi", maintain_order="left")
    labels = position.labels(population) if position.has_labels(population) else None
    source = position.attributes.get("source")
    files: Sequence[str] = source.get("files", ()) if isinstance(source, Mapping) else ()
    data = track_data(
        objects, tables.get("links"), name=f"{position.well}_{position.field}_{population}", scale=position.scale,
        tracks=tables.get("tracks"), members=tables.get("members"), shape=(image.n_frames, *image.frame_shape),
        masks=labels.frame if labels is not None else None,
    )  # fmt: skip
    return data.replace(image_file=str(files[0]) if len(files) == 1 else "")


def _write(name: str, experiment: Experiment, folder: Path, populations: Sequence[str]) -> list[Path]:
    written = []
    for position in experiment.positions.values():
        for population in populations:
            if not position.stands(f"{population}_links"):
                continue
            data = tracks_of(position, population)
            if name in _OUTLINED:
                data = with_outlines(data)
            target = folder / f"{data.name}_{name}{FORMATS[name].ending}"
            write_tracks(target, data, format=name)
            written.append(target)
    return written


write_trackmate = partial(_write, "trackmate")
write_trackmate_csv = partial(_write, "trackmate-csv")
write_geff = partial(_write, "geff")
write_ctc = partial(_write, "ctc")
write_motilitylab = partial(_write, "motilitylab")
write_mastodon = partial(_write, "mastodon")
write_isbi = partial(_write, "isbi")
write_rois = partial(_write, "rois")
write_celltrackr = partial(_write, "celltrackr")
write_cellphe = partial(_write, "cellphe")
write_colab = partial(_write, "celltrackscolab")
