"""The tasks of a plan on the workers of a Dask scheduler, whatever happens to workers and scheduler."""

from __future__ import annotations

import contextlib
import hashlib
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from kinocyte.core.errors import StoreError
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.plan import Task
from kinocyte.pipeline.task import Outcome, blocked_by
from kinocyte.pipeline.workers.needs import too_large
from kinocyte.pipeline.workers.retrying import perform_patiently
from kinocyte.pipeline.workers.watch import Watch, throttled

#: Pauses between attempts to find a lost scheduler again: two minutes altogether.
RECONNECT_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)
#: A task that was begun this often and never ended is given up: its worker is lost each time.
_MOST_BEGINNINGS = 6
#: How old what is known of the workers may be.
_LOOK_EVERY_S = 10.0

Connect = Callable[[], AbstractContextManager[Any]]


class SchedulerLostError(Exception):
    """The connection to the scheduler broke while tasks were under way."""


def on_dask(
    todo: Sequence[Task],
    storage: Storage,
    connect: Connect,
    watch: Watch,
    *,
    pauses_s: Sequence[float] = RECONNECT_PAUSES_S,
) -> Iterator[Outcome]:
    """Do tasks on the workers of a scheduler and yield each outcome as it comes.

    A task of a lost worker is done by another; where the scheduler is lost, it is looked for again and gets what is
    left. Results do not depend on any of it: a task writes the same wherever and however often it is done.

    Parameters
    ----------
    todo : sequence of Task
        In an order in which they can be done.
    storage : Storage
        The experiment, as the workers reach it too.
    connect : callable
        Returns a context manager around a Dask client.
    watch : Watch
        Who is told.
    pauses_s : sequence of float
        Pauses between attempts to find a lost scheduler.
    """
    run = _Run(storage, watch, {t.id: t for t in todo})
    for attempt, pause in enumerate((*pauses_s, None)):
        try:
            with connect() as client:
                yield from run.outcomes(client)
                return
        except (SchedulerLostError, StoreError) as error:
            if attempt == 0 and isinstance(error, StoreError):
                raise
            if pause is None:
                yield from run.given_up("the Dask scheduler was lost; run the same command again")
                return
        time.sleep(pause)


@dataclass(frozen=True)
class _Workers:
    """The workers that a scheduler has at the moment: memory for one task of each, and whether any has a GPU."""

    memory: Mapping[str, int]
    has_gpu: bool

    @classmethod
    def of(cls, client: Any) -> _Workers:
        known = client.scheduler_info(n_workers=-1)["workers"]
        memory = {a: int(w["memory_limit"] or 0) // max(1, int(w["nthreads"])) for a, w in known.items()}
        return cls(memory, any("GPU" in (w.get("resources") or {}) for w in known.values()))

    def refusal(self, task: Task) -> Outcome | None:
        """Return why no worker can do a task, where all of them are known to have too little memory."""
        if not self.memory or not all(self.memory.values()):
            return None
        return too_large(task, max(self.memory.values()), "the largest worker")

    def places(self, task: Task) -> dict[str, Any]:
        """Return where a task should be done: where its memory suffices, and on a GPU if it wants one."""
        chosen: dict[str, Any] = {}
        roomy = [a for a, m in self.memory.items() if not m or m >= task.memory_bytes]
        if roomy and len(roomy) < len(self.memory):
            chosen |= {"workers": roomy, "allow_other_workers": True}
        if task.wants_gpu and self.has_gpu:
            chosen["resources"] = {"GPU": 1}
        return chosen


@dataclass
class _Run:
    """What is left to do and what happened so far, over all connections.

    A task is sent once what it needs is done, so that the workers keep nothing that would be lost with them.
    """

    storage: Storage
    watch: Watch
    left: dict[str, Task]
    broken: set[str] = field(default_factory=set)
    begun: dict[str, list[str]] = field(default_factory=dict)
    known: _Workers = field(default_factory=lambda: _Workers({}, has_gpu=False))
    looked: float = float("-inf")

    def outcomes(self, client: Any) -> Iterator[Outcome]:
        """Send what is left and yield what becomes of it.

        Raises
        ------
        SchedulerLostError
            If the connection breaks; what is left then can be sent again.
        """
        from distributed import as_completed

        order = {name: -number for number, name in enumerate(self.left)}
        readers: dict[str, list[str]] = {}
        for task in self.left.values():
            for need in task.needs:
                readers.setdefault(need, []).append(task.id)
        sent: dict[str, Any] = {}
        with _listening(client, lambda message: self._heard(message, sent)) as topic:
            done = as_completed((), loop=client.loop, raise_errors=False)
            asked = deque(self.left)
            while asked or sent:
                while asked:
                    early = self._ask(client, asked.popleft(), sent, done, topic=topic, order=order)
                    if early is not None:
                        yield early
                        asked.extend(readers.get(early.task, ()))
                for outcome in self._next(client, sent, done):
                    yield outcome
                    asked.extend(readers.get(outcome.task, ()))

    def _ask(
        self, client: Any, name: str, sent: dict[str, Any], done: Any, *, topic: str, order: Mapping[str, int]
    ) -> Outcome | None:
        """Send a task if it is its turn, or return its outcome if it can never be."""
        task = self.left.get(name)
        if task is None or name in sent or any(n in self.left for n in task.needs):
            return None
        workers = self._workers(client)
        early = blocked_by(task, self.broken) or workers.refusal(task)
        if early is not None:
            return self._ended(early)
        unique = hashlib.blake2b(f"{self.storage.url} {topic} {name}".encode(), digest_size=12).hexdigest()
        sent[name] = client.submit(
            _in_worker,
            self.storage.url,
            self.storage.options,
            task,
            topic,
            key=f"{task.step.name}-{unique}",  # the step in front: Dask learns how long each kind takes
            pure=False,
            priority=order[name],
            **workers.places(task),
        )
        done.add(sent[name])
        return None

    def _workers(self, client: Any) -> _Workers:
        """Return the workers as they were some seconds ago at most."""
        now = time.monotonic()
        if now - self.looked > _LOOK_EVERY_S:
            self.known, self.looked = _Workers.of(client), now
        return self.known

    def _next(self, client: Any, sent: dict[str, Any], done: Any) -> Iterator[Outcome]:
        """Wait for tasks to end and yield their outcomes; they are forgotten by the scheduler then."""
        if not sent:
            return
        keys = {f.key: name for name, f in sent.items()}
        batch = {keys[f.key]: f for f in done.next_batch()}
        finished = [n for n, f in batch.items() if f.status == "finished"]
        try:
            results = client.gather([batch[n] for n in finished])
        except Exception as error:
            raise SchedulerLostError from error
        results += [self._unfinished(n, f) for n, f in batch.items() if n not in finished]
        for outcome in results:
            del sent[outcome.task]
            yield self._ended(outcome)

    def _unfinished(self, name: str, future: Any) -> Outcome:
        """Return the outcome of a task that gave no result."""
        if self._was_given_up(name):
            return Outcome(
                name,
                "failed",
                f"{name} was begun {_MOST_BEGINNINGS} times and its worker was lost each time; give the workers more "
                "time (--slurm-walltime) or memory.",
            )
        if future.status != "error":
            raise SchedulerLostError
        kind = type(future.exception()).__name__
        if kind == "KilledWorker":
            message = (
                f"{name} was given up because every worker that did it was lost, most often for lack of memory; use "
                "fewer workers or give them more memory (--worker-memory, --slurm-memory)."
            )
        else:
            message = f"{name} stopped with {kind}: {future.exception()}; please report this with the run file."
        return Outcome(name, "failed", message)

    def _was_given_up(self, name: str) -> bool:
        return len(self.begun.get(name, ())) > _MOST_BEGINNINGS

    def _ended(self, outcome: Outcome) -> Outcome:
        task = self.left.pop(outcome.task)
        if outcome.status in {"failed", "blocked"}:
            self.broken.add(task.id)
        lost = tuple(f"worker {w} was lost" for w in self.begun.get(task.id, ())[:-1])
        return replace(outcome, retries=(*lost, *outcome.retries)) if lost else outcome

    def _heard(self, message: Any, sent: Mapping[str, Any]) -> None:
        """Take a message of a worker: a beginning, or how far a task is."""
        task, fraction, worker = message
        if task not in self.left:
            return
        if not worker:
            self.watch.progress(task, fraction)
            return
        self.begun.setdefault(task, []).append(worker)
        self.watch.began(task, worker)
        if self._was_given_up(task) and task in sent:
            sent[task].cancel()

    def given_up(self, reason: str) -> Iterator[Outcome]:
        """Yield a failure of everything that is left."""
        for name in list(self.left):
            yield self._ended(blocked_by(self.left[name], self.broken) or Outcome(name, "failed", f"{name}: {reason}."))


@contextlib.contextmanager
def _listening(client: Any, heard: Callable[[Any], None]) -> Iterator[str]:
    """Give a topic of this run alone, whose messages are heard: other runs may use the same scheduler."""
    topic = f"kinocyte-{uuid.uuid4().hex}"
    client.subscribe_topic(topic, lambda event: heard(event[1]))
    try:
        yield topic
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            client.unsubscribe_topic(topic)


def _in_worker(url: str, options: dict[str, Any], task: Task, topic: str) -> Outcome:
    """Run in a Dask worker."""
    from distributed import get_worker

    worker = get_worker()
    limit = worker.memory_manager.memory_limit
    share = int(limit) // worker.state.nthreads if limit else 0
    refused = too_large(task, share, f"worker {worker.name}")
    if refused is not None:
        return refused
    worker.log_event(topic, (task.id, 0.0, str(worker.name)))
    report = throttled(task.id, lambda name, fraction: worker.log_event(topic, (name, fraction, "")))
    return perform_patiently(url, options, task, report)
