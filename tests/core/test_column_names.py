"""Channel names as they stand in columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import column_name, column_names, unit_of_column


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        ("gfp", "gfp"),
        ("GFP", "GFP"),
        ("Zell Körper", "Zell_Koerper"),
        ("Zell Ko\u0308rper", "Zell_Koerper"),
        ("..\\GFP (488)", "GFP_488"),
        ("../../etc", "etc"),
        ("éclat", "eclat"),
        ("5 µm", "5_um"),
        ("__a__b", "a_b"),
        ("核", "核"),
    ],
)
def test_names_are_made_safe(channel: str, name: str) -> None:
    assert column_name(channel) == name


@given(st.text())
def test_a_safe_name_stays_as_it_is(channel: str) -> None:
    try:
        name = column_name(channel)
    except ParameterError:
        assert not any(c.isascii() and c.isalnum() for c in channel)
    else:
        assert column_name(name) == name
        assert ("x" + name).isidentifier() or not name.isascii()


def test_names_without_letters_and_names_that_collide_are_refused() -> None:
    with pytest.raises(ParameterError, match="no letter"):
        column_name(" .. ")
    with pytest.raises(ParameterError, match=r"'a b' and 'a\.b' .* 'a_b'"):
        column_names(["c", "a b", "a.b"])
    assert column_names(["b", "a b"]) == {"b": "b", "a b": "a_b"}


def test_a_slope_over_distance_has_a_unit() -> None:
    assert unit_of_column("radial_gradient_gfp_per_um") == "1/um"
