"""Labels and events with the corrections of people laid over them."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.experiment.arrays import Labels
from kinocyte.experiment.storage import Storage

#: Name of the step that applies corrections.
REPLAY = "replay"
_MOST_LABELS = 20_000_000


class CorrectedLabels(Labels):
    """A label image some of whose objects a filter left out, and some of whose pixels a person changed.

    The stored image stays as the segmentation made it; frames are changed when they are read.
    """

    def __init__(
        self, storage: Storage, path: str, pixels: pl.DataFrame | None = None, hidden: pl.DataFrame | None = None
    ) -> None:
        """Take objects, ``frame label``, out of the label image at a place, then lay ``frame start length label``."""
        super().__init__(storage, path)
        self._runs = {} if pixels is None else _by_frame(pixels)
        self._hidden = {} if hidden is None else {f: rows["label"].to_numpy() for f, rows in _by_frame(hidden).items()}

    @property
    def corrected_frames(self) -> tuple[int, ...]:
        """Return the frames in which pixels were changed."""
        return tuple(sorted(self._runs))

    def frame(self, frame: int, *, level: int = 0) -> NDArray[np.uint32]:
        """Return the label image of one frame, (y, x) or (z, y, x), uint32."""
        rows = self._runs.get(frame)
        if rows is None:
            return self._shown(super().frame(frame, level=level), frame)
        image = self._shown(super().frame(frame), frame).copy()
        length = rows["length"].to_numpy().astype(np.int64)
        before = np.cumsum(length) - length
        index = np.repeat(rows["start"].to_numpy() - before, length) + np.arange(int(length.sum()))
        image.ravel()[index] = np.repeat(rows["label"].to_numpy(), length)
        step = 2**level  # smaller copies of labels hold every second pixel, never a mean
        return np.ascontiguousarray(image[..., ::step, ::step])

    def _shown(self, image: NDArray[np.uint32], frame: int) -> NDArray[np.uint32]:
        """Return the image of a frame without the objects that are left out."""
        labels = self._hidden.get(frame)
        return image if labels is None else without_labels(image, labels)


def without_labels(image: NDArray[np.uint32], labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return a label image without some labels (at least one)."""
    if max(int(labels.max()), int(image.max(initial=0))) > _MOST_LABELS:  # labels of other programs may be huge
        return np.where(np.isin(image, labels), np.uint32(0), image)
    shown = np.arange(max(int(labels.max()), int(image.max(initial=0))) + 1, dtype=np.uint32)
    shown[labels] = 0
    return np.asarray(shown[image])


def _by_frame(rows: pl.DataFrame) -> dict[int, pl.DataFrame]:
    return {int(f): part for (f,), part in rows.group_by("frame", maintain_order=True)}


def with_events(events: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """Return events in which those that a person set replace those that were found.

    Parameters
    ----------
    events, changed : polars.DataFrame
        `kinocyte.core.schema.EVENTS`.
    """
    if changed.is_empty():
        return events
    left = events.join(changed, on=["track_id", "event"], how="anti", maintain_order="left")
    order = {
        name: i for i, name in enumerate(pl.concat([events["event"], changed["event"]]).unique(maintain_order=True))
    }
    joined = pl.concat([left, changed], how="diagonal_relaxed")
    rank = pl.col("event").replace_strict(order, return_dtype=pl.Int64)
    return joined.sort(rank, "track_id", maintain_order=True)
