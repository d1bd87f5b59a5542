"""Which settings are tried next: a grid, chance, or what has done well so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.pipeline.sweep.axes import Axis, combinations

Search = Literal["grid", "random", "bayes"]
#: settings drawn before any is judged; a model of fewer points is guesswork
_FIRST = 10
#: settings proposed together: what is proposed must not depend on the number of workers
BATCH = 4
_CANDIDATES = 24
_GOOD_SHARE = 0.1
_TRIES = 50


class Proposals:
    """Proposes settings in rounds; the same scores lead to the same proposals.

    Bayesian search is a Parzen estimator (Bergstra et al. 2011, Algorithms for hyper-parameter optimization, NIPS 24),
    with kernels over all axes together (Falkner et al. 2018, BOHB, ICML): the trials with the best scores and the rest
    each give a density, and of some points drawn from the first that with the largest ratio of both is tried next.
    Points that are proposed in one round count as not good for those behind them, so that they differ.

    Parameters
    ----------
    axes : sequence of Axis
        What is varied.
    search : {"grid", "random", "bayes"}
        How.
    trials : int
        Most settings that are proposed.
    seed : int
        Fixes what is drawn.
    """

    def __init__(self, axes: Sequence[Axis], search: Search, trials: int, seed: int) -> None:
        self._axes, self._search, self._seed = tuple(axes), search, seed
        finite = not any(a.is_range for a in axes)
        size = math.prod(len(a.values) for a in axes) if finite else None
        self._grid = list(combinations(axes)) if search == "grid" else None
        self.total = len(self._grid) if self._grid is not None else min(trials, size or trials)
        self._given: list[tuple[float, ...]] = []
        self._seen: set[str] = set()

    def next_round(self, scores: Sequence[tuple[Mapping[str, Any], float | None]]) -> list[dict[str, Any]]:
        """Return the next settings, none when the search has ended.

        Parameters
        ----------
        scores : sequence of (settings, score)
            What was tried so far in order of proposal; larger is better, None failed.
        """
        if self._grid is not None:
            given, self._grid = self._grid, []
            return given
        left = self.total - len(self._seen)
        judged = self._search == "bayes" and len(self._seen) >= min(_FIRST, self.total)
        size = min(left, BATCH if judged else _FIRST if self._search == "bayes" else left)
        rng = np.random.default_rng([self._seed, len(self._seen)])
        out: list[dict[str, Any]] = []
        for _ in range(size):
            waiting = [(p, None) for p in out]
            proposal = self._fresh(rng, [*scores, *waiting] if judged else ())
            if proposal is None:
                break
            out.append(proposal)
        return out

    def _fresh(
        self, rng: np.random.Generator, scores: Sequence[tuple[Mapping[str, Any], float | None]]
    ) -> dict[str, Any] | None:
        """Return settings not tried yet; chance finds them where the model keeps returning to the same."""
        for attempt in range(_TRIES * 20):
            guided = bool(scores) and attempt < _TRIES
            settings = self._guided(rng, scores) if guided else {a.key: a.at(rng.random()) for a in self._axes}
            if repr(settings) not in self._seen:
                self._seen.add(repr(settings))
                return settings
        return None

    def _guided(
        self, rng: np.random.Generator, scores: Sequence[tuple[Mapping[str, Any], float | None]]
    ) -> dict[str, Any]:
        value = np.array([-np.inf if s is None or math.isnan(s) else s for _, s in scores])
        order = np.argsort(-value, kind="stable")
        at = np.array([[_place(a, s[a.key]) for a in self._axes] for s, _ in scores])
        n_good = min(max(2, math.ceil(_GOOD_SHARE * len(order))), len(order) - 1)
        good, bad = _Density(self._axes, at[order[:n_good]]), _Density(self._axes, at[order[n_good:]])
        drawn = good.draw(rng, _CANDIDATES)
        best = drawn[int(np.argmax(good.log_density(drawn) - bad.log_density(drawn)))]
        return {
            a.key: a.at(float(p)) if a.is_range else a.values[int(p)] for a, p in zip(self._axes, best, strict=True)
        }


def _place(axis: Axis, value: Any) -> float:
    """Return the number of a value, or its share of the way through a range."""
    if not axis.is_range:
        return float(next(i for i, v in enumerate(axis.values) if repr(v) == repr(value)))
    low, high = axis.low, axis.high
    if axis.log:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return float((value - low) / (high - low))


class _Density:
    """A density over all axes: a kernel around each trial, and one share spread evenly.

    Parameters
    ----------
    axes : sequence of Axis
        What is varied.
    centres : array (n, number of axes)
        Trials, by `_place`.
    """

    def __init__(self, axes: Sequence[Axis], centres: NDArray[np.float64]) -> None:
        self._axes, self._centres = axes, centres
        n, d = centres.shape
        # Scott's rule; kernels never so narrow that nothing between two trials is looked at
        self._width = np.clip(np.std(centres, axis=0) * n ** (-1.0 / (d + 4)), 0.2 / (n + 1), 1.0)
        self._stay = n / (n + 1.0)  # probability that a kernel over names keeps the name of its trial

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        """Return points drawn from the density, (count, number of axes)."""
        n = len(self._centres)
        which = rng.integers(0, n + 1, count)
        out = np.empty((count, len(self._axes)))
        for k, axis in enumerate(self._axes):
            near = self._centres[np.minimum(which, n - 1), k]
            if axis.is_range:
                moved = near + rng.normal(0, self._width[k], count)
                anywhere = (which == n) | (moved < 0) | (moved > 1)
                out[:, k] = np.where(anywhere, rng.random(count), moved)
            else:
                anywhere = (which == n) | (rng.random(count) > self._stay)
                out[:, k] = np.where(anywhere, rng.integers(0, len(axis.values), count), near)
        return out

    def log_density(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of the density at points (m, number of axes)."""
        total = np.zeros((len(at), len(self._centres)))
        even = 0.0
        for k, axis in enumerate(self._axes):
            apart = at[:, k, None] - self._centres[:, k]
            if axis.is_range:
                total += -0.5 * (apart / self._width[k]) ** 2 - math.log(self._width[k] * math.sqrt(2 * math.pi))
            else:
                other = (1 - self._stay) / len(axis.values)
                total += np.log(np.where(apart == 0, self._stay + other, other))
                even -= math.log(len(axis.values))
        spread = np.full((len(at), 1), even)
        together = np.concatenate([total, spread], axis=1)
        most = together.max(axis=1)
        return np.asarray(most + np.log(np.exp(together - most[:, None]).mean(axis=1)))
