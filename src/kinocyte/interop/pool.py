"""Open files lent to one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
H = TypeVar("H")


class Pool(Generic[K, H]):
    """Handles that are opened when asked for and closed when others are needed.

    Parameters
    ----------
    opener : callable
        Opens the handle of a key.
    closer : callable
        Closes a handle.
    idle : int
        Handles that may stay open while nobody uses them.
    """

    def __init__(self, opener: Callable[[K], H], closer: Callable[[H], None], *, idle: int = 4) -> None:
        self._open, self._close_one = opener, closer
        self._idle: list[tuple[K, H]] = []
        self._limit = idle
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, key: K) -> Iterator[H]:
        """Lend a handle to the calling thread; it is closed if the caller fails."""
        with self._lock:
            found = next((i for i, (k, _) in enumerate(self._idle) if k == key), None)
            handle = self._idle.pop(found)[1] if found is not None else None
        if handle is None:
            handle = self._open(key)
        try:
            yield handle
        except BaseException:
            self._close_one(handle)
            raise
        surplus = []
        with self._lock:
            self._idle.append((key, handle))
            while len(self._idle) > self._limit:
                surplus.append(self._idle.pop(0)[1])
        for old in surplus:
            self._close_one(old)

    def close(self) -> None:
        """Close all handles that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, handle in idle:
            self._close_one(handle)
