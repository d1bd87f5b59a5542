"""Which of the objects that were found count: those that pass the filters of their population."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import polars as pl

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.schema import OBJECTS
from kinocyte.experiment.position import Position
from kinocyte.measurement.base import FeatureSet
from kinocyte.measurement.filters import FeatureFilter, sift
from kinocyte.pipeline.model import AnyFeatureSet
from kinocyte.pipeline.steps.base import Commit, Progress, Step


class Filtering(Step):
    """Lists the objects that fail a filter; they stay in the tables of segmentation and measurement and are not read.

    Without filters it has nothing to do, unless an earlier run left objects out: then it lets them in again.
    """

    name: ClassVar[str] = "filtering"

    population: str
    filters: tuple[FeatureFilter, ...] = ()
    methods: tuple[AnyFeatureSet, ...] = ()
    """What was measured; read where a filter asks for it."""

    @property
    def _measured(self) -> bool:
        return any(f.feature not in OBJECTS for f in self.filters)

    def parameters(self) -> dict[str, Any]:
        """Return the filters; what was measured enters by its fingerprint."""
        return self.model_dump(mode="json", include={"filters"})

    def reads(self) -> tuple[str, ...]:
        """Return the segmentation, and the measurement where a filter looks at measured features."""
        steps = ["segmentation", *(["measurement"] if self._measured else [])]
        return tuple(f"{self.population}.{s}" for s in steps)

    def applies(self, position: Position) -> bool:
        """Tell whether there are filters, or there were some."""
        return bool(self.filters) or self.tables()[0] in position.tables

    def tables(self) -> tuple[str, ...]:
        """Return the objects that are left out, and what each filter did."""
        return (f"{self.population}_rejected", f"{self.population}_filters")

    def check(self, position: Position) -> None:
        """Check that the features will be there."""
        if not self.filters:
            return
        where = f"population.{self.population}.filter"
        if self._measured and not self.methods:
            msg = f"{where} looks at '{self.filters[0].feature}' and nothing is measured; add population.measure."
            raise ParameterError(msg)
        known = [*OBJECTS]
        if self._measured:
            sets = [m for m in self.methods if isinstance(m, FeatureSet)]
            known += columns_of(sets, position.channels, len(position.image("raw").frame_shape))
        absent = next((f.feature for f in self.filters if f.feature not in known), None)
        if absent is not None:
            msg = f"{where}: no feature '{absent}' is measured; {nearest(absent, known)}."
            raise ParameterError(msg)

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Look at all objects of the position together: a limit by Otsu's rule is that of the movie."""
        objects = position.table(f"{self.population}_objects")
        if self._measured:
            features = position.table(f"{self.population}_features")
            objects = objects.join(features, on="object_id", how="left", maintain_order="left")
        passed, account = sift(objects, self.filters)
        rejected = objects.filter(~passed).select("object_id", "frame", "label")
        commit()
        for name, table in zip(self.tables(), (rejected, account), strict=True):
            position.write_table(name, table, step=self.key)
        progress(1.0)
        return account_summary(objects.height, rejected.height, account, f"population.{self.population}.filter")


def account_summary(n_rows: int, n_rejected: int, account: pl.DataFrame, where: str) -> dict[str, Any]:
    """Return what filters did for the record, with a warning where nothing is left or nothing could be told."""
    warnings = []
    if n_rows and n_rejected == n_rows:
        worst = account.sort("n_failed", descending=True).row(0, named=True)
        warnings.append(f"{where}: none of {n_rows} passes; '{worst['feature']}' alone leaves out {worst['n_failed']}.")
    else:
        warnings += [
            f"{where}: {row['n_without_value']} of {row['n_rows']} have no value of '{row['feature']}' and do not pass."
            for row in account.filter(pl.col("n_without_value") > 0).iter_rows(named=True)
        ]
    filters = [{k: v for k, v in row.items() if v is not None} for row in account.iter_rows(named=True)]
    return {"rows": n_rows, "rejected": n_rejected, "filters": filters, "warnings": warnings}


def columns_of(sets: Sequence[FeatureSet], channels: Sequence[str], ndim: int) -> tuple[str, ...]:
    """Return the columns that feature sets measure, as an empty frame shows them."""
    return _columns(tuple((m.name(), m.model_dump_json()) for m in sets), tuple(channels), ndim)


@lru_cache(maxsize=16)
def _columns(sets: tuple[tuple[str, str], ...], channels: tuple[str, ...], ndim: int) -> tuple[str, ...]:
    import numpy as np

    from kinocyte.core.scale import Scale

    labels = np.zeros((8,) * ndim, np.uint32)
    pixels = {c: np.zeros(labels.shape, np.float32) for c in channels}
    scale = Scale.isotropic(1.0, z_um=1.0)
    found = []
    for name, keys in sets:
        feature_set = registry.get(FeatureSet.kind, name).model_validate_json(keys)
        if isinstance(feature_set, FeatureSet):
            found.append(feature_set.measure(labels, pixels, scale))
    return tuple(dict.fromkeys(c for table in found for c in table.columns if c != "label"))
