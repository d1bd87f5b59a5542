"""Many chunks in one file: plates whose chunks would be millions of small files.

A shard holds whole frames, all channels, planes and tiles of them, as many as fit into 32 MiB of pixels before
compression. Chunks stay as small as ever, so that a viewer reads one frame and channel alone; a shard is written once,
when its last frame has come, so that nothing is ever read back to be written again, and memory is bounded by the
frames of a shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

#: Pixels of one shard before compression.
SHARD_BYTES = 32 * 2**20
#: An experiment with more chunks than this is stored in shards unless somebody says otherwise.
MANY_CHUNKS = 100_000


def frames_of_shard(shape: Sequence[int], itemsize: int) -> int:
    """Return how many frames share a shard.

    Parameters
    ----------
    shape : sequence of int
        Frames first: (t, c, y, x), (t, c, z, y, x) or, of labels, (t, y, x), (t, z, y, x).
    itemsize : int
        Bytes of a pixel.
    """
    return max(1, min(shape[0], SHARD_BYTES // max(1, prod(shape[1:]) * itemsize)))


def shard_shape(shape: Sequence[int], chunks: Sequence[int], frames: int) -> tuple[int, ...]:
    """Return the shape of a shard: some frames and everything that belongs to them, in whole chunks."""
    return (frames, *(ceil(n / c) * c for n, c in zip(shape[1:], chunks[1:], strict=True)))


def count_chunks(shape: Sequence[int], chunks: Sequence[int]) -> int:
    """Return the number of chunks of an array."""
    return prod(ceil(n / c) for n, c in zip(shape, chunks, strict=True))
