"""Who is near whom in the frame on the screen: the preview of interactions. No Qt."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.app.cells import Cells, load_cells
from kinocyte.app.previews import Question, Shown
from kinocyte.core.errors import ParameterError
from kinocyte.interactions.base import InteractionMethod

#: (position, population) of the cells that were read last
_KEPT = 2


class Sides:
    """Cells of the populations that were looked at last; the cells that are shown are not read again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Cells] = {}

    def cells(self, asked: Question, population: str) -> Cells:
        """Return the cells of a population of the position."""
        if asked.cells is not None and asked.cells.population == population:
            return asked.cells
        key = (asked.position.id, population)
        if key not in self._kept or self._kept[key].position is not asked.position:
            if population not in asked.position.populations:
                msg = f"The cells of '{population}' were not found yet; run the steps before this one here."
                raise ParameterError(msg)
            self._kept = dict(list(self._kept.items())[1 - _KEPT :])
            self._kept[key] = load_cells(asked.position, population)
        return self._kept[key]


def pairs_shown(asked: Question, method: InteractionMethod, sides: Sides) -> Shown:
    """Return lines from cells to their neighbours in a frame, by distance, with a sentence.

    Raises
    ------
    ParameterError
        If the cells of a side were not found yet.
    """
    reference, neighbour = asked.sides
    own = sides.cells(asked, reference)
    other = own if reference == neighbour else sides.cells(asked, neighbour)
    rows = own.frame(asked.frame)
    others = None if other is own else other.frame(asked.frame)
    if rows.is_empty() or (others is not None and others.is_empty()):
        return Shown(f"No cell of '{reference if rows.is_empty() else neighbour}' in this frame.")
    masks = [None if c.labels is None else c.labels.frame for c in (own, other)]
    scale = asked.position.scale
    pairs = method.pairs(rows, others, scale, masks[0], None if others is None else masks[1])
    n = pairs["reference_id"].n_unique() if pairs.height else 0
    counts = f"{n} of {rows.height} cells of '{reference}' have a neighbour"
    if not pairs.height:
        return Shown(f"{counts}.", arrows=np.zeros((0, 2, 2)))
    far = pairs["distance_um"].drop_nulls()
    middle = float(far.median() or 0.0) if far.len() else float("nan")  # type: ignore[arg-type]  # of floats
    sentence = f"{counts}: {pairs.height / rows.height:.2g} each, half of them nearer than {middle:.3g} µm."
    if others is None:
        pairs = pairs.filter(pl.col("reference_id") < pl.col("neighbour_id"))  # one line for both sides
    arrows, values = _lines(pairs, rows, rows if others is None else others, (scale.y_um, scale.x_um))
    return Shown(sentence, arrows=arrows, arrow_values=values)


def _lines(
    pairs: pl.DataFrame, rows: pl.DataFrame, others: pl.DataFrame, spacing: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return start and direction of each pair in pixels, and its distance."""
    where = ["object_id", "y_um", "x_um"]
    ends = (
        pairs.select("reference_id", "neighbour_id", "distance_um")
        .join(rows.select(where), left_on="reference_id", right_on="object_id")
        .join(others.select(where), left_on="neighbour_id", right_on="object_id", suffix="_to")
    )
    start = ends.select("y_um", "x_um").to_numpy() / spacing
    stop = ends.select("y_um_to", "x_um_to").to_numpy() / spacing
    return np.stack([start, stop - start], axis=1), ends["distance_um"].cast(pl.Float64).to_numpy()
