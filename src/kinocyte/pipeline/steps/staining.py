"""Computed channels of a position, frame by frame: the corrected image holds them beside those that were taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import Method
from kinocyte.core.scale import Scale
from kinocyte.experiment.position import Position
from kinocyte.learning.staining import Stainer


class LastFrame:
    """A movie that keeps the frame it was last asked for: several channels may be computed from it."""

    def __init__(self, movie: Any) -> None:
        self._movie, self._frame, self._pixels = movie, -1, None
        self.shape, self.ndim, self.dtype = movie.shape, movie.ndim, movie.dtype

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._movie)

    def __getitem__(self, frame: int) -> Any:
        """Return one frame."""
        if frame != self._frame:
            self._pixels, self._frame = self._movie[frame], frame
        return self._pixels


class StainedMovie:
    """One computed channel; ``movie[t]`` is (y, x) or (z, y, x) of ``dtype``."""

    def __init__(self, stainer: Stainer, movies: Mapping[str, Any], scale: Scale) -> None:
        self._stainer, self._scale = stainer, scale
        self._movies = {name: movies[name] for name in stainer.channels}
        first = next(iter(self._movies.values()))
        self.shape: tuple[int, ...] = first.shape
        self.ndim: int = first.ndim
        self.dtype = np.result_type(*(m.dtype for m in self._movies.values()))

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.shape[0]

    def __getitem__(self, frame: int) -> NDArray[Any]:
        """Return one computed frame."""
        return self._stainer.stain({name: m[frame] for name, m in self._movies.items()}, self._scale)


def stainers_of(methods: Mapping[str, Method]) -> dict[str, Stainer]:
    """Return the methods as what they are, by the names of the channels they make."""
    return {name: m for name, m in methods.items() if isinstance(m, Stainer)}


def with_stains(
    position: Position, channels: Sequence[str], movies: Sequence[Any], methods: Mapping[str, Method]
) -> tuple[list[str], list[Any]]:
    """Return names and movies of channels, those that are computed from them at the end."""
    if not methods:
        return list(channels), list(movies)
    kept = {name: LastFrame(m) for name, m in zip(channels, movies, strict=True)}
    made = {name: StainedMovie(s, kept, position.scale) for name, s in stainers_of(methods).items()}
    return [*kept, *made], [*kept.values(), *made.values()]


def check_stains(position: Position, methods: Mapping[str, Method]) -> None:
    """Raise `ParameterError` for a channel that is there already or missing, and for a model that does not fit."""
    from kinocyte.pipeline.steps.base import check_channels

    image = position.image("raw")
    for name, stainer in stainers_of(methods).items():
        if name in image.channels:
            msg = f"stain: position {position.id} has a channel '{name}' already; give the computed one another name."
            raise ParameterError(msg)
        check_channels(position, stainer.channels, f"stain.{name}")
        stainer.ready(position.scale, len(image.frame_shape), image.dtype)
