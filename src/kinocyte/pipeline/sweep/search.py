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
_CANDIDATES = 64
_GOOD_SHARE = 0.25
_TRIES = 50


class Proposals:
    """Proposes settings in rounds; the same scores lead to the same proposals.

    Bayesian search is a tree-structured Parzen estimator (Bergstra et al. 2011, Algorithms for hyper-parameter
    optimization, NIPS 24): the quarter of the trials with the best scores and the rest each give a density over every
    axis, and of some values drawn from the first that with the largest ratio of both is tried next.

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
            proposal = self._fresh(rng, scores if judged else ())
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
        n_good = max(2, math.ceil(_GOOD_SHARE * len(order)))
        settings = {}
        for axis in self._axes:
            at = np.array([_place(axis, s[axis.key]) for s, _ in scores])
            good, bad = at[order[:n_good]], at[order[n_good:]]
            drawn = _draw(axis, good, rng)
            ratio = np.log(_density(axis, drawn, good)) - np.log(_density(axis, drawn, bad))
            best = float(drawn[int(np.argmax(ratio))])
            settings[axis.key] = axis.at(best) if axis.is_range else axis.values[int(best)]
        return settings


def _place(axis: Axis, value: Any) -> float:
    """Return the number of a value, or its share of the way through a range."""
    if not axis.is_range:
        return float(next(i for i, v in enumerate(axis.values) if repr(v) == repr(value)))
    low, high = axis.low, axis.high
    if axis.log:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return float((value - low) / (high - low))


def _draw(axis: Axis, centres: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return candidates: mostly near values that did well, some from anywhere."""
    near = rng.choice(centres, _CANDIDATES)
    anywhere = rng.random(_CANDIDATES) < 1.0 / (len(centres) + 1)
    if not axis.is_range:
        return np.where(anywhere, rng.integers(0, len(axis.values), _CANDIDATES), near)
    drawn = near + rng.normal(0, _width(centres), _CANDIDATES)
    inside = (drawn >= 0) & (drawn <= 1)
    return np.where(anywhere | ~inside, rng.random(_CANDIDATES), drawn)


def _width(centres: NDArray[np.float64]) -> float:
    """Return the standard deviation of a kernel on 0 to 1, after Scott, never narrower than a hundredth."""
    return float(max(0.01, np.std(centres) * len(centres) ** -0.2, 0.2 / max(len(centres), 1)))


def _density(axis: Axis, at: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the density of values that were tried, with one share spread over the whole axis."""
    n = len(centres)
    if not axis.is_range:
        counts = np.bincount(centres.astype(np.int64), minlength=len(axis.values)) + 1.0 / len(axis.values)
        return np.asarray(counts[at.astype(np.int64)] / (n + 1))
    if not n:
        return np.ones(len(at))
    width = _width(centres)
    kernels = np.exp(-0.5 * ((at[:, None] - centres) / width) ** 2) / (width * math.sqrt(2 * math.pi))
    return np.asarray((kernels.sum(axis=1) + 1.0) / (n + 1))
