"""What it takes to turn a tracking result into the truth: the acyclic oriented graphs measure and its errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.evaluation.comparison import Comparison
from kinocyte.evaluation.movies import Side
from kinocyte.evaluation.overlaps import Ints

#: What each repair costs (Matula et al. 2015, as the Cell Tracking Challenge sets it).
PENALTIES = {
    "split": 5.0, "missed": 10.0, "spurious": 1.0, "redundant_link": 1.0, "missing_link": 1.5, "wrong_kind": 1.0,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class GraphErrors:
    """Everything that has to be repaired, as indices into the objects and links of a comparison."""

    comparison: Comparison
    split: Ints
    """Result objects, once for every further reference object they stand for (NS)."""
    missed: Ints
    """Reference objects without a partner (FN)."""
    spurious: Ints
    """Result objects that stand for nothing (FP)."""
    redundant: Ints
    """Result links to be deleted (ED)."""
    missing: Ints
    """Reference links to be added (EA)."""
    wrong_kind: Ints
    """Result links that are a division where the truth continues, or the reverse (EC)."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of repairs by the names of `PENALTIES`."""
        parts = (self.split, self.missed, self.spurious, self.redundant, self.missing, self.wrong_kind)
        return {name: len(part) for name, part in zip(PENALTIES, parts, strict=True)}

    @property
    def aogm(self) -> float:
        """Weighted sum of all repairs."""
        return self._cost(*PENALTIES)

    @property
    def aogm_empty(self) -> float:
        """Cost of making the truth from nothing."""
        return self._vertices + self._edges

    @property
    def _vertices(self) -> float:
        return PENALTIES["missed"] * len(self.comparison.reference.frame)

    @property
    def _edges(self) -> float:
        return PENALTIES["missing_link"] * len(self.comparison.reference.links)

    def _cost(self, *names: str) -> float:
        return sum(PENALTIES[n] * self.counts[n] for n in names)

    @property
    def tra(self) -> float | None:
        """Tracking accuracy, 0 to 1."""
        return _share_kept(self.aogm, self.aogm_empty)

    @property
    def det(self) -> float | None:
        """Detection accuracy, 0 to 1."""
        return _share_kept(self._cost("split", "missed", "spurious"), self._vertices)

    @property
    def lnk(self) -> float | None:
        """Linking accuracy, 0 to 1."""
        return _share_kept(self._cost("redundant_link", "missing_link", "wrong_kind"), self._edges)

    def table(self) -> pl.DataFrame:
        """Return one row per repair: where, which objects, and what it costs.

        Returns
        -------
        polars.DataFrame
            ``frame error penalty reference_label result_label to_frame to_reference_label to_result_label`` and the
            position in pixels (or micrometres where no images were compared) of the object or the link's start,
            ``[z] y x``; sorted by frame. ``error`` is one of the names of `PENALTIES`.
        """
        reference, result = self.comparison.reference, self.comparison.result
        parts = [
            _object_rows("split", result, self.split, "result_label"),
            _object_rows("missed", reference, self.missed, "reference_label"),
            _object_rows("spurious", result, self.spurious, "result_label"),
            _link_rows("redundant_link", result, self.redundant, "result_label"),
            _link_rows("missing_link", reference, self.missing, "reference_label"),
            _link_rows("wrong_kind", result, self.wrong_kind, "result_label"),
        ]
        order = list(PENALTIES)
        table = pl.concat([_ERRORS.clear(), *parts], how="diagonal")
        rank = pl.col("error").replace_strict({n: k for k, n in enumerate(order)}, return_dtype=pl.Int8)
        return table.sort("frame", rank, "reference_label", "result_label", maintain_order=True)


_ERRORS = pl.DataFrame(
    schema={
        "frame": pl.Int32, "error": pl.String, "penalty": pl.Float64,
        "reference_label": pl.Int64, "result_label": pl.Int64,
        "to_frame": pl.Int32, "to_reference_label": pl.Int64, "to_result_label": pl.Int64,
        "y": pl.Float64, "x": pl.Float64,
    }
)  # fmt: skip


def _share_kept(cost: float, cost_empty: float) -> float | None:
    return 1 - min(cost, cost_empty) / cost_empty if cost_empty else None


def _object_rows(error: str, side: Side, which: Ints, label: str) -> pl.DataFrame:
    centre = side.centre[which]
    axes = ("z", "y", "x")[-centre.shape[1] :]
    return pl.DataFrame(
        {"frame": side.frame[which].astype(np.int32), label: side.label[which]}
        | {a: pl.Series(centre[:, k], dtype=pl.Float64).fill_nan(None) for k, a in enumerate(axes)}
    ).with_columns(error=pl.lit(error), penalty=pl.lit(PENALTIES[error]))


def _link_rows(error: str, side: Side, which: Ints, label: str) -> pl.DataFrame:
    source, target = side.links[which].T
    return _object_rows(error, side, source, label).with_columns(
        pl.Series("to_frame", side.frame[target].astype(np.int32)), pl.Series(f"to_{label}", side.label[target])
    )


def graph_errors(comparison: Comparison) -> GraphErrors:
    """Find the repairs that turn the result into the truth.

    A result object that stands for several reference objects has to be split; one that stands for none has to go; a
    reference object without a partner has to be added. Links count between result objects that stand for exactly one
    reference object (Matula et al. 2015, doi:10.1371/journal.pone.0144959).

    Parameters
    ----------
    comparison : Comparison
        Two matched movies.

    Returns
    -------
    GraphErrors
    """
    reference, result = comparison.reference, comparison.result
    shared = comparison.multiplicity()
    stands_for = np.full(len(result.frame), -1)
    single = shared[comparison.pair_result] == 1
    stands_for[comparison.pair_result[single]] = comparison.pair_reference[single]
    ends = stands_for[result.links]
    induced = np.flatnonzero((ends >= 0).all(axis=1))
    n = max(len(reference.frame), 1)
    have, want = _keys(ends[induced], n), _keys(reference.links, n)
    order = np.argsort(want, kind="stable")
    place = np.minimum(np.searchsorted(want[order], have), max(len(want) - 1, 0))
    meets = want[order][place] == have if len(want) else np.zeros(len(have), np.bool_)
    same_kind = reference.division[order][place[meets]] == result.division[induced[meets]]
    return GraphErrors(
        comparison,
        split=np.repeat(np.arange(len(shared)), np.maximum(shared - 1, 0)),
        missed=np.flatnonzero(comparison.partner() < 0),
        spurious=np.flatnonzero(shared == 0),
        redundant=induced[~meets],
        missing=np.flatnonzero(~np.isin(want, have)),
        wrong_kind=induced[meets][~same_kind],
    )


def _keys(links: Ints, n: int) -> NDArray[np.int64]:
    return links[:, 0] * n + links[:, 1]
