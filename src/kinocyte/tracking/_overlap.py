"""Intersection over union of the masks of two frames, and links made from it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.core.errors import TableError
from kinocyte.core.schema import LINKS, conform, empty, require
from kinocyte.tracking._assignment import assign
from kinocyte.tracking._points import integers

if TYPE_CHECKING:
    from kinocyte.tracking.base import LabelSource
    from kinocyte.tracking.overlap import Overlap

Labels = NDArray[np.uint32]


def overlaps(
    earlier: Labels, later: Labels, scale: float = 1.0
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the labels of overlapping objects and their intersection over union.

    Parameters
    ----------
    earlier, later : numpy.ndarray of uint, shape (y, x) or (z, y, x)
        Label images; 0 is background.
    scale : float
        Enlarge each mask about its centre of mass; a pixel belongs to the enlarged mask when the pixel nearest to its
        place in the original does.

    Returns
    -------
    first, second : numpy.ndarray of int64, shape (m,)
        Labels in both images, sorted.
    iou : numpy.ndarray of float64, shape (m,)
        Intersection over union, > 0.

    Raises
    ------
    TableError
        If the images differ in shape.
    """
    if earlier.shape != later.shape:
        msg = f"Label images of {earlier.shape} and {later.shape} pixels cannot overlap; all frames must be alike."
        raise TableError(msg)
    if scale == 1.0:
        return _overlaps(earlier, later)
    a, b = _boxes(earlier, scale), _boxes(later, scale)
    first, second, iou = _scaled(_volume(earlier), a[0], a[1], a[2], _volume(later), b[0], b[1], b[2], scale)
    order = np.lexsort((second, first))
    return first[order], second[order], iou[order]


def _overlaps(earlier: Labels, later: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    first, second, common = common_pixels(earlier, later)
    size_a, size_b = _sizes(earlier, first), _sizes(later, second)
    return first, second, common / (size_a + size_b - common)


def common_pixels(earlier: Labels, later: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the labels of overlapping objects, sorted, and how many pixels they share.

    Raises
    ------
    TableError
        If the images differ in shape, or labels do not fit into 32 bit.
    """
    if earlier.shape != later.shape:
        msg = f"Label images of {earlier.shape} and {later.shape} pixels cannot overlap; all frames must be alike."
        raise TableError(msg)
    both = (earlier > 0) & (later > 0)
    a, b = earlier[both], later[both]
    if a.dtype.itemsize > 4 and len(a) and max(int(a.max()), int(b.max())) >= 2**32:
        msg = f"The label {max(int(a.max()), int(b.max()))} does not fit into 32 bit; renumber the labels."
        raise TableError(msg)
    pair = a.astype(np.uint64) << np.uint64(32) | b.astype(np.uint64)
    code, common = np.unique(pair, return_counts=True)
    return (code >> np.uint64(32)).astype(np.int64), (code & np.uint64(2**32 - 1)).astype(np.int64), common


def _sizes(image: Labels, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    label, count = np.unique(image[image > 0], return_counts=True)
    return np.asarray(count[np.searchsorted(label, wanted)], dtype=np.int64)


def _volume(image: Labels) -> Labels:
    return np.ascontiguousarray(image if image.ndim == 3 else image[None])


def _boxes(image: Labels, scale: float) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return labels, centres (m, 3) and enlarged boxes (m, 3, 2) of the objects."""
    where = np.nonzero(_volume(image))
    label, index = np.unique(_volume(image)[where], return_inverse=True)
    count = np.bincount(index, minlength=len(label)).astype(np.float64)
    centre, box = np.empty((len(label), 3)), np.empty((len(label), 3, 2), np.int64)
    for axis in range(3):
        centre[:, axis] = np.bincount(index, where[axis], minlength=len(label)) / count
        low, high = np.full(len(label), np.iinfo(np.int64).max), np.full(len(label), -1)
        np.minimum.at(low, index, where[axis])
        np.maximum.at(high, index, where[axis])
        flat = image.ndim == 2 and axis == 0
        grow = 1.0 if flat else scale
        middle = centre[:, axis]
        box[:, axis, 0] = np.floor(middle + (low - 0.5 - middle) * grow)
        box[:, axis, 1] = np.ceil(middle + (high + 0.5 - middle) * grow)
        if flat:
            box[:, axis] = 0
    return label.astype(np.int64), centre, box


@kernel
def _inside(image: Any, label: int, centre: Any, scale: float, p: Any) -> bool:
    """Tell whether a pixel belongs to an enlarged mask."""
    q = np.empty(3, np.int64)
    for a in range(3):
        grow = 1.0 if image.shape[a] == 1 else scale
        q[a] = int(np.rint(centre[a] + (p[a] - centre[a]) / grow))
        if q[a] < 0 or q[a] >= image.shape[a]:
            return False
    return bool(image[q[0], q[1], q[2]] == label)


@kernel
def _count(image: Any, label: int, centre: Any, scale: float, box: Any, other: Any) -> int:  # noqa: PLR0917 - numba calls by position
    """Count the pixels of an enlarged mask; where ``other`` holds a second mask, those of both."""
    count, p = 0, np.empty(3, np.int64)
    image_b, label_b, centre_b, use_b = other
    for z in range(box[0, 0], box[0, 1] + 1):
        for y in range(box[1, 0], box[1, 1] + 1):
            for x in range(box[2, 0], box[2, 1] + 1):
                p[0], p[1], p[2] = z, y, x
                if _inside(image, label, centre, scale, p) and (
                    not use_b or _inside(image_b, label_b, centre_b, scale, p)
                ):
                    count += 1
    return count


@kernel
def _scaled(  # noqa: PLR0917 - numba calls by position
    a: Any, label_a: Any, centre_a: Any, box_a: Any, b: Any, label_b: Any, centre_b: Any, box_b: Any, scale: float
) -> Any:  # fmt: skip
    """Return pairs of enlarged masks that overlap, and by how much."""
    first, second, iou = [np.int64(0) for _ in range(0)], [np.int64(0) for _ in range(0)], [0.0 for _ in range(0)]
    size_b = np.empty(len(label_b), np.int64)
    for j in range(len(label_b)):
        size_b[j] = _count(b, label_b[j], centre_b[j], scale, box_b[j], (b, label_b[j], centre_b[j], False))
    for i in range(len(label_a)):
        size_a = _count(a, label_a[i], centre_a[i], scale, box_a[i], (b, label_a[i], centre_a[i], False))
        for j in range(len(label_b)):
            box = np.empty((3, 2), np.int64)
            for k in range(3):
                box[k, 0] = max(box_a[i, k, 0], box_b[j, k, 0])
                box[k, 1] = min(box_a[i, k, 1], box_b[j, k, 1])
            if (box[:, 0] > box[:, 1]).any():
                continue
            common = _count(a, label_a[i], centre_a[i], scale, box, (b, label_b[j], centre_b[j], True))
            if common:
                first.append(label_a[i])
                second.append(label_b[j])
                iou.append(common / (size_a + size_b[j] - common))
    return np.array(first, dtype=np.int64), np.array(second, dtype=np.int64), np.array(iou, dtype=np.float64)


def link_overlapping(method: Overlap, objects: pl.DataFrame, labels: LabelSource) -> pl.DataFrame:
    """Return the links table; see `kinocyte.tracking.Overlap.link`."""
    require(objects, ("object_id", "frame", "label"), table="objects")
    table = pl.DataFrame({n: integers(objects, n) for n in ("object_id", "frame", "label")})
    table = table.filter(pl.col("label") > 0).sort("frame", "label")
    recent: deque[tuple[int, Labels]] = deque()
    pieces = []
    for frame in table["frame"].unique().sort().to_list():
        image = labels(frame)
        while recent and frame - recent[0][0] > method.max_frame_gap:
            recent.popleft()
        for before, other in recent:
            first, second, iou = overlaps(other, image, method.scale)
            sizes = _sizes(other, first), _sizes(image, second)
            pieces.append(_pairs(table, (before, frame), first, second, iou, sizes))
        recent.append((frame, image))
    if not pieces:
        return empty(LINKS)
    return _choose(method, pl.concat(pieces))


def _pairs(  # noqa: PLR0917 - one place calls it
    table: pl.DataFrame,
    frames: tuple[int, int],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    iou: NDArray[np.float64],
    sizes: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> pl.DataFrame:
    """Return overlaps as pairs of object ids; labels that are no object of the table are left out."""
    a, b = (table.filter(pl.col("frame") == f).select("label", "object_id") for f in frames)
    return (
        pl.DataFrame({"first": first, "second": second, "iou": iou, "mother": sizes[0], "daughter": sizes[1]})
        .join(a.rename({"object_id": "source_id"}), left_on="first", right_on="label")
        .join(b.rename({"object_id": "target_id"}), left_on="second", right_on="label")
        .select("source_id", "target_id", "iou", "mother", "daughter", gap=pl.lit(frames[1] - frames[0]))
    )


def _choose(method: Overlap, pairs: pl.DataFrame) -> pl.DataFrame:
    """Take for each object the best earlier one, nearest frame first, or the best one-to-one pairs."""
    pairs = pairs.sort("gap", "iou", "source_id", descending=[False, True, False])
    linked = pl.col("iou") >= method.min_iou
    rival = pl.when(linked).then(pl.col("iou")).otherwise(0.0).sort(descending=True)
    second = pl.when(rival.first() == pl.col("iou")).then(rival.slice(1, 1).first()).otherwise(rival.first())
    pairs = pairs.with_columns(sure=(pl.col("iou") - second.over("target_id", "gap").fill_null(0.0)).clip(0.0, 1.0))
    chosen: list[pl.DataFrame] = []
    busy_sources: list[int] = []
    busy_targets: list[int] = []
    for gap in pairs["gap"].unique().sort().to_list():
        # who was linked over fewer frames takes no part in a gap
        now = pairs.filter(
            pl.col("gap") == gap, ~pl.col("source_id").is_in(busy_sources), ~pl.col("target_id").is_in(busy_targets)
        )
        if method.divisions:
            now = now.unique("target_id", keep="first", maintain_order=True)
            now = now.filter(pl.col("iou").rank("ordinal", descending=True).over("source_id") <= 2)
            now = now.filter(linked | _together(method.min_iou))
        else:
            now = _one_to_one(now.filter(linked))
        chosen.append(now)
        busy_sources += now["source_id"].to_list()
        busy_targets += now["target_id"].to_list()
    out = pl.concat(chosen) if chosen else pairs
    links = out.select("source_id", "target_id", cost=1.0 - pl.col("iou"), frame_gap="gap", confidence="sure").sort(
        "source_id", "target_id"
    )
    return conform(links, LINKS, table="links")


def _together(min_iou: float) -> pl.Expr:
    """Tell of the best two targets of a source whether both together overlap it enough, and better than one alone.

    Each daughter is about half of her mother, so that neither alone can have an intersection over union above a half.
    """
    common = pl.col("iou") * (pl.col("mother") + pl.col("daughter")) / (1.0 + pl.col("iou"))
    shared = common.sum().over("source_id")
    joint = shared / (pl.col("mother") + pl.col("daughter").sum().over("source_id") - shared)
    two = pl.len().over("source_id") == 2
    return two & (joint >= min_iou) & (joint > pl.col("iou").max().over("source_id"))


def _one_to_one(pairs: pl.DataFrame) -> pl.DataFrame:
    pairs = pairs.sort("source_id", "target_id")
    sources, row = np.unique(pairs["source_id"].to_numpy(), return_inverse=True)
    targets, column = np.unique(pairs["target_id"].to_numpy(), return_inverse=True)
    start = np.searchsorted(row, np.arange(len(sources) + 1)).astype(np.int64)
    edge, _, _ = assign(start, column.astype(np.int32), pairs["iou"].to_numpy(), len(targets))
    return pairs[edge[edge >= 0]]
