"""What a person said to be right: cells clicked from frame to frame, tracks, or the masks of whole frames. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.app.cells import Cells
from kinocyte.app.words import counted

Kind = Literal["tracks", "masks", "none"]


@dataclass
class Annotations:
    """What is known of one position.

    Attributes
    ----------
    clicks : list of (int, int, float, float, float or None)
        Cell, frame, x, y and z (um).
    tracks : dict of int to DataFrame
        ``frame x_um y_um`` (and ``z_um``) of tracks that a person found right.
    masks : dict of int to array
        Label images of frames that a person found right.
    """

    clicks: list[tuple[int, int, float, float, float | None]] = field(default_factory=list)
    tracks: dict[int, pl.DataFrame] = field(default_factory=dict)
    masks: dict[int, NDArray[Any]] = field(default_factory=dict)

    def click(self, cell: int, frame: int, x_um: float, y_um: float, z_um: float | None = None) -> None:
        """Note where a cell is; a second click in the same frame replaces the first."""
        self.clicks = [c for c in self.clicks if c[:2] != (cell, frame)]
        self.clicks.append((cell, frame, x_um, y_um, z_um))

    def take_tracks(self, cells: Cells, track_ids: tuple[int, ...]) -> int:
        """Take tracks as they stand now, corrections included, and return how many were found."""
        columns = ["frame", "x_um", "y_um"]
        if "z_um" in cells.objects.columns and cells.objects["z_um"].fill_null(0.0).abs().max():
            columns.append("z_um")  # of volumes
        found = 0
        for track in track_ids:
            rows = cells.objects.filter(pl.col("track_id") == track).sort("frame").select(columns)
            if rows.height > 1:
                self.tracks[track] = rows
                found += 1
        return found

    def take_masks(self, cells: Cells, frame: int) -> int:
        """Take the masks of a frame as they stand now, corrections included, and return how many cells it has."""
        if cells.labels is None:
            return 0
        labels = np.asarray(cells.labels.frame(frame))
        self.masks[frame] = labels
        return len(np.setdiff1d(np.unique(labels), [0]))

    def clear(self) -> None:
        """Forget everything."""
        self.clicks, self.tracks, self.masks = [], {}, {}

    def sentence(self) -> str:
        """Return how much is known."""
        cells = len({c[0] for c in self.clicks})
        parts = [f"{counted(cells, 'cell')} clicked in {counted(len(self.clicks), 'place')}"] if self.clicks else []
        parts += [counted(len(self.tracks), "track")] if self.tracks else []
        parts += [f"the masks of {counted(len(self.masks), 'frame')}"] if self.masks else []
        return f"Known to be right: {', '.join(parts)}." if parts else "Nothing is annotated yet."

    def write(self, folder: Path, kind: Kind) -> Path | None:
        """Write what is known as `kinocyte sweep --truth` reads it, and return where; None where nothing is known."""
        if kind == "masks" and self.masks:
            import tifffile

            place = folder / "truth"
            place.mkdir(parents=True)
            for frame, labels in self.masks.items():
                tifffile.imwrite(place / f"frame{frame:05d}.tif", labels.astype(np.uint32))
            return place
        rows = self.rows()
        if kind != "tracks" or rows.is_empty():
            return None
        folder.mkdir(parents=True, exist_ok=True)
        rows.write_csv(folder / "truth.csv")
        return folder / "truth.csv"

    def rows(self) -> pl.DataFrame:
        """Return ``track frame x_um y_um``, with ``z_um`` in volumes."""
        names = ("track", "frame", "x_um", "y_um", "z_um")
        clicked = [dict(zip(names, c, strict=True)) for c in self.clicks]
        first = max((c[0] for c in self.clicks), default=0) + 1
        taken = [
            {"track": first + n, "z_um": None, **row}
            for n, table in enumerate(self.tracks.values())
            for row in table.iter_rows(named=True)
        ]
        schema: dict[str, Any] = dict(zip(names, (pl.Int64, pl.Int64, *[pl.Float64] * 3), strict=True))
        table = pl.DataFrame([*clicked, *taken], schema=schema)
        flat = table["z_um"].null_count() == table.height
        return (table.drop("z_um") if flat else table).sort("track", "frame")
