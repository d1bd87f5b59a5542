"""Writing the corrected pixels: every frame with the drift of its table undone."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kinocyte.core.errors import ParameterError
from kinocyte.experiment.position import Position
from kinocyte.pipeline.model import Corrected
from kinocyte.pipeline.steps.base import Commit, Progress, Step


class Correction(Step):
    """Makes the image ``corrected`` beside the raw one; raw pixels are never changed."""

    name: ClassVar[str] = "correction"

    settings: Corrected

    def reads(self) -> tuple[str, ...]:
        """Return the registration."""
        return ("registration",)

    def sources(self, position: Position) -> dict[str, str]:
        """Return the fingerprint of the pixels."""
        return {"pixels": position.pixel_hash}

    def tables(self) -> tuple[str, ...]:
        """There is no table."""
        return ()

    def stands(self, position: Position) -> bool:
        """Tell whether the corrected image is there."""
        return position.has_corrected

    def check(self, position: Position) -> None:
        """Check that the fill value can be stored."""
        dtype = position.image("raw").dtype
        if dtype.kind in "iu" and not np.iinfo(dtype).min <= self.settings.fill <= np.iinfo(dtype).max:
            msg = f"corrected.fill = {self.settings.fill:g} does not fit into the {dtype} pixels of {position.id}."
            raise ParameterError(msg)

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Correct frame by frame; memory holds one frame of all channels."""
        from kinocyte.registration.resample import apply_drift

        image, drift = position.image("raw"), position.scan_standing("drift").collect()
        settings = self.settings
        movies = [
            apply_drift(image.movie(c), drift, interpolation=settings.interpolation, fill=settings.fill)
            for c in image.channels
        ]
        with position.write_corrected(image.dtype, before_publish=commit) as writer:
            for frame in range(image.n_frames):
                writer.write(frame, np.stack([m[frame] for m in movies]))
                progress((frame + 1) / image.n_frames)
        return {"frames": image.n_frames, "channels": len(image.channels)}
