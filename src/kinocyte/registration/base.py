"""What every method that estimates drift offers, and what it takes as a movie."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import polars as pl
from numpy.typing import NDArray

from kinocyte.core.method import Method
from kinocyte.core.scale import Scale


class Movie(Protocol):
    """A movie read frame by frame: a numpy array, a memory-mapped file or anything that reads lazily."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (t, y, x) or (t, z, y, x)."""

    @property
    def ndim(self) -> int:
        """Return 3 or 4."""

    @property
    def dtype(self) -> Any:
        """Return the type of the pixels."""

    def __getitem__(self, frame: int, /) -> Any:
        """Return one frame, (y, x) or (z, y, x)."""


#: One channel, several in a sequence, or several by name.
Movies = Movie | Sequence[Movie] | Mapping[str, Movie]


class Registrar(Method):
    """Turns a movie into a table of drift."""

    kind: ClassVar[str] = "registration"

    @property
    @abstractmethod
    def channels(self) -> tuple[str, ...]:
        """Channels that the method reads; empty for all that it is given."""

    @abstractmethod
    def estimate(
        self,
        movie: Movies,
        scale: Scale | None = None,
        seed: int = 0,
        *,
        mask: NDArray[Any] | None = None,
    ) -> pl.DataFrame:
        """Return the drift of a movie.

        Parameters
        ----------
        movie : movie, sequence of movies or mapping of str to movie
            One channel or several of one shape; each gives ``movie[t]`` as (y, x) or (z, y, x).
        scale : Scale, optional
            Calibration; needed where a parameter is given in micrometres.
        seed : int
            Fixes whatever chance there is.
        mask : array of bool, shape (y, x) or (z, y, x), optional
            Pixels that may be looked at, in the coordinates of the camera.

        Returns
        -------
        polars.DataFrame
            Columns of `kinocyte.core.schema.DRIFT`, then those of the method. Shifts are those of the content
            relative to frame 0; correction applies the opposite.
        """
