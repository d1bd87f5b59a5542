"""How clearly a link beats its best alternative."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel


def margins(
    start: NDArray[np.int64],
    target: NDArray[np.int32],
    worth: NDArray[np.float64],
    edge: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return for each object by how much its link to the next one beats the best exchange.

    The alternatives of a link are to leave both ends alone, and each exchange by which one of its ends takes another
    candidate, whose former partner takes the other end if the two are candidates of each other.

    Parameters
    ----------
    start, target, worth : numpy.ndarray
        Candidates ``start[i]:start[i + 1]`` of object ``i``, with what they are worth.
    edge : numpy.ndarray of int64, shape (n,)
        Chosen candidate of each object, -1 where there is none.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
        In the unit of ``worth``, >= 0; 0 where there is no link.
    """
    return _margins(start, target, worth, edge)  # type: ignore[no-any-return] # numba has no types


def confidence(margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``tanh(margin / 2)``: how much more probable a link is than its best alternative.

    Of two hypotheses whose log odds are ``margin`` the better has the probability ``p = 1 / (1 + exp(-margin))``;
    the result is ``p - (1 - p)``: 0 for a tie, 1 where nothing else is possible.
    """
    return np.tanh(np.maximum(margin, 0.0) / 2.0)


@kernel
def _margins(start: Any, target: Any, worth: Any, edge: Any) -> Any:
    n = len(start) - 1
    owner = np.full(target.max() + 1 if len(target) else 0, -1, np.int64)
    out = np.zeros(n)
    for i in range(n):
        if edge[i] >= 0:
            owner[target[edge[i]]] = i
            out[i] = worth[edge[i]]
    for a in range(n):
        ja = target[edge[a]] if edge[a] >= 0 else -1
        for e in range(start[a], start[a + 1]):
            b = target[e]
            if b == ja or worth[e] <= 0.0:
                continue
            ib = owner[b]
            loss = -worth[e]
            if ja >= 0:
                loss += worth[edge[a]]
            if ib >= 0:
                loss += worth[edge[ib]]
            if ja >= 0 and ib >= 0:
                for k in range(start[ib], start[ib + 1]):
                    if target[k] == ja and worth[k] > 0.0:
                        loss -= worth[k]
            if ja >= 0:
                out[a] = min(out[a], max(loss, 0.0))
            if ib >= 0:
                out[ib] = min(out[ib], max(loss, 0.0))
    return out
