"""Training in the window: checks, curves, stop and go on, quality, use in the pipeline, what to annotate next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

pytest.importorskip("qtpy")
pytest.importorskip("pyqtgraph")
pytest.importorskip("torch")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea

from kinocyte.app import worker
from kinocyte.app.train import panel as panel_module
from kinocyte.app.train.panel import TrainPanel
from kinocyte.app.train.using import segment_with
from kinocyte.cli import run
from kinocyte.core.errors import KinocyteError
from kinocyte.learning.model import load_image_model
from kinocyte.learning.training.run_folder import RunFolder
from tests.app import small
from tests.app.small import Desk, has_colour
from tests.learning._training_scene import blobs

pytestmark = small.QUIET
desk, finished, store, last_one_closes = small.desk, small.finished, small.store, small.last_one_closes
TINY = {"method": "stardist", "n_rays": 8, "width": 2, "depth": 1, "last_width": 4}
SHORT = {
    "steps": 6, "batch_size": 2, "patch_px": 16, "check_every": 3, "checkpoint_every": 100, "held_out": 0.3,
    "device": "cpu", "precision": "fp32",
}  # fmt: skip


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for pair in blobs(6):
        tifffile.imwrite(tmp_path / "images" / f"{pair.name}.tif", np.asarray(pair.image[0]).astype(np.float32))
        tifffile.imwrite(tmp_path / "masks" / f"{pair.name}.tif", np.asarray(pair.target).astype(np.uint16))
    return tmp_path


def small_form(one: Desk, **training: Any) -> TrainPanel:
    """Show a tiny network and a short training."""
    panel: TrainPanel = one.panel
    panel.controls.task.set_value(TINY)
    panel.controls.settings.set_values({**SHORT, **training})
    panel.controls.augmentation.set_values({})
    return panel


def settled(one: Desk, panel: TrainPanel) -> None:
    """Wait until the other process has ended."""
    one.until(lambda: not panel.is_running, 400.0)
    one.rest()


def test_two_folders_are_checked_trained_stopped_and_gone_on_with(
    desk: Callable[..., Desk], folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = desk(TrainPanel, size=(520, 900))
    panel = small_form(one)
    controls = panel.controls
    panel.controls.data.folders.click()
    assert "Choose the folder" in controls.problem_label.text()
    assert not controls.train.isEnabled()
    controls.data.inputs.line.setText(str(folders / "images"))
    controls.data.targets.line.setText(str(folders / "masks"))
    first = next((folders / "masks").iterdir())
    aside = first.rename(folders / "aside.tif")
    one.click("train_check")
    assert not controls.train.isEnabled()
    settled(one, panel)
    texts = [controls.findings.item(i).text() for i in range(controls.findings.count())]
    at = next(i for i, t in enumerate(texts) if first.stem in t)
    assert texts[at].startswith("✖")
    controls.findings.setCurrentRow(at)
    one.until(controls.picture.isVisible)
    assert first.stem in controls.picture.caption.text()

    one.click("train_start_button")  # what is an error is refused, and nothing is left behind
    settled(one, panel)
    assert "do not all pair" in controls.said.text()
    assert not Path(controls.out.text()).exists()
    one.said.clear()
    aside.rename(first)

    out = folders / "in-window"
    controls.out.setText(str(out))
    one.click("train_start_button")
    settled(one, panel)
    assert panel.model == out / "model"
    assert [r["step"] for r in controls.curves.rows] == [3, 6]
    assert has_colour(one.picture(), "#e69f00") > 20
    assert "f1" in controls.scores.text()
    panel.save_file(str(folders / "same.toml"))
    assert run(["train", str(folders / "same.toml"), "--out", str(folders / "by-command")]) == 0
    capsys.readouterr()
    here, there = load_image_model(out), load_image_model(folders / "by-command")
    assert all(np.array_equal(here.weights[n], there.weights[n]) for n in there.weights)
    assert RunFolder(out).asked == RunFolder(folders / "by-command").asked


def test_without_pytorch_the_panel_says_what_to_install(
    desk: Callable[..., Desk], folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel_module, "find_spec", lambda _name: None)
    panel = small_form(desk(TrainPanel, size=(520, 900)))
    panel.controls.data.folders.click()
    panel.controls.data.inputs.line.setText(str(folders / "images"))
    panel.controls.data.targets.line.setText(str(folders / "masks"))
    assert "pip install 'kinocyte[deep]'" in panel.controls.problem_label.text()
    assert not panel.controls.train.isEnabled()
    assert panel.controls.check.isEnabled(), "images are checked without a network"


def test_a_training_that_was_stopped_loses_nothing(
    desk: Callable[..., Desk], folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = desk(TrainPanel, size=(520, 900))
    panel = small_form(one, steps=100_000, check_every=10)  # it never ends by itself
    monkeypatch.setattr(worker, "_PATIENCE_MS", 120_000)
    controls = panel.controls
    panel.controls.data.folders.click()
    controls.data.inputs.line.setText(str(folders / "images"))
    controls.data.targets.line.setText(str(folders / "masks"))
    out = folders / "run"
    controls.out.setText(str(out))
    one.click("train_start_button")
    one.until(lambda: controls.curves.rows, 400.0)
    one.click("train_stop")
    settled(one, panel)
    assert "goes on from there" in controls.said.text()
    kept = RunFolder(out).last_checkpoint()
    assert kept is not None
    assert kept.notes["step"] >= 10  # the checkpoint that was due would have been the hundredth
    seen = len(controls.curves.rows)
    panel.resume(out)
    assert len(controls.curves.rows) >= seen  # what was learnt before is drawn at once
    one.until(lambda: len(controls.curves.rows) > seen, 400.0)
    panel.stop()  # as a window that closes
    assert not panel.is_running
    now = RunFolder(out).last_checkpoint()
    assert now is not None
    assert now.notes["step"] > kept.notes["step"]
    one.said.clear()
    panel.resume(folders / "images")
    assert "no folder of a training" in one.said[-1][0]
    one.said.clear()


def test_cells_of_the_experiment_are_learnt_used_and_frames_ranked(desk: Callable[..., Desk]) -> None:
    one = desk(TrainPanel, size=(520, 900))
    panel = small_form(one)
    controls, session = panel.controls, one.session
    assert controls.data.of_experiment  # what is open is what is most likely meant
    assert controls.data.population.currentText() == "nuclei"
    controls.data.channels.item(1).setCheckState(Qt.CheckState.Unchecked)
    controls.data.every.setValue(4)
    assert controls.data.table()["channels"] == ["dna"]
    one.click("train_check")
    settled(one, panel)
    assert controls.said.text().startswith("8 images")
    one.click("train_start_button")
    settled(one, panel)
    assert panel.model is not None, controls.said.text()
    assert panel.model.parent.parent.name == "small_training"

    one.click("train_use")
    table = session.draft.get(("population", "nuclei", "segmentation"))
    assert table == {"method": "stardist", "model": str(panel.model), "channel": ["dna"]}
    assert session.draft.check()[1] == []

    controls.rank_every.setValue(4)
    one.click("train_rank")
    settled(one, panel)
    assert controls.ranked.rowCount() == 8
    panel._go({"image": "", "target": "", "position": "B1/1", "frame": 4})
    one.rest()
    assert session.position is not None  # listed beside the window, then shown
    assert (session.position.id, session.frame) == ("B1/1", 4)


def test_the_panel_fits_into_the_narrowest_dock(desk: Callable[..., Desk]) -> None:
    one = desk(lambda session: _scrolled(TrainPanel(session)), size=(400, 700))
    area: Any = one.panel
    assert area.horizontalScrollBar().maximum() == 0


def _scrolled(panel: TrainPanel) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setWidget(panel)
    return area


def test_a_model_that_no_step_reads_is_refused(tmp_path: Path) -> None:
    from kinocyte.app.draft import Draft
    from tests.deep_models import saved, unchanging

    place = saved(unchanging(), tmp_path / "same")
    draft = Draft()
    sentence, path = segment_with(draft, place, "cells")
    assert path[0] == "restoration"
    assert "mended" in sentence
    with pytest.raises(KinocyteError, match="nothing"):
        segment_with(draft, tmp_path / "nothing", "cells")
