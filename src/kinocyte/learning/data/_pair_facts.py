"""What is counted and measured in one pair, for the checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import KinocyteError
from kinocyte.learning.data.pairs import Pair, as_labels, digest, is_picture

Array = NDArray[Any]

_THUMB = 16
#: fewer grey values than this in an image of some size
_FEW_LEVELS = 24
#: a piece of an object above this share of the largest piece counts as an object of its own
_OWN_OBJECT = 0.25
#: objects below this share of the median size are tiny
_TINY_SHARE = 0.04
_TINY_PX = 5


@dataclass
class Facts:
    """What is known of one pair; see `facts_of`."""

    name: str
    group: str
    pixel_um: tuple[float, ...] | None
    fault: str = ""
    misfit: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    depth: str = ""
    digest: str = ""
    low: float = float("nan")
    high: float = float("nan")
    saturated: float = 0.0
    nan_image: bool = False
    nan_target: bool = False
    constant: bool = False
    few_levels: bool = False
    target_is_image: bool = False
    unlabelled: bool = False
    thumbnail: Array | None = None
    n_objects: int = 0
    is_mask: bool = False
    is_picture: bool = False
    repeated: list[int] = field(default_factory=list)
    crumbs: list[int] = field(default_factory=list)
    tiny: list[int] = field(default_factory=list)
    classes: frozenset[int] = frozenset()
    diameters_px: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def n_channels(self) -> int:
        """Return the number of channels."""
        return self.shape[0] if self.shape else 0

    @property
    def ndim(self) -> int:
        """Return 2 or 3."""
        return len(self.shape) - 1

    def row(self) -> dict[str, Any]:
        """Return a row of the table of pairs."""
        typical = float(np.median(self.diameters_px)) if self.diameters_px.size else None
        return {
            "pair": self.name, "group": self.group, "shape": " x ".join(map(str, self.shape)), "type": self.dtype,
            "low": self.low, "high": self.high, "saturated_share": self.saturated, "objects": self.n_objects,
            "median_diameter_px": typical, "repeated_labels": len(self.repeated), "objects_in_pieces": len(self.crumbs),
            "tiny_objects": len(self.tiny), "fault": self.fault or self.misfit,
        }  # fmt: skip


def facts_of(pair: Pair, kind: str, enlargement: int, *, optional: bool = False) -> Facts:
    """Return the facts of a pair; one that cannot be read, or lacks a target that is not optional, has its fault."""
    facts = Facts(pair.name, pair.group, pair.pixel_um)
    try:
        image = pair.image
        target = pair.target if kind != "none" else None
    except KinocyteError as error:
        facts.fault = str(error)
        return facts
    _look_at_image(facts, image)
    if target is None:
        facts.unlabelled = True
        if kind != "none" and not optional:
            facts.fault = f"'{pair.name}' has no target."
        return facts
    facts.nan_target = target.dtype.kind == "f" and not bool(np.isfinite(target).all())
    n = image.ndim - 1
    wanted = (*image.shape[1:-2], image.shape[-2] * enlargement, image.shape[-1] * enlargement)
    given = target.shape[-n:] if kind == "image" and target.ndim == n + 1 else target.shape
    if given != wanted:
        larger = f" (enlarged {enlargement} times)" if enlargement > 1 else ""
        facts.misfit = (
            f"'{pair.name}': image and target differ in shape{larger}: {_size(image.shape[1:])} and {_size(given)} "
            "pixels; export them alike."
        )
        return facts
    facts.target_is_image = image[0].shape == given and np.array_equal(image[0], target.reshape(-1, *given)[0])
    if kind in {"labels", "classes"} and not facts.nan_target:
        try:
            labels = as_labels(target, pair.name)
        except KinocyteError as error:
            facts.fault = str(error)
            return facts
        if kind == "labels":
            facts.is_picture = is_picture(labels)
            if not facts.is_picture:
                _look_at_labels(facts, labels)
        else:
            facts.classes = frozenset(np.unique(labels).tolist()) - {0}
            facts.n_objects = len(facts.classes)
    return facts


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _look_at_image(facts: Facts, image: Array) -> None:
    facts.shape, facts.dtype = image.shape, str(image.dtype)
    facts.digest = digest(image)
    finite = image[np.isfinite(image)] if image.dtype.kind == "f" else image.reshape(-1)
    facts.nan_image = finite.size < image.size
    if finite.size == 0:
        return
    low, high = finite.min(), finite.max()
    facts.low, facts.high = float(low), float(high)
    facts.constant = bool(low == high)
    facts.depth = _depth(image.dtype, facts.high)
    if image.dtype.kind in "iu" and not facts.constant:
        full = {255.0, 4095.0, 16383.0, 65535.0, float(np.iinfo(image.dtype).max)}
        facts.saturated = float(np.mean(finite == high)) if facts.high in full else 0.0
        counts = np.unique(finite[:: max(1, finite.size // 65536)])
        facts.few_levels = finite.size >= 1024 and counts.size < _FEW_LEVELS
    if not facts.constant and not facts.nan_image:
        facts.thumbnail = _thumbnail(image)


def _depth(dtype: np.dtype[Any], high: float) -> str:
    """Return the bit depth in words, as the grey values show it."""
    if dtype.kind == "f":
        return "fractions between 0 and 1" if 0 < high <= 1 else f"{dtype.itemsize * 8} bit floating point"
    return f"{dtype.itemsize * 8} bit"


def _thumbnail(image: Array) -> Array:
    """Return the first channel in 16 x 16 pixels, mean 0 and length 1."""
    plane = image[0].astype(np.float64)
    plane = plane if plane.ndim == 2 else plane.mean(axis=0)
    rows, columns = (np.linspace(0, n, _THUMB + 1).astype(int) for n in plane.shape)
    small: Array = np.add.reduceat(np.add.reduceat(plane, rows[:-1], axis=0), columns[:-1], axis=1)
    area = np.outer(np.maximum(np.diff(rows), 1), np.maximum(np.diff(columns), 1))
    small = small / area
    small = small - small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-300)


def _look_at_labels(facts: Facts, labels: NDArray[np.int64]) -> None:
    """Count objects, and find numbers that stand for several or for crumbs."""
    from skimage.measure import label

    values, numbered, areas = np.unique(labels, return_inverse=True, return_counts=True)
    keep = values != 0
    facts.n_objects = int(keep.sum())
    if facts.n_objects == 0:
        return
    pieces = label(numbered.reshape(labels.shape) + 1 - int(values[0] == 0), background=0, connectivity=labels.ndim)
    first = np.unique(pieces[pieces > 0], return_index=True)[1]
    owner = labels[pieces > 0][first]
    size = np.bincount(pieces[pieces > 0])[1:]
    largest = {int(v): 0 for v in values[keep]}
    for v, s in zip(owner.tolist(), size.tolist(), strict=True):
        largest[v] = max(largest[v], s)
    n_large: dict[int, int] = {}
    n_all: dict[int, int] = {}
    for v, s in zip(owner.tolist(), size.tolist(), strict=True):
        n_all[v] = n_all.get(v, 0) + 1
        n_large[v] = n_large.get(v, 0) + int(s >= max(_OWN_OBJECT * largest[v], _TINY_PX))
    facts.repeated = sorted(v for v, n in n_large.items() if n > 1)
    facts.crumbs = sorted(v for v, n in n_all.items() if n > max(n_large[v], 1))
    facts.is_mask = facts.n_objects == 1 and n_large[int(values[keep][0])] > 2
    area = areas[keep].astype(np.float64)
    bound = max(float(_TINY_PX), _TINY_SHARE * float(np.median(area)))
    cut = _at_edges(labels)  # the edge of the image leaves slivers that are no slips
    facts.tiny = [int(v) for v, a in zip(values[keep], area, strict=True) if a < bound and int(v) not in cut]
    n = labels.ndim
    facts.diameters_px = 2 * np.sqrt(area / np.pi) if n == 2 else 2 * np.cbrt(3 * area / (4 * np.pi))


def _at_edges(labels: NDArray[np.int64]) -> set[int]:
    planes = [labels.take(i, axis=axis) for axis in range(labels.ndim) for i in (0, -1)]
    return {int(v) for plane in planes for v in np.unique(plane)}
