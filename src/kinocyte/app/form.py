"""Forms made from the models of methods: every field of the model is a row with its unit, its help and its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QMenu, QToolButton, QVBoxLayout, QWidget

from kinocyte.app import form_fields as fields
from kinocyte.app.form_fields import BadTextError, Choices, Editor
from kinocyte.app.form_models import (
    about,
    bare_type,
    is_constant,
    model_fields,
    plain,
    role_of,
    tag,
    tag_key,
    tooltip_of,
    with_constants,
)
from kinocyte.app.form_values import compound_editor, number_editor, write_word_or_empty
from kinocyte.app.widgets import Fold, error_label, named
from kinocyte.app.words import explain, label_of
from kinocyte.core import registry
from kinocyte.core.method import is_advanced, unit_of
from kinocyte.pipeline.placed import MethodOf, placed

_TOOLTIP_ROLE = 3  # Qt.ItemDataRole.ToolTipRole


class ModelForm(QWidget):
    """The form of one model.

    Parameters
    ----------
    model : type of BaseModel
        A method, a place with a method, or any table of them.
    choices : Choices
        What exists in the experiment.
    prefix : str
        Begins the object names of the editors, ``<prefix><field>``.
    hidden : sequence of str
        Keys that are not shown (and stay at their defaults).
    """

    changed = Signal()

    def __init__(
        self, model: type[BaseModel], choices: Choices, *, prefix: str = "form_", hidden: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.model_class = model
        self.editors: dict[str, Editor] = {}
        self._errors: dict[str, QLabel] = {}
        self._defaults: dict[str, Any] = {}
        self._bad: dict[str, str] = {}
        self.whole_error = error_label(f"{prefix}error")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self._rows, self._more = QFormLayout(), QFormLayout()
        for rows in (self._rows, self._more):
            rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
            rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
            rows.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._rows)
        self.fold = Fold("More parameters", name=f"{prefix}more")
        self.fold.inner.addLayout(self._more)
        column.addWidget(self.fold)
        column.addWidget(self.whole_error)
        for key, info in model_fields(model).items():
            if key in hidden or is_constant(info):
                continue
            self._add(key, info, choices, prefix)
        self.fold.setVisible(self._more.rowCount() > 0)

    def _add(self, key: str, info: FieldInfo, choices: Choices, prefix: str) -> None:
        editor = editor_of(info, choices, f"{prefix}{key}", role=role_of(self.model_class, key))
        error = error_label(f"{prefix}{key}_error")
        label = QLabel(label_of(key, unit_of(info)))
        label.setBuddy(editor)
        tip = tooltip_of(key, info)
        for widget in (label, editor, *editor.findChildren(QWidget)):
            if not widget.toolTip() or widget is label:
                widget.setToolTip(tip)
        rows = self._more if is_advanced(info) else self._rows
        if isinstance(editor, ModelList | MethodEdit):
            rows.addRow(label)
            rows.addRow(editor)
        else:
            rows.addRow(label, editor)
        rows.addRow(error)
        self.editors[key], self._errors[key] = editor, error
        if info.is_required():
            editor.setProperty("needed", True)
            _hint_needed(editor)
        else:
            self._defaults[key] = plain(info.get_default(call_default_factory=True))
            editor.set_value(self._defaults[key])
        editor.changed.connect(self._on_change)

    def _on_change(self) -> None:
        self.check()
        self.changed.emit()

    # ------------------------------------------------------------ values
    def values(self, *, everything: bool = False) -> dict[str, Any]:
        """Return what the form says: keys that differ from their defaults, or all.

        Values that cannot be read are left out; `check` says so beside them.
        """
        found: dict[str, Any] = {}
        self._bad = {}
        for key, editor in self.editors.items():
            try:
                value = editor.value()
            except BadTextError as error:
                self._bad[key] = str(error)
                continue
            if key not in self._defaults:
                if value is not None and value not in ("", (), []):
                    found[key] = value
            elif everything or plain(value) != self._defaults[key]:
                found[key] = value
        return found

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show values; keys that are not named get their defaults. No `changed` is emitted."""
        for key, editor in self.editors.items():
            if key in values:
                editor.set_value(plain(values[key]))
            elif key in self._defaults:
                editor.set_value(self._defaults[key])
        self.check()

    def model(self) -> BaseModel | None:
        """Return the validated model, or None where something is refused (which is shown)."""
        return self.check()

    def check(self) -> BaseModel | None:
        """Validate, show every refusal beside its field, and return the model where there is none."""
        values = self.values()
        found: BaseModel | None = None
        errors: list[tuple[tuple[str | int, ...], str]] = []
        try:
            found = self.model_class.model_validate(with_constants(self.model_class, values))
        except ValidationError as error:
            errors = [(tuple(e["loc"]), explain(e)) for e in error.errors(include_url=False)]
        errors = [e for e in errors if not e[0] or e[0][0] not in self._bad]
        errors += [((key,), sentence) for key, sentence in self._bad.items()]
        self.show_errors(errors)
        return found if not errors else None

    def show_errors(self, errors: Sequence[tuple[tuple[str | int, ...], str]]) -> list[str]:
        """Show sentences beside the fields they are about; the rest below the form."""
        rest = [s for loc, s in errors if not loc or loc[0] not in self.editors]
        for key, editor in self.editors.items():
            mine = [(loc[1:], s) for loc, s in errors if loc and loc[0] == key]
            own = editor.show_errors(mine)
            self._errors[key].setText("; ".join(dict.fromkeys(own)))
            self._errors[key].setVisible(bool(own))
            editor.set_bad(bad=bool(own))
        self.whole_error.setText("; ".join(dict.fromkeys(rest)))
        self.whole_error.setVisible(bool(rest))
        return []

    def refresh_choices(self) -> None:
        """List again what exists in the experiment."""
        for editor in self.findChildren(fields.Choice):
            editor.refresh()


class MethodEdit(Editor):
    """A method of one kind: which one, and its form.

    Parameters
    ----------
    kind : str
        Kind of method.
    place : type, optional
        Keys of the place beside those of the method.
    optional : bool
        May be left out.
    hidden : sequence of str
        Keys that are not shown.
    only : sequence of str
        The methods to choose from; all of the kind when empty.
    """

    def __init__(
        self,
        kind: str,
        choices: Choices,
        name: str,
        *,
        place: Any = None,
        optional: bool = False,
        hidden: Sequence[str] = (),
        only: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._kind, self._place, self._choices, self._name, self._hidden = kind, place, choices, name, hidden
        offered = {n: m for n, m in registry.methods(kind).items() if not only or n in only}
        self.method = fields.Choice(f"{name}_method", fixed=tuple(offered), optional=optional)
        self.form: ModelForm | None = None
        self._kept: dict[str, dict[str, Any]] = {}
        self.about = QLabel("")
        self.about.setWordWrap(True)
        self.about.setProperty("role", "hint")
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addWidget(self.method)
        self._column.addWidget(self.about)
        for number, method in enumerate(offered.values()):
            self.method.box.setItemData(number + int(optional), about(method), _TOOLTIP_ROLE)
        self.method.changed.connect(self._chosen)
        self._show(self.method.value())

    def _chosen(self) -> None:
        self._show(self.method.value())
        self.changed.emit()

    def _show(self, name: str | None) -> None:
        before = {}
        if self.form is not None:
            before = self.form.values()
            self._column.removeWidget(self.form)
            self.form.setParent(None)
            self.form.deleteLater()
            self.form = None
        if name is None:
            self.about.setText("")
            return
        method = registry.get(self._kind, name)
        self.about.setText(about(method).splitlines()[0])
        self.about.setToolTip(about(method))
        model = placed(self._place, name) if self._place is not None else method
        self.form = ModelForm(model, self._choices, prefix=f"{self._name}_", hidden=self._hidden)
        shared = {k: v for k, v in before.items() if k in self.form.editors}  # a channel stays chosen
        try:
            self.form.set_values(shared)
        except (ValueError, TypeError):  # same name, other type
            self.form.set_values({})
        self.form.changed.connect(self.changed)
        self._column.addWidget(self.form)

    def value(self) -> Any:
        """Return the table of the method with its key ``method``, or None."""
        name = self.method.value()
        return None if name is None or self.form is None else {"method": name, **self.form.values()}

    def set_value(self, value: Any) -> None:
        """Show a table of a method."""
        if isinstance(value, str):
            value = {"method": value}
        name = None if value is None else value["method"]
        if name != self.method.value() or self.form is None:
            self.method.set_value(name)
            self._show(name)
        if self.form is not None and value is not None:
            self.form.set_values({k: v for k, v in value.items() if k != "method"})

    def show_errors(self, errors: Sequence[tuple[tuple[str | int, ...], str]]) -> list[str]:
        """Show sentences in the form; the first part of their place names the method."""
        if self.form is None:
            return [s for _, s in errors]
        inner = [(loc[1:] if loc and loc[0] == self.method.value() else loc, s) for loc, s in errors]
        self.form.show_errors(inner)
        return []


class ModelList(Editor):
    """A list of tables, each with a form, with buttons to add, move and remove.

    Parameters
    ----------
    kinds : mapping of str to callable
        What can be added: name to the function that makes its editor.
    kind_of : callable
        Name of the kind of a value.
    """

    def __init__(self, name: str, kinds: Mapping[str, Callable[[str], Editor]], kind_of: Callable[[Any], str]) -> None:
        super().__init__()
        self._name, self._kinds, self._kind_of = name, kinds, kind_of
        self.entries: list[tuple[str, Editor, Fold]] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(8, 0, 0, 0)
        self.add = named(QToolButton(), f"{name}_add")
        self.add.setText("+ Add")
        if len(kinds) == 1:
            only = next(iter(kinds))
            self.add.clicked.connect(lambda: self._add_by_hand(only))
        else:
            menu = QMenu(self.add)
            for kind in kinds:
                menu.addAction(kind.replace("_", " ")).triggered.connect(
                    lambda _on=False, kind=kind: self._add_by_hand(kind)
                )
            self.add.setMenu(menu)
            self.add.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._column.addWidget(self.add)

    def _add_by_hand(self, kind: str) -> None:
        self._append(kind, is_open=True)
        self.changed.emit()

    def _append(self, kind: str, *, is_open: bool = False) -> Editor:
        editor = self._kinds[kind](f"{self._name}_{len(self.entries)}")
        fold = Fold(kind.replace("_", " "), is_open=is_open)
        fold.inner.addWidget(editor)
        entry = (kind, editor, fold)
        for text, tip, slot in (
            ("Remove", "Remove this one", self._remove),
            ("Up", "Before the one above", self._raise),
        ):
            button = QToolButton()
            button.setText(text)
            button.setToolTip(tip)
            button.clicked.connect(lambda _on=False, slot=slot, entry=entry: slot(entry))
            fold.inner.addWidget(button)
        editor.changed.connect(self.changed)
        self.entries.append(entry)
        self._column.insertWidget(len(self.entries) - 1, fold)
        return editor

    def _remove(self, entry: tuple[str, Editor, Fold]) -> None:
        self.entries.remove(entry)
        self._column.removeWidget(entry[2])
        entry[2].setParent(None)
        entry[2].deleteLater()
        self.changed.emit()

    def _raise(self, entry: tuple[str, Editor, Fold]) -> None:
        at = self.entries.index(entry)
        if at:
            self.entries.insert(at - 1, self.entries.pop(at))
            self._column.removeWidget(entry[2])
            self._column.insertWidget(at - 1, entry[2])
            self.changed.emit()

    def value(self) -> list[Any]:
        """Return the tables in order."""
        return [editor.value() for _, editor, _ in self.entries]

    def set_value(self, value: Any) -> None:
        """Show tables."""
        values = list(value or ())
        if [k for k, _, _ in self.entries] != [self._kind_of(v) for v in values]:
            for _, _, fold in self.entries:
                self._column.removeWidget(fold)
                fold.setParent(None)
                fold.deleteLater()
            self.entries = []
            for one in values:
                self._append(self._kind_of(one))
        for (_, editor, _), one in zip(self.entries, values, strict=True):
            editor.set_value(one)

    def show_errors(self, errors: Sequence[tuple[tuple[str | int, ...], str]]) -> list[str]:
        """Show sentences in the table they are about, which is opened."""
        rest = []
        for number, (kind, editor, fold) in enumerate(self.entries):
            mine = [(loc[1:], s) for loc, s in errors if loc and loc[0] == number]
            inner = [(loc[1:] if loc and loc[0] == kind else loc, s) for loc, s in mine]
            rest += editor.show_errors(mine if isinstance(editor, MethodEdit) else inner)
            if mine:
                fold.button.setChecked(True)
        return rest + [s for loc, s in errors if not loc or not isinstance(loc[0], int)]


class TableEdit(Editor):
    """One table inside a method, with the form of its model; constants such as ``filter`` are kept."""

    def __init__(self, model: type[BaseModel], choices: Choices, name: str, *, hidden: Sequence[str] = ()) -> None:
        super().__init__()
        self.form = ModelForm(model, choices, prefix=f"{name}_", hidden=hidden)
        self._model = model
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        self.form.changed.connect(self.changed)

    def value(self) -> dict[str, Any]:
        """Return the table."""
        return with_constants(self._model, self.form.values())

    def set_value(self, value: Any) -> None:
        """Show a table."""
        self.form.set_values(dict(value))

    def show_errors(self, errors: Sequence[tuple[tuple[str | int, ...], str]]) -> list[str]:
        """Show sentences in the form."""
        self.form.show_errors(errors)
        return []


# ---------------------------------------------------------------- from annotations to editors
def editor_of(info: FieldInfo, choices: Choices, name: str, *, role: str = "") -> Editor:
    """Return the editor of a field of a model, which may take names of what exists."""
    kind, optional, metadata = bare_type(info.annotation, tuple(info.metadata))
    special = _special(kind, optional, metadata, choices, name)
    if special is not None:
        return special
    if get_origin(kind) is Literal:
        return fields.Choice(name, fixed=get_args(kind), optional=optional)
    if kind is bool:
        return fields.Flag(name)
    if kind in (int, float):
        return number_editor(name, info, optional=optional, whole=kind is int)
    offered = (lambda: choices.of(role)) if role else None
    if kind is str:
        if offered is not None:
            return fields.Choice(name, choices=offered, optional=optional)
        return fields.Text(name, fields.read_word, write_word_or_empty(optional), optional=optional)
    return compound_editor(kind, name, offered, optional=optional, unit=unit_of(info) or "")


def _special(kind: Any, optional: bool, metadata: tuple[Any, ...], choices: Choices, name: str) -> Editor | None:
    """Return the editor of methods, tables and lists of them; None for plain values."""
    chosen = next((m for m in metadata if isinstance(m, MethodOf)), None)
    if chosen is not None:
        return MethodEdit(chosen.kind, choices, name, place=chosen.place, optional=optional)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return TableEdit(kind, choices, name)
    if get_origin(kind) is not tuple or get_args(kind)[-1] is not Ellipsis:
        return None
    inner, _, inner_metadata = bare_type(get_args(kind)[0], ())
    chosen = next((m for m in inner_metadata if isinstance(m, MethodOf)), None)
    if chosen is not None:
        there = chosen

        def make(entry: str) -> Editor:
            return MethodEdit(there.kind, choices, entry, place=there.place)

        return ModelList(name, {there.kind: make}, lambda _value: there.kind)
    models = [a for a in (get_args(inner) or (inner,)) if isinstance(a, type) and issubclass(a, BaseModel)]
    if not models:
        return None
    tags = {tag(m) or m.__name__: m for m in models}
    makers = {t: _table_maker(m, choices) for t, m in tags.items()}
    first = next(iter(tags))
    return ModelList(name, makers, lambda value: str(value.get(tag_key(models[0]), first)))


def _table_maker(model: type[BaseModel], choices: Choices) -> Callable[[str], Editor]:
    return lambda entry: TableEdit(model, choices, entry)


def _hint_needed(editor: Editor) -> None:
    line = getattr(editor, "line", None)
    if line is not None:
        line.setPlaceholderText("needed")
