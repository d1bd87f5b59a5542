"""Links while they are being made, as positions of objects, before they become a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Links(NamedTuple):
    """Chosen links: ``source`` and ``target`` are positions in `Points`, ``cost`` is what the linker reports."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    cost: NDArray[np.float64]

    @classmethod
    def none(cls) -> Links:
        """Return no links."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))

    @classmethod
    def concatenate(cls, pieces: Sequence[Links]) -> Links:
        """Return all links of several sets."""
        if not pieces:
            return cls.none()
        return cls(*(np.concatenate(p) for p in zip(*pieces, strict=True)))

    def take(self, which: NDArray[np.int64]) -> Links:
        """Return the links at some places."""
        return Links(self.source[which], self.target[which], self.cost[which])
