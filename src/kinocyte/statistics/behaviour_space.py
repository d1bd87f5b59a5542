"""A space in which behaviours lie near each other: standardised features, principal components, named classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Floats = NDArray[np.float64]
#: Standard deviations beyond which a value pulls no harder: one bad segmentation must not make a state of its own.
_CLIP_SD = 5.0


def standardise(values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return features with mean 0 and standard deviation 1, cut at 5 standard deviations, and which were kept.

    Parameters
    ----------
    values : float array (n, features)
        No NaN. A feature that is the same everywhere is left out.
    """
    spread = values.std(axis=0)
    kept = spread > 1e-12 * np.maximum(1.0, np.abs(values).max(axis=0, initial=0.0))
    if not kept.any():
        return np.zeros((len(values), 0)), kept
    scaled = (values[:, kept] - values[:, kept].mean(axis=0)) / spread[kept]
    return np.clip(scaled, -_CLIP_SD, _CLIP_SD), kept


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components.

    Attributes
    ----------
    scores : float array (n, k)
        Place of each row.
    loadings : float array (k, features)
        Directions, each with its largest part positive so that equal data give equal pictures.
    explained : float array (k,)
        Part of the variance along each, falling.
    """

    scores: Floats
    loadings: Floats
    explained: Floats


def principal_components(values: Floats, explained: float = 0.95) -> Components:
    """Return the fewest principal components that hold a part of the variance, at least two where there are two.

    Parameters
    ----------
    values : float array (n, features)
        Rows to embed.
    explained : float
        Part of the variance that the components must hold.

    Notes
    -----
    Pearson 1901, Phil. Mag. 2, 559-572, by singular value decomposition of the centred rows.
    """
    centred = values - values.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    power = singular**2
    total = float(power.sum())
    part = power / total if total > 0 else np.zeros_like(power)
    enough = int(np.searchsorted(np.cumsum(part), explained - 1e-12)) + 1
    n = min(max(enough, 2), len(part))
    loadings = directions[:n]
    sign = np.sign(loadings[np.arange(n), np.abs(loadings).argmax(axis=1)])
    loadings = loadings * sign[:, None]
    return Components(centred @ loadings.T, loadings, part[:n])


def umap_places(scores: Floats, *, seed: int = 0) -> Floats:
    """Return two dimensions by UMAP (McInnes et al. 2018, arXiv:1802.03426), for pictures only.

    Raises
    ------
    ParameterError
        If the library is not installed, or there are too few rows.
    """
    try:
        from umap import UMAP
    except ImportError as error:
        msg = "embedding = 'umap' needs the library umap-learn: pip install umap-learn, or use embedding = 'pca'."
        raise ParameterError(msg) from error
    if len(scores) < 5:
        msg = f"embedding = 'umap' needs at least 5 windows and there are {len(scores)}; use embedding = 'pca'."
        raise ParameterError(msg)
    found = UMAP(n_neighbors=min(15, len(scores) - 1), random_state=seed, n_jobs=1).fit_transform(scores)
    return np.asarray(found, np.float64)


@dataclass(frozen=True, eq=False)
class Discriminant:
    """Linear discriminant of classes that share one covariance (Fisher 1936; Rao 1948)."""

    names: tuple[str, ...]
    means: Floats
    whiten: Floats
    log_prior: Floats

    @classmethod
    def fit(cls, values: Floats, names: Sequence[str], *, shrinkage: float = 0.1) -> Discriminant:
        """Train on rows with a class each.

        Parameters
        ----------
        values : float array (n, features)
            Rows of the examples.
        names : sequence of str
            Their classes.
        shrinkage : float
            Part by which the common covariance is drawn to a sphere; examples are few (Friedman 1989).

        Raises
        ------
        ParameterError
            If there are fewer than two classes.
        """
        classes = tuple(sorted(set(names)))
        if len(classes) < 2:
            msg = f"Examples of at least two states are needed and there {'is' if classes else 'are'} {len(classes)}."
            raise ParameterError(msg)
        label = np.array([classes.index(n) for n in names])
        means = np.stack([values[label == k].mean(axis=0) for k in range(len(classes))])
        inside = values - means[label]
        covariance = inside.T @ inside / max(1, len(values) - len(classes))
        size = float(np.trace(covariance)) / covariance.shape[0]
        ball = np.eye(covariance.shape[0]) * (size if size > 0 else 1.0)
        power, axes = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * ball)
        whiten = axes / np.sqrt(power)
        prior = np.bincount(label, minlength=len(classes)) / len(label)
        return cls(classes, means, whiten, np.log(prior))

    def probabilities(self, values: Floats) -> Floats:
        """Return the probability of every class for every row, (n, classes)."""
        places = values @ self.whiten
        centres = self.means @ self.whiten
        distance = ((places[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
        score = -0.5 * distance + self.log_prior
        score -= score.max(axis=1, keepdims=True)
        likely = np.exp(score)
        found: Floats = likely / likely.sum(axis=1, keepdims=True)
        return found

    def predict(self, values: Floats) -> list[str]:
        """Return the likeliest class of every row."""
        return [self.names[k] for k in self.probabilities(values).argmax(axis=1)]


def left_out_confusion(values: Floats, names: Sequence[str], cells: Sequence[object]) -> dict[tuple[str, str], int]:
    """Return how examples of each class are called when the cell they come from was not trained on.

    Returns
    -------
    dict
        ``(said, called)`` to the number of examples. A class of a single cell is not in it.
    """
    counts: dict[tuple[str, str], int] = {}
    told = np.array(names)
    cell_of = np.array([str(c) for c in cells])
    for cell in dict.fromkeys(cell_of.tolist()):
        own = cell_of == cell
        rest = set(told[~own])
        if not set(told[own]) <= rest or len(rest) < 2:
            continue
        called = Discriminant.fit(values[~own], told[~own].tolist()).predict(values[own])
        for pair in zip(told[own].tolist(), called, strict=True):
            counts[pair] = counts.get(pair, 0) + 1
    return counts
