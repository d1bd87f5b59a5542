"""The pipeline: one frozen model of everything that will be done to an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, field_validator
from pydantic_core import CoreSchema, core_schema

from kinocyte.core import registry
from kinocyte.core.method import Method, param

_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,63}$"


class MethodOf:
    """Annotation of a field that takes any installed method of one kind, told apart by its key ``method``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the union of the installed methods, so that refusals carry the place of the wrong key."""
        choices = {name: handler.generate_schema(cls) for name, cls in registry.methods(self.kind).items()}
        return core_schema.tagged_union_schema(choices, discriminator="method")


AnySegmenter = Annotated[Method, MethodOf("segmentation")]
AnyRestorer = Annotated[Method, MethodOf("restoration")]
AnyRegistrar = Annotated[Method, MethodOf("registration")]
AnyLinker = Annotated[Method, MethodOf("tracking")]
AnyFeatureSet = Annotated[Method, MethodOf("measurement")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Population(_Section):
    """One kind of cell: how it is segmented, followed and measured."""

    segmentation: AnySegmenter | None = param(
        None, help="How the cells are found; left out where label images were imported."
    )
    measure: tuple[AnyFeatureSet, ...] = param(
        ({"method": "shape"}, {"method": "intensity"}),
        help='Feature sets, by name ("shape") or as a table with parameters ({ method = "shape" }).',
    )
    tracking: AnyLinker | None = param(None, help="How the cells are followed; left out to look at single frames.")

    @field_validator("measure", mode="before")
    @classmethod
    def _names_are_tables(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple({"method": v} if isinstance(v, str) else v for v in value)
        return value


class Corrected(_Section):
    """How frames are moved when the corrected image is made."""

    interpolation: Literal["nearest", "linear", "cubic", "lanczos", "fourier"] = param(
        "linear", help="How pixels between pixels are found; nearest never makes new grey values."
    )
    fill: float = param(0.0, help="Grey value where a frame shows nothing after it was moved.")


class Report(_Section):
    """The report page written at the end of a run."""

    by: str | None = param(
        None, help="Condition column that makes the groups; all that differ between wells when left out."
    )


class Pipeline(_Section):
    """What is done to every position of an experiment.

    Attributes
    ----------
    name : str
        Title in the report.
    seed : int
        Fixes whatever chance there is; the same seed gives the same result with any number of workers.
    restoration : dict of str to Restorer
        How grey values are corrected, in order.
    registration : Registrar, optional
        How drift is estimated; everything after it works on the corrected image.
    corrected : Corrected
        How the corrected image is made.
    population : dict of str to Population
        The kinds of cell.
    report : Report
        What the report shows.
    """

    name: str = param("", help="Title of the analysis, shown in the report.")
    seed: int = param(1, ge=0, help="Fixes whatever chance there is.")
    restoration: dict[str, AnyRestorer] = param(
        {}, help="One table a correction of grey values, [restoration.NAME]; applied in the order of the file."
    )
    registration: AnyRegistrar | None = param(
        None, help="How drift is estimated; left out, the movies are taken as they are."
    )
    corrected: Corrected = param(Corrected(), help="How the image without drift is made.")
    population: dict[str, Population] = param({}, help="One table a kind of cell: [population.NAME...].")
    report: Report = param(Report(), help="What the report shows.")

    @field_validator("population")
    @classmethod
    def _names_are_plain(cls, value: dict[str, Population]) -> dict[str, Population]:
        import re

        for name in value:
            if re.match(_NAME, name) is None:
                msg = f"'{name}' cannot name a population: start with a letter and use letters, digits and _ only"
                raise ValueError(msg)
        return value

    def as_document(self) -> dict[str, Any]:
        """Return the pipeline as JSON-able values, every default written out."""
        document: dict[str, Any] = self.model_dump(mode="json")
        return document


def json_schema() -> Mapping[str, Any]:
    """Return the JSON schema of a whole pipeline, with unit, bounds and help of every parameter."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Pipeline.model_json_schema()}
