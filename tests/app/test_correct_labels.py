"""Masks are painted, cut, merged, deleted, renumbered and checked; the store holds what the screen shows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

pytest.importorskip("napari")
pytest.importorskip("pyqtgraph")

from kinocyte.app.session import Selection
from tests.app.small import QUIET, Desk, desk, finished, store  # noqa: F401 - fixtures

pytestmark = QUIET
Open = Callable[..., Desk]


def open_labels(desk: Open, **options: object) -> Desk:  # noqa: F811 - the fixture
    from kinocyte.app.correct.labels import LabelsPanel

    return desk(LabelsPanel, **options)


def choose(opened: Desk, *object_ids: int) -> None:
    opened.session.select(Selection("nuclei", (), object_ids, "test"))
    opened.wait(10)


def test_cells_are_merged_deleted_and_renumbered_by_buttons(desk: Open) -> None:  # noqa: F811
    opened = open_labels(desk)
    assert not opened.find("labels_merge").isEnabled()
    choose(opened, 1, 2)
    opened.click("labels_merge")
    opened.rest()
    objects = opened.position().objects("nuclei")
    assert 2 not in objects["object_id"]
    choose(opened, 3)
    opened.click("labels_delete")
    opened.rest()
    assert 3 not in opened.position().objects("nuclei")["object_id"]
    choose(opened, 4)
    opened.find("labels_number").setValue(77)
    opened.click("labels_renumber")
    opened.rest()
    assert opened.position().objects("nuclei").filter(object_id=4)["label"].item() == 77
    assert 77 in opened.position().labels("nuclei").frame(0)
    assert opened.position().corrections()["status"].to_list() == ["applied"] * 3
    for _ in range(3):
        opened.key("z", ctrl=True)
        opened.rest()
    assert opened.position().journal.active() == []
    assert {2, 3} <= set(opened.position().objects("nuclei")["object_id"])


def test_suspicious_masks_are_listed_shown_and_mended(desk: Open) -> None:  # noqa: F811
    opened = open_labels(desk)
    opened.click("labels_check_all")
    opened.rest()
    assert opened.find("labels_findings").rowCount() == 0
    assert "All masks of 8 frames" in opened.find("labels_checked").text()
    edit = opened.session.editor()
    crumb, far, speck = (np.zeros((96, 96), bool) for _ in range(3))
    crumb[0, 0] = far[84:94, 84:94] = speck[94:, :2] = True
    edit.paint(1, crumb)
    edit.paint(int(opened.session.cells.frame(3)["object_id"][0]), far)
    edit.add(5, speck)
    opened.session.corrected()
    opened.rest()
    opened.click("labels_check_all")
    opened.rest()
    listed = opened.find("labels_findings")
    assert [listed.item(r, 2).text() for r in range(listed.rowCount())] == ["in pieces", "number used twice", "tiny"]
    for words in ("Erase the crumbs", "Make two cells of it", "Delete it"):
        opened.click_at(listed.viewport(), listed.visualItemRect(listed.item(0, 1)).center())
        frame = int(listed.item(0, 0).text())
        assert opened.session.frame == frame
        assert opened.session.selection.source == "checks"
        assert opened.find("labels_mend").text() == words
        opened.click("labels_mend")
        opened.rest()
    assert listed.rowCount() == 0
    opened.click("labels_check_all")
    opened.rest()
    assert listed.rowCount() == 0, "what was mended stays mended"
    labels = opened.position().labels("nuclei")
    assert labels.frame(0)[0, 0] == 0
    two = opened.position().objects("nuclei").filter(frame=3)
    assert two.filter(pl.col("x_um") > 42, pl.col("y_um") > 42).height == 1
    assert set(opened.position().corrections()["status"]) == {"applied"}


def test_strokes_on_the_image_become_one_correction(desk: Open) -> None:  # noqa: F811
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    opened = open_labels(desk, image=True)
    canvas = opened.viewer.window._qt_viewer.canvas.native
    opened.session.go_to(0)  # napari begins in the middle of a movie
    opened.rest()

    def at(y_px: float, x_px: float) -> QPoint:
        """Return where a pixel of the movie lies on the canvas."""
        cy, cx = opened.viewer.camera.center[-2:]
        zoom = opened.viewer.camera.zoom / canvas.devicePixelRatioF()
        x = canvas.width() / 2 + (x_px * 0.5 - cx) * zoom
        y = canvas.height() / 2 + (y_px * 0.5 - cy) * zoom
        return QPoint(round(x), round(y))

    def drag(*places: tuple[float, float]) -> None:
        opened.rest()
        opened.viewer.screenshot(flash=False)  # the canvas knows its size once it has been drawn
        QTest.mouseMove(canvas, at(*places[0]))
        QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=at(*places[0]))
        for place in places[1:]:
            QTest.mouseMove(canvas, at(*place))
            opened.wait(30)
        QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=at(*places[-1]))
        opened.wait(30)

    before = opened.position().labels("nuclei").frame(0)
    opened.find("labels_brush").setValue(5)
    opened.click("labels_add")
    drag((70, 84), (70, 88))
    opened.key("z", ctrl=True, widget=canvas)
    assert not np.asarray(opened.panel.strokes.data).any(), "a stroke is taken back"
    drag((88, 84), (88, 88))
    assert np.asarray(opened.panel.strokes.data)[88, 86] == 1
    assert not opened.position().journal.entries(), "strokes are no correction yet"
    opened.click("labels_apply")
    opened.rest()
    after = opened.position().labels("nuclei").frame(0)
    assert (before[88, 86], after[88, 86] > 0) == (0, True)
    assert opened.session.cells.frame(0).height == 9
    assert [lay.name for lay in opened.viewer.layers if lay.name == "Strokes"] == []
    row = opened.session.cells.frame(0).filter(pl.col("object_id") < 10**9).row(0, named=True)
    choose(opened, row["object_id"])
    y, x = row["y_um"] / 0.5, row["x_um"] / 0.5
    opened.click("labels_erase")
    drag((y, x), (y, x + 1))
    opened.panel.apply()
    opened.rest()
    label = opened.position().labels("nuclei").frame(0)
    assert label[round(y), round(x)] == 0
    whole = opened.session.cells.frame(0).filter(pl.col("object_id") < 10**9).row(2, named=True)
    choose(opened, whole["object_id"])
    limits = opened.viewer.layers["dna"].contrast_limits
    opened.key("c", widget=canvas)
    assert opened.panel.tool == "split", "a key works on the image, where napari would have changed the contrast"
    assert opened.viewer.layers["dna"].contrast_limits == limits
    y, x = whole["y_um"] / 0.5, whole["x_um"] / 0.5
    drag((y - 8, x), (y - 3, x), (y + 3, x), (y + 8, x))
    opened.rest()
    parts = opened.position().objects("nuclei").filter(frame=0)
    assert (
        parts.filter((pl.col("x_um") - whole["x_um"]).abs() < 3, (pl.col("y_um") - whole["y_um"]).abs() < 3).height == 2
    )
    assert [e.action for e in opened.position().journal.active()] == ["add_object", "paint", "split_object"]
