"""Following the cells: objects in, links, tracks and their motion out."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.lineages import lineage_names
from kinocyte.core.schema import LINKS, MEMBERS, OBJECTS, TRACKS, conform
from kinocyte.experiment.position import Position
from kinocyte.measurement.base import FeatureSet
from kinocyte.measurement.filters import FeatureFilter, sift
from kinocyte.measurement.following import Motion
from kinocyte.measurement.lineages import OF_LINEAGES
from kinocyte.pipeline.model import AnyFeatureSet, AnyLinker, AnyMender
from kinocyte.pipeline.steps.base import Commit, Progress, Step
from kinocyte.pipeline.steps.filtering import account_summary, columns_of
from kinocyte.tracking.base import Linker, Mender


class Tracking(Step):
    """Runs a linker on the objects of a position."""

    name: ClassVar[str] = "tracking"

    population: str
    method: AnyLinker
    mending: tuple[AnyMender, ...] = ()
    filters: tuple[FeatureFilter, ...] = ()
    motion: Motion = Motion()
    methods: tuple[AnyFeatureSet, ...] = ()
    """What was measured; read where a filter asks for it."""

    @property
    def _linker(self) -> Linker:
        if not isinstance(self.method, Linker):
            msg = f"{type(self.method).__qualname__} is not a Linker."
            raise TypeError(msg)
        return self.method

    @property
    def _menders(self) -> list[Mender]:
        return [m for m in self.mending if isinstance(m, Mender)]

    @property
    def _features(self) -> tuple[str, ...]:
        mended = [f for m in self._menders for f in m.features]
        return tuple(dict.fromkeys([*self._linker.features, *mended]))

    @property
    def _averaged(self) -> tuple[str, ...]:
        """Return the columns of objects whose mean a filter of lineages looks at."""
        return tuple(f.feature for f in self.filters if f.feature not in OF_LINEAGES and f.feature not in OBJECTS)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that decide the result; what was measured enters by its fingerprint."""
        unset = set() if self.filters else {"filters"}
        return self.model_dump(mode="json", exclude={"population", "methods", *unset})

    def reads(self) -> tuple[str, ...]:
        """Return the segmentation, and the measurement where the linker or a filter looks at features."""
        steps = ["segmentation", *(["measurement"] if self._features or self._averaged else [])]
        return tuple(f"{self.population}.{s}" for s in steps)

    def reads_if_there(self) -> tuple[str, ...]:
        """Return what leaves out objects."""
        return (f"{self.population}.filtering",)

    def tables(self) -> tuple[str, ...]:
        """Return links, tracks, members, the objects that mending has put in, and what filters left out."""
        more = [*(["added"] if self.mending else [])]
        more += ["left_out", "left_out_links", "track_filters"] if self.filters else []
        return tuple(f"{self.population}_{t}" for t in ("links", "members", "tracks", *more))

    def check(self, position: Position) -> None:
        """Check that a movie has times, which speeds need, and that what filters look at will be measured."""
        if position.n_frames > 1:
            position.scale.time_min(position.n_frames - 1)
        if not self._averaged:
            return
        where = f"population.{self.population}.track_filter"
        sets = [m for m in self.methods if isinstance(m, FeatureSet)]
        measured = columns_of(sets, position.channels, len(position.image("raw").frame_shape)) if sets else ()
        known = [*OF_LINEAGES, *OBJECTS, *measured, "mean_quality"]
        absent = next((f for f in self._averaged if f not in known), None)
        if absent is not None:
            msg = f"{where}: lineages have no feature '{absent}'; {nearest(absent, known)}."
            raise ParameterError(msg)

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Link, build the lineage and measure motion."""
        from kinocyte.tracking.lineage import build_tracks

        everything = position.table(f"{self.population}_objects")
        rejected = position.rejected(self.population)
        listed = everything if rejected is None else everything.join(
            rejected, on="object_id", how="anti", maintain_order="left"
        )  # fmt: skip
        objects = listed
        if self._features or self._averaged:
            objects = objects.join(
                position.table(f"{self.population}_features"), on="object_id", how="left", maintain_order="left"
            )
            absent = [f for f in self._features if f not in objects.columns]
            if absent:
                where = f"population.{self.population}.tracking"
                msg = f"{where}: no feature '{absent[0]}' was measured; {nearest(absent[0], objects.columns)}."
                raise ParameterError(msg)
        labels = None
        if position.has_labels(self.population):
            labels = position.labels_with(self.population, None).frame
        links = conform(self._linker.link(objects, labels=labels, seed=seed), LINKS, table="links")
        progress(0.7)
        tracks, members = build_tracks(objects, links)
        for mender in self._menders:
            mended = mender.mend(objects, links)
            objects, links, tracks, members = mended.objects, mended.links, mended.tracks, mended.members
        objects, links, members = _renumbered(objects, links, members, listed, everything)
        progress(0.8)
        sieve = _Sieve(self, objects, links, tracks, members) if self.filters else None
        if sieve is not None:
            objects, links, tracks, members = sieve.objects, sieve.links, sieve.tracks, sieve.members
        followed = self.motion.measure(objects, links, tracks, members)
        links, members = followed.links, followed.members
        tracks = followed.tracks.with_columns(lineage_names(tracks))
        commit()
        tables = [conform(t, s, table="tracking") for t, s in ((links, LINKS), (members, MEMBERS), (tracks, TRACKS))]
        if self.mending:
            tables.append(conform(_put_in(objects, listed), OBJECTS, table="added"))
        if sieve is not None:
            tables += [
                conform(_as_listed(sieve.out, listed), OBJECTS, table="left_out"),
                sieve.out_links,
                sieve.account,
            ]
        for name, table in zip(self.tables(), tables, strict=True):
            position.write_table(name, table, step=self.key)
        progress(1.0)
        summary = _summary(listed, links, tracks, left_out=0 if sieve is None else sieve.out_links.height)
        return summary if sieve is None else sieve.added_to(summary)


class _Sieve:
    """Lineages that pass the filters, and what was left out with them: replaying corrections may bring it back."""

    def __init__(
        self, step: Tracking, objects: pl.DataFrame, links: pl.DataFrame, tracks: pl.DataFrame, members: pl.DataFrame
    ) -> None:
        from kinocyte.measurement.lineages import lineage_features
        from kinocyte.tracking.lineage import build_tracks

        asked = [f.feature for f in step.filters if f.feature != "mean_quality"]
        table = lineage_features(objects, links, tracks, members, means_of=asked)
        passed, self.account = sift(table, step.filters)
        self._n, self._where = table.height, f"population.{step.population}.track_filter"
        roots = table.filter(~passed)["root_id"].implode()
        gone = tracks.filter(pl.col("root_id").is_in(roots))["track_id"].implode()
        ids = members.filter(pl.col("track_id").is_in(gone))["object_id"].implode()
        self._failed = int((~passed).sum())
        is_out = pl.col("object_id").is_in(ids)
        self.objects, self.out = objects.filter(~is_out), objects.filter(is_out)
        links = conform(links, LINKS, table="links")
        self.links = links.filter(~pl.col("source_id").is_in(ids))
        self.out_links = links.filter(pl.col("source_id").is_in(ids))
        tracked = self.objects.join(members, on="object_id", how="semi", maintain_order="left")
        self.tracks, self.members = build_tracks(tracked, self.links)

    def added_to(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Return the summary of the step with that of the filters."""
        mine = account_summary(self._n, self._failed, self.account, self._where)
        warnings = [*summary.pop("warnings"), *mine.pop("warnings")]
        return {
            **summary,
            **{f"lineages_{k}" if k != "filters" else k: v for k, v in mine.items()},
            "warnings": warnings,
        }


def _renumbered(
    objects: pl.DataFrame, links: pl.DataFrame, members: pl.DataFrame, listed: pl.DataFrame, everything: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the tables with what mending put in numbered above the objects that a filter left out as well."""
    if listed.height == everything.height:
        return objects, links, members
    last, highest = (int(t["object_id"].max() or 0) for t in (listed, everything))  # type: ignore[arg-type]  # ids are whole numbers
    if highest == last:
        return objects, links, members

    def moved(column: str) -> pl.Expr:
        return pl.when(pl.col(column) > last).then(pl.col(column) + (highest - last)).otherwise(pl.col(column))

    return (
        objects.with_columns(moved("object_id").alias("object_id")),
        links.with_columns(moved(c).alias(c) for c in ("source_id", "target_id")),
        members.with_columns(moved("object_id").alias("object_id")),
    )


def _put_in(objects: pl.DataFrame, listed: pl.DataFrame) -> pl.DataFrame:
    """Return the objects that mending has put in: places without pixels, of which nothing was measured."""
    return _as_listed(objects.join(listed, on="object_id", how="anti"), listed)


def _as_listed(objects: pl.DataFrame, listed: pl.DataFrame) -> pl.DataFrame:
    """Return objects with the columns of the table of objects alone."""
    return objects.select(
        *(pl.col(n).cast(t) if n in objects.columns else pl.lit(None, t).alias(n) for n, t in listed.schema.items())
    )


def _summary(objects: pl.DataFrame, links: pl.DataFrame, tracks: pl.DataFrame, *, left_out: int) -> dict[str, Any]:
    divisions = tracks.filter(pl.col("parent_id").is_not_null())["parent_id"].n_unique() if tracks.height else 0
    warnings = []
    if objects.height and objects["frame"].n_unique() > 1 and not links.height + left_out:
        warnings.append("No two objects were linked; check max_distance_um.")
    return {"links": links.height, "tracks": tracks.height, "divisions": divisions, "warnings": warnings}
