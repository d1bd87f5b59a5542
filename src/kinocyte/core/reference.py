"""The reference of all methods as Markdown, made from the models themselves."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kinocyte.core import registry
from kinocyte.core.method import Method

#: Places in a pipeline in the order in which data walks through them; other kinds follow in alphabetical order.
KIND_ORDER = (
    "restoration",
    "stain",
    "registration",
    "segmentation",
    "tracking",
    "mending",
    "measurement",
    "event",
    "interaction",
    "killing",
    "comparison",
    "table",
)

_SCALARS = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text", "null": "none"}
_BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
_SECTION = re.compile(r"\n\n(Parameters|Attributes|Returns|Raises|Notes|References|Examples)\n-{3,}\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as a reader sees it: every field is ready to print, empty where it does not apply."""

    name: str
    type: str
    unit: str
    default: str
    bounds: str
    help: str
    advanced: bool


def parameters(schema: Mapping[str, Any]) -> list[Parameter]:
    """Return the parameters of a JSON schema in order of declaration.

    Parameters
    ----------
    schema : mapping
        Schema of one model, as ``Model.model_json_schema()`` or one of its ``$defs`` gives it. The key that selects the
        model, such as ``method``, is left out.
    """
    required = set(schema.get("required", ()))
    chosen_by = _selector(schema)
    return [
        Parameter(
            name=name,
            type=_type(field),
            unit=_readable_unit(str(field.get("unit", ""))),
            default="required" if name in required else _value(field.get("default")),
            bounds=", ".join(_bounds(field)),
            help=str(field.get("description", "")),
            advanced=bool(field.get("advanced", False)),
        )
        for name, field in schema.get("properties", {}).items()
        if name != chosen_by
    ]


def _selector(schema: Mapping[str, Any]) -> str | None:
    """Return the key whose only value selects the model, as ``method`` does."""
    properties = schema.get("properties", {})
    return next((n for n, f in properties.items() if "const" in f and f.get("default") == f["const"]), None)


def ordered_kinds() -> list[str]:
    """Return the installed kinds of method in the order in which data walks through them."""
    kinds = registry.kinds()
    return [k for k in KIND_ORDER if k in kinds] + [k for k in kinds if k not in KIND_ORDER]


def reference() -> str:
    """Return the reference of every installed method, one section a kind."""
    return "\n".join(kind_section(kind) for kind in ordered_kinds())


def kind_section(kind: str) -> str:
    """Return the reference of all methods of a kind."""
    sections = [method_section(cls) for cls in registry.methods(kind).values()]
    return "\n".join([f"## {kind.capitalize()}\n", *sections])


def method_section(cls: type[Method]) -> str:
    """Return the reference of one method: what it does, its parameters, what it is built from."""
    schema = cls.model_json_schema()
    place = f"{cls.kind}-{cls.name()}".replace("_", "-")
    parts = [
        f"### {cls.kind}: `{cls.name()}` {{ #{place} }}\n",
        _prose(inspect.getdoc(cls) or ""),
        parameter_table(schema),
    ]
    for name, nested in schema.get("$defs", {}).items():
        if nested.get("type") == "object":
            parts += [
                f"#### {_title(name, nested)} {{ #{_anchor(name)} }}\n",
                _prose(str(nested.get("description", ""))),
            ]
            parts.append(parameter_table(nested))
    if cls.references:
        parts += ["Sources:\n", *(f"- {_prose(source).strip()}" for source in cls.references), ""]
    # Several methods may hold the same nested model; its heading needs an anchor of its own in each.
    return "\n".join(parts).replace("#model-", f"#{place}-")


def _title(name: str, nested: Mapping[str, Any]) -> str:
    key = _selector(nested)
    return f"{key}: `{nested['properties'][key]['const']}`" if key else name


def parameter_table(schema: Mapping[str, Any]) -> str:
    """Return the parameters of a JSON schema as a Markdown table."""
    rows = parameters(schema)
    if not rows:
        return "It has no parameters.\n"
    lines = ["| parameter | type | unit | default | bounds | meaning |", "|---|---|---|---|---|---|"]
    for row in rows:
        meaning = f"{row.help} *(advanced)*" if row.advanced else row.help
        default = row.default if row.default in {"required", "none"} else f"`{row.default}`"
        cells = (f"`{row.name}`", row.type, row.unit, default, row.bounds, _prose(meaning).strip())
        lines.append("| " + " | ".join(_cell(c) for c in cells) + " |")
    return "\n".join(lines) + "\n"


def _type(field: Mapping[str, Any]) -> str:
    """Return the type of a value in words."""
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return f"[{name}](#{_anchor(name)})"
    if "discriminator" in field:
        chosen = field["discriminator"]
        names = (f"[`{name}`](#{_anchor(ref)})" for name, ref in chosen.get("mapping", {}).items())
        return f"table with `{chosen['propertyName']}` = " + ", ".join(names)
    if "const" in field:
        return f"`{_value(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{_value(v)}`" for v in field["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in field:
            return " or ".join(dict.fromkeys(_type(option) for option in field[key]))
    if field.get("type") == "array":
        return _array_type(field)
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return f"table of {_type(inner)}" if isinstance(inner, Mapping) else "table"
    return _SCALARS.get(str(field.get("type")), "any value")


def _array_type(field: Mapping[str, Any]) -> str:
    if "prefixItems" in field:
        return "list of " + ", ".join(_type(item) for item in field["prefixItems"])
    items = field.get("items")
    return f"list of {_type(items)}" if isinstance(items, Mapping) else "list"


def _bounds(field: Mapping[str, Any]) -> Iterator[str]:
    """Yield the bounds of a number, also of one that may be none."""
    for key, sign in _BOUNDS.items():
        if key in field:
            yield f"{sign} {field[key]:g}"
    for option in field.get("anyOf", ()):
        yield from _bounds(option)


def _value(value: Any) -> str:
    """Return a value as it is written in a pipeline file; TOML has no null, so None is left out there."""
    if value is None:
        return "none"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"{value:.1f}"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _readable_unit(unit: str) -> str:
    """Return a unit as it is printed: um2 becomes µm²."""
    return unit.replace("um", "µm").replace("2", "²").replace("3", "³")


def _prose(text: str) -> str:
    """Return the description of a docstring as Markdown, without its numpy sections."""
    body = _SECTION.split(text, maxsplit=1)[0]
    return body.replace("``", "`").strip() + "\n"


def _anchor(name: str) -> str:
    return "model-" + re.sub(r"[^a-z0-9]+", "-", name.rpartition("/")[2].lower()).strip("-")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
