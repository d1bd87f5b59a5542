"""Scores of links between given objects: how many were found, and which divisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from kinocyte.core.schema import require
from kinocyte.evaluation.movies import whole_numbers
from kinocyte.evaluation.overlaps import Ints


@dataclass(frozen=True)
class LinkScores:
    """Precision, recall and F1 of links and of divisions; None where nothing defines them."""

    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float | None
    recall: float | None
    f1: float | None
    division_true_positives: int
    division_false_positives: int
    division_false_negatives: int
    division_precision: float | None
    division_recall: float | None
    division_f1: float | None


def score_links(reference: pl.DataFrame, result: pl.DataFrame) -> LinkScores:
    """Score links between the same objects.

    Parameters
    ----------
    reference, result : polars.DataFrame
        ``source_id target_id``; ids mean the same object in both. A link given twice counts once.

    Returns
    -------
    LinkScores
        A division is an object with at least two targets; it is found where all its targets are the same.

    Raises
    ------
    TableError
        If a column is missing.
    """
    truth, found = (_pairs(t, name=n) for t, n in ((reference, "reference"), (result, "result")))
    hits = len(_common(truth, found))
    whole = [_divisions(p) for p in (truth, found)]
    split = len(set(whole[0].items()) & set(whole[1].items()))
    return LinkScores(
        hits, len(found) - hits, len(truth) - hits, *_rates(hits, len(found), len(truth)),
        split, len(whole[1]) - split, len(whole[0]) - split, *_rates(split, len(whole[1]), len(whole[0])),
    )  # fmt: skip


def _pairs(links: pl.DataFrame, *, name: str) -> Ints:
    require(links, ["source_id", "target_id"], table=f"links of the {name}")
    table = links.select("source_id", "target_id").unique()
    return np.column_stack([whole_numbers(table, c, table=f"links of the {name}") for c in table.columns])


def _common(a: Ints, b: Ints) -> Ints:
    both = np.concatenate([a, b])
    pairs, count = np.unique(both, axis=0, return_counts=True)
    return np.asarray(pairs[count == 2])


def _divisions(pairs: Ints) -> dict[int, tuple[int, ...]]:
    sources, count = np.unique(pairs[:, 0], return_counts=True)
    some = pairs[np.isin(pairs[:, 0], sources[count > 1])]
    out: dict[int, tuple[int, ...]] = {}
    for source, target in some[np.lexsort((some[:, 1], some[:, 0]))].tolist():
        out[source] = (*out.get(source, ()), target)
    return out


def _rates(hits: int, found: int, there: int) -> tuple[float | None, float | None, float | None]:
    return (
        hits / found if found else None,
        hits / there if there else None,
        2 * hits / (found + there) if found + there else None,
    )
