"""Trials done side by side, by processes of this machine or by the workers of a Dask scheduler.

Those come first that find cells others need.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager
from multiprocessing import get_context
from typing import Any, Protocol

from kinocyte.core.errors import StoreError
from kinocyte.pipeline.execute import WORKER_ENVIRONMENT
from kinocyte.pipeline.sweep.stages import Study, Trial, perform_trial

#: Settings of a trial, its fingerprint, and that of how its cells are found.
Request = tuple[Mapping[str, Any], str, str]


class _Hands(Protocol):
    """Who does trials, several at a time."""

    @property
    def many(self) -> int:
        """Return how many trials they do at a time, as far as is known now."""

    def submit(self, study: Study, settings: Mapping[str, Any], key: str) -> Any:
        """Begin a trial; return its future."""

    def wait(self, running: Sequence[Any]) -> Sequence[Any]:
        """Return the futures that are done, at least one."""

    def close(self) -> None:
        """End."""


class _Processes:
    """Processes of this machine, one thread each."""

    def __init__(self, workers: int) -> None:
        self.many = workers
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, study: Study, settings: Mapping[str, Any], key: str) -> Future[Trial]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.many, mp_context=get_context("spawn"))
        with one_thread():
            return self._pool.submit(perform_trial, study, settings, key)

    def wait(self, running: Sequence[Future[Trial]]) -> Sequence[Future[Trial]]:
        return list(wait(running, return_when=FIRST_COMPLETED)[0])

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


class _DaskWorkers:
    """Workers of a Dask scheduler, which reach experiment and scratch folder under the same names.

    A trial of a worker that is lost is done by another one. What a worker may have left half done is found as such: the
    cells of a trial count once all of them are there.
    """

    def __init__(self, connection: AbstractContextManager[Any]) -> None:
        self._stack = ExitStack()
        self._client = self._stack.enter_context(connection)

    @property
    def many(self) -> int:
        known = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return max(1, sum(int(w["nthreads"]) for w in known))

    def submit(self, study: Study, settings: Mapping[str, Any], key: str) -> Any:
        return self._client.submit(perform_trial, study, dict(settings), key, pure=False, retries=2)

    def wait(self, running: Sequence[Any]) -> Sequence[Any]:
        from distributed import wait as wait_for

        with self._client.as_current():
            done = wait_for(list(running), return_when="FIRST_COMPLETED").done
        return [f for f in running if f in done]

    def close(self) -> None:
        self._stack.close()


class Workers:
    """Does trials in this process or by others.

    Parameters
    ----------
    study : Study
        What all trials share.
    workers : int
        Processes of this machine; below 2 the trials are done in this one.
    connection : context manager, optional
        Around a Dask client, whose workers do the trials instead.
    """

    def __init__(self, study: Study, workers: int, connection: AbstractContextManager[Any] | None = None) -> None:
        self._study, self._alone = study, connection is None and workers < 2
        self._connection, self._workers = connection, workers
        self._hands: _Hands | None = None

    def perform(self, requests: Sequence[Request], *, go_on: Callable[[], bool]) -> Iterator[Trial]:
        """Do trials and yield each as it ends.

        Parameters
        ----------
        requests : sequence of Request
            What to do.
        go_on : callable
            Asked before each trial is begun; those under way are finished.

        Raises
        ------
        StoreError
            If a process was lost.
        """
        if self._alone or (self._connection is None and len(requests) < 2):
            for settings, key, _ in _in_order(requests):
                if not go_on():
                    return
                yield perform_trial(self._study, settings, key)
            return
        yield from self._side_by_side(requests, go_on)

    def _hired(self) -> _Hands:
        if self._hands is None:
            self._hands = _Processes(self._workers) if self._connection is None else _DaskWorkers(self._connection)
        return self._hands

    def _side_by_side(self, requests: Sequence[Request], go_on: Callable[[], bool]) -> Iterator[Trial]:
        hands = self._hired()
        waiting = list(_in_order(requests))
        held: set[str] = set()  # cells that a trial under way may be looking for
        ready: set[str] = set()
        running: dict[Any, str] = {}
        try:
            while waiting or running:
                while len(running) < hands.many and go_on():
                    at = next((i for i, r in enumerate(waiting) if r[2] in ready or r[2] not in held), None)
                    if at is None:
                        break
                    settings, key, cells = waiting.pop(at)
                    held.add(cells)
                    running[hands.submit(self._study, settings, key)] = cells
                if not running:
                    return
                for future in hands.wait(list(running)):
                    ready.add(running.pop(future))
                    yield future.result()
        except BrokenProcessPool as error:
            msg = "A worker process was lost, perhaps for want of memory; the same command goes on, with --workers 1."
            raise StoreError(msg) from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "distributed":
                raise
            msg = f"The Dask workers were lost ({type(error).__name__}); the same command goes on from here."
            raise StoreError(msg) from error

    def close(self) -> None:
        """End the processes, or leave the scheduler."""
        if self._hands is not None:
            self._hands.close()


def _in_order(requests: Sequence[Request]) -> Iterator[Request]:
    """Return the first trial of every way of finding cells, then the others."""
    seen: set[str] = set()
    later = []
    for request in requests:
        if request[2] in seen:
            later.append(request)
        else:
            seen.add(request[2])
            yield request
    yield from later


@contextmanager
def one_thread() -> Iterator[None]:
    """Let processes that are started meanwhile compute on one thread: numeric libraries read this once."""
    before = {name: os.environ.get(name) for name in WORKER_ENVIRONMENT}
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
