"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: threads of libraries would only wait for each other
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the stories of a module in one window, in one process; all other tests go wherever there is room."""
    from xdist.scheduler import LoadScopeScheduling

    class ByWindow(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.split("::", 1)[0] if nodeid.startswith("tests/app/") else nodeid

    return ByWindow(config, log)


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real data; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data is not at {SHARED_DATA}; see CONTRIBUTING.md")
    return SHARED_DATA
