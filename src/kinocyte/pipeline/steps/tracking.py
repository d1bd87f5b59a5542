"""Following the cells: objects in, links, tracks and their motion out."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.schema import LINKS, MEMBERS, OBJECTS, TRACKS, conform
from kinocyte.experiment.position import Position
from kinocyte.pipeline.model import AnyLinker, AnyMender
from kinocyte.pipeline.steps.base import Commit, Progress, Step
from kinocyte.tracking.base import Linker, Mender


class Tracking(Step):
    """Runs a linker on the objects of a position."""

    name: ClassVar[str] = "tracking"

    population: str
    method: AnyLinker
    mending: tuple[AnyMender, ...] = ()

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

    def reads(self) -> tuple[str, ...]:
        """Return the segmentation, and the measurement where the linker compares features."""
        steps = ["segmentation", *(["measurement"] if self._features else [])]
        return tuple(f"{self.population}.{s}" for s in steps)

    def tables(self) -> tuple[str, ...]:
        """Return links, tracks and members, and the objects that mending has put in."""
        added = ["added"] if self.mending else []
        return tuple(f"{self.population}_{t}" for t in ("links", "members", "tracks", *added))

    def check(self, position: Position) -> None:
        """Check that a movie has times: speeds need them."""
        if position.n_frames > 1:
            position.scale.time_min(position.n_frames - 1)

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Link, build the lineage and measure motion."""
        from kinocyte.measurement.tracks import track_features
        from kinocyte.tracking.lineage import build_tracks

        objects = position.table(f"{self.population}_objects")
        listed = objects
        if self._features:
            objects = objects.join(position.table(f"{self.population}_features"), on="object_id", how="left")
            absent = [f for f in self._features if f not in objects.columns]
            if absent:
                where = f"population.{self.population}.tracking"
                msg = f"{where}: no feature '{absent[0]}' was measured; {nearest(absent[0], objects.columns)}."
                raise ParameterError(msg)
        labels = (
            position.labels(self.population, corrected=False).frame if position.has_labels(self.population) else None
        )
        links = conform(self._linker.link(objects, labels=labels, seed=seed), LINKS, table="links")
        progress(0.7)
        tracks, members = build_tracks(objects, links)
        for mender in self._menders:
            mended = mender.mend(objects, links)
            objects, links, tracks, members = mended.objects, mended.links, mended.tracks, mended.members
        progress(0.8)
        motion = track_features(objects.join(members, on="object_id", how="left", maintain_order="left"), links)
        tracks = tracks.join(motion, on="track_id", how="left", maintain_order="left")
        commit()
        tables = [(links, LINKS), (members, MEMBERS), (tracks, TRACKS)]
        if self.mending:
            tables.append((_put_in(objects, listed), OBJECTS))
        for name, (frame, schema) in zip(self.tables(), tables, strict=True):
            position.write_table(name, conform(frame, schema, table=name), step=self.key)
        progress(1.0)
        return _summary(listed, links, tracks)


def _put_in(objects: pl.DataFrame, listed: pl.DataFrame) -> pl.DataFrame:
    """Return the objects that mending has put in: places without pixels, of which nothing was measured."""
    return objects.join(listed, on="object_id", how="anti").select(
        *(pl.col(n).cast(t) if n in objects.columns else pl.lit(None, t).alias(n) for n, t in listed.schema.items())
    )


def _summary(objects: pl.DataFrame, links: pl.DataFrame, tracks: pl.DataFrame) -> dict[str, Any]:
    divisions = tracks.filter(pl.col("parent_id").is_not_null())["parent_id"].n_unique() if tracks.height else 0
    warnings = []
    if objects.height and objects["frame"].n_unique() > 1 and not links.height:
        warnings.append("No two objects were linked; check max_distance_um.")
    return {"links": links.height, "tracks": tracks.height, "divisions": divisions, "warnings": warnings}
