from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinocyte.interop.units import micrometres, minutes, natural_key, tagged_pixel_um, timing


@pytest.mark.parametrize(
    "unit", ["um", "µm", "μm", "micron", "microns", "micrometer", "\\u00B5m", "\\u00b5m", " um\x00"]
)
def test_every_spelling_of_the_micrometre(unit: str) -> None:
    assert micrometres(0.65, unit) == 0.65


@pytest.mark.parametrize(
    ("value", "unit", "um"),
    [
        (325.0, "nm", 0.325),
        (0.001, "mm", 1.0),
        (1e-4, "cm", 1.0),
        (1e-6, "m", 1.0),
        (1 / 25400, "inch", 1.0),
        (5.0, "angstrom", 5e-4),
    ],
)
def test_lengths(value: float, unit: str, um: float) -> None:
    assert micrometres(value, unit) == pytest.approx(um, rel=1e-12)


@pytest.mark.parametrize("unit", ["pixel", "pixels", "", None, "reference frame", "s"])
def test_what_is_no_length(unit: str | None) -> None:
    assert micrometres(1.0, unit) is None


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_size(value: float) -> None:
    assert micrometres(value, "um") is None


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(90.0, "s", 1.5), (1800.0, "sec", 30.0), (2.0, "h", 120.0), (500.0, "ms", 0.5 / 60), (3.0, "min", 3.0)],
)
def test_times(value: float, unit: str, expected: float) -> None:
    assert minutes(value, unit) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dpi", [1, 72, 96, 100, 150, 200, 300, 600, 1200, 2400, 4800])
def test_print_resolutions_are_no_calibration(dpi: int) -> None:
    assert tagged_pixel_um(dpi, 25400.0) is None
    assert tagged_pixel_um(1, 10000.0) is None


def test_a_microscopes_resolution_tag_is_one() -> None:
    assert tagged_pixel_um(10000 / 0.65, 10000.0) == pytest.approx(0.65, rel=1e-12)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=30, unique=True))
def test_natural_order_is_the_order_of_numbers(numbers: list[int]) -> None:
    names = [f"img_t{n}_c1" for n in numbers]
    assert sorted(names, key=natural_key) == [f"img_t{n}_c1" for n in sorted(numbers)]


def test_times_on_the_grid_are_an_interval() -> None:
    assert timing([0.0, 5.0, 10.0], None) == (5.0, None)
    assert timing([1.0, 6.001, 11.0], 5.0) == (5.0, None)


def test_times_off_the_grid_are_kept() -> None:
    interval, times = timing([0.0, 5.0, 20.0], 5.0)
    assert interval == 5.0
    assert times == (0.0, 5.0, 20.0)


@pytest.mark.parametrize("bad", [[0.0, None, 2.0], [0.0, 0.0, 0.0], [3.0, 2.0], [1.0], [float("nan"), 1.0]])
def test_times_that_tell_nothing(bad: list[float | None]) -> None:
    assert timing(bad, None) == (None, None)


@given(st.floats(0.01, 1e4), st.integers(2, 200))
def test_a_grid_gives_back_its_interval(step: float, n: int) -> None:
    interval, times = timing(list(np.arange(n) * step), None)
    assert times is None
    assert interval == pytest.approx(step, rel=1e-9)
