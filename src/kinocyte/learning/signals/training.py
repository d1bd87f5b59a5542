"""Training of networks for signals from tracks whose events are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import Method, param
from kinocyte.learning.devices import Device, need_torch, pick, repeatable
from kinocyte.learning.signals.networks import CLASSES, PAPER_FRAMES, Kind, run, start_weights
from kinocyte.learning.signals.series import CHANNELS, SignalSet, Track, batch, check, prepare, resized

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

#: a track is never cut below this number of frames
_LEAST_FRAMES = 8


class SignalTraining(Method):
    """How networks for signals are trained."""

    kind: ClassVar[str] = "training"

    method: Literal["signals"] = "signals"
    networks: Literal["joint", "paper"] = param(
        "joint", help="joint: one network for class and time; paper: a classifier and a regressor."
    )
    epochs: int = param(30, ge=1, help="Most passes over the training tracks.")
    patience: int = param(6, ge=1, help="Passes without improvement on the held-out movies after which it ends.")
    batch_size: int = param(128, ge=2, help="Tracks a step.")
    learning_rate: float = param(2e-3, gt=0, help="Largest step of the optimiser (AdamW).")
    weight_decay: float = param(1e-3, ge=0, help="How strongly weights are drawn to 0.")
    noise: float = param(0.05, ge=0, help="Deviation of the noise that is added, in units of the population.")
    cut: float = param(0.5, ge=0, le=1, help="Share of tracks that are cut at either end, which moves their labels.")
    held_out: float = param(0.2, gt=0, lt=1, help="Share of movies held out to tell when to stop; never single cells.")
    class_weights: bool = param(False, help="Whether rare classes count more; then probabilities are no longer honest.")
    device: Device = param("auto", help="Where to compute; only 'cpu' gives the same numbers everywhere.")


@dataclass(frozen=True, eq=False)
class Labelled:
    """Signals with what happened.

    ``kind`` (tracks,) numbers `CLASSES`, -1 for cells that nobody annotated and that only belong to the population;
    ``time_min`` (tracks,) is NaN without event.
    """

    signals: SignalSet
    kind: Ints
    time_min: Floats

    def of(self, tracks: Ints) -> Labelled:
        """Return some of the tracks."""
        s = self.signals
        length = np.diff(s.start)[tracks]
        start = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        rows = np.repeat(s.start[tracks] - start[:-1], length) + np.arange(start[-1])
        part = SignalSet(s.values[rows], s.time_min[rows], start, s.movie[tracks])
        return Labelled(part, self.kind[tracks], self.time_min[tracks])


@dataclass(frozen=True, eq=False)
class Example:
    """A track with its label; ``at`` is in frames of the track, NaN without event."""

    track: Track
    kind: int
    at: float


@dataclass(slots=True)
class Trained:
    """Weights of the best pass, and the losses of all."""

    kind: Kind
    weights: dict[str, Singles]
    best_epoch: int = 0
    losses: list[dict[str, float]] = field(default_factory=list)


def split_by_movie(movie: Ints, share: float, *, seed: int) -> tuple[Ints, Ints]:
    """Return the tracks of movies to train on, and those of movies held out: no movie is in both.

    Raises
    ------
    ParameterError
        If there are fewer than two movies.
    """
    names = np.unique(movie)
    if names.size < 2:
        msg = (
            "The annotations come from one movie, so none can be held out to tell when training must stop; "
            "annotate a second one, and name the columns that tell movies apart."
        )
        raise ParameterError(msg)
    shuffled = np.random.default_rng(seed).permutation(names)
    n_out = int(np.clip(round(share * names.size), 1, names.size - 1))
    out = np.isin(movie, shuffled[:n_out])
    return np.flatnonzero(~out), np.flatnonzero(out)


def examples(labelled: Labelled) -> list[Example]:
    """Return the tracks that a network can learn from: those with a value.

    Raises
    ------
    ParameterError
        If an event has no time, or its time is outside its track.
    """
    check(labelled.signals)
    found = []
    for track, kind, time in zip(prepare(labelled.signals), labelled.kind, labelled.time_min, strict=True):
        if track is None or kind < 0:
            continue
        at = float("nan")
        if kind == 0:
            if not track.time_min[0] <= time <= track.time_min[-1]:
                msg = (
                    f"An event at {time:g} min is outside its track ({track.time_min[0]:g} to {track.time_min[-1]:g} "
                    "min); before it is 'censored_left', after it is 'none'."
                )
                raise ParameterError(msg)
            at = float(np.interp(time, track.time_min, np.arange(track.time_min.size)))
        found.append(Example(track, int(kind), at))
    return found


def train(
    labelled: Labelled,
    held_out: Labelled,
    settings: SignalTraining,
    *,
    kind: Kind,
    seed: int,
    told: Callable[[dict[str, float]], None] = lambda _: None,
) -> Trained:
    """Train one network and keep the weights that did best on the held-out movies.

    Parameters
    ----------
    labelled, held_out : Labelled
        Tracks to learn from, and tracks of other movies to tell when to stop.
    settings : SignalTraining
        How.
    kind : str
        Which network.
    seed : int
        On a processor the same seed gives the same weights.
    told : callable
        Told the losses after each pass.

    Raises
    ------
    ParameterError
        If there is nothing to learn from.
    MissingExtraError
        If torch is not installed.
    """
    own, other = _for_kind(examples(labelled), kind), _for_kind(examples(held_out), kind)
    present = {e.kind for e in own}
    if not other or (kind != "regressor" and len(present) < 2) or not present:
        msg = (
            f"The annotated tracks hold {len(own)} to train on, of the classes "
            f"{', '.join(CLASSES[k] for k in sorted(present)) or 'none'}, and {len(other)} held out; annotate at least "
            "two classes, in at least two movies."
        )
        raise ParameterError(msg)
    with repeatable(seed):
        return _Trainer(own, other, settings, kind, seed).run(told)


def _for_kind(found: list[Example], kind: Kind) -> list[Example]:
    return [e for e in found if e.kind == 0] if kind == "regressor" else found


class _Trainer:
    def __init__(self, own: list[Example], other: list[Example], s: SignalTraining, kind: Kind, seed: int) -> None:
        self.torch: Any = need_torch("Training a network")
        self.own, self.other, self.s, self.kind = own, other, s, kind
        self.device = pick(s.device)
        self.rng = np.random.default_rng(seed)
        n_signals = own[0].track.value.shape[1]
        channels = len(CHANNELS) * n_signals + 1 if kind == "joint" else n_signals
        start = start_weights(kind, channels, seed=seed)
        self.weights = {n: self.torch.from_numpy(a).to(self.device) for n, a in start.items()}
        self.learnt = [w.requires_grad_() for n, w in self.weights.items() if not n.endswith(("_mean", "_variance"))]
        self.optimiser = self.torch.optim.AdamW(self.learnt, lr=s.learning_rate, weight_decay=s.weight_decay)
        share = np.bincount([e.kind for e in own], minlength=len(CLASSES)) / len(own)
        self.class_weight = np.where(share > 0, 1 / np.maximum(len(CLASSES) * share, 1e-9), 0).astype(np.float32)

    def run(self, told: Callable[[dict[str, float]], None]) -> Trained:
        best = Trained(self.kind, {})
        least, steps = np.inf, -(-len(self.own) // self.s.batch_size)
        schedule = self.torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, max_lr=self.s.learning_rate, total_steps=steps * self.s.epochs + 1, pct_start=0.15
        )
        for epoch in range(1, self.s.epochs + 1):
            losses = {"epoch": float(epoch), "train": self._learn(schedule), "held_out": self._held_out()}
            best.losses.append(losses)
            told(losses)
            if losses["held_out"] < least - 1e-4:
                least, best.best_epoch = losses["held_out"], epoch
                best.weights = {n: w.detach().cpu().numpy().copy() for n, w in self.weights.items()}
            elif epoch - best.best_epoch >= self.s.patience:
                break
        return best

    def _learn(self, schedule: Any) -> float:
        total = 0.0
        for part in self._batches(self.own, shuffled=True):
            chosen = [self._varied(e) for e in part]
            loss = self._loss(chosen, training=True)
            self.optimiser.zero_grad()
            loss.backward()
            self.torch.nn.utils.clip_grad_norm_(self.learnt, 1.0)
            self.optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        return total / len(self.own)

    def _held_out(self) -> float:
        with self.torch.no_grad():
            parts = list(self._batches(self.other, shuffled=False))
            return sum(float(self._loss(p, training=False)) * len(p) for p in parts) / len(self.other)

    def _batches(self, found: list[Example], *, shuffled: bool) -> Iterator[list[Example]]:
        """Yield tracks of like length, so that little is padded."""
        length = np.array([e.track.value.shape[0] for e in found], float)
        if shuffled:
            length *= self.rng.uniform(0.8, 1.25, length.size)
        order = np.argsort(length, kind="stable")
        size = self.s.batch_size
        begins = np.arange(0, order.size, size)
        for begin in self.rng.permutation(begins) if shuffled else begins:
            yield [found[i] for i in order[begin : begin + size]]

    def _varied(self, example: Example) -> Example:
        """Return a track cut at either end, with its label moved, and with noise."""
        track, kind, at = example.track, example.kind, example.at
        frames = track.value.shape[0]
        if self.kind != "regressor" and frames > _LEAST_FRAMES and self.rng.random() < self.s.cut:
            begin, end = np.sort(self.rng.integers(0, frames + 1, 2))
            if end - begin >= _LEAST_FRAMES and track.seen[begin:end].any():
                track = track.cut(begin, end)
                kind, at = _relabelled(kind, at, int(begin), int(end))
        if self.s.noise > 0:
            drawn = self.rng.normal(0, self.s.noise * self.rng.random(), track.value.shape).astype(np.float32)
            track = Track(track.value + drawn, track.seen, track.low, track.high, track.noise, track.time_min)
        return Example(track, kind, at)

    def _loss(self, part: Sequence[Example], *, training: bool) -> Any:
        from kinocyte.learning.signals._torch_operations import TorchOperations

        torch, tracks = self.torch, [e.track for e in part]
        x = batch(tracks) if self.kind == "joint" else resized(tracks, length=PAPER_FRAMES)
        out = run(self.kind, TorchOperations(training=training), self.weights, torch.from_numpy(x).to(self.device))
        kinds = np.array([e.kind for e in part])
        weight = torch.from_numpy(self.class_weight[kinds]).to(self.device) if self.s.class_weights else 1.0
        if self.kind == "joint":
            wanted = torch.from_numpy(_wanted(part, x.shape[2])).to(self.device)
            said = torch.log_softmax(torch.cat([out[:, 0, :], out[:, 1:, 0]], dim=1), dim=1)
            return (-(wanted * said).sum(dim=1) * weight).mean()
        if self.kind == "classifier":
            truth = torch.from_numpy(kinds).to(self.device)
            return (torch.nn.functional.cross_entropy(out, truth, reduction="none") * weight).mean()
        scale = [(PAPER_FRAMES - 1) / max(t.value.shape[0] - 1, PAPER_FRAMES - 1) for t in tracks]
        at = np.array([e.at * s / PAPER_FRAMES for e, s in zip(part, scale, strict=True)], np.float32)
        return ((out[:, 0] - torch.from_numpy(at).to(self.device)) ** 2).mean()


def _relabelled(kind: int, at: float, begin: int, end: int) -> tuple[int, float]:
    """Return the label of a track cut to the frames from begin to before end."""
    if kind != 0:
        return kind, at
    if at < begin:
        return 2, float("nan")
    return (1, float("nan")) if at > end - 1 else (0, at - begin)


def _wanted(part: Sequence[Example], frames: int) -> Singles:
    """Return the probability of each outcome: an event between two frames is shared between both."""
    wanted = np.zeros((len(part), frames + 2), np.float32)
    for i, example in enumerate(part):
        if example.kind != 0:
            wanted[i, frames + example.kind - 1] = 1
            continue
        low = int(example.at)
        wanted[i, low] += 1 - (example.at - low)
        if example.at > low:
            wanted[i, low + 1] += example.at - low
    return wanted
