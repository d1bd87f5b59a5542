"""Fixtures of the registration tests."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.registration.scenes import nuclei


@pytest.fixture(scope="session")
def scene() -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return 256 x 256 px of nuclei with their labels."""
    return nuclei(256, 60, 0)
