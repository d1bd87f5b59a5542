"""Drift and channel alignment."""

from __future__ import annotations

from typing import Any

import polars as pl
from numpy.typing import NDArray
from pydantic import ValidationError

from kinocyte.core.errors import ParameterError
from kinocyte.core.registry import explain
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
    **parameters: Any,
) -> pl.DataFrame:
    """Return the drift of a movie.

    Parameters
    ----------
    movie, scale, seed, mask
        As for `Registrar.estimate`.
    method : Registrar, optional
        How drift is found; `PhaseCorrelation` where left out.
    **parameters
        Parameters of the method in place of the ones it has, such as ``reference="previous"``.

    Returns
    -------
    polars.DataFrame
        As `Registrar.estimate`.

    Raises
    ------
    ParameterError
        As `Registrar.estimate`, and where a parameter is unknown or refused.
    """
    chosen = method or PhaseCorrelation()
    if parameters:
        cls = type(chosen)
        try:
            chosen = chosen.replace(**parameters)
        except ValidationError as error:
            raise ParameterError("; ".join(explain(cls, error)) + ".") from error
    return chosen.estimate(movie, scale, seed, mask=mask)
