"""The live preview of the pipeline builder: what a step does to the frame that is looked at, and ways to set it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QMenu, QVBoxLayout

from kinocyte.app import settings
from kinocyte.app.draft import DraftStep
from kinocyte.app.live_view import LiveView
from kinocyte.app.previews import Previews, Question, Suggestion, bare, before_step, suggestions
from kinocyte.app.session import Session
from kinocyte.app.widgets import push_button

_KINDS_WITH_PREVIEW = {
    "restoration", "stain", "registration", "segmentation", "tracking", "measurement", "event", "interaction", "filter",
}  # fmt: skip


def _has_preview(step: DraftStep) -> bool:
    return step.kind in _KINDS_WITH_PREVIEW and not (step.kind == "event" and step.path[0] == "interaction")


class LivePreview(LiveView):
    """Shows what the chosen step does, in the image and as a plot.

    Parameters
    ----------
    session : Session
        What is open.
    step : callable
        Returns the step that is chosen, or None.
    model : callable
        Returns the model of its form, or None.
    """

    #: values that a person chose here, and keys that go with them
    values_wanted = Signal(dict, tuple)

    def __init__(
        self,
        session: Session,
        step: Callable[[], DraftStep | None],
        model: Callable[[], type[BaseModel] | None],
    ) -> None:
        super().__init__(session, Previews(), title="Preview", name="builder")
        self._step, self._model = step, model
        self.live.setChecked(bool(settings.recall("builder/live", True)))
        self.live.toggled.connect(lambda is_on: settings.remember("builder/live", is_on))
        self.suggest = push_button(
            "Suggest…", "builder_suggest", "Ways to set this step, tried on this frame", self._suggest
        )
        self.tune = push_button("Tune…", "builder_tune", "Find the values that fit a few annotations best", self._tune)
        self.tuning: Any = None
        self.plot.level_dragged.connect(self.set_level)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        row = QHBoxLayout()
        row.addWidget(self.live, 1)
        row.addWidget(self.suggest)
        row.addWidget(self.tune)
        column.addLayout(row)
        column.addWidget(self.said)
        column.addWidget(self.plot)

    def prepare(self, step: DraftStep | None) -> None:
        """Show nothing yet, and what can be asked of a step."""
        if self.tuning is not None and (step is None or step.path != self.tuning.path):
            self.tuning.close()  # its values are for another step
        self.forget()
        self.said.setText("")
        for widget in (self.live, self.said):
            widget.setVisible(step is not None)
        self.suggest.setVisible(step is not None and step.kind == "segmentation")
        self.tune.setVisible(step is not None and step.kind in {"segmentation", "tracking"})
        self.live.setVisible(step is not None and _has_preview(step))

    def stop(self) -> None:
        """End what computes beside the window, because it closes."""
        self.leave()
        if self.tuning is not None:
            self.tuning.leave()
        self._previews.close()

    def question(self) -> Question | None:
        """Return what is to be previewed, or None where the form or the place does not allow it."""
        session, step, model = self._session, self._step(), self._model()
        if session.position is None or step is None or model is None:
            return None
        try:
            method = bare(model.model_validate(session.draft.get(step.path)))
        except ValueError:
            return None
        population = str(step.path[1]) if step.path[0] == "population" else None
        pipeline, _ = session.draft.check()
        restorers: tuple[Any, ...] = ()
        segmentation = None
        if pipeline is not None:
            restorers = before_step(pipeline, str(step.path[1]) if step.kind == "restoration" else None)
            if population is not None:
                segmentation = pipeline.population[population].segmentation
        cells = session.cells if population is not None and session.population == population else None
        table = session.draft.get(step.path) or {}
        sides = (str(table.get("reference", "")), str(table.get("neighbour", "")))
        if step.kind == "interaction" and session.population in sides:
            cells = session.cells
        kept = pipeline.population[population] if pipeline is not None and population is not None else None
        of_tracks = step.kind == "filter" and "track_filter" in step.path
        filters = () if kept is None or step.kind != "filter" else kept.track_filter if of_tracks else kept.filter
        storage = session.experiment.storage if session.experiment is not None else None
        track = session.selection.track_ids[-1] if session.selection.track_ids else None
        return Question(
            session.position,
            session.frame,
            step.kind,
            method,
            restorers,
            segmentation,
            cells,
            track,
            str(table.get("name", "")),
            pipeline.seed if pipeline is not None else 1,
            sides,
            population or "",
            filters,
            of_tracks,
            ("", {}) if storage is None else (storage.url, storage.options),
        )

    def ask(self, if_kind: str = "") -> None:
        """Ask for the preview of the step on the frame, if it is wanted and can be had."""
        step = self._step()
        if not self.is_wanted or step is None or (if_kind and step.kind != if_kind):
            return
        if not _has_preview(step):
            whole = step.kind in {"comparison", "report"}
            where = "This step is about the whole experiment; run it" if whole else "Run this step on this position"
            self.said.setText(f"{where} to see its result.")
            return
        question = self.question()
        if question is None:
            place = "Open an experiment to see what this does." if self._session.position is None else ""
            self.said.setText(place or "The preview waits until the values below are right.")
            return
        self.said.setText(self.said.text() or "Computing …")
        self.answer(question)

    def set_level(self, level: float) -> None:
        """Make the threshold a fixed level, as dragged on the histogram."""
        self.values_wanted.emit({"threshold": "fixed", "low": float(f"{level:.5g}")}, ("high", "hysteresis"))

    def _suggest(self) -> None:
        question = self.question()
        if question is None:
            self._session.say(
                "Nothing can be suggested until an experiment is open and the values are right.", "warning"
            )
            return
        self._session.job("Trying ways to set this step", suggestions, self._previews, question, done=self._suggested)

    def _tune(self) -> None:
        """Open the dialog that finds values from annotations; the window can be used beside it."""
        from kinocyte.app.tuning.dialog import TuneDialog

        step, model = self._step(), self._model()
        if step is None or model is None or self._session.position is None:
            self._session.say("Open an experiment first; values are tried on the position that is shown.", "warning")
            return
        if self.tuning is not None:
            self.tuning.close()
        self.tuning = TuneDialog(self._session, step, model, self)
        self.tuning.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.tuning.values_wanted.connect(lambda values: self.values_wanted.emit(values, ()))
        self.tuning.destroyed.connect(partial(self._tuned, self.tuning))
        self.tuning.show()

    def _tuned(self, closed: Any, _gone: Any = None) -> None:
        if self.tuning is closed:  # and not one that was opened meanwhile
            self.tuning = None

    def _suggested(self, found: list[Suggestion]) -> None:
        menu = QMenu(self.suggest)
        menu.setObjectName("builder_suggestions")
        for suggestion in found:
            menu.addAction(suggestion.title).triggered.connect(
                lambda _on=False, values=dict(suggestion.values): self.values_wanted.emit(values, ())
            )
        if not found:
            menu.addAction("No way gives a result on this frame").setEnabled(False)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.suggest.mapToGlobal(self.suggest.rect().bottomLeft()))
