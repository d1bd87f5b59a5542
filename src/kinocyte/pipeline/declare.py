"""The steps that a pipeline declares, in an order in which they can be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kinocyte.core.errors import ParameterError
from kinocyte.events.base import EventMethod
from kinocyte.events.table_operations import JoinPopulations
from kinocyte.pipeline.model import AnyEvent, EventPlace, InteractionPlace, MadeTable, Pipeline, Population
from kinocyte.pipeline.steps.base import Step
from kinocyte.pipeline.steps.combination import Combination
from kinocyte.pipeline.steps.compartments import Compartments
from kinocyte.pipeline.steps.correction import Correction
from kinocyte.pipeline.steps.events import Events, NeighbourEvents
from kinocyte.pipeline.steps.filtering import Filtering
from kinocyte.pipeline.steps.interaction import Interaction
from kinocyte.pipeline.steps.measurement import Measurement
from kinocyte.pipeline.steps.objects import ImportedObjects
from kinocyte.pipeline.steps.path import Path
from kinocyte.pipeline.steps.registration import Registration
from kinocyte.pipeline.steps.replay import Replay
from kinocyte.pipeline.steps.segmentation import Segmentation
from kinocyte.pipeline.steps.tables import Cells, Tables
from kinocyte.pipeline.steps.tracking import Tracking
from kinocyte.segmentation.combined import Combined


def steps_of(pipeline: Pipeline) -> list[Step]:
    """Return the steps that a pipeline declares, in order.

    Events that name columns of a neighbourhood run after the interactions, all others before them, so that
    interactions may count cells by state.
    """
    steps: list[Step] = []
    restorers = tuple(pipeline.restoration.values())
    moves = pipeline.registration is not None
    corrected = moves or bool(restorers) or bool(pipeline.stain)
    if pipeline.registration is not None:
        steps.append(Registration(method=pipeline.registration, restorers=restorers))
    if corrected:
        steps.append(
            Correction(settings=pipeline.corrected, restorers=restorers, stains=pipeline.stain, undo_drift=moves)
        )
    for name in _in_order(pipeline.population):
        steps.extend(_cells(name, pipeline.population[name], corrected=corrected, stains=tuple(pipeline.stain)))
    for name, population in pipeline.population.items():
        if population.cells is not None:
            on_corrected = corrected and population.segmentation is not None
            steps.append(Compartments(population=name, cells=population.cells, on_corrected=on_corrected))
    split = {n: split_events(p.event, _names_around(n, pipeline.interaction)) for n, p in pipeline.population.items()}
    for name, (first, _) in split.items():
        if first:
            steps.append(Events(population=name, methods=first, measured=_measured(pipeline.population[name])))
    with_events = {n for n, (first, _) in split.items() if first}
    steps.extend(_interaction(i, pipeline, with_events) for i in pipeline.interaction)
    for name, (first, late) in split.items():
        if late:
            around = _names_around(name, pipeline.interaction)
            steps.append(
                NeighbourEvents(
                    population=name,
                    methods=late,
                    measured=_measured(pipeline.population[name]),
                    interactions=tuple(around),
                    earlier=bool(first),
                )
            )
    return [*steps, *(_table(t, pipeline, split) for t in pipeline.table)]


def _in_order(populations: Mapping[str, Population]) -> list[str]:
    """Return the populations with those that are combined before those that combine them.

    Raises
    ------
    ParameterError
        If populations are made of each other.
    """
    order: list[str] = []
    left = dict(populations)
    while left:
        needs = {n: set(getattr(p.segmentation, "populations", ())) - set(order) for n, p in left.items()}
        ready = [n for n, missing in needs.items() if not missing]
        if not ready:
            msg = f"The populations {', '.join(sorted(left))} are made of each other; segment one of them from pixels."
            raise ParameterError(msg)
        order += ready
        left = {n: p for n, p in left.items() if n not in ready}
    return order


def _cells(name: str, population: Population, *, corrected: bool, stains: tuple[str, ...]) -> Iterator[Step]:
    if isinstance(population.segmentation, Combined):
        yield Combination(population=name, method=population.segmentation, on_corrected=corrected)
    elif population.segmentation is not None:
        yield Segmentation(population=name, method=population.segmentation, on_corrected=corrected, stains=stains)
    else:  # labels that came with the movie lie on its raw pixels
        yield ImportedObjects(population=name)
    if population.measure:
        on_corrected = corrected and population.segmentation is not None
        yield Measurement(population=name, methods=population.measure, on_corrected=on_corrected)
    yield Filtering(population=name, filters=population.filter, methods=population.measure)
    if population.tracking is not None:
        yield Tracking(
            population=name,
            method=population.tracking,
            mending=population.mending,
            filters=population.track_filter,
            motion=population.motion,
            methods=population.measure,
        )
    yield Replay(
        population=name,
        methods=population.measure,
        on_corrected=corrected and population.segmentation is not None,
        tracked=population.tracking is not None,
        motion=population.motion,
        mended=population.tracking is not None and bool(population.mending),
    )
    if population.path is not None:
        on_corrected = corrected and population.segmentation is not None
        yield Path(population=name, method=population.path, on_corrected=on_corrected)


def _measured(population: Population) -> tuple[str, ...]:
    """Return the steps that measure the cells of a population."""
    steps = {"measurement": bool(population.measure), "compartments": population.cells is not None}
    return tuple(name for name, is_there in steps.items() if is_there)


def _names_around(population: str, interactions: Sequence[InteractionPlace]) -> list[str]:
    """Return the interactions in which a population is the reference."""
    return [i.called for i in interactions if i.reference == population]


def split_events(
    events: Sequence[AnyEvent], interactions: Sequence[str]
) -> tuple[tuple[EventPlace, ...], tuple[EventPlace, ...]]:
    """Return the events that need no neighbourhood, and those that do, each in order."""
    first: list[EventPlace] = []
    late: list[EventPlace] = []
    for event in events:
        method = event.bare
        columns = method.columns if isinstance(method, EventMethod) else ()
        after = method.after if isinstance(method, EventMethod) else None
        around = any(c.startswith(f"{i}_") for c in columns for i in interactions)
        follows = any(e.event_name == after or f"{e.event_name}_state" in columns for e in late)
        (late if around or follows else first).append(event)
    return tuple(first), tuple(late)


_Split = Mapping[str, tuple[tuple[EventPlace, ...], tuple[EventPlace, ...]]]


def _table(table: MadeTable, pipeline: Pipeline, split: _Split) -> Tables:
    """Return the step of a table, with all that it may read named."""
    interactions = {i.called for i in pipeline.interaction}
    earlier = [t.name for t in pipeline.table[: pipeline.table.index(table)]]
    named = [str(o.other) for o in table.step if isinstance(o, JoinPopulations)]
    owner = owner_of(table.name, pipeline)
    read = dict.fromkeys([*([owner] if owner else []), *(n for n in named if n in pipeline.population)])
    made = [n for n in dict.fromkeys([table.of, *named]) if n in earlier and n not in read]
    default = "pairs" if table.of in interactions else "objects"
    return Tables(
        population=table.name,
        of=table.of,
        rows="" if table.of in made else table.rows or default,
        operations=table.step,
        cells=tuple(_all_of(n, pipeline, split[n]) for n in read),
        owner=owner,
        made=tuple(made),
        interaction=table.of if table.of in interactions and table.of not in pipeline.population else None,
    )


def owner_of(table: str, pipeline: Pipeline) -> str | None:
    """Return the population that the rows of a table come from; None for an interaction."""
    tables = {t.name: t for t in pipeline.table}
    of = tables[table].of
    while of not in pipeline.population and of in tables:
        of = tables[of].of
    return of if of in pipeline.population else None


def _all_of(name: str, pipeline: Pipeline, events: tuple[Sequence[EventPlace], Sequence[EventPlace]]) -> Cells:
    """Return a population with every table that the pipeline makes of it."""
    population = pipeline.population[name]
    around = _names_around(name, pipeline.interaction)
    steps = {
        "segmentation": True,
        "measurement": bool(population.measure),
        "compartments": population.cells is not None,
        "tracking": population.tracking is not None,
        "path": population.path is not None,
        "events": bool(events[0]),
        "neighbour_events": bool(events[1]),
    }
    tables = {
        "measurement": "features",
        "compartments": "compartments",
        "tracking": "members",
        "events": "states",
        "neighbour_events": "neighbour_states",
    }
    done = [step for step, there in steps.items() if there]
    return Cells(
        population=name,
        beside=(*(f"{name}_{tables[s]}" for s in done if s in tables), *(f"{i}_neighbourhood" for i in around)),
        events=tuple(f"{name}_{s}" for s in done if s.endswith("events")),
        reads=(*(f"{name}.{s}" for s in done), *(f"{i}.interaction" for i in around)),
    )


def _interaction(interaction: InteractionPlace, pipeline: Pipeline, with_events: set[str]) -> Interaction:
    sides = (interaction.reference, interaction.neighbour)
    needs_events = any(
        k is not None for k in (interaction.reference_state, interaction.neighbour_state, interaction.victim_event)
    )
    return Interaction(
        population=interaction.called,
        reference=interaction.reference,
        neighbour=interaction.neighbour,
        method=interaction,
        tracked=tuple(dict.fromkeys(s for s in sides if pipeline.population[s].tracking is not None)),
        measured=tuple(dict.fromkeys(s for s in sides if pipeline.population[s].measure)),
        classed=tuple(dict.fromkeys(s for s in sides if s in with_events)) if needs_events else (),
    )
