"""Pixels and labels, read one frame at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, StoreError, nearest
from kinocyte.core.scale import Scale
from kinocyte.experiment.checks import checksum, read_checks
from kinocyte.experiment.groups import read_attributes, read_json
from kinocyte.experiment.ngff import Multiscale, parse_multiscale
from kinocyte.experiment.storage import Storage

if TYPE_CHECKING:
    import zarr

#: rests before a frame that does not agree with its checksum is read again: a run that ends needs less
_WAITS_S = (0.02, 0.1)
_PLAIN_TYPES = frozenset(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)) - {"float8"}


class _Frames:
    """An OME-Zarr image group; arrays are opened on first use and never read whole."""

    @property
    def _mend(self) -> str:
        """Return what to do about a damaged frame."""
        root, _, name = self._path.rpartition("/")
        if name == "corrected" and root:
            return _again(self._storage.at(f"{root}/records/correction.json"))
        return "restore it from a backup or import the position again"

    def __init__(self, storage: Storage, path: str, *, times_min: Sequence[float] | None = None) -> None:
        self._storage = storage
        self._path = path
        self._times_min = times_min
        attributes = read_attributes(storage, path)
        if attributes is None:
            msg = f"There is no image at {storage.at(path)}."
            raise StoreError(msg)
        self._meta: Multiscale = parse_multiscale(attributes, storage.at(path))

    def __repr__(self) -> str:
        """Show the place, shape and type."""
        return f"{type(self).__name__}({self.place!r}, {self.axes}={self.shape}, {self.dtype})"

    @property
    def place(self) -> str:
        """Return the full path or URL of the image group."""
        return self._storage.at(self._path)

    @cached_property
    def _levels(self) -> list[zarr.Array[Any]]:
        return [self._open(level) for level in self._meta.levels]

    def _open(self, level: str) -> zarr.Array[Any]:
        import zarr

        store = self._storage.zarr_store(f"{self._path}/{level}" if self._path else level, read_only=True)
        try:
            return zarr.open_array(store, mode="r")
        except (FileNotFoundError, ValueError, KeyError) as error:
            why = f"The pixels at {self.place}/{level} cannot be read ({error}); import the position again."
            raise StoreError(self._gone() or why) from error

    @property
    def axes(self) -> str:
        """Return the names of the stored axes in order, a part of ``tczyx``."""
        return self._meta.axes

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Return the stored shape at full resolution, read from the metadata alone: planning opens no arrays."""
        document = self._document
        if isinstance(document.get("shape"), list):
            shape = tuple(int(n) for n in document["shape"])
            if len(shape) == len(self.axes):
                return shape
        msg = f"The pixels at {self.place}/{self._meta.levels[0]} are absent or damaged; import the position again."
        raise StoreError(msg)

    @cached_property
    def _document(self) -> Mapping[str, Any]:
        """Return what the array of full resolution says of itself."""
        folder = f"{self._path}/{self._meta.levels[0]}" if self._path else self._meta.levels[0]
        found = (read_json(self._storage, f"{folder}/{name}") for name in ("zarr.json", ".zarray"))
        return next((d for d in found if d is not None), {})

    @property
    def is_sharded(self) -> bool:
        """Tell whether chunks share files."""
        codecs = self._document.get("codecs")
        listed = codecs if isinstance(codecs, list) else []
        return any(isinstance(c, Mapping) and c.get("name") == "sharding_indexed" for c in listed)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of a pixel, read from the metadata alone where these say it in one word."""
        named = self._document.get("data_type")
        if isinstance(named, str) and named in _PLAIN_TYPES:
            return np.dtype(named)
        return np.dtype(self._levels[0].dtype)

    def size(self, axis: str) -> int:
        """Return the length of an axis; 1 if it is not stored."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def n_frames(self) -> int:
        """Return the number of frames."""
        return self.size("t")

    @property
    def n_levels(self) -> int:
        """Return the number of resolutions."""
        return len(self._levels)

    @property
    def is_3d(self) -> bool:
        """Tell whether frames have planes: more than one, or a stated distance of planes."""
        return "z" in self.axes

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Return the shape of one channel of one frame, (y, x) or (z, y, x)."""
        return tuple(self.size(a) for a in ("zyx" if self.is_3d else "yx"))

    @cached_property
    def scale(self) -> Scale:
        """Return the calibration."""
        return self._meta.scale(self.place, self._times_min)

    def _check_frame(self, frame: int) -> int:
        if not 0 <= frame < self.n_frames:
            msg = f"{self.place} has frames 0 to {self.n_frames - 1}; there is no frame {frame}."
            raise ParameterError(msg)
        return frame

    def _read(self, frame: int, channel: int | None, level: int) -> NDArray[Any]:
        array = self._levels[level]
        index = tuple(
            frame if a == "t" else (slice(None) if channel is None else channel) if a == "c" else slice(None)
            for a in self.axes
        )
        cause: Exception | None = None
        for wait_s in (*_WAITS_S, 0.0):
            try:
                pixels = np.asarray(array[index])
            except (OSError, ValueError, RuntimeError) as error:
                cause = error
            else:
                cause = None
                if level > 0 or self._is_as_written(frame, channel, pixels):
                    return pixels
            time.sleep(wait_s)  # a run may be putting a new image in the place of this one
            self._checks = read_checks(self._storage, self._path) or self._checks
        why = str(cause) if cause is not None else "its pixels are not those that were written"
        raise StoreError(self._damaged(frame, why)) from cause

    @cached_property
    def _checks(self) -> list[list[int]] | None:
        return read_checks(self._storage, self._path)

    def _is_as_written(self, frame: int, channel: int | None, pixels: NDArray[Any]) -> bool:
        """Compare a frame with the checksum that was noted when it was written, where one was."""
        if self._checks is None or frame >= len(self._checks):
            return True
        noted = self._checks[frame]
        if channel is not None and len(noted) == self.size("c"):
            return checksum(pixels) == noted[channel]
        return len(noted) != 1 or checksum(pixels) == noted[0]

    def _gone(self) -> str:
        """Return what to say where the whole image is away, else nothing."""
        if self._storage.is_web or self._storage.exists(self._path):
            return ""
        return f"There is no image at {self.place} any more: it was moved or deleted, or its disk is not there."

    def _damaged(self, frame: int, why: str) -> str:
        if gone := self._gone():  # chunks that are missing read as black
            return gone
        return f"Frame {frame} of {self.place} is damaged ({why}); {self._mend}."


def _again(record: str) -> str:
    """Return how to have an image that a step made made again."""
    return f"restore it from a backup, or remove {record} and run the same command again to make it anew"


class Image(_Frames):
    """Pixels of one position.

    Attributes
    ----------
    channels : tuple of str
        Names of the channels in stored order.
    """

    def __init__(
        self,
        storage: Storage,
        path: str,
        *,
        times_min: Sequence[float] | None = None,
        channels: Sequence[str] | None = None,
        scale: Scale | None = None,
    ) -> None:
        super().__init__(storage, path, times_min=times_min)
        n = self.size("c")
        known = tuple(channels) if channels else self._meta.channels
        self.channels: tuple[str, ...] = known if len(known) == n else tuple(f"channel_{i}" for i in range(n))
        if scale is not None:
            self.__dict__["scale"] = scale

    def channel_index(self, channel: str | int) -> int:
        """Return the number of a channel given by name or number.

        Raises
        ------
        ParameterError
            If there is no such channel; the nearest name is suggested.
        """
        if isinstance(channel, int):
            if not 0 <= channel < len(self.channels):
                msg = f"{self.place} has channels 0 to {len(self.channels) - 1}; there is no channel {channel}."
                raise ParameterError(msg)
            return channel
        if channel not in self.channels:
            msg = f"{self.place} has no channel '{channel}'; {nearest(channel, self.channels)}."
            raise ParameterError(msg)
        return self.channels.index(channel)

    def frame(self, frame: int, channel: str | int, *, level: int = 0) -> NDArray[Any]:
        """Return one channel of one frame, (y, x) or (z, y, x), in the stored dtype."""
        index = self.channel_index(channel)
        return self._read(self._check_frame(frame), index if "c" in self.axes else None, level)

    def movie(self, channel: str | int) -> ChannelMovie:
        """Return one channel as a sequence of frames, read as they are asked for."""
        return ChannelMovie(self, channel)

    def frame_channels(self, frame: int, channels: Sequence[str] | None = None) -> Mapping[str, NDArray[Any]]:
        """Return several channels of one frame by name; all if none are named."""
        return {c: self.frame(frame, c) for c in (self.channels if channels is None else channels)}


class ChannelMovie:
    """One channel as a movie whose frames are read when they are asked for: ``movie[t]`` is (y, x) or (z, y, x)."""

    def __init__(self, image: Image, channel: str | int) -> None:
        self._image, self._channel = image, image.channel_index(channel)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (t, y, x) or (t, z, y, x)."""
        return (self._image.n_frames, *self._image.frame_shape)

    @property
    def ndim(self) -> int:
        """Return 3 or 4."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of a pixel."""
        return self._image.dtype

    def __len__(self) -> int:
        """Return the number of frames."""
        return self._image.n_frames

    def __getitem__(self, frame: int) -> NDArray[Any]:
        """Return one frame; negative numbers count from the end."""
        n = len(self)
        if not -n <= frame < n:
            msg = f"frame {frame} of a movie of {n}"
            raise IndexError(msg)
        return self._image.frame(frame % n, self._channel)


class Labels(_Frames):
    """Label image of one population; 0 is background, values are per frame."""

    @property
    def _mend(self) -> str:
        root, _, name = self._path.rpartition("/")
        return _again(self._storage.at(f"{root.removesuffix('labels')}records/{name}.segmentation.json"))

    def frame(self, frame: int, *, level: int = 0) -> NDArray[np.uint32]:
        """Return the label image of one frame, (y, x) or (z, y, x), uint32.

        Raises
        ------
        StoreError
            If the stored labels are negative or exceed uint32, as broken files of other programs do.
        """
        raw = self._read(self._check_frame(frame), 0 if "c" in self.axes else None, level)
        if raw.dtype == np.uint32:
            return raw
        if raw.size and (raw.min() < 0 or raw.max() > np.iinfo(np.uint32).max):
            msg = f"Labels in frame {frame} of {self.place} are negative or larger than 4294967295; renumber them."
            raise StoreError(msg)
        return raw.astype(np.uint32)
