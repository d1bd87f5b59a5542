"""Editors of single values: numbers, words, lists and tables, each able to show and return any value of its type."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QAction, QKeyEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QCompleter,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPlainTextEdit,
    QToolButton,
    QWidget,
)

from kinocyte.app.widgets import NoWheel, mark, named, without_wheel

_KEEPER = NoWheel()
#: Shown in the place of a value that is left out.
LEFT_OUT = "left out"


class BadTextError(ValueError):
    """What was typed is not a value of the type; the message says what would be."""


@dataclass
class Choices:
    """What exists in the experiment and can be named in a form."""

    channels: Sequence[str] = ()
    populations: Sequence[str] = ()
    columns: Sequence[str] = ()
    events: Sequence[str] = ()
    conditions: Sequence[str] = ()
    interactions: Sequence[str] = ()
    tables: Sequence[str] = ()
    _listeners: list[Callable[[], None]] = field(default_factory=list, repr=False)

    def of(self, role: str) -> Sequence[str]:
        """Return the names of a role, such as ``channels``; ``sources`` are all that a table is made of."""
        if role == "sources":
            return (*self.populations, *self.interactions, *self.tables)
        return tuple(getattr(self, role)) if role else ()


class Editor(QWidget):
    """Shows one value; `changed` whenever a person changes it."""

    changed = Signal()

    @abstractmethod
    def value(self) -> Any:
        """Return the value.

        Raises
        ------
        BadTextError
            If what was typed is none.
        """

    @abstractmethod
    def set_value(self, value: Any) -> None:
        """Show a value, without `changed`."""

    def set_bad(self, *, bad: bool) -> None:
        """Draw a red frame around it, or take it away."""
        mark(self, bad=bad)

    def show_errors(self, errors: Sequence[tuple[tuple[str | int, ...], str]]) -> list[str]:
        """Show sentences beside the parts they are about and return those that belong to the whole."""
        return [sentence for _, sentence in errors]


class Flag(Editor):
    """True or false."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.box = named(QCheckBox(), name)
        _only(self, self.box)
        self.box.toggled.connect(self.changed)

    def value(self) -> bool:
        """Return whether it is ticked."""
        return bool(self.box.isChecked())

    def set_value(self, value: Any) -> None:
        """Tick it or not."""
        _quietly(self.box, lambda: self.box.setChecked(bool(value)))


class Line(QLineEdit):
    """A line of text whose number the arrow keys change by a tenth of its size."""

    whole = False
    numeric = False

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Step numbers with the arrow keys."""
        steps = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}
        step = steps.get(Qt.Key(event.key()))
        if step is None or not self.numeric or self.isReadOnly():
            super().keyPressEvent(event)
            return
        try:
            number = float(self.text().replace(",", "."))
        except ValueError:
            return
        if self.whole:
            self.setText(str(round(number) + step))
        else:
            self.setText(f"{number + step * (10 ** _decade(number)):.6g}")
        self.textEdited.emit(self.text())


class Text(Editor):
    """A value written as text, in one line, with a unit behind it and a list of what exists to choose from.

    Parameters
    ----------
    name : str
        Object name of the line.
    read : callable
        Text to value; raises `BadTextError`.
    write : callable
        Value to text.
    optional : bool
        An empty line is None.
    unit : str
        Shown behind the line.
    choices : callable, optional
        Returns names to choose from.
    several : bool
        Choosing from the list adds a name to those there.
    narrow : bool
        As wide as a number.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[str], Any],
        write: Callable[[Any], str],
        *,
        optional: bool = False,
        unit: str = "",
        choices: Callable[[], Sequence[str]] | None = None,
        several: bool = False,
        narrow: bool = False,
    ) -> None:
        super().__init__()
        self._read, self._write, self._optional, self._several = read, write, optional, several
        self._choices = choices
        self._was_list = False
        self.line = named(Line(), name)
        self.line.setMinimumWidth(70)
        if optional:
            self.line.setPlaceholderText(LEFT_OUT)
        row = _row(self)
        row.addWidget(self.line, 0 if narrow else 1)
        if choices is not None:
            row.addWidget(self._button(name))
        if unit:
            row.addWidget(QLabel(unit))
        if narrow:
            self.line.setFixedWidth(120)
            row.addStretch(1)
        self.line.textEdited.connect(lambda _text: self.changed.emit())

    def _button(self, name: str) -> QToolButton:
        button = named(QToolButton(), f"{name}_choose")
        button.setText("▾")
        button.setToolTip("Choose from what there is")
        menu = QMenu(button)
        menu.aboutToShow.connect(lambda: self._fill(menu))
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        return button

    def _fill(self, menu: QMenu) -> None:
        menu.clear()
        names = self._choices() if self._choices is not None else ()
        for name in names:
            action: QAction = menu.addAction(name)
            action.triggered.connect(lambda _on=False, name=name: self._choose(name))
        if not names:
            menu.addAction("nothing to choose from yet").setEnabled(False)

    def _choose(self, name: str) -> None:
        if self._several:
            try:
                before = self.value() or ()
            except BadTextError:
                before = ()
            names = [before] if isinstance(before, str) else list(before)
            names = [n for n in names if n != name] if name in names else [*names, name]
            self.line.setText(join_list(names))
        else:
            self.line.setText(self._write(name))
        self.changed.emit()

    def value(self) -> Any:
        """Return what the line says."""
        text = self.line.text().strip()
        if not text and self._optional:
            return None
        found = self._read(text)
        return [found] if self._was_list and isinstance(found, str) else found

    def set_value(self, value: Any) -> None:
        """Write a value."""
        self._was_list = isinstance(value, list | tuple)  # one name may be given alone or in a list
        self.line.setText("" if value is None else self._write(value))
        self.line.setCursorPosition(0)

    def set_bad(self, *, bad: bool) -> None:
        """Draw a red frame around the line, or take it away."""
        mark(self.line, bad=bad)


class Choice(Editor):
    """One of a few values, or a name of what exists, which may also be typed.

    Parameters
    ----------
    name : str
        Object name of the box.
    fixed : sequence, optional
        The only values there are.
    choices : callable, optional
        Returns names that exist; others may be typed.
    optional : bool
        May be left out.
    """

    def __init__(
        self,
        name: str,
        *,
        fixed: Sequence[Any] = (),
        choices: Callable[[], Sequence[str]] | None = None,
        optional: bool = False,
    ) -> None:
        super().__init__()
        self._fixed, self._choices, self._optional = tuple(fixed), choices, optional
        self.box = without_wheel(named(QComboBox(), name), _KEEPER)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(8)
        if choices is not None:
            self.box.setEditable(True)
            self.box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
            self.box.lineEdit().setPlaceholderText(LEFT_OUT if optional else "needed")
            completer = self.box.completer()
            if isinstance(completer, QCompleter):
                completer.setFilterMode(Qt.MatchFlag.MatchContains)
        _only(self, self.box)
        self.refresh()
        self.box.currentTextChanged.connect(lambda _text: self.changed.emit())

    def refresh(self) -> None:
        """List what exists now, keeping what is shown."""
        before = self.box.currentText() if self._choices is not None else None

        def fill() -> None:
            if self._choices is not None:
                self.box.clear()
                self.box.addItems([str(n) for n in self._choices()])
                self.box.setCurrentText(before or "")
            elif not self.box.count():
                self.box.addItems([*([LEFT_OUT] if self._optional else []), *(str(v) for v in self._fixed)])

        _quietly(self.box, fill)

    def value(self) -> Any:
        """Return what is chosen."""
        if self._choices is None:
            at = self.box.currentIndex() - int(self._optional)
            return None if at < 0 else self._fixed[at]
        text = self.box.currentText().strip()
        if not text and self._optional:
            return None
        return read_word(text)

    def set_value(self, value: Any) -> None:
        """Choose a value."""

        def put() -> None:
            if self._choices is not None:
                self.box.setCurrentText("" if value is None else write_word(value))
            elif value is None:
                self.box.setCurrentIndex(0)
            else:
                self.box.setCurrentIndex(self._fixed.index(value) + int(self._optional))

        _quietly(self.box, put)

    def set_bad(self, *, bad: bool) -> None:
        """Draw a red frame around the box, or take it away."""
        mark(self.box, bad=bad)


class Lines(Editor):
    """A table of names, one ``name: value`` a line; or, where that is allowed, one text.

    Parameters
    ----------
    name : str
        Object name.
    read : callable
        Text of a value to the value.
    or_text : bool
        A text without names is the value itself.
    optional : bool
        An empty field is None; ``{}`` is a table without entries.
    """

    def __init__(self, name: str, read: Callable[[str], Any], *, or_text: bool = False, optional: bool = False) -> None:
        super().__init__()
        self._read, self._or_text, self._optional = read, or_text, optional
        self.box = named(QPlainTextEdit(), name)
        self.box.setFixedHeight(64)
        self.box.setTabChangesFocus(True)
        more = ", or one formula" if or_text else ""
        self.box.setPlaceholderText(f"name: value, one a line{more}")
        _only(self, self.box)
        self.box.textChanged.connect(self.changed)

    def value(self) -> Any:
        """Return the table."""
        text = self.box.toPlainText().strip()
        if not text and (self._optional or not self._or_text):
            return None if self._optional else {}
        if text == "{}":
            return {}
        parts = [_NAMED.match(line) for line in text.splitlines() if line.strip()]
        if self._or_text and (not parts or any(p is None for p in parts)):
            return " ".join(text.split())
        if any(p is None for p in parts):
            msg = "write one 'name: value' a line"
            raise BadTextError(msg)
        return {p[1]: self._read(p[2].strip()) for p in parts if p is not None}

    def set_value(self, value: Any) -> None:
        """Write a table."""
        if isinstance(value, dict) and not value and self._optional:
            text = "{}"
        elif isinstance(value, dict):
            text = "\n".join(f"{k}: {v if isinstance(v, str) else write_number(v)}" for k, v in value.items())
        else:
            text = "" if value is None else str(value)
        _quietly(self.box, lambda: self.box.setPlainText(text))

    def set_bad(self, *, bad: bool) -> None:
        """Draw a red frame around the field, or take it away."""
        mark(self.box, bad=bad)


_NAMED = re.compile(r"^\s*([A-Za-z_][\w.]*)\s*:\s*(.+)$")


# ---------------------------------------------------------------- text to value and back
def read_number(text: str, *, whole: bool = False) -> float | int:
    """Return a number; a comma is a decimal point."""
    try:
        if whole:
            return int(text)
        return float(text.replace(",", "."))
    except ValueError as error:
        msg = "write a whole number" if whole else "write a number"
        raise BadTextError(msg if text else "a number is needed") from error


def write_number(value: Any) -> str:
    """Return a number as a person writes it, without loss."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def read_word(text: str) -> str:
    """Return a text; quotes around it may make it empty or keep its spaces."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return text
    return text


def write_word(value: Any) -> str:
    """Return a text such that `read_word` gives it back."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if text != text.strip() or not text or text[0] == '"' else text


def read_word_or_number(text: str) -> str | float:
    """Return a number where the text is one, otherwise the text."""
    try:
        return float(text)
    except ValueError:
        return read_word(text)


def write_word_or_number(value: Any) -> str:
    """Return a number or text such that `read_word_or_number` gives it back."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return write_word(value)
        return json.dumps(value)
    return write_number(value)


def split_list(text: str) -> list[str]:
    """Return the names of a list with commas; a name may stand in quotes."""
    found = re.findall(r'\s*("(?:[^"\\]|\\.)*"|[^,]+)\s*(?:,|$)', text)
    return [read_word(part.strip()) for part in found if part.strip()]


def join_list(names: Sequence[Any]) -> str:
    """Return names such that `split_list` gives them back."""
    return ", ".join(json.dumps(n, ensure_ascii=False) if "," in n else write_word(n) for n in map(str, names))


def read_numbers(text: str, *, whole: bool = False, pairs: bool = False) -> list[Any]:
    """Return numbers with commas between; or groups of numbers with semicolons between."""
    if pairs:
        return [read_numbers(part, whole=whole) for part in text.split(";") if part.strip()]
    return [read_number(part.strip(), whole=whole) for part in text.split(",") if part.strip()]


def write_numbers(values: Sequence[Any]) -> str:
    """Return numbers, or groups of numbers, such that `read_numbers` gives them back."""
    if values and isinstance(values[0], list | tuple):
        return "; ".join(write_numbers(v) for v in values)
    return ", ".join(write_number(v) for v in values)


def _decade(number: float) -> int:
    """Return the power of ten of the step by which a number is changed."""
    if number == 0:
        return -1
    return int(f"{abs(number):e}".rpartition("e")[2]) - 1


def _row(widget: QWidget) -> QHBoxLayout:
    row = QHBoxLayout(widget)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    return row


def _only(widget: QWidget, child: QWidget) -> None:
    _row(widget).addWidget(child)


def _quietly(widget: QWidget, change: Callable[[], None]) -> None:
    before = widget.blockSignals(True)
    try:
        change()
    finally:
        widget.blockSignals(before)
