"""What every method and every module of the package keeps to, ours and later ones alike."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

import kinocyte
from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from kinocyte.core.method import Method, unit_of
from kinocyte.core.schema import UNIT_SUFFIXES, unit_of_column

SOURCE = Path(str(kinocyte.__file__)).parent
MODULES = sorted(p for p in SOURCE.rglob("*.py") if p.name != "_version.py")
NAMES = [f"{kind}.{name}" for kind in registry.kinds() for name in registry.names(kind)]
HEAVY = ("scipy", "skimage", "numba", "torch", "qtpy", "PySide6", "napari", "dask", "distributed", "matplotlib")


@pytest.fixture(params=NAMES)
def method(request: pytest.FixtureRequest) -> type[Method]:
    return registry.get(*request.param.split(".", 1))


def models(cls: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a model and every model its fields hold."""
    seen: set[type[BaseModel]] = set()
    waiting: list[Any] = [cls]
    while waiting:
        item = waiting.pop()
        if isinstance(item, type) and issubclass(item, BaseModel):
            if item not in seen:
                seen.add(item)
                yield item
                waiting += [f.annotation for f in item.model_fields.values()]
        else:
            waiting += get_args(item)


def fields(cls: type[BaseModel]) -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield owner, name and declaration of every parameter, nested ones included; selectors are left out."""
    for model in models(cls):
        for name, field in model.model_fields.items():
            selector = type(field.default) is str and get_args(field.annotation) == (field.default,)
            if not selector:
                yield model.__name__, name, field


def required(model: type[BaseModel]) -> dict[str, Any]:
    """Return a plain value for every required parameter."""
    schema = model.model_json_schema()
    return _values(schema, schema.get("$defs", {}))


def _values(schema: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in schema.get("required", ()):
        prop = schema["properties"][name]
        kind = prop.get("type", "string")
        low = prop.get("minimum", prop.get("exclusiveMinimum", 0) + 1)
        inner = models.get(prop.get("items", {}).get("$ref", "").rpartition("/")[2])
        item = {"string": "dapi"}.get(prop.get("items", {}).get("type", "string"), 1)
        filled = item if inner is None else _values(inner, models)
        values[name] = {"string": "dapi", "array": [filled], "boolean": True, "object": {}}.get(kind, low)
    return values


def test_there_are_methods_to_look_at() -> None:
    assert len(NAMES) >= 4


def test_a_method_can_be_used(method: type[Method]) -> None:
    assert not inspect.isabstract(method), "the verb of its kind is missing"
    assert inspect.getdoc(method)
    assert method.__module__.split(".")[0] == "kinocyte"


def test_every_parameter_says_what_it_is(method: type[Method]) -> None:
    for owner, name, field in fields(method):
        text = field.description or ""
        assert len(text) > 5, f"{owner}.{name} has no help"
        assert text.endswith("."), f"{owner}.{name}: help is a sentence"


def test_the_unit_in_a_name_is_the_declared_one(method: type[Method]) -> None:
    for owner, name, field in fields(method):
        declared, named = unit_of(field), unit_of_column(name)
        if named is not None or declared in UNIT_SUFFIXES.values():
            assert declared == named, f"{owner}.{name} declares the unit {declared}, its name says {named}"


def test_defaults_are_valid_and_required_parameters_are_asked_for(method: type[Method]) -> None:
    values = required(method)
    built = method.model_validate(values)
    assert method.model_validate(built.model_dump()) == built
    for name in values:
        with pytest.raises(ParameterError, match=f"needs the parameter '{name}'"):
            registry.parse(method.kind, {"method": method.name(), **{k: v for k, v in values.items() if k != name}})


def test_a_method_is_frozen_and_has_a_hash(method: type[Method]) -> None:
    built = method.model_validate(required(method))
    for model in models(method):
        assert model.model_config.get("frozen"), f"{model.__name__} can be changed"
        assert model.model_config.get("extra") == "forbid", f"{model.__name__} ignores unknown keys"
    with pytest.raises(ValidationError, match="frozen"):
        built.method = "other"  # type: ignore[attr-defined]  # declared by each method


def test_a_mistyped_parameter_is_refused_with_the_nearest_name(method: type[Method]) -> None:
    for name in registry.parameters(method):
        table = {"method": method.name(), **required(method), f"{name}x": 1}
        with pytest.raises(ParameterError) as refused:
            registry.parse(method.kind, table)
        assert f"no parameter '{name}x'; did you mean '" in str(refused.value)


def test_its_schema_is_json_and_complete(method: type[Method]) -> None:
    schema = json.loads(json.dumps(method.model_json_schema()))
    assert schema["additionalProperties"] is False
    for name in registry.parameters(method):
        assert schema["properties"][name].get("description")


def test_declaring_a_method_imports_no_heavy_library() -> None:
    targets = sorted({registry.get(*n.split(".", 1)).__module__ for n in NAMES})
    code = (
        "import importlib, json, sys\n"
        f"found = {{}}\n"
        f"for name in {targets!r}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = [h for h in {HEAVY!r} if h in sys.modules]\n"
        "    if loaded:\n"
        "        found[name] = loaded\n"
        "        break\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {}


def public(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Yield every public function, class and method of a module, but not what stands inside a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not node.name.startswith("_"):
                yield node
                if isinstance(node, ast.ClassDef):
                    yield from public(node)
        elif isinstance(node, ast.If | ast.Try):
            yield from public(node)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_everything_public_is_described(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    for node in public(tree):
        marks = {ast.unparse(d).rpartition(".")[2] for d in node.decorator_list}
        described_elsewhere = marks & {"overload", "setter", "override"}
        assert described_elsewhere or ast.get_docstring(node), f"line {node.lineno}: {node.name} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_modules_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500, "split the module"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert int(node.end_lineno or 0) - first.lineno < 70, f"line {node.lineno}: {node.name} is too long"
