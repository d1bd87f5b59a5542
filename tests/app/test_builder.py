"""The builder shows every section that a pipeline file may have, and gives back what it read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin

import polars as pl
import pytest
from pydantic import BaseModel

pytest.importorskip("qtpy")
pytest.importorskip("pyqtgraph")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMenu

import kinocyte
from kinocyte.app.builder import BuilderPanel
from kinocyte.app.draft import Draft, Path
from kinocyte.app.form_models import bare_type
from kinocyte.app.jobs import Job
from kinocyte.app.previews import Previews, Question
from kinocyte.measurement.filters import FeatureFilter
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.model import Pipeline, Population
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.placed import MethodOf
from kinocyte.pipeline.run import run
from tests.app import small
from tests.app.small import Desk

pytestmark = small.QUIET
desk, finished, store, last_one_closes = small.desk, small.finished, small.store, small.last_one_closes

#: every section there is, each with a value that is not its default
EVERYTHING = """\
name = "everything"
seed = 11
[restoration.light]
method = "model_fit"
channel = "dna"
[restoration.grain]
method = "median"
[stain.membrane]
method = "virtual_stain"
model = "stain-of-mine"
channel = ["dna"]
[registration]
method = "phase_correlation"
channel = "dna"
[corrected]
interpolation = "nearest"
fill = 7.0
[population.nuclei]
measure = ["shape", { method = "intensity", channels = ["pi"] }]
cells = "bodies"
[population.nuclei.segmentation]
method = "threshold"
channel = "dna"
threshold = "fixed"
low = 350.0
[[population.nuclei.filter]]
feature = "area_um2"
min = 20.0
[[population.nuclei.filter]]
feature = "mean_dna"
otsu = "above"
[population.nuclei.tracking]
method = "lap"
max_distance_um = 6.0
[[population.nuclei.mending]]
method = "rules"
[[population.nuclei.track_filter]]
feature = "n_objects"
min = 3.0
[population.nuclei.motion]
window_frames = 2
[population.nuclei.path]
radii_um = [[0.0, 3.0]]
before_frames = 2
[[population.nuclei.event]]
name = "death"
method = "threshold_transition"
when = "mean_pi > 300"
[population.bodies]
measure = []
[population.bodies.segmentation]
method = "threshold"
channel = "pi"
[population.bodies.tracking]
method = "overlap"
[[interaction]]
name = "who"
reference = "nuclei"
neighbour = "bodies"
method = "radius"
radius_um = 14.0
signals = ["mean_pi"]
victim_event = "death"
[interaction.killer]
method = "killer_ranking"
window_min = 20.0
[[interaction.event]]
name = "meets"
method = "threshold_transition"
when = "distance_um < 10"
[[interaction.event]]
name = "leaves"
method = "threshold_transition"
when = "distance_um > 12"
[[table]]
name = "growth"
of = "nuclei"
[[table.step]]
method = "differentiate"
column = "area_um2"
[[table.step]]
method = "query"
when = "area_um2 > 3"
[[table]]
name = "per_frame"
of = "growth"
[[comparison]]
method = "survival"
population = "nuclei"
event = "death"
by = "drug"
[[comparison]]
method = "values"
table = "growth"
value = "area_um2"
by = "drug"
[report]
by = "drug"
"""


def sections(model: type[BaseModel], path: Path = ()) -> Iterator[tuple[Path, bool]]:
    """Yield every place of a pipeline file as its model says, names and numbers as ``*``; and whether it is a table."""
    for name, info in model.model_fields.items():
        kind, _, metadata = bare_type(info.annotation, tuple(info.metadata))
        at: Path = (*path, info.alias or name)
        if get_origin(kind) in (dict, tuple):
            kind = get_args(kind)[0 if get_origin(kind) is tuple else 1]
            at = (*at, "*")
        kind, _, metadata = bare_type(kind, metadata)
        method = next((m for m in metadata if isinstance(m, MethodOf)), None)
        inner = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        if method is not None:
            inner = method.place
        if inner is not Population:
            yield at, method is not None or inner is not None
        if inner is not None:
            yield from sections(inner, at)


def pattern(path: Path) -> Path:
    """Return a place with its names and numbers as ``*``."""
    named = path[0] in {"restoration", "stain", "population"}
    return tuple("*" if isinstance(p, int) or (named and n == 1) else p for n, p in enumerate(path))


def test_the_builder_shows_every_section_and_changes_none(desk: Callable[..., Desk]) -> None:
    one = desk(BuilderPanel, size=(520, 900))
    panel, session = one.panel, one.session
    wanted = parse_pipeline(EVERYTHING)
    session.set_draft(Draft.from_text(EVERYTHING))
    shown = {s.path for s in session.draft.steps()}
    places = dict(sections(Pipeline))
    single = ("population", "*", "cells")
    assert {p for p, is_table in places.items() if not is_table and len(p) < 4 and p[0] in {"population", *_TOP}} == {
        single, ("name",), ("seed",),
    }, "what else is a value beside the steps needs a place in the builder"  # fmt: skip
    assert {pattern(p) for p in shown} == {p for p, is_table in places.items() if is_table} | {single}
    assert (panel.title.text(), panel.seed.text()) == ("everything", "11")
    for row in range(panel.steps.count()):
        panel.steps.setCurrentRow(row)
        assert panel._editor is not None, panel.form_error.text()
        panel._form_changed()  # as if something was typed and taken back
    assert panel.form_error.isHidden()
    assert session.draft.pipeline() == wanted
    assert parse_pipeline(session.draft.text()) == wanted
    remade = Draft.from_pipeline(wanted)  # as from the last run, where every default is written out
    assert {s.path for s in remade.steps()} == shown
    assert parse_pipeline(remade.text()) == wanted


def test_every_step_can_be_taken_away_and_added_by_the_menu(desk: Callable[..., Desk]) -> None:
    one = desk(BuilderPanel, size=(520, 900))
    panel, session = one.panel, one.session
    paths = {s.path for s in Draft.from_text(EVERYTHING).steps()}
    for path in paths:
        draft = Draft.from_text(EVERYTHING)
        before = len(draft.steps())
        inside = sum(p[: len(path)] == path for p in paths)
        draft.remove(path)
        assert len(draft.steps()) == before - inside, path
    draft = Draft.from_text(EVERYTHING)
    while draft.steps():
        draft.remove(draft.steps()[-1].path)
    assert set(draft.document) == {"name", "seed"}
    assert draft.pipeline() == Pipeline(name="everything", seed=11)

    session.set_draft(draft)

    def choose(*texts: str) -> None:
        menu: Any = panel.add.menu()
        menu.aboutToShow.emit()
        for text in texts:
            action = next(a for a in menu.actions() if a.text() == text)
            menu = action.menu() if action.menu() is not None else menu
        action.trigger()

    draft.add_population("nuclei", "dna")
    draft.add_population("bodies", "pi")
    panel._list_steps()
    for texts in _ADDED:
        before = len(draft.steps())
        choose(*texts)
        assert len(draft.steps()) == before + 1, texts
        assert panel._editor is not None
    kinds = {s.kind for s in draft.steps()}
    assert kinds >= {s.kind for s in Draft.from_text(EVERYTHING).steps()}
    bad = {p for p, _ in draft.check()[1]}
    needed = {
        *(("stain", "stain", "model"), ("population", "nuclei", "event"), ("interaction", 0, "event")),
        *(("table", 0, "step"), ("comparison", 0, "event"), ("comparison", 0, "by")),
    }
    assert {p[:3] for p in bad} == needed, "what is needed is asked, and the rest is right"
    marked = [panel.steps.item(r).text() for r in range(panel.steps.count())]
    assert sum(t.startswith("✖") for t in marked) == 5
    assert any(t.startswith("✖ nuclei and bodies: find an event (meets") for t in marked), "the step inside, not around"


_TOP = {name for name, info in Pipeline.model_fields.items() if info.annotation in (str, int)}
_ADDED = (
    ("Correct background and light",),
    ("Reduce noise",),
    ("Compute a channel from others",),
    ("Hold the movie still",),
    ("How frames are moved",),
    ("nuclei", "Measure more"),
    ("nuclei", "Keep some cells"),
    ("nuclei", "Nucleus and cytoplasm"),
    ("nuclei", "Mend tracks"),
    ("nuclei", "Keep some tracks"),
    ("nuclei", "How motion is measured"),
    ("nuclei", "Measure along the tracks"),
    ("nuclei", "Find an event"),
    ("Who is near whom",),
    ("nuclei and bodies", "Find an event of pairs"),
    ("nuclei and bodies", "Rank who killed"),
    ("Make a table",),
    ("Go on with the table table",),
    ("Compare conditions",),
    ("What the report shows",),
)


def test_a_computed_channel_has_a_name_that_later_steps_choose(desk: Callable[..., Desk]) -> None:
    one = desk(BuilderPanel, size=(520, 900))
    panel, session = one.panel, one.session
    session.set_draft(Draft.from_text(EVERYTHING))
    row = next(i for i, s in enumerate(session.draft.steps()) if s.path == ("stain", "membrane"))
    panel.steps.setCurrentRow(row)
    panel.own_name.setText("grain")
    panel.own_name.editingFinished.emit()
    assert list(session.draft.document["stain"]) == ["grain"]
    assert panel._step.path == ("stain", "grain")
    assert "grain" in panel._choices.channels
    row = next(i for i, s in enumerate(session.draft.steps()) if s.path == ("restoration", "light"))
    panel.steps.setCurrentRow(row)
    panel.own_name.setText("grain")
    panel.own_name.editingFinished.emit()
    assert list(session.draft.document["restoration"]) == ["light", "grain"], "a name that is taken is not given"
    assert panel.own_name.text() == "light"
    panel.seed.setText("many")
    panel.seed.textEdited.emit("many")
    assert [p for p, _ in session.draft.check()[1]] == [("seed",)], "a seed is a number"
    panel.seed.textEdited.emit("3")
    assert session.draft.pipeline().seed == 3


def test_a_menu_of_what_can_be_added_grows_with_the_pipeline(desk: Callable[..., Desk]) -> None:
    panel = desk(BuilderPanel, size=(520, 900)).panel
    panel._session.set_draft(Draft())
    menu: QMenu = panel.add.menu()
    menu.aboutToShow.emit()
    assert "Who is near whom" not in [a.text() for a in menu.actions()], "there is no kind of cell yet"


def test_filters_show_what_they_keep(desk: Callable[..., Desk]) -> None:
    one = desk(BuilderPanel, image=True)
    panel, session = one.panel, one.session
    text = small.PIPELINE.replace(
        "[population.nuclei.tracking]", '[[population.nuclei.filter]]\nfeature = "area_um2"\nmin = 0.0\n'
        "[population.nuclei.tracking]"
    ) + '[[population.nuclei.track_filter]]\nfeature = "n_objects"\nmin = 1.0\n'  # fmt: skip
    session.set_draft(Draft.from_text(text))
    steps = [panel.steps.item(n).data(Qt.ItemDataRole.UserRole) for n in range(panel.steps.count())]

    def shown(step: str, values: dict[str, Any]) -> Any:
        panel.steps.setCurrentRow(next(n for n, s in enumerate(steps) if step in s.path))
        panel.preview.shown = None
        panel.set_values(values)
        one.until(lambda: panel.preview.shown is not None and not panel.preview.is_busy)
        return panel.preview.shown

    table = one.position().table("nuclei_objects")
    here = shown("filter", {"min": 0.0})
    assert here.passed.all()
    assert len(here.points) == table.filter(pl.col("frame") == session.frame).height
    areas = one.position().objects("nuclei").select("frame", "area_um2")
    limit = float(areas["area_um2"].median())
    here = shown("filter", {"min": limit})
    wanted = (areas["area_um2"] >= limit).sum()
    assert f"{wanted} of {table.height} objects" in here.sentence
    assert here.passed.sum() == areas.filter((pl.col("frame") == 0) & (pl.col("area_um2") >= limit)).height
    layer = panel.preview._layers._layers["points"]
    assert {str(s) for s in layer.symbol} == {"disc", "x"}
    tracks = shown("track_filter", {"min": 9.0})  # the cell that divides is longer than the movie
    assert tracks.sentence.startswith("1 of ")
    assert tracks.passed.sum() == 1


def test_filters_of_lineages_count_what_the_last_run_left_out(store: str) -> None:
    def said(least: float) -> str:
        rule = FeatureFilter(feature="n_objects", min=least)
        position = kinocyte.open(store).position("A1/1")
        asked = Question(position, 0, "filter", rule, population="nuclei", filters=(rule,), of_tracks=True)
        return Previews().answer(asked, Job("alone")).sentence

    before = [said(1.0), said(9.0)]
    assert before[1].startswith("1 of ")
    text = small.PIPELINE + '[[population.nuclei.track_filter]]\nfeature = "n_objects"\nmin = 9.0\n'
    result = run(parse_pipeline(text), kinocyte.open(store), where=Workers(workers=0), positions=["A1/1"])
    assert result.ok, result.failed
    assert kinocyte.open(store).position("A1/1").tracks("nuclei")["root_id"].n_unique() == 1
    assert [said(1.0), said(9.0)] == before
