"""A random forest as plain arrays, checked so thoroughly that walking it cannot leave them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError


@dataclass(frozen=True)
class Forest:
    """Decision trees, one after the other; a pixel goes left where its feature is at most the threshold.

    Attributes
    ----------
    feature : array of int32, (nodes,)
        Column that a node looks at, -1 for a leaf.
    threshold : array of float32, (nodes,)
        Finite.
    children : array of int32, (nodes, 2)
        Left and right child, both behind their parent.
    share : array of float32, (nodes, classes)
        Part of each class among the training pixels of a leaf; sums to 1.
    roots : array of int64, (trees,)
        First node of each tree, ascending from 0.
    n_features : int
        Number of columns.

    Raises
    ------
    ParameterError
        If the arrays do not make up such trees.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    children: NDArray[np.int32]
    share: NDArray[np.float32]
    roots: NDArray[np.int64]
    n_features: int

    def __post_init__(self) -> None:
        wrong = self._defect()
        if wrong:
            msg = f"The trees of the pixel classifier are damaged: {wrong}; train it again."
            raise ParameterError(msg)

    def _defect(self) -> str | None:
        n = self.feature.size
        wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
            "feature": (np.int32, (n,)),
            "threshold": (np.float32, (n,)),
            "children": (np.int32, (n, 2)),
            "share": (np.float32, (n, self.share.shape[-1] if self.share.ndim else 0)),
            "roots": (np.int64, (self.roots.size,)),
        }
        for name, (dtype, shape) in wanted.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != shape:
                return f"'{name}' is {array.dtype} of shape {array.shape}"
        if not self.roots.size or self.roots[0] != 0 or self.roots[-1] >= n or (np.diff(self.roots) <= 0).any():
            return "the first nodes of the trees are not in order"
        if (self.feature < -1).any() or (self.feature >= self.n_features).any():
            return f"a node looks at a feature beyond the {self.n_features} there are"
        inner = np.flatnonzero(self.feature >= 0)
        end = np.append(self.roots[1:], n)[np.searchsorted(self.roots, inner, side="right") - 1]
        below = self.children[inner]
        if (below <= inner[:, None]).any() or (below >= end[:, None]).any():
            return "a child does not lie behind its parent"
        if not np.isfinite(self.threshold).all():
            return "a threshold is not finite"
        leaves = self.share[self.feature < 0]
        if not self.share.shape[1] >= 2 or not ((leaves >= 0) & (leaves <= 1)).all():
            return "the parts of the classes do not lie between 0 and 1"
        if (np.abs(leaves.astype(np.float64).sum(axis=1) - 1) > 1e-3).any():
            return "the parts of the classes do not add up to 1"
        return None

    @property
    def n_classes(self) -> int:
        """Return the number of classes."""
        return int(self.share.shape[1])

    @property
    def n_trees(self) -> int:
        """Return the number of trees."""
        return int(self.roots.size)

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of each class: the mean over the trees of the part it has in the pixel's leaf.

        Parameters
        ----------
        rows : array of float32, (pixels, features)

        Returns
        -------
        array of float32, (pixels, classes)

        Raises
        ------
        ParameterError
            If the number of columns is another.
        """
        from kinocyte.segmentation._forest import vote

        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            msg = f"The pixel classifier knows {self.n_features} features, the pixels have shape {rows.shape}."
            raise ParameterError(msg)
        return vote(self, np.ascontiguousarray(rows, dtype=np.float32))
