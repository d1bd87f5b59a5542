"""What every way of finding neighbours offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.method import Method
from kinocyte.core.scale import Scale

#: Returns the label image of a frame; asked for frame by frame, so that memory is bounded by a frame.
LabelSource = Callable[[int], NDArray[np.uint32]]


class InteractionMethod(Method):
    """Finds which cells are neighbours of which, frame by frame."""

    kind: ClassVar[str] = "interaction"

    @property
    def needs_labels(self) -> bool:
        """Tell whether the method looks at masks and not only at positions."""
        return False

    @abstractmethod
    def pairs(
        self,
        reference_cells: pl.DataFrame,
        neighbour_cells: pl.DataFrame | None,
        scale: Scale,
        reference_labels: LabelSource | None = None,
        neighbour_labels: LabelSource | None = None,
        *,
        by: str | Sequence[str] = (),
    ) -> pl.DataFrame:
        """Return one row for each reference cell and each of its neighbours in one frame.

        Parameters
        ----------
        reference_cells : polars.DataFrame
            ``object_id frame x_um y_um``; in 3D ``z_um``; ``time_min`` (left out: from the scale); ``track_id`` (null
            where the object has no track, or left out); ``label`` where masks are looked at. Objects whose position is
            null, NaN or infinite have no neighbours.
        neighbour_cells : polars.DataFrame or None
            The same for the other population; None, or the very same object, looks for neighbours within one
            population. Every pair then stands twice, once from each side, as each cell is a reference; a cell is
            never its own neighbour.
        scale : Scale
            Calibration of the label images.
        reference_labels, neighbour_labels : callable, optional
            Label image (y, x) or (z, y, x) of a frame. Where both are given (within a population: the first), every
            pair gets its ``edge_distance_um``. Only frames that hold cells of both sides are asked for, each once.
        by : str or sequence of str
            Columns that tell positions apart. Cells of different positions are never neighbours, ids may repeat
            between positions, and the columns come first in the result. Not together with label images, which belong
            to one position.

        Returns
        -------
        polars.DataFrame
            The required columns of `kinocyte.core.schema.PAIRS`, and those that the method adds, sorted by frame,
            reference and neighbour.

        Raises
        ------
        TableError
            If a column is missing or not numeric, an id or frame is null, or two objects share an id.
        ParameterError
            If label images are missing, given for several positions, or differ in shape.
        """
