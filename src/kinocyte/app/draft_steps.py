"""The steps of a pipeline as a person sees them: every place of the document where something may be set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kinocyte.measurement.filters import FeatureFilter
from kinocyte.measurement.following import Motion
from kinocyte.measurement.paths import PathDiscs
from kinocyte.pipeline.model import ComparisonPlace, Corrected, EventPlace, InteractionPlace, MadeTable, Report

Path = tuple[str | int, ...]


class Around(BaseModel):
    """Cytoplasm, nucleus and their ratio are measured in every channel, with these cells around the nuclei."""

    model_config = ConfigDict(extra="forbid")

    cells: str = Field(description="Population of the cells around these nuclei.")


@dataclass(frozen=True)
class DraftStep:
    """One step of a draft.

    Parameters
    ----------
    path : tuple
        Place in the document.
    kind : str
        Kind of method, or the name of a table that has none.
    title : str
        What a person reads.
    place : type or None
        Keys of the place beside those of the method.
    model : type or None
        The table, where there is no method to choose.
    about : str
        What the table is for, where the model does not say it in the words of a window.
    inner : tuple of str
        Keys of the table that are steps of their own.
    is_named : bool
        The last part of the path is a name that a person gives.
    """

    path: Path
    kind: str
    title: str
    place: Any = None
    model: type[BaseModel] | None = None
    about: str = ""
    inner: tuple[str, ...] = ()
    is_named: bool = False

    @property
    def is_single(self) -> bool:
        """Tell whether one value stands at the place, and no table."""
        return self.model is Around


_TITLES = {
    "segmentation": "find cells",
    "measurement": "measure",
    "tracking": "follow cells",
    "mending": "mend tracks",
    "event": "find an event",
    "interaction": "who is near whom",
    "killing": "rank who killed",
    "comparison": "compare conditions",
    "restoration": "correct grey values",
    "stain": "compute a channel",
    "registration": "hold the movie still",
    "table": "then",
}
_LIMITS = "The limits are included; without numbers, Otsu's rule finds one in each position."
_KEPT_CELLS = f"Only cells whose feature lies within the limits count, before they are followed. {_LIMITS}"
_KEPT_TRACKS = f"Only lineages (a cell with its descendants) whose feature lies within the limits count. {_LIMITS}"
_PLACES: Mapping[str, Any] = {"event": EventPlace, "interaction": InteractionPlace, "comparison": ComparisonPlace}


def steps_of(document: Mapping[str, Any]) -> list[DraftStep]:
    """Return the steps of a document in the order in which data walks through them."""
    found = []
    for kind in ("restoration", "stain"):
        for name, table in _tables(document, kind):
            found.append(_step((kind, name), kind, _method_name(table), str(name), is_named=True))
    if "registration" in document:
        found.append(_step(("registration",), "registration", _method_name(document["registration"])))
    if "corrected" in document:
        found.append(DraftStep(("corrected",), "corrected", "make the image without drift", model=Corrected))
    for name, population in _tables(document, "population"):
        found += _population_steps(str(name), population)
    for at, table in _tables(document, "interaction"):
        found += _interaction_steps(("interaction", at), table)
    for at, table in _tables(document, "table"):
        name = str(table.get("name", "?"))
        title = f"{name}: a table of {table.get('of', '?')}"
        found.append(DraftStep(("table", at), "made table", title, model=MadeTable, inner=("step",)))
        for number, operation in _tables(table, "step"):
            found.append(_step(("table", at, "step", number), "table", _method_name(operation), name))
    for at, table in _tables(document, "comparison"):
        said = table.get("title") or table.get("event") or table.get("value") or table.get("signal") or ""
        found.append(_step(("comparison", at), "comparison", _method_name(table), str(said)))
    if "report" in document:
        found.append(DraftStep(("report",), "report", "the report page", model=Report))
    return found


def _population_steps(name: str, population: Mapping[str, Any]) -> Iterator[DraftStep]:
    base = ("population", name)

    def filters(key: str, what: str, about: str) -> Iterator[DraftStep]:
        for at, table in _tables(population, key):
            title = f"{name}: {what} ({_limits(table)})"
            yield DraftStep((*base, key, at), "filter", title, model=FeatureFilter, about=about)

    if "segmentation" in population:
        yield _step((*base, "segmentation"), "segmentation", _method_name(population["segmentation"]), name)
    for at, table in _tables(population, "measure"):
        yield _step((*base, "measure", at), "measurement", _method_name(table), name)
    if "cells" in population:
        title = f"{name}: nucleus and cytoplasm (in {population['cells'] or '?'})"
        yield DraftStep((*base, "cells"), "cells", title, model=Around)
    yield from filters("filter", "keep some cells", _KEPT_CELLS)
    if "tracking" in population:
        yield _step((*base, "tracking"), "tracking", _method_name(population["tracking"]), name)
    for at, table in _tables(population, "mending"):
        yield _step((*base, "mending", at), "mending", _method_name(table), name)
    yield from filters("track_filter", "keep some tracks", _KEPT_TRACKS)
    if "motion" in population:
        yield DraftStep((*base, "motion"), "motion", f"{name}: motion", model=Motion)
    if "path" in population:
        yield DraftStep((*base, "path"), "path", f"{name}: measure along the tracks", model=PathDiscs)
    for at, table in _tables(population, "event"):
        yield _event((*base, "event", at), table, name)


def _interaction_steps(path: Path, table: Mapping[str, Any]) -> Iterator[DraftStep]:
    sides = str(table.get("name") or f"{table.get('reference', '?')} and {table.get('neighbour', '?')}")
    yield _step(path, "interaction", _method_name(table), sides, inner=("event", "killer"))
    for at, event in _tables(table, "event"):
        yield _event((*path, "event", at), event, sides)
    if "killer" in table:
        yield _step((*path, "killer"), "killing", _method_name(table["killer"]), sides)


def _event(path: Path, table: Mapping[str, Any], of: str) -> DraftStep:
    return _step(path, "event", f"{table.get('name', '?')}, {_method_name(table)}", of)


def _step(path: Path, kind: str, method: str, of: str = "", **more: Any) -> DraftStep:
    lead = f"{of}: " if of else ""
    title = f"{lead}{_TITLES.get(kind, kind)} ({method})"
    return DraftStep(path, kind, title, _PLACES.get(kind), **more)


def _tables(document: Mapping[str, Any], key: str) -> list[tuple[Any, Any]]:
    """Return the tables of a section with their names or numbers; nothing where something else stands."""
    section = document.get(key, {})
    pairs = section.items() if isinstance(section, Mapping) else enumerate(section)
    return [(k, v) for k, v in pairs if isinstance(v, Mapping)]


def _method_name(table: Any) -> str:
    return str(table.get("method", "?")).replace("_", " ") if isinstance(table, Mapping) else str(table)


def _limits(table: Mapping[str, Any]) -> str:
    """Return a filter in a few words."""
    low, high, rule = table.get("min"), table.get("max"), table.get("otsu")
    said = [f"{word} {v:g}" for word, v in (("from", low), ("to", high)) if isinstance(v, int | float)]
    said.append(f"{rule} Otsu's limit" if rule else "")
    return " ".join(filter(None, (str(table.get("feature", "?")), *said)))
