"""Costs of candidate links: squared distance, widened by differences of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: smallest normal double: what TrackMate takes for the cost of a link of length zero
SMALLEST = float(np.finfo(np.float64).tiny)


def penalty(
    source: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return by what each candidate's distance is multiplied.

    ``P = 1 + sum_k w_k * 1.5 |a_k - b_k| / ((a_k + b_k) / 2)``; a feature that is NaN at either end is skipped, and
    so is one whose two values cancel (a = -b).

    Parameters
    ----------
    source, target : numpy.ndarray of float64, shape (m, k)
        Features at both ends.
    weights : numpy.ndarray of float64, shape (k,)
        Weight of each feature.

    Returns
    -------
    numpy.ndarray of float64, shape (m,)
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is infinitely dear
        total = source + target
        usable = np.isfinite(total) & (total != 0.0)
        ratio = 3.0 * np.abs(source - target) / np.where(usable, total, 1.0)
        out: NDArray[np.float64] = 1.0 + (np.where(usable, ratio, 0.0) * weights).sum(axis=1)
    return out


@dataclass(frozen=True, slots=True)
class Penalty:
    """Features that make a link dearer the more its ends differ.

    Parameters
    ----------
    values : numpy.ndarray of float64, shape (n, k)
        Features of the objects; k = 0 means that only distance counts.
    weights : numpy.ndarray of float64, shape (k,)
        Their weights.
    """

    values: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __bool__(self) -> bool:
        """Tell whether any feature counts."""
        return len(self.weights) > 0

    def part(self, objects: slice) -> Penalty:
        """Return the same for some of the objects."""
        return Penalty(self.values[objects], self.weights)

    def reversed(self) -> Penalty:
        """Return the same for the objects in reverse order."""
        return Penalty(self.values[::-1], self.weights)

    def cost(
        self, square_um2: NDArray[np.float64], source: NDArray[np.int64], target: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Return ``d^2 P^2`` of each candidate, never zero.

        Parameters
        ----------
        square_um2 : numpy.ndarray of float64, shape (m,)
            Squared distances.
        source, target : numpy.ndarray of int, shape (m,)
            Both ends.
        """
        cost = square_um2
        if self:
            with np.errstate(over="ignore", invalid="ignore"):
                cost = cost * penalty(self.values[source], self.values[target], self.weights) ** 2
            cost = np.where(np.isnan(cost), np.inf, cost)  # no distance times infinite difference
        return np.where(cost == 0.0, SMALLEST, cost)
