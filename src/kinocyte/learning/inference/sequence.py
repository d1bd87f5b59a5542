"""Frames after frames: the next is read, and the last written, while one is computed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

Item = TypeVar("Item")
_POLL_S = 0.2


def ahead(items: Iterable[Item], *, depth: int = 2) -> Iterator[Item]:
    """Yield items in order while a thread makes the next ones; at most ``depth`` wait.

    An error in making an item is raised where the item would have come. Where the reader stops, so does the thread.

    Parameters
    ----------
    items : iterable
        Consumed by the thread.
    depth : int
        How many items may wait to be taken.
    """
    queue: Queue[tuple[bool, Item | BaseException | None]] = Queue(maxsize=max(depth, 1))
    stop = threading.Event()

    def put(entry: tuple[bool, Item | BaseException | None]) -> None:
        while not stop.is_set():
            try:
                queue.put(entry, timeout=_POLL_S)
            except Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put((True, item))
                if stop.is_set():
                    return
            put((False, None))
        except BaseException as error:  # noqa: BLE001 - raised again by the reader
            put((False, error))

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                more, item = queue.get(timeout=_POLL_S)
            except Empty:
                continue
            if not more:
                if isinstance(item, BaseException):
                    raise item
                return
            yield item  # type: ignore[misc]  # an item where more is true
    finally:
        stop.set()
        thread.join()
