"""What people corrected: the journal of a position applied to the cells that segmentation and tracking found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from kinocyte.core.lineages import lineage_names
from kinocyte.core.schema import LINKS, MEMBERS, OBJECTS, TRACKS, conform, empty
from kinocyte.experiment.corrected import REPLAY
from kinocyte.experiment.journal import Entry, mark_of
from kinocyte.experiment.position import Position
from kinocyte.measurement.base import FeatureSet
from kinocyte.measurement.following import Motion
from kinocyte.pipeline.model import AnyFeatureSet
from kinocyte.pipeline.steps.base import Commit, Progress, Step, image_kind
from kinocyte.pipeline.steps.measurement import measure_frame

if TYPE_CHECKING:
    from kinocyte.tracking.editing import Replayed

_LISTED = 20


class Replay(Step):
    """Applies the corrections of a population; left out of the plan where there are none."""

    name: ClassVar[str] = REPLAY

    population: str
    methods: tuple[AnyFeatureSet, ...] = ()
    on_corrected: bool = False
    tracked: bool = True
    motion: Motion = Motion()
    mended: bool = False

    def reads(self) -> tuple[str, ...]:
        """Return the steps whose results are corrected."""
        steps = ["segmentation", *(["measurement"] if self.methods else []), *(["tracking"] if self.tracked else [])]
        own = tuple(f"{self.population}.{s}" for s in steps)
        return (*own, *(("correction",) if self.on_corrected and self.methods else ()))

    def reads_if_there(self) -> tuple[str, ...]:
        """Return what leaves out objects."""
        return (f"{self.population}.filtering",)

    def applies(self, position: Position) -> bool:
        """Tell whether people corrected anything."""
        return bool(position.journal.active_of(self.population))

    def sources(self, position: Position) -> dict[str, str]:
        """Return the fingerprints of the corrections and of the pixels that are measured again."""
        return {"journal": position.journal.mark(self.population), "pixels": position.pixel_hash}

    def tables(self) -> tuple[str, ...]:
        """Return the corrected tables, what was said of tracks, the changed pixels and the report."""
        kinds = ["objects", *(["features"] if self.methods else [])]
        kinds += ["links", "members", "tracks"] if self.tracked else []
        more = ("set_events", "corrected_pixels", "corrections")
        return tuple(f"{self.population}_{k}" for k in (*(f"{k}_corrected" for k in kinds), *more))

    def stands(self, position: Position) -> bool:
        """Tell whether the outputs are there and were made from what the journal says now."""
        record = position.records.get(self.name, self.population)
        noted = None if record is None else record.summary.get("journal")
        return super().stands(position) and noted == position.journal.mark(self.population)

    def check(self, position: Position) -> None:
        """Check that the journal can be read; what cannot be applied is reported."""
        position.journal.active()

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Apply the corrections in order, measure changed frames again and report what could not be done."""
        entries = position.journal.active_of(self.population)
        done = _replayed(position, self.population, entries, tracked=self.tracked, mended=self.mended)
        progress(0.5)
        frames: dict[str, pl.DataFrame] = {
            "objects_corrected": conform(done.objects, OBJECTS, table="objects"),
            "set_events": done.events,
            "corrected_pixels": done.pixels,
            "corrections": done.report,
        }
        if self.methods:
            frames["features_corrected"] = self._features(position, done, progress)
        if self.tracked:
            followed = self.motion.measure(done.objects, done.links, done.tracks, done.members)
            frames["links_corrected"] = conform(followed.links, LINKS, table="links")
            frames["members_corrected"] = conform(followed.members, MEMBERS, table="members")
            frames["tracks_corrected"] = conform(_named(followed.tracks, done), TRACKS, table="tracks")
        commit()
        for name in self.tables():
            position.write_table(name, frames[name.removeprefix(f"{self.population}_")], step=self.key)
        progress(1.0)
        return {**_summary(done.report), "journal": mark_of(entries)}

    def _features(self, position: Position, done: Replayed, progress: Progress) -> pl.DataFrame:
        """Return the features: of all objects of a frame measured again where a pixel of it changed, else as before."""
        name = f"{self.population}_features"
        ids = done.objects.select("object_id", "frame", "label")
        changed = done.pixels["frame"].unique().sort().to_list()
        before = position.table(name)
        same_place = position.table(f"{self.population}_objects").select("object_id", "label", *_PLACE)
        kept = ids.filter(~pl.col("frame").is_in(changed)).join(
            done.objects.join(same_place, on=["object_id", "label", *_PLACE], how="semi").select("object_id"),
            on="object_id",
            how="semi",
        )
        parts = [kept.select("object_id").join(before, on="object_id", how="inner")]
        image = position.image(image_kind(corrected=self.on_corrected))
        sets = [m for m in self.methods if isinstance(m, FeatureSet)]
        for number, frame in enumerate(changed, start=1):
            changes = done.pixels.filter(pl.col("frame") == frame)
            labels = position.labels_with(self.population, changes, done.objects)
            found = measure_frame(sets, labels.frame(frame), image.frame_channels(frame), position)
            rows = ids.filter(pl.col("frame") == frame).select("object_id", "label")
            parts.append(rows.join(found, on="label", how="inner").drop("label"))
            progress(0.5 + 0.5 * number / len(changed))
        table = pl.concat(parts, how="diagonal_relaxed").select(before.columns).cast(dict(before.schema))  # type: ignore[arg-type]  # polars knows dict[str, DataType]
        return ids.select("object_id").join(table, on="object_id", how="left", maintain_order="left")


_PLACE = ("x_um", "y_um", "z_um")


def preview(position: Position, population: str) -> Replayed:
    """Return the tables of a population with all corrections applied, as the next run will write them.

    Nothing is written: a program that shows cells while a person corrects them calls this after every correction.

    Parameters
    ----------
    position : Position
        Where.
    population : str
        Whose cells; they must have been segmented or imported.

    Returns
    -------
    kinocyte.tracking.editing.Replayed
        Objects, links, tracks, members, changed pixels and the report.
    """
    tracked = f"{population}_links" in position.tables
    mended = position.stands(f"{population}_added")
    entries = position.journal.active_of(population)
    return _replayed(position, population, entries, tracked=tracked, mended=mended)


def _replayed(position: Position, population: str, entries: list[Entry], *, tracked: bool, mended: bool) -> Replayed:
    """Apply the corrections; what a filter left out stays out unless a correction names it."""
    given = _given(position, population, tracked=tracked, mended=mended)
    rejected = position.rejected(population)
    if rejected is None:
        return _without_left_out(_applied(position, population, entries, given, None), given)
    first = _applied(position, population, entries, given, rejected.clear())  # with all objects: who is meant?
    out = rejected.filter(~pl.col("object_id").is_in(list(first.asked)))
    followed = replace(given, untracked=sorted(set(given.untracked) - first.named))
    done = _applied(position, population, entries, followed, out)
    back = [*done.named, *done.members["object_id"]]
    unnamed = rejected.filter(~pl.col("object_id").is_in(back))["object_id"].implode()
    done = replace(done, objects=done.objects.filter(~pl.col("object_id").is_in(unnamed)))
    return _without_left_out(done, given)


def before_track_filters(
    position: Position, population: str
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return objects with features, links, tracks and members as filters of lineages saw them in the last run.

    What they left out is there again; corrections come after them and are not.
    """
    from kinocyte.tracking.lineage import build_tracks

    given = _given(position, population, tracked=True, mended=position.stands(f"{population}_added"))
    objects, rejected = given.objects, position.rejected(population)
    if rejected is not None:
        objects = objects.join(rejected, on="object_id", how="anti", maintain_order="left")
    if f"{population}_features" in position.tables:
        features = position.table(f"{population}_features")
        objects = objects.join(features, on="object_id", how="left", maintain_order="left")
    followed = objects.filter(~pl.col("object_id").is_in(given.untracked))
    return objects, given.links, *build_tracks(followed, given.links)


@dataclass(frozen=True)
class _Given:
    """The tables that corrections are applied to: with the lineages that a filter left out."""

    objects: pl.DataFrame
    links: pl.DataFrame
    untracked: list[int]
    left_out: list[int]


def _given(position: Position, population: str, *, tracked: bool, mended: bool) -> _Given:
    objects = position.table(f"{population}_objects")
    links = position.table(f"{population}_links").select(list(LINKS)) if tracked else empty(LINKS)
    parts = [objects]
    if mended:
        parts.append(position.table(f"{population}_added"))
    left_out: list[int] = []
    if tracked and _was_written(position, population, "left_out"):
        out = position.table(f"{population}_left_out")
        left_out = out["object_id"].to_list()
        parts.append(out.select(objects.columns).join(objects, on="object_id", how="anti"))
        links = pl.concat([links, position.table(f"{population}_left_out_links")]).sort("source_id", "target_id")
    if len(parts) > 1:
        objects = pl.concat(parts, how="diagonal_relaxed").sort("frame", "object_id")
    untracked: list[int] = []
    if tracked and f"{population}_members" in position.tables:
        members = position.table(f"{population}_members")
        untracked = objects.join(members, on="object_id", how="anti")["object_id"].to_list()
    return _Given(objects, links, sorted(set(untracked) - set(left_out)), left_out)


def _was_written(position: Position, population: str, kind: str) -> bool:
    """Tell whether the tracking that stands wrote a table; another may have left it."""
    record = position.records.get("tracking", population)
    return record is not None and f"tables/{population}_{kind}" in record.outputs


def _applied(
    position: Position, population: str, entries: list[Entry], given: _Given, out: pl.DataFrame | None
) -> Replayed:
    """Apply the corrections to all objects but those that are out, as if these had not been found."""
    from kinocyte.tracking.editing import replay

    objects, untracked = given.objects, given.untracked
    if out is not None:
        objects = objects.join(out, on="object_id", how="anti", maintain_order="left")
        untracked = sorted(set(untracked) & set(objects["object_id"]))
    labels = None
    if position.has_labels(population):
        labels = lru_cache(maxsize=2)(position.labels_with(population, None, objects).frame)
    record = position.records.get("segmentation", population)
    seen = "" if record is None else record.fingerprint
    return replay(
        objects, given.links, entries, position.scale, labels=labels, seen=seen, untracked=untracked,
        left_out=given.left_out,
    )  # fmt: skip


def _without_left_out(done: Replayed, given: _Given) -> Replayed:
    """Return the result without what mending had put into lineages that are still left out."""
    if not given.left_out:
        return done
    made_up = pl.col("object_id").is_in(given.left_out) & (pl.col("label") == 0)
    followed = pl.col("object_id").is_in(done.members["object_id"].implode())
    return replace(done, objects=done.objects.filter(~made_up | followed))


def _named(tracks: pl.DataFrame, done: Replayed) -> pl.DataFrame:
    """Return the tracks with their names and the classes people gave them."""
    tracks = tracks.with_columns(lineage_names(tracks))
    for (name,), rows in done.track_classes.group_by("name", maintain_order=True):
        given = rows.select("track_id", pl.col("value").alias(str(name)))
        tracks = tracks.join(given, on="track_id", how="left", maintain_order="left")
    return tracks


def _summary(report: pl.DataFrame) -> dict[str, Any]:
    counts = dict(report["status"].value_counts().iter_rows())
    lost = report.filter(pl.col("status") == "conflict")
    warnings = [
        f"Correction {number} ({action}) was not applied: {message}"
        for number, action, message in lost.select("number", "action", "message").head(_LISTED).iter_rows()
    ]
    if lost.height > _LISTED:
        warnings.append(f"{lost.height - _LISTED} more corrections were not applied; see the table of corrections.")
    return {"corrections": report.height, **{str(k): v for k, v in sorted(counts.items())}, "warnings": warnings}
