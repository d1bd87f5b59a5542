"""The reference made from the models."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field

from kinocyte.core import registry
from kinocyte.core.method import Method, param
from kinocyte.core.reference import (
    KIND_ORDER,
    Parameter,
    kind_section,
    method_section,
    ordered_kinds,
    parameters,
    reference,
)


class Smooth(BaseModel):
    """Blur by a Gaussian."""

    sigma_um: float = param(1.0, help="Width.", unit="um", gt=0)


class Sharpen(BaseModel):
    """Sharpen."""

    filter: Literal["sharpen"] = "sharpen"
    gain: float = param(2.0, help="Strength.")


class Blur(BaseModel):
    """Blur by a mean."""

    filter: Literal["blur"] = "blur"
    radius_um: float = param(1.0, help="Radius.", unit="um")


class Full(Method):
    """Find cells by ``everything``.

    A second paragraph.

    Parameters
    ----------
    channel : str
        Not repeated in the reference.
    """

    kind: ClassVar[str] = "segmentation"
    references: ClassVar[tuple[str, ...]] = ("Otsu 1979, doi:10.1109/TSMC.1979.4310076",)
    method: Literal["full"] = "full"
    channel: str = param(help="Channel | to read.")
    rule: Literal["otsu", "li"] = param("otsu", help="Rule.")
    min_area_um2: float | None = param(None, help="Smallest object.", unit="um2", ge=0, le=1000)
    fill: bool = param(True, help="Fill holes.")
    n: int = param(3, help="Count.", gt=0, lt=9, advanced=True)
    window: tuple[int, float] = param((1, 2.0), help="Pair.")
    channels: tuple[str, ...] = param((), help="Further channels.")
    weights: dict[str, float] = param({"area": 1.0}, help="Weights.")
    filters: list[Smooth] = param([], help="Filters.")
    either: Annotated[Sharpen | Blur, Field(discriminator="filter")] = param(Blur(), help="One of two.")


def rows() -> dict[str, Parameter]:
    return {p.name: p for p in parameters(Full.model_json_schema())}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("channel", ("text", "", "required", "")),
        ("rule", ('`"otsu"`, `"li"`', "", '"otsu"', "")),
        ("min_area_um2", ("number or none", "µm²", "none", "≥ 0, ≤ 1000")),
        ("fill", ("true or false", "", "true", "")),
        ("n", ("whole number", "", "3", "> 0, < 9")),
        ("window", ("list of whole number, number", "", "[1, 2.0]", "")),
        ("channels", ("list of text", "", "[]", "")),
        ("weights", ("table of number", "", "{ area = 1.0 }", "")),
        ("filters", ("list of [Smooth](#model-smooth)", "", "[]", "")),
        (
            "either",
            (
                "table with `filter` = [`blur`](#model-blur), [`sharpen`](#model-sharpen)",
                "",
                '{ filter = "blur", radius_um = 1.0 }',
                "",
            ),
        ),
    ],
)
def test_each_parameter_is_told_in_words(name: str, expected: tuple[str, ...]) -> None:
    row = rows()[name]
    assert (row.type, row.unit, row.default, row.bounds) == expected


def test_the_order_is_that_of_the_declaration_and_the_selector_is_left_out() -> None:
    assert list(rows()) == [n for n in Full.model_fields if n != "method"]


def test_a_section_holds_text_table_nested_models_and_sources() -> None:
    text = method_section(Full)
    assert text.startswith("### segmentation: `full` { #segmentation-full }\n")
    assert "Find cells by `everything`." in text
    assert "A second paragraph." in text
    assert "Not repeated" not in text
    assert r"Channel \| to read." in text
    assert "Count. *(advanced)*" in text
    assert "#### Smooth { #segmentation-full-smooth }" in text
    assert "| `sigma_um` | number | µm | `1.0` | > 0 | Width. |" in text
    assert "list of [Smooth](#segmentation-full-smooth)" in text
    assert "#### filter: `blur` { #segmentation-full-blur }" in text
    assert "| `filter` |" not in text
    assert "- Otsu 1979, doi:10.1109/TSMC.1979.4310076" in text


def test_every_row_of_a_table_has_six_cells() -> None:
    table = [line for line in method_section(Full).splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in table} == {7}


def test_a_method_without_parameters_says_so() -> None:
    class Bare(Method):
        """Do nothing else."""

        kind: ClassVar[str] = "tracking"
        method: Literal["bare"] = "bare"

    assert "It has no parameters." in method_section(Bare)


def test_the_reference_names_every_installed_method_and_parameter() -> None:
    text = reference()
    for kind in registry.kinds():
        assert kind_section(kind) in text
        for name, cls in registry.methods(kind).items():
            assert f"### {kind}: `{name}` {{" in text
            section: Any = method_section(cls)
            for parameter in registry.parameters(cls):
                assert f"| `{parameter}` |" in section


def test_kinds_come_in_the_order_of_a_pipeline() -> None:
    kinds = ordered_kinds()
    assert sorted(kinds) == registry.kinds()
    known = [k for k in kinds if k in KIND_ORDER]
    assert kinds[: len(known)] == sorted(known, key=KIND_ORDER.index)
