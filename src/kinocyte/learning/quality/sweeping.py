"""Which of several states of a network is best, by images it has not learnt from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.evaluation.perceptual import PerceptualDistance
from kinocyte.learning.data.pairs import Pair
from kinocyte.learning.model import ImageModel
from kinocyte.learning.quality.judging import Predict, judge

Singles = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Candidate:
    """Weights that a training had at a step."""

    name: str
    step: int
    weights: Mapping[str, Singles]

    @property
    def digest(self) -> str:
        """Return what tells equal weights."""
        return _digest(self.weights)


def _digest(weights: Mapping[str, Singles]) -> str:
    found = hashlib.sha256()
    for key in sorted(weights):
        found.update(key.encode())
        found.update(np.ascontiguousarray(weights[key], np.float32).tobytes())
    return found.hexdigest()


@dataclass(frozen=True, eq=False)
class Sweep:
    """Scores of the candidates, best first, and the model with the best weights."""

    table: pl.DataFrame
    """``rank name step score`` and the scores of `kinocyte.learning.quality.judging.Judgement.pooled`."""
    best: ImageModel
    score: str
    stays: bool = False
    """Whether the best weights are those that the model has."""


def sweep_checkpoints(
    model: ImageModel,
    candidates: Sequence[Candidate],
    pairs: Sequence[Pair],
    predict: Predict,
    *,
    perceptual: PerceptualDistance | None = None,
) -> Sweep:
    """Judge each of several states of a network once, rank them, and pick the best.

    Candidates of equal weights (as the last is when it also was the best) are judged once, under the first name.
    Images are ranked by SSIM, and by ST-LPIPS together with it where that is computed: the place in either order counts
    alike.

    Raises
    ------
    ParameterError
        If there is no candidate.
    """
    if not candidates:
        msg = "There is no checkpoint to compare."
        raise ParameterError(msg)
    different: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.step):
        different.setdefault(candidate.digest, candidate)
    rows, main = [], ""
    for candidate in different.values():
        judged = judge(model.replace(weights=candidate.weights), pairs, predict, perceptual=perceptual, n_examples=0)
        main = judged.main
        rows.append({"name": candidate.name, "step": candidate.step, "score": judged.score, **judged.pooled})
    table = pl.DataFrame(rows, infer_schema_length=None)
    place = pl.col("score").rank("average", descending=True)
    if "st_lpips" in table.columns and table["st_lpips"].null_count() == 0:
        place = place + pl.col("st_lpips").rank("average")
    table = table.with_columns(place=place).sort("place", "step", descending=[False, True])
    table = table.drop("place").with_row_index("rank", offset=1)
    chosen = next(c for c in different.values() if c.name == table["name"][0])
    return Sweep(table, model.replace(weights=chosen.weights), main, chosen.digest == _digest(model.weights))
