"""What networks learn from: images with what should come out of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Array = NDArray[Any]
#: where fewer neighbours within objects are equal than this, targets are pictures and no labels
_FLAT_SHARE = 0.3
#: pixels, or a function without arguments that reads them
Pixels = Array | Callable[[], Array]


class Pair:
    """An image and its target, read when they are asked for.

    Parameters
    ----------
    name : str
        What messages and tables call it, such as the name of the file.
    image : array or callable, (channels, [z], y, x)
        Raw grey values of any real dtype, or a function that reads them.
    target : array or callable, optional
        Labels or classes ([z], y, x) of integers, or an image (channels, [z], y, x); None where a task needs none.
    group : str, optional
        Image or movie the pair comes from; pairs of one group are never split. The name when left out.
    channels : sequence of str
        Names of the channels of the image; empty where the file has none.
    pixel_um : sequence of float, optional
        Pixel size in order of axes; None where it is unknown.
    """

    __slots__ = ("_image", "_target", "channels", "group", "name", "pixel_um")

    def __init__(
        self,
        name: str,
        image: Pixels,
        target: Pixels | None = None,
        group: str | None = None,
        *,
        channels: Sequence[str] = (),
        pixel_um: Sequence[float] | None = None,
    ) -> None:
        self.name = name
        self.group = name if group is None else group
        self.channels = tuple(channels)
        self.pixel_um = None if pixel_um is None else tuple(pixel_um)
        self._image = image
        self._target = target

    def __repr__(self) -> str:
        """Show the name and the group."""
        return f"Pair({self.name!r}, group={self.group!r})"

    @property
    def has_target(self) -> bool:
        """Tell whether there is a target; nothing is read."""
        return self._target is not None

    @property
    def image(self) -> Array:
        """Return the image, (channels, [z], y, x).

        Raises
        ------
        ParameterError
            If it has other than three or four axes, or no pixel.
        """
        image = _read(self._image)
        if image.ndim not in (3, 4) or image.size == 0:
            msg = (
                f"The image of '{self.name}' has the shape {image.shape}; it needs (channels, y, x) or "
                "(channels, z, y, x)."
            )
            raise ParameterError(msg)
        return image

    @property
    def target(self) -> Array | None:
        """Return the target, None where there is none."""
        return None if self._target is None else _read(self._target)

    def replace(self, **changes: Any) -> Pair:
        """Return a copy with some attributes changed; ``image`` and ``target`` may be functions."""
        kept = {"name": self.name, "image": self._image, "target": self._target, "group": self.group}
        return Pair(**{**kept, "channels": self.channels, "pixel_um": self.pixel_um, **changes})

    def with_channels(self, chosen: Sequence[int]) -> Pair:
        """Return a pair with some channels of the image, in the order given.

        Raises
        ------
        ParameterError
            When the image is read, if it lacks one of them.
        """
        wanted = list(chosen)

        def image() -> Array:
            found = self.image
            if max(wanted) >= len(found):
                msg = f"'{self.name}' has {len(found)} channels, but channel {max(wanted) + 1} is asked for."
                raise ParameterError(msg)
            return found[wanted]

        names = [self.channels[c] for c in wanted] if self.channels and max(wanted) < len(self.channels) else []
        return self.replace(image=image, channels=names)


def digest(image: Array) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of an image, by which the same pixels are known again."""
    raw = repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()
    return hashlib.sha256(raw).hexdigest()[:16]


def _read(pixels: Pixels) -> Array:
    return np.asarray(pixels() if callable(pixels) else pixels)


def as_labels(target: Array, name: str) -> NDArray[np.int64]:
    """Return labels or classes as whole numbers ([z], y, x).

    Raises
    ------
    ParameterError
        If they hold fractions, negative numbers or NaN, or are no single image.
    """
    if target.dtype.kind == "f":
        if not (np.isfinite(target).all() and (target == np.rint(target)).all()):
            msg = f"The target of '{name}' holds fractions or NaN, so it is no label image; export whole numbers."
            raise ParameterError(msg)
    elif target.dtype.kind not in "iub":
        msg = f"The target of '{name}' holds {target.dtype} values; labels are whole numbers."
        raise ParameterError(msg)
    if target.ndim not in (2, 3):
        msg = f"The target of '{name}' has the shape {target.shape}; labels have (y, x) or (z, y, x)."
        raise ParameterError(msg)
    labels = target.astype(np.int64)
    if labels.size and labels.min() < 0:
        msg = f"The target of '{name}' holds the label {labels.min()}; 0 is background and labels are above it."
        raise ParameterError(msg)
    return labels


def flat_share(target: Array) -> float:
    """Return the share of neighbours along x, neither of them 0, that are equal; 1 where there are none."""
    left, right = target[..., :-1], target[..., 1:]
    inside = (left != 0) & (right != 0)
    return float(np.mean(left[inside] == right[inside])) if inside.any() else 1.0


def is_picture(labels: NDArray[np.int64]) -> bool:
    """Tell whether grey values were given for labels: objects are flat inside along some axis, pictures along none."""
    return all(flat_share(np.moveaxis(labels, axis, -1)) < _FLAT_SHARE for axis in range(labels.ndim))
