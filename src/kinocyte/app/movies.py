"""Movies as napari reads them: arrays whose frames are read from the store when they are looked at."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.experiment.arrays import Image

#: Bytes of frames kept for stepping back and forth, of all movies of a window together.
_KEPT_BYTES = 256 * 2**20


class FrameStore:
    """The frames that were looked at last, up to a number of bytes."""

    def __init__(self, limit_bytes: int = _KEPT_BYTES) -> None:
        self._limit, self._bytes = limit_bytes, 0
        self._frames: OrderedDict[Any, NDArray[Any]] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: Any, read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return a frame, reading it where it is not kept."""
        with self._guard:
            if key in self._frames:
                self._frames.move_to_end(key)
                return self._frames[key]
        frame = read()
        with self._guard:
            if key not in self._frames and frame.nbytes <= self._limit:
                self._frames[key] = frame
                self._bytes += frame.nbytes
                while self._bytes > self._limit:
                    self._bytes -= self._frames.popitem(last=False)[1].nbytes
        return frame


class Frames:
    """An array (t, y, x) or (t, z, y, x) whose frames come from a function, one at a time.

    Parameters
    ----------
    read : callable
        Returns frame t.
    shape : tuple of int
        (t, y, x) or (t, z, y, x).
    dtype : dtype
        Of a pixel.
    store : FrameStore
        Keeps what was read.
    """

    def __init__(
        self, read: Callable[[int], NDArray[Any]], shape: tuple[int, ...], dtype: Any, store: FrameStore
    ) -> None:
        self._read, self._store = read, store
        self._mark = object()
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        #: set where a frame could not be read; the frame is shown black then
        self.on_trouble: Callable[[Exception], None] | None = None

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Return the number of pixels of all frames."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.shape[0]

    def frame(self, frame: int) -> NDArray[Any]:
        """Return one frame; one that cannot be read is black, and said."""
        try:
            return self._store.get((self._mark, frame), lambda: self._read(frame))
        except Exception as error:  # noqa: BLE001 - in the middle of drawing nobody could catch it
            if self.on_trouble is not None:
                self.on_trouble(error)
            return np.zeros(self.shape[1:], self.dtype)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Return pixels as numpy would; only frames that are asked for are read."""
        parts = index if isinstance(index, tuple) else (index,)
        if Ellipsis in [p for p in parts if p is Ellipsis]:
            at = next(i for i, p in enumerate(parts) if p is Ellipsis)
            fill = (slice(None),) * (self.ndim - len(parts) + 1)
            parts = (*parts[:at], *fill, *parts[at + 1 :])
        first, rest = (parts[0], parts[1:]) if parts else (slice(None), ())
        if isinstance(first, slice):
            chosen = [self.frame(t)[rest] for t in range(*first.indices(self.shape[0]))]
            return np.stack(chosen) if chosen else np.zeros((0, *self.shape[1:]), self.dtype)
        if np.ndim(first):
            return np.stack([self.frame(int(t))[rest] for t in np.asarray(first)])
        return np.asarray(self.frame(int(first) % self.shape[0])[rest])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Refuse: a whole movie does not belong into memory."""
        msg = "a whole movie is not read at once; take frames from it"
        raise TypeError(msg)


def channel_frames(image: Image, channel: str, store: FrameStore, level: int = 0) -> Frames:
    """Return one channel of a position at one resolution."""
    shape: tuple[int, ...] = image.frame_shape
    if level:
        shape = image.frame(0, channel, level=level).shape
    return Frames(lambda t: image.frame(t, channel, level=level), (image.n_frames, *shape), image.dtype, store)


def contrast_of(image: Image, channel: str) -> tuple[float, float]:
    """Return grey values between which a channel is shown: the 0.1 % and 99.8 % of three frames, in small copies."""
    level = image.n_levels - 1
    frames = sorted({0, image.n_frames // 2, image.n_frames - 1})
    values = np.concatenate([image.frame(t, channel, level=level)[..., ::4, ::4].ravel() for t in frames])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (0.1, 99.8)))
    return (low, high) if high > low else (low, low + 1.0)
