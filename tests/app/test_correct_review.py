"""The review queue: least certain first, accepted in bulk, and the error rate of a sample, all in the store."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("napari")
pytest.importorskip("pyqtgraph")

from kinocyte.pipeline.review import samples
from tests.app.small import QUIET, Desk, desk, finished, store  # noqa: F401 - fixtures

pytestmark = QUIET
Open = Callable[..., Desk]


def open_review(desk: Open) -> Desk:  # noqa: F811 - the fixture
    from kinocyte.app.correct.review import ReviewPanel

    opened = desk(ReviewPanel, size=(420, 700))
    opened.until(lambda: opened.find("review_queue").rowCount() > 0)
    opened.rest()
    return opened


def texts(opened: Desk, column: int) -> list[str]:
    listed = opened.find("review_queue")
    return [listed.item(r, column).text() for r in range(listed.rowCount())]


def test_the_least_certain_is_shown_first_and_a_key_accepts_it(desk: Open) -> None:  # noqa: F811
    opened = open_review(desk)
    shown = opened.panel.shown
    assert shown["confidence"].drop_nulls().to_list() == sorted(shown["confidence"].drop_nulls().to_list())
    assert set(shown["kind"]) == {"link", "division", "event"}, "masks are off at first"
    listed, bar = opened.find("review_queue"), opened.find("review_left")
    done, first = bar.value(), shown.row(0, named=True)
    opened.click_at(listed.viewport(), listed.visualItemRect(listed.item(0, 2)).center())
    assert opened.session.selection.object_ids == tuple(first["object_ids"])
    assert opened.session.frame == first["frame"]
    opened.key("y")
    opened.rest()
    entry = opened.position().journal.entries()[-1]
    assert (entry.action, entry.payload["keys"]) == ("review_accept", [first["key"]])
    assert bar.value() == done + 1
    assert listed.selectionModel().selectedRows()[0].row() == 1, "the next one is shown"
    assert opened.position().stands("nuclei_tracks"), "no result has changed"
    opened.key("w")
    opened.rest()
    assert len(opened.position().journal.entries()) == 1
    assert "until it is corrected" in opened.said[-1][0]
    opened.key("z", ctrl=True)
    opened.rest()
    assert opened.panel.shown["key"][0] == first["key"], "taken back, it is open again"


def test_the_rest_is_accepted_in_bulk_and_recorded(desk: Open) -> None:  # noqa: F811
    opened = open_review(desk)
    opened.find("review_from").setValue(0.0)
    opened.find("review_kind_event").setChecked(False)
    opened.find("review_kind_division").setChecked(False)
    opened.rest()
    opened.click("review_bulk")
    opened.rest()
    bar = opened.find("review_left")
    assert bar.value() == bar.maximum() > 0
    assert opened.find("review_queue").rowCount() == 0
    assert not opened.find("review_bulk").isEnabled()
    (entry,) = opened.position().journal.notes_of("nuclei")
    assert (entry.payload["rest"], entry.payload["least_confidence"]) == (["link"], 0.0)
    opened.find("review_kind_event").setChecked(True)
    opened.rest()
    assert opened.find("review_queue").rowCount() > 0, "events are still open"


def test_a_sample_over_all_positions_tells_the_error_rate(desk: Open) -> None:  # noqa: F811
    opened = open_review(desk)
    opened.find("review_sample_size").setValue(10)
    opened.find("review_everywhere").setChecked(True)
    opened.click("review_draw")
    opened.rest()
    listed = opened.find("review_queue")
    assert listed.rowCount() == 10
    positions = {opened.panel.shown["position"][r] for r in range(10)}
    assert len(positions) > 1
    for number in range(10):
        here = opened.panel.shown["position"][number]
        opened.until(lambda here=here: opened.session.position.id == here)
        opened.rest()
        opened.click("review_wrong" if number == 4 else "review_right")
        opened.rest()
    stored = list(samples([opened.position(p) for p in ("A1/1", "A2/1", "B1/1", "B2/1")], "nuclei").values())
    assert [(s.n, s.right, s.wrong) for s in stored] == [(10, 9, 1)]
    rate = stored[0].error_rate()
    told = opened.find("review_rate").text()
    assert "10 of 10 links looked at" in told
    assert f"error rate 10.0%, 95 % interval {rate.low:.1%} to {rate.high:.1%}" in told
    assert texts(opened, 3).count("✗") == 1
    opened.click("review_end")
    opened.rest()
    assert listed.rowCount() != 10 or "A1" not in texts(opened, 2)[0]
