"""From cells to a table of pairs: what all methods share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import PAIRS
from kinocyte.interactions._cells import Cells, Floats, Ints, both, first_of_group

LabelSource = Callable[[int], NDArray[np.uint32]]


@dataclass(frozen=True, slots=True)
class Sides:
    """Both populations, and their label images where there are any.

    Attributes
    ----------
    reference, neighbour : Cells
        The same object within one population.
    starts : tuple of two arrays of int64, (groups + 1,)
        Where the cells of each position and frame begin on either side.
    labels : tuple of two callables, optional
        Label images by frame; the same one within one population.
    by : tuple of str
        Columns that tell positions apart.
    """

    reference: Cells
    neighbour: Cells
    starts: tuple[Ints, Ints]
    labels: tuple[LabelSource, LabelSource] | None
    by: tuple[str, ...]

    @property
    def within(self) -> bool:
        """Tell whether both sides are one population."""
        return self.reference is self.neighbour

    def groups(self) -> Iterator[tuple[slice, slice]]:
        """Yield the rows of both sides of each position and frame that holds cells of both."""
        for k in range(len(self.starts[0]) - 1):
            a, b = (slice(int(s[k]), int(s[k + 1])) for s in self.starts)
            if a.stop > a.start and b.stop > b.start:
                yield a, b


def sides(
    reference_cells: pl.DataFrame,
    neighbour_cells: pl.DataFrame | None,
    scale: Scale,
    labels: tuple[LabelSource | None, LabelSource | None],
    by: tuple[str, ...],
) -> Sides:
    """Return checked populations, grouped alike."""
    reference, neighbour = both(reference_cells, neighbour_cells, scale, by)
    n_groups = int(max(reference.group.max(initial=-1), neighbour.group.max(initial=-1))) + 1
    starts = first_of_group(reference, n_groups), first_of_group(neighbour, n_groups)
    of_reference, of_neighbour = labels
    images: tuple[LabelSource, LabelSource] | None = None
    if of_reference is not None and reference is neighbour:
        images = of_reference, of_reference
    elif of_reference is not None and of_neighbour is not None:
        images = of_reference, of_neighbour
    if images is not None and by and reference.table.select(by).n_unique() > 1:
        msg = f"Label images belong to one position, but the cells come from several ({', '.join(by)}); take one each."
        raise ParameterError(msg)
    return Sides(reference, neighbour, starts, images, by)


def table(at: Sides, rows: tuple[Ints, Ints], extra: dict[str, pl.Series] | None = None) -> pl.DataFrame:
    """Return the table of pairs.

    Parameters
    ----------
    at : Sides
        The populations.
    rows : tuple of two arrays of int64, (pairs,)
        Row of the reference and of the neighbour, sorted.
    extra : dict of str to polars.Series, optional
        Further columns in the order of the rows.
    """
    # rows rise by position, frame and id, and so does what is made of them
    a, b = at.reference.table, at.neighbour.table
    reference, neighbour = pl.Series(rows[0]), pl.Series(rows[1])
    apart = at.neighbour.place_um[rows[1]] - at.reference.place_um[rows[0]]
    columns = {
        **{name: a[name].gather(reference) for name in at.by},
        "reference_id": a["object_id"].gather(reference),
        "neighbour_id": b["object_id"].gather(neighbour),
        "reference_track_id": a["track_id"].gather(reference),
        "neighbour_track_id": b["track_id"].gather(neighbour),
        "frame": a["frame"].gather(reference),
        "time_min": a["time_min"].gather(reference),
        "distance_um": pl.Series(np.sqrt((apart**2).sum(axis=1)), dtype=pl.Float64),
        "edge_distance_um": pl.Series([None] * 1, dtype=pl.Float64).new_from_index(0, len(rows[0])),
        **(extra or {}),
    }
    out = pl.DataFrame(columns)
    types = {n: c.dtype for n, c in PAIRS.items() if n in out.columns}
    return out.cast(types)  # type: ignore[arg-type] # a dict of types


def with_edges(at: Sides, rows: tuple[Ints, Ints], scale: Scale) -> dict[str, pl.Series]:
    """Return the edge distance of every pair where there are label images, one frame in memory at a time."""
    if at.labels is None:
        return {}
    from kinocyte.interactions._masks import edge_distances, read_masks

    frames = at.reference.table["frame"].to_numpy()[rows[0]]
    labels = labels_of(at)
    out: Floats = np.full(len(rows[0]), np.nan)
    for frame in np.unique(frames):
        here = np.flatnonzero(frames == frame)
        reference = read_masks(at.labels[0], int(frame))
        neighbour = reference if at.within else read_masks(at.labels[1], int(frame))
        pairs = np.stack([labels[0][rows[0][here]], labels[1][rows[1][here]]], axis=1)
        out[here] = edge_distances(reference, neighbour, pairs, scale)
    return {"edge_distance_um": pl.Series(out, nan_to_null=True)}


def labels_of(at: Sides) -> tuple[Ints, Ints]:
    """Return the label of each cell of both sides, 0 where it has no mask.

    Raises
    ------
    TableError
        If two objects of a frame share a label.
    """
    out: list[Ints] = []
    for cells in (at.reference, at.neighbour):
        label = cells.table["label"].fill_null(0).to_numpy().astype(np.int64)
        masked = cells.table.filter(pl.col("label") > 0)
        twice = masked.select(*at.by, "frame", "label").is_duplicated()
        if twice.any():
            row = masked.row(int(twice.arg_max() or 0), named=True)
            msg = f"Two objects share the label {row['label']} in frame {row['frame']}; give each object its own label."
            raise TableError(msg)
        out.append(label)
    return out[0], out[1]
