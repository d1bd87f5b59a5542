"""Cells within reach of each other: a sweep along x in every frame.

The neighbours of a frame stand in the order of x. From the place where a cell would stand among them only those are
looked at that are near enough in x, to both sides; nothing has to be built, and every order is settled by distance and
then by place in the table, so that ties never depend on chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def sweep(
    reference_um: Floats, neighbour_um: Floats, starts: tuple[Ints, Ints], *, reach_um: float, keep: int, within: bool
) -> tuple[Ints, Ints]:
    """Return the neighbours of each reference cell.

    Parameters
    ----------
    reference_um, neighbour_um : array of float64, (n, 3) and (m, 3)
        Positions, frame after frame.
    starts : tuple of two arrays of int64, (f + 1,)
        Where the cells of each frame begin on either side.
    reach_um : float
        Largest distance, itself included; infinity for none.
    keep : int
        Keep only so many nearest neighbours; 0 keeps all.
    within : bool
        Both sides are the same cells; a cell is not its own neighbour.

    Returns
    -------
    reference, neighbour : array of int64, (pairs,)
        Rows of both sides, sorted by reference and neighbour.
    """
    frame = np.repeat(np.arange(len(starts[1]) - 1), np.diff(starts[1]))
    by_x = np.lexsort((neighbour_um[:, 0], frame))
    ordered = np.ascontiguousarray(neighbour_um[by_x])
    if keep:
        counts, found = _nearest(reference_um, ordered, by_x, starts, reach_um, keep, within)
    else:
        counts, found = _all_within(reference_um, ordered, by_x, starts, reach_um, within)
    # one sort of plain numbers; sorting in the kernel would take seconds to compile
    width = max(len(neighbour_um), 1)
    code = np.repeat(np.arange(len(reference_um)) * width, counts) + found
    code.sort()
    return code // width, code % width


@kernel
def _first_at(ordered: Any, a: int, b: int, x: float) -> int:
    """Return the first row of ``a .. b`` whose x is not below a value."""
    while a < b:
        middle = (a + b) // 2
        if ordered[middle, 0] < x:
            a = middle + 1
        else:
            b = middle
    return a


@kernel
def _all_within(reference: Any, ordered: Any, by_x: Any, starts: Any, reach: float, within: bool) -> Any:  # noqa: PLR0917 - numba takes no keywords
    n = len(reference)
    counts = np.zeros(n, np.int64)
    found = np.empty(max(1024, 4 * n), np.int64)
    total, roughly = 0, reach * reach * (1.0 + 1e-9)
    for f in range(len(starts[0]) - 1):
        a, b = starts[1][f], starts[1][f + 1]
        for i in range(starts[0][f], starts[0][f + 1]):
            begin = total
            # a hair further, as the difference of two coordinates is rounded otherwise than their sum
            low = reference[i, 0] - reach - 1e-9 * (abs(reference[i, 0]) + reach)
            for k in range(_first_at(ordered, a, b, low), b):
                dx = ordered[k, 0] - reference[i, 0]
                if dx > reach:
                    break
                dy, dz = ordered[k, 1] - reference[i, 1], ordered[k, 2] - reference[i, 2]
                square = dx * dx + dy * dy + dz * dz
                if square <= roughly and np.sqrt(square) <= reach and not (within and by_x[k] == i):
                    if total == len(found):
                        wider = np.empty(2 * total, np.int64)
                        wider[:total] = found
                        found = wider
                    found[total] = by_x[k]
                    total += 1
            counts[i] = total - begin
    return counts, found[:total]


@kernel
def _nearest(  # noqa: PLR0917 - numba takes no keywords
    reference: Any, ordered: Any, by_x: Any, starts: Any, reach: float, keep: int, within: bool
) -> Any:  # fmt: skip
    n = len(reference)
    counts = np.zeros(n, np.int64)
    found = np.empty(n * keep, np.int64)
    near = np.empty(keep)
    total = 0
    for f in range(len(starts[0]) - 1):
        a, b = starts[1][f], starts[1][f + 1]
        for i in range(starts[0][f], starts[0][f + 1]):
            middle = _first_at(ordered, a, b, reference[i, 0])
            left, right, count = middle - 1, middle, 0
            while left >= a or right < b:
                # the side that is nearer in x goes first
                ahead = ordered[right, 0] - reference[i, 0] if right < b else np.inf
                behind = reference[i, 0] - ordered[left, 0] if left >= a else np.inf
                limit = near[count - 1] if count == keep else reach
                if min(ahead, behind) > limit:
                    break
                if ahead <= behind:
                    k, right = right, right + 1
                else:
                    k, left = left, left - 1
                dx, dy = ordered[k, 0] - reference[i, 0], ordered[k, 1] - reference[i, 1]
                dz = ordered[k, 2] - reference[i, 2]
                d = np.sqrt(dx * dx + dy * dy + dz * dz)
                if d <= reach and not (within and by_x[k] == i):
                    count = _insert(d, by_x[k], near, found[total : total + keep], count)
            counts[i] = count
            total += count
    return counts, found[:total]


@kernel
def _insert(d: float, row: int, near: Any, kept: Any, count: int) -> int:
    """Insert a neighbour where distance and row tell, drop what no longer fits, return how many there are."""
    at = count
    while at > 0 and (d < near[at - 1] or (d == near[at - 1] and row < kept[at - 1])):
        at -= 1
    if at == len(kept):
        return count
    last = min(count, len(kept) - 1)
    for j in range(last, at, -1):
        near[j], kept[j] = near[j - 1], kept[j - 1]
    near[at], kept[at] = d, row
    return last + 1
