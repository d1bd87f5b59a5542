"""Corrections are never lost; two writers never meet."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from kinocyte.core.errors import BusyError, StoreError
from kinocyte.experiment.journal import Journal
from kinocyte.experiment.lock import ExperimentLock
from kinocyte.experiment.storage import Storage


class JournalMachine(RuleBasedStateMachine):
    """The journal against two plain lists."""

    def __init__(self) -> None:
        super().__init__()
        import uuid

        self.journal = Journal(Storage(f"memory://journal-{uuid.uuid4().hex}"), "p")
        self.done: list[int] = []
        self.undone: list[int] = []
        self.counter = 0

    @rule()
    def edit(self) -> None:
        self.counter += 1
        self.journal.append("link", {"n": self.counter}, "nuclei")
        self.done.append(self.counter)
        self.undone.clear()

    @rule()
    def undo(self) -> None:
        taken = self.journal.undo()
        if self.done:
            assert taken is not None
            assert taken.payload["n"] == self.done[-1]
            self.undone.append(self.done.pop())
        else:
            assert taken is None

    @precondition(lambda self: bool(self.undone))
    @rule()
    def redo(self) -> None:
        taken = self.journal.redo()
        assert taken is not None
        self.done.append(self.undone.pop())

    def teardown(self) -> None:
        assert [e.payload["n"] for e in self.journal.active()] == self.done
        numbers = [e.number for e in self.journal.entries()]
        assert numbers == list(range(1, len(numbers) + 1)), "the history is whole"


JournalMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)
test_journal = JournalMachine.TestCase


def _hold(url: str, ready: object, leave: object) -> None:
    with ExperimentLock(Storage(url)):
        ready.set()  # type: ignore[attr-defined]
        leave.wait(30)  # type: ignore[attr-defined]


def test_a_second_writer_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), ready, leave))
    other.start()
    assert ready.wait(60)
    with pytest.raises(BusyError, match=f"process {other.pid}"), ExperimentLock(Storage(tmp_path)):
        pass
    other.kill()
    other.join()
    with ExperimentLock(Storage(tmp_path)):
        pass


def test_a_remote_lock_is_refused_until_it_is_silent() -> None:
    first = ExperimentLock(Storage("memory://locked.zarr"))
    with (
        first,
        pytest.raises(BusyError, match="is being written by process"),
        ExperimentLock(Storage("memory://locked.zarr")),
    ):
        pass
    with ExperimentLock(Storage("memory://locked.zarr")):
        pass


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere; Windows has other rules")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="No permission"), ExperimentLock(Storage(tmp_path)):
        pass
