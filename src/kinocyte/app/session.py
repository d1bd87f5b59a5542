"""What is open in one window: the experiment, the position, the population, the selection.

Panels hold no science and do not know each other: they listen to the signals of the session and call its methods.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from kinocyte.app.cells import Cells, load_cells
from kinocyte.app.draft import Draft
from kinocyte.app.jobs import Job, Jobs
from kinocyte.core.errors import ParameterError, StoreError
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.experiment import open as open_experiment
from kinocyte.experiment.position import Position

if TYPE_CHECKING:
    from kinocyte.experiment.editing import Editor


@dataclass(frozen=True)
class Selection:
    """Cells that a person chose somewhere; every view shows them.

    Parameters
    ----------
    population : str
        Whose cells.
    track_ids, object_ids : tuple of int
        Chosen tracks; chosen objects (of any frame).
    source : str
        Who chose, such as ``image`` or ``table``, so that nobody answers its own choice.
    """

    population: str = ""
    track_ids: tuple[int, ...] = ()
    object_ids: tuple[int, ...] = ()
    source: str = ""

    def __bool__(self) -> bool:
        """Tell whether anything is chosen."""
        return bool(self.track_ids or self.object_ids)


class Session(QObject):
    """What is open in one window.

    Attributes
    ----------
    experiment : Experiment or None
    position : Position or None
    population : str or None
    viewer : napari.Viewer or None
        Set by the window with `attach`.
    frame : int
        The frame that is shown.
    selection : Selection
    cells : Cells or None
        The tables of the population in force, with corrections that were not applied yet laid over them; loaded in
        the background (`cells_changed`).
    draft : Draft
        The pipeline that is being built.
    chosen_wells : tuple of str
        Wells chosen on the plate.
    jobs : Jobs
        Work beside the window.
    """

    experiment_changed = Signal()
    position_changed = Signal()
    population_changed = Signal()
    frame_changed = Signal(int)
    selection_changed = Signal(object)
    #: after a run or a correction
    tables_changed = Signal()
    #: `cells` holds what the population is now, or None
    cells_changed = Signal()
    #: `populations` and `label_names` hold what the position has now
    listed = Signal()
    #: the pipeline that is being built was changed, or another one was loaded
    draft_changed = Signal()
    #: the wells chosen on the plate
    wells_chosen = Signal()
    #: a sentence for the person, and how bad it is: ``info``, ``warning`` or ``error``
    said = Signal(str, str)

    def __init__(self, viewer: Any = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        import_module("pandas")  # two threads that load it at once leave it half loaded: napari does, and its helpers
        self.jobs = Jobs(self)
        self.experiment: Experiment | None = None
        self.position: Position | None = None
        self.population: str | None = None
        self.viewer: Any = None
        self.frame = 0
        self.selection = Selection()
        self.cells: Cells | None = None
        #: kinds of cells, and label images, of the position; listed beside the window, for a disk may be slow
        self.populations: tuple[str, ...] = ()
        self.label_names: tuple[str, ...] = ()
        self.draft = Draft()
        self.chosen_wells: tuple[str, ...] = ()
        self._wanted: tuple[str, Callable[[], Any]] = ("", _nothing)
        self._loading: Job | None = None
        self._applying: Job | None = None
        self._apply_again = False
        self.position_changed.connect(self._load_cells)
        self.population_changed.connect(self._load_cells)
        self.tables_changed.connect(self._look_again)
        if viewer is not None:
            self.attach(viewer)

    # ------------------------------------------------------------ the viewer
    def attach(self, viewer: Any) -> None:
        """Take a napari viewer: its slider sets the frame."""
        self.viewer = viewer
        viewer.dims.events.current_step.connect(self._on_slider)

    def _on_slider(self, _event: Any = None) -> None:
        if self.position is None or self.viewer is None or not self.viewer.dims.current_step:
            return
        frame = int(self.viewer.dims.current_step[0])
        if frame != self.frame and 0 <= frame < self.position.n_frames:
            self.frame = frame
            self.frame_changed.emit(frame)

    def go_to(self, frame: int, x_um: float | None = None, y_um: float | None = None) -> None:
        """Show a frame, and a place in the middle of the view."""
        if self.position is None:
            return
        frame = max(0, min(int(frame), self.position.n_frames - 1))
        if self.viewer is not None:
            if self.viewer.dims.ndim > 2:
                self.viewer.dims.set_current_step(0, frame)
            if x_um is not None and y_um is not None:
                self.viewer.camera.center = (*self.viewer.camera.center[:-2], y_um, x_um)
        if frame != self.frame:
            self.frame = frame
            self.frame_changed.emit(frame)

    # ------------------------------------------------------------ what is open
    def open(self, path: str, ready: threading.Event | None = None) -> Job:
        """Open an experiment in the background; its first position is shown then, not before ``ready`` is set."""
        return self.job(f"Opening {path}", _open_whole, path, ready, done=self._opened)

    def _opened(self, experiment: Experiment) -> None:
        self.experiment, self.position, self.population = experiment, None, None
        self.selection, self.cells, self.frame, self.chosen_wells = Selection(), None, 0, ()
        self.populations, self.label_names = (), ()
        self.experiment_changed.emit()
        self.position_changed.emit()  # what was shown before is gone
        if experiment.positions:
            self.show_position(next(iter(experiment.positions)))
        else:
            self.say(f"{experiment.name} holds no position yet; import movies into it.", "warning")

    def close_experiment(self) -> None:
        """Show nothing any more."""
        self.experiment, self.position, self.population, self.cells = None, None, None, None
        self.selection, self.frame = Selection(), 0
        self._wanted, self.populations, self.label_names = ("", _nothing), (), ()
        self.experiment_changed.emit()
        self.position_changed.emit()

    @property
    def wanted_position(self) -> str:
        """Return the position that is shown, or that is about to be."""
        return self._wanted[0] or (self.position.id if self.position is not None else "")

    def show_position(self, position_id: str, then: Callable[[], Any] | None = None) -> Job | None:
        """Show a position, with the population that was shown before if it has it.

        What it holds is listed beside the window; ``then`` is called when the position is shown. Of several that are
        asked for quickly the last one is shown.
        """
        if self.experiment is None:
            return None
        self._wanted = (position_id, then or _nothing)
        return self.jobs.start(
            f"Opening {position_id}", _look_at, self.experiment, position_id, done=self._looked, failed=self._not_there
        )

    def _looked(self, found: Held) -> None:
        experiment, position, populations, labels = found
        if experiment is not self.experiment or position.id != self._wanted[0]:
            return  # something else was asked for meanwhile
        then, self._wanted = self._wanted[1], ("", _nothing)
        self.position, self.frame = position, 0
        self.populations, self.label_names = populations, labels
        self.selection = Selection()
        if self.population not in populations:
            self.population = populations[0] if populations else None
        self.position_changed.emit()
        self.selection_changed.emit(self.selection)
        then()

    def _not_there(self, _message: str) -> None:
        self._wanted = ("", _nothing)

    def hide_position(self) -> None:
        """Leave the image to a tool that shows plain files; `show_position` brings the position back."""
        self._wanted = ("", _nothing)
        if self.position is not None:
            self.position, self.cells, self.frame, self.selection = None, None, 0, Selection()
            self.position_changed.emit()
            self.selection_changed.emit(self.selection)

    def show_population(self, name: str | None) -> None:
        """Show a population of the position."""
        if name != self.population:
            self.population, self.selection = name, Selection()
            self.population_changed.emit()
            self.selection_changed.emit(self.selection)

    def select(self, selection: Selection) -> None:
        """Choose cells; every view shows them."""
        if selection != self.selection:
            self.selection = selection
            self.selection_changed.emit(selection)

    def set_draft(self, draft: Draft) -> None:
        """Build on another pipeline."""
        self.draft = draft
        self.draft_changed.emit()

    def choose_wells(self, wells: Iterable[str]) -> None:
        """Choose wells, for a run."""
        self.chosen_wells = tuple(wells)
        self.wells_chosen.emit()

    # ------------------------------------------------------------ cells and corrections
    def _look_again(self) -> None:
        """Show what a run made: a first population is chosen where none was shown."""
        if self.experiment is not None and self.position is not None:
            place = self.experiment, self.position.id
            self.jobs.start("Listing what was made", _look_at, *place, done=self._relisted, quiet=True)
        self._load_cells()

    def _relisted(self, found: Held) -> None:
        _, position, populations, labels = found
        if self.position is None or position.id != self.position.id:
            return
        self.populations, self.label_names = populations, labels
        if self.population is None and populations:
            self.show_population(populations[0])
        self.listed.emit()

    def _load_cells(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None
        position, population = self.position, self.population
        if position is None or population is None:
            self.cells = None
            self.cells_changed.emit()
            return
        # quiet: a store that vanished is said once, by what the person did, not by every reload
        self._loading = self.jobs.start(
            "Reading cells", load_cells, position, population, done=self._loaded, failed=self._not_loaded, quiet=True
        )

    def _loaded(self, cells: Cells) -> None:
        self._loading, self.cells = None, cells
        self.cells_changed.emit()

    def _not_loaded(self, message: str) -> None:
        self._loading, self.cells = None, None
        self.say(message, "warning")
        self.cells_changed.emit()

    def editor(self) -> Editor:
        """Return what corrects the cells of the population that is shown.

        Raises
        ------
        ParameterError
            If no population is shown.
        StoreError
            If the store was made by another program, which is never changed.
        """
        if self.experiment is None or self.position is None or self.population is None:
            msg = "Nothing is open to correct; open an experiment and choose a population."
            raise ParameterError(msg)
        self.experiment.check_writable()
        return self.position.edit(self.population)

    def corrected(self) -> Job | None:
        """Show what a correction changed, and apply the journal in the background; `tables_changed` follows.

        The pipeline of the newest run is run again on this position, where only the corrections and what reads the
        corrected cells are left to do. Corrections that come meanwhile are applied right after.
        """
        from kinocyte.app.applying import apply_corrections

        if self.experiment is None or self.position is None:
            return None
        self._load_cells()
        if self._applying is not None:
            self._apply_again = True
            return self._applying
        self._apply_again = False
        self._applying = self.jobs.start(
            "Applying corrections",
            apply_corrections,
            self.experiment,
            self.position.id,
            done=self._applied,
            failed=self._not_applied,
            lane="corrections",
        )
        return self._applying

    @property
    def is_applying(self) -> bool:
        """Tell whether corrections are being applied."""
        return self._applying is not None

    def _applied(self, sentences: tuple[str, ...]) -> None:
        self._applying = None
        for sentence in sentences:
            self.say(sentence, "warning")
        if self._apply_again:
            self.corrected()
        else:
            self.tables_changed.emit()

    def _not_applied(self, _message: str) -> None:
        self._applying = None

    # ------------------------------------------------------------ work and words
    def job(
        self,
        title: str,
        function: Callable[..., Any],
        *args: Any,
        done: Callable[[Any], None] | None = None,
        failed: Callable[[str], None] | None = None,
    ) -> Job:
        """Run a function beside the window; see `Jobs.start`. Everything that takes over 50 ms goes this way."""
        return self.jobs.start(title, function, *args, done=done, failed=failed)

    def say(self, sentence: str, level: str = "info") -> None:
        """Show a sentence in the notification area."""
        self.said.emit(sentence, level)

    def close(self) -> None:
        """Stop all work; called once, when the window closes."""
        if self.viewer is not None:
            self.viewer.dims.events.current_step.disconnect(self._on_slider)
            self.viewer = None
        self.jobs.close()


def _nothing() -> None:
    """Wait for nothing."""


#: an experiment, one of its positions, its populations and its label images
Held = tuple[Experiment, Position, tuple[str, ...], tuple[str, ...]]


def _look_at(experiment: Experiment, position_id: str) -> Held:
    """Read what a window has to know of a position before it shows it."""
    try:
        position = experiment.position(position_id)
        _ = position.n_frames, position.channels, position.scale
        return experiment, position, tuple(position.populations), tuple(position.label_names)
    except OSError as error:
        msg = f"{position_id} of {experiment.url} cannot be read: {error.strerror or error}; look whether it is there."
        raise StoreError(msg) from error


def _open_whole(path: str, ready: threading.Event | None, job: Job) -> Experiment:
    """Open an experiment and list its positions, which reads one small file a well."""
    experiment = open_experiment(path)
    _ = experiment.positions
    while ready is not None and not ready.wait(0.02):
        job.check()
    return experiment
