"""The loop: batches in, weights out, and a run folder from which it goes on after any interruption.

A batch depends on the seed and the number of its step, and a checkpoint holds everything else that a step depends on
(weights, their running mean, the state of optimisers and of chance). On a processor a training that was killed and
resumed therefore ends with the weights of one that was not.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.learning.devices import need_torch, repeatable
from kinocyte.learning.tasks.base import Task
from kinocyte.learning.training.checkpoint import Checkpoint
from kinocyte.learning.training.distributed import Ranks, ranks
from kinocyte.learning.training.run_folder import RunFolder
from kinocyte.learning.training.settings import TrainingSettings

Singles = NDArray[np.float32]
Batch = tuple[Singles, Singles]


class Sampler(Protocol):
    """Gives the batch of a step, the same one whenever it is asked."""

    def batch(self, step: int) -> Batch:
        """Return what the network is shown and what its output is compared with."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is, told after every step."""

    step: int
    steps: int
    row: Mapping[str, float] | None = None
    """The newest row of the history, after a look at the held-out images; else None."""
    seconds_left: float | None = None


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a training gives.

    ``weights`` are those that did best on the held-out images (the last ones where none are held out), ``last`` those
    of the last step, of the network that predicts; ``rows`` is the history.
    """

    weights: Mapping[str, Singles]
    last: Mapping[str, Singles]
    best_step: int
    steps_done: int
    rows: Sequence[Mapping[str, float]] = field(default_factory=list)


def train(
    task: Task,
    sampler: Sampler,
    validation: Sequence[Batch],
    settings: TrainingSettings,
    run_folder: RunFolder,
    *,
    shape: tuple[int, int, int],
    start: Mapping[str, Singles] | None = None,
    told: Callable[[Progress], None] = lambda _: None,
) -> Learnt:
    """Train the networks of a task, or go on with it where the run folder holds a checkpoint.

    Parameters
    ----------
    task : Task
        What is learnt.
    sampler : Sampler
        Batches to learn from; with several processes, process r of n learns from batch n * step + r.
    validation : sequence of (ndarray, ndarray)
        Batches of held-out images; may be empty, then the last weights are the result.
    settings : TrainingSettings
        How.
    run_folder : RunFolder
        Where checkpoints, history and log are kept.
    shape : tuple of int
        Input channels, target channels (or classes) and number of axes, as `Task.build` takes them.
    start : mapping of str to ndarray, optional
        Weights to begin with instead of random ones; those that the network lacks or has in another shape are left.
    told : callable
        Told how far it is after every step.

    Raises
    ------
    ParameterError
        If the loss is no longer a number, or the start fits the network in nothing.
    MissingExtraError
        If torch is not installed.
    """
    need_torch("Training a network")
    with ranks(settings.device) as group, _numbers(settings, group):
        return _Loop(task, settings, run_folder, group, shape=shape, start=start).run(sampler, validation, told)


@contextmanager
def _numbers(settings: TrainingSettings, group: Ranks) -> Iterator[None]:
    """Make every run draw and add up alike, as far as the device can."""
    import torch

    if group.device != "cpu":  # some operations have no repeatable form there
        torch.manual_seed(settings.seed)
        yield
        return
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    memory.fill_uninitialized_memory = False  # costs time and changes nothing here
    try:
        with repeatable(settings.seed, threads=settings.threads or torch.get_num_threads()):
            yield
    finally:
        memory.fill_uninitialized_memory = filled


class _Loop:
    def __init__(
        self,
        task: Task,
        settings: TrainingSettings,
        run: RunFolder,
        group: Ranks,
        *,
        shape: tuple[int, int, int],
        start: Mapping[str, Singles] | None,
    ) -> None:
        import torch

        self.torch, self.task, self.settings, self.run_folder, self.group = torch, task, settings, run, group
        self.bf16 = _computes_in_bf16(settings, group.device)
        self.layout = torch.channels_last if shape[2] == 2 else torch.channels_last_3d
        self.bare = {n: m.to(group.device) for n, m in task.networks(*shape).items()}
        if start is not None:
            load_start(self.bare["network"], start)
        for module in self.bare.values():
            module.to(memory_format=self.layout)
        self.networks = {n: group.wrapped(m) for n, m in self.bare.items()}
        self.optimisers = {n: self._optimiser(m) for n, m in self.bare.items()}
        self.mean = copy.deepcopy(self.bare["network"]).requires_grad_(requires_grad=False) if settings.ema else None
        self.step, self.best, self.best_step, self.waited = 0, float("inf"), 0, 0
        self.rows: list[dict[str, float]] = []
        self.sums: dict[str, Any] = {}
        self.summed = 0
        self.seconds = 0.0

    def _optimiser(self, module: Any) -> Any:
        s = self.settings
        optimiser = self.torch.optim.AdamW(
            module.parameters(), lr=s.learning_rate, betas=self.task.betas, weight_decay=s.weight_decay
        )

        def shorten(*_: Any) -> None:
            self.torch.nn.utils.clip_grad_norm_(module.parameters(), s.clip)

        optimiser.register_step_pre_hook(shorten)
        return optimiser

    def run(self, sampler: Sampler, validation: Sequence[Batch], told: Callable[[Progress], None]) -> Learnt:
        found = self.run_folder.last_checkpoint()
        if found is not None:
            self._restore(found)
        began, first, s = time.monotonic() - self.seconds, self.step, self.settings
        begun_here = time.monotonic()
        for batch in self._batches(sampler, first):
            if self.step >= s.steps or self._ends():
                break
            self._learn(batch)
            self.step += 1
            self.seconds = time.monotonic() - began
            looked = self.step % s.check_every == 0 or self.step == s.steps
            if looked:
                self._look(validation)
            if s.keep_every and self.step % s.keep_every == 0 and self.group.rank == 0:
                self.run_folder.keep_state(_weights(self._judged()), step=self.step)
            if self.step % s.checkpoint_every == 0 or self.step == s.steps or (looked and self._ends()):
                self._keep()
            pace = (time.monotonic() - begun_here) / (self.step - first)
            try:
                told(Progress(self.step, s.steps, self.rows[-1] if looked else None, pace * (s.steps - self.step)))
            except KeyboardInterrupt:  # asked to stop between two steps: nothing that was learnt is lost
                self._keep()
                raise
        last = _weights(self._judged())
        best = self.run_folder.best_weights() if self.best_step else None
        return Learnt(last if best is None else best, last, self.best_step or self.step, self.step, self.rows)

    def _batches(self, sampler: Sampler, first: int) -> Iterator[Batch]:
        """Yield batches in order, made ahead by threads."""
        group, s = self.group, self.settings
        numbers = (step * group.size + group.rank for step in range(first, s.steps))
        with ThreadPoolExecutor(s.workers) as pool:
            ahead: list[Future[Batch]] = [pool.submit(sampler.batch, n) for n in islice(numbers, 2 * s.workers)]
            try:
                while ahead:
                    batch = ahead.pop(0).result()
                    ahead += [pool.submit(sampler.batch, n) for n in islice(numbers, 1)]
                    yield batch
            finally:
                for waiting in ahead:
                    waiting.cancel()

    def _learn(self, batch: Batch) -> None:
        rate = self.settings.learning_rate * self.settings.rate_factor(self.step)
        for optimiser in self.optimisers.values():
            for part in optimiser.param_groups:
                part["lr"] = rate
        with self._precision():
            losses = self.task.step(self.networks, self.optimisers, self._on_device(batch))
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().float()
        self.summed += 1
        if self.mean is not None:
            keep = min(self.settings.ema, (1 + self.step) / (10 + self.step))
            with self.torch.no_grad():
                for held, now in zip(
                    self.mean.state_dict().values(), self.bare["network"].state_dict().values(), strict=True
                ):
                    held.lerp_(now, 1 - keep) if held.is_floating_point() else held.copy_(now)

    def _on_device(self, batch: Batch) -> tuple[Any, Any]:
        x, t = (self.torch.from_numpy(np.ascontiguousarray(b)).to(self.group.device) for b in batch)
        return x.to(memory_format=self.layout), t

    def _precision(self) -> Any:
        kind = self.group.device.partition(":")[0]
        return self.torch.autocast(kind, self.torch.bfloat16) if self.bf16 else nullcontext()

    def _judged(self) -> Any:
        return self.bare["network"] if self.mean is None else self.mean

    def _look(self, validation: Sequence[Batch]) -> None:
        """Note the losses, and keep the weights that do best on the held-out images."""
        losses = {n: float(v) / self.summed for n, v in self.sums.items()}
        self.sums, self.summed = {}, 0
        held = self._held_out(validation) if self.group.rank == 0 else {}
        judged = self.group.agreed(held.get("loss", losses["loss"]))
        if not np.isfinite(losses["loss"]):
            msg = (
                f"The loss is no longer a number at step {self.step}; lower learning_rate (now "
                f"{self.settings.learning_rate:g}) or look for wrong grey values with `kinocyte data check`."
            )
            raise ParameterError(msg)
        rate = self.settings.learning_rate * self.settings.rate_factor(self.step - 1)
        row = {"step": float(self.step), "seconds": round(self.seconds, 3), "learning_rate": rate}
        row |= {f"train_{n}": v for n, v in losses.items()} | {f"held_out_{n}": v for n, v in held.items()}
        self.rows.append(row)
        self.waited += 1
        if validation and judged < self.best:
            self.best, self.best_step, self.waited = judged, self.step, 0
            if self.group.rank == 0:
                self.run_folder.keep_best(_weights(self._judged()), step=self.step, loss=judged)
        if self.group.rank == 0:
            self.run_folder.keep_history(self.rows)

    def _held_out(self, validation: Sequence[Batch]) -> dict[str, float]:
        network, total, n = self._judged(), dict[str, float](), 0
        network.eval()
        with self.torch.no_grad(), self._precision():
            for batch in validation:
                x, t = self._on_device(batch)
                for name, value in self.task.loss(network(x), t).items():
                    total[name] = total.get(name, 0.0) + float(value) * len(x)
                n += len(x)
        network.train()
        return {name: value / n for name, value in total.items()}

    def _ends(self) -> bool:
        return bool(self.settings.patience) and self.waited >= self.settings.patience

    def _keep(self) -> None:
        if self.group.rank != 0:
            return
        arrays: dict[str, NDArray[Any]] = {"chance/torch": self.torch.get_rng_state().numpy()}
        for name, module in self.bare.items():
            arrays |= {f"networks/{name}/{key}": a for key, a in _weights(module).items()}
        if self.mean is not None:
            arrays |= {f"mean/{key}": a for key, a in _weights(self.mean).items()}
        for name, optimiser in self.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                arrays |= {f"optimisers/{name}/{index}/{key}": _array(value) for key, value in state.items()}
        arrays |= {f"sums/{name}": _array(value) for name, value in self.sums.items()}
        notes = {
            "step": self.step, "best": self.best if np.isfinite(self.best) else None, "best_step": self.best_step,
            "waited": self.waited, "rows": self.rows, "summed": self.summed, "seconds": self.seconds,
        }  # fmt: skip
        self.run_folder.keep_checkpoint(Checkpoint(arrays, notes))

    def _restore(self, found: Checkpoint) -> None:
        tensor = self.torch.from_numpy
        for name, module in self.bare.items():
            module.load_state_dict({k: tensor(a) for k, a in found.under(f"networks/{name}").items()})
        if self.mean is not None:
            self.mean.load_state_dict({k: tensor(a) for k, a in found.under("mean").items()})
        for name, optimiser in self.optimisers.items():
            state: dict[int, dict[str, Any]] = {}
            for key, a in found.under(f"optimisers/{name}").items():
                index, _, what = key.partition("/")
                state.setdefault(int(index), {})[what] = tensor(a)
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        notes = found.notes
        self.step, self.best_step, self.waited = notes["step"], notes["best_step"], notes["waited"]
        self.best = float("inf") if notes["best"] is None else notes["best"]
        self.rows, self.summed, self.seconds = list(notes["rows"]), notes["summed"], notes["seconds"]
        self.sums = {name: tensor(a).to(self.group.device) for name, a in found.under("sums").items()}
        self.torch.set_rng_state(tensor(found.arrays["chance/torch"]))


def _computes_in_bf16(settings: TrainingSettings, device: str) -> bool:
    import torch

    if settings.precision != "auto":
        return settings.precision == "bf16"
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    tiles = getattr(torch.cpu, "_is_amx_tile_supported", None)  # without them bf16 is slower than fp32
    return device == "cpu" and tiles is not None and bool(tiles())


def _array(value: Any) -> NDArray[Any]:
    array: NDArray[Any] = value.detach().cpu().contiguous().numpy()
    return array


def _weights(module: Any) -> dict[str, NDArray[Any]]:
    return {name: _array(value).copy() for name, value in module.state_dict().items()}


def load_start(network: Any, start: Mapping[str, Singles]) -> list[str]:
    """Put weights into a network where name and shape agree, and return the names of those left as they were.

    Raises
    ------
    ParameterError
        If nothing agrees.
    """
    import torch

    own = network.state_dict()
    fits = {n: torch.from_numpy(np.array(a)) for n, a in start.items() if n in own and own[n].shape == a.shape}
    if not fits:
        msg = "The model to start from has no layer in common with the network of this task; leave out start."
        raise ParameterError(msg)
    network.load_state_dict({**own, **fits})
    return [name for name in own if name not in fits]
