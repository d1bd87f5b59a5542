"""Faults of the moment are tried again and noted; bad input fails at once."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kinocyte import Experiment
from kinocyte.core.errors import StoreError
from kinocyte.experiment.storage import write_error
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import load_pipeline
from kinocyte.pipeline.plan import plan_run
from kinocyte.pipeline.run import run
from kinocyte.pipeline.runfile import read_run
from kinocyte.pipeline.steps.segmentation import Segmentation
from kinocyte.pipeline.workers import retrying
from kinocyte.pipeline.workers.retrying import PAUSES_S, perform_patiently
from tests.cluster.conftest import assert_same, results

Maker = Callable[..., Experiment]
HERE = Workers(workers=0)


def _stale() -> StoreError:
    """Return the error of a network file system whose server was changed, as storage raises it."""
    cause = OSError(errno.ESTALE, "Stale file handle")
    error = write_error("/mnt/plate.zarr", cause)
    error.__cause__ = cause
    return error


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that were made; none of them takes any time."""
    made: list[float] = []
    monkeypatch.setattr(retrying, "pause", made.append)
    return made


def _failing(monkeypatch: pytest.MonkeyPatch, times: int, error: Callable[[], Exception]) -> list[str]:
    """Make segmentation fail some times before it works; return the positions that were tried."""
    tried: list[str] = []
    genuine = Segmentation.run

    def fail_first(self: Segmentation, position: Any, **rest: Any) -> dict[str, Any]:
        tried.append(position.id)
        if tried.count(position.id) <= times:
            raise error()
        return genuine(self, position, **rest)

    monkeypatch.setattr(Segmentation, "run", fail_first)
    return tried


def test_a_fault_of_the_moment_is_tried_again_and_noted(
    plate: Maker, pipeline_file: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    declared = load_pipeline(pipeline_file)
    calm, troubled = plate("calm.zarr", n_positions=2), plate("troubled.zarr", n_positions=2)
    assert run(declared, calm, where=HERE).ok
    tried = _failing(monkeypatch, 2, _stale)
    result = run(declared, troubled, where=HERE)
    assert result.ok, result.failed
    assert tried == ["B1/1"] * 3 + ["B2/1"] * 3
    assert_same(results(calm), results(troubled))
    again = [o for o in result.outcomes if o.retries]
    assert [o.task for o in again] == ["B1/1:nuclei.segmentation", "B2/1:nuclei.segmentation"]
    assert "Stale file handle" in again[0].retries[0]
    noted = read_run(troubled.storage)
    assert noted is not None
    assert sum(len(t.get("retries", ())) for t in noted["tasks"]) == 4
    assert len(pauses) == 4
    for made, planned in zip(pauses, [*PAUSES_S[:2]] * 2, strict=True):
        assert 0.8 * planned <= made <= 1.2 * planned
    assert pauses[0] != pauses[2], "two tasks do not come back in the same second"


def test_patience_ends(plate: Maker, pipeline_file: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    tried = _failing(monkeypatch, 99, lambda: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
    task = plan_run(load_pipeline(pipeline_file), plate("e.zarr", n_positions=1)).todo[0]
    url = plate("f.zarr", n_positions=1).url
    outcome = perform_patiently(url, {}, task, lambda _: None)
    assert outcome.status == "failed"
    assert "Connection reset by peer" in outcome.message
    assert len(tried) == len(PAUSES_S) + 1
    assert len(outcome.retries) == len(PAUSES_S)
    assert pauses == sorted(pauses), "longer and longer"
    before = list(pauses)
    pauses.clear()
    perform_patiently(url, {}, task, lambda _: None)
    assert pauses == before, "no chance enters"


@pytest.mark.parametrize(
    "error",
    [
        lambda: StoreError("Frame 0 cannot be read; import the position again."),
        lambda: OSError(errno.ENOSPC, "No space left on device"),
        lambda: PermissionError(errno.EACCES, "Permission denied"),
        lambda: ValueError("bad input"),
        MemoryError,
    ],
)
def test_what_would_fail_again_is_not_tried_again(
    plate: Maker,
    pipeline_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    pauses: list[float],
    error: Callable[[], Exception],
) -> None:
    tried = _failing(monkeypatch, 99, error)
    result = run(load_pipeline(pipeline_file), plate("e.zarr", n_positions=1), where=HERE)
    assert [o.status for o in result.outcomes] == ["failed", "blocked", "blocked"]
    assert tried == ["B1/1"]
    assert pauses == []
    assert not any(o.retries for o in result.outcomes)
