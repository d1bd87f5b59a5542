"""Writing the corrected pixels: every frame restored and with the drift of its table undone."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from kinocyte.core.errors import ParameterError
from kinocyte.experiment.position import Position
from kinocyte.pipeline.model import AnyRestorer, AnyStainer, Corrected
from kinocyte.pipeline.steps.base import Commit, Progress, Step, computed_by
from kinocyte.pipeline.steps.reference_images import trained_models
from kinocyte.pipeline.steps.restoring import check_restorers, restored_movie, sources_of
from kinocyte.pipeline.steps.staining import check_stains, with_stains


class Correction(Step):
    """Makes the image ``corrected`` beside the raw one in one pass; raw pixels are never changed."""

    name: ClassVar[str] = "correction"

    settings: Corrected
    restorers: tuple[AnyRestorer, ...] = ()
    stains: dict[str, AnyStainer] = Field(default_factory=dict)
    undo_drift: bool = True

    def reads(self) -> tuple[str, ...]:
        """Return the registration, where there is one."""
        return ("registration",) if self.undo_drift else ()

    def sources(self, position: Position) -> dict[str, str]:
        """Return the fingerprint of the pixels."""
        models = {
            f"{what}:{name}": mark
            for name, stainer in self.stains.items()
            for what, mark in trained_models(stainer).items()
        }
        return {**sources_of(position, self.restorers), **models}

    def parameters(self) -> dict[str, Any]:
        """Return the parameters; without stains they are what they were before there were any."""
        return self.model_dump(mode="json", exclude={"population"} if self.stains else {"population", "stains"})

    def tables(self) -> tuple[str, ...]:
        """There is no table."""
        return ()

    def stands(self, position: Position) -> bool:
        """Tell whether the corrected image is there."""
        return position.has_corrected

    def check(self, position: Position) -> None:
        """Check that restoration can be done and the fill value can be stored."""
        check_restorers(position, self.restorers)
        check_stains(position, self.stains)
        dtype = position.image("raw").dtype
        if dtype.kind in "iu" and not np.iinfo(dtype).min <= self.settings.fill <= np.iinfo(dtype).max:
            msg = f"corrected.fill = {self.settings.fill:g} does not fit into the {dtype} pixels of {position.id}."
            raise ParameterError(msg)

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Correct frame by frame; memory holds one frame of all channels."""
        from kinocyte.registration.resample import apply_drift

        image, settings = position.image("raw"), self.settings
        taken: list[Any] = [restored_movie(position, c, self.restorers, seed) for c in image.channels]
        channels, movies = with_stains(position, image.channels, taken, self.stains)
        dtype = np.result_type(*(m.dtype for m in movies))
        if self.undo_drift:
            drift = position.scan_standing("drift").collect()
            how = settings.interpolation
            movies = [apply_drift(m, drift, interpolation=how, fill=settings.fill) for m in movies]
        with position.write_corrected(dtype, channels=channels, before_publish=commit) as writer:
            for frame in range(image.n_frames):
                writer.write(frame, np.stack([m[frame] for m in movies]).astype(dtype, copy=False))
                progress((frame + 1) / image.n_frames)
        engines = [computed_by(m) for m in (*self.restorers, *self.stains.values())]
        return {"frames": image.n_frames, "channels": len(channels), **{k: v for e in engines for k, v in e.items()}}
