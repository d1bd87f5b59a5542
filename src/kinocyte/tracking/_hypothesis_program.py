"""The most probable set of hypotheses in which nothing is explained twice.

That is a set packing problem: hypotheses have gains, and each takes up to two ends and two beginnings of stretches. A
link or a false detection takes one of each, so that with those alone it is an assignment. A division is bounded from
above by two edges of one: its mother's end is entered twice, the second time with what the division gains beyond the
link to the other daughter; likewise the beginning into which a merge leads. The prices of that assignment are a
feasible solution of the dual program and already near its best one; coordinate descent on the dual, softened by an
entropy that is taken away by and by (Peyre and Cuturi, Computational Optimal Transport, 2019, doi:10.1561/2200000073,
chapter 4), brings them there.

The sum of the prices is an upper bound. Hypotheses that fall short of their price by more than a small window take
no part, and what is left falls apart into small components, which HiGHS solves: the linear relaxation of many of them
at once, and by integer programming those in which it is not whole. The window is widened while the set found lies
farther below the bound than a part in 5000.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.tracking._assignment import assign

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_WINDOWS = (0.3, 1.0, 2.0)  # natural logarithms
_TOLERANCE = 2e-4
_TEMPERATURES = np.array([0.1, 0.05, 0.02, 0.0])
_SWEEPS = 20
_BATCH = 3000  # hypotheses of a linear program: larger ones take longer for each
_WHOLE = 1e-7  # what is nearer to a whole number is one


class _Edges(NamedTuple):
    """Edges of an assignment: a row (an end), a column (a beginning), and what it is worth."""

    row: Ints
    column: Ints
    worth: Floats

    def best(self, columns: int) -> _Edges:
        """Return the best edge of each pair, sorted by row and column."""
        code = self.row * columns + self.column
        order = np.lexsort((-self.worth, code))
        code = code[order]
        order = order[np.concatenate([[True], code[1:] != code[:-1]])[: len(code)]]
        return _Edges(self.row[order], self.column[order], self.worth[order])


def most_probable(ends: Ints, begins: Ints, gain: Floats, count: int) -> Ints:
    """Return the set of largest gain in which no end and no beginning is explained twice.

    Parameters
    ----------
    ends, begins : numpy.ndarray of int64, shape (m, 2)
        Stretches of which each hypothesis explains the end or the beginning; -1 for none, the first one is never -1.
    gain : numpy.ndarray of float64, shape (m,)
        How much more probable each is than that they stay open, as a logarithm above 0.
    count : int
        Number of stretches.

    Returns
    -------
    numpy.ndarray of int64
        Indices of the hypotheses, sorted.
    """
    what = np.concatenate([ends, np.where(begins >= 0, begins + count, -1)], axis=1)
    hypothesis, place = np.nonzero(what >= 0)
    row = what[hypothesis, place]
    order = np.argsort(row, kind="stable")
    start = np.searchsorted(row[order], np.arange(2 * count + 1))
    price = _first_prices(ends, begins, gain, count)
    _settle(what, gain, (start, hypothesis[order]), price, _TEMPERATURES, _SWEEPS)
    slack = np.where(what >= 0, price[what], 0.0).sum(axis=1) - gain
    bound, chosen = float(price.sum()), np.empty(0, np.int64)
    for window in (*_WINDOWS, np.inf)[: None if len(gain) <= _BATCH else -1]:  # all of them where they are few
        near = np.flatnonzero(slack <= window)
        chosen = near[_packed(what[near], gain[near])]
        if bound - float(gain[chosen].sum()) <= _TOLERANCE * bound:
            break
    return np.sort(chosen)


def _first_prices(ends: Ints, begins: Ints, gain: Floats, count: int) -> Floats:
    """Return prices of all ends, then of all beginnings, by the assignment that bounds the program from above."""
    single = (ends[:, 1] < 0) & (begins[:, 1] < 0)
    links = _Edges(ends[single, 0], begins[single, 0], gain[single]).best(count)
    code = links.row * count + links.column

    def worth(end: Ints, begin: Ints) -> Floats:
        place = np.minimum(np.searchsorted(code, end * count + begin), max(len(code) - 1, 0))
        known = code[place] == end * count + begin if len(code) else np.zeros(len(end), np.bool_)
        return np.where(known, links.worth[place] if len(code) else 0.0, 0.0)

    pieces = [links]
    for one, other in ((0, 1), (1, 0)):
        some = np.flatnonzero(begins[:, 1] >= 0)  # divisions: the second entry of the end
        end, first, second = ends[some, 0], begins[some, one], begins[some, other]
        pieces.append(_Edges(end + count, second, gain[some] - worth(end, first)))
        some = np.flatnonzero(ends[:, 1] >= 0)  # merges: the second entry of the beginning
        first, second, begin = ends[some, one], ends[some, other], begins[some, 0]
        pieces.append(_Edges(second, begin + count, gain[some] - worth(first, begin)))
    edges = _Edges(*(np.concatenate(c) for c in zip(*pieces, strict=True))).best(2 * count)
    start = np.searchsorted(edges.row, np.arange(2 * count + 1)).astype(np.int64)
    _, of_end, of_begin = assign(start, edges.column.astype(np.int32), edges.worth, 2 * count)
    return np.concatenate([of_end[:count] + of_end[count:], of_begin[:count] + of_begin[count:]])


@kernel
def _settle(what: Any, gain: Any, taking: Any, price: Any, temperatures: Any, sweeps: int) -> None:  # noqa: PLR0917 - numba calls by position
    """Lower the sum of the prices, none of the hypotheses being left cheaper than it gains.

    ``taking`` is, for each thing to be explained, where its hypotheses begin, and these hypotheses. At a temperature a
    price is that at which as much is asked for the thing as there is of it; at 0 the least that is enough.
    """
    start, member = taking
    cover = np.zeros(len(gain))
    for h in range(len(gain)):
        for a in range(4):
            if what[h, a] >= 0:
                cover[h] += price[what[h, a]]
    for turn in range(len(temperatures) * sweeps):
        t = temperatures[turn // sweeps]
        for k in range(len(price)):
            r = k if turn % 2 == 0 else len(price) - 1 - k
            old, most = price[r], 0.0
            for q in range(start[r], start[r + 1]):
                most = max(most, gain[member[q]] - cover[member[q]] + old)
            new = most
            if t > 0.0:
                total = np.exp(-most / t)
                for q in range(start[r], start[r + 1]):
                    below = (gain[member[q]] - cover[member[q]] + old - most) / t
                    if below > -20.0:
                        total += np.exp(below)
                new += t * np.log(total)
            if abs(new - old) > 1e-6:
                price[r] = new
                for q in range(start[r], start[r + 1]):
                    cover[member[q]] += new - old


def _packed(what: Ints, gain: Floats) -> Ints:
    """Return the best set among hypotheses, component by component."""
    from scipy.sparse import csc_array
    from scipy.sparse.csgraph import connected_components

    hypothesis, place = np.nonzero(what >= 0)
    rows, row = np.unique(what[hypothesis, place], return_inverse=True)
    size = len(rows) + len(gain)
    one = np.ones(len(row))
    _, part = connected_components(csc_array((one, (row, hypothesis + len(rows))), shape=(size, size)), directed=False)
    part = np.unique(part[len(rows) :], return_inverse=True)[1]
    matrix = csc_array((one, (row, hypothesis)), shape=(len(rows), len(gain)))
    batch = (np.cumsum(np.bincount(part)) // _BATCH)[part]
    order = np.argsort(batch, kind="stable")
    borders = np.flatnonzero(np.diff(batch[order])) + 1
    return np.concatenate([some[_solved(matrix[:, some], gain[some], part[some])] for some in np.split(order, borders)])


def _solved(matrix: Any, gain: Floats, part: Ints) -> Ints:
    """Return the best set of a batch: by the linear relaxation, or by integer programming where that is not whole."""
    from scipy.optimize import linprog

    if not len(gain):
        return np.empty(0, np.int64)
    matrix = matrix[np.unique(matrix.indices)]
    relaxed = linprog(
        -gain, A_ub=matrix, b_ub=np.ones(matrix.shape[0]), bounds=(0, None), method="highs-ds",
        options={"presolve": False},
    )  # fmt: skip
    if relaxed.x is None:  # nothing chosen is a solution, so that one exists
        msg = f"HiGHS found no explanation of the tracks: {relaxed.message}"
        raise RuntimeError(msg)
    share = relaxed.x
    broken = np.unique(part[(share > _WHOLE) & (share < 1.0 - _WHOLE)])
    out = [np.flatnonzero((share > 0.5) & ~np.isin(part, broken))]
    for k in broken.tolist():
        mine = np.flatnonzero(part == k)
        out.append(mine[_whole(matrix[:, mine], gain[mine])])
    return np.concatenate(out)


def _whole(matrix: Any, gain: Floats) -> Ints:
    """Return the set of largest gain by integer programming."""
    from scipy.optimize import LinearConstraint, milp

    limit = LinearConstraint(matrix[np.unique(matrix.indices)], -np.inf, 1.0)
    solved = milp(
        -gain, constraints=limit, integrality=np.ones(len(gain)), bounds=(0, 1), options={"mip_rel_gap": _TOLERANCE / 2}
    )
    if solved.x is None:
        msg = f"HiGHS found no explanation of the tracks: {solved.message}"
        raise RuntimeError(msg)
    return np.flatnonzero(solved.x > 0.5)
