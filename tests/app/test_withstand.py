"""What the window must withstand: slow disks, folders that may not be written to, two windows, no GPU."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qtpy")
pytest.importorskip("pyqtgraph")

import kinocyte
from kinocyte.app.draft import Draft
from kinocyte.app.navigator import NavigatorPanel
from kinocyte.pipeline.parse import parse_pipeline
from tests.app import small
from tests.app.small import PIPELINE, Desk

pytestmark = small.QUIET
desk, finished, store, last_one_closes = small.desk, small.finished, small.store, small.last_one_closes


def test_a_slow_disk_never_holds_the_window(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps through positions, cells and frames: nothing is read from the store in the thread of the window."""
    one = desk(NavigatorPanel)
    from kinocyte.experiment import storage

    read: list[str] = []
    for name in ("exists", "listdir", "read_bytes", "read_document"):
        real = getattr(storage.Storage, name)

        def watched(self: Any, *args: Any, real: Any = real, name: str = name) -> Any:
            if threading.current_thread() is threading.main_thread():
                read.append(f"{name} {args}")
            return real(self, *args)

        monkeypatch.setattr(storage.Storage, name, watched)
    session = one.session
    for position in ("B1/1", "A2/1"):
        session.show_position(position)
        one.until(lambda position=position: session.position is not None and session.position.id == position)  # type: ignore[misc]
        one.rest()
        assert one.panel.population.currentText() == "nuclei"
    session.go_to(3)
    session.tables_changed.emit()
    one.rest()
    assert session.cells is not None
    assert session.cells.objects.height > 0
    assert read == []


def test_of_positions_asked_for_quickly_the_last_one_is_shown(desk: Callable[..., Desk]) -> None:
    one = desk(NavigatorPanel)
    shown: list[str] = []
    one.session.position_changed.connect(lambda: shown.append(one.session.position.id))  # type: ignore[union-attr]
    for position in ("A2/1", "B1/1", "B2/1"):
        one.session.show_position(position)
    assert one.session.wanted_position == "B2/1"
    one.rest()
    assert shown == ["B2/1"]


def test_two_windows_see_each_others_corrections(desk: Callable[..., Desk], store: str) -> None:
    first, second = desk(NavigatorPanel), desk(NavigatorPanel)
    cells = first.session.cells
    assert cells is not None
    gone = int(cells.frame(0)["object_id"][0])
    first.session.editor().remove(gone)
    first.session.corrected()
    first.rest()
    second.session.tables_changed.emit()  # as after a run, a correction, or coming back to the position
    second.rest()
    seen = second.session.cells
    assert seen is not None
    assert gone not in seen.frame(0)["object_id"].to_list()


def _bare_command() -> list[str]:
    """Return what takes from root the right to write everywhere; nothing for anybody else."""
    if os.geteuid() != 0:
        return []
    tool = shutil.which("setpriv")
    if tool is None:
        pytest.skip("root may write everywhere, and there is no setpriv to take that away")
    return [tool, "--bounding-set=-dac_override,-dac_read_search,-fowner"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are of another kind there")
def test_without_permission_to_write_there_is_one_sentence(store: str, tmp_path: Path) -> None:
    places = [Path(store), *Path(store).rglob("*")]
    for place in places:
        place.chmod(place.stat().st_mode & ~0o222)
    try:
        pipeline = Draft.from_pipeline(parse_pipeline(PIPELINE.replace("low = 350.0", "low = 360.0"))).document
        asked = {"url": store, "pipeline": pipeline, "positions": ["A1/1"], "workers": 0}
        with subprocess.Popen(
            [*_bare_command(), sys.executable, "-m", "kinocyte.app.run_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()  # and not closed: that is how a window says that it is gone
            said = process.stdout.read()
        assert "No permission to write" in said
        assert "Traceback" not in said
    finally:
        for place in places:
            place.chmod(place.stat().st_mode | stat.S_IWUSR)
    assert kinocyte.open(store).position("A1/1").objects("nuclei").height > 0


def test_a_gpu_that_is_not_there_is_one_sentence(finished: str) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    from kinocyte.app.jobs import Job
    from kinocyte.app.previews import Previews, Question
    from kinocyte.core.errors import ParameterError
    from kinocyte.segmentation.stardist import StarDist

    method = StarDist(model="nuclei-fluo", channel=("dna",), device="cuda")
    position = kinocyte.open(finished).position("A1/1")
    previews = Previews()
    try:
        with pytest.raises(ParameterError, match=r"[Cc][Uu][Dd][Aa]|GPU"):
            previews.answer(Question(position, 0, "segmentation", method, place=(finished, {})), Job("Preview"))
    finally:
        previews.close()


def test_the_panels_stand_in_an_existing_napari(store: str) -> None:
    """napari's own menu makes every panel of the manifest on one session of a viewer that was there before."""
    napari = pytest.importorskip("napari")
    from npe2 import PluginManager, PluginManifest
    from qtpy.QtTest import QTest

    from kinocyte.app import plugin

    manifest = PluginManifest.from_file(Path(kinocyte.__file__).parent / "app" / "napari.yaml")
    widgets = [w.display_name for w in manifest.contributions.widgets or []]
    viewer = napari.Viewer(show=False)
    try:
        session = plugin.guest_of(viewer).session
        assert "kinocyte" in PluginManager.instance()
        _, start = viewer.window.add_plugin_dock_widget("kinocyte", "Start")
        start.panel.track_button.click()  # a button that leads to another panel leads there in napari, too
        assert viewer.window.dock_widgets["Track a movie (kinocyte)"].panel.objectName() == "track_panel"
        for widget in widgets:
            _, standing = viewer.window.add_plugin_dock_widget("kinocyte", widget)
            assert standing.panel.isVisibleTo(standing)
            assert plugin.guest_of(viewer).session is session
        assert len(widgets) == len(manifest.contributions.commands or []) == 14
        session.open(store)
        for _ in range(3000):
            QTest.qWait(10)
            if session.cells is not None and len(viewer.layers) > 2 and not session.jobs.running:
                break
        assert session.cells is not None
        assert {"dna", "pi"} <= {layer.name for layer in viewer.layers}
    finally:
        session.close()
        viewer.close()
