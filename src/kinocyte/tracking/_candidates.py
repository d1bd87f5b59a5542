"""Which objects of later frames an object may be linked to: search on the grid of cells of each frame."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.core.errors import ParameterError
from kinocyte.tracking._grid import Grid, cell_of

#: candidates that are held at once, some 2 GB of them with everything that is computed about each
MOST = 50_000_000


class Candidates(NamedTuple):
    """Possible links: targets ``target[start[i]:start[i + 1]]`` of ``i``, at ``square_um2``."""

    start: NDArray[np.int64]
    target: NDArray[np.int32]
    square_um2: NDArray[np.float64]


def search(
    position_um: NDArray[np.float64],
    first: NDArray[np.int64],
    grid: Grid,
    *,
    frames: NDArray[np.int64],
    reach_um2: NDArray[np.float64],
    keep: int = 0,
    step_um: NDArray[np.float64] | None = None,
    source: NDArray[np.bool_] | None = None,
    target: NDArray[np.bool_] | None = None,
) -> Candidates:
    """Return for each object the objects within reach in later frames.

    Parameters
    ----------
    position_um : numpy.ndarray of float64, shape (n, 3)
        Positions, sorted by frame.
    first : numpy.ndarray of int64, shape (f + 1,)
        First object of each frame.
    grid : Grid
        Grid of these objects.
    frames : numpy.ndarray of int64, shape (f,)
        Frame numbers, ascending.
    reach_um2 : numpy.ndarray of float64, shape (1, g) or (n, g)
        Largest squared distance for a difference of 1 .. g frames, for all objects or for each; negative = none.
    keep : int
        Keep only so many nearest objects per later frame; 0 keeps all.
    step_um : numpy.ndarray of float64, shape (n, g, 3), optional
        By how much each object is expected to move in 1 .. g frames; not at all where left out.
    source, target : numpy.ndarray of bool, shape (n,), optional
        Objects that may be sources or targets; all where left out.

    Returns
    -------
    Candidates
        Per object by later frame; within one by distance and then order when ``keep`` is given.

    Raises
    ------
    ParameterError
        If all pairs are asked for and there are too many of them.
    """
    n = len(position_um)
    yes = np.ones(n, np.bool_)
    allowed = yes if target is None else target
    start, found, square, stuck = _search(
        np.zeros((1, 0, 3)) if step_um is None else step_um,
        first,
        grid,
        position_um,
        position_um[grid.member],
        frames,
        np.ascontiguousarray(reach_um2),
        keep,
        yes if source is None else source,
        (allowed, *_neighbours(grid, allowed)),
    )
    if stuck >= 0:
        msg = (
            f"More than {MOST // 1_000_000} million pairs of objects are within the largest distance up to frame "
            f"{frames[stuck]}; give smaller distances, or link with 'lap' without compatible = \"trackmate\", which "
            "looks at near ones first."
        )
        raise ParameterError(msg)
    return Candidates(start, found, square)


def _neighbours(grid: Grid, allowed: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each place in ``grid.member`` the next and the last allowed one; empty where no cell is crowded."""
    if not len(grid.run):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    n = len(grid.member)
    yes, here = allowed[grid.member], np.arange(n)
    onward = np.minimum.accumulate(np.where(yes, here, n)[::-1])[::-1]
    back = np.maximum.accumulate(np.where(yes, here, -1))
    return np.append(onward, n), back


@kernel
def _insert(square: float, j: int, shift: int, kept: Any, count: int) -> int:
    """Insert an object into the sorted list of the nearest.

    Of equally near ones that comes first whose place in its frame is most like that of the one they are near to, so
    that many objects in one place find a partner each.
    """
    near, at = kept
    k = count
    if count == len(near):
        k = count - 1
        if square > near[k] or (square == near[k] and abs(j - shift) >= abs(at[k] - shift)):
            return count
    while k > 0 and (near[k - 1] > square or (near[k - 1] == square and abs(at[k - 1] - shift) > abs(j - shift))):
        near[k], at[k] = near[k - 1], at[k - 1]
        k -= 1
    near[k], at[k] = square, j
    return min(count + 1, len(near))


@kernel
def _unseen_from(x: Any, c: Any, r: int, low: Any, h: float, shape: Any) -> float:  # noqa: PLR0917 - numba calls by position
    """Return a distance below which no object lies outside the block of cells searched so far."""
    bound = np.inf
    for a in range(3):
        if c[a] - r > 0:
            bound = min(bound, x[a] - (low[a] + (c[a] - r) * h))
        if c[a] + r < shape[a] - 1:
            bound = min(bound, low[a] + (c[a] + r + 1) * h - x[a])
    return bound


@kernel
def _of_run(square: float, m: int, shift: int, grid: Any, among: Any, kept: Any, count: int) -> int:  # noqa: PLR0917 - numba calls by position
    """Of objects that share a position insert those whose place is most like that of the one they are near to."""
    member, run = grid[5], grid[6]
    _, _, onward, back = among
    middle = m + np.searchsorted(member[m : run[m]], shift)
    k = onward[middle]
    for _ in range(len(kept[0])):
        if k >= run[m]:
            break
        count = _insert(square, member[k], shift, kept, count)
        k = onward[k + 1]
    k = back[middle - 1] if middle > m else -1
    for _ in range(len(kept[0])):
        if k < m:
            break
        count = _insert(square, member[k], shift, kept, count)
        k = back[k - 1] if k > m else -1
    return count


@kernel
def _ring_by_ring(x: Any, f: int, shift: int, limit: float, grid: Any, among: Any, kept: Any) -> int:  # noqa: PLR0917 - numba calls by position
    """Go outwards through the cells of frame ``f`` until the nearest objects are known; return how many there are."""
    low, size, shape, offset, cell_first, member, run = grid
    where, target, _, _ = among
    near = kept[0]
    c = np.empty(3, np.int64)
    for a in range(3):
        c[a] = cell_of(x[a], low[f, a], size[f], shape[f, a])
    count, r = 0, 0
    while True:
        for z in range(max(c[2] - r, 0), min(c[2] + r, shape[f, 2] - 1) + 1):
            for y in range(max(c[1] - r, 0), min(c[1] + r, shape[f, 1] - 1) + 1):
                step = 1 if abs(z - c[2]) == r or abs(y - c[1]) == r else 2 * r
                for cx in range(c[0] - r, c[0] + r + 1, max(step, 1)):
                    if cx < 0 or cx >= shape[f, 0]:
                        continue
                    cell = offset[f] + (z * shape[f, 1] + y) * shape[f, 0] + cx
                    m = cell_first[cell]
                    while m < cell_first[cell + 1]:
                        square = (where[m, 0] - x[0]) ** 2 + (where[m, 1] - x[1]) ** 2
                        square += (where[m, 2] - x[2]) ** 2
                        if len(run) > 0 and run[m] - m > 2 * len(near):
                            if square <= limit:
                                count = _of_run(square, m, shift, grid, among, kept, count)
                            m = run[m]
                            continue
                        if square <= limit and target[member[m]]:
                            count = _insert(square, member[m], shift, kept, count)
                        m += 1
        bound = _unseen_from(x, c, r, low[f], size[f], shape[f])
        if bound > 0.0 and bound * bound > (near[count - 1] if count == len(near) else limit):
            return count
        r += 1


@kernel
def _search(  # noqa: C901, PLR0912, PLR0917 - numba calls by position; a call per block would cost more than the block
    step: Any, first: Any, grid: Any, position: Any, where: Any, frames: Any, reach: Any, keep: int,
    source: Any, target: Any,
) -> Any:  # fmt: skip
    """Visit the objects in order and their later frames in order; grow the output as needed."""
    low, size, shape, offset, cell_first, member, run = grid
    allowed = target[0]
    n = len(position)
    start = np.zeros(n + 1, np.int64)
    room, total = max(n * 4, 1024), 0
    found, square = np.empty(room, np.int32), np.empty(room)
    at = np.empty(3)
    expected, common = step.shape[1] > 0, len(reach) == 1
    for f in range(len(first) - 1):
        for i in range(first[f], first[f + 1]):
            for b in range(f + 1, len(first) - 1):
                gap = frames[b] - frames[f]
                if gap > reach.shape[1] or not source[i]:
                    break
                limit = reach[0 if common else i, gap - 1]
                if limit < 0.0:
                    continue
                x, y, z = position[i, 0], position[i, 1], position[i, 2]
                if expected:
                    x, y, z = x + step[i, gap - 1, 0], y + step[i, gap - 1, 1], z + step[i, gap - 1, 2]
                radius, shift = np.sqrt(limit), first[b] + i - first[f]
                wide, high = shape[b, 0], shape[b, 1]
                x0, x1 = cell_of(x - radius, low[b, 0], size[b], wide), cell_of(x + radius, low[b, 0], size[b], wide)
                y0, y1 = cell_of(y - radius, low[b, 1], size[b], high), cell_of(y + radius, low[b, 1], size[b], high)
                z0, z1 = 0, 0
                if shape[b, 2] > 1:
                    z0 = cell_of(z - radius, low[b, 2], size[b], shape[b, 2])
                    z1 = cell_of(z + radius, low[b, 2], size[b], shape[b, 2])
                count, cells = 0, (x1 - x0 + 1) * (y1 - y0 + 1) * (z1 - z0 + 1)
                many = keep > 0 and (cells > 4 * keep or len(run) > 0)
                if total + keep > room:
                    room, found, square = _grow(found, square, total, total + keep)
                if many:
                    at[0], at[1], at[2] = x, y, z
                    kept = (square[total : total + keep], found[total : total + keep])
                    count = _ring_by_ring(at, b, shift, limit, grid, (where, *target), kept)
                    z1 = z0 - 1
                for cz in range(z0, z1 + 1):
                    for cy in range(y0, y1 + 1):
                        # a row of cells along x is one run of objects
                        row = offset[b] + (cz * high + cy) * wide
                        begin, end = cell_first[row + x0], cell_first[row + x1 + 1]
                        if total + count + end - begin > room:
                            room, found, square = _grow(found, square, total + count, total + count + end - begin)
                        for m in range(begin, end):
                            d = (where[m, 0] - x) ** 2 + (where[m, 1] - y) ** 2 + (where[m, 2] - z) ** 2
                            if d <= limit and allowed[member[m]]:
                                found[total + count], square[total + count] = member[m], d
                                count += 1
                if keep > 0 and not many and count > 1:
                    count = _nearest(square, found, total, count, keep, shift)
                total += count
                if keep == 0 and total > MOST:
                    return start, found[:0], square[:0], b
            start[i + 1] = total
    return start, found[:total], square[:total], -1


@kernel
def _nearest(square: Any, found: Any, first: int, count: int, keep: int, shift: int) -> int:  # noqa: PLR0917 - numba calls by position
    """Sort the nearest of the objects at ``first`` .. to the front and return how many are kept."""
    if count > keep:
        kept = (square[first : first + keep], found[first : first + keep])
        filled = 0
        for k in range(first, first + count):
            filled = _insert(square[k], found[k], shift, kept, filled)
        return filled
    for k in range(first + 1, first + count):  # the same without a look at what is too many
        near, at, place = square[k], found[k], k
        while place > first and (
            square[place - 1] > near or (square[place - 1] == near and abs(found[place - 1] - shift) > abs(at - shift))
        ):
            square[place], found[place] = square[place - 1], found[place - 1]
            place -= 1
        square[place], found[place] = near, at
    return count


@kernel
def _grow(found: Any, square: Any, used: int, needed: int) -> Any:
    """Return longer arrays that begin with what is in use."""
    room = needed * 3 // 2
    wider, longer = np.empty(room, np.int32), np.empty(room)
    for k in range(used):
        wider[k], longer[k] = found[k], square[k]
    return room, wider, longer
