"""Values of a step from a few annotations, and previews of neighbours and of deep models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("qtpy")
pytest.importorskip("pyqtgraph")

from qtpy.QtCore import Qt

from kinocyte.app.builder import BuilderPanel
from kinocyte.app.cells import load_cells
from kinocyte.app.draft import Draft
from kinocyte.app.preview_pairs import Sides, pairs_shown
from kinocyte.app.previews import Previews, Question
from kinocyte.app.tuning.annotations import Annotations
from kinocyte.app.tuning.values import around, tunables
from kinocyte.interactions.radius import Radius
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.tracking.lap import LAP
from tests.app import small
from tests.app.small import PIPELINE, Desk

pytestmark = small.QUIET
desk, finished, store, last_one_closes = small.desk, small.finished, small.store, small.last_one_closes


def test_values_to_try_keep_within_the_bounds_of_the_field() -> None:
    found = {t.key: t.text for t in tunables(LAP, {"max_distance_um": 8.0})}
    assert found["max_distance_um"] == "4,6,8,12,16"
    assert "method" not in found
    field = LAP.model_fields["max_frame_gap"]
    assert min(around(1, field.metadata, whole=True)) >= 1


def test_annotations_are_written_as_the_command_reads_them(finished: str, tmp_path: Path) -> None:
    import kinocyte
    from kinocyte.pipeline.sweep.truth import truth_at

    position = kinocyte.open(finished).position("A1/1")
    cells = load_cells(position, "nuclei")
    known = Annotations()
    assert known.write(tmp_path / "none", "tracks") is None
    known.click(0, 2, 5.0, 6.0)
    known.click(0, 2, 5.5, 6.0)  # a second click in a frame takes the place of the first
    known.click(0, 3, 6.0, 6.0)
    track = int(cells.tracks["track_id"][0])
    assert known.take_tracks(cells, (track, 999_999)) == 1
    rows = known.rows()
    assert rows.filter(track=0)["x_um"].to_list() == [5.5, 6.0]
    assert rows.columns == ["track", "frame", "x_um", "y_um"]
    assert rows.filter(track=1).height == cells.objects.filter(track_id=track).height
    written = known.write(tmp_path / "tracks", "tracks")
    assert written is not None
    assert truth_at(written).kind == "tracks"
    assert known.take_masks(cells, 1) == cells.frame(1).height
    written = known.write(tmp_path / "masks", "masks")
    assert written is not None
    assert truth_at(written).kind == "label images"
    assert "1 cell clicked in 2 places, 1 track, the masks of 1 frame." in known.sentence()


def test_a_level_is_found_from_the_masks_of_one_frame(desk: Callable[..., Desk]) -> None:
    one = desk(BuilderPanel, size=(520, 900))
    panel, session = one.panel, one.session
    text = PIPELINE[: PIPELINE.index("[[interaction]]")].replace("low = 350.0", "low = 900.0")
    session.set_draft(Draft.from_pipeline(parse_pipeline(text)))
    panel.steps.setCurrentRow(0)
    one.click("builder_tune")
    dialog: Any = panel.preview.tuning
    one.until(dialog.isVisible)
    assert not dialog.search.isEnabled()
    dialog.take_masks.click()
    assert "masks of 1 frame" in dialog.known_label.text()
    row = next(i for i, t in enumerate(dialog.tunables) if t.key == "low")
    dialog.keys.item(row, 0).setCheckState(Qt.CheckState.Checked)
    dialog.keys.item(row, 1).setText("350,900")
    assert dialog.search.isEnabled()
    dialog.start(workers=0)
    one.until(lambda: not dialog.worker.is_running, 400.0)
    assert dialog.results.rowCount() == 2, dialog.problem.text() or dialog.said.text()
    assert dialog.rows[0]["score"] > dialog.rows[1]["score"]
    assert dialog.bar.value() == dialog.bar.maximum()
    dialog.use.click()
    assert session.draft.get(("population", "nuclei", "segmentation"))["low"] == 350.0
    panel.steps.setCurrentRow(1)  # its values would be for another step
    one.until(lambda: panel.preview.tuning is None)


def question(place: str, kind: str, method: Any, **more: Any) -> Question:
    import kinocyte

    position = kinocyte.open(place).position("A1/1")
    return Question(position, small.N_FRAMES - 1, kind, method, place=(place, {}), **more)


def test_neighbours_are_shown_as_the_run_finds_them(finished: str) -> None:
    asked = question(finished, "interaction", None, sides=("nuclei", "nuclei"))
    method = Radius(radius_um=14.0)
    shown = pairs_shown(asked, method, Sides())
    stored = asked.position.table("nuclei_nuclei_pairs").filter(pl.col("frame") == asked.frame)
    assert stored.height > 0  # the daughters stand side by side
    assert shown.arrows is not None
    assert shown.arrow_values is not None
    assert len(shown.arrows) == stored.height
    assert np.allclose(np.sort(shown.arrow_values), np.sort(stored["distance_um"].to_numpy()))
    ends = {*stored["reference_id"].to_list(), *stored["neighbour_id"].to_list()}
    assert f"{len(ends)} of" in shown.sentence


def test_a_deep_model_is_previewed_in_a_process_of_its_own(finished: str) -> None:
    import sys

    pytest.importorskip("torch")
    from kinocyte.app.jobs import Job
    from kinocyte.segmentation.stardist import StarDist

    loaded = "torch" in sys.modules
    previews = Previews()
    method = StarDist(model="nuclei-fluo", channel=("dna",))
    try:
        shown = previews.answer(question(finished, "segmentation", method), Job("Preview"))
        assert shown.labels is not None
        assert shown.labels.shape == (small.SIDE, small.SIDE)
        assert "object" in shown.sentence
        assert ("torch" in sys.modules) == loaded  # not loaded into the window's own process
        from kinocyte.core.errors import ParameterError

        with pytest.raises(ParameterError, match="channel"):
            previews.answer(question(finished, "segmentation", method.replace(channel=("none",))), Job("Preview"))
    finally:
        previews.close()
