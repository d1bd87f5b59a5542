"""Links that a person gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import field_validator

from kinocyte.core.errors import TableError
from kinocyte.core.method import param
from kinocyte.tracking.base import LabelSource, Linker


class Manual(Linker):
    """Take over the links that are listed and make no others."""

    method: Literal["manual"] = "manual"
    pairs: tuple[tuple[int, int], ...] = param(
        (), help="Pairs of object ids, the earlier object first, such as [[1, 12], [12, 25]]."
    )

    @field_validator("pairs", mode="before")
    @classmethod
    def _as_typed(cls, given: Any) -> Any:
        """Take what a command line makes of pairs, too: all ids in a row, or a whole list as one word."""
        if not isinstance(given, Sequence) or isinstance(given, str):
            return given
        if len(given) == 1 and _nested(given[0]) and all(map(_nested, given[0])):
            return given[0]
        if len(given) % 2 == 0 and not any(map(_nested, given)):
            return tuple(zip(given[::2], given[1::2], strict=True))
        return given

    def link(self, objects: pl.DataFrame, *, labels: LabelSource | None = None, seed: int = 0) -> pl.DataFrame:
        """Return the listed links.

        Parameters
        ----------
        objects : polars.DataFrame
            Columns ``object_id frame``.
        labels : callable, optional
            Not looked at.
        seed : int
            Not needed: there is no chance in it.

        Returns
        -------
        polars.DataFrame
            `kinocyte.core.schema.LINKS`; ``cost`` is null and ``confidence`` 1.

        Raises
        ------
        TableError
            If a pair names an unknown object or does not run forward in time.
        """
        del labels, seed  # part of the contract of all linkers
        from kinocyte.core.schema import LINKS, conform, require
        from kinocyte.tracking._points import integers

        require(objects, ("object_id", "frame"), table="objects")
        frame = dict(zip(integers(objects, "object_id").tolist(), integers(objects, "frame").tolist(), strict=True))
        pairs = sorted(set(self.pairs))
        for a, b in pairs:
            for end in (a, b):
                if end not in frame:
                    msg = f"The manual link from {a} to {b} names object {end}, which is not in table 'objects'."
                    raise TableError(msg)
            if frame[b] <= frame[a]:
                msg = (
                    f"The manual link from {a} to {b} goes from frame {frame[a]} to frame {frame[b]}; "
                    "name the earlier object first."
                )
                raise TableError(msg)
        table = pl.DataFrame(
            {
                "source_id": np.array([a for a, _ in pairs], dtype=np.int64),
                "target_id": np.array([b for _, b in pairs], dtype=np.int64),
                "cost": pl.Series([None] * len(pairs), dtype=pl.Float64),
                "frame_gap": np.array([frame[b] - frame[a] for a, b in pairs], dtype=np.int32),
                "confidence": np.ones(len(pairs)),
            }
        )
        return conform(table, LINKS, table="links")


def _nested(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
