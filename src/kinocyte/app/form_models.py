"""What a form has to know of a model: its fields by the keys of a file, their types, help and defaults."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

#: Which names of the experiment a field of this name takes.
ROLES = {
    "channel": "channels",
    "channels": "channels",
    "source_channel": "channels",
    "target_channel": "channels",
    "populations": "populations",
    "population": "populations",
    "cells": "populations",
    "neighbour": "populations",
    "value": "columns",
    "signal": "columns",
    "signals": "columns",
    "features": "columns",
    "feature": "columns",
    "column": "columns",
    "by": "conditions",
    "replicate": "conditions",
    "event": "events",
    "after": "events",
    "victim_event": "events",
}


#: The same of fields that mean something else in other models.
_ROLES_IN = {
    ("InteractionPlace", "reference"): "populations",
    ("ComparisonPlace", "interaction"): "interactions",
    ("ComparisonPlace", "table"): "tables",
    ("MadeTable", "of"): "sources",
    ("JoinPopulations", "other"): "populations",
}


def role_of(model: type[BaseModel], key: str) -> str:
    """Return which names of the experiment a field of a model takes; nothing for any other field."""
    own = next((_ROLES_IN[c.__name__, key] for c in model.__mro__ if (c.__name__, key) in _ROLES_IN), None)
    if own is not None:
        return own
    return "channels" if key.endswith("_channel") else ROLES.get(key, "")


def bare_type(annotation: Any, metadata: tuple[Any, ...]) -> tuple[Any, bool, tuple[Any, ...]]:
    """Return a type without Annotated and None, whether it may be None, and what it was annotated with."""
    optional = False
    while True:
        if get_origin(annotation) is Annotated:
            metadata = (*metadata, *annotation.__metadata__)
            annotation = annotation.__origin__
        elif get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation):
            optional = True
            rest = tuple(a for a in get_args(annotation) if a is not type(None))
            annotation = rest[0] if len(rest) == 1 else Union[rest]  # noqa: UP007 - made at run time
        else:
            return annotation, optional, metadata


def model_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by the key a file uses."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def is_constant(info: FieldInfo) -> bool:
    """Tell whether a field selects the model, as ``method`` and ``filter`` do."""
    return get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1


def with_constants(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with those of the fields that select the model."""
    constants = {k: get_args(i.annotation)[0] for k, i in model_fields(model).items() if is_constant(i)}
    return {**constants, **values}


def tag_key(model: type[BaseModel]) -> str:
    """Return the key of the field that selects a model, or nothing."""
    return next((k for k, i in model_fields(model).items() if is_constant(i)), "")


def tag(model: type[BaseModel]) -> str:
    """Return the value of the field that selects a model, or nothing."""
    key = tag_key(model)
    return str(get_args(model_fields(model)[key].annotation)[0]) if key else ""


def plain(value: Any) -> Any:
    """Return a value as lists, tables and plain values, such that equal values are equal."""
    if isinstance(value, BaseModel):
        return {k: plain(v) for k, v in value.model_dump(mode="json", by_alias=True).items()}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if value is PydanticUndefined else value


def about(model: type[BaseModel]) -> str:
    """Return what a method does, as its docstring says, with paragraphs on lines of their own."""
    import inspect

    paragraphs = (inspect.getdoc(model) or "").replace("``", "").split("\n\n")
    return "\n".join(" ".join(p.split()) for p in paragraphs)


def tooltip_of(key: str, info: FieldInfo) -> str:
    """Return the help of a field with its bounds and default."""
    lines = [info.description or key]
    bounds = [f"{sign} {getattr(m, name):g}" for m in info.metadata for name, sign in _SIGNS if hasattr(m, name)]
    if bounds:
        lines.append("Allowed: " + " and ".join(bounds))
    default = info.get_default(call_default_factory=True)
    if not info.is_required() and default is not None and not isinstance(default, tuple | dict | BaseModel):
        lines.append(f"Default: {default}")
    return f"<p>{'<br>'.join(lines)}</p><p><small>{key}</small></p>"


_SIGNS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))


def unit_shown(unit: str | None) -> str:
    """Return a unit as people write it."""
    return (unit or "").replace("um", "µm").replace("2", "²").replace("3", "³")
