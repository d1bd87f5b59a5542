"""Holding the movie still: pixels in, a drift table out."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl

from kinocyte.core.schema import DRIFT, conform
from kinocyte.experiment.position import Position
from kinocyte.pipeline.model import AnyRegistrar, AnyRestorer
from kinocyte.pipeline.steps.base import Commit, Progress, Step, check_channels
from kinocyte.pipeline.steps.restoring import check_restorers, restored_movie, sources_of
from kinocyte.registration.base import Registrar


class Registration(Step):
    """Estimates the drift of a position."""

    name: ClassVar[str] = "registration"

    method: AnyRegistrar
    restorers: tuple[AnyRestorer, ...] = ()

    @property
    def _registrar(self) -> Registrar:
        if not isinstance(self.method, Registrar):
            msg = f"{type(self.method).__qualname__} is not a Registrar."
            raise TypeError(msg)
        return self.method

    def sources(self, position: Position) -> dict[str, str]:
        """Return the fingerprint of the pixels."""
        return sources_of(position, self.restorers)

    def tables(self) -> tuple[str, ...]:
        """Return the drift table."""
        return ("drift",)

    def check(self, position: Position) -> None:
        """Check that the channels are there and restoration can be done."""
        check_restorers(position, self.restorers)
        check_channels(position, self._registrar.channels, "registration")

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Estimate the drift; frames are read one at a time, as often as the method asks."""
        channels = self._registrar.channels or position.image("raw").channels
        movies = {c: restored_movie(position, c, self.restorers, seed) for c in channels}
        drift = conform(self._registrar.estimate(movies, position.scale, seed), DRIFT, table="drift")
        commit()
        position.write_table("drift", drift, step=self.key)
        progress(1.0)
        lost = drift.filter(pl.col("quality") == 0)["frame"].to_list()
        reach = drift.select(pl.max_horizontal(pl.col("dx_px", "dy_px", "dz_px").abs()).max()).item()
        named = ", ".join(map(str, lost[:10])) + (" .." if len(lost) > 10 else "")
        warnings = [f"{len(lost)} frames could not be registered and were interpolated: {named}."] if lost else []
        return {"frames": drift.height, "largest_shift_px": float(reach or 0.0), "warnings": warnings}
