"""Fixtures every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: threads of libraries would only wait for each other
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

#: files whose tests share what takes seconds to make: two processes would make it twice
TOGETHER = (
    "tests/cli/test_classifier.py", "tests/cli/test_cli.py", "tests/cli/test_drift.py", "tests/examples/test_assays.py",
    "tests/pipeline/test_events_and_comparisons.py", "tests/pipeline/test_made_of_others.py",
    "tests/pipeline/test_made_tables.py", "tests/report/test_made_plots.py", "tests/report/test_page.py",
)  # fmt: skip

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the stories of a window, and tests that share much, in one process; others go wherever there is room."""
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.split("::", 1)[0]
            return module if module.startswith("tests/app/") or module in TOGETHER else nodeid

    return ByModule(config, log)


@pytest.fixture(autouse=True)
def _numpy_tells() -> Iterator[None]:
    """Let every test see numpy's warnings: lifelines silences them for the whole process, so order would decide."""
    with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        yield


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real data; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data is not at {SHARED_DATA}; see CONTRIBUTING.md")
    return SHARED_DATA
