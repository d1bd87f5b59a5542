"""Patches for training, such that a batch depends on the seed and the number of the step alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.learning.data._warp import window
from kinocyte.learning.data.augment import Augmentation
from kinocyte.learning.data.normalisation import Normalisation
from kinocyte.learning.data.pairs import Pair, as_labels
from kinocyte.learning.grey_values import limits
from kinocyte.learning.tasks.base import Task

Singles = NDArray[np.float32]

#: pixels with objects that are kept a pair, to aim patches at
_AIMS = 4096
#: grey value after normalisation above which a pixel of an image counts as holding something
_BRIGHT = 0.3


@dataclass(frozen=True, eq=False)
class Prepared:
    """A pair as the network will see it: normalised by the limits of the whole image."""

    image: Singles
    target: NDArray[Any] | None
    aims: NDArray[np.int64]
    """Places with objects, (n, axes), in pixels of the image."""


class PatchSampler:
    """Draws augmented patches from pairs.

    Every pair is used once in each pass over the data, in an order that the seed and the number of the pass give. Where
    the task also learns from images without a target and these are the most, half of the patches are drawn from those
    with one, or the network would hardly see a label. Images smaller than a patch are mirrored at their edges.

    Parameters
    ----------
    pairs : sequence of Pair
        What to learn from.
    patch_px : int or sequence of int
        Size of a patch in order of axes; one number serves for y and x (and z, where the images are volumes).
    augmentation : Augmentation
        How patches are varied; ``Augmentation(flips=False, quarter_turns=False)`` leaves them as they are.
    task : Task
        Makes what the network is shown and compared with out of a patch.
    seed : int
        Fixes every draw.
    batch_size : int
        Patches a batch.
    inputs : sequence of Normalisation
        One a channel of the images; the default for each when empty.
    targets : sequence of Normalisation
        One a channel of target images; the default for each when empty. Labels are never scaled.
    with_objects : float, optional
        Share of patches aimed at an object or something bright; 0.9 for labels and 0.5 for images when left out.
    memory_bytes : int
        How much of the prepared images is kept in memory.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        patch_px: int | Sequence[int],
        augmentation: Augmentation,
        task: Task,
        seed: int,
        *,
        batch_size: int = 8,
        inputs: Sequence[Normalisation] = (),
        targets: Sequence[Normalisation] = (),
        with_objects: float | None = None,
        memory_bytes: int = 2 * 1024**3,
    ) -> None:
        if not pairs:
            msg = "There is no pair to draw patches from."
            raise ParameterError(msg)
        if task.target != "none" and not task.target_optional and not all(p.has_target for p in pairs):
            lacking = next(p.name for p in pairs if not p.has_target)
            msg = f"'{lacking}' has no target, which {task.name()} learns from."
            raise ParameterError(msg)
        self.pairs = tuple(pairs)
        self.task = task
        self.augmentation = augmentation
        self.seed = seed
        self.batch_size = batch_size
        self._patch_px = patch_px
        self._inputs, self._targets = tuple(inputs), tuple(targets)
        self._with_objects = with_objects if with_objects is not None else (0.5 if task.target == "image" else 0.9)
        self._kept = _Kept(memory_bytes)
        taught = [i for i, p in enumerate(self.pairs) if p.has_target] if task.target_optional else []
        self._scarce = taught if 2 * len(taught) < len(self.pairs) else []

    def batch(self, step: int) -> tuple[Singles, Singles]:
        """Return what the network is shown in a step and what its output is compared with.

        Returns
        -------
        tuple of ndarray
            (batch, channels, [z], y, x) float32 each; the second as `Task.prepare` makes it.
        """
        made = [self.sample(step, i) for i in range(self.batch_size)]
        return np.stack([x for x, _ in made]), np.stack([t for _, t in made])

    def sample(self, step: int, place: int) -> tuple[Singles, Singles]:
        """Return one patch of the batch of a step."""
        rng = np.random.default_rng((self.seed, 2, step, place))
        image, target = self.patch(self._drawn(step, place), rng)
        return self.task.prepare(image, target, rng)

    def _drawn(self, step: int, place: int) -> int:
        """Return which pair a patch is cut from."""
        number, among = step * self.batch_size + place, list(range(len(self.pairs)))
        if self._scarce:
            number, of_all = divmod(number, 2)
            among = among if of_all else self._scarce
        turn, index = divmod(number, len(among))
        order = np.random.default_rng((self.seed, 1, turn)).permutation(len(among))
        return among[int(order[index])]

    def patch(self, index: int, rng: np.random.Generator) -> tuple[Singles, NDArray[Any] | None]:
        """Return an augmented patch of a pair before the task makes its target."""
        whole = self.prepared(index)
        size = self.size(whole.image.ndim - 1)
        margin = self.augmentation.margin(size)
        wide = tuple(s + 2 * m for s, m in zip(size, margin, strict=True))
        start = _corner(whole, size, margin, rng, with_objects=self._with_objects)
        image = _cut(whole.image, start, wide)
        target = None
        if whole.target is not None:
            factor = whole.target.shape[-1] // whole.image.shape[-1]
            scale = (*([1] * (len(size) - 2)), factor, factor)
            begin = tuple(b * f for b, f in zip(start, scale, strict=True))
            target = _cut(whole.target, begin, tuple(w * f for w, f in zip(wide, scale, strict=True)))
            if self.task.target == "labels" and _leaves(whole.target.shape, begin, target.shape):
                target = _apart(target)
        return self.augmentation.apply(image, target, rng, patch_px=size)

    def size(self, ndim: int) -> tuple[int, ...]:
        """Return the size of a patch for images of so many axes.

        Raises
        ------
        ParameterError
            If the patch has another number of axes.
        """
        asked = self._patch_px
        size = (asked,) * ndim if isinstance(asked, int) else tuple(asked)
        if len(size) != ndim or min(size) < 1:
            msg = f"patch_px is {asked}, but the images have {ndim} axes; give one size above 0 for each."
            raise ParameterError(msg)
        return size

    def prepared(self, index: int) -> Prepared:
        """Return a pair, normalised; it is read again when it no longer lies in memory."""
        found = self._kept.get(index)
        if found is None:
            found = self._prepare(index)
            self._kept.put(index, found)
        return found

    def _prepare(self, index: int) -> Prepared:
        pair = self.pairs[index]
        raw = pair.image
        image = _normalised(raw, self._inputs, f"The image of '{pair.name}'")
        target: NDArray[Any] | None = None
        if self.task.target in {"labels", "classes"} and pair.has_target:
            target = _small_numbers(as_labels(_present(pair), pair.name))
        elif self.task.target == "image":
            what = f"The target of '{pair.name}'"
            as_input = limits(raw, self._inputs) if self.task.scaled_as_input else None
            target = _normalised(_present(pair), self._targets, what, as_input)
        _check_fit(pair.name, image, target, self.task)
        rng = np.random.default_rng((self.seed, 3, index))
        return Prepared(image, target, _aims(image, target, rng))


class MixedSampler:
    """Draws some patches of every batch from other pairs, such as those a model first learnt from.

    Parameters
    ----------
    first, second : PatchSampler
        Both with the same patches; the batch size is that of the first.
    share : float
        Share of the patches that come from the second, on average.
    """

    def __init__(self, first: PatchSampler, second: PatchSampler, share: float) -> None:
        if not 0 <= share < 1:
            msg = f"The share of replayed patches is {share}; it lies from 0 to below 1."
            raise ParameterError(msg)
        self.first, self.second, self.share = first, second, share
        self.batch_size, self.task, self.seed = first.batch_size, first.task, first.seed

    def batch(self, step: int) -> tuple[Singles, Singles]:
        """Return the batch of a step; see `PatchSampler.batch`."""
        drawn = np.random.default_rng((self.seed, 4, step)).random(self.batch_size) < self.share
        made = [(self.second if other else self.first).sample(step, i) for i, other in enumerate(drawn)]
        return np.stack([x for x, _ in made]), np.stack([t for _, t in made])


class _Kept:
    """Prepared pairs by number, the least recently used forgotten first."""

    def __init__(self, memory_bytes: int) -> None:
        self._most = memory_bytes
        self._held: OrderedDict[int, Prepared] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()  # batches may be made ahead by a thread

    def get(self, index: int) -> Prepared | None:
        with self._lock:
            if index not in self._held:
                return None
            self._held.move_to_end(index)
            return self._held[index]

    def put(self, index: int, item: Prepared) -> None:
        with self._lock:
            if index in self._held:
                return
            self._held[index] = item
            self._bytes += _size_of(item)
            while self._bytes > self._most and len(self._held) > 1:
                self._bytes -= _size_of(self._held.popitem(last=False)[1])


def _size_of(item: Prepared) -> int:
    return item.image.nbytes + item.aims.nbytes + (0 if item.target is None else item.target.nbytes)


def _present(pair: Pair) -> NDArray[Any]:
    target = pair.target
    if target is None:
        msg = f"'{pair.name}' has no target."
        raise ParameterError(msg)
    return target


def _normalised(
    image: NDArray[Any], how: Sequence[Normalisation], what: str, given: Sequence[tuple[float, float]] | None = None
) -> Singles:
    """Return an image of which each channel is scaled by limits of the whole image, or by those given."""
    if image.ndim not in {3, 4}:
        msg = f"{what} has the shape {image.shape}; it needs (channels, y, x) or (channels, z, y, x)."
        raise ParameterError(msg)
    if how and len(how) != len(image):
        msg = f"{what} has {len(image)} channels, but {len(how)} are to be read."
        raise ParameterError(msg)
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        msg = f"{what} holds NaN or infinite grey values; mend or leave it out (`kinocyte data check` finds them all)."
        raise ParameterError(msg)
    scaled = how or (Normalisation(),) * len(image)
    bounds = [None if given is None else given[i % len(given)] for i in range(len(image))]
    return np.stack([n.apply(channel, b) for n, channel, b in zip(scaled, image, bounds, strict=True)])


def _small_numbers(labels: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return labels in 32 bit; larger ones are numbered anew."""
    if labels.size and labels.max() > np.iinfo(np.int32).max:
        values, numbered = np.unique(labels, return_inverse=True)
        labels = numbered.reshape(labels.shape) + (0 if values[0] == 0 else 1)
    return labels.astype(np.int32)


def _check_fit(name: str, image: Singles, target: NDArray[Any] | None, task: Task) -> None:
    if target is None:
        return
    n = image.ndim - 1
    factor = task.enlargement
    wanted = (*image.shape[1:-2], image.shape[-2] * factor, image.shape[-1] * factor)
    if target.shape[-n:] != wanted or target.ndim != (n + 1 if task.target == "image" else n):
        larger = f" ({task.name()} enlarges {factor} times)" if factor > 1 else ""
        msg = f"'{name}': the target has the shape {target.shape}, but {wanted} is needed for the image{larger}."
        raise ParameterError(msg)


def _aims(image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return places that hold something: label pixels, each object as often as others, or bright pixels."""
    if target is not None and target.dtype.kind in "iub":
        return _label_places(target, image.shape[1:], rng)
    shown = image if target is None or target.shape[1:] != image.shape[1:] else target
    bright = np.flatnonzero(shown.max(axis=0) > _BRIGHT)
    if bright.size > _AIMS:
        bright = rng.choice(bright, _AIMS, replace=False)
    return np.stack(np.unravel_index(bright, image.shape[1:]), axis=1)


def _label_places(labels: NDArray[Any], shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    inside = np.flatnonzero(labels)
    if inside.size == 0:
        return np.zeros((0, len(shape)), np.int64)
    # an object that is drawn as often as any other, however small it is
    _, which, count = np.unique(labels.reshape(-1)[inside], return_inverse=True, return_counts=True)
    weight = 1.0 / count[which]
    chosen = rng.choice(inside, min(_AIMS, 4 * inside.size), p=weight / weight.sum())
    places = np.stack(np.unravel_index(chosen, labels.shape), axis=1)
    factor = labels.shape[-1] // shape[-1]
    places[:, -2:] //= factor
    return places


def _corner(
    whole: Prepared,
    size: Sequence[int],
    margin: Sequence[int],
    rng: np.random.Generator,
    *,
    with_objects: float,
) -> tuple[int, ...]:
    """Return where a window begins; the patch in its middle lies inside the image, or around a smaller one."""
    shape = whole.image.shape[1:]
    aimed = len(whole.aims) > 0 and rng.random() < with_objects
    where = whole.aims[int(rng.integers(len(whole.aims)))] if aimed else None
    start = []
    for axis, (n, s, m) in enumerate(zip(shape, size, margin, strict=True)):
        if n <= s:
            start.append((n - s) // 2 - m)
        elif where is None:
            start.append(int(rng.integers(0, n - s + 1)) - m)
        else:
            begin = int(where[axis]) - int(rng.integers(0, s))
            start.append(int(np.clip(begin, 0, n - s)) - m)
    return tuple(start)


def _leaves(shape: Sequence[int], start: Sequence[int], size: Sequence[int]) -> bool:
    """Tell whether a window reaches beyond an array."""
    n = len(size)
    return any(b < 0 or b + s > a for b, s, a in zip(start, size, shape[-n:], strict=True))


def _cut(array: NDArray[Any], start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
    """Return a window of the last axes; what lies beyond the edges is mirrored in."""
    n = len(size)
    shape = array.shape[-n:]
    if not _leaves(shape, start, size):
        inside: NDArray[Any] = array[window(start, size)]
        return inside
    out = array
    for axis, (a, b, s) in enumerate(zip(shape, start, size, strict=True)):
        out = np.take(out, _mirror(np.arange(b, b + s), a), axis=array.ndim - n + axis)
    return out


def _mirror(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return indices into an axis of length n: ... 2 1 0 1 2 ... n-2 n-1 n-2 ..."""
    if n == 1:
        return np.zeros_like(index)
    period = 2 * (n - 1)
    folded = index % period
    return np.minimum(folded, period - folded)


def _apart(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Give mirrored copies of objects numbers of their own, where they do not touch the original."""
    from skimage.measure import label

    apart: NDArray[np.int32] = label(labels, connectivity=1).astype(np.int32)
    return apart
