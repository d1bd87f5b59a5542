"""What every linker offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.method import Method

#: lengths between a picometre and a kilometre: their squares and cubes can be counted with
SHORTEST_UM, LONGEST_UM = 1e-6, 1e9
#: frames over which anything can still be said to be the same
LONGEST_GAP = 1000

#: Returns the label image of a frame; linkers that look at shapes ask for it frame by frame.
LabelSource = Callable[[int], NDArray[np.uint32]]


@dataclass(frozen=True, slots=True)
class Mended:
    """Objects, links, tracks and members after mending.

    ``objects`` holds those that are still in a track and, flagged by the column ``interpolated``, those that were
    put in: they have label 0, new ids above all others, and interpolated features. The other tables have the columns of
    `kinocyte.core.schema`.
    """

    objects: pl.DataFrame
    links: pl.DataFrame
    tracks: pl.DataFrame
    members: pl.DataFrame


class Mender(Method):
    """Repairs finished tracks."""

    kind: ClassVar[str] = "mending"

    @property
    def features(self) -> tuple[str, ...]:
        """Return the measured columns that the method compares, none unless a parameter needs them."""
        return ()

    @abstractmethod
    def mend(self, objects: pl.DataFrame, links: pl.DataFrame) -> Mended:
        """Return what is left and what is added.

        Parameters
        ----------
        objects : polars.DataFrame
            Columns ``object_id frame x_um y_um``, those of `features`; other columns are kept.
        links : polars.DataFrame
            Columns of `kinocyte.core.schema.LINKS`.
        """


class Linker(Method):
    """Turns the objects of a movie into links between them."""

    kind: ClassVar[str] = "tracking"

    @property
    def features(self) -> tuple[str, ...]:
        """Return the measured columns that the method compares, none unless a parameter names them."""
        return ()

    @abstractmethod
    def link(self, objects: pl.DataFrame, *, labels: LabelSource | None = None, seed: int = 0) -> pl.DataFrame:
        """Return the links between objects of one position.

        Parameters
        ----------
        objects : polars.DataFrame
            Columns ``object_id frame x_um y_um`` and, in 3D, ``z_um``; further columns where a parameter names them.
        labels : callable, optional
            Label image of a frame, for linkers that compare shapes.
        seed : int
            Fixes whatever chance there is.

        Returns
        -------
        polars.DataFrame
            Columns of `kinocyte.core.schema.LINKS`, sorted by source and target.
        """
