"""Which methods exist: read from the entry points of every installed package, ours included.

An entry point of the group ``kinocyte.methods`` is named ``<kind>.<method>`` and points to the model. The
table is computed from what is installed and never changed while a program runs; a class is imported when it
is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.method import Method

GROUP = "kinocyte.methods"


@cache
def _entries() -> Mapping[str, Mapping[str, EntryPoint]]:
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        kind, _, name = entry.name.partition(".")
        if not name:
            msg = f"Entry point '{entry.name}' of {entry.value} must be named '<kind>.<method>'."
            raise ParameterError(msg)
        other = found.setdefault(kind, {}).get(name)
        if other is not None and other.value != entry.value:
            msg = (
                f"Two packages offer the method '{entry.name}': {other.value} and {entry.value}; uninstall one of them."
            )
            raise ParameterError(msg)
        found[kind][name] = entry
    return MappingProxyType({k: MappingProxyType(v) for k, v in found.items()})


def kinds() -> list[str]:
    """Return the kinds of method that are installed, sorted."""
    return sorted(_entries())


def names(kind: str) -> list[str]:
    """Return the names of the methods of a kind, sorted, without importing any."""
    return sorted(_entries().get(kind, {}))


@cache
def get(kind: str, name: str) -> type[Method]:
    """Return the class of a method.

    Raises
    ------
    ParameterError
        If no installed package offers it, or what is offered is not a method of that kind.
    """
    entry = _entries().get(kind, {}).get(name)
    if entry is None:
        msg = f"There is no {kind} method '{name}'; {nearest(name, names(kind))}."
        raise ParameterError(msg)
    try:
        cls = entry.load()
    except ImportError as error:
        msg = f"The {kind} method '{name}' ({entry.value}) cannot be imported: {error}; reinstall its package."
        raise ParameterError(msg) from error
    if not (isinstance(cls, type) and issubclass(cls, Method)) or cls.kind != kind or cls.name() != name:
        msg = f"{entry.value} is not a {kind} method called '{name}'; its package declares a wrong entry point."
        raise ParameterError(msg)
    return cls


def methods(kind: str) -> dict[str, type[Method]]:
    """Return the methods of a kind by name; a broken package's are left out, see `broken`."""
    faulty = broken(kind)
    return {name: get(kind, name) for name in names(kind) if name not in faulty}


@cache
def broken(kind: str) -> Mapping[str, str]:
    """Return why installed methods of a kind cannot be used, by name.

    One package that fails to import must not take every pipeline with it: its methods are unknown until it is mended,
    and whoever asks for one of them, or for `kinocyte doctor`, reads why.
    """
    reasons = {}
    for name in names(kind):
        try:
            get(kind, name)
        except ParameterError as error:
            reasons[name] = str(error)
    return MappingProxyType(reasons)


def parse(kind: str, data: Mapping[str, Any], *, default: str | None = None) -> Method:
    """Return the method that a table of a pipeline file describes.

    Parameters
    ----------
    kind : str
        Place in the pipeline, such as ``segmentation``.
    data : mapping
        The table; its key ``method`` selects the class.
    default : str, optional
        Method used when ``method`` is left out.

    Raises
    ------
    ParameterError
        If the method is unknown or a parameter is refused.
    """
    name = data.get("method", default)
    if not isinstance(name, str):
        msg = f"A {kind} table needs the key 'method'; {nearest('', names(kind))}."
        raise ParameterError(msg)
    cls = get(kind, name)
    try:
        return cls.model_validate({**data, "method": name})
    except ValidationError as error:
        raise ParameterError("; ".join(explain(cls, error)) + ".") from error


def explain(cls: type[Method], error: ValidationError) -> list[str]:
    """Return one plain clause for each parameter that was refused."""
    sentences = []
    for item in error.errors(include_url=False):
        where = ".".join(str(p) for p in item["loc"]) or cls.name()
        if item["type"] == "extra_forbidden":
            sentences.append(f"{cls.kind} '{cls.name()}' has no parameter '{where}'; {nearest(where, parameters(cls))}")
        elif item["type"] == "missing":
            sentences.append(f"{cls.kind} '{cls.name()}' needs the parameter '{where}'")
        else:
            given = item.get("input")
            sentences.append(f"{cls.kind} '{cls.name()}': {where} = {given!r} is refused: {item['msg']}")
    return sentences


def parameters(cls: type[Method]) -> list[str]:
    """Return the names of a method's parameters in order of declaration."""
    return [name for name in cls.model_fields if name != "method"]
