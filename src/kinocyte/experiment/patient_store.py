"""Chunks on an object store, asked for again where that failed for a moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zarr.abc.store import Store
from zarr.storage import WrapperStore

from kinocyte.experiment.patience import patiently_async

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype


class PatientStore(WrapperStore[Store]):
    """A zarr store whose chunks are asked for and written again where that failed for a moment."""

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the content of a key, or None."""
        from zarr.core.buffer import default_buffer_prototype

        known = default_buffer_prototype() if prototype is None else prototype
        return await patiently_async(lambda: self._store.get(key, known, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of keys."""
        ranges = list(key_ranges)
        return await patiently_async(lambda: self._store.get_partial_values(prototype, ranges))

    async def exists(self, key: str) -> bool:
        """Tell whether a key is there."""
        return await patiently_async(lambda: self._store.exists(key))

    async def set(self, key: str, value: Buffer) -> None:
        """Write a key."""
        await patiently_async(lambda: self._store.set(key, value))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a key unless it is there."""
        await patiently_async(lambda: self._store.set_if_not_exists(key, value))

    async def delete(self, key: str) -> None:
        """Remove a key."""
        await patiently_async(lambda: self._store.delete(key))
