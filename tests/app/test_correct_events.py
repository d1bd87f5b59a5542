"""The gallery: class and time by key and by dragging the line, for cells and for pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

pytest.importorskip("napari")
pytest.importorskip("pyqtgraph")

from kinocyte.app.correct.gallery_data import STATE_COLOURS, states_of
from tests.app.small import QUIET, Desk, desk, finished, has_colour, store  # noqa: F401 - fixtures

pytestmark = QUIET
Open = Callable[..., Desk]


def open_events(desk: Open) -> Desk:  # noqa: F811 - the fixture
    from kinocyte.app.correct.events import EventsPanel

    opened = desk(EventsPanel, size=(1000, 640))
    opened.until(lambda: len(opened.panel.tiles) > 4)
    opened.rest()
    return opened


def said_of(opened: Desk, track: int) -> tuple[str, float | None]:
    row = opened.position().events("nuclei").filter(track_id=track, event="bright")
    return row.select("class", "time_min").row(0)


def test_class_and_time_are_set_by_key_and_by_dragging(desk: Open) -> None:  # noqa: F811
    from qtpy.QtCore import QPoint, QPointF, Qt
    from qtpy.QtTest import QTest

    opened = open_events(desk)
    assert opened.find("events_signal").currentText() == "mean_pi", "in which the event is seen"
    assert opened.find("events_channel").currentText() == "pi"
    number = next(i for i, v in enumerate(opened.panel.tiles) if v.tile.event_class == "event")
    view = opened.panel.tiles[number]
    assert view.tile.values.max() > 300 > view.tile.values.min()
    assert view.tile.crops.shape[1:] == (48, 48, 3)
    orange = (np.abs(view.tile.crops.astype(int) - (230, 159, 0)).sum(axis=-1) == 0).sum()
    assert orange > 20, "the outline of the cell is drawn"
    track, before = view.tile.tracks[0], view.tile.time_min
    opened.click_at(view.title, QPointF(5, 5))
    assert opened.session.selection.track_ids == (track,)
    assert has_colour(opened.picture(), "#e69f00") > 200, "the chosen tile has a frame"
    opened.key(Qt.Key.Key_Right)
    opened.rest()
    assert said_of(opened, track) == ("event", pytest.approx(before + 2.0, abs=1e-3))
    box = view.plot.getViewBox()
    place = [
        view.plot.mapFromScene(box.mapViewToScene(QPointF(t, float(np.mean(view.tile.values)))))
        for t in (before + 2.0, 10.0)
    ]
    start, end = (QPoint(round(p.x()), round(p.y())) for p in place)
    port = view.plot.viewport()
    QTest.mouseMove(port, start)
    QTest.mousePress(port, Qt.MouseButton.LeftButton, pos=start)
    for part in (0.3, 0.6, 1.0):
        QTest.mouseMove(port, start + (end - start) * part)
        opened.wait(20)
    QTest.mouseRelease(port, Qt.MouseButton.LeftButton, pos=end)
    opened.rest()
    said, time = said_of(opened, track)
    assert said == "event"
    assert time == pytest.approx(10.0, abs=0.4)
    opened.panel.choose(number)
    opened.key("2")
    opened.rest()
    assert said_of(opened, track) == ("none", None)
    assert opened.panel.current == number + 1, "the next cell is chosen"
    assert opened.panel.tiles[number].state.text() == "● none"
    opened.key("z", ctrl=True)
    opened.rest()
    assert said_of(opened, track)[0] == "event"


def test_filters_and_pages(desk: Open) -> None:  # noqa: F811
    opened = open_events(desk)
    everything = opened.panel.rows.height
    opened.find("events_class").setCurrentIndex(1)
    opened.rest()
    assert {v.tile.event_class for v in opened.panel.tiles} == {"event"}
    assert 0 < opened.panel.rows.height < everything
    opened.find("events_class").setCurrentIndex(0)
    opened.find("events_condition").setText("generation == 1")
    opened.panel._restart()
    opened.rest()
    assert opened.panel.rows.height == 2
    opened.find("events_condition").setText("genration == 1")
    opened.panel._restart()
    opened.rest()
    assert "did you mean 'generation'" in opened.said[-1][0]
    opened.find("events_condition").clear()
    opened.find("events_order").setCurrentIndex(1)
    opened.rest()
    known = opened.panel.rows["confidence"].drop_nulls().to_list()
    assert known == sorted(known)


def test_pairs_are_shown_with_their_partner_and_corrected(desk: Open) -> None:  # noqa: F811
    opened = open_events(desk)
    whose = opened.find("events_whose")
    assert whose.itemText(1) == "pairs: nuclei_nuclei"
    whose.setCurrentIndex(1)
    opened.rest()
    view = opened.panel.tiles[0]
    assert len(view.tile.tracks) == 2
    assert opened.find("events_signal").currentText() == "distance_um"
    by_distance = [v.tile.crops for v in opened.panel.tiles]
    partner = opened.find("events_partner")
    partner.setCurrentIndex(partner.findText("partner by bright_state"))
    opened.rest()
    values = states_of(opened.session.cells.objects)["bright_state"]
    assert opened.find("events_legend").text().count("■") == len(values)
    view = opened.panel.tiles[0]
    ink = {tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in STATE_COLOURS}
    by_state = [v.tile.crops for v in opened.panel.tiles]
    seen = {tuple(int(v) for v in pixel) for crops in by_state for pixel in crops.reshape(-1, 3)}
    assert ink & seen  # of the partners that lie within a crop
    assert not all(np.array_equal(a, b) for a, b in zip(by_state, by_distance, strict=True))
    opened.panel.choose(0)
    assert opened.session.selection.track_ids == view.tile.tracks
    opened.key("4")
    opened.rest()
    events = opened.position().table("nuclei_nuclei_pair_events").filter(pair_id=view.tile.key)
    assert events["class"].to_list() == ["excluded"]
    assert opened.position().corrections().select("action", "status").rows() == [("set_pair_event", "applied")]


def test_a_new_event_can_be_said_of_tracks(desk: Open) -> None:  # noqa: F811
    opened = open_events(desk)
    box = opened.find("events_event")
    box.setEditText("mitosis")
    opened.panel._restart()
    opened.rest()
    assert {v.tile.event_class for v in opened.panel.tiles} == {""}
    opened.session.go_to(4)
    opened.panel.choose(0)
    track = opened.panel.tiles[0].tile.tracks[0]
    opened.key("1")
    opened.rest()
    row = opened.position().events("nuclei").filter(pl.col("event") == "mitosis", pl.col("track_id") == track)
    assert row.select("class", "time_min").rows() == [("event", 8.0)], "at the time of the frame that is shown"
