"""Cases that other programs scored, and small movies to make mistakes in."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ORACLES = Path(__file__).with_name("oracles")


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ORACLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def ctc_cases() -> ModuleType:
    """Return the module that builds the movies py-ctcmetrics scored."""
    return _module("ctc_cases")


@pytest.fixture(scope="session")
def segmentation_cases() -> ModuleType:
    """Return the module that builds the label images stardist scored."""
    return _module("segmentation_cases")


@pytest.fixture(scope="session")
def ctcmetrics() -> dict[str, dict[str, Any]]:
    """Return the numbers of py-ctcmetrics by case and name."""
    return dict(json.loads((ORACLES / "ctcmetrics.json").read_text())["cases"])


@pytest.fixture(scope="session")
def stardist() -> dict[str, Any]:
    """Return the numbers of stardist's matching."""
    return dict(json.loads((ORACLES / "stardist.json").read_text()))
