"""Numbers that sum up the pixels of regions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.measurement._distance import Regions
from kinocyte.measurement._intensity import checked_image, quantiles
from kinocyte.measurement._runs import Floats

_IN_TABLE = ("mean", "std", "min", "max", "sum")


def summarise(
    image: NDArray[Any], channel: str, regions: Regions, shape: tuple[int, ...], operations: tuple[str, ...]
) -> dict[str, Floats]:
    """Return each operation over the pixels of each region that are not NaN; NaN where there are none.

    Raises
    ------
    ParameterError
        If the channel has another shape than the frame or does not hold real numbers.
    """
    values = checked_image(image, channel, shape).reshape(-1)[regions.pixels].astype(np.float64)
    table = _summaries(values, regions.offsets)
    found = {name: table[:, k] for k, name in enumerate(_IN_TABLE)}
    if "median" in operations:
        found["median"] = quantiles(values, regions.offsets, np.array([0.5]))[:, 0]
    return {name: found[name] for name in operations}


@kernel
def _summaries(values, offsets):  # type: ignore[no-untyped-def] # numba
    """Return mean, std, min, max, sum of each part, (n, 5)."""
    n = offsets.size - 1
    out = np.full((n, 5), np.nan)
    for i in range(n):
        count, total, low, high = 0, 0.0, np.inf, -np.inf
        for k in range(offsets[i], offsets[i + 1]):
            if not np.isnan(values[k]):
                count += 1
                total += values[k]
                low, high = min(low, values[k]), max(high, values[k])
        if count == 0:
            continue
        mean = total / count
        squares = 0.0
        for k in range(offsets[i], offsets[i + 1]):
            if not np.isnan(values[k]):
                squares += (values[k] - mean) ** 2
        out[i, 0], out[i, 1], out[i, 2], out[i, 3], out[i, 4] = mean, np.sqrt(squares / count), low, high, total
    return out
