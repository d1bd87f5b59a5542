"""Writing pixels and labels frame by frame, invisible until they are whole."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import StoreError
from kinocyte.core.scale import Scale
from kinocyte.experiment.checks import checksums, write_checks
from kinocyte.experiment.groups import read_json, write_group
from kinocyte.experiment.ngff import image_attributes
from kinocyte.experiment.sharding import frames_of_shard, shard_shape
from kinocyte.experiment.storage import Storage, write_error

if TYPE_CHECKING:
    import zarr

_MAX_CHUNK_YX = 2048
_MAX_CHUNK_BYTES = 16 * 2**20
_SMALLEST_LEVEL = 1024
#: Shards of which frames are kept in memory at most.
_MOST_SHARDS = 3


def n_levels(height: int, width: int) -> int:
    """Return how many resolutions are kept, so that the last is at most 1024 pixels wide and high."""
    levels = 1
    while max(height, width) > _SMALLEST_LEVEL:
        height, width, levels = -(-height // 2), -(-width // 2), levels + 1
    return levels


def chunk_shape(shape: Sequence[int], axes: str, itemsize: int) -> tuple[int, ...]:
    """Never two frames in a chunk; several planes only while a chunk stays small."""
    y, x = min(shape[-2], _MAX_CHUNK_YX), min(shape[-1], _MAX_CHUNK_YX)
    planes = max(1, _MAX_CHUNK_BYTES // (y * x * itemsize))
    by_axis = {"t": 1, "c": 1, "z": min(planes, shape[axes.index("z")] if "z" in axes else 1), "y": y, "x": x}
    return tuple(by_axis[a] for a in axes)


def halve(plane: NDArray[Any], *, labels: bool) -> NDArray[Any]:
    """Return an array at half the resolution in y and x: the mean of 2 x 2 pixels, or one of them for labels."""
    if labels:
        return plane[..., ::2, ::2]
    y, x = plane.shape[-2:]
    padded = np.pad(plane, [(0, 0)] * (plane.ndim - 2) + [(0, y % 2), (0, x % 2)], mode="edge")
    total = sum(padded[..., i::2, j::2].astype(np.float64) for i in (0, 1) for j in (0, 1)) / 4
    return np.asarray(np.rint(total) if plane.dtype.kind in "iu" else total).astype(plane.dtype)


class ArrayWriter:
    """The arrays of one image group, written one frame at a time."""

    def __init__(
        self,
        storage: Storage,
        path: str,
        *,
        axes: str,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        labels: bool = False,
        sharded: bool = False,
    ) -> None:
        self._storage, self._path, self.axes = storage, path, axes
        self.shape, self.dtype, self._is_labels = tuple(shape), dtype, labels
        self.n_levels = n_levels(shape[-2], shape[-1])
        self.shard_frames = frames_of_shard(self.shape, dtype.itemsize) if sharded else 0
        self._arrays: list[zarr.Array[Any]] = []
        self._waiting: dict[int, dict[int, NDArray[Any]]] = {}
        self._written: set[int] = set()
        self.checks: dict[int, list[int]] = {}
        self._guard, self._one_writer = threading.Lock(), threading.Lock()

    def open(self) -> None:
        """Create the arrays, or open those an interrupted run left behind."""
        import zarr
        from zarr.codecs import BloscCodec
        from zarr.errors import ContainsArrayError

        shape = list(self.shape)
        codec = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=self.dtype.itemsize)
        for level in range(self.n_levels):
            store = self._storage.zarr_store(f"{self._path}/{level}")
            chunks = chunk_shape(shape, self.axes, self.dtype.itemsize)
            try:
                array = zarr.create_array(
                    store,
                    shape=tuple(shape),
                    dtype=self.dtype,
                    chunks=chunks,
                    shards=shard_shape(shape, chunks, self.shard_frames) if self.shard_frames else None,
                    compressors=codec,
                    fill_value=0,
                    dimension_names=list(self.axes),
                    chunk_key_encoding={"name": "default", "separator": "/"},
                )
            except (FileExistsError, ContainsArrayError):
                array = zarr.open_array(store, mode="r+")
            except OSError as error:
                raise write_error(self._storage.at(self._path), error) from error
            self._arrays.append(array)
            shape[-2:] = [-(-shape[-2] // 2), -(-shape[-1] // 2)]

    def write(self, frame: int, block: NDArray[Any]) -> list[int]:
        """Take all channels of one frame; several threads may bring different frames.

        Returns
        -------
        list of int
            The frames that are in the store now and were not before: this one, or with shards all of a shard whose
            last frame this was.
        """
        if not 0 <= frame < self.shape[0]:
            msg = f"{self._storage.at(self._path)} has {self.shape[0]} frames; there is no frame {frame}."
            raise StoreError(msg)
        if block.shape != self.shape[1:]:
            msg = f"Frame {frame} has shape {block.shape} where {self.shape[1:]} is expected; all frames must be alike."
            raise StoreError(msg)
        if block.dtype != self.dtype:
            msg = f"Frame {frame} has type {block.dtype} where {self.dtype} is expected; all frames must be alike."
            raise StoreError(msg)
        with self._guard:
            self.checks[frame] = checksums(block, channels="c" in self.axes)
        if self.shard_frames < 2:
            self._store(frame, block[None])
            return [frame]
        return self._gather(frame, block)

    def _gather(self, frame: int, block: NDArray[Any]) -> list[int]:
        """Keep a frame until its shard is complete; where very many are begun, the oldest is written as it is."""
        shard = frame // self.shard_frames
        with self._guard:
            self._waiting.setdefault(shard, {})[frame] = block.copy()
            ready = {}
            if self._members(shard) <= self._waiting[shard].keys() | self._written:
                ready = self._waiting.pop(shard)
            elif len(self._waiting) > _MOST_SHARDS:
                ready = self._waiting.pop(next(iter(self._waiting)))
        return self._put(ready)

    def _members(self, shard: int) -> set[int]:
        first = shard * self.shard_frames
        return set(range(first, min(first + self.shard_frames, self.shape[0])))

    def _put(self, ready: dict[int, NDArray[Any]]) -> list[int]:
        """Write frames of one shard: at once if they are all of it, one by one otherwise."""
        frames = sorted(ready)
        if not frames:
            return []
        if set(frames) == self._members(frames[0] // self.shard_frames):
            self._store(frames[0], np.stack([ready.pop(f) for f in frames]))
        else:
            with self._one_writer:  # the rest of the shard is read and written again
                for frame in frames:
                    self._store(frame, ready.pop(frame)[None])
        with self._guard:
            self._written |= set(frames)
        return frames

    def flush(self) -> list[int]:
        """Write the frames of shards that are not complete, and return which they were."""
        found: list[int] = []
        while True:
            with self._guard:
                if not self._waiting:
                    return found
                ready = self._waiting.pop(next(iter(self._waiting)))
            found += self._put(ready)

    def _store(self, first: int, blocks: NDArray[Any]) -> None:
        """Write frames that follow each other at every resolution."""
        try:
            for level, array in enumerate(self._arrays):
                array[first : first + len(blocks)] = blocks
                if level + 1 < self.n_levels:
                    blocks = np.stack([halve(block, labels=self._is_labels) for block in blocks])
        except OSError as error:
            raise write_error(self._storage.at(self._path), error) from error

    def resumed(self, checks: Mapping[int, list[int]]) -> None:
        """Note frames that an interrupted writer left complete, with their checksums."""
        self._written |= checks.keys()
        self.checks |= checks

    def write_checks(self) -> None:
        """Write the checksums of all frames beside the arrays."""
        write_checks(self._storage, self._path, [self.checks[t] for t in range(self.shape[0])])

    def read(self, frame: int) -> NDArray[Any]:
        """Return what was written for one frame."""
        return np.asarray(self._arrays[0][frame])

    def window(self) -> tuple[float, float]:
        """Return display limits that suit the first and last frame."""
        low, high = np.inf, -np.inf
        for frame in {0, self.shape[0] - 1}:
            block = self.read(frame)
            finite = block[np.isfinite(block)] if block.dtype.kind == "f" else block.ravel()
            if finite.size:
                a, b = np.percentile(finite[:: max(1, finite.size // 200_000)], (0.1, 99.9))
                low, high = min(low, float(a)), max(high, float(b))
        if not np.isfinite(low) or not np.isfinite(high):
            return (0.0, 1.0)
        return (low, high if high > low else low + 1.0)


class PositionWriter:
    """Pixels of one position on their way into an experiment.

    The position is invisible until `finish`. An interrupted import finds the frames that were complete in `done` and
    writes only the others.
    """

    def __init__(
        self,
        storage: Storage,
        path: str,
        *,
        shape: tuple[int, int, int, int, int],
        dtype: np.dtype[Any],
        is_3d: bool,
        channels: Sequence[str],
        scale: Scale,
        attributes: Mapping[str, Any],
        publish: Callable[[str], Any],
        sharded: bool = False,
    ) -> None:
        self._storage, self._path, self._publish = storage, path, publish
        self._channels, self._scale, self._attributes = tuple(channels), scale, dict(attributes)
        axes = "tczyx" if is_3d else "tcyx"
        stored = shape if is_3d else (shape[0], shape[1], shape[3], shape[4])
        self._arrays = ArrayWriter(storage, path, axes=axes, shape=stored, dtype=dtype, sharded=sharded)
        self._lock = threading.Lock()
        self._marks: dict[int, str] = {}
        self._claim(
            {
                "shape": list(stored),
                "dtype": dtype.str,
                "axes": axes,
                "channels": list(channels),
                "scale": scale.model_dump(mode="json"),
                **({"shard_frames": self._arrays.shard_frames} if sharded else {}),
                **self._attributes,
            }
        )
        self._arrays.open()
        self._hashes, checks = self._read_hashes()
        self._arrays.resumed(checks)

    def _claim(self, plan: dict[str, Any]) -> None:
        """Start afresh unless what an interrupted import left was made from the very same plan."""
        plan_path = f"{self._path}/.importing/plan.json"
        plan = json.loads(json.dumps(plan))
        if read_json(self._storage, plan_path) == plan:
            self._storage.sweep(self._path, deep=True)
            return
        self._storage.remove(self._path)
        write_group(self._storage, self._path, {"kinocyte": {"incomplete": True}})
        self._storage.write_bytes(plan_path, json.dumps(plan).encode())

    def _read_hashes(self) -> tuple[dict[int, str], dict[int, list[int]]]:
        """Return fingerprint and checksums of the frames that an interrupted import completed."""
        found, checks = {}, {}
        for name in self._storage.listdir(f"{self._path}/.importing"):
            if name.endswith(".hash") and not name.startswith("."):
                content = self._storage.read_bytes(f"{self._path}/.importing/{name}")
                mark, *sums = (content or b"").decode().split()
                if sums:  # without them the frame is written again
                    found[int(name.removesuffix(".hash"))] = mark
                    checks[int(name.removesuffix(".hash"))] = [int(n) for n in sums]
        return found, checks

    @property
    def done(self) -> frozenset[int]:
        """Return the frames that are complete."""
        return frozenset(self._hashes)

    def write(self, frame: int, block: NDArray[Any]) -> None:
        """Write one frame; several threads may write different frames at once.

        Parameters
        ----------
        frame : int
            Number of the frame.
        block : array
            All channels, (c, y, x) or (c, z, y, x), of the announced shape and dtype; stored byte for byte.

        Raises
        ------
        StoreError
            If shape or type differ, or the disk is full.
        """
        with self._lock:
            self._marks[frame] = digest(block)
        self._note(self._arrays.write(frame, block))

    def _note(self, frames: Iterable[int]) -> None:
        """Note the fingerprints of frames that are in the store: an interrupted import goes on behind them."""
        for frame in frames:
            with self._lock:
                mark = self._marks.pop(frame)
            text = " ".join([mark, *map(str, self._arrays.checks[frame])])
            self._storage.write_bytes(f"{self._path}/.importing/{frame:07d}.hash", text.encode())
            with self._lock:
                self._hashes[frame] = mark

    def finish(self) -> Any:
        """Publish the position and return it.

        Raises
        ------
        StoreError
            If frames are missing; they are named.
        """
        self._note(self._arrays.flush())
        missing = sorted(set(range(self._arrays.shape[0])) - set(self._hashes))
        if missing:
            msg = f"{self._storage.at(self._path)} lacks the frames {ranges(missing)}; write them before finishing."
            raise StoreError(msg)
        pixels = digest("".join(self._hashes[t] for t in range(self._arrays.shape[0])).encode())
        attributes = {
            "ome": image_attributes(
                str(self._attributes.get("name", "")),
                self._arrays.axes,
                self._scale,
                n_levels=self._arrays.n_levels,
                channels=self._channels,
                window=self._arrays.window(),
            ),
            "kinocyte": {
                **self._attributes,
                "pixels": pixels,
                "times_min": list(self._scale.times_min) if self._scale.times_min else None,
            },
        }
        self._arrays.write_checks()
        write_group(self._storage, self._path, attributes)
        position = self._publish(self._path)
        self._storage.remove(f"{self._path}/.importing")
        return position


def digest(content: NDArray[Any] | bytes) -> str:
    """Return the fingerprint of pixels or text."""
    buffer = content if isinstance(content, bytes) else np.ascontiguousarray(content).view(np.uint8).data
    return hashlib.blake2b(buffer, digest_size=16).hexdigest()


def ranges(numbers: Sequence[int]) -> str:
    """Return ``0-3, 7`` for 0, 1, 2, 3, 7; at most eight parts."""
    parts: list[str] = []
    start = previous = numbers[0]
    for n in [*numbers[1:], None]:
        if n is not None and n == previous + 1:
            previous = n
            continue
        parts.append(f"{start}" if start == previous else f"{start}-{previous}")
        if n is not None:
            start = previous = n
    return ", ".join(parts[:8]) + (f" and {len(parts) - 8} more" if len(parts) > 8 else "")
