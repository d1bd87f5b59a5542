"""Pictures of the tools that need no experiment, for `_gallery.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile


def drift(desk: Any) -> None:
    """Hold a movie of the demo still, and lay two channels of beads on each other."""
    from kinocyte.pipeline.importing import unpack_demo

    unpack_demo(desk.folder)
    desk.window.show_panel("drift")
    panel = desk.window.panel("drift")
    panel.files.add([str(desk.folder / "movies" / f"A1_{n}.tif") for n in (1, 2)])
    desk.until(lambda: panel.view.shown is not None)
    desk.rest()
    desk.picture("drift-files")
    panel.drift.estimate()
    desk.until(lambda: panel.drift.found)
    desk.until(lambda: panel.view.drift is not None)
    desk.rest()
    desk.picture("drift-found")
    desk.find("drift_look_kymograph").click()
    desk.picture("drift-kymograph")
    desk.find("drift_look_frames").click()
    panel.files.clear()
    panel.files.add([beads(desk.folder)])
    desk.until(lambda: panel.view.shown is not None)
    panel.tabs.setCurrentIndex(1)
    panel.channels.sample.setChecked(True)
    panel.channels.estimate()
    desk.until(lambda: panel.channels.found)
    desk.rest()
    desk.picture("channels-found")
    panel.files.clear()
    panel.tabs.setCurrentIndex(0)
    desk.window.docks["drift"].hide()


def beads(folder: Path) -> str:
    """Return the place of two images of beads of which one is shifted."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:160, :160]
    places = rng.uniform(8, 152, (40, 2))
    images = [
        sum(900 * np.exp(-((y - a - dy) ** 2 + (x - b - dx) ** 2) / 5) for a, b in places) + rng.normal(100, 4, y.shape)
        for dy, dx in ((0, 0), (2.4, -3.2))
    ]
    place = folder / "beads.ome.tif"
    about = {"axes": "CYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "Channel": {"Name": ["green", "red"]}}
    tifffile.imwrite(place, np.clip(images, 0, None).astype(np.uint16), ome=True, metadata=about)
    return str(place)


def track(desk: Any) -> None:
    """Track a movie of the demo, step by step."""
    from kinocyte.pipeline.importing import unpack_demo

    unpack_demo(desk.folder)
    desk.window.show_panel("track")
    panel = desk.window.panel("track")
    panel.files.add([str(desk.folder / "movies" / "A1_1.tif")])
    desk.until(lambda: panel.files.facts)
    desk.picture("track-movie")
    panel.go_on()
    desk.until(lambda: panel.step == 1 and panel.detect.shown is not None)
    panel.detect.shown = None
    panel.detect.set_value({**panel.detect.value(), "radius_um": 6.0})
    desk.until(lambda: panel.detect.shown is not None)
    desk.picture("track-detect")
    step(desk, panel, 2)
    desk.find("track_spots_add").click()
    desk.until(lambda: panel.spots.line is not None and not panel.spots.is_busy)
    desk.find("track_spots_otsu").click()
    desk.until(lambda: not panel.spots.is_busy)
    desk.picture("track-spots")
    panel.spots.rows[0].removed.emit(panel.spots.rows[0])
    panel.go_on()
    panel.link.set_value({"method": "lap", "max_distance_um": 12.0, "splitting_max_distance_um": 12.0})
    desk.until(lambda: panel.link.shown is not None and not panel.link.is_busy)
    desk.picture("track-link")
    step(desk, panel, 4)
    desk.find("track_tracks_add").click()
    desk.until(lambda: panel.tracks.line is not None and not panel.tracks.is_busy)
    row = panel.tracks.rows[0]
    row.value.setText("5")
    row.changed.emit()
    desk.until(lambda: not panel.tracks.is_busy)
    desk.picture("track-filter")
    step(desk, panel, 5)
    desk.rest()
    desk.picture("track-results")
    panel.results.tabs.setCurrentIndex(3)
    desk.picture("track-scheme")
    panel.files.clear()
    panel._forget()
    desk.rest()
    desk.window.docks["track"].hide()


def step(desk: Any, panel: Any, to: int) -> None:
    """Go on to a step."""
    panel.go_on()
    desk.until(lambda: (panel.step == to or panel.problem.text()) and not panel.is_busy)
    if panel.problem.text():
        raise SystemExit(panel.problem.text())
