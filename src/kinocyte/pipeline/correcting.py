"""What a program that lets people correct cells needs of the science: checks, proposals, the drawing of lineages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.experiment.position import Position

Mask = NDArray[np.bool_]

_FINDINGS = {"frame": pl.Int32, "object_id": pl.Int64, "y_um": pl.Float64, "x_um": pl.Float64}


def label_findings(
    read: Callable[[int], NDArray[np.uint32]], objects: pl.DataFrame, position: Position, frames: Sequence[int]
) -> pl.DataFrame:
    """Return what is suspicious in the masks of some frames.

    Parameters
    ----------
    read : callable
        Label image of a frame.
    objects : polars.DataFrame
        ``object_id frame label``.
    position : Position
        For the size of pixels.
    frames : sequence of int
        Which frames.

    Returns
    -------
    polars.DataFrame
        As `kinocyte.segmentation.label_checks.check_labels`, with ``frame``, ``object_id`` (null where no object has
        the label) and the place ``y_um x_um``; sorted by frame.
    """
    from kinocyte.segmentation.label_checks import check_labels

    parts = [check_labels(read(f)).with_columns(pl.lit(f, pl.Int32).alias("frame")) for f in frames]
    if not parts:
        return check_labels(np.zeros((1, 1), np.uint32)).with_columns(
            pl.lit(None, d).alias(n) for n, d in _FINDINGS.items()
        )
    found = pl.concat(parts)
    ids = objects.select(pl.col("frame").cast(pl.Int32), pl.col("label").cast(pl.Int64), pl.col("object_id"))
    scale = position.scale
    return (
        found.join(ids, on=["frame", "label"], how="left", maintain_order="left")
        .with_columns((pl.col("y") * scale.y_um).alias("y_um"), (pl.col("x") * scale.x_um).alias("x_um"))
        .sort("frame", "label", "check")
    )


def crumbs(labels: NDArray[np.uint32], label: int) -> Mask:
    """Return the pixels of a label that do not touch its largest piece."""
    from skimage.measure import label as connected

    own = labels == label
    pieces = connected(own, background=0)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(own & (pieces != int(sizes.argmax())))


@dataclass(frozen=True)
class Way:
    """A proposal to follow a cell on.

    Attributes
    ----------
    object_ids : tuple of int
        The objects in order, the one it begins with first; empty where there is no way.
    frames : tuple of int
        Their frames.
    places_um : array, (n, 3)
        x, y, z of each.
    least_confidence : float
        Of the least certain link.
    reason : str
        Why it ends where it ends.
    """

    object_ids: tuple[int, ...]
    frames: tuple[int, ...]
    places_um: NDArray[np.float64]
    least_confidence: float
    reason: str


def follow(
    objects: pl.DataFrame,
    links: pl.DataFrame,
    object_id: int,
    *,
    max_distance_um: float,
    max_frame_gap: int = 1,
    read: Callable[[int], NDArray[np.uint32]] | None = None,
) -> Way:
    """Return how a cell may go on from one object on; see `kinocyte.tracking.extend`.

    Parameters
    ----------
    objects, links : polars.DataFrame
        As they are now, corrections applied.
    object_id : int
        Where to start: it must not be linked onwards.
    max_distance_um : float
        Farthest from the expected place.
    max_frame_gap : int
        Largest difference of frames of a link.
    read : callable, optional
        Label image of a frame.
    """
    from kinocyte.tracking import extend

    found = extend(objects, links, object_id, max_distance_um=max_distance_um, max_frame_gap=max_frame_gap, labels=read)
    ids = found.object_ids
    order = pl.DataFrame({"object_id": ids}, schema={"object_id": pl.Int64})
    at = order.join(objects.select("object_id", "frame", "x_um", "y_um", "z_um"), on="object_id", maintain_order="left")
    least = found.links["confidence"].min()
    return Way(
        tuple(int(i) for i in ids),
        tuple(int(f) for f in at["frame"]),
        at.select("x_um", "y_um", "z_um").to_numpy(),
        float(least) if isinstance(least, float) else 0.0,
        found.reason,
    )


def tree_places(tracks: pl.DataFrame) -> pl.DataFrame:
    """Return where each branch stands in a drawing of the lineages; see `kinocyte.tracking.lineage_layout`."""
    from kinocyte.tracking import lineage_layout

    return lineage_layout(tracks)


def gate_condition(x: str, y: str, corners: Sequence[Sequence[float]]) -> str:
    """Return the condition of a drawn gate: two opposite corners of a rectangle, or three and more of a polygon.

    Raises
    ------
    ParameterError
        If the corners enclose nothing; see `kinocyte.events.gates`.
    """
    from kinocyte.events.gates import polygon_gate, rectangle_gate

    if len(corners) < 2:
        msg = "A gate needs two opposite corners, or three and more of a polygon."
        raise ParameterError(msg)
    return rectangle_gate(x, y, corners[0], corners[1]) if len(corners) == 2 else polygon_gate(x, y, corners)
