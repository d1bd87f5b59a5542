"""A trained model of events: what it says about tracks, and how it is kept as a BioImage.IO package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.learning.package import Package, from_npy, read_package, write_package
from kinocyte.learning.signals.networks import CLASSES, PAPER_FRAMES, Kind, run, start_weights
from kinocyte.learning.signals.operations import NumpyOperations
from kinocyte.learning.signals.package import describe
from kinocyte.learning.signals.series import CHANNELS, SignalSet, Track, batch, check, prepare, resized
from kinocyte.learning.tensors import read_tensors

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

#: tracks and frames that are computed at once
_TRACKS, _CELLS = 256, 40_000
#: a package that names more signals, or comes with a larger test input, is not believed
_MOST_SIGNALS, _MOST_TEST_VALUES = 64, 1_000_000
#: variance of a time that was shared between two frames, on average, and the least that is left
_SHARED_VARIANCE, _LEAST_VARIANCE = 1 / 6, 0.04


@dataclass(frozen=True, eq=False)
class Said:
    """What a model says of each track; NaN in all of it where a track has no value.

    ``probability`` (tracks, 3) of `CLASSES`; ``at`` and ``error`` in frames of the track as networks read it,
    ``time_min`` and ``time_se_min`` in minutes: when, if it is an event. A regressor gives no error.
    """

    probability: Floats
    at: Floats
    error: Floats
    time_min: Floats
    time_se_min: Floats


@dataclass(frozen=True, eq=False)
class SignalModel:
    """Networks that tell of signals whether and when an event happened.

    ``signals`` names the inputs in order; ``networks`` holds the weights of ``joint``, or of ``classifier`` and
    ``regressor``; ``temperature`` and ``error_factor`` make probabilities and errors honest; ``card`` says what the
    model is, what it was trained on, and how good it is.
    """

    signals: tuple[str, ...]
    networks: Mapping[Kind, Mapping[str, Singles]]
    temperature: float = 1.0
    error_factor: float = 1.0
    card: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, signals: SignalSet) -> Said:
        """Return what the model says of each track.

        Parameters
        ----------
        signals : SignalSet
            As many signals as the model names, in its order.

        Raises
        ------
        ParameterError
            If the number of signals differs or the set is not in order.
        """
        check(signals)
        if signals.values.shape[1] != len(self.signals):
            listed = ", ".join(self.signals)
            msg = f"The model reads {len(self.signals)} signals ({listed}), not {signals.values.shape[1]}."
            raise ParameterError(msg)
        tracks = prepare(signals)
        out = np.full((5, len(tracks)), np.nan)
        probability = np.full((len(tracks), len(CLASSES)), np.nan)
        for part in _batches(tracks):
            chosen = [t for t in (tracks[i] for i in part) if t is not None]
            probability[part], at, error = self._said(chosen)
            step = [np.gradient(t.time_min) if t.time_min.size > 1 else np.ones(1) for t in chosen]
            for i, track, a, e, s in zip(part, chosen, at, error, step, strict=True):
                frames = np.arange(track.time_min.size)
                out[:, i] = a, e, np.interp(a, frames, track.time_min), e * np.interp(a, frames, s), 0.0
        return Said(probability, *out[:4])

    def _said(self, tracks: Sequence[Track]) -> tuple[Floats, Floats, Floats]:
        ops = NumpyOperations()
        if "joint" in self.networks:
            logits = run("joint", ops, self.networks["joint"], batch(tracks))
            return read_joint(logits, temperature=self.temperature, error_factor=self.error_factor)
        x = resized(tracks, length=PAPER_FRAMES)
        last = np.array([t.value.shape[0] - 1 for t in tracks])
        said = run("classifier", ops, self.networks["classifier"], x).astype(float) / self.temperature
        at = run("regressor", ops, self.networks["regressor"], x)[:, 0].astype(float) * PAPER_FRAMES
        at = np.clip(at * np.maximum(last, PAPER_FRAMES - 1) / (PAPER_FRAMES - 1), 0, last)
        return _softmax(said), at, np.full(len(tracks), np.nan)

    def calibrated(self, signals: SignalSet, kind: Ints, at: Floats) -> SignalModel:
        """Return the model with temperature and error factor fitted on tracks it was not trained on.

        Parameters
        ----------
        signals : SignalSet
            Tracks of held-out movies.
        kind : ndarray of int, shape (tracks,)
            Numbers of `CLASSES`.
        at : ndarray, shape (tracks,)
            True times in minutes, NaN without event.

        References
        ----------
        Guo et al., ICML (2017), arXiv:1706.04599: temperature scaling.
        """
        best, least = self, np.inf
        for temperature in np.geomspace(0.6, 2.5, 9):
            one = replace(self, temperature=float(temperature), error_factor=1.0)
            p = one.predict(signals).probability
            known = np.isfinite(p[:, 0]) & (kind >= 0)
            loss = -np.log(np.maximum(p[known, kind[known]], 1e-9)).mean()
            if loss < least:
                best, least = one, loss
        said = best.predict(signals)
        hit = (kind == 0) & (said.probability.argmax(axis=1) == 0) & np.isfinite(said.time_se_min)
        if hit.sum() < 20:
            return best
        z = np.abs(said.time_min[hit] - at[hit]) / said.time_se_min[hit]
        return replace(best, error_factor=float(np.quantile(z, 0.95) / 1.96))

    def save(self, target: Path) -> None:
        """Write the model as a BioImage.IO package, a folder or a ``.zip``.

        Raises
        ------
        StoreError
            If there is something at the target already, or it cannot be written.
        """
        rdf, files = describe(self)
        write_package(target, rdf, files)


def load_model(path: Path) -> SignalModel:
    """Return the model of a package, after it has given its own test output again.

    Raises
    ------
    InputFileError
        If the package cannot be read, is none of ours for signals, or does not compute what it says it does.
    """
    package = read_package(path)
    try:
        ours = package.rdf["config"]["kinocyte"]
        weights = package.rdf["weights"]["pytorch_state_dict"]
        model = SignalModel(
            signals=tuple(str(s) for s in ours["signals"]),
            networks=_networks(package, weights, len(ours["signals"])),
            temperature=float(ours["temperature"]),
            error_factor=float(ours["error_factor"]),
            card=dict(ours["card"]),
        )
        tensors = [package.rdf[side][0]["test_tensor"] for side in ("inputs", "outputs")]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, InputFileError):
            raise
        msg = f"{path} is no model of events for Kinocyte: {error!r} is missing or wrong in its rdf.yaml."
        raise InputFileError(msg) from error
    given, wanted = (from_npy(package.checked(t), name=f"{path}/{t['source']}") for t in tensors)
    first = next(iter(model.networks))
    channels = len(CHANNELS) * len(model.signals) + 1 if first == "joint" else len(model.signals)
    if given.ndim != 3 or given.shape[1] != channels or given.dtype != np.float32 or given.size > _MOST_TEST_VALUES:
        msg = f"The test input of {path} has the shape {given.shape}, which does not fit the model; get it again."
        raise InputFileError(msg)
    found = run(first, NumpyOperations(), model.networks[first], given)
    if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=1e-3, atol=1e-3):
        msg = f"The model {path} does not give the test output that it comes with; get it again."
        raise InputFileError(msg)
    return model


def _networks(package: Package, entry: Mapping[str, Any], n_signals: int) -> dict[Kind, dict[str, Singles]]:
    """Return the weights by network, each compared by name and shape with those a network starts from."""
    ours = package.rdf["config"]["kinocyte"]
    if not 1 <= n_signals <= _MOST_SIGNALS:
        raise ValueError(n_signals)
    files: dict[Kind, Mapping[str, Any]] = {ours["kind"]: entry, **ours.get("more_weights", {})}
    networks: dict[Kind, dict[str, Singles]] = {}
    for kind, described in files.items():
        if kind not in {"joint", "classifier", "regressor"}:
            raise KeyError(kind)
        place = f"{package.name}/{described['source']}"
        found = read_tensors(package.checked(described), name=place)
        channels = len(CHANNELS) * n_signals + 1 if kind == "joint" else n_signals
        wanted = {n: a.shape for n, a in start_weights(kind, channels, seed=0).items()}
        if {n: a.shape for n, a in found.items()} != wanted or any(a.dtype != np.float32 for a in found.values()):
            msg = f"{place} does not hold the weights of a {kind} network for {n_signals} signals; get it again."
            raise InputFileError(msg)
        if not all(np.isfinite(a).all() for a in found.values()):
            msg = f"{place} holds weights that are no numbers; train it again."
            raise InputFileError(msg)
        networks[kind] = found
    if set(networks) not in ({"joint"}, {"classifier", "regressor"}):
        raise KeyError(json.dumps(sorted(networks)))
    return networks


def read_joint(logits: Singles, *, temperature: float, error_factor: float) -> tuple[Floats, Floats, Floats]:
    """Return class probabilities, time and its error, in frames, from the output of the joint network.

    The time is the mean of what the network holds likely within three frames of its median, so that a second place
    far off does not draw it between both; the error is half the width of the central 68 %.

    Parameters
    ----------
    logits : ndarray, shape (tracks, 3, frames)
        Output of `kinocyte.learning.signals.networks.joint`.
    temperature, error_factor : float
        As `SignalModel` holds them.
    """
    flat = np.concatenate([logits[:, 0, :], logits[:, 1:, 0]], axis=1).astype(float) / temperature
    p = _softmax(flat)
    event = p[:, :-2]
    total = event.sum(axis=1)
    share = event / np.maximum(total, 1e-300)[:, None]
    frames = np.arange(event.shape[1])
    middle = (np.cumsum(share, axis=1) < 0.5).sum(axis=1)
    near = share * (np.abs(frames - middle[:, None]) <= 3)
    at = (near * frames).sum(axis=1) / np.maximum(near.sum(axis=1), 1e-300)
    spread = (_quantile(share, 0.8413) - _quantile(share, 0.1587)) / 2
    error = np.sqrt(np.maximum(spread**2 - _SHARED_VARIANCE, _LEAST_VARIANCE)) * error_factor
    return np.stack([total, p[:, -2], p[:, -1]], axis=1), at, error


def _quantile(share: Floats, q: float) -> Floats:
    """Return where the sum of shares, each spread over its frame, reaches q."""
    total = np.cumsum(share, axis=1)
    place = np.minimum((total < q).sum(axis=1), share.shape[1] - 1)
    row = np.arange(share.shape[0])
    before = total[row, place] - share[row, place]
    at: Floats = place - 0.5 + np.clip((q - before) / np.maximum(share[row, place], 1e-300), 0, 1)
    return at


def _softmax(x: Floats) -> Floats:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    out: Floats = e / e.sum(axis=1, keepdims=True)
    return out


def _batches(tracks: Sequence[Track | None]) -> list[Ints]:
    """Return the tracks that have values, in batches of like length."""
    length = np.array([0 if t is None else t.time_min.size for t in tracks], np.int64)
    order = np.argsort(length, kind="stable")
    order = order[length[order] > 0]
    parts, begin = [], 0
    while begin < order.size:
        size = max(1, min(_TRACKS, _CELLS // int(length[order[min(begin + _TRACKS, order.size) - 1]])))
        parts.append(order[begin : begin + size])
        begin += size
    return parts
