"""Makes the pictures of the application: ``xvfb-run -s "-screen 0 1366x768x24" python docs/_gallery.py``.

Run it when the application has changed its looks, and look at what it makes before committing. The demo is imported and
run in a folder of its own; nothing that the person who runs it has set up is touched. Names of parts after the command
make only those, such as ``training``; ``QT_SCALE_FACTOR=2`` shows them as on a screen of twice the pixels.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _gallery_correcting import correcting, exploring
from _gallery_tools import drift, track
from PIL import Image
from qtpy.QtCore import Qt

IMAGES = Path(__file__).parent / "images" / "app"
SIZE = (1366, 768)


class Desk:
    """The window, and what is done with it for a picture."""

    def __init__(self, folder: Path) -> None:
        from kinocyte.app.window import Window

        self.folder = folder
        self.window = Window()
        self.session = self.window.session
        self.session.jobs.trouble.connect(lambda *said: print("trouble:", *said))
        self.wait(0.5)

    def wait(self, seconds: float) -> None:
        from qtpy.QtCore import QCoreApplication

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QCoreApplication.processEvents()
            time.sleep(0.005)

    def until(self, holds: Callable[[], Any], seconds: float = 240.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                sys.exit("something did not come to an end")
            self.wait(0.02)

    def rest(self) -> None:
        self.until(lambda: not self.session.jobs.running and not self.window.panel("builder").preview.is_busy)
        self.wait(0.3)

    def find(self, name: str) -> Any:
        from qtpy.QtWidgets import QApplication, QWidget

        return next(
            w for t in QApplication.topLevelWidgets() for w in [t, *t.findChildren(QWidget)] if w.objectName() == name
        )

    def screen(self) -> Image.Image:
        """Return the window as it stands on the screen: napari's own picture of it draws the frame number twice."""
        window = self.window._qt
        window.raise_()
        self.wait(0.3)
        window.screen().grabWindow(int(window.winId())).save(str(IMAGES / "one.png"))
        shown = Image.open(IMAGES / "one.png").convert("RGB")
        (IMAGES / "one.png").unlink()
        return shown

    def picture(self, name: str, widget: Any = None) -> None:
        self.wait(0.3)
        if widget is None:
            shown = self.screen()
        else:
            place = IMAGES / f"{name}.png"
            widget.grab().save(str(place))
            shown = Image.open(place).convert("RGB")
        few = shown.quantize(256, dither=Image.Dither.NONE)
        few.save(IMAGES / f"{name}.png", optimize=True)
        print(name, shown.size, f"{(IMAGES / f'{name}.png').stat().st_size / 1000:.0f} kB")


EMPTY = ("navigator", "builder", "run", "review", "labels", "tracks", "events", "history", "train")


def empty(desk: Desk) -> None:
    """Make one picture of what the panels say while nothing is open."""
    width, height, columns = 404, 330, 3
    rows = -(-len(EMPTY) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), (38, 41, 48))
    for number, name in enumerate(EMPTY):
        desk.window.show_panel(name)
        desk.wait(0.3)
        panel = desk.window.panel(name)
        place = IMAGES / "one.png"
        panel.grab().save(str(place))
        whole = Image.open(place).convert("RGB")
        part = whole.crop((0, 0, min(whole.width, width - 8), height - 8))
        sheet.paste(part, (number % columns * width, number // columns * height))
        place.unlink()
    sheet.quantize(256, dither=Image.Dither.NONE).save(IMAGES / "empty.png", optimize=True)


def start(desk: Desk) -> None:
    desk.window.show_panel("start")
    desk.picture("start")


def wizard(desk: Desk) -> None:
    from kinocyte.pipeline.importing import unpack_demo

    unpack_demo(desk.folder)
    desk.window.panel("start").new_experiment((str(desk.folder / "movies"),))
    dialog = desk.find("wizard")
    desk.until(lambda: dialog.plan is not None)
    dialog.channels.setText("h2b")
    dialog.target.setText(str(desk.folder / "demo.zarr"))
    dialog.plan = None
    dialog.read()
    desk.until(lambda: dialog.plan is not None)
    dialog.resize(1000, 620)
    desk.picture("wizard-files", dialog)
    dialog.tabs.setCurrentIndex(1)
    desk.picture("wizard-calibration", dialog)
    dialog.tabs.setCurrentIndex(2)
    desk.wait(0.2)
    dialog.column.setCurrentText("treatment")
    for well, value in (("A1", "control"), ("A2", "drug")):
        dialog.value.setCurrentText(value)
        dialog._paint([well])
    desk.picture("wizard-plate", dialog)
    dialog._import()
    desk.until(lambda: desk.session.experiment is not None)
    desk.until(lambda: bool(desk.window.layers.channels))


def opened(desk: Desk) -> None:
    if desk.session.experiment is None:
        desk.session.open(str(desk.folder / "demo.zarr"))
        desk.until(lambda: bool(desk.window.layers.channels))
    desk.window.panel("builder").open_file(str(desk.folder / "pipeline.toml"))
    desk.session.go_to(7)
    desk.rest()


def builder(desk: Desk) -> None:
    opened(desk)
    panel = desk.window.panel("builder")
    desk.window.show_panel("builder")
    desk.until(lambda: panel.preview.shown is not None)
    desk.picture("pipeline-threshold")
    panel.set_values({"min_area_um2": -4})
    desk.picture("pipeline-mistake", panel)
    panel.set_values({"min_area_um2": 40.0})
    panel._added(desk.session.draft.add_registration("h2b"))
    panel.preview.shown = None
    desk.until(lambda: panel.preview.shown is not None)
    desk.picture("pipeline-drift")
    panel._remove()
    panel._guide()
    dialog = desk.find("guide_dialog")
    dialog.diameter.setText("12")
    dialog.divide.setChecked(True)
    dialog.happening.setText("death")
    desk.picture("guide", dialog)
    dialog.reject()
    panel._as_text()
    dialog = desk.find("text_dialog")
    dialog.editor.setPlainText(dialog.editor.toPlainText().replace("max_distance_um", "max_distanse_um"))
    desk.picture("pipeline-text", dialog)
    dialog.reject()


def run(desk: Desk) -> None:
    opened(desk)
    panel = desk.window.panel("run")
    desk.window.show_panel("run")
    panel.start("everything")
    desk.until(lambda: panel._done >= 2 or not panel.is_running)
    desk.picture("run")
    desk.until(lambda: not panel.is_running)
    desk.rest()
    desk.until(lambda: desk.session.cells is not None and desk.window.layers.tracks is not None)
    desk.picture("run-done")
    panel._row("A2/1:nuclei.segmentation", "✖ Frame 3 of demo.zarr/A/2/1 is damaged; import the position again.")
    panel._row("A2/2:nuclei.segmentation", "⚠ 2 of 15 frames hold no object.")
    desk.picture("run-failed", panel)


def links(desk: Desk) -> None:
    panel = desk.window.panel("builder")
    desk.window.show_panel("builder")
    panel.steps.setCurrentRow(3)
    panel.preview.shown = None
    panel.preview.ask()
    desk.until(lambda: panel.preview.shown is not None)
    desk.picture("pipeline-links")
    panel.preview.live.setChecked(False)


def experiment(desk: Desk) -> None:
    navigator = desk.window.panel("navigator")
    desk.window.show_panel("navigator")
    choice = "nuclei: median area_um2 of objects"
    desk.until(lambda: navigator.colour_by.findText(choice) >= 0)
    navigator.colour_by.setCurrentText(choice)
    row = desk.session.cells.frame(7).row(2, named=True)
    desk.window.layers.choose_at((7.0, row["y_um"], row["x_um"]))
    desk.rest()
    desk.picture("experiment")


def other_panels(desk: Desk) -> None:
    correcting(desk)
    exploring(desk)
    for name in ("explore", "compare"):
        desk.window.docks[name].hide()


def training(desk: Desk) -> None:
    """Train the shipped network on the cells of the demo, for a few minutes at most, and rank its frames."""
    desk.window.show_panel("train")
    panel = desk.window.panel("train")
    controls = panel.controls
    controls.start.setCurrentText("nuclei-fluo")
    controls.data.corrected.setChecked(True)
    controls.data.every.setValue(5)
    controls.check.click()
    desk.until(lambda: not panel.is_running)
    desk.picture("train-check")
    short = {"steps": 60, "batch_size": 2, "patch_px": 64, "check_every": 6, "warmup_steps": 5, "held_out": 0.3}
    controls.settings.set_values({**short, "learning_rate": 1e-3})
    controls.train.click()
    desk.until(lambda: not panel.is_running, 600.0)
    scroll = desk.find("scroll_train")
    scroll.ensureWidgetVisible(controls.report, 0, 30)
    desk.picture("train")
    controls.rank_every.setValue(5)
    controls.rank.click()
    desk.until(lambda: not panel.is_running, 600.0)
    scroll.verticalScrollBar().setValue(scroll.verticalScrollBar().maximum())
    desk.picture("train-next")


def tuning(desk: Desk) -> None:
    """Find the level of the threshold from the masks of one frame."""
    desk.window.show_panel("builder")
    panel = desk.window.panel("builder")
    panel.steps.setCurrentRow(0)
    panel.preview._tune()
    dialog = panel.preview.tuning
    dialog._masks()
    for row, one in enumerate(dialog.tunables):
        if one.key == "threshold":
            dialog.keys.item(row, 0).setCheckState(Qt.CheckState.Checked)
            dialog.keys.item(row, 1).setText("otsu,li,triangle,background")
    dialog.start()
    desk.until(lambda: not dialog.worker.is_running)
    desk.picture("tune", dialog)
    dialog.close()


def comfort(desk: Desk) -> None:
    desk.session.say("Position A2/1 has no channel 'gfp'; did you mean 'h2b'? valid: h2b", "error")
    desk.window.show_panel("messages")
    desk.picture("messages")
    desk.window.show_shortcuts()
    dialog = desk.find("shortcuts_dialog")
    desk.picture("shortcuts", dialog)
    dialog.reject()
    desk.window.show_panel("builder")
    desk.session.say("Everything is saved.")
    desk.window.toggle_theme()
    desk.wait(0.5)
    desk.picture("light")
    desk.window.toggle_theme()
    desk.window.start_tour()
    desk.until(lambda: desk.window.tour.at == 0)
    desk.wait(0.3)
    desk.picture("tour", desk.window.tour.dialog)
    desk.window.tour.dialog.close()


PARTS = (empty, start, drift, track, wizard, builder, run, links, experiment, tuning, other_panels, training, comfort)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="kinocyte-gallery-"))
    os.environ["KINOCYTE_SETTINGS"] = str(folder / "settings")
    os.environ["NAPARI_CONFIG"] = str(folder / "napari.yaml")
    os.environ["HOME"] = str(folder)  # the tour puts its demo there
    IMAGES.mkdir(parents=True, exist_ok=True)
    desk = Desk(folder)
    named = set(sys.argv[1:])
    if not named <= {"empty", "start", "drift", "track"}:
        named |= {"wizard", "run"}  # the demo has to be there and run
    for part in PARTS:
        if not sys.argv[1:] or part.__name__ in named:
            part(desk)
    desk.window.close()


if __name__ == "__main__":
    main()
