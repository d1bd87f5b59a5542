"""Training a network without a terminal: data, checks, live curves, quality, and the model in the pipeline."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from kinocyte.app import settings
from kinocyte.app.draft import toml_of
from kinocyte.app.session import Session
from kinocyte.app.train.controls import Controls, minutes
from kinocyte.app.train.using import segment_with
from kinocyte.app.widgets import show_progress
from kinocyte.app.worker import Worker
from kinocyte.core.errors import KinocyteError

_NO_TORCH = (
    "Training needs PyTorch, which is not installed; install it with: pip install 'kinocyte[deep]', and start again."
)
_SIGNS = {"error": "✖", "warning": "⚠", "note": "•"}


class TrainPanel(QWidget):
    """Trains networks on the corrected cells of the experiment or on two folders, and puts them to use."""

    wants_panel = Signal(str)
    #: a piece of work in the other process ended, however it ended
    ended = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("train_panel")
        self._session = session
        self.worker = Worker("kinocyte.app.train.process", self)
        self.worker.told.connect(self._told)
        self.worker.over.connect(self._over)
        self._what = ""
        self.run_folder: Path | None = None
        self.model: Path | None = None
        self.controls = Controls(session)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.controls)
        self._connect()
        kept = settings.recall("train/form")
        if isinstance(kept, dict):
            self.controls.restore(kept)
        self._refresh()

    def _connect(self) -> None:
        c = self.controls
        c.check.clicked.connect(lambda: self._ask("check"))
        c.train.clicked.connect(self.train)
        c.stop.clicked.connect(self.stop_training)
        c.resume.clicked.connect(self._ask_resume)
        c.save.clicked.connect(self._ask_save)
        c.use.clicked.connect(self.use)
        c.report.clicked.connect(self.report)
        c.report_other.clicked.connect(self._ask_report)
        c.rank.clicked.connect(self.rank)
        c.findings.currentRowChanged.connect(lambda _row: self._show_finding())
        c.ranked.cellDoubleClicked.connect(lambda row, _column: self._go(c.ranked_places[row]))
        c.changed.connect(self._refresh)
        self._session.draft_changed.connect(c.list_populations)
        self._session.experiment_changed.connect(self._refresh)

    # ------------------------------------------------------------ what is asked
    @property
    def is_running(self) -> bool:
        """Tell whether a training, a check or a ranking goes on."""
        return self.worker.is_running

    def _refresh(self) -> None:
        c, running = self.controls, self.worker.is_running
        lacks = "" if find_spec("torch") else _NO_TORCH
        problem = c.problem()
        for button in (c.check, c.save):
            button.setEnabled(not running and not problem)
        c.train.setEnabled(not running and not problem and not lacks)
        c.problem_label.setText(lacks or problem)
        c.problem_label.setVisible(bool(lacks or problem) and not running)
        c.stop.setEnabled(running)
        c.resume.setEnabled(not running and not lacks)
        trained = self.model is not None and not running
        for button in (c.use, c.report, c.report_other):
            button.setEnabled(trained)
        c.rank.setEnabled(not running and bool(c.rank_model()) and bool(c.rank_images()))

    def _ask(self, what: str, **more: Any) -> None:
        """Ask the other process for a piece of work."""
        if self.worker.is_running:
            return
        self._what = what
        c = self.controls
        c.bar.setRange(0, 0)
        c.said.setText("Starting …")
        if what in {"train", "check"}:
            c.clear_findings()
        asked = {"what": what, "table": c.table(), "folder": str(Path.cwd()), "out": c.out.text().strip(), **more}
        self.worker.start(asked)
        self._refresh()

    def train(self) -> None:
        """Begin a training in a new run folder."""
        c = self.controls
        out = Path(c.out.text().strip()).expanduser()
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            c.propose_folder(force=True)
            out = Path(c.out.text())
        self._begin(out, c.table(), resume=False)

    def _begin(self, out: Path, table: dict[str, Any], *, resume: bool, folder: Path | None = None) -> None:
        self.run_folder, self.model = out, None
        self.controls.curves.clear()
        self.controls.scores.setText("")
        if resume:
            self._show_history(out)
        more = {"folder": str(folder)} if folder is not None else {}
        self._ask("train", table=table, out=str(out), resume=resume, **more)

    def _show_history(self, out: Path) -> None:
        from kinocyte.learning.training.run_folder import RunFolder

        self.controls.curves.show_rows(RunFolder(out).history())

    def _ask_resume(self) -> None:
        start = str(self.run_folder or self.controls.data.place().parent)
        chosen = QFileDialog.getExistingDirectory(self, "The folder of a training that was stopped", start)
        if chosen:
            self.resume(Path(chosen))

    def resume(self, out: Path) -> None:
        """Go on with a run that was stopped; one that is finished is opened, to use its model."""
        from kinocyte.learning.training.run_folder import RunFolder

        try:
            asked = RunFolder(out).asked
        except KinocyteError as error:
            self._session.say(str(error), "error")
            return
        inputs = (asked.get("data") or {}).get("inputs")
        beside = [out.parent, *out.parents]  # a file of the command line names folders beside itself
        folder = next((p for p in beside if inputs and (p / inputs).is_dir()), out.parent)
        self._begin(out, asked, resume=True, folder=folder)

    def stop_training(self) -> None:
        """Stop what goes on; a training keeps its last step."""
        self.controls.said.setText("Stopping …")
        self.worker.stop()

    def _ask_save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save the training file", "train.toml", "Training file (*.toml)")
        if name:
            self.save_file(name)

    def save_file(self, name: str) -> None:
        """Save what the form says as a file for `kinocyte train`."""
        place = Path(name).with_suffix(".toml")
        try:
            place.write_text(toml_of(self.controls.table()), encoding="utf-8")
        except OSError as error:
            self._session.say(f"Cannot write {place}: {error.strerror or error}; choose another folder.", "error")
            return
        self._session.say(f"Saved {place}. On the command line: kinocyte train {place.name} --out FOLDER")

    # ------------------------------------------------------------ what is told
    def _told(self, event: str, content: dict[str, Any]) -> None:
        getattr(self, f"_on_{event}")(**content)
        if event in {"trained", "ranked", "reported"}:  # the last steps of progress come too quickly to be told
            self.controls.bar.setRange(0, 1000)
            self.controls.bar.setValue(1000)

    def _on_begun(self, sentence: str, steps: int) -> None:
        self.controls.said.setText(f"{sentence}, {steps} steps. The first takes longest.")

    def _on_doing(self, sentence: str) -> None:
        self.controls.said.setText(sentence)

    def _on_progress(
        self, fraction: float, task: str = "", step: int = 0, seconds_left: float | None = None, **_more: Any
    ) -> None:
        c = self.controls
        c.bar.setRange(0, 1000)
        show_progress(c.bar, round(1000 * fraction))
        if self.worker.stopping:
            return
        words = f"Step {step}" if step else (task or "Predicting")
        c.said.setText(words + ("" if seconds_left is None else f", about {minutes(seconds_left)} left"))

    def _on_row(self, **row: float) -> None:
        self.controls.curves.add(row)

    def _on_finding(self, severity: str, sentence: str, places: list[dict[str, Any]]) -> None:
        self.controls.add_finding(f"{_SIGNS[severity]} {sentence}", severity, places)

    def _on_checked(self, pairs: int, objects: int) -> None:
        c = self.controls
        n = c.findings.count()
        more = f", {objects} objects" if objects else ""
        sentence = f"{pairs} images{more}: " + ("nothing is wrong with them." if not n else f"{n} findings.")
        c.said.setText(sentence)
        if not n:  # where the person looks who asked
            c.add_finding(f"✓ {sentence}", "note", [])

    def _on_trained(self, model: str, scores: dict[str, Any], verdict: str) -> None:
        c = self.controls
        self.model = Path(model)
        c.show_scores(scores, verdict)
        c.said.setText(f"The model is in {model}.")
        c.offer_model(str(self.model))
        c.propose_folder(force=True)
        self._session.say(f"Trained: {model}")

    def _on_ranked(self, rows: list[dict[str, Any]], images: int) -> None:
        self.controls.show_ranked(rows)
        self.controls.said.setText(f"{images} images in order; the first teach the model most.")

    def _on_reported(self, page: str) -> None:
        self.controls.said.setText(f"The report is in {page}.")
        QDesktopServices.openUrl(QUrl.fromLocalFile(page))

    def _on_refused(self, sentence: str) -> None:
        self.controls.said.setText(sentence)
        self._session.say(sentence, "error")

    def _on_stopped(self) -> None:
        kept = " What was learnt is kept; 'Go on with a run…' goes on from there." if self._what == "train" else ""
        self.controls.said.setText(f"Stopped.{kept}")

    def _over(self, said: bool, last: str) -> None:
        self.controls.bar.setRange(0, 1000)
        if not said:
            sentence = f"The work ended unexpectedly ({last})."
            if self._what == "train":
                sentence += " 'Go on with a run…' goes on from the last checkpoint."
            self._on_refused(sentence)
        elif self.controls.said.text() == "Stopping …":
            self._on_stopped()
        self._refresh()
        self.ended.emit()

    # ------------------------------------------------------------ looking, using, going on
    def _show_finding(self) -> None:
        places = self.controls.places_of_finding()
        if places:
            self._go(places[0])

    def _go(self, place: dict[str, Any]) -> None:
        """Show the image of a finding or of a rank: in the window, or as a picture of its file."""
        if place["image"] or place["target"]:
            self.controls.picture.show_files(place["image"], place["target"], place["frame"])
            return
        session = self._session
        if session.experiment is None or place["position"] not in session.experiment.positions:
            return

        def there() -> None:
            session.show_population(self.controls.data.population.currentText() or session.population)
            session.go_to(place["frame"])

        if session.position is None or session.position.id != place["position"]:
            session.show_position(place["position"], there)
        else:
            there()

    def use(self) -> None:
        """Let the pipeline find cells, or mend images, with the model."""
        if self.model is None:
            return
        try:
            sentence, path = segment_with(self._session.draft, self.model, self.controls.use_name())
        except KinocyteError as error:
            self._session.say(str(error), "error")
            return
        self._session.set_draft(self._session.draft)
        self._session.say(sentence)
        self.controls.said.setText(sentence)
        self.wants_panel.emit("builder")
        self.used = path

    def report(self) -> None:
        """Write the report of quality on the images that were held out."""
        if self.run_folder is not None:
            self._ask("report", out=str(self.run_folder))

    def _ask_report(self) -> None:
        inputs = QFileDialog.getExistingDirectory(self, "Images that the model has not learnt from")
        targets = QFileDialog.getExistingDirectory(self, "Their targets, with the same names") if inputs else ""
        if targets:
            self._ask("report", out=str(self.run_folder), inputs=inputs, targets=targets)

    def rank(self) -> None:
        """Order frames by what their annotation would teach."""
        c = self.controls
        channels = c.data.chosen_channels() if c.data.of_experiment else None
        self._ask(
            "rank", model=c.rank_model(), images=c.rank_images(), channels=channels, every=c.rank_every.value(),
            device=c.device(),
        )  # fmt: skip

    def save_draft(self) -> None:
        """Keep what was typed, so that a crash or a closed window loses nothing."""
        settings.remember("train/form", self.controls.state())

    def stop(self) -> None:
        """End the work because the window closes; a training keeps its last step."""
        self.worker.end()
