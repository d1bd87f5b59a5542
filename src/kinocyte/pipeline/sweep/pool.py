"""Trials done by processes of this machine, those first that find cells others need."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from kinocyte.core.errors import StoreError
from kinocyte.pipeline.execute import WORKER_ENVIRONMENT
from kinocyte.pipeline.sweep.stages import Study, Trial, perform_trial

#: Settings of a trial, its fingerprint, and that of how its cells are found.
Request = tuple[Mapping[str, Any], str, str]


class Workers:
    """Does trials in this process or in others, one thread each."""

    def __init__(self, study: Study, workers: int) -> None:
        self._study, self._workers = study, workers
        self._pool: ProcessPoolExecutor | None = None

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
        if self._workers < 2 or len(requests) < 2:
            for settings, key, _ in _in_order(requests):
                if not go_on():
                    return
                yield perform_trial(self._study, settings, key)
            return
        yield from self._in_processes(requests, go_on)

    def _in_processes(self, requests: Sequence[Request], go_on: Callable[[], bool]) -> Iterator[Trial]:
        waiting = list(_in_order(requests))
        held: set[str] = set()  # cells that a trial under way may be looking for
        ready: set[str] = set()
        running: dict[Future[Trial], str] = {}
        try:
            while waiting or running:
                while len(running) < self._workers and go_on():
                    at = next((i for i, r in enumerate(waiting) if r[2] in ready or r[2] not in held), None)
                    if at is None:
                        break
                    settings, key, cells = waiting.pop(at)
                    held.add(cells)
                    running[self._submit(settings, key)] = cells
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    ready.add(running.pop(future))
                    yield future.result()
        except BrokenProcessPool as error:
            msg = "A worker process was lost, perhaps for want of memory; the same command goes on, with --workers 1."
            raise StoreError(msg) from error

    def _submit(self, settings: Mapping[str, Any], key: str) -> Future[Trial]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._workers, mp_context=get_context("spawn"))
        with one_thread():
            return self._pool.submit(perform_trial, self._study, settings, key)

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


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
