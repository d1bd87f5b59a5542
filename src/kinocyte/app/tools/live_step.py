"""A step of the wizard with its form and its live preview on the frame that is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QCheckBox, QLabel, QVBoxLayout, QWidget

from kinocyte.app.form import MethodEdit
from kinocyte.app.form_fields import Choices
from kinocyte.app.jobs import Latest
from kinocyte.app.preview_view import PreviewLayers, PreviewPlot
from kinocyte.app.previews import Previews, Question, Shown
from kinocyte.app.session import Session
from kinocyte.app.widgets import hint, in_front, named
from kinocyte.core import registry
from kinocyte.core.method import Method


class LiveStep(QWidget):
    """The form of one method, and what it does to the frame on the screen.

    Parameters
    ----------
    session : Session
        What is shown.
    kind : str
        Kind of method.
    name : str
        Begins the object names.
    about : str
        What the step is for.
    choices : Choices
        Channels and columns that can be named.
    previews : Previews
        Computes the preview.
    complete : callable
        Completes a question with what the step needs beside its method.
    """

    def __init__(
        self,
        session: Session,
        kind: str,
        name: str,
        *,
        about: str,
        choices: Choices,
        previews: Previews,
        complete: Callable[[dict[str, Any]], dict[str, Any] | None],
    ) -> None:
        super().__init__()
        self.setObjectName(f"{name}_page")
        self._session, self._kind, self._previews, self._complete = session, kind, previews, complete
        self._layers = PreviewLayers(session)
        self._asker = Latest(session.jobs, f"Preview of {kind} in the wizard", parent=self)
        self.shown: Shown | None = None
        self.live = named(QCheckBox("Live preview on this frame"), f"{name}_live")
        self.live.setChecked(True)
        self.live.toggled.connect(self._live_changed)
        self.said = named(QLabel(""), f"{name}_said")
        self.said.setWordWrap(True)
        self.plot = PreviewPlot()
        self.plot.level_dragged.connect(self._level_dragged)
        self.editor = MethodEdit(kind, choices, name)
        self.editor.changed.connect(self.ask)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.addWidget(hint(about))
        self.column.addWidget(self.live)
        self.column.addWidget(self.said)
        self.column.addWidget(self.plot)
        self.column.addWidget(self.editor)
        self.column.addStretch(1)
        session.frame_changed.connect(lambda _frame: self.ask())

    @property
    def is_busy(self) -> bool:
        """Tell whether a preview is still to come."""
        return self._asker.is_busy

    def method(self) -> Method | None:
        """Return the method, None where its form is not right."""
        form = self.editor.form
        if form is None or form.check() is None:
            return None
        try:
            value = self.editor.value()
            return registry.get(self._kind, value["method"]).model_validate(value)
        except ValueError:
            return None

    def value(self) -> dict[str, Any]:
        """Return the table of the method as a pipeline file says it."""
        return dict(self.editor.value())

    def set_value(self, value: dict[str, Any]) -> None:
        """Show a table of a method."""
        self.editor.set_value(value)
        self.ask()

    # ------------------------------------------------------------ the preview
    def ask(self) -> None:
        """Ask for the preview, if the step is on the screen."""
        position, method = self._session.position, self.method()
        if not self.live.isChecked() or not in_front(self) or position is None:
            return
        if method is None:
            self.said.setText("The preview waits until the values below are right.")
            return
        keys = self._complete(
            {"position": position, "frame": self._session.frame, "kind": self._kind, "method": method}
        )
        if keys is None:
            return
        question = Question(**keys)
        self._asker.ask(
            self._previews.answer,
            question,
            done=lambda shown: self._show(shown, question),
            failed=self._not_shown,
        )

    def _show(self, shown: Shown, question: Question) -> None:
        same = self._session.position is question.position and self._session.frame == question.frame
        if same and self.live.isChecked() and in_front(self):
            self.shown = shown
            self.said.setText(shown.sentence)
            self._layers.show(shown, question.position, question.frame)
            if shown.histogram is not None:
                self.plot.show_histogram(shown.histogram)
            else:
                self.plot.show_nothing()

    def _not_shown(self, message: str) -> None:
        self.shown = None
        self._layers.clear()
        self.plot.show_nothing()
        self.said.setText(message)

    def leave(self) -> None:
        """Leave the image to what is looked at now."""
        self._asker.drop()
        self._layers.clear()

    def _live_changed(self, is_on: bool) -> None:
        if is_on:
            self.ask()
        else:
            self.leave()
            self.plot.show_nothing()
            self.said.setText("")

    def _level_dragged(self, level: float) -> None:
        value = {k: v for k, v in self.value().items() if k not in {"high", "hysteresis"}}
        self.set_value({**value, "threshold": "fixed", "low": float(f"{level:.5g}")})
