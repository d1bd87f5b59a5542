"""The base model of every method."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kinocyte.core.method import Method, is_advanced, param, unit_of


class Blob(Method):
    """A method as a room would declare it."""

    kind: ClassVar[str] = "segmentation"
    method: Literal["blob"] = "blob"
    channel: str = param(help="Channel to read.")
    radius_um: float = param(5.0, help="Radius of a nucleus.", unit="um", gt=0, le=100)
    seeds: int = param(1, help="Seeds per object.", ge=1, advanced=True)


def test_name_is_the_value_of_the_literal() -> None:
    assert Blob.name() == "blob"


def test_a_class_without_a_name_is_refused() -> None:
    class Nameless(Method):
        """Forgot to declare its name."""

    class TwoNames(Method):
        """Declared two."""

        method: Literal["one", "two"] = "one"

    for cls in (Nameless, TwoNames):
        with pytest.raises(TypeError, match="must declare"):
            cls.name()


def test_a_method_cannot_be_changed() -> None:
    blob = Blob(channel="dapi")
    with pytest.raises(ValidationError, match="frozen"):
        blob.radius_um = 3.0  # type: ignore[misc]  # the point of the test
    assert hash(blob) == hash(Blob(channel="dapi"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"radius_um": 0.0},
        {"radius_um": 100.5},
        {"radius_um": float("nan")},
        {"radius_um": float("inf")},
        {"radius_um": "wide"},
        {"seeds": 0},
        {"seeds": 1.5},
        {"radius_px": 3.0},
        {"method": "other"},
    ],
)
def test_a_value_outside_the_declaration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Blob.model_validate({"channel": "dapi", **wrong})


def test_a_required_parameter_is_required() -> None:
    with pytest.raises(ValidationError, match="channel"):
        Blob.model_validate({})


def test_a_default_outside_its_own_bounds_is_refused() -> None:
    class Careless(Method):
        """Its default contradicts its bounds."""

        method: Literal["careless"] = "careless"
        radius_um: float = param(-1.0, help="Radius.", unit="um", gt=0)

    with pytest.raises(ValidationError, match="radius_um"):
        Careless()


def test_replace_validates_and_leaves_the_original() -> None:
    blob = Blob(channel="dapi", radius_um=3.0)
    wider = blob.replace(radius_um=4.0)
    assert (blob.radius_um, wider.radius_um, wider.channel) == (3.0, 4.0, "dapi")
    assert type(wider) is Blob
    with pytest.raises(ValidationError):
        blob.replace(radius_um=-1.0)
    with pytest.raises(ValidationError):
        blob.replace(radius_px=1.0)


def test_repr_shows_only_what_differs_from_the_defaults() -> None:
    assert repr(Blob(channel="dapi")) == "Blob(channel='dapi')"
    assert str(Blob(channel="dapi", radius_um=2.5, seeds=1)) == "Blob(channel='dapi', radius_um=2.5)"


def test_metadata_of_a_field_is_found_again() -> None:
    fields = Blob.model_fields
    assert unit_of(fields["radius_um"]) == "um"
    assert unit_of(fields["channel"]) is None
    assert is_advanced(fields["seeds"])
    assert not is_advanced(fields["radius_um"])
    assert not is_advanced(fields["method"])
    assert unit_of(fields["method"]) is None
    assert fields["radius_um"].description == "Radius of a nucleus."


def test_the_schema_carries_every_property_of_a_parameter() -> None:
    radius = Blob.model_json_schema()["properties"]["radius_um"]
    assert radius["description"] == "Radius of a nucleus."
    assert (radius["exclusiveMinimum"], radius["maximum"], radius["default"]) == (0, 100, 5.0)
    assert (radius["unit"], radius["advanced"]) == ("um", False)
    assert Blob.model_json_schema()["additionalProperties"] is False


@given(
    channel=st.text(max_size=20),
    radius_um=st.floats(min_value=0, max_value=100, exclude_min=True),
    seeds=st.integers(min_value=1, max_value=10**9),
)
def test_what_is_written_is_read_back(channel: str, radius_um: float, seeds: int) -> None:
    blob = Blob(channel=channel, radius_um=radius_um, seeds=seeds)
    assert Blob.model_validate(blob.model_dump()) == blob
    assert Blob.model_validate_json(blob.model_dump_json()) == blob


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_bounds_hold_for_every_number(value: float) -> None:
    allowed = 0 < value <= 100
    try:
        blob = Blob(channel="dapi", radius_um=value)
    except ValidationError:
        assert not allowed
    else:
        assert allowed
        assert blob.radius_um == value
