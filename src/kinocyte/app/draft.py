"""The pipeline as a person builds it: a document that may be wrong in places, its steps, and its text."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from kinocyte.app.words import explain
from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.model import ComparisonPlace, EventPlace, InteractionPlace, Pipeline
from kinocyte.pipeline.parse import load_pipeline, parse_pipeline

Path = tuple[str | int, ...]
_PLACES: Mapping[str, Any] = {"event": EventPlace, "interaction": InteractionPlace, "comparison": ComparisonPlace}
_TITLES = {
    "segmentation": "find cells",
    "measurement": "measure",
    "tracking": "follow cells",
    "mending": "mend tracks",
    "event": "find an event",
    "interaction": "who is near whom",
    "comparison": "compare conditions",
    "restoration": "correct grey values",
    "registration": "hold the movie still",
}


@dataclass(frozen=True)
class DraftStep:
    """One step of a draft.

    Parameters
    ----------
    path : tuple
        Place in the document.
    kind : str
        Kind of method.
    title : str
        What a person reads.
    place : type or None
        Keys of the place beside those of the method.
    """

    path: Path
    kind: str
    title: str
    place: Any = None


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
        """Write feature sets given by name as tables, so that every step is a table."""
        for population in self.document.get("population", {}).values():
            if isinstance(population, dict) and isinstance(population.get("measure"), list):
                population["measure"] = [{"method": m} if isinstance(m, str) else m for m in population["measure"]]

    # ------------------------------------------------------------ steps
    def steps(self) -> list[DraftStep]:
        """Return the steps in the order in which data walks through them."""
        document = self.document
        found = [
            _step(("restoration", name), "restoration", _method_name(table), name)
            for name, table in document.get("restoration", {}).items()
        ]
        if "registration" in document:
            found.append(_step(("registration",), "registration", _method_name(document["registration"])))
        for name, population in document.get("population", {}).items():
            found += _population_steps(name, population)
        for at, table in enumerate(document.get("interaction", [])):
            sides = f"{table.get('reference', '?')} and {table.get('neighbour', '?')}"
            found.append(_step(("interaction", at), "interaction", _method_name(table), sides))
        for at, table in enumerate(document.get("comparison", [])):
            said = table.get("title") or table.get("event") or table.get("value") or table.get("signal") or ""
            found.append(_step(("comparison", at), "comparison", _method_name(table), str(said)))
        return found

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

    def remove(self, path: Path) -> None:
        """Take a step away; a population without steps goes too."""
        parent = self.get(path[:-1])
        del parent[path[-1]]
        if not parent and len(path) > 1 and path[0] != "population":
            self.document.pop(str(path[0]), None)
        if path[0] == "population" and len(path) > 2 and isinstance(parent, list) and not parent:
            del self.get(path[:2])[path[2]]

    def move(self, path: Path, step: int) -> Path:
        """Move a step among those of its kind and return its new place."""
        parent, last = self.get(path[:-1]), path[-1]
        if isinstance(parent, list) and isinstance(last, int):
            to = min(max(last + step, 0), len(parent) - 1)
            parent.insert(to, parent.pop(last))
            return (*path[:-1], to)
        if path[0] == "restoration":
            names = list(parent)
            at = names.index(last)
            to = min(max(at + step, 0), len(names) - 1)
            names.insert(to, names.pop(at))
            self.document["restoration"] = {n: parent[n] for n in names}
        return path

    # ------------------------------------------------------------ adding
    def add_restoration(self, method: str) -> Path:
        """Add a correction of grey values."""
        taken = self.document.setdefault("restoration", {})
        name = _free(method, taken)
        taken[name] = {"method": method}
        return ("restoration", name)

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
            "measure": [{"method": "shape"}, {"method": "intensity"}],
            "tracking": {"method": "lap"},
        }
        return ("population", name, "segmentation")

    def add_imported(self, name: str) -> Path:
        """Add a kind of cell whose label images came with the movie: measured and followed."""
        self.document.setdefault("population", {})[name] = {
            "measure": [{"method": "shape"}, {"method": "intensity"}],
            "tracking": {"method": "lap"},
        }
        return ("population", name, "tracking")

    def add_to_population(self, population: str, kind: str) -> Path:
        """Add a step to a kind of cell."""
        table = self.document["population"][population]
        if kind in {"segmentation", "tracking"}:
            table.setdefault(kind, {"method": "threshold" if kind == "segmentation" else "lap"})
            return ("population", population, kind)
        key, method = {
            "measurement": ("measure", "texture"),
            "mending": ("mending", "rules"),
            "event": ("event", "threshold_transition"),
        }[kind]
        entries = table.setdefault(key, [])
        entry: dict[str, Any] = {"method": method}
        if kind == "event":
            entry = {"name": _free("death", [e.get("name") for e in entries]), **entry}
        entries.append(entry)
        return ("population", population, key, len(entries) - 1)

    def add_interaction(self) -> Path:
        """Look at who is near whom."""
        names = list(self.document.get("population", {}))
        entries = self.document.setdefault("interaction", [])
        table: dict[str, Any] = {"method": "radius"}
        if names:
            table |= {"reference": names[0], "neighbour": names[-1]}
        entries.append(table)
        return ("interaction", len(entries) - 1)

    def add_comparison(self, method: str = "survival") -> Path:
        """Ask a question of the whole experiment."""
        entries = self.document.setdefault("comparison", [])
        entries.append({"method": method})
        return ("comparison", len(entries) - 1)

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


def _population_steps(name: str, population: Mapping[str, Any]) -> list[DraftStep]:
    found = []
    base = ("population", name)
    if "segmentation" in population:
        found.append(_step((*base, "segmentation"), "segmentation", _method_name(population["segmentation"]), name))
    for at, table in enumerate(population.get("measure", [])):
        found.append(_step((*base, "measure", at), "measurement", _method_name(table), name))
    if "tracking" in population:
        found.append(_step((*base, "tracking"), "tracking", _method_name(population["tracking"]), name))
    for at, table in enumerate(population.get("mending", [])):
        found.append(_step((*base, "mending", at), "mending", _method_name(table), name))
    for at, table in enumerate(population.get("event", [])):
        found.append(_step((*base, "event", at), "event", f"{table.get('name', '?')}, {_method_name(table)}", name))
    return found


def _step(path: Path, kind: str, method: str, of: str = "") -> DraftStep:
    lead = f"{of}: " if of else ""
    return DraftStep(path, kind, f"{lead}{_TITLES.get(kind, kind)} ({method.replace('_', ' ')})", _PLACES.get(kind))


def _method_name(table: Any) -> str:
    return str(table.get("method", "?")) if isinstance(table, Mapping) else str(table)


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
    pipeline = load_pipeline(name)
    document = tomllib.loads(FilePath(name).read_text(encoding="utf-8"))
    for key, restorer in pipeline.restoration.items():
        for field in getattr(restorer, "reference_fields", ()):
            if field in document["restoration"][key]:
                document["restoration"][key][field] = getattr(restorer, field)
    for key, population in pipeline.population.items():
        segmentation = document["population"][key].get("segmentation", {})
        if "model" in segmentation:
            segmentation["model"] = getattr(population.segmentation, "model", segmentation["model"])
    return document


# ---------------------------------------------------------------- text
_ORDER = (
    "name",
    "seed",
    "restoration",
    "registration",
    "corrected",
    "population",
    "interaction",
    "comparison",
    "report",
)
_FIRST = ("name", "title", "method")


def toml_of(document: Mapping[str, Any]) -> str:
    """Return a document as the text of a pipeline file: one header a step, in the order of the steps."""
    ordered = sorted(document, key=lambda k: _ORDER.index(k) if k in _ORDER else len(_ORDER))
    lines = [f"{k} = {value_text(document[k])}" for k in ordered if not _is_tables(document[k]) and document[k] != []]
    for key in ordered:
        if _is_tables(document[key]) and document[key]:
            _write(lines, (key,), document[key])
    return "\n".join(lines).strip() + "\n"


def value_text(value: Any) -> str:
    """Return a value as TOML writes it."""
    from kinocyte.pipeline.sweep import toml_text  # with the sweep, which the window does not need to open

    return toml_text.value_text(value)


def _is_tables(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value)
    )


def _write(lines: list[str], path: tuple[str, ...], value: Any) -> None:
    if isinstance(value, list) and path[-1] in {"measure", "filters", "keep", "of"}:
        lines.append(f"{path[-1]} = {value_text([_short(v) for v in value] if path[-1] == 'measure' else value)}")
        return
    if isinstance(value, list):
        for table in value:
            _table(lines, path, table, f"[[{_key(path)}]]")
    else:
        _table(lines, path, value, f"[{_key(path)}]")


def _table(lines: list[str], path: tuple[str, ...], table: Mapping[str, Any], header: str) -> None:
    here = {k: v for k, v in table.items() if not _is_tables(v) or k in _INLINE or _is_method_value(path, k)}
    if here or header.startswith("[[") or not table:
        lines += ["", header]
        for key, value in sorted(here.items(), key=_rank):
            shown = [_short(v) for v in value] if key == "measure" else value
            lines.append(f"{_key((key,))} = {value_text(shown)}")
    for key, value in table.items():
        if key not in here:
            _write(lines, (*path, key), value)


def _rank(item: tuple[str, Any]) -> int:
    """Return where a key stands in its table: what it is called and which method first."""
    return _FIRST.index(item[0]) if item[0] in _FIRST else len(_FIRST)


#: Lists of small tables that read better in one line.
_INLINE = frozenset({"measure", "filters", "keep", "of"})


def _is_method_value(path: tuple[str, ...], key: str) -> bool:
    """Tell whether a table is a value of a method (such as penalties), written in one line."""
    sections = {"restoration", "registration", "population", "segmentation", "tracking", "mending", "event"}
    sections |= {"killer", "interaction", "comparison", "report", "corrected"}
    inside_names = path in {("population",), ("restoration",)} or not path
    return not inside_names and key not in sections


def _short(table: Any) -> Any:
    """Return a feature set without parameters by its name."""
    return table["method"] if isinstance(table, Mapping) and set(table) == {"method"} else table


def _key(path: Sequence[str]) -> str:
    import json

    plain = all(p and all(c.isalnum() or c in "_-" for c in p) and p.isascii() for p in path)
    if plain:
        return ".".join(path)
    return ".".join(p if p.isascii() and p.replace("_", "").replace("-", "").isalnum() else json.dumps(p) for p in path)


def methods_of(kind: str) -> list[str]:
    """Return the names of the installed methods of a kind."""
    return list(registry.methods(kind))
