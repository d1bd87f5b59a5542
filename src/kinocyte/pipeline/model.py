"""The pipeline: one frozen model of everything that will be done to an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kinocyte.core.errors import nearest
from kinocyte.core.method import Method, param
from kinocyte.measurement.filters import FeatureFilter
from kinocyte.measurement.following import Motion
from kinocyte.measurement.paths import PathDiscs
from kinocyte.pipeline.placed import MethodOf, Place

_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,63}$"


AnySegmenter = Annotated[Method, MethodOf("segmentation")]
AnyRestorer = Annotated[Method, MethodOf("restoration")]
AnyStainer = Annotated[Method, MethodOf("stain")]
AnyRegistrar = Annotated[Method, MethodOf("registration")]
AnyLinker = Annotated[Method, MethodOf("tracking")]
AnyFeatureSet = Annotated[Method, MethodOf("measurement")]
AnyMender = Annotated[Method, MethodOf("mending")]
AnyKiller = Annotated[Method, MethodOf("killing")]
AnyTableOperation = Annotated[Method, MethodOf("table")]


class EventPlace(Place):
    """An event that is looked for in every track, or in every pair."""

    method_kind: ClassVar[str] = "event"

    event_name: str = Field(alias="name", pattern=_NAME, description="What the event or the class is called.")


#: Rows a table can be made of, by whether it is of a population and whether of an interaction.
_ROWS_OF = {
    (True, False): ("objects", "tracks", "path"),
    (False, True): ("pairs", "pair_tracks", "contacts"),
    (True, True): ("objects", "tracks", "path"),
    (False, False): (),
}


AnyEvent = Annotated[EventPlace, MethodOf("event", EventPlace)]


class InteractionPlace(Place):
    """Two populations whose cells are looked at side by side."""

    method_kind: ClassVar[str] = "interaction"

    reference: str = Field(description="Population whose cells have the neighbourhood.")
    neighbour: str = Field(description="Population that is counted in it; may be the same.")
    interaction_name: str = Field(
        "", alias="name", pattern=rf"^$|{_NAME}", description="Name of the tables; REFERENCE_NEIGHBOUR when left out."
    )
    reference_state: str | None = Field(
        None, description="State of the reference cells that take part, such as alive_state; the others have no count."
    )
    neighbour_state: str | None = Field(
        None, description="State of the neighbours, such as death_state; every value gets counts of its own."
    )
    signals: tuple[str, ...] = Field((), description="Measured columns laid beside each other for every pair.")
    window_frames: int = Field(1, ge=1, description="Frames before and after over which relative speeds are fitted.")
    max_frame_gap: int = Field(
        1, ge=1, description="Largest frame difference within one contact, 1 = no gap; a longer gap ends it."
    )
    event: tuple[AnyEvent, ...] = Field((), description="Events of pairs, [[interaction.event]].")
    victim_event: str | None = Field(
        None, description="Event of the reference, such as death, for which killers are ranked among the neighbours."
    )
    killer: AnyKiller | None = Field(None, description="How killers are ranked, [interaction.killer].")

    @property
    def called(self) -> str:
        """Return the name of the tables."""
        return self.interaction_name or f"{self.reference}_{self.neighbour}"


AnyInteraction = Annotated[InteractionPlace, MethodOf("interaction", InteractionPlace)]


class ComparisonPlace(Place):
    """A question asked of the whole experiment."""

    method_kind: ClassVar[str] = "comparison"

    title: str = Field("", description="Heading in the report; made from the keys when left out.")
    population: str | None = Field(None, description="Whose cells; needed where several populations are declared.")
    interaction: str | None = Field(None, description="Whose pairs, instead of a population's cells.")
    table: str | None = Field(
        None, description="Name of a [[table]] whose rows count, instead of a population's cells."
    )
    where: str | None = Field(None, description='Which cells count, such as "generation == 0".')


AnyComparison = Annotated[ComparisonPlace, MethodOf("comparison", ComparisonPlace)]


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
    cells: str | None = param(
        None,
        help="Population of the cells around these nuclei: cytoplasm, nucleus and their ratio are measured in every "
        "channel.",
    )
    filter: tuple[FeatureFilter, ...] = param(
        (),
        help="Which objects count, by any column that is measured: [[population.NAME.filter]]; before they are "
        "followed. A limit by Otsu's rule is found in each position.",
    )
    tracking: AnyLinker | None = param(None, help="How the cells are followed; left out to look at single frames.")
    mending: tuple[AnyMender, ...] = param(
        (), help="What is mended on the tracks, in order: [[population.NAME.mending]]."
    )
    motion: Motion = param(
        Motion(),
        help="How motion is measured along the tracks: window of speeds, arrest, lags: [population.NAME.motion].",
    )
    track_filter: tuple[FeatureFilter, ...] = param(
        (),
        help="Which lineages count, a cell with its descendants, by motion, length, or the mean of a measured column: "
        "[[population.NAME.track_filter]]; after mending.",
    )
    path: PathDiscs | None = param(
        None,
        help="What is measured in discs along every track, also before it is outlined, in gaps and after its end: "
        "[population.NAME.path], stored as NAME_path.",
    )
    event: tuple[AnyEvent, ...] = param((), help="What is looked for in the tracks: [[population.NAME.event]].")

    @field_validator("measure", mode="before")
    @classmethod
    def _names_are_tables(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple({"method": v} if isinstance(v, str) else v for v in value)
        return value


class MadeTable(_Section):
    """A table made of measured ones, step by step, in every position."""

    name: str = Field(pattern=_NAME, description="What the table is called; it is stored as NAME_table.")
    of: str = param(help="Population, interaction or earlier [[table]] whose rows it is made of.")
    rows: Literal["objects", "tracks", "path", "pairs", "pair_tracks", "contacts"] | None = param(
        None,
        help="Which rows: objects (one a cell and frame), tracks or path of a population; pairs (one a pair and "
        "frame), pair_tracks or contacts of an interaction. Left out: objects, or pairs.",
    )
    step: tuple[AnyTableOperation, ...] = param((), help="What is done to the table, in order: [[table.step]].")


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
    stain : dict of str to Stainer
        Channels that are computed from others, by the names they get.
    registration : Registrar, optional
        How drift is estimated; everything after it works on the corrected image.
    corrected : Corrected
        How the corrected image is made.
    population : dict of str to Population
        The kinds of cell.
    interaction : tuple of Interaction
        Who stands near whom.
    table : tuple of MadeTable
        Tables made of what was measured.
    comparison : tuple of Comparison
        What is asked of the whole experiment once every position is done.
    report : Report
        What the report shows.
    """

    name: str = param("", help="Title of the analysis, shown in the report.")
    seed: int = param(1, ge=0, help="Fixes whatever chance there is.")
    restoration: dict[str, AnyRestorer] = param(
        {}, help="One table a correction of grey values, [restoration.NAME]; applied in the order of the file."
    )
    stain: dict[str, AnyStainer] = param(
        {},
        help="One table a channel that a network computes from others, [stain.NAME]; later steps use it by that name.",
    )
    registration: AnyRegistrar | None = param(
        None, help="How drift is estimated; left out, the movies are taken as they are."
    )
    corrected: Corrected = param(Corrected(), help="How the image without drift is made.")
    population: dict[str, Population] = param({}, help="One table a kind of cell: [population.NAME...].")
    interaction: tuple[AnyInteraction, ...] = param((), help="Which cells stand near which: [[interaction]].")
    table: tuple[MadeTable, ...] = param((), help="Tables made of what was measured, step by step: [[table]].")
    comparison: tuple[AnyComparison, ...] = param(
        (), help="What is asked of the whole experiment once every position is done: [[comparison]]."
    )
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

    @model_validator(mode="after")
    def _other_populations_are_known(self) -> Pipeline:
        for name, population in self.population.items():
            said = {"cells": (population.cells,) if population.cells is not None else ()}
            said["segmentation"] = tuple(getattr(population.segmentation, "populations", ()))
            for key, others in said.items():
                for other in others:
                    known = [n for n in self.population if n != name]
                    if other not in known:
                        msg = f"population.{name}.{key} names the population '{other}'; {nearest(other, known)}"
                        raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _mending_needs_tracks(self) -> Pipeline:
        for name, population in self.population.items():
            for key in ("mending", "motion", "track_filter", "path", "event"):
                # the file of a run writes defaults out, with or without tracks
                given = getattr(population, key) != Population.model_fields[key].default
                if given and population.tracking is None:
                    msg = f"population.{name}.{key} needs tracks; add [population.{name}.tracking]"
                    raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _names_are_known_and_differ(self) -> Pipeline:
        for interaction in self.interaction:
            for name in (interaction.reference, interaction.neighbour):
                if name not in self.population:
                    known = nearest(name, self.population)
                    msg = f"interaction '{interaction.called}' names the population '{name}'; {known}"
                    raise ValueError(msg)
            sides = (interaction.reference, interaction.neighbour)
            untracked = next((s for s in sides if self.population[s].tracking is None), None)
            if untracked and (interaction.event or interaction.killer or interaction.signals):
                msg = f"interaction '{interaction.called}' follows pairs; add [population.{untracked}.tracking]"
                raise ValueError(msg)
            if (interaction.killer is None) != (interaction.victim_event is None):
                msg = f"interaction '{interaction.called}' needs both killer and victim_event, or neither"
                raise ValueError(msg)
        called = [i.called for i in self.interaction]
        groups = {"interaction": called}
        groups |= {f"population.{n}.event": [e.event_name for e in p.event] for n, p in self.population.items()}
        groups |= {f"interaction '{i.called}', event": [e.event_name for e in i.event] for i in self.interaction}
        for place, names in groups.items():
            twice = next((n for n in names if names.count(n) > 1), None)
            if twice is not None:
                msg = f"{place}: two are called '{twice}'; give one of them another name"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _tables_come_from_somewhere(self) -> Pipeline:
        interactions = {i.called for i in self.interaction}
        made: list[str] = []
        for table in self.table:
            if table.name in made:
                msg = f"two tables are called '{table.name}'; give one of them another name"
                raise ValueError(msg)
            known = [*self.population, *sorted(interactions), *made]
            if table.of not in known:
                msg = f"table '{table.name}' is made of '{table.of}', which is nothing before it; "
                raise ValueError(msg + nearest(table.of, known))
            fitting = _ROWS_OF[table.of in self.population, table.of in interactions]
            if table.rows is not None and table.rows not in fitting:
                said = f"give one of: {', '.join(fitting)}" if fitting else "leave out rows"
                msg = f"table '{table.name}': '{table.of}' has no rows '{table.rows}'; {said}"
                raise ValueError(msg)
            if table.rows == "tracks" and self.population[table.of].tracking is None:
                msg = f"table '{table.name}' needs tracks; add [population.{table.of}.tracking]"
                raise ValueError(msg)
            if table.rows == "path" and self.population[table.of].path is None:
                msg = f"table '{table.name}' needs what is measured along tracks; add [population.{table.of}.path]"
                raise ValueError(msg)
            made.append(table.name)
        for asked in self.comparison:
            if asked.table is not None and asked.table not in made:
                msg = f"a comparison names the table '{asked.table}'; {nearest(asked.table, made)}"
                raise ValueError(msg)
        return self

    def as_document(self) -> dict[str, Any]:
        """Return the pipeline as JSON-able values, every default written out."""
        document: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return document


def json_schema() -> Mapping[str, Any]:
    """Return the JSON schema of a whole pipeline, with unit, bounds and help of every parameter."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Pipeline.model_json_schema()}
