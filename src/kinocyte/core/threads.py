"""Two threads where the work of an item is large; results never depend on whether they are used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Elements of an array below which starting a thread costs more than it saves.
LARGE = 20_000
#: Most threads: positions are what runs in parallel.
MOST = 2


def threads() -> int:
    """Return how many threads are used: two, or fewer where the machine or ``OMP_NUM_THREADS`` has fewer.

    A worker process of dask has that variable set to 1, so that positions side by side do not get in each other's way.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(MOST, int(asked) if asked.isdecimal() else MOST, os.cpu_count() or 1))


def each(work: Callable[[Item], Result], items: Iterable[Item], size: int) -> list[Result]:
    """Return the results of a function in the order of the items.

    Parameters
    ----------
    work : callable
        Independent for each item.
    items : iterable
        What it is called with.
    size : int
        Elements of the arrays that a call works on; small ones are done one after the other.
    """
    count = threads()
    if count < 2 or size < LARGE:
        return [work(item) for item in items]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, items))


def spans(length: int) -> list[tuple[int, int]]:
    """Return begin and end of as many parts of a length as there are threads."""
    ends = [length * k // threads() for k in range(threads() + 1)]
    return list(pairwise(ends))
