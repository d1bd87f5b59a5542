"""Images that a step makes beside the pixels of a position: staged frame by frame, published whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import StoreError
from kinocyte.core.scale import Scale
from kinocyte.experiment.groups import read_attributes, write_group
from kinocyte.experiment.ngff import image_attributes
from kinocyte.experiment.storage import Storage
from kinocyte.experiment.writing import ArrayWriter, digest, ranges


class StagedWriter(ABC):
    """Context manager around an image group that is published when it ends well, and removed otherwise."""

    def __init__(
        self,
        storage: Storage,
        target: str,
        *,
        axes: str,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        labels: bool,
        sharded: bool,
        before_publish: Callable[[], None] | None,
    ) -> None:
        self._storage, self._target, self._before_publish = storage, target, before_publish
        self._staged = storage.staging(target)
        self._arrays = ArrayWriter(
            storage, self._staged, axes=axes, shape=shape, dtype=dtype, labels=labels, sharded=sharded
        )
        self._hashes: dict[int, str] = {}

    def __enter__(self) -> Self:
        """Prepare the arrays beside the place where they will stand."""
        self._storage.sweep(self._target.rpartition("/")[0])
        if self._staged == self._target:
            self._announce()
            self._storage.remove(self._target)
        self._arrays.open()
        return self

    def _announce(self) -> None:
        if self._before_publish is not None:
            self._before_publish()

    def _put(self, frame: int, block: NDArray[Any]) -> None:
        self._arrays.write(frame, block)
        self._hashes[frame] = digest(block)

    @abstractmethod
    def _document(self) -> dict[str, Any]:
        """Return the OME document of the finished group."""

    @abstractmethod
    def _published(self) -> None:
        """Make the published group known where a list of such groups is kept."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Publish if every frame was written; remove what was staged otherwise."""
        n_frames = self._arrays.shape[0]
        missing = sorted(set(range(n_frames)) - set(self._hashes))
        if kind is not None or missing:
            self._storage.remove(self._staged)
            if kind is None:
                name = self._target.rpartition("/")[2]
                msg = f"The frames {ranges(missing)} of '{name}' were not written; write them all before it ends."
                raise StoreError(msg)
            return
        try:
            self._arrays.flush()
            self._arrays.write_checks()
        except BaseException:
            self._storage.remove(self._staged)
            raise
        ours = {"pixels": digest("".join(self._hashes[t] for t in range(n_frames)).encode())}
        write_group(self._storage, self._staged, {"ome": self._document(), "kinocyte": ours})
        if self._staged != self._target:
            self._announce()
        self._storage.publish(self._staged, self._target)
        self._published()


class LabelsWriter(StagedWriter):
    """Label image of one population on its way into a position."""

    def __init__(
        self,
        storage: Storage,
        root: str,
        population: str,
        *,
        frame_shape: tuple[int, ...],
        n_frames: int,
        scale: Scale,
        sharded: bool = False,
        before_publish: Callable[[], None] | None = None,
    ) -> None:
        self._root, self._population, self._scale = root, population, scale
        super().__init__(
            storage,
            f"{root}/labels/{population}" if root else f"labels/{population}",
            axes="tzyx" if len(frame_shape) == 3 else "tyx",
            shape=(n_frames, *frame_shape),
            dtype=np.dtype(np.uint32),
            labels=True,
            sharded=sharded,
            before_publish=before_publish,
        )

    def write(self, frame: int, labels: NDArray[Any]) -> None:
        """Write the label image of one frame, any integer dtype within uint32, (y, x) or (z, y, x).

        Raises
        ------
        StoreError
            If a label is negative or too large, or the shape is not that of the image.
        """
        if labels.dtype != np.uint32:
            if labels.dtype.kind not in "iub" or (labels.size and (labels.min() < 0 or labels.max() > 0xFFFFFFFF)):
                msg = f"Labels of '{self._population}' in frame {frame} are not whole numbers from 0 to 4294967295."
                raise StoreError(msg)
            labels = labels.astype(np.uint32)
        self._put(frame, labels)

    def _document(self) -> dict[str, Any]:
        document = image_attributes(self._population, self._arrays.axes, self._scale, n_levels=self._arrays.n_levels)
        document["image-label"] = {"version": "0.5", "source": {"image": "../../"}}
        return document

    def _published(self) -> None:
        register_label(self._storage, self._root, self._population)


class CorrectedWriter(StagedWriter):
    """Corrected pixels of a position: the second image beside the raw one."""

    def __init__(
        self,
        storage: Storage,
        root: str,
        *,
        frame_shape: tuple[int, ...],
        n_frames: int,
        channels: Sequence[str],
        dtype: np.dtype[Any],
        scale: Scale,
        sharded: bool = False,
        before_publish: Callable[[], None] | None = None,
    ) -> None:
        self._channels, self._scale = tuple(channels), scale
        super().__init__(
            storage,
            f"{root}/corrected" if root else "corrected",
            axes="tczyx" if len(frame_shape) == 3 else "tcyx",
            shape=(n_frames, len(channels), *frame_shape),
            dtype=dtype,
            labels=False,
            sharded=sharded,
            before_publish=before_publish,
        )

    def write(self, frame: int, block: NDArray[Any]) -> None:
        """Write all channels of one frame, (c, y, x) or (c, z, y, x), of the announced dtype."""
        self._put(frame, block)

    def _document(self) -> dict[str, Any]:
        return image_attributes(
            "corrected",
            self._arrays.axes,
            self._scale,
            n_levels=self._arrays.n_levels,
            channels=self._channels,
            window=self._arrays.window(),
        )

    def _published(self) -> None:
        """There is one corrected image, in one place; no list is kept."""


def list_labels(storage: Storage, root: str) -> list[str]:
    """Return the names of the label images of an image group, sorted."""
    attributes = read_attributes(storage, f"{root}/labels" if root else "labels") or {}
    document = attributes.get("ome", attributes)
    names = document.get("labels", []) if isinstance(document, Mapping) else []
    return sorted(str(n) for n in names)


def register_label(storage: Storage, root: str, population: str) -> None:
    """Add a label image to the list that other OME-Zarr tools read."""
    names = list_labels(storage, root)
    if population not in names:
        folder = f"{root}/labels" if root else "labels"
        write_group(storage, folder, {"ome": {"version": "0.5", "labels": sorted({*names, population})}})
