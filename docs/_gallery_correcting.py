"""Pictures of the panels that correct and explore, on the demo after a run; called by ``docs/_gallery.py``."""

from __future__ import annotations

from typing import Any

import polars as pl


def correcting(desk: Any) -> None:
    """Make the pictures; the experiment must be open and run."""
    from kinocyte.app.session import Selection

    window, session = desk.window, desk.session
    window.show_panel("tracks")
    panel = window.panel("tracks")
    panel.shown.setCurrentIndex(1)
    desk.rest()
    layout = panel.tree.layout_frame.filter(pl.col("parent_id").is_null())
    if layout.height:
        panel.tree.clicked.emit(int(layout["track_id"][0]), int(layout["last_frame"][0]), False)
    desk.rest()
    desk.picture("tracks")
    window.show_panel("labels")
    window.panel("labels").check_every()
    desk.rest()
    desk.picture("labels")
    window.show_panel("events")
    events = window.panel("events")
    events.event_box.setEditText("mitosis")
    events._restart()
    desk.rest()
    events.choose(0)
    desk.picture("events")
    window.show_panel("review")
    review = window.panel("review")
    desk.rest()
    review.list.selectRow(0)
    desk.rest()
    desk.picture("review")
    cells = session.cells
    session.select(Selection(cells.population, (), (int(cells.objects["object_id"][0]),), "gallery"))
    session.editor().set_track_class("founder", track_id=1)
    session.corrected()
    window.show_panel("history")
    desk.rest()
    desk.picture("history")
    session.position.journal.undo()
    session.corrected()
    desk.rest()


def exploring(desk: Any) -> None:
    """Make the pictures of tables, plots and comparisons."""
    window = desk.window
    window.show_panel("explore")
    panel = window.panel("explore")
    panel.everywhere.setChecked(True)
    panel.query.setText("area_um2 > 60")
    panel.reload()
    desk.rest()
    panel.tabs.setCurrentIndex(0)
    desk.picture("explore-table")
    panel.tabs.setCurrentIndex(1)
    panel.group_box.setCurrentIndex(max(0, panel.group_box.findData("treatment")))
    desk.rest()
    (x0, x1), (y0, y1) = panel.plot.plot.viewRange()
    panel.gate.begin("polygon")
    corners = ((0.35, 0.3), (0.6, 0.25), (0.75, 0.5), (0.55, 0.75), (0.4, 0.6), (0.4, 0.6))
    for number, (a, b) in enumerate(corners):
        panel.plot.drawn.emit(x0 + a * (x1 - x0), y0 + b * (y1 - y0), number == len(corners) - 1)
    desk.rest()
    desk.picture("explore-gate")
    panel.gate.clear()
    window.show_panel("compare")
    compare = window.panel("compare")
    compare.form.set_value({"method": "values", "value": "area_um2", "by": "treatment"})
    compare.ask()
    desk.rest()
    desk.picture("compare")
