"""Shapes that a person draws, as they stand in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Disc:
    """A disc, in 3D a ball; all in um."""

    x_um: float
    y_um: float
    radius_um: float
    z_um: float = 0.0

    def document(self) -> dict[str, Any]:
        """Return what stands in the journal.

        Raises
        ------
        ParameterError
            If a number is not finite or the radius is not above 0.
        """
        numbers = {"x_um": self.x_um, "y_um": self.y_um, "z_um": self.z_um, "radius_um": self.radius_um}
        if not np.isfinite(list(numbers.values())).all() or self.radius_um <= 0:
            msg = f"{self} is no disc; give finite numbers and a radius above 0."
            raise ParameterError(msg)
        return {k: float(v) for k, v in numbers.items()}


@dataclass(frozen=True, slots=True)
class Outline:
    """A polygon of ``(x, y)`` in um; in 3D it lies in the plane nearest to ``z_um``."""

    points_um: Sequence[Sequence[float]]
    z_um: float = 0.0

    def document(self) -> dict[str, Any]:
        """Return what stands in the journal.

        Raises
        ------
        ParameterError
            If there are fewer than three points, or a number is not finite.
        """
        points = [[float(v) for v in p] for p in self.points_um]
        right = len(points) >= 3 and all(len(p) == 2 for p in points)
        if not right or not np.isfinite([*(v for p in points for v in p), self.z_um]).all():
            msg = "An outline needs at least three points (x, y) of finite numbers in um."
            raise ParameterError(msg)
        return {"points_um": points, "z_um": float(self.z_um)}


Shape = Disc | Outline | NDArray[np.bool_]


def runs_of(mask: NDArray[Any], frame_shape: tuple[int, ...], frame: int) -> dict[str, Any]:
    """Return a mask as runs ``[[start, length], ...]`` of pixels counted row by row.

    Parameters
    ----------
    mask : array of bool, (y, x) or (z, y, x)
        The pixels.
    frame_shape : tuple of int
        What its shape must be.
    frame : int
        For the message.

    Raises
    ------
    ParameterError
        If it has another shape, is not of bool, or is empty.
    """
    mask = np.asarray(mask)
    if mask.dtype != np.bool_ or mask.shape != tuple(frame_shape):
        msg = f"The mask is {mask.dtype} of shape {mask.shape}; frame {frame} needs bool of shape {tuple(frame_shape)}."
        raise ParameterError(msg)
    edges = np.flatnonzero(np.diff(mask.ravel().astype(np.int8), prepend=0, append=0))
    if not len(edges):
        msg = f"The mask for frame {frame} holds no pixel."
        raise ParameterError(msg)
    runs = [[int(a), int(b - a)] for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return {"runs": runs, "shape": list(mask.shape)}
