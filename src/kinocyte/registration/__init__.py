"""Drift and channel alignment."""

from __future__ import annotations

from typing import Any

import polars as pl
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.registration.base import Movie, Movies, Registrar
from kinocyte.registration.channels import ColocalisationWarning, apply_channels, estimate_channels
from kinocyte.registration.phase_correlation import PhaseCorrelation
from kinocyte.registration.resample import CorrectedMovie, apply_drift, drifted_positions

__all__ = [
    "ColocalisationWarning",
    "CorrectedMovie",
    "Movie",
    "Movies",
    "PhaseCorrelation",
    "Registrar",
    "apply_channels",
    "apply_drift",
    "drifted_positions",
    "estimate_channels",
    "estimate_drift",
]


def estimate_drift(
    movie: Movies,
    method: Registrar | None = None,
    *,
    scale: Scale | None = None,
    seed: int = 0,
    mask: NDArray[Any] | None = None,
) -> pl.DataFrame:
    """Return the drift of a movie with the given method, `PhaseCorrelation` where left out.

    Parameters, result and errors are those of `Registrar.estimate`.
    """
    return (method or PhaseCorrelation()).estimate(movie, scale, seed, mask=mask)
