"""From annotated tracks to a model: split by movie, train, calibrate, score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.learning.signals.model import SignalModel
from kinocyte.learning.signals.networks import Kind
from kinocyte.learning.signals.quality import scores
from kinocyte.learning.signals.series import SignalSet, prepare
from kinocyte.learning.signals.training import Labelled, SignalTraining, Trained, split_by_movie, train

Floats = NDArray[np.float64]


def fit(
    labelled: Labelled,
    signals: tuple[str, ...],
    settings: SignalTraining,
    *,
    seed: int,
    card: Mapping[str, Any] | None = None,
    told: Callable[[dict[str, Any]], None] = lambda _: None,
) -> SignalModel:
    """Return a model trained on annotated tracks.

    Whole movies are held out: they tell when to stop, set temperature and error factor, and are scored. A movie that
    nothing was fitted to is better still; score one with `score`.

    Parameters
    ----------
    labelled : Labelled
        Tracks of at least two movies.
    signals : tuple of str
        Names of the signals, in order.
    settings : SignalTraining
        How to train.
    seed : int
        Fixes the split, the first weights and the order of tracks.
    card : mapping, optional
        What to say of the model: ``name description about authors license``.
    told : callable
        Told the losses after each pass.

    Raises
    ------
    ParameterError
        If the annotations are of one movie or one class.
    MissingExtraError
        If torch is not installed.
    """
    own, out = split_by_movie(labelled.signals.movie, settings.held_out, seed=seed)
    learnt, held = labelled.of(own), labelled.of(out)
    kinds: tuple[Kind, ...] = ("joint",) if settings.networks == "joint" else ("classifier", "regressor")
    found: dict[Kind, Trained] = {}
    for kind in kinds:
        found[kind] = train(learnt, held, settings, kind=kind, seed=seed, told=partial(_tell, told, kind))
    return finish(found, held, signals, settings, seed=seed, card=card or {})


def _tell(told: Callable[[dict[str, Any]], None], network: Kind, losses: dict[str, float]) -> None:
    told({"network": network, **losses})


def finish(
    found: Mapping[Kind, Trained],
    held: Labelled,
    signals: tuple[str, ...],
    settings: SignalTraining,
    *,
    seed: int,
    card: Mapping[str, Any],
) -> SignalModel:
    """Return the calibrated and scored model of trained networks."""
    model = SignalModel(signals, {k: t.weights for k, t in found.items()})
    model = model.calibrated(held.signals, held.kind, held.time_min)
    told = {
        **card,
        "held_out": score(model, held),
        "training": {**settings.model_dump(mode="json"), "seed": seed},
        "best_epoch": {k: t.best_epoch for k, t in found.items()},
        "losses": {k: t.losses for k, t in found.items()},
    }
    return SignalModel(signals, model.networks, model.temperature, model.error_factor, told)


def score(model: SignalModel, labelled: Labelled) -> dict[str, Any]:
    """Return the `kinocyte.learning.signals.quality.scores` of a model on annotated tracks, times in frames."""
    said = model.predict(labelled.signals)
    known = np.isfinite(said.probability[:, 0]) & (labelled.kind >= 0)
    truth = _in_frames(labelled.signals, labelled.time_min)
    return scores(
        labelled.kind[known], truth[known], said.probability[known], np.where(known, said.at, np.nan)[known],
        said.error[known],
    )  # fmt: skip


def _in_frames(signals: SignalSet, time_min: Floats) -> Floats:
    at = np.full(time_min.size, np.nan)
    for i, track in enumerate(prepare(signals)):
        if track is not None and np.isfinite(time_min[i]):
            at[i] = np.interp(time_min[i], track.time_min, np.arange(track.time_min.size))
    return at
