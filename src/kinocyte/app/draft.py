"""The pipeline as a person builds it: a document that may be wrong in places, its steps, and its text."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from kinocyte.app.draft_steps import DraftStep, Path, steps_of
from kinocyte.app.draft_text import toml_of
from kinocyte.app.words import explain
from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.beside import files_beside, with_files
from kinocyte.pipeline.model import Pipeline, Population
from kinocyte.pipeline.parse import load_pipeline, parse_pipeline

__all__ = ["Draft", "DraftStep", "Path", "anchored_document", "said", "toml_of"]


class Draft:
    """A pipeline that is being built.

    Attributes
    ----------
    document : dict
        As a pipeline file says it.
    source : str
        File it was loaded from, empty for a new one.
    """

    def __init__(self, document: Mapping[str, Any] | None = None, source: str = "") -> None:
        self.document: dict[str, Any] = copy.deepcopy(dict(document or {}))
        self.source = source
        self._normalise()

    def _normalise(self) -> None:
        """Write feature sets as tables, also those that are measured where a file names none: each is a step."""
        for population in self.document.get("population", {}).values():
            if isinstance(population, dict) and isinstance(population.setdefault("measure", _measured()), list):
                population["measure"] = [{"method": m} if isinstance(m, str) else m for m in population["measure"]]

    # ------------------------------------------------------------ steps
    def steps(self) -> list[DraftStep]:
        """Return the steps in the order in which data walks through them."""
        return steps_of(self.document)

    def get(self, path: Path) -> Any:
        """Return what stands at a place; None where nothing does."""
        here: Any = self.document
        for part in path:
            try:
                here = here[part]
            except (KeyError, IndexError, TypeError):
                return None
        return here

    def put(self, path: Path, value: Any) -> None:
        """Write a value at a place, making the tables on the way."""
        here: Any = self.document
        for part, following in pairwise(path):
            if isinstance(here, dict):
                here = here.setdefault(part, [] if isinstance(following, int) else {})
            else:
                here = here[part]
        last = path[-1]
        if isinstance(here, list) and last == len(here):
            here.append(value)
        else:
            here[last] = value

    def table(self, step: DraftStep) -> dict[str, Any]:
        """Return what a step says, without the steps inside it."""
        found = self.get(step.path)
        if step.is_single:
            return {} if found is None else {str(step.path[-1]): found}
        return {k: v for k, v in (found or {}).items() if k not in step.inner}

    def write(self, step: DraftStep, table: Mapping[str, Any]) -> None:
        """Write what a step says; the steps inside it stay."""
        if step.is_single:
            self.put(step.path, table.get(str(step.path[-1]), ""))
            return
        before = self.get(step.path) or {}
        self.put(step.path, {**table, **{k: before[k] for k in step.inner if k in before}})

    def remove(self, path: Path) -> None:
        """Take a step away; what holds no step any more goes with it."""
        del self.get(path[:-1])[path[-1]]
        if path[-1] == "killer":
            self.get(path[:-1]).pop("victim_event", None)
        for depth in range(len(path) - 1, 0, -1):
            held, name = self.get(path[:depth]), path[depth - 1]
            if held or name == "measure":  # without the key the usual features would be measured
                break
            del self.get(path[: depth - 1])[name]
        if path[0] == "population" and self.get(path[:2]) == {"measure": []}:
            self.remove(path[:2])

    def rename(self, path: Path, name: str) -> Path:
        """Give a correction or a computed channel another name and return its place; a name that is taken is not."""
        section = self.get(path[:-1])
        if not name or name in section:
            return path
        renamed = {name if k == path[-1] else k: v for k, v in section.items()}
        self.put(path[:-1], renamed)
        return (*path[:-1], name)

    def move(self, path: Path, step: int) -> Path:
        """Move a step among those of its kind and return its new place."""
        parent, last = self.get(path[:-1]), path[-1]
        if isinstance(parent, list) and isinstance(last, int):
            to = min(max(last + step, 0), len(parent) - 1)
            parent.insert(to, parent.pop(last))
            return (*path[:-1], to)
        if path[0] in {"restoration", "stain"}:
            names = list(parent)
            at = names.index(last)
            to = min(max(at + step, 0), len(names) - 1)
            names.insert(to, names.pop(at))
            self.document[str(path[0])] = {n: parent[n] for n in names}
        return path

    # ------------------------------------------------------------ adding
    def add_restoration(self, method: str) -> Path:
        """Add a correction of grey values."""
        return self._add_named("restoration", method, method)

    def add_stain(self) -> Path:
        """Add a channel that a network computes from others."""
        return self._add_named("stain", "stain", "virtual_stain")

    def _add_named(self, section: str, name: str, method: str) -> Path:
        taken = self.document.setdefault(section, {})
        name = _free(name, taken)
        taken[name] = {"method": method}
        return (section, name)

    def add_table_of(self, section: str) -> Path:
        """Add a table without a method, such as ``report``, with its defaults."""
        self.document.setdefault(section, {})
        return (section,)

    def add_registration(self, channel: str | None = None) -> Path:
        """Hold the movie still."""
        table = {"method": "phase_correlation"} | ({"channel": channel} if channel else {})
        self.document.setdefault("registration", table)
        return ("registration",)

    def add_population(self, name: str, channel: str | None) -> Path:
        """Add a kind of cell: found by a threshold, measured and followed, to begin with."""
        name = _free(name, self.document.setdefault("population", {}))
        found = {"method": "threshold"} | ({"channel": channel} if channel else {})
        self.document["population"][name] = {
            "segmentation": found,
            "measure": _measured(),
            "tracking": {"method": "lap"},
        }
        return ("population", name, "segmentation")

    def add_imported(self, name: str) -> Path:
        """Add a kind of cell whose label images came with the movie: measured and followed."""
        self.document.setdefault("population", {})[name] = {
            "measure": _measured(),
            "tracking": {"method": "lap"},
        }
        return ("population", name, "tracking")

    def add_to_population(self, population: str, kind: str) -> Path:
        """Add a step to a kind of cell."""
        table = self.document["population"][population]
        path = ("population", population)
        if kind in {"segmentation", "tracking"}:
            table.setdefault(kind, {"method": "threshold" if kind == "segmentation" else "lap"})
            return (*path, kind)
        if kind in {"motion", "path"}:
            table.setdefault(kind, {})
            return (*path, kind)
        if kind == "cells":
            table.setdefault(kind, next((n for n in self.document["population"] if n != population), ""))
            return (*path, kind)
        entries: Mapping[str, tuple[str, dict[str, Any]]] = {
            "measurement": ("measure", {"method": "texture"}),
            "filter": ("filter", {"feature": "area_um2", "min": 0.0}),
            "mending": ("mending", {"method": "rules"}),
            "track_filter": ("track_filter", {"feature": "n_objects", "min": 2.0}),
            "event": ("event", {"name": "death", "method": "threshold_transition"}),
        }
        key, entry = entries[kind]
        return self._append((*path, key), entry)

    def _append(self, path: Path, entry: dict[str, Any]) -> Path:
        """Add a table to a list, with a name that is free."""
        entries = self.get(path)
        if entries is None:
            self.put(path, entries := [])
        if "name" in entry:
            entry = {**entry, "name": _free(entry["name"], [e.get("name") for e in entries])}
        entries.append(entry)
        return (*path, len(entries) - 1)

    def add_interaction(self) -> Path:
        """Look at who is near whom."""
        names = list(self.document.get("population", {}))
        sides = {"reference": names[0], "neighbour": names[-1]} if names else {}
        return self._append(("interaction",), {"method": "radius", **sides})

    def add_to_interaction(self, at: int, kind: str) -> Path:
        """Add an event of pairs, or the ranking of killers, to an interaction."""
        path: Path = ("interaction", at)
        if kind == "event":
            return self._append((*path, "event"), {"name": "meets", "method": "threshold_transition"})
        table = self.get(path)
        reference = self.get(("population", str(table.get("reference", "")))) or {}
        events = [e.get("name") for e in reference.get("event", []) if isinstance(e, Mapping)]
        table.setdefault("victim_event", str(next(iter(events), "death")))
        table.setdefault("killer", {"method": "killer_ranking"})
        return (*path, "killer")

    def add_table(self) -> Path:
        """Make a table of what was measured."""
        source = next(iter(self.document.get("population", {})), "")
        return self._append(("table",), {"name": "table", "of": source})

    def add_to_table(self, at: int) -> Path:
        """Do one more thing to a table."""
        return self._append(("table", at, "step"), {"method": "query"})

    def add_comparison(self, method: str = "survival") -> Path:
        """Ask a question of the whole experiment."""
        return self._append(("comparison",), {"method": method})

    # ------------------------------------------------------------ checking and text
    def check(self) -> tuple[Pipeline | None, list[tuple[Path, str]]]:
        """Return the pipeline, or None and every refusal with its place in the document."""
        try:
            return Pipeline.model_validate(self.document), []
        except ValidationError as error:
            found = [(self._path_of(item["loc"]), explain(item)) for item in error.errors(include_url=False)]
            return None, found

    def _path_of(self, loc: Sequence[str | int]) -> Path:
        """Return a place in the document; the names of methods that pydantic puts between are left out."""
        path: list[str | int] = []
        here: Any = self.document
        for part in loc:
            if isinstance(here, dict) and part not in here and here.get("method") == part:
                continue
            path.append(part)
            try:
                here = here[part]
            except (KeyError, IndexError, TypeError):
                here = None
        return tuple(path)

    def pipeline(self) -> Pipeline:
        """Return the pipeline.

        Raises
        ------
        ParameterError
            With every refusal, if there is one.
        """
        pipeline, errors = self.check()
        if pipeline is None:
            raise ParameterError("; ".join(f"{_dotted(p)}: {s}" for p, s in errors) + ".")
        return pipeline

    def text(self) -> str:
        """Return the pipeline file."""
        return toml_of(self.document)

    @classmethod
    def from_text(cls, text: str, source: str = "") -> Draft:
        """Return the draft that the text of a pipeline file says.

        Raises
        ------
        ParameterError
            If the file is refused; every mistake is named with its line.
        """
        parse_pipeline(text, place=source or "pipeline")
        return cls(tomllib.loads(text), source)

    @classmethod
    def from_pipeline(cls, pipeline: Pipeline) -> Draft:
        """Return the draft of a pipeline, without values that are the defaults."""
        return cls(said(pipeline))


def said(model: BaseModel) -> dict[str, Any]:
    """Return what a model says beyond its defaults, as a pipeline file says it; names of methods always stand."""
    found: dict[str, Any] = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        key = info.alias or name
        chosen = get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1
        same = not info.is_required() and value == info.get_default(call_default_factory=True)
        if value is None or (same and not chosen):
            continue
        if key == "measure":  # the default of a population is worth reading
            found[key] = [_said(v) for v in value]
        else:
            found[key] = _said(value)
    return found


def _said(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return said(value)
    if isinstance(value, Mapping):
        return {str(k): _said(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_said(v) for v in value]
    return value


def _measured() -> list[dict[str, Any]]:
    """Return the feature sets that are measured where nothing is said."""
    return [{"method": str(m["method"])} for m in Population.model_fields["measure"].get_default()]


def _free(name: str, taken: Any) -> str:
    number, found = 2, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _dotted(path: Path) -> str:
    return ".".join(str(p) for p in path) or "pipeline"


def anchored_document(name: str) -> dict[str, Any]:
    """Return what a pipeline file says, with files that lie beside it named by their full path.

    Raises
    ------
    InputFileError, ParameterError
        If the file cannot be read or is refused.
    """
    files = files_beside(load_pipeline(name), FilePath(name).absolute().parent)
    return with_files(tomllib.loads(FilePath(name).read_text(encoding="utf-8")), files)
