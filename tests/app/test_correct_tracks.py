"""Tracks are corrected in the tree and in the image: the journal, the store and the pixels follow."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("napari")
pytest.importorskip("pyqtgraph")

from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from tests.app.small import PIPELINE, QUIET, Desk, desk, finished, has_colour, store  # noqa: F401 - fixtures

pytestmark = QUIET
Open = Callable[..., Desk]


def open_tracks(desk: Open, **options: Any) -> Desk:  # noqa: F811 - the fixture
    from kinocyte.app.correct.tracks import TracksPanel

    opened = desk(TracksPanel, **options)
    opened.until(lambda: opened.panel.tree.layout_frame.height > 0)
    opened.rest()
    return opened


def click_branch(opened: Desk, track: int, frame: int, *, shift: bool = False) -> None:
    tree = opened.panel.tree
    tree.grab()  # its scale is that of what is drawn
    opened.click_at(tree.plot.viewport(), tree.screen_of(track, frame), shift=shift)
    opened.until(lambda: track in opened.session.selection.track_ids)


def links(opened: Desk) -> set[tuple[int, int]]:
    return set(opened.position().links("nuclei").select("source_id", "target_id").iter_rows())


def test_a_link_is_cut_in_the_tree_taken_back_restored_and_kept_by_the_next_run(desk: Open) -> None:  # noqa: F811
    opened = open_tracks(desk)
    cells = opened.session.cells
    track = cells.track_of[1]
    before, picture = links(opened), opened.picture()
    assert has_colour(picture, "#56b4e9") > 50, "the tree is drawn"
    click_branch(opened, track, 3)
    chosen = opened.session.selection.object_ids[0]
    assert cells.objects.filter(object_id=chosen).select("frame", "track_id").row(0) == (3, track)
    assert opened.session.frame == 3, "the image follows the tree"
    opened.rest()
    assert has_colour(opened.picture(), "#e69f00") > 30, "the chosen branch is thick"
    n_branches = opened.panel.tree.layout_frame.height
    opened.key("x")
    opened.rest()
    assert opened.position().journal.entries(), opened.said
    entry = opened.position().journal.entries()[-1]
    assert entry.action == "unlink"
    cut = (entry.payload["source"]["object_id"], entry.payload["target"]["object_id"])
    assert cut[1] == chosen
    assert links(opened) == before - {cut}
    assert opened.panel.tree.layout_frame.height == n_branches + 1
    opened.key("z", ctrl=True)
    opened.rest()
    assert links(opened) == before
    assert opened.panel.tree.layout_frame.height == n_branches
    opened.key("z", ctrl=True, shift=True)
    opened.rest()
    assert links(opened) == before - {cut}
    again = run(parse_pipeline(PIPELINE.replace("6.0", "6.5")), opened.session.experiment, where=Workers(workers=0))
    assert again.ok
    assert cut not in links(opened), "the next run keeps the correction"
    assert opened.position().corrections()["status"].to_list() == ["applied"]


def test_image_and_tree_choose_for_each_other(desk: Open) -> None:  # noqa: F811
    opened = open_tracks(desk, image=True)
    click_branch(opened, opened.session.cells.track_of[1], 3)
    assert opened.viewer.dims.current_step[0] == 3
    assert opened.layers.chosen is not None
    row = opened.session.cells.frame(0).row(2, named=True)
    opened.layers.choose_at((0.0, row["y_um"], row["x_um"]))
    opened.rest()
    xs, ys = opened.panel.tree._chosen.getData()
    layout = opened.panel.tree.layout_frame.filter(track_id=row["track_id"]).row(0, named=True)
    assert xs.tolist() == [layout["x"]] * 2
    assert ys.tolist() == [layout["first_frame"], layout["last_frame"]]
    assert "Chosen: track" in opened.find("tracks_said").text()


def test_two_cells_are_swapped_and_linked_by_buttons(desk: Open) -> None:  # noqa: F811
    opened = open_tracks(desk)
    cells = opened.session.cells
    assert not opened.find("tracks_swap").isEnabled()
    a, b = cells.track_of[1], cells.track_of[2]
    click_branch(opened, a, 2)
    click_branch(opened, b, 2, shift=True)
    assert opened.find("tracks_swap").isEnabled()
    assert not opened.find("tracks_link").isEnabled(), "both are in one frame"
    first, second = opened.session.selection.object_ids
    before = links(opened)
    opened.click("tracks_swap")
    opened.rest()
    sources = {t: s for s, t in before}
    changed = links(opened)
    assert (sources[first], second) in changed
    assert (sources[second], first) in changed
    opened.panel.undo()
    opened.rest()
    click_branch(opened, a, 2)
    click_branch(opened, b, 3, shift=True)
    source, target = opened.session.selection.object_ids
    opened.click("tracks_link")
    opened.rest()
    assert (source, target) in links(opened)


def test_a_cell_is_followed_on_and_the_proposal_accepted_as_one_correction(desk: Open) -> None:  # noqa: F811
    opened = open_tracks(desk)
    cells = opened.session.cells
    track = cells.track_of[1]
    own = cells.objects.filter(track_id=track).sort("frame")
    ids = own["object_id"].to_list()
    edit = opened.session.editor()
    for a, b in pairwise(ids[1:]):
        edit.unlink(a, b)
    opened.session.corrected()
    opened.rest()
    lone = opened.session.cells.track_of[ids[1]]
    click_branch(opened, lone, 1)
    opened.key("e")
    opened.rest()
    assert "Proposal: frames 1 to 7, 6 links" in opened.find("tracks_said").text()
    opened.click("tracks_accept")
    opened.rest()
    entry = opened.position().journal.entries()[-1]
    assert entry.action == "link_chain"
    assert [r["object_id"] for r in entry.payload["objects"]] == ids[1:]
    assert set(pairwise(ids)) <= links(opened)


def test_only_lineages_with_divisions_are_drawn_when_asked(desk: Open) -> None:  # noqa: F811
    opened = open_tracks(desk)
    everything = opened.panel.tree.layout_frame
    assert everything["parent_id"].is_not_null().any(), "a cell of the movie divides"
    opened.find("tracks_shown").setCurrentIndex(1)
    opened.rest()
    some = opened.panel.tree.layout_frame
    assert 0 < some.height < everything.height
    assert some["root_id"].n_unique() == 1
    shown = opened.panel.tree
    assert shown.at(-50.0, 3.0) is None, "a click beside the tree chooses nothing"
    assert np.isfinite(shown._x).all()


def test_the_list_of_corrections_says_who_what_and_what_became_of_it(desk: Open) -> None:  # noqa: F811
    from kinocyte.app.correct.history import HistoryPanel

    opened = desk(HistoryPanel)
    assert "Nothing has been corrected" in opened.find("history_summary").text()
    assert not opened.find("history_undo").isEnabled()
    edit = opened.session.editor()
    edit.remove(1)
    edit.set_event("bright", "event", 4.0, object_id=3)
    opened.session.corrected()
    opened.rest()
    table = opened.find("history_table")
    rows = [[table.item(r, c).text() for c in range(table.columnCount())] for r in range(table.rowCount())]
    assert [r[2] for r in rows] == ["event set", "cell removed"]
    assert [r[1] for r in rows] == ["✓ applied"] * 2
    assert rows[0][3] == "track of 3 bright event at 4 min"
    assert rows[0][4] == opened.position().journal.entries()[0].author
    opened.click("history_undo")
    opened.rest()
    assert table.rowCount() == 1
    assert opened.position().events("nuclei").filter(pl.col("time_se_min") == 0.0).is_empty()
    opened.click("history_redo")
    opened.rest()
    assert table.rowCount() == 2
    assert any("was taken back" in s for s, _ in opened.said)


def test_an_experiment_without_cells_is_said(desk: Open) -> None:  # noqa: F811
    opened = open_tracks(desk)
    opened.session.close_experiment()
    opened.rest()
    assert opened.find("tracks_count").text() == "no cells"
    assert not opened.find("tracks_link").isEnabled()
    panel: Any = opened.panel
    panel.undo()
    assert panel.edit("x", lambda e: e.remove(1)) is None
    assert opened.said[-1][0].startswith("Nothing is open")
    opened.said.clear()
