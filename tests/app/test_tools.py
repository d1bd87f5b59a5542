"""Two stories with plain files, by real clicks: movies are held still and aligned, and one movie is tracked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from kinocyte.cli import run
from tests.app.conftest import Hands

DRIFTED = np.array([[0, 0], [1.5, -0.75], [2.25, -3], [-1, -4.5], [-3.5, -2.25]])
SCALE = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "TimeIncrement": 4.0, "TimeIncrementUnit": "min"}
SIDE = 96


def texture(seed: int, side: int = SIDE + 16) -> NDArray[np.float64]:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 2.0, mode="wrap")
    return np.asarray(1000 + 8000 * (noise - noise.min()) / np.ptp(noise))


def walking() -> NDArray[np.uint16]:
    """Return four large cells that walk, and one speck that is dimmer."""
    y, x = np.mgrid[:72, :90]
    out = np.full((6, 72, 90), 100.0)
    for t in range(6):
        for n in range(4):
            out[t] += 800 * np.exp(-((y - 10 - 17 * n) ** 2 + (x - 12 - 3 * t) ** 2) / 18)
        out[t] += 130 * np.exp(-((y - 30) ** 2 + (x - 75 + t) ** 2) / 18)
    return out.astype(np.uint16)


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a movie that drifts, beads, a sample and a movie of cells."""
    folder = tmp_path_factory.mktemp("tools")
    big = [texture(1), texture(2)]
    inner = slice(8, -8)
    frames = [[ndimage.shift(c, s, order=3, mode="grid-wrap")[inner, inner] for c in big] for s in DRIFTED]
    two = {**SCALE, "axes": "TCYX", "Channel": {"Name": ["phase", "red"]}}
    tifffile.imwrite(folder / "moves.ome.tif", np.rint(frames).astype(np.uint16), ome=True, metadata=two)
    shifted = ndimage.shift(big[0], (1.25, -2.0), order=3, mode="grid-wrap")[inner, inner]
    beads = np.rint([big[0][inner, inner], shifted])
    slide = {**two, "axes": "CYX"}
    tifffile.imwrite(folder / "beads.ome.tif", beads.astype(np.uint16), ome=True, metadata=slide)
    cells = {**SCALE, "axes": "TYX", "Channel": {"Name": ["dna"]}}
    tifffile.imwrite(folder / "cells.ome.tif", walking(), ome=True, metadata=cells)
    tifffile.imwrite(folder / "silent.tif", walking(), imagej=True, metadata={"axes": "TYX"})
    return folder


class Watchdog:
    """Measures how long the window's thread computed between two beats of its clock."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self.blocks: list[float] = []
        self._last = time.thread_time()
        self._timer = QTimer()
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._beat)

    def _beat(self) -> None:
        now = time.thread_time()
        self.blocks.append(now - self._last)
        self._last = now

    def __enter__(self) -> Self:
        self._last = time.thread_time()
        self._timer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._timer.stop()
        self._beat()


def holds_the_window(act: Callable[[], None]) -> list[float]:
    """Return what held the window over 0.2 s each time it was done, or nothing after a time that held it never.

    What is drawn for the first time is compiled by a graphics driver in software, and the memory is tidied now and
    then; a step that computes in the window's thread holds it each time.
    """
    held = []
    for _ in range(4):
        with Watchdog() as dog:
            act()
        long = [b for b in dog.blocks if b > 0.2]
        if not long:
            return []
        held.append(max(long))
    return held


@pytest.fixture(scope="module")
def window(hands: Hands) -> Hands:
    """Return the one window, large enough for one column of panels."""
    hands.window.viewer.window._qt_window.resize(1366, 768)
    return hands


def drop(widget: Any, *paths: Path) -> None:
    """Drop files on a widget, as a file manager does."""
    from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
    from qtpy.QtGui import QDragEnterEvent, QDropEvent

    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(p)) for p in paths])
    place, copy = QPointF(5, 5), Qt.DropAction.CopyAction
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(place.toPoint(), copy, data, buttons, keys)
    widget.dragEnterEvent(enter)
    assert enter.isAccepted()
    widget.dropEvent(QDropEvent(place, copy, data, buttons, keys))


def press(hands: Hands, name: str, root: Any) -> None:
    """Bring a button into view and click it."""
    from qtpy.QtWidgets import QScrollArea

    button = hands.find(name, root)
    hands.until(button.isEnabled)
    scroll = hands.find(f"scroll_{root.objectName().removesuffix('_panel')}")
    assert isinstance(scroll, QScrollArea)
    scroll.ensureWidgetVisible(button)
    hands.pump(0.05)
    button.grab()  # it lies where it will be clicked
    hands.click(name, root)


def pixels(hands: Hands) -> NDArray[np.uint8]:
    """Return the picture of the image."""
    hands.pump(0.1)
    shown = hands.window.viewer.screenshot(canvas_only=True, flash=False)
    return np.asarray(shown[..., :3])


# ---------------------------------------------------------------- drift
def test_movies_are_dropped_and_understood(window: Hands, movies: Path) -> None:
    window.click("start_drift")
    panel = window.window.panel("drift")
    drop(panel, movies / "moves.ome.tif", movies / "silent.tif")
    window.until(lambda: len(panel.files.facts) == 2)
    table = panel.files.table
    row = [table.item(0, c).text() for c in range(table.columnCount())]
    assert row == ["moves", "5", f"{SIDE} x {SIDE}", "phase, red", "0.5", "4"]
    assert table.item(1, 4).text() == "?", "no calibration is made up"
    window.until(lambda: panel.view.is_shown)
    assert [lay.name for lay in window.window.viewer.layers] == ["phase", "red"]
    panel.files.clear()
    window.until(lambda: not panel.view.is_shown)
    drop(panel.files, movies / "moves.ome.tif")
    window.until(lambda: panel.view.is_shown)


def test_drift_is_estimated_and_looked_at(window: Hands, movies: Path) -> None:
    panel = window.window.panel("drift")
    page = panel.drift
    window.find("drift_channel", page).setText("phase")
    page.method.form.editors["channel"].changed.emit()

    def estimate() -> None:
        panel.view.drift, page.found = None, []
        press(window, "drift_estimate", panel)
        window.until(lambda: page.found)
        window.until(lambda: panel.view.drift is not None)

    assert not holds_the_window(estimate)
    assert page.found[0].problem == ""
    found = page.found[0].table.select("dy_px", "dx_px").to_numpy()
    np.testing.assert_allclose(found, DRIFTED, atol=0.1)
    assert page.plots.isVisible()
    assert page.plots.shown.height == len(DRIFTED)

    panel.view.go_to(3)
    press(window, "drift_before", panel)
    before = pixels(window)
    press(window, "drift_after", panel)
    after = pixels(window)
    assert np.abs(before.astype(int) - after.astype(int)).mean() > 1, "the toggle changes the image"
    press(window, "drift_look_mean", panel)
    assert [lay.name for lay in window.window.viewer.layers] == ["mean"]
    press(window, "drift_look_kymograph", panel)
    assert window.window.viewer.layers[0].data.shape == (len(DRIFTED), SIDE)
    press(window, "drift_look_frames", panel)


def test_what_the_tool_writes_is_what_the_command_writes(window: Hands, movies: Path, tmp_path: Path) -> None:
    panel = window.window.panel("drift")
    page = panel.drift
    window.type("drift_out", str(tmp_path / "mine"), page)
    press(window, "drift_write", panel)
    window.until(lambda: page.job.is_over and page.done.text())
    assert not page.refused.isVisible(), page.refused.text()
    source = str(movies / "moves.ome.tif")
    theirs = tmp_path / "theirs"
    assert run(["drift", "estimate", source, "--channel", "phase", "--out", str(theirs)]) == 0
    assert run(["drift", "apply", str(theirs / "moves_drift.csv"), source, "--out", str(theirs)]) == 0
    names = sorted(p.name for p in theirs.iterdir())
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == names
    assert "moves_corrected.ome.tif" in names
    for name in ("moves_drift.csv", "moves_drift.svg", "moves_before_after.svg"):
        assert (tmp_path / "mine" / name).read_bytes() == (theirs / name).read_bytes(), name
    here, there = (tifffile.imread(f / "moves_corrected.ome.tif") for f in (tmp_path / "mine", theirs))
    assert np.array_equal(here, there)
    texts = [(f / "moves_drift.toml").read_text().replace(str(f), "DIR") for f in (tmp_path / "mine", theirs)]
    assert texts[0] == texts[1]

    press(window, "drift_write", panel)
    window.until(lambda: page.job.is_over)
    assert "exists already" in page.refused.text()
    assert "--out" not in page.refused.text(), "options of the command line are not the language of a window"


def test_channels_are_measured_on_beads_and_aligned_in_others(window: Hands, movies: Path, tmp_path: Path) -> None:
    panel = window.window.panel("drift")
    panel.files.clear()
    drop(panel.files, movies / "beads.ome.tif")
    window.until(lambda: panel.files.is_ready() and panel.view.is_shown)
    panel.tabs.setCurrentIndex(1)
    page = panel.channels
    press(window, "channels_sample", panel)
    assert "colocalisation" in page.danger.text()
    press(window, "channels_estimate", panel)
    window.until(lambda: page.found)
    assert "colocalisation" in page.warning.text()
    press(window, "channels_sample", panel)
    press(window, "channels_estimate", panel)
    window.until(lambda: page.found and not page.warning.isVisible())
    assert page.shifts.item(1, 0).text() == "red"
    assert float(page.shifts.item(1, 1).text()) == pytest.approx(-2.0, abs=0.1)
    page.which.setCurrentIndex(1)
    drop(page.others, movies / "moves.ome.tif")
    window.until(page.others.is_ready)
    window.type("channels_out", str(tmp_path / "mine"), page)
    press(window, "channels_write", panel)
    window.until(lambda: page.job.is_over and page.done.text())
    theirs = tmp_path / "theirs"
    assert run(["channels", "estimate", str(movies / "beads.ome.tif"), "--out", str(theirs)]) == 0
    moves = str(movies / "moves.ome.tif")
    assert run(["channels", "apply", str(theirs / "beads_channels.csv"), moves, "--out", str(theirs)]) == 0
    here, there = (tifffile.imread(f / "moves_aligned.ome.tif") for f in (tmp_path / "mine", theirs))
    assert np.array_equal(here, there)
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == sorted(p.name for p in theirs.iterdir())


def test_what_cannot_be_used_says_why(window: Hands, movies: Path, tmp_path: Path) -> None:
    panel = window.window.panel("drift")
    panel.tabs.setCurrentIndex(0)
    panel.files.clear()
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\x00 no movie")
    drop(panel, broken)
    window.until(lambda: bool(panel.files.facts))
    assert panel.files.problem.isVisible()
    assert "broken.tif" in panel.files.problem.text()
    assert not window.find("drift_estimate", panel).isEnabled()
    panel.files.clear()


# ---------------------------------------------------------------- tracking
def test_a_movie_is_detected(window: Hands, movies: Path) -> None:
    window.click("start_track")
    panel = window.window.panel("track")
    window.until(lambda: not window.window.panel("drift").view.is_shown)
    drop(panel, movies / "cells.ome.tif")
    window.until(lambda: bool(panel.files.facts))
    press(window, "track_next", panel)
    window.until(lambda: panel.detect.isVisible() and panel.detect.shown is not None)

    def detect() -> None:
        panel.detect.shown = None
        window.type("track_detect_radius_um", "2", panel)
        window.until(lambda: panel.detect.shown is not None)

    assert not holds_the_window(detect)
    assert panel.detect.said.text().startswith("5 spots in this frame")
    window.type("track_detect_radius_um", "-2", panel)
    press(window, "track_next", panel)
    assert "above 0" in panel.problem.text()
    assert panel.detect.isVisible()
    window.type("track_detect_radius_um", "2", panel)


def test_spots_are_filtered_on_the_histogram(window: Hands) -> None:
    panel = window.window.panel("track")
    press(window, "track_next", panel)
    window.until(lambda: panel.spots.isVisible() and not panel.is_busy)
    assert panel.objects.height == 30
    press(window, "track_spots_add", panel)
    assert panel.spots.rows[0].feature.currentText() == "quality"
    window.until(lambda: panel.spots.line is not None and not panel.spots.is_busy)
    press(window, "track_spots_otsu", panel)
    window.until(lambda: panel.spots.said.text().startswith("24 of 30 spots"))
    assert len(panel._left_out.layer.data) == 6, "the specks are crossed out in the image"
    panel.spots.line.setValue(1e9)
    window.until(lambda: panel.spots.said.text().startswith("0 of 30"))
    press(window, "track_spots_otsu", panel)
    window.until(lambda: panel.spots.said.text().startswith("24 of 30"))


def test_they_are_linked_and_their_tracks_filtered(window: Hands) -> None:
    panel = window.window.panel("track")
    press(window, "track_next", panel)
    window.until(lambda: panel.link.shown is not None and not panel.link.is_busy)
    assert panel.link.said.text().startswith("4 of 4 cells"), "links are those of the spots that count"
    ahead = min(4, 5 - window.session.frame)
    assert len(panel.link.shown.arrows) == 4 * ahead, "one arrow a cell and frame ahead"
    press(window, "track_next", panel)
    window.until(lambda: panel.tracks.isVisible() and not panel.is_busy)
    assert panel.lineages.height == 4
    press(window, "track_tracks_add", panel)
    row = panel.tracks.rows[0]
    row.feature.setCurrentText("mean_y_um")
    window.type(row.value.objectName(), "8", panel)
    window.until(lambda: panel.tracks.said.text().startswith("3 of 4 lineages"))
    press(window, "track_next", panel)
    window.until(lambda: panel.results.isVisible() and not panel.is_busy)
    assert panel.results.said.text().startswith("24 objects in 3 tracks, 15 links")
    assert "6 objects are in no track" in panel.results.said.text(), "those of the lineage that was left out"


def test_a_track_is_shown_in_image_table_and_scheme(window: Hands) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    panel = window.window.panel("track")
    view = panel.results.views["tracks"]
    view.grab()
    place = view.visualRect(view.model().index(1, 0)).center()
    QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    track = panel.results.models["tracks"].frame["track_id"][1]
    assert window.session.selection.track_ids == (track,)
    window.until(lambda: window.window.layers.chosen is not None)
    panel.results.tabs.setCurrentIndex(3)
    window.until(lambda: panel.results.tree.layout_frame.height == 3)
    window.pump(0.1)
    image = panel.results.tree.grab().toImage()
    colours = {image.pixelColor(x, y).name() for x in range(0, image.width(), 2) for y in range(0, image.height(), 2)}
    assert {"#56b4e9", "#e69f00"} <= colours, "branches, and the chosen one thick"


def test_the_folder_is_that_of_the_command(window: Hands, movies: Path, tmp_path: Path) -> None:
    panel = window.window.panel("track")
    results = panel.results
    results.movie.setChecked(False)
    for what, place in (("pipeline", "p.toml"), ("all", "mine"), ("xml", "one.xml"), ("csv", ".")):
        results.wanted.emit(what, str(tmp_path / place))
        window.until(lambda: panel.job.is_over)
        assert not panel.problem.isVisible(), panel.problem.text()
    words = ["track", str(movies / "cells.ome.tif"), "--pipeline", str(tmp_path / "p.toml")]
    words += ["--no-movie", "--workers", "1", "--out"]
    assert run([*words, str(tmp_path / "theirs")]) == 0
    mine, theirs = tmp_path / "mine" / "cells", tmp_path / "theirs" / "cells"
    names = sorted(p.name for p in theirs.iterdir())
    assert sorted(p.name for p in mine.iterdir()) == names
    for name in names:
        if name.endswith(".csv"):
            assert (mine / name).read_bytes() == (theirs / name).read_bytes(), name
    labels = [tifffile.imread(f / "cells_cells_labels.ome.tif") for f in (mine, theirs)]
    assert np.array_equal(*labels)
    notes = [json.loads((f / "track.json").read_text()) for f in (mine, theirs)]
    assert notes[0] == notes[1], "the command knows the folder as its own"
    assert pl.read_csv(tmp_path / "cells_cells_tracks.csv").height == 3


def test_trackmate_xml_comes_back(window: Hands, tmp_path: Path) -> None:
    panel = window.window.panel("track")
    panel.results.wanted.emit("xml", str(tmp_path / "from_trackmate.xml"))
    window.until(lambda: panel.job.is_over)
    drop(panel, tmp_path / "from_trackmate.xml")
    window.until(lambda: panel.name == "from_trackmate" and not panel.is_busy and panel.results.isVisible())
    # the six objects of the lineage that was left out are not in the file
    assert panel.results.said.text().startswith("18 objects in 3 tracks, 15 links")
    assert not panel.results.buttons["all"].isEnabled(), "tracks of others have no pipeline"
    panel.results.wanted.emit("xml", str(tmp_path / "again.xml"))
    window.until(lambda: panel.job.is_over and (tmp_path / "again.xml").exists())


def test_the_temporary_movie_goes_with_the_next_one(window: Hands, movies: Path) -> None:
    from kinocyte.app import settings

    panel = window.window.panel("track")
    scratch = panel.source.scratch
    assert scratch.exists()
    assert not [u for u in settings.recent_experiments() if str(scratch) in u]
    panel._forget()
    window.until(lambda: window.session.experiment is None)
    assert not scratch.exists()
    assert panel.source is None
