"""`[[comparison]] method = "behaviour"`: what cells do, as states, and how often each group is in which."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.statistics.base import Comparer, Comparison


class Behaviour(Comparer):
    """Groups tracks, or stretches of them, by motion, shape and signals into states, and compares the groups' shares.

    Each window of a track becomes one row of features, standardised over all cells, turned into principal components
    and clustered; or, with ``examples``, called by a linear discriminant trained on a few cells that a person named.
    Stability says how well the same states come back when tracks are drawn again.
    """

    method: Literal["behaviour"] = "behaviour"
    references: ClassVar[tuple[str, ...]] = (
        "Schubert E, Rousseeuw PJ (2021). Fast and eager k-medoids clustering. Information Systems 101, 101804.",
        "Campello RJGB, Moulavi D, Sander J (2013). Density-based hierarchical clustering. PAKDD 7819, 160-172.",
        "Hubert L, Arabie P (1985). Comparing partitions. J Classification 2, 193-218.",
        "Rousseeuw PJ (1987). Silhouettes. J Comput Appl Math 20, 53-65.",
    )
    #: the pipeline hands over one row a cell and frame
    reads_objects: ClassVar[bool] = True

    by: str | None = param(None, help="Column of the groups; all cells are one group when left out.")
    features: tuple[str, ...] = param((), help="Measured columns that describe a cell, beside its motion.")
    motion: bool = param(True, help="Describe speed, straightness and persistence as well.")
    window_min: float | None = param(
        None, gt=0, unit="min", help="Length of the stretches that get a state each; whole tracks when left out."
    )
    min_frames: int = param(4, ge=2, help="Windows with fewer frames are left out.")
    clustering: Literal["k_medoids", "density"] = param(
        "k_medoids", help="k_medoids: every window gets a state; density: windows between states get none (HDBSCAN)."
    )
    n_states: int | None = param(
        None, ge=2, le=20, help="Number of states of k_medoids; that with the best silhouette when left out."
    )
    min_windows: int = param(15, ge=2, help="Fewest windows of a state of density.")
    examples: str | None = param(
        None, help="Column with the state of a few cells, named by a person; the others are called by their likeness."
    )
    embedding: Literal["pca", "umap"] = param("pca", help="Places for the picture; umap needs umap-learn.")
    explained: float = param(0.95, gt=0, le=1, help="Part of the variance that components keep.", advanced=True)
    track: tuple[str, ...] = param(("well", "position", "track_id"), help="Columns that tell cells apart.")
    time: str = param("time_min", help="Column of the time.")
    replicate: str | None = param("replicate", help='Column of the biological replicate; "" takes cells as the sample.')
    position: str | None = param("position", help="Column of the position (field of view), to count positions.")
    reference: str | float | None = param(None, help="Group the others are compared with; all pairs when left out.")
    correction: Literal["holm", "benjamini_hochberg", "bonferroni", "none"] = param(
        "holm", help="Correction of p-values for the number of pairs and states."
    )
    confidence: float = param(0.95, gt=0, lt=1, help="Confidence of intervals.")
    exemplars: int = param(3, ge=1, le=50, help="Cells shown for each state.")
    resamples: int = param(
        30, ge=2, le=1000, help="Times that tracks are drawn again for the stability.", advanced=True
    )
    seed: int = param(0, ge=0, help="Seed of everything drawn.", advanced=True)

    def compare(self, table: pl.DataFrame) -> Comparison:
        """Return states, shares, transitions and tests of a table with one row a cell and frame.

        Returns
        -------
        Comparison
            See `kinocyte.statistics.behaviour_comparison.compare_behaviour`.
        """
        from kinocyte.statistics.behaviour_comparison import compare_behaviour

        columns = {n: self.named_column(n, table) for n in ("replicate", "position")}
        return compare_behaviour(self, table, **columns)
