"""A step of the wizard with its form and its live preview on the frame that is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QVBoxLayout

from kinocyte.app.form import MethodEdit
from kinocyte.app.form_fields import Choices
from kinocyte.app.live_view import LiveView
from kinocyte.app.previews import Previews, Question
from kinocyte.app.session import Session
from kinocyte.app.widgets import hint
from kinocyte.core import registry
from kinocyte.core.method import Method


class LiveStep(LiveView):
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
        super().__init__(session, previews, title=f"Preview of {kind} in the wizard", name=name)
        self.setObjectName(f"{name}_page")
        self._kind, self._complete = kind, complete
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
        if not self.is_wanted or position is None:
            return
        if method is None:
            self.said.setText("The preview waits until the values below are right.")
            return
        keys = self._complete(
            {"position": position, "frame": self._session.frame, "kind": self._kind, "method": method}
        )
        if keys is not None:
            self.answer(Question(**keys))

    def _level_dragged(self, level: float) -> None:
        value = {k: v for k, v in self.value().items() if k not in {"high", "hysteresis"}}
        self.set_value({**value, "threshold": "fixed", "low": float(f"{level:.5g}")})
