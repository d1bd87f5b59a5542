"""What every live preview shares: it is asked beside the window, and shown where it is still what is looked at."""

from __future__ import annotations

from abc import abstractmethod

from qtpy.QtWidgets import QCheckBox, QLabel, QWidget

from kinocyte.app.jobs import Latest
from kinocyte.app.preview_view import PreviewLayers, PreviewPlot
from kinocyte.app.previews import Previews, Question, Shown
from kinocyte.app.session import Session
from kinocyte.app.widgets import in_front, named


class LiveView(QWidget):
    """A step's preview on the frame on the screen: layers in the image, a sentence and a plot.

    Parameters
    ----------
    session : Session
        What is open.
    previews : Previews
        Computes the preview.
    title : str
        Names the work.
    name : str
        Begins the object names.
    """

    def __init__(self, session: Session, previews: Previews, *, title: str, name: str) -> None:
        super().__init__()
        self._session, self._previews = session, previews
        self._layers = PreviewLayers(session)
        self._asker = Latest(session.jobs, title, parent=self)
        for changed in (session.tables_changed, session.experiment_changed):
            changed.connect(previews.forget)
        self.shown: Shown | None = None
        self.live = named(QCheckBox("Live preview on this frame"), f"{name}_live")
        self.live.setChecked(True)
        self.live.toggled.connect(self._live_changed)
        self.said = named(QLabel(""), f"{name}_said")
        self.said.setWordWrap(True)
        self.plot = PreviewPlot()

    @property
    def is_busy(self) -> bool:
        """Tell whether a preview is still to come."""
        return self._asker.is_busy

    @property
    def is_wanted(self) -> bool:
        """Tell whether a preview would be seen."""
        return self.live.isChecked() and in_front(self)

    @abstractmethod
    def ask(self) -> None:
        """Ask for the preview, if it is wanted and can be had."""

    def answer(self, question: Question) -> None:
        """Compute the preview beside the window and show it, unless something else is asked meanwhile."""
        self._asker.ask(
            self._previews.answer,
            question,
            done=lambda shown: self._show(shown, question),
            failed=self._not_shown,
        )

    def _show(self, shown: Shown, question: Question) -> None:
        same = self._session.position is question.position and self._session.frame == question.frame
        if not same or not self.is_wanted:  # another panel came to the front meanwhile, and the image is its own
            return
        self.shown = shown
        self.said.setText(shown.sentence)
        self._layers.show(shown, question.position, question.frame)
        if shown.histogram is not None:
            self.plot.show_histogram(shown.histogram)
        elif shown.series is not None:
            self.plot.show_series(shown.series)
        else:
            self.plot.show_nothing()

    def _not_shown(self, message: str) -> None:
        self.forget()
        self.said.setText(message)

    def forget(self) -> None:
        """Show nothing, and want no answer any more."""
        self.leave()
        self.shown = None
        self.plot.show_nothing()

    def leave(self) -> None:
        """Leave the image to what is looked at now."""
        self._asker.drop()
        self._layers.clear()

    def _live_changed(self, is_on: bool) -> None:
        if is_on:
            self.ask()
        else:
            self.forget()
            self.said.setText("")
