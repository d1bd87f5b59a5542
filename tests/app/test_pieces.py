"""Pieces of the application without a window: drafts, settings, the run's process, frames, states."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("qtpy")
pytest.importorskip("napari")

import kinocyte
from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.parse import parse_pipeline
from tests.app import small

EXAMPLES = sorted((Path(kinocyte.__file__).parent / "data").glob("*/pipeline.toml")) + sorted(
    (Path(kinocyte.__file__).parent / "data").glob("*/*/pipeline.toml")
)


@pytest.mark.parametrize("place", EXAMPLES, ids=lambda p: p.parent.name)
def test_a_draft_says_what_the_file_says(place: Path) -> None:
    from kinocyte.app.draft import Draft

    wanted = parse_pipeline(place.read_text())
    loaded = Draft.from_text(place.read_text())
    assert loaded.check() == (wanted, [])
    assert parse_pipeline(loaded.text()) == wanted
    remade = Draft.from_pipeline(parse_pipeline(json_as_toml(wanted)))
    assert parse_pipeline(remade.text()) == wanted, "also from a run file, in which every default is written"
    assert len(remade.text()) < 1.4 * len(place.read_text()), "defaults are left out again"


def json_as_toml(pipeline: Any) -> str:
    """Return a pipeline with every default written out, as a run file keeps it."""
    from kinocyte.app.draft import toml_of

    def without_none(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without_none(v) for k, v in value.items() if v is not None}
        return [without_none(v) for v in value] if isinstance(value, list) else value

    return toml_of(without_none(pipeline.as_document()))


def test_steps_are_added_moved_and_removed() -> None:
    from kinocyte.app.draft import Draft

    draft = Draft()
    assert draft.steps() == []
    draft.add_population("nuclei", "dapi")
    draft.add_restoration("median")
    draft.add_restoration("median")
    assert draft.add_to_population("nuclei", "event") == ("population", "nuclei", "event", 0)
    assert draft.add_to_population("nuclei", "event") == ("population", "nuclei", "event", 1)
    assert [e["name"] for e in draft.document["population"]["nuclei"]["event"]] == ["death", "death_2"]
    assert draft.move(("population", "nuclei", "event", 1), -1) == ("population", "nuclei", "event", 0)
    assert [e["name"] for e in draft.document["population"]["nuclei"]["event"]] == ["death_2", "death"]
    draft.move(("restoration", "median_2"), -1)
    assert list(draft.document["restoration"]) == ["median_2", "median"]
    titles = [s.title for s in draft.steps()]
    assert titles[0] == "median_2: correct grey values (median)"
    assert titles[2] == "nuclei: find cells (threshold)"
    for path in (("restoration", "median"), ("restoration", "median_2")):
        draft.remove(path)
    assert "restoration" not in draft.document
    _, errors = draft.check()
    assert [(p, s) for p, s in errors] == [
        (("population", "nuclei", "event", 0, "when"), "is needed"),
        (("population", "nuclei", "event", 1, "when"), "is needed"),
    ]
    with pytest.raises(ParameterError, match=r"event\.0\.when: is needed"):
        draft.pipeline()


def test_a_mistake_of_a_file_names_its_line() -> None:
    from kinocyte.app.draft import Draft

    with pytest.raises(ParameterError, match=r"line 3.*did you mean 'channel'"):
        Draft.from_text('[population.a.segmentation]\nmethod = "threshold"\nchanel = "x"\n')


def test_files_beside_a_pipeline_file_are_named_by_their_full_path(tmp_path: Path) -> None:
    from kinocyte.app.draft import anchored_document

    (tmp_path / "dark.tif").write_bytes(b"")
    (tmp_path / "p.toml").write_text(
        '[restoration.field]\nmethod = "flat_field"\nflat = "dark.tif"\n'
        '[population.a.segmentation]\nmethod = "threshold"\nchannel = "x"\n'
    )
    found = anchored_document(str(tmp_path / "p.toml"))
    assert found["restoration"]["field"]["flat"] == str(tmp_path / "dark.tif")


#: a machine under load is no defect
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=12)


@patient
@given(st.lists(names.filter(lambda n: n == n.strip() and n), max_size=5))
def test_any_list_of_names_is_written_and_read(found: list[str]) -> None:
    from kinocyte.app.form_fields import join_list, split_list

    assert split_list(join_list(found)) == found


@patient
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_is_written_and_read(number: float) -> None:
    from kinocyte.app.form_fields import read_number, write_number

    assert read_number(write_number(number)) == number


@patient
@given(st.one_of(names, st.floats(allow_nan=False, allow_infinity=False)))
def test_a_word_stays_a_word_and_a_number_a_number(value: Any) -> None:
    from kinocyte.app.form_fields import read_word_or_number, write_word_or_number

    found = read_word_or_number(write_word_or_number(value))
    assert found == value
    assert isinstance(found, type(value))


def test_frames_are_read_once_and_never_all() -> None:
    from kinocyte.app.movies import Frames, FrameStore

    read: list[int] = []

    def one(t: int) -> Any:
        read.append(t)
        return np.full((4, 5), t, np.uint16)

    movie = Frames(one, (100, 4, 5), np.uint16, FrameStore(limit_bytes=3 * 40))
    assert movie[7].shape == (4, 5)
    assert movie[7, 1:3, 2].tolist() == [7, 7]
    assert movie[3:5, ..., 0].shape == (2, 4)
    assert read == [7, 3, 4]
    for t in (10, 11, 12, 13):
        movie[t]
    movie[7]
    assert read[-1] == 7, "what was looked at long ago is read again"
    with pytest.raises(TypeError, match="not read at once"):
        np.asarray(movie)


def test_a_frame_that_cannot_be_read_is_black_and_said() -> None:
    from kinocyte.app.movies import Frames, FrameStore

    def broken(_t: int) -> Any:
        msg = "Frame 2 is damaged"
        raise OSError(msg)

    movie = Frames(broken, (5, 4, 4), np.uint16, FrameStore())
    told: list[str] = []
    movie.on_trouble = lambda error: told.append(str(error))
    assert not movie[2].any()
    assert told == ["Frame 2 is damaged"]


def test_settings_are_kept_in_the_folder_of_the_test(own_settings: None) -> None:
    from kinocyte.app import settings

    settings.remember("test/value", {"a": [1, 2.5, "ü"]})
    assert settings.recall("test/value") == {"a": [1, 2.5, "ü"]}
    settings.forget("test/value")
    assert settings.recall("test/value", "nothing") == "nothing"
    for name in ("/a.zarr", "/b.zarr", "/a.zarr"):
        settings.note_recent(name)
    assert settings.recent_experiments()[:2] == ["/a.zarr", "/b.zarr"]
    settings.forget_recent("/a.zarr")
    assert "/a.zarr" not in settings.recent_experiments()


def test_conditions_that_a_person_painted_count_more() -> None:
    from kinocyte.app.wizard_plate import Conditions

    found = Conditions()
    found.propose("A1", "dose", "1,5")
    found.paint("A1", "dose", "2,5")
    found.propose("A1", "dose", "1,5")
    found.paint("A2", "dose", "10")
    found.paint("A1", "drug", "x")
    frame = found.frame(["A1", "A2", "A3"])
    assert frame is not None
    assert frame.columns == ["well", "dose", "drug"]
    assert frame.rows() == [("A1", 2.5, "x"), ("A2", 10.0, None), ("A3", None, None)]
    found.paint("A1", "drug", "")
    assert found.columns() == ["dose"]
    assert Conditions().frame(["A1"]) is None


def test_work_beside_the_window_is_delivered_cancelled_and_fails_in_words() -> None:
    from qtpy.QtWidgets import QApplication

    from kinocyte.app.jobs import Job, Jobs

    application = QApplication.instance() or QApplication([])
    before = set(threading.enumerate())
    jobs = Jobs()
    where: list[bool] = []
    main = threading.current_thread()
    job = jobs.start("add", lambda a, b: a + b, 2, 3, done=lambda _v: where.append(threading.current_thread() is main))
    assert jobs.wait(job) == 5
    assert where == [True]

    said: list[tuple[str, str]] = []
    jobs.trouble.connect(lambda _title, sentence, trace: said.append((sentence, trace)))

    def refused() -> None:
        msg = "Name a channel."
        raise ParameterError(msg)

    job = jobs.start("ask", refused)
    with pytest.raises(RuntimeError, match=r"Name a channel\."):
        jobs.wait(job)
    assert said == [("Name a channel.", "")]

    begun = threading.Event()

    def long(job: Job) -> None:
        begun.set()
        while True:
            job.check()

    job = jobs.start("long", long, done=lambda _v: said.append(("never", "")))
    assert begun.wait(100)
    job.cancel()
    jobs.wait(job)
    assert job.state == "cancelled"
    assert len(said) == 1
    jobs.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("kinocyte-job") and t not in before]
    application.processEvents()


def test_a_named_experiment_is_read_at_once_and_shown_when_the_window_is_ready(tmp_path: Path) -> None:
    from qtpy.QtWidgets import QApplication

    from kinocyte.app.session import Session

    application = QApplication.instance() or QApplication([])
    place, ready, began = kinocyte.create(tmp_path / "empty.zarr").url, threading.Event(), threading.Event()
    session = Session()
    waiting, ready.wait = ready.wait, lambda seconds=None: began.set() or waiting(seconds)
    job = session.open(place, ready)
    assert began.wait(100), "it was read"
    application.processEvents()
    assert session.experiment is None
    ready.set()
    session.jobs.wait(job, 100)
    assert session.experiment is not None
    assert session.experiment.url == place
    session.close()


def test_only_the_newest_preview_is_shown() -> None:
    from qtpy.QtWidgets import QApplication

    from kinocyte.app.jobs import Jobs, Latest

    application = QApplication.instance() or QApplication([])
    jobs = Jobs()
    latest = Latest(jobs, "preview", delay_ms=1)
    shown: list[int] = []
    go = threading.Event()

    def slow(n: int) -> int:
        go.wait(100)
        return n

    latest.ask(slow, 1, done=shown.append)
    end = time.monotonic() + 100
    while not jobs.running:
        assert time.monotonic() < end
        application.processEvents()
    for n in (2, 3, 4):
        latest.ask(slow, n, done=shown.append)
        application.processEvents()
    go.set()
    while latest.is_busy:
        assert time.monotonic() < end
        application.processEvents()
        time.sleep(0.002)
    assert shown == [4]
    jobs.close()


def test_a_run_stops_when_its_window_is_gone(tmp_path: Path) -> None:
    kinocyte.create(tmp_path / "empty.zarr")
    asked = {"url": str(tmp_path / "empty.zarr"), "pipeline": {}, "positions": None}
    done = subprocess.run(
        [sys.executable, "-m", "kinocyte.app.run_process"],
        input=json.dumps(asked) + "\n",
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] in {"refused", "stopped"}, done.stderr
    assert done.returncode in {2, 130}, done.stderr


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from kinocyte.cli import applying
    from kinocyte.core.errors import MissingExtraError

    monkeypatch.setattr(applying, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"napari.*pip install 'kinocyte\[app\]'"):
        applying.show_app()


def test_without_a_screen_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from kinocyte.app import main
    from kinocyte.core.errors import StoreError

    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(StoreError, match="There is no screen here"):
        main._check_screen()


def test_the_manifest_names_what_exists() -> None:
    from importlib import import_module

    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(Path(kinocyte.__file__).parent / "app" / "napari.yaml")
    assert manifest.name == "kinocyte"
    for command in manifest.contributions.commands or []:
        module, _, name = str(command.python_name).partition(":")
        assert callable(getattr(import_module(module), name))


def test_every_panel_can_be_made_and_has_a_key_of_its_own() -> None:
    from importlib import import_module

    from kinocyte.app.panels import PANELS

    assert len({p.shortcut for p in PANELS}) == len({p.name for p in PANELS}) == len(PANELS)
    for spec in PANELS:
        module, _, name = spec.place.partition(":")
        assert isinstance(getattr(import_module(module), name), type)


def test_importing_kinocyte_brings_no_window() -> None:
    modules = "kinocyte, kinocyte.app, kinocyte.app.run_process"
    code = f"import sys, {modules}; print([m for m in sys.modules if 'Qt' in m or m == 'napari'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200)
    assert done.stdout.strip() == "[]"


def test_the_level_that_is_shown_is_the_level_that_parts() -> None:
    from kinocyte import Scale
    from kinocyte.segmentation.threshold import Threshold

    rng = np.random.default_rng(3)
    image = rng.normal(100, 4, (64, 64))
    image[20:40, 20:40] += 120
    for way in ("otsu", "triangle", "li", "background"):
        method = Threshold(channel="a", threshold=way, filters=(), fill_holes=False, split="none", min_area_um2=0.0)
        filtered, level = method.level(image, Scale.isotropic(1.0))
        assert level is not None
        assert np.array_equal(method.segment(image, Scale.isotropic(1.0)) > 0, filtered > level)
    for way in ("adaptive", "local", "niblack", "sauvola"):
        assert Threshold(channel="a", threshold=way).level(image, Scale.isotropic(1.0))[1] is None
    assert Threshold(channel="a").level(np.ones((8, 8)), Scale.isotropic(1.0))[1] is None


def test_the_picture_of_bands_holds_the_pixels_that_are_measured() -> None:
    from kinocyte import Scale
    from kinocyte.measurement.contours import ContourBands

    labels = np.zeros((40, 40), np.uint32)
    labels[10:30, 10:30] = 1
    method = ContourBands(bands_um=((0.0, 2.0), (-3.0, 0.0)))
    picture = method.picture(labels, Scale.isotropic(1.0))
    table = method.measure(labels, {"a": np.ones((40, 40))}, Scale.isotropic(1.0))
    counts = [int(table[c][0]) for c in table.columns if c.endswith("_px")]
    assert counts == [int((picture == 1).sum()), int((picture == 2).sum())]
    assert counts[0] == 20**2 - 16**2
    assert not picture[labels == 0][picture[labels == 0] == 1].size


def test_a_changed_value_reads_no_pixel_again_and_a_run_reads_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinocyte.app.jobs import Job
    from kinocyte.app.previews import Previews, Question
    from kinocyte.experiment.arrays import Image
    from kinocyte.restoration.model_fit import ModelFit
    from kinocyte.segmentation.threshold import Threshold
    from kinocyte.tracking.lap import LAP

    planes = small.movie(1)
    writer = kinocyte.create(tmp_path / "one.zarr").new_position(
        well="A1", field="1", shape=(small.N_FRAMES, 2, 1, small.SIDE, small.SIDE), dtype=np.uint16,
        channels=["dna", "pi"], scale=kinocyte.Scale(y_um=0.5, x_um=0.5, frame_interval_min=2.0),
    )  # fmt: skip
    for t, plane in enumerate(planes):
        writer.write(t, plane)
    writer.finish()
    position = kinocyte.open(tmp_path / "one.zarr").position("A1/1")
    read: list[int] = []
    plain = Image.frame
    monkeypatch.setattr(Image, "frame", lambda self, t, *a, **k: (read.append(t), plain(self, t, *a, **k))[1])
    previews, light = Previews(), (ModelFit(channel="dna"),)

    def ask(method: Any, kind: str, before: tuple[Any, ...] = ()) -> Any:
        found = Threshold(channel="dna")
        return previews.answer(Question(position, 2, kind, method, before, segmentation=found), Job("preview"))

    first = ask(Threshold(channel="dna"), "segmentation")
    assert read == [2]
    second = ask(Threshold(channel="dna", min_area_um2=60.0), "segmentation")
    assert read == [2]
    assert second.labels.max() < first.labels.max()
    assert second.histogram.counts is first.histogram.counts
    assert second.histogram.level == first.histogram.level
    method = Threshold(channel="dna", level_factor=1.3)
    assert ask(method, "segmentation").histogram.level == pytest.approx(1.3 * first.histogram.level)
    values, _ = method.level(planes[2, 0], position.scale)
    counts, _ = np.histogram(values, bins=first.histogram.edges)
    assert np.abs(np.cumsum(counts - first.histogram.counts)).max() <= 2  # at edges rounding decides
    assert np.array_equal(
        ask(method, "segmentation").labels, method.segment(planes[2, 0], position.scale, seed=3)
    )  # what was kept changes no result
    read.clear()
    ask(LAP(max_distance_um=4.0), "tracking", light)
    assert set(range(2, 7)) <= set(read)
    read.clear()
    ask(LAP(max_distance_um=6.0), "tracking", light)
    ask(Threshold(channel="dna", min_area_um2=5.0), "segmentation", light)
    assert not read, "frames of the movie that was corrected are kept"
    previews.forget()
    ask(LAP(max_distance_um=6.0), "tracking", light)
    assert set(range(2, 7)) <= set(read)


def test_a_run_on_one_position_leaves_the_results_of_others_in_sight(tmp_path: Path) -> None:
    from kinocyte.app.quantities import plate_state
    from kinocyte.pipeline.execute import Workers
    from kinocyte.pipeline.run import run

    experiment = kinocyte.create(tmp_path / "three.zarr")
    plane = small.movie(1)[:1]
    for field in ("1", "2", "3"):
        writer = experiment.new_position(
            well="A1", field=field, shape=(1, 2, 1, small.SIDE, small.SIDE), dtype=np.uint16,
            channels=["dna", "pi"], scale=kinocyte.Scale(y_um=0.5, x_um=0.5),
        )  # fmt: skip
        writer.write(0, plane[0])
        writer.finish()

    def find(name: str, *positions: str) -> None:
        text = f'[population.{name}.segmentation]\nmethod = "threshold"\nchannel = "dna"\n'
        opened = kinocyte.open(tmp_path / "three.zarr")
        assert run(parse_pipeline(text), opened, positions=list(positions), where=Workers(workers=0)).ok

    find("nuclei", "A1/1", "A1/2")
    find("cells", "A1/1")
    found = plate_state(kinocyte.open(tmp_path / "three.zarr"))
    assert found.states == {"A1/1": "done", "A1/2": "old", "A1/3": "nothing"}
    assert "earlier" in found.messages["A1/2"]


def test_a_question_of_the_wizard_says_where_to_answer_it_and_why_once_for_all_movies() -> None:
    from kinocyte.app.wizard_work import shown_questions

    asked = [f"'{n}' does not state its pixel size; give --pixel-size-um." for n in ("a", "b", "c")]
    asked.append("'a.tif' does not say what its first axis is; give --axes, such as --axes tyx.")
    asked.append("'a' and 2 more do not state their well; give --wells with a plate map (CSV), or --wells A1 if all.")
    said = shown_questions(asked)
    assert "--" not in said
    assert said.count("pixel size") == 1
    assert "The same holds for 2 more." in said
    assert "areas and distances are in µm" in said
    assert "such as tyx" in said
    assert "first column" in said


def test_the_name_of_a_row_or_column_of_the_plate_means_its_wells() -> None:
    from qtpy.QtCore import QPointF
    from qtpy.QtWidgets import QApplication

    from kinocyte.app.plate import PlateView

    assert QApplication.instance() or QApplication([])
    plate = PlateView()
    plate.resize(300, 200)
    plate.show_wells(["A1", "A2", "B2"])
    row, column = plate.rectangle("A1").center(), plate.rectangle("A2").center()
    assert plate.line_at(QPointF(4, row.y())) == ["A1", "A2"]
    assert plate.line_at(QPointF(column.x(), 4)) == ["A2", "B2"]
    assert plate.line_at(QPointF(4, 4)) == []
    assert plate.line_at(row) == []


def test_a_track_has_the_colour_of_its_labels_and_none_is_grey() -> None:
    pytest.importorskip("napari")
    from kinocyte.app import cell_colours

    colours = cell_colours.palette()
    assert (np.ptp(colours[:, :3], axis=1) > 0.25).all()
    assert (colours[:, :3].max(axis=1) > 0.7).all()
    from napari.layers import Tracks

    ids = np.array([5, 6, 40, 63, 64])
    points = np.column_stack([np.repeat(ids, 2), np.tile([0, 1], 5), np.zeros((10, 2))]).astype(np.float64)
    tracks = Tracks(points, color_by="track_id", colormaps_dict={"track_id": cell_colours.of_tracks()})
    labels = cell_colours.of_labels().map((ids + 1).astype(np.uint32))  # as `Cells.track_labels` gives them
    np.testing.assert_allclose(tracks.track_colors[::2], labels, atol=1e-6)
    np.testing.assert_allclose(labels, colours[ids % len(colours)], atol=1e-6)
