"""Movies of a position after restoration, computed frame by frame: what registration and correction look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.method import Method
from kinocyte.experiment.arrays import ChannelMovie
from kinocyte.experiment.position import Position
from kinocyte.restoration.base import Restorer
from kinocyte.restoration.chain import RestoredMovie, fit_chain


@dataclass(frozen=True)
class Restored:
    """One restored channel; ``movie[t]`` is (y, x) or (z, y, x) of ``dtype``."""

    raw: ChannelMovie
    restored: RestoredMovie

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (t, y, x) or (t, z, y, x)."""
        return self.raw.shape

    @property
    def ndim(self) -> int:
        """Return 3 or 4."""
        return self.raw.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of a restored pixel."""
        return np.dtype(np.float32) if self.restored.chain.output == "float32" else self.raw.dtype

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.raw)

    def __getitem__(self, frame: int) -> NDArray[Any]:
        """Return one restored frame."""
        return self.restored[frame]


def restorers_of(methods: Sequence[Method]) -> list[Restorer]:
    """Return the methods as what they are."""
    return [m for m in methods if isinstance(m, Restorer)]


def restored_movie(position: Position, channel: str, methods: Sequence[Method], seed: int) -> ChannelMovie | Restored:
    """Return a channel after the restorers that name it (or name none), fitted to this position."""
    raw = position.image("raw").movie(channel)
    chosen = [r for r in restorers_of(methods) if not r.channels or channel in r.channels]
    if not chosen:
        return raw
    references = _references(position, chosen, channel)
    well = None
    if any(r.reads == "well" for r in chosen):
        siblings = {p.id: p.image("raw").movie(channel) for p in position.siblings()}
        well = {**siblings, position.id: raw}
    chain = fit_chain(chosen, raw, position.scale, seed, references=references, well=well)
    return Restored(raw, chain.movie(raw))


def _references(position: Position, restorers: Sequence[Restorer], channel: str) -> dict[str, NDArray[Any]]:
    """Return the reference images of all methods by the names in the pipeline."""
    from kinocyte.pipeline.steps.reference_images import references_of

    found: dict[str, NDArray[Any]] = {}
    for restorer in restorers:
        if restorer.reads == "references":
            found |= references_of(position, restorer, channel)
    return found


def check_restorers(position: Position, methods: Sequence[Method]) -> None:
    """Raise `ParameterError` for a channel the position lacks, or a reference image that is missing or does not fit."""
    from kinocyte.pipeline.steps.base import check_channels

    image = position.image("raw")
    for restorer in restorers_of(methods):
        check_channels(position, restorer.channels, f"restoration '{restorer.name()}'")
        restorer.ready(position.scale, len(image.frame_shape))
        if restorer.reads == "references":
            blank = np.zeros((1, *image.frame_shape[-2:]), dtype=np.uint8)
            for channel in restorer.channels or image.channels:
                given = _references(position, [restorer], channel)
                restorer.fit(blank, position.scale, references=given)


def sources_of(position: Position, methods: Sequence[Method]) -> dict[str, str]:
    """Return the fingerprints of what restoration reads: this position or the whole well, and reference images."""
    from kinocyte.pipeline.steps.reference_images import find_reference, reference_fingerprint, trained_models

    found = {"pixels": position.pixel_hash}
    restorers = restorers_of(methods)
    for i, restorer in enumerate(restorers):
        found |= {f"{name}:{i}": mark for name, mark in trained_models(restorer).items()}
    if any(r.reads == "well" for r in restorers):
        found |= {f"pixels:{p.id}": p.pixel_hash for p in position.siblings()}
    for name in dict.fromkeys(n for r in restorers if r.reads == "references" for n in r.reference_names):
        found[f"reference:{name}"] = reference_fingerprint(find_reference(name, position))
    return found
