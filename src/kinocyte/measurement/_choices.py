"""What feature sets let a person choose: channels and operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, nearest

#: pixels that are NaN never count, so that ``median`` is what numpy calls nanmedian
Operation = Literal["mean", "median", "std", "min", "max", "sum"]


def select_channels(names: tuple[str, ...], pixels: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the named channels, or all where none is named.

    Raises
    ------
    ParameterError
        If a name is not among the channels.
    """
    for name in names:
        if name not in pixels:
            msg = f"There is no channel '{name}' to measure; {nearest(name, pixels)}."
            raise ParameterError(msg)
    return {name: np.asarray(pixels[name]) for name in (names or tuple(pixels))}


def number_name(number: float) -> str:
    """Return a number as it stands in a column's name: 0.5 is ``0p5``, -3 is ``m3``."""
    return f"{number:g}".replace("-", "m").replace(".", "p").replace("+", "")
