"""What the previews of a window keep, so that a changed value costs what it changes. No Qt."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from kinocyte.app.movies import FrameStore
from kinocyte.core.method import Method
from kinocyte.experiment.position import Position
from kinocyte.pipeline.steps.restoring import restored_movie

_T = TypeVar("_T")
#: Bytes of frames, as steps see them, and of label images of the steps before.
_KEPT_BYTES = 256 * 2**20
#: A frame larger than this is computed anew: what its stages keep is several times its size.
_LARGE_BYTES = 64 * 2**20
#: Fitted movies and tables; both are small.
_KEPT_RESULTS = 24


class Memory:
    """Frames before a step, movies to which corrections were fitted, and what the steps before a step found.

    All of it goes with `forget`, which is called when the store may hold something else.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Keep nothing of what was."""
        with self._guard:
            self._frames = FrameStore(_KEPT_BYTES)
            self._results: OrderedDict[str, Any] = OrderedDict()
            self._stages: tuple[str, dict[str, Any]] = ("", {})

    def once(self, what: Sequence[Any], make: Callable[[], _T]) -> _T:
        """Return a small result, which is made where it is not kept.

        Parameters
        ----------
        what : sequence
            All that the result depends on: methods, and values that JSON can write.
        make : callable
            Makes it.
        """
        key, results = _key(what), self._results
        with self._guard:
            if key in results:
                results.move_to_end(key)
                kept: _T = results[key]
                return kept
        made = make()
        with self._guard:
            results[key] = made
            while len(results) > _KEPT_RESULTS:
                results.popitem(last=False)
        return made

    def array(self, what: Sequence[Any], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return an array, which is made where it is not kept; it must not be written to."""
        return self._frames.get(_key(what), make)

    def stages(self, what: Sequence[Any], n_bytes: int) -> dict[str, Any]:
        """Return what a method keeps of its last answer about the same frame; empty for another frame."""
        if n_bytes > _LARGE_BYTES:
            return {}
        key = _key(what)
        with self._guard:
            if self._stages[0] != key:
                self._stages = key, {}
            return self._stages[1]

    # ------------------------------------------------------------ pixels
    def restored(self, position: Position, channel: str, restorers: Sequence[Method], seed: int) -> Any:
        """Return a channel after corrections, read and corrected frame by frame, each frame once."""
        what = [position.place, channel, restorers, seed]
        return _Kept(self, what, self.once(what, lambda: restored_movie(position, channel, restorers, seed)))

    def seen(
        self, position: Position, frame: int, channels: Sequence[str], restorers: Sequence[Method], seed: int
    ) -> Mapping[str, NDArray[Any]]:
        """Return channels of a frame as a step will see them; all of them where none is named."""
        image = position.image()
        for channel in channels:
            image.channel_index(channel)  # a wrong name is refused with the nearest right one
        wanted = tuple(channels) or image.channels
        if image.place != position.image("raw").place or not restorers:
            return {c: self.array([image.place, c, frame], partial(image.frame, frame, c)) for c in wanted}
        return {c: self.restored(position, c, restorers, seed)[frame] for c in wanted}


class _Kept:
    """A movie whose frames are kept."""

    def __init__(self, memory: Memory, what: list[Any], movie: Any) -> None:
        self._memory, self._what, self._movie = memory, what, movie
        self.shape, self.ndim, self.dtype = movie.shape, movie.ndim, movie.dtype

    def __len__(self) -> int:
        return len(self._movie)

    def __getitem__(self, frame: int) -> NDArray[Any]:
        return self._memory.array([*self._what, int(frame)], lambda: np.asarray(self._movie[frame]))


def _key(what: Any) -> str:
    return json.dumps(what, default=_plain)


def _plain(value: Any) -> Any:
    """Return a method, or a part of one, as what JSON can write."""
    if isinstance(value, Method):
        return [value.kind, value.name(), value.model_dump(mode="json")]
    if isinstance(value, BaseModel):
        return [type(value).__name__, value.model_dump(mode="json")]
    msg = f"{type(value).__name__} cannot be part of a key"
    raise TypeError(msg)
