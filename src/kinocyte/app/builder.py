"""The pipeline builder: steps in order, a form for each, a live preview, and the file that the command line runs."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app import settings
from kinocyte.app.applying import last_pipeline
from kinocyte.app.builder_menu import fill
from kinocyte.app.builder_preview import LivePreview
from kinocyte.app.draft import Draft, DraftStep, Path, anchored_document
from kinocyte.app.form import MethodEdit, TableEdit
from kinocyte.app.form_fields import Choices
from kinocyte.app.form_models import about
from kinocyte.app.session import Session
from kinocyte.app.widgets import Front, error_label, heading, hint, mark, named, push_button, tool_button
from kinocyte.core.errors import KinocyteError
from kinocyte.pipeline.model import Pipeline


class BuilderPanel(QWidget):
    """Builds the pipeline of the session, step by step."""

    wants_panel = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("builder_panel")
        self._session = session
        self._choices = Choices()
        self._step: DraftStep | None = None
        self._editor: MethodEdit | TableEdit | None = None
        self._filling = False
        self.preview = LivePreview(session, lambda: self._step, self._model)
        self.preview.values_wanted.connect(self.set_values)
        self._front = Front(self, self.preview.ask, self.preview.leave)  # the image belongs to who is looked at
        self._saver = QTimer(self)
        self._saver.setSingleShot(True)
        self._saver.setInterval(1000)
        self._saver.timeout.connect(self.save_draft)
        self._make()
        self._lay_out()
        session.experiment_changed.connect(self._experiment_changed)
        session.position_changed.connect(self._place_changed)
        session.cells_changed.connect(self._place_changed)
        session.frame_changed.connect(lambda _frame: self.preview.ask())
        session.selection_changed.connect(lambda _selection: self.preview.ask(if_kind="event"))
        session.draft_changed.connect(self._draft_changed)
        self._draft_changed()
        self._experiment_changed()

    # ------------------------------------------------------------ building the panel
    def _make(self) -> None:
        self.title = named(QLineEdit(), "builder_name")
        self.title.setPlaceholderText("Name of the analysis")
        self.title.textEdited.connect(self._renamed)
        self.seed = named(QLineEdit(), "builder_seed")
        self.seed.setFixedWidth(64)
        self.seed.setPlaceholderText(str(Pipeline.model_fields["seed"].default))
        self.seed.setToolTip(f"Seed: {Pipeline.model_fields['seed'].description} The same number, the same result.")
        self.seed.textEdited.connect(self._seeded)
        self.steps = named(QListWidget(), "builder_steps")
        self.steps.currentRowChanged.connect(self._chosen)
        self.empty = hint(
            "No steps yet. Answer a few questions with 'Which steps?', add a step with '+', or open a pipeline file."
        )
        self.add = named(QToolButton(), "builder_add")
        self.add.setText("+ Add step")
        self.add.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.add)
        menu.aboutToShow.connect(lambda: self._fill_menu(menu))
        self.add.setMenu(menu)
        self.remove = tool_button("Remove", "builder_remove", "Take the chosen step away", self._remove)
        self.up = tool_button(
            "▲", "builder_up", "Before the one above, among steps of its kind", lambda: self._move(-1)
        )
        self.down = tool_button(
            "▼", "builder_down", "After the one below, among steps of its kind", lambda: self._move(1)
        )
        self.guide = push_button("Which steps?", "builder_guide", "A few questions that lead to steps", self._guide)
        self.load = push_button("Open…", "builder_open", "Open a pipeline file (.toml)", self._ask_file)
        self.save = push_button(
            "Save…", "builder_save", "Save the pipeline file, for the command line too", self._ask_save
        )
        self.text = push_button("As text…", "builder_text", "See and change the text of the file", self._as_text)
        self.form_title = heading("")
        self.about = hint("")
        self.own_name = named(QLineEdit(), "builder_step_name")
        self.own_name.setToolTip("What this is called in the file; a channel that is computed is found by it")
        self.own_name.editingFinished.connect(self._named)
        self.name_row = QWidget()
        self.form_place = QVBoxLayout()
        self.form_error = error_label("builder_form_error")

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        grid = QGridLayout()
        for at, button in enumerate((self.guide, self.load, self.save, self.text)):
            grid.addWidget(button, at // 4, at % 4)
        column.addLayout(grid)
        row = QHBoxLayout()
        row.addWidget(self.title, 1)
        row.addWidget(QLabel("Seed"))
        row.addWidget(self.seed)
        column.addLayout(row)
        column.addWidget(self.empty)
        column.addWidget(self.steps)
        row = QHBoxLayout()
        for tool in (self.add, self.remove, self.up, self.down):
            row.addWidget(tool)
        row.addStretch(1)
        column.addLayout(row)
        column.addWidget(self.form_title)
        column.addWidget(self.preview)
        column.addWidget(self.form_error)
        row = QHBoxLayout(self.name_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Name"))
        row.addWidget(self.own_name, 1)
        column.addWidget(self.about)
        column.addWidget(self.name_row)
        column.addLayout(self.form_place)
        column.addStretch(1)

    def _fill_menu(self, menu: QMenu) -> None:
        session = self._session
        fill(
            menu,
            session.draft,
            self._added,
            channel=next(iter(self._choices.channels), None),
            imported=session.label_names,
            ask_population=self._add_population,
        )

    def _add_population(self) -> None:
        name, ok = QInputDialog.getText(self, "A kind of cell", "What are these cells called?", text="cells")
        if ok and name.strip():
            plain = "".join(c if c.isalnum() and c.isascii() else "_" for c in name.strip())
            channel = next(iter(self._choices.channels), None)
            self._added(self._session.draft.add_population(plain, channel))

    # ------------------------------------------------------------ the list of steps
    def _draft_changed(self) -> None:
        if self._filling:
            return
        draft = self._session.draft
        if self.title.text() != str(draft.document.get("name", "")):
            self.title.setText(str(draft.document.get("name", "")))
        self.seed.setText(str(draft.document.get("seed", "")))
        self._refresh_choices()
        self._list_steps(self._step.path if self._step is not None else None)

    def _list_steps(self, choose: Path | None = None) -> None:
        """List the steps again and choose one; the form is made anew only for another step."""
        found = self._session.draft.steps()
        self._filling = True
        self.steps.clear()
        for step in found:
            item = QListWidgetItem(step.title)
            item.setData(Qt.ItemDataRole.UserRole, step)
            self.steps.addItem(item)
        self._filling = False
        row_px = self.steps.sizeHintForRow(0) if found else 0
        self.steps.setFixedHeight(min(190, max(60, row_px * len(found) + 8)))
        self.empty.setVisible(not found)
        self.steps.setVisible(bool(found))
        at = next((i for i, s in enumerate(found) if s.path == choose), 0 if found else -1)
        self._step = None
        if at >= 0:
            self.steps.setCurrentRow(at)
            if self._step is None:
                self._chosen(at)
        else:
            self._show_form(None)
        self._mark_errors()

    def _added(self, path: Path) -> None:
        self._step = None
        self._list_steps(path)
        self._changed()

    def _remove(self) -> None:
        if self._step is not None:
            self._session.draft.remove(self._step.path)
            self._list_steps()
            self._changed()

    def _move(self, by: int) -> None:
        if self._step is not None:
            self._list_steps(self._session.draft.move(self._step.path, by))
            self._changed()

    def _chosen(self, row: int) -> None:
        if self._filling or row < 0:
            return
        step = self.steps.item(row).data(Qt.ItemDataRole.UserRole)
        if self._step is None or step.path != self._step.path:
            self._show_form(step)

    # ------------------------------------------------------------ the form
    def _show_form(self, step: DraftStep | None) -> None:
        self._step = step
        if self._editor is not None:
            self.form_place.removeWidget(self._editor)
            self._editor.setParent(None)
            self._editor.deleteLater()
            self._editor = None
        self.form_title.setVisible(step is not None)
        self.about.setVisible(step is not None and step.model is not None)
        self.name_row.setVisible(step is not None and step.is_named)
        self.form_error.hide()
        self.preview.prepare(step)
        if step is None:
            return
        self.form_title.setText(step.title)
        self._refresh_choices()
        self.own_name.setText(str(step.path[-1]))
        if step.model is not None:
            self.about.setText(step.about or about(step.model).splitlines()[0])
            self._editor = TableEdit(step.model, self._choices, "step", hidden=step.inner)
        else:
            self._editor = MethodEdit(step.kind, self._choices, "step", place=step.place, hidden=step.inner)
        try:
            self._editor.set_value(self._session.draft.table(step))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.form_error.setText(f"This step cannot be shown as a form ({error}); change it with 'As text…'.")
            self.form_error.show()
            self._editor.deleteLater()
            self._editor = None
            return
        self._editor.changed.connect(self._form_changed)
        self.form_place.addWidget(self._editor)
        self._check_form()
        self.preview.ask()

    def _form_changed(self) -> None:
        if self._editor is None or self._step is None:
            return
        self._session.draft.write(self._step, self._editor.value())
        self._retitle()
        self._check_form()
        self._changed()
        self.preview.ask()

    def _retitle(self) -> None:
        found = {s.path: s for s in self._session.draft.steps()}
        for row in range(self.steps.count()):
            item = self.steps.item(row)
            step = found.get(item.data(Qt.ItemDataRole.UserRole).path)
            if step is not None:
                item.setText(step.title)
                item.setData(Qt.ItemDataRole.UserRole, step)
        if self._step is not None:
            self._step = found.get(self._step.path, self._step)
            self.form_title.setText(self._step.title)

    def _check_form(self) -> None:
        if self._editor is not None and self._editor.form is not None:
            self._editor.form.check()

    def _mark_errors(self) -> None:
        """Put a sign before every step of which something is refused."""
        _, errors = self._session.draft.check()
        rest = []
        steps = [self.steps.item(r).data(Qt.ItemDataRole.UserRole) for r in range(self.steps.count())]
        refused: dict[int, list[str]] = {}
        for path, sentence in errors:
            holding = [i for i, s in enumerate(steps) if path[: len(s.path)] == s.path]
            row = max(holding, key=lambda i: len(steps[i].path), default=None)  # a step may stand inside another
            if row is None:
                rest.append(f"{'.'.join(map(str, path))}: {sentence}" if path else sentence)
            else:
                refused.setdefault(row, []).append(f"{'.'.join(map(str, path[len(steps[row].path) :]))} {sentence}")
        for row, step in enumerate(steps):
            item = self.steps.item(row)
            bad = refused.get(row)
            item.setText(f"✖ {step.title}" if bad else step.title)
            item.setData(Qt.ItemDataRole.ForegroundRole, QColor("#e0483f") if bad else None)
            item.setToolTip("; ".join(bad) if bad else "")
        if rest and self._editor is not None:
            self.form_error.setText("; ".join(rest))
        self.form_error.setVisible(bool(rest))

    def _changed(self) -> None:
        """Tell everybody that the pipeline is another one now, and keep it."""
        self._mark_errors()
        self._filling = True
        self._session.draft_changed.emit()
        self._filling = False
        self._saver.start()

    def _renamed(self, text: str) -> None:
        self._session.draft.document["name"] = text
        self._changed()

    def _seeded(self, text: str) -> None:
        document = self._session.draft.document
        document.pop("seed", None)
        if text.strip():
            document["seed"] = int(text) if text.strip().isdecimal() else text  # what is no number is refused and said
        mark(self.seed, bad=bool(text.strip()) and not text.strip().isdecimal())
        self._changed()
        self.preview.ask()

    def _named(self) -> None:
        """Give the step another name."""
        step, name = self._step, self.own_name.text().strip()
        if step is None or not step.is_named or name == step.path[-1]:
            return
        path = self._session.draft.rename(step.path, name)
        if path == step.path:
            self._session.say(
                f"The name '{name}' is taken; choose another." if name else "A name is needed.", "warning"
            )
            self.own_name.setText(str(step.path[-1]))
            return
        self._added(path)

    # ------------------------------------------------------------ what exists
    def _refresh_choices(self) -> None:
        session = self._session
        experiment, cells = session.experiment, session.cells
        document = session.draft.document
        if experiment is not None:
            self._choices.channels = (*experiment.channels, *document.get("stain", {}))
            self._choices.conditions = [c for c in experiment.conditions.columns if c != "well"]
        self._choices.populations = list(document.get("population", {}))
        self._choices.tables = [str(t.get("name", "")) for t in document.get("table", [])]
        self._choices.interactions = [
            str(t.get("name") or f"{t.get('reference', '')}_{t.get('neighbour', '')}")
            for t in document.get("interaction", [])
        ]
        if cells is not None:
            of_tracks = self._step is not None and "track_filter" in self._step.path
            table = cells.tracks if of_tracks else cells.objects
            self._choices.columns = [c for c in table.columns if c not in _NOT_MEASURED]
        events = [
            e.get("name")
            for p in document.get("population", {}).values()
            if isinstance(p, dict)
            for e in p.get("event", [])
        ]
        self._choices.events = [str(e) for e in events if e]
        if self._editor is not None and self._editor.form is not None:
            self._editor.form.refresh_choices()

    def _experiment_changed(self) -> None:
        """Go on with what was being built for this experiment, or with what ran on it last."""
        experiment = self._session.experiment
        if experiment is None:
            return
        kept = settings.recall(_draft_key(experiment.url))
        if isinstance(kept, dict) and kept.get("document"):
            self._session.set_draft(Draft(kept["document"], str(kept.get("source", ""))))
            return
        try:
            pipeline = last_pipeline(experiment)
        except KinocyteError as error:
            self._session.say(str(error), "warning")
            pipeline = None
        if pipeline is not None:
            self._session.set_draft(Draft.from_pipeline(pipeline))
        elif not self._session.draft.steps():
            self._session.set_draft(Draft())
        self._refresh_choices()

    def _place_changed(self) -> None:
        self._refresh_choices()
        self.preview.ask()

    def save_draft(self) -> None:
        """Keep what is being built, so that a crash or a closed window loses nothing."""
        experiment = self._session.experiment
        if experiment is not None:
            draft = self._session.draft
            settings.remember(_draft_key(experiment.url), {"document": draft.document, "source": draft.source})

    def stop(self) -> None:
        """End what computes beside the window, because it closes."""
        self.preview.stop()

    # ------------------------------------------------------------ the preview
    def toggle_preview(self) -> None:
        """Turn the live preview on or off."""
        self.preview.live.toggle()

    def _model(self) -> type[BaseModel] | None:
        """Return the model of the form that is shown."""
        return None if self._editor is None or self._editor.form is None else self._editor.form.model_class

    def set_values(self, values: dict[str, Any], drop: tuple[str, ...] = ()) -> None:
        """Change some values of the step that is shown, as if they were typed."""
        if self._editor is None or self._step is None:
            return
        table = {k: v for k, v in self._editor.value().items() if k not in drop}
        if "threshold" in values and values["threshold"] != "fixed":
            table = {k: v for k, v in table.items() if k not in ("low", "high", "hysteresis_low")}
        self._editor.set_value({**table, **values})
        self._form_changed()

    # ------------------------------------------------------------ files
    def _guide(self) -> None:
        from kinocyte.app.guide import GuideDialog

        dialog = GuideDialog(self._session, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted.connect(lambda: self._use(dialog.draft()))
        dialog.open()

    def _as_text(self) -> None:
        from kinocyte.app.text_view import TextDialog

        dialog = TextDialog(self._session.draft, self._use, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    def _use(self, draft: Draft) -> None:
        self._step = None
        self._session.set_draft(draft)
        self._saver.start()

    @property
    def shown_method(self) -> tuple[str, str] | None:
        """Return kind and name of the method whose form is shown, for its page of help."""
        name = self._editor.method.value() if isinstance(self._editor, MethodEdit) else None
        return None if name is None or self._step is None else (self._step.kind, name)

    def _ask_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a pipeline", "", "Pipeline (*.toml)")
        if name:
            self.open_file(name)

    def open_file(self, name: str) -> None:
        """Open a pipeline file; one with mistakes is shown as text, with the mistakes marked."""
        try:
            document = anchored_document(name)
        except KinocyteError as error:
            self._session.say(str(error), "error")
            self.form_error.setText(str(error))
            self.form_error.show()
            return
        self._use(Draft(document, name))
        self._session.say(f"Opened {name}.")

    def _ask_save(self) -> None:
        start = self._session.draft.source or "pipeline.toml"
        name, _ = QFileDialog.getSaveFileName(self, "Save the pipeline", start, "Pipeline (*.toml)")
        if name:
            self.save_file(name)

    def save_file(self, name: str) -> None:
        """Save the pipeline file."""
        place = FilePath(name).with_suffix(".toml")
        try:
            place.write_text(self._session.draft.text(), encoding="utf-8")
        except OSError as error:
            self._session.say(f"Cannot write {place}: {error.strerror or error}; choose another folder.", "error")
            return
        self._session.draft.source = str(place)
        self._session.say(f"Saved {place}.")


_NOT_MEASURED = {"object_id", "track_id", "label", "frame", "x_um", "y_um", "z_um", "time_min"}


def _draft_key(url: str) -> str:
    return "draft/" + url.replace("/", "|").replace("\\", "|")
