"""The application: how long a person waits for what.

    xvfb-run -s "-screen 0 1366x768x24" python benchmarks/app.py [--frames 40] [--size 2048] [--gb 20] [--json FILE]

Measured in a real window: from the call to the moment the event loop has drawn the answer, with the longest time in
which the window could not answer meanwhile (``held_ms``). The movie is declared to have as many frames as make
``--gb`` GB; those after ``--frames`` have no chunks on the disk and are black, which changes nothing in how it is
opened, as frames are read one by one. Peers: numpy reading the same frame from an uncompressed memory map, the floor of
any reader; and napari drawing that frame from memory, the floor of any viewer.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import kinocyte
from kinocyte.core.scale import Scale


def movie(path: Path, frames: int, size: int) -> None:
    """Write an experiment of one position: nuclei that move a little, with camera noise."""
    rng = np.random.default_rng(0)
    experiment = kinocyte.create(path)
    writer = experiment.new_position(
        well="A1",
        field="1",
        shape=(frames, 1, 1, size, size),
        dtype=np.uint16,
        channels=("nuclei",),
        scale=Scale(y_um=0.5, x_um=0.5, frame_interval_min=5.0),
    )
    places = rng.uniform(20, size - 20, (size * size // 8000, 2))
    noise = rng.normal(100, 5, (size, size))
    y, x = np.mgrid[-10:11, -10:11]
    disc = 400 * (y**2 + x**2 < 80)
    for number in range(frames):
        frame = noise.copy()
        for a, b in np.round(places).astype(int):
            frame[a - 10 : a + 11, b - 10 : b + 11] += disc
        places = np.clip(places + rng.normal(0, 2, places.shape), 20, size - 20)
        writer.write(number, frame.clip(0, 65535).astype(np.uint16)[np.newaxis])
    writer.finish()


def declare(path: Path, frames: int) -> None:
    """Let the pixels of a position have more frames than were written."""
    for place in path.rglob("zarr.json"):
        document = json.loads(place.read_text())
        if document.get("node_type") == "array" and len(document.get("shape", ())) == 5:
            document["shape"][0] = frames
            place.write_text(json.dumps(document))


class Clock:
    """Waits for the window and notes how long that took."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.held = 0.0

    def until(self, holds: Callable[[], Any], limit_s: float = 300.0) -> float:
        from qtpy.QtCore import QCoreApplication

        start = time.perf_counter()
        while not holds():
            before = time.perf_counter()
            QCoreApplication.processEvents()
            self.held = max(self.held, time.perf_counter() - before)
            if time.perf_counter() - start > limit_s:
                raise TimeoutError
            time.sleep(0.001)  # for the threads beside the window
        return time.perf_counter() - start

    def note(self, what: str, seconds: float, **more: Any) -> None:
        if self.held:
            more["held_ms"] = round(1000 * self.held, 1)
            self.held = 0.0
        self.rows.append({"what": what, "ms": round(1000 * seconds, 1), **more})
        print(f"{what:<64}{1000 * seconds:>10.1f} ms  {' '.join(f'{k}={v}' for k, v in more.items())}", flush=True)


def stepping(clock: Clock, window: Any, name: str, layer_data: Any) -> float:
    """Return the median time from one frame to the next, drawing included."""
    from qtpy.QtCore import QCoreApplication

    viewer, times = window.viewer, []
    for frame in range(1, min(20, len(layer_data))):
        start = time.perf_counter()
        viewer.dims.set_current_step(0, frame)
        viewer.window._qt_viewer.canvas._scene_canvas.update()
        QCoreApplication.processEvents()
        times.append(time.perf_counter() - start)
    clock.note(name, float(np.median(times)), slowest_ms=round(1000 * max(times), 1))
    return float(np.median(times))


def opening(clock: Clock, window: Any, folder: Path, size: str) -> None:
    """Time the first movie, after what `kinocyte app` does while a person reads the first panel."""
    from kinocyte.app.warming import WarmUp

    warming = WarmUp(window.session)
    warming.start()
    clock.note("drawn and compiled in advance, in pieces", clock.until(lambda: warming.is_over))
    clock.until(lambda: warming.kernels is None or warming.kernels.is_over)
    clock.held = 0.0

    window.session.open(str(folder / "large.zarr"))
    clock.note(
        f"open {size}, until the first is drawn",
        clock.until(lambda: bool(window.layers.channels)),
    )
    clock.until(lambda: not window.session.jobs.running)


def frame_steps(clock: Clock, window: Any, folder: Path, n_frames: int) -> None:
    """Time reading and drawing of frames."""
    layer = window.layers.channels["nuclei"]
    image = window.session.position.image()
    side = image.frame_shape[-1]
    times = []
    for frame in range(min(10, n_frames)):
        start = time.perf_counter()
        image.frame(frame, "nuclei")
        times.append(time.perf_counter() - start)
    clock.note(f"read one frame {side} x {side} from the store", float(np.median(times)))
    plain = np.lib.format.open_memmap(folder / "plain.npy", "w+", np.uint16, (20, side, side))
    plain[:] = image.frame(0, "nuclei")
    start = time.perf_counter()
    np.array(plain[5])
    clock.note("peer: numpy copies the frame from a memory map", time.perf_counter() - start)
    ours = stepping(clock, window, "from one frame to the next, drawn", layer.data)
    memory = np.array(plain)
    layer.data = memory
    theirs = stepping(clock, window, "peer: napari, frames in memory, drawn", memory)
    print(f"frame step: {ours / theirs:.2f} times that of frames in memory")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--frames", type=int, default=40)
    arguments.add_argument("--size", type=int, default=2048)
    arguments.add_argument("--gb", type=float, default=20.0, help="size of the movie that is opened")
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--json", type=Path)
    chosen = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kinocyte-bench-"))
    os.environ["KINOCYTE_SETTINGS"] = str(folder / "settings")
    os.environ["NAPARI_CONFIG"] = str(folder / "napari.yaml")
    movie(folder / "large.zarr", chosen.frames, chosen.size)
    frames = max(chosen.frames, round(chosen.gb * 1e9 / (2 * chosen.size**2)))
    declare(folder / "large.zarr", frames)
    clock = Clock()

    start = time.perf_counter()
    from kinocyte.app.draft import Draft
    from kinocyte.app.main import settle
    from kinocyte.app.window import Window

    window = Window()
    settle()
    clock.until(window.viewer.window._qt_window.isVisible)
    clock.note("start the window (imports included)", time.perf_counter() - start)

    opening(clock, window, folder, f"{frames} frames, {chosen.gb:g} GB")
    frame_steps(clock, window, folder, chosen.frames)
    window.session.show_position("A1/1")
    clock.until(lambda: not window.session.jobs.running)
    previews(clock, window, Draft)
    event_preview(clock, window, Draft, folder)
    table_and_plot(clock, window, chosen.rows)
    window.close()
    if chosen.json:
        chosen.json.write_text(json.dumps(clock.rows, indent=1))


#: pipelines whose steps are previewed
LIGHT = """
[restoration.background]
method = "model_fit"
channel = "nuclei"
"""
STEPS = """
[population.nuclei]
measure = ["shape", "intensity", { method = "contour_bands", channels = ["nuclei"] }]
[population.nuclei.segmentation]
method = "threshold"
channel = "nuclei"
[population.nuclei.tracking]
method = "lap"
max_distance_um = 10.0
[[population.nuclei.event]]
name = "bright"
method = "threshold_transition"
when = "mean_nuclei > 400"
"""
_FIND, _FOLLOW = ("population", "nuclei", "segmentation"), ("population", "nuclei", "tracking")
#: what is shown, the step, and the values that are tried one after another
Series = tuple[str, tuple[Any, ...], tuple[dict[str, Any], ...]]
SERIES: tuple[Series, ...] = (
    ("threshold, smallest area", _FIND, tuple({"min_area_um2": 11.0 + n} for n in range(5))),
    ("threshold, level", _FIND, tuple({"level_factor": 0.9 + 0.02 * n} for n in range(5))),
    ("watershed", _FIND, tuple({"split": "distance", "seed_distance_um": 4.0 + n} for n in range(5))),
    ("spots (LoG)", _FIND, tuple({"method": "log", "radius_um": 4.5 + 0.1 * n} for n in range(5))),
    (
        "spots (LoG), least quality",
        _FIND,
        tuple({"method": "log", "radius_um": 4.5, "min_quality": 0.5 + 0.1 * n} for n in range(5)),
    ),
    ("background", ("restoration", "background"), ({"surface": "plane"}, {"surface": "paraboloid"}) * 2),
    ("threshold after background", _FIND, tuple({"level_factor": 0.9 + 0.02 * n} for n in range(5))),
    ("links of the next frames", _FOLLOW, tuple({"max_distance_um": 8.0 + n} for n in range(5))),
    ("contour bands", ("population", "nuclei", "measure", 2), tuple({"bands_um": [[0, 2.0 + n]]} for n in range(5))),
)


def previews(clock: Clock, window: Any, draft: Any) -> None:
    """Time the first and the following previews of the steps on the whole frame, and what they compute of it."""
    panel = window.panel("builder")
    found = draft()
    found.add_population("nuclei", "nuclei")
    window.session.set_draft(found)
    window.show_panel("builder")
    first = clock.until(lambda: panel.preview.shown is not None)
    clock.note("first preview of a threshold, with what is compiled once", first)
    for series in SERIES:
        tried(clock, window, draft.from_text((LIGHT if "background" in series[0] else "") + STEPS), series)


def tried(clock: Clock, window: Any, found: Any, series: Series) -> None:
    """Time previews of a step after changed values, from the change until the answer is in its layer."""
    from kinocyte.app.jobs import Job
    from kinocyte.app.previews import Previews

    panel = window.panel("builder")
    what, path, values = series
    if "method" in values[0]:
        found.document["population"]["nuclei"]["segmentation"] = {"channel": "nuclei", **values[0]}
    window.session.set_draft(found)
    paths = [step.path for step in found.steps()]
    panel.steps.setCurrentRow(paths.index(path))
    clock.until(lambda: panel.preview.shown is not None and not panel.preview.is_busy)
    clock.held = 0.0
    times = []
    for change in values:
        panel.preview.shown = None
        start = time.perf_counter()
        panel.set_values(change)
        clock.until(lambda: panel.preview.shown is not None)
        times.append(time.perf_counter() - start)
        clock.until(lambda: not panel.preview.is_busy)
    start = time.perf_counter()
    Previews().answer(panel.preview.question(), Job("alone"))  # with nothing kept of earlier questions
    alone = time.perf_counter() - start
    clock.note(
        f"preview after a changed value: {what}", float(np.median(times[1:])), computed_anew_ms=round(1e3 * alone)
    )


def event_preview(clock: Clock, window: Any, draft: Any, folder: Path) -> None:
    """Time the preview of an event, on tracks of a smaller movie."""
    from kinocyte.pipeline.execute import Workers
    from kinocyte.pipeline.parse import parse_pipeline
    from kinocyte.pipeline.run import run

    movie(folder / "small.zarr", 15, 768)
    result = run(parse_pipeline(STEPS), kinocyte.open(folder / "small.zarr"), where=Workers(workers=0))
    assert result.ok, result.failed
    window.session.open(str(folder / "small.zarr"))
    clock.until(lambda: window.session.cells is not None and window.session.cells.has_tracks)
    clock.until(lambda: not window.session.jobs.running)
    values = tuple({"when": f"mean_nuclei > {400 + n}"} for n in range(5))
    tried(clock, window, draft.from_text(STEPS), ("event", ("population", "nuclei", "event", 0), values))


def table_and_plot(clock: Clock, window: Any, rows: int) -> None:
    """Time a table of many rows until it is shown and sorted, and a plot of as many points."""
    from kinocyte.app.explore.plot_view import PlotView
    from kinocyte.app.explore.rows import prepare
    from kinocyte.app.explore.table_model import TableModel

    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"object_id": np.arange(rows), "x_um": rng.normal(size=rows), "y_um": rng.normal(size=rows)})
    from qtpy.QtWidgets import QTableView

    view = QTableView(window.viewer.window._qt_window)
    start = time.perf_counter()
    model = TableModel()
    view.setModel(model)
    model.show_frame(frame)
    view.resize(600, 400)
    view.show()
    clock.until(view.isVisible)
    clock.note(f"show a table of {rows} rows", time.perf_counter() - start)
    start = time.perf_counter()
    view.scrollToBottom()
    clock.until(lambda: True)
    clock.note("scroll it to its end", time.perf_counter() - start)
    view.close()
    plot = PlotView()
    plot.resize(600, 400)
    plot.show()
    start = time.perf_counter()
    prepared = prepare(frame, "x_um", "y_um", scatter=True)
    clock.note(f"prepare a plot of {rows} points (beside the window)", time.perf_counter() - start)
    start = time.perf_counter()
    plot.show_plot(prepared, "scatter", "x_um", "y_um")
    plot.plot.repaint()
    clock.note("draw it (in the window)", time.perf_counter() - start)
    plot.close()


if __name__ == "__main__":
    main()
