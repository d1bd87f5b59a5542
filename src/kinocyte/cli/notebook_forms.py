"""Forms in notebooks, made from the same models as the keys of files and the options of commands."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from kinocyte.core.errors import MissingExtraError, ParameterError
from kinocyte.core.method import is_advanced, unit_of
from kinocyte.pipeline.sweep.toml_text import value_text


class Form:
    """A form for the fields of a model; the cell that ends with it shows it.

    Parameters
    ----------
    model : type of BaseModel
        A method, or any model whose fields are declared with `kinocyte.core.method.param`.
    only : sequence of str
        Fields to show; all when empty.
    **values
        What the fields hold at first, where it is not the default.

    Raises
    ------
    MissingExtraError
        If ipywidgets is not installed.
    """

    def __init__(self, model: type[BaseModel], *, only: Sequence[str] = (), **values: Any) -> None:
        try:
            import ipywidgets  # type: ignore[import-untyped] # it has no types
        except ImportError as error:
            msg = "Forms in notebooks need ipywidgets, which is not installed; install it with: pip install ipywidgets"
            raise MissingExtraError(msg) from error
        self._widgets = ipywidgets
        self.model = model
        self.controls: dict[str, Any] = {}
        plain: list[Any] = []
        advanced: list[Any] = []
        for name, field in model.model_fields.items():
            if _selects(field) or (only and name not in only):
                continue
            now = values.get(name, None if field.is_required() else field.get_default(call_default_factory=True))
            control = self._control(field, now)
            self.controls[name] = control
            row = ipywidgets.HBox([ipywidgets.Label(_title(name, field), layout={"width": "14em"}), control])
            row.children += (ipywidgets.Label(field.description or "", layout={"width": "40em"}),)
            (advanced if is_advanced(field) else plain).append(row)
        parts = [ipywidgets.VBox(plain)]
        if advanced:
            more = ipywidgets.Accordion([ipywidgets.VBox(advanced)], selected_index=None)
            more.set_title(0, "more")
            parts.append(more)
        self._box = ipywidgets.VBox(parts)

    def _control(self, field: FieldInfo, now: Any) -> Any:
        w, kind = self._widgets, _bare(field.annotation)
        wide = {"width": "14em"}
        if kind is bool:
            return w.Checkbox(value=bool(now), indent=False, layout=wide)
        if get_origin(kind) is Literal:
            return w.Dropdown(options=list(get_args(kind)), value=now, layout=wide)
        if kind is int and isinstance(now, int):
            return w.IntText(value=now, layout=wide)
        if kind is float and isinstance(now, (int, float)):
            return w.FloatText(value=float(now), layout=wide)
        return w.Text(value="" if now is None else now if isinstance(now, str) else value_text(now), layout=wide)

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> Any:
        return self._box._repr_mimebundle_(*args, **kwargs)

    def set(self, **values: Any) -> Form:
        """Put values into the form, as a person would."""
        for name, value in values.items():
            control = self.controls.get(name)
            if control is None:
                msg = f"The form has no field '{name}'; it has {', '.join(self.controls)}."
                raise ParameterError(msg)
            text = isinstance(control, self._widgets.Text) and not isinstance(value, str)
            control.value = value_text(value) if text else value
        return self

    @property
    def values(self) -> dict[str, Any]:
        """Return what differs from the defaults, as the model accepts it.

        Raises
        ------
        ParameterError
            If a value is refused.
        """
        raw = {name: self._value(name, c) for name, c in self.controls.items()}
        try:
            made = self.model.model_validate({k: v for k, v in raw.items() if v is not None})
        except ValidationError as error:
            item = error.errors(include_url=False)[0]
            place = ".".join(map(str, item["loc"]))
            msg = f"{place} = {item.get('input')!r} is refused: {item['msg']}."
            raise ParameterError(msg) from error
        return made.model_dump(mode="json", exclude_defaults=True, exclude_none=True)

    def _value(self, name: str, control: Any) -> Any:
        import tomllib

        if not isinstance(control, self._widgets.Text):
            return control.value
        text = control.value.strip()
        if not text:
            return None
        if str in _kinds(self.model.model_fields[name].annotation):
            return text
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text  # the model says what it would have accepted


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)


def _bare(annotation: Any) -> Any:
    """Return a type without None."""
    kinds = [k for k in _kinds(annotation) if k is not type(None)]
    return kinds[0] if len(kinds) == 1 else annotation


def _selects(field: FieldInfo) -> bool:
    """Tell whether a field names the method itself."""
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _title(name: str, field: FieldInfo) -> str:
    unit = unit_of(field)
    words = name.removesuffix(f"_{unit}") if unit else name
    return words.replace("_", " ") + (f" ({unit})" if unit else "")


def training_text(name: str, task: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of a training file, as `kinocyte train` reads it.

    Parameters
    ----------
    name : str
        Name of the model.
    task : str
        Name of the task.
    tables : mapping of str to mapping
        ``task``, ``data``, ``augmentation`` and ``training`` with the values of their forms.
    """
    lines = [f"name = {value_text(name)}"]
    for title in ("task", "data", "augmentation", "training"):
        rows = dict(tables.get(title, {}))
        if title == "task":
            rows = {"method": task, **rows}
        if rows:
            lines += ["", f"[{title}]", *(f"{k} = {value_text(v)}" for k, v in rows.items())]
    return "\n".join(lines) + "\n"


def command(*words: Any) -> None:
    """Run a command of `kinocyte`; an error ends the cell with its sentence.

    Raises
    ------
    ParameterError
        If the command was refused or failed.
    """
    from kinocyte.cli import run

    code = run([str(w) for w in words])
    if code:
        msg = f"kinocyte {words[0]} ended with code {code}; the reason stands above."
        raise ParameterError(msg)
