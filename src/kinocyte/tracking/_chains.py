"""First links of objects that keep their direction, found by looking several frames ahead and back.

Where objects move farther than they stand apart, the nearest one of the next frame is mostly a stranger, and no
velocity can be learnt from such links. Here a link is judged by how straight it goes on: the links ``i -> j`` and
``j -> k`` together are worth ::

    s = -|x_k - 2 x_j + x_i|^2 / (2 v) - ln[ (2 pi v)^(n/2) b ]

against ``k`` being there by chance, with the variance ``v`` per axis of the change of steps and the density ``b`` of
objects. The best chains forwards and backwards, each further link counting less, are found by one sweep over the links
in either direction; the matching of largest total worth is taken, and ``v`` is learnt from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.tracking._assignment import assign
from kinocyte.tracking._candidates import search
from kinocyte.tracking._grid import Grid
from kinocyte.tracking._motion import MEDIAN
from kinocyte.tracking._points import Points

_MOST = 24  # candidates an object, the nearest ones
_PASSES = 4
_FADE = 0.7  # weight of a link from one to the next along a chain
_LEAST = 20  # changes of steps from which a variance can be learnt


def straight_chains(at: Points, grid: Grid, reach_um: float) -> NDArray[np.int64]:
    """Return the next object of each object, -1 where there is none, shape (n,).

    Parameters
    ----------
    at : Points
        The objects.
    grid : Grid
        Grid of these objects.
    reach_um : float
        Largest distance from one frame to the next.
    """
    found = search(at.position_um, at.first, grid, frames=at.frames, reach_um2=np.array([[reach_um**2]]), keep=_MOST)
    n, x = at.dimensions(), at.position_um
    extent = np.ptp(x, axis=0)[:n] + reach_um
    density = at.n / len(at.frames) / float(np.prod(extent))
    variance = (reach_um / 4.0) ** 2
    following = np.full(at.n, -1, np.int64)
    for _ in range(_PASSES):
        even = -0.5 * n * np.log(2.0 * np.pi * variance) - np.log(density)
        worth = _chains(found.start, found.target, x, variance, float(even))
        worth += 0.5 * (1.0 - found.square_um2 / (reach_um * reach_um)) + 1e-6
        edge, _, _ = assign(found.start, found.target, worth, at.n)
        following = np.where(edge >= 0, found.target[edge] if len(worth) else -1, -1).astype(np.int64)
        bend = bends(at, following)
        if len(bend) < _LEAST:
            break
        learnt = float(np.median(bend)) / MEDIAN[n]
        variance = min(max(learnt, 1e-6 * reach_um**2), variance)
    return following


def bends(at: Points, following: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the squared changes of step, in um^2, of links over one frame that follow each other."""
    frame, x = at.frame(), at.position_um
    a = np.flatnonzero(following >= 0)
    a = a[(following[following[a]] >= 0) & (frame[following[a]] - frame[a] == 1)]
    b = following[a]
    c = following[b]
    near = frame[c] - frame[b] == 1
    bend = (x[c] - 2.0 * x[b] + x[a])[near]
    return np.asarray((bend * bend).sum(axis=1), dtype=np.float64)


@kernel
def _chains(start: Any, target: Any, x: Any, variance: float, even: float) -> Any:
    """Return what the best chain through each link is worth, the link itself counting nothing."""
    n, m = len(start) - 1, len(target)
    ahead, back = np.zeros(m), np.zeros(m)
    for turn in range(2):
        for p in range(n):
            i = n - 1 - p if turn == 0 else p  # targets stand behind their sources
            for e in range(start[i], start[i + 1]):
                j = target[e]
                for f in range(start[j], start[j + 1]):
                    square = 0.0
                    for a in range(3):
                        square += (x[target[f], a] - 2.0 * x[j, a] + x[i, a]) ** 2
                    worth = even - 0.5 * square / variance
                    if turn == 0:
                        ahead[e] = max(ahead[e], worth + _FADE * ahead[f])
                    else:
                        back[f] = max(back[f], worth + _FADE * back[e])
    return ahead + back
