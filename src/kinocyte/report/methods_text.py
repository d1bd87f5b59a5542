"""What was done, sentence by sentence, for the methods section of a paper; and the same as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from kinocyte.core.method import Method, unit_of
from kinocyte.core.reference import KIND_ORDER
from kinocyte.core.version import __version__
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.records import Record
from kinocyte.report.overlay import time_text

#: What a step did to what, before the name of its method.
_VERBS: Mapping[str, str] = {
    "restoration": "The images were restored",
    "stain": "Channels were computed from others",
    "registration": "Drift of the stage was corrected",
    "segmentation": "{population} were segmented",
    "tracking": "{population} were tracked",
    "measurement": "{population} were measured",
    "events": "Events of {population} were found",
    "interaction": "Neighbours ({population}) were found",
    "neighbour_events": "Events of {population} that depend on neighbours were found",
    "compartments": "Nuclei of {population} were paired with the cells around them",
    "table": "The table {population} was made",
    "filtering": "{population} were filtered",
    "replay": "Corrections made by hand were applied to {population}",
}
#: Steps without methods of a kind of their own, by the kind after which they come.
_AFTER: Mapping[str, str] = {
    "neighbour_events": "interaction", "compartments": "measurement", "filtering": "segmentation", "replay": "tracking",
}  # fmt: skip
#: Keys of a place in the pipeline file as a sentence names them; None where the sentence names them already.
_SAID: Mapping[str, str | None] = {"event_name": "event", "interaction_name": None}


@dataclass(frozen=True, slots=True)
class Step:
    """One step with one set of parameters, and the positions it ran on."""

    step: str
    population: str | None
    methods: tuple[Mapping[str, Any], ...]
    seeds: tuple[int, ...]
    positions: tuple[str, ...]
    seconds: float
    warnings: tuple[tuple[str, str], ...]
    versions: Mapping[str, str]

    @property
    def title(self) -> str:
        """Return the step with its population: ``segmentation of nuclei``."""
        return f"{self.step} of {self.population}" if self.population else self.step


def steps(experiment: Experiment) -> list[Step]:
    """Return what was run, from the records of all positions, in the order in which data walks through the steps."""
    found: dict[str, list[tuple[str, Record]]] = {}
    for position in experiment.positions.values():
        for record in position.records.all():
            document = [record.step, record.population, record.method]  # a position may have a seed of its own
            found.setdefault(json.dumps(document, sort_keys=True, default=str), []).append((position.id, record))
    out = []
    for same in found.values():
        first = same[0][1]
        out.append(
            Step(
                step=first.step,
                population=first.population,
                methods=tuple(methods_in(first.method)),
                seeds=tuple(sorted({r.seed for _, r in same})),
                positions=tuple(p for p, _ in same),
                seconds=sum(r.seconds for _, r in same),
                warnings=tuple((p, w) for p, r in same for w in r.warnings),
                versions=first.versions,
            )
        )
    return sorted(out, key=lambda s: (_order(s.step), s.population or ""))


def _order(step: str) -> tuple[float, str]:
    kinds = [k.rstrip("s") for k in KIND_ORDER]
    kind = _AFTER.get(step, step.partition(".")[0].rstrip("s"))
    return ((kinds.index(kind) if kind in kinds else len(kinds)) + (0.5 if step in _AFTER else 0.0), step)


def methods_in(document: Any) -> Iterable[Mapping[str, Any]]:
    """Return every method of a record: the record of a step may hold one, a list, or several under names."""
    if isinstance(document, Mapping):
        if isinstance(document.get("method"), str):
            yield document
            return
        nested = [m for value in document.values() for m in methods_in(value)]
        yield from nested
        if not nested and document:
            yield document
    elif isinstance(document, Sequence) and not isinstance(document, str):
        for value in document:
            yield from methods_in(value)


def model_of(step: str, method: Mapping[str, Any]) -> type[Method] | None:
    """Return the class of a method in a record, or None where its package is not installed any more."""
    name = method.get("method")
    stem = step.partition(".")[0]
    for kind in (stem, stem.rstrip("s"), f"{stem}s"):
        if isinstance(name, str) and name in registry.names(kind):
            try:
                return registry.get(kind, name)
            except ParameterError:
                return None
    return None


def parameters(step: str, method: Mapping[str, Any], *, changed_only: bool = False) -> list[tuple[str, str]]:
    """Return name and value with unit of every parameter of a method, or of those that differ from the defaults."""
    model = model_of(step, method)
    fields = model.model_fields if model is not None else {}
    defaults = {k: f.default for k, f in fields.items() if k not in method and not f.is_required()}
    out = []
    for key, value in ({} if changed_only else defaults | dict(method)).items() or method.items():
        if key == "method" or (changed_only and key in fields and _plain(value) == _plain(fields[key].default)):
            continue
        if fields and key not in fields and (_SAID.get(key, key) is None or value in (None, "", [], (), {})):
            continue
        unit = unit_of(fields[key]) if key in fields else None
        out.append((_SAID.get(key) or key, _text(value) + (f" {_unit(unit)}" if unit and value is not None else "")))
    return out


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return _mapping_text(value)
    if isinstance(value, Sequence):
        return ", ".join(_text(v) for v in value) or "not set"
    return str(value)


def _mapping_text(value: Mapping[str, Any]) -> str:
    """Return ``gaussian (sigma_um 0.5)`` for {"filter": "gaussian", "sigma_um": 0.5}: a leading word names the rest."""
    pairs = list(value.items())
    name = str(pairs.pop(0)[1]) if pairs and isinstance(pairs[0][1], str) else ""
    rest = ", ".join(f"{k} {_text(v)}" for k, v in pairs)
    return f"{name} ({rest})" if name and rest else name or rest or "not set"


def _plain(value: Any) -> Any:
    """Return a value as JSON would keep it, so that (1,) equals [1]."""
    return to_jsonable_python(value, fallback=str)


def _unit(unit: str) -> str:
    return unit.replace("um", "µm").replace("µm2", "µm²").replace("µm3", "µm³")


@dataclass(frozen=True, slots=True)
class MethodsText:
    """The paragraph and its numbered references."""

    sentences: tuple[str, ...]
    references: tuple[str, ...]


def methods_text(experiment: Experiment, done: Sequence[Step]) -> MethodsText:
    """Return the methods paragraph of a paper: what was imaged, each step with its parameters, corrections by hand.

    Parameters
    ----------
    experiment : Experiment
        Gives the number, size and calibration of the movies and the journal of corrections.
    done : sequence of Step
        What was run, as `steps` returns it.
    """
    references: list[str] = []
    sentences = [_imaging(experiment)] if experiment.positions else []
    sentences += [_sentence(step, references, len(experiment.positions)) for step in done]
    corrections = sum(len(p.journal.active()) for p in experiment.positions.values())
    if corrections:
        positions = sum(1 for p in experiment.positions.values() if p.journal.active())
        sentences.append(
            f"{corrections} correction{_s(corrections)} {_were(corrections)} made by hand in {positions} "
            f"position{_s(positions)}; the journal of the experiment lists them."
        )
    if done:
        sentences.append(
            f"Analysis was done with {_software(done)}; parameters that are not named were left at their defaults."
        )
    return MethodsText(tuple(sentences), tuple(references))


def _software(done: Sequence[Step]) -> str:
    versions: dict[str, str] = {}
    for step in done:
        versions.update(step.versions)
    kinocyte = versions.pop("kinocyte", __version__)
    named = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
    return f"Kinocyte {kinocyte}" + (f" ({named})" if named else "")


def _imaging(experiment: Experiment) -> str:
    positions = list(experiment.positions.values())
    frames = _span([p.n_frames for p in positions])
    sizes = [p.image("raw").frame_shape for p in positions]
    same_axes = len({len(s) for s in sizes}) == 1
    size = f" of {' x '.join(_span(axis) for axis in zip(*sizes, strict=True))} pixels" if same_axes else ", 2D and 3D"
    pixel = _span([p.scale.pixel_size_um for p in positions])
    channels = ", ".join(experiment.channels)
    text = (
        f"{len(positions)} movie{_s(len(positions))} from {len(experiment.wells)} well{_s(len(experiment.wells))} "
        f"({frames} frame{_s(max(p.n_frames for p in positions))}{size}, {pixel} µm per pixel, "
        f"channel{_s(len(experiment.channels))} {channels}"
    )
    intervals = [p.scale.frame_interval_min for p in positions if p.scale.frame_interval_min is not None]
    if any(p.scale.times_min is not None for p in positions):
        text += ", at measured times"
    elif intervals and max(p.n_frames for p in positions) > 1:
        text += f", one frame every {time_text(intervals[0])}" if len(set(intervals)) == 1 else ""
    return text + f") {_were(len(positions))} analysed."


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.6g}" if low == high else f"{low:.6g}-{high:.6g}"


def _sentence(step: Step, references: list[str], n_positions: int) -> str:
    population = f"Objects of the population {step.population}" if step.population else "Objects"
    verb = _VERBS.get(step.step.partition(".")[0], f"The step {step.step} was run").format(population=population)
    if not verb.startswith("Objects"):
        verb = verb.replace("Objects of the population", "the population")
    if step.step in {"interaction", "table"}:
        verb = verb.replace("the population ", "")
    clauses = [_clause(step.step, m, references) for m in step.methods]
    text = f"{verb} with {_and(clauses)}" if clauses else verb
    if len(step.positions) < n_positions:
        text += f" in {len(step.positions)} of {n_positions} positions"
    return text + "."


def _clause(step: str, method: Mapping[str, Any], references: list[str]) -> str:
    """Return a method's name, its parameters that differ from the defaults, and the numbers of its references."""
    name, feature = method.get("method"), method.get("feature")
    asked = {k: v for k, v in method.items() if v is not None and k != "feature"} if feature and not name else method
    listed = "; ".join(
        f"{key.replace('_', ' ')} {value}" for key, value in _short(parameters(step, asked, changed_only=True))
    )
    said = f"the method “{name}”" if name else f"the filter “{feature}”" if feature else "its settings"
    text = said + (f" ({listed})" if listed else "")
    model = model_of(step, method)
    numbers = []
    for reference in model.references if model is not None else ():
        if reference not in references:
            references.append(reference)
        numbers.append(references.index(reference) + 1)
    return text + (f" [{', '.join(str(n) for n in numbers)}]" if numbers else "")


def _short(named: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return names without the unit that the value states already."""
    out = []
    for key, value in named:
        unit = value.rpartition(" ")[2].replace("µ", "u").replace("²", "2").replace("³", "3").replace("/", "_per_")
        out.append((key.removesuffix(f"_{unit}"), value))
    return out


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _s(n: int) -> str:
    return "" if n == 1 else "s"


def _were(n: int) -> str:
    return "was" if n == 1 else "were"
