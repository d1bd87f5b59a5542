"""Sweeps: what wins is right by a truth known beforehand, trials are cached, resumed and the same for any workers."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from kinocyte import Experiment
from kinocyte.core.errors import InputFileError, ParameterError, StoreError, TableError
from kinocyte.evaluation.movies import LabelMovie, ObjectMovie
from kinocyte.evaluation.tracking import score_tracking
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import load_pipeline, parse_pipeline
from kinocyte.pipeline.run import run
from kinocyte.pipeline.sweep import Axis, parse_axis, sweep, truth_at
from kinocyte.pipeline.sweep import stages as stages_module
from kinocyte.pipeline.sweep.search import Proposals
from kinocyte.pipeline.sweep.sifted import mended
from kinocyte.pipeline.sweep.toml_text import split_key, value_at, with_values
from kinocyte.tracking import LAP
from kinocyte.tracking.mending import Mending

FRAMES, SIZE, STEP_PX = 6, 96, 7
DISTANCE = "population.nuclei.tracking.max_distance_um"
THRESHOLD = "population.nuclei.segmentation.low"
TEXT = """\
# how the lab does it
name = "blobs"
[population.nuclei.segmentation]  # bright nuclei
method = "threshold"
channel = "dna"
threshold = "fixed"
low = 300.0  # by eye
[population.nuclei.tracking]
method = "lap"
max_distance_um = 1.0  # a guess
"""


def centres() -> NDArray[np.float64]:
    """Return (t, n, 2) of four cells that move 7 px (3.5 um) a frame, those of the two rows against each other."""
    start = np.array([[20.0, 15], [20, 45], [60, 81], [60, 51]])
    return np.stack([start + t * np.array([[0, STEP_PX]] * 2 + [[0, -STEP_PX]] * 2) for t in range(FRAMES)])


def movie() -> NDArray[np.uint16]:
    """Return (t, y, x) of bright cells and one dim speck a frame that a low threshold takes for a cell."""
    y, x = np.mgrid[:SIZE, :SIZE]
    out = np.full((FRAMES, SIZE, SIZE), 100.0)
    for t, places in enumerate(centres()):
        for cy, cx in places:
            out[t] += 900 * (np.hypot(y - cy, x - cx) < 5)
        out[t] += 60 * (np.hypot(y - 86, x - 12 - 14 * (t % 3)) < 4)
    return out.astype(np.uint16)


def masks() -> NDArray[np.uint16]:
    y, x = np.mgrid[:SIZE, :SIZE]
    out = np.zeros((FRAMES, SIZE, SIZE), np.uint16)
    for t, places in enumerate(centres()):
        for label, (cy, cx) in enumerate(places, start=1):
            out[t][np.hypot(y - cy, x - cx) < 5] = label
    return out


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """Return the truth as a folder of the Cell Tracking Challenge."""
    folder = tmp_path / "01_GT" / "TRA"
    folder.mkdir(parents=True)
    for t, image in enumerate(masks()):
        tifffile.imwrite(folder / f"man_track{t:03d}.tif", image, photometric="minisblack")
    (folder / "man_track.txt").write_text("".join(f"{n} 0 {FRAMES - 1} 0\n" for n in range(1, 5)))
    return folder.parent


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    """Return two annotated tracks."""
    rows = [
        (n, t, x * 0.5, y * 0.5) for n in (0, 2) for t, (y, x) in enumerate(centres()[:, n].tolist())
    ]  # fmt: skip
    path = tmp_path / "some.csv"
    pl.DataFrame(rows, schema=["track", "frame", "x_um", "y_um"], orient="row").write_csv(path)
    return path


@pytest.fixture
def experiment(make_experiment: Callable[..., Experiment]) -> Experiment:
    """Return one position, 0.5 um a pixel."""
    return make_experiment({"A1": movie()})


@pytest.fixture
def pipeline_file(tmp_path: Path) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(TEXT)
    return path


def test_the_best_is_what_the_truth_demands(
    experiment: Experiment, pipeline_file: Path, challenge: Path, tmp_path: Path
) -> None:
    before = sorted(p.as_posix() for p in Path(experiment.url).rglob("*"))
    over = [f"{DISTANCE}=1,5,200", f"{THRESHOLD}=120,300,2000"]
    result = sweep(pipeline_file, experiment, over, truth=challenge, out=tmp_path / "s", workers=0)
    assert len(result.trials) == 9
    assert result.complete
    assert result.metric == "TRA", "detection is varied, so detection counts"
    assert result.best is not None
    assert result.best.settings == {DISTANCE: 5, THRESHOLD: 300}
    assert result.best.scores["TRA"] == result.best.scores["LNK"] == result.best.scores["DET"] == 1
    table = pl.read_csv(tmp_path / "s" / "trials.csv")
    by = {(r[DISTANCE], r[THRESHOLD]): r for r in table.to_dicts()}
    assert by[1, 300]["LNK"] == 0, "nothing moves less than 3.5 um"
    assert by[5, 120]["DET"] < 1, "the speck counts as a cell"
    assert by[5, 2000]["DET"] == 0, "nothing is that bright"
    assert sorted(p.as_posix() for p in Path(experiment.url).rglob("*")) == before, "the experiment was only read"
    assert not list(tmp_path.glob(".s.scratch")), "the scratch goes when all is done"
    best = pl.read_csv(tmp_path / "s" / "best.csv")
    assert best.filter(pl.col("metric") == "AOGM")["better"].to_list() == ["lower"]
    assert best.filter(pl.col("metric") == "AOGM")["value"].to_list() == [0]
    with Image.open(tmp_path / "s" / "map_max_distance_um_low.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 5, "something is drawn"
    assert (tmp_path / "s" / "map_max_distance_um_low.svg").read_text().count("<path") > 5


def test_the_winner_loads_keeps_comments_and_gives_the_same_score_in_a_run(
    experiment: Experiment, pipeline_file: Path, challenge: Path, tmp_path: Path
) -> None:
    over = [f"{DISTANCE}=2,4", f"{THRESHOLD}=120,300"]
    result = sweep(pipeline_file, experiment, over, truth=challenge, out=tmp_path / "s", workers=0, metric="LNK")
    winner = tmp_path / "s" / "winner.toml"
    text = winner.read_text()
    for comment in ("# how the lab does it", "# bright nuclei", "# by eye", "# a guess"):
        assert comment in text
    loaded = load_pipeline(winner)
    assert run(loaded, experiment, where=Workers(workers=0)).ok
    position = experiment.position("A1/1")
    truth = LabelMovie(masks(), np.array([[n, 0, FRAMES - 1, 0] for n in range(1, 5)]))
    found = ObjectMovie(position.objects("nuclei"), position.links("nuclei"), position.labels("nuclei").frame, FRAMES)
    assert result.best is not None
    scores = score_tracking(truth, found).as_dict()
    for name in ("TRA", "LNK", "DET", "HOTA", "CT", "AOGM"):
        assert scores[name] == result.best.scores[name], name


def test_a_few_annotated_tracks_suffice(
    experiment: Experiment, pipeline_file: Path, annotated: Path, tmp_path: Path
) -> None:
    over = [f"{DISTANCE}=1,5"]
    result = sweep(pipeline_file, experiment, over, truth=annotated, out=tmp_path / "s", workers=0)
    assert result.metric == "LNK"
    assert result.best is not None
    assert result.best.settings == {DISTANCE: 5}
    assert result.best.scores["TRA"] == 1, "cells that are not annotated are not held against it"
    full = sweep(pipeline_file, experiment, over, truth=annotated, partial=False, out=tmp_path / "f", workers=0)
    assert full.best is not None
    assert full.best.scores["TRA"] is not None
    assert full.best.scores["TRA"] < 1
    near = sweep(pipeline_file, experiment, over, truth=annotated, match_distance_um=1, out=tmp_path / "n", workers=0)
    assert near.best is not None
    assert near.best.scores["LNK"] == 1


def test_annotated_divisions_are_links(tmp_path: Path, experiment: Experiment, pipeline_file: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("track,frame,x_um,y_um,parent\n1,0,7.5,10,\n2,1,11,10,1\n3,1,26,10,1\n")
    over = [f"{DISTANCE}=5", "population.nuclei.tracking.splitting_max_distance_um=none,60"]
    result = sweep(pipeline_file, experiment, over, truth=path, out=tmp_path / "s", workers=0)
    assert [t.scores["BC(0)"] is not None for t in result.trials] == [True, True], "the truth has a division"
    path.write_text("track,frame,x_um,y_um,parent\n1,0,7.5,10,9\n")
    with pytest.raises(TableError, match="names the parent 9"):
        sweep(pipeline_file, experiment, over, truth=path, out=tmp_path / "x", workers=0)


def test_label_images_judge_the_segmentation(experiment: Experiment, pipeline_file: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "masks.tif", masks(), photometric="minisblack", metadata={"axes": "TYX"})
    folder = tmp_path / "few"
    folder.mkdir()
    tifffile.imwrite(folder / "frame3.tif", masks()[3], photometric="minisblack")
    for n, truth in enumerate((tmp_path / "masks.tif", folder)):
        over = [f"{THRESHOLD}=120,300"]
        result = sweep(pipeline_file, experiment, over, truth=truth, out=tmp_path / f"s{n}", workers=0)
        assert result.metric == "seg_ap"
        assert result.best is not None
        assert result.best.settings == {THRESHOLD: 300}
        assert result.as_good() == {}
        assert result.best.scores["seg_f1"] == 1
        worse = result.trials[0].scores["seg_f1"]
        assert worse is not None
        assert worse < 1, "the speck is spurious"


def test_what_the_score_does_not_choose_is_said(experiment: Experiment, pipeline_file: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "masks.tif", masks(), photometric="minisblack", metadata={"axes": "TYX"})
    over = [f"{THRESHOLD}=120,300", f"{DISTANCE}=1,5"]
    result = sweep(pipeline_file, experiment, over, truth=tmp_path / "masks.tif", out=tmp_path / "s", workers=0)
    assert result.as_good() == {DISTANCE: [5]}


def test_links_between_known_objects(experiment: Experiment, pipeline_file: Path, tmp_path: Path) -> None:
    assert run(parse_pipeline(TEXT.replace("= 1.0", "= 5.0")), experiment, where=Workers(workers=0)).ok
    links = tmp_path / "links.csv"
    experiment.position("A1/1").links("nuclei").write_csv(links)
    result = sweep(pipeline_file, experiment, [f"{DISTANCE}=1,5"], truth=links, out=tmp_path / "s", workers=0)
    assert [t.scores["LNK"] for t in result.trials] == [0, 1]
    with pytest.raises(ParameterError, match=r"names objects by number, but .*low' changes"):
        sweep(pipeline_file, experiment, [f"{THRESHOLD}=1,5"], truth=links, out=tmp_path / "x")


def test_without_truth_scores_say_that_they_are_no_accuracy(
    experiment: Experiment, pipeline_file: Path, tmp_path: Path
) -> None:
    result = sweep(pipeline_file, experiment, [f"{DISTANCE}=1,5"], out=tmp_path / "s", workers=0)
    assert all(m.startswith("consistency") for m in result.metrics)
    assert result.best is not None
    assert result.best.settings == {DISTANCE: 5}, "no links at all are no consistency"
    assert result.best.scores["consistency_linked_share"] == 1
    assert result.trials[0].scores["consistency_linked_share"] == 0
    assert "no accuracy" in (tmp_path / "s" / "winner.toml").read_text().splitlines()[0]


def test_imported_labels_need_no_segmentation(
    experiment: Experiment, pipeline_file: Path, challenge: Path, tmp_path: Path
) -> None:
    with experiment.lock(), experiment.position("A1/1").write_labels("nuclei") as writer:
        for t, image in enumerate(masks()):
            writer.write(t, image)
    pipeline_file.write_text('[population.nuclei.tracking]\nmethod = "lap"\n')
    result = sweep(pipeline_file, experiment, [f"{DISTANCE}=1,5"], truth=challenge, out=tmp_path / "s", workers=0)
    assert result.best is not None
    assert result.best.settings == {DISTANCE: 5}
    assert result.best.scores["TRA"] == 1


def test_cells_are_found_once(
    experiment: Experiment, pipeline_file: Path, challenge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    real = stages_module.run

    def counted(pipeline: object, *args: object, **options: object) -> object:
        runs.append(pipeline)
        return real(pipeline, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(stages_module, "run", counted)
    over = [f"{DISTANCE}=1,2,3,4,5", f"{THRESHOLD}=120,300"]
    out = tmp_path / "s"
    sweep(pipeline_file, experiment, over, truth=challenge, out=out, workers=0, keep_scratch=True)
    assert len(runs) == 2, "one detection a threshold"
    sweep(pipeline_file, experiment, [*over[:1], f"{THRESHOLD}=120,300,400"], truth=challenge, out=out, workers=0)
    assert len(runs) == 3, "a value more needs one detection more"
    sweep(pipeline_file, experiment, over, truth=challenge, out=out, workers=0)
    assert len(runs) == 3, "nothing is left to do"
    assert len((out / "trials.jsonl").read_text().splitlines()) == 15


def test_corrected_movies_are_made_once_and_used(
    experiment: Experiment, pipeline_file: Path, challenge: Path, tmp_path: Path
) -> None:
    pipeline_file.write_text(f"{TEXT}\n[restoration.smooth]\nmethod = 'median'\nchannel = 'dna'\n")
    over = [f"{DISTANCE}=5", f"{THRESHOLD}=200,300"]
    out = tmp_path / "s"
    result = sweep(pipeline_file, experiment, over, truth=challenge, out=out, workers=0, keep_scratch=True)
    assert [t.error for t in result.trials] == ["", ""]
    assert [t.scores["TRA"] for t in result.trials] == [1, 1]
    names = [p.name for p in (tmp_path / ".s.scratch").glob("*.zarr")]
    assert sorted(n.partition("-")[0] for n in names) == ["cells", "cells", "moved"]


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same(
    experiment: Experiment, pipeline_file: Path, challenge: Path, tmp_path: Path
) -> None:
    over = [f"{DISTANCE}=0.5..20 log", f"{THRESHOLD}=120,300"]
    found = []
    for workers in (0, 2):
        out = tmp_path / f"w{workers}"
        result = sweep(
            pipeline_file, experiment, over, truth=challenge, out=out, search="bayes", trials=14, workers=workers
        )
        found.append([(dict(t.settings), dict(t.scores)) for t in result.trials])
    assert found[0] == found[1]
    assert len(found[0]) == 14


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_the_workers_of_a_dask_scheduler_give_the_same(
    experiment: Experiment, pipeline_file: Path, challenge: Path, tmp_path: Path
) -> None:
    from distributed import LocalCluster

    over = [f"{DISTANCE}=1,5,50", f"{THRESHOLD}=120,300"]
    here = sweep(pipeline_file, experiment, over, truth=challenge, out=tmp_path / "here", workers=0)
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, host="127.0.0.1", protocol="tcp://", dashboard_address=None
    ) as cluster:
        where = Workers(scheduler=cluster.scheduler_address)
        there = sweep(pipeline_file, experiment, over, truth=challenge, out=tmp_path / "there", where=where)
        again = sweep(pipeline_file, experiment, [*over[:1], f"{THRESHOLD}=120,300,400"], truth=challenge,
                      out=tmp_path / "there", where=where)  # fmt: skip
    columns = [c for c in here.table().columns if not c.endswith("_s")]
    assert there.table().select(columns).equals(here.table().select(columns))
    assert len(again.trials) == 9
    assert len((tmp_path / "there" / "trials.jsonl").read_text().splitlines()) == 9, "what was done was not done again"


def test_tracks_are_mended_before_they_are_scored(experiment: Experiment, challenge: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    mending = '[[population.nuclei.mending]]\nmethod = "rules"\nextend_to_last_frame = true\n'
    path.write_text(TEXT.replace("low = 300.0", "low = 120.0").replace("= 1.0  # a", "= 5.0  # a") + mending)
    over = ["population.nuclei.mending.0.min_frames=none,3"]
    result = sweep(path, experiment, over, truth=challenge, out=tmp_path / "s", workers=0)
    whole, mended = (t.scores["DET"] for t in result.trials)
    assert whole is not None
    assert whole < 1, "the speck counts"
    assert mended == 1, "it is followed nowhere, and what was put in is not scored"


def test_links_over_what_mending_put_in_are_links_over_a_gap() -> None:
    xy = {"x_um": [0.0, 0.0, 0.0], "y_um": [0.0, 0.0, 0.0]}
    objects = pl.DataFrame({"object_id": [1, 2, 3], "frame": [0, 3, 4], "label": [1, 1, 1], **xy}).with_columns(
        pl.col("frame").cast(pl.Int32)
    )
    links = LAP(max_distance_um=5, max_frame_gap=3).link(objects)
    kept, bridged, _ = mended(objects, links, None, [Mending(interpolate_gaps=True)])
    assert kept["object_id"].to_list() == [1, 2, 3]
    assert bridged.select("source_id", "target_id", "frame_gap").rows() == [(1, 2, 3), (2, 3, 1)]


def test_filters_are_varied_without_finding_the_cells_again(
    experiment: Experiment, challenge: Path, tmp_path: Path
) -> None:
    path = tmp_path / "f.toml"
    rules = (
        '[[population.nuclei.filter]]\nfeature = "area_um2"\nmin = 0.0\n'
        '[[population.nuclei.track_filter]]\nfeature = "n_objects"\nmin = 1\n'
    )
    path.write_text(TEXT.replace("low = 300.0", "low = 120.0").replace("= 1.0  # a", "= 5.0  # a") + rules)
    over = ["population.nuclei.filter.0.min=0,16", "population.nuclei.track_filter.0.min=1,3"]
    result = sweep(path, experiment, over, truth=challenge, out=tmp_path / "s", workers=0, keep_scratch=True)
    scores = {tuple(t.settings.values()): t.scores["DET"] for t in result.trials}
    assert scores[0, 1] is not None
    assert scores[0, 1] < 1, "the speck counts"
    assert scores[16, 1] == scores[0, 3] == 1, "it is small, and followed nowhere"
    assert len(list((tmp_path / ".s.scratch").glob("cells-*.zarr"))) == 1
    assert run(load_pipeline(tmp_path / "s" / "winner.toml"), experiment, where=Workers(workers=0)).ok


def test_a_killed_sweep_goes_on(experiment: Experiment, pipeline_file: Path, challenge: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    command = [
        sys.executable, "-m", "kinocyte.cli", "sweep", str(pipeline_file), experiment.url, "--truth", str(challenge),
        "--over", f"{DISTANCE}=0.1..20:300", "--out", str(out), "--workers", "0",
    ]  # fmt: skip
    log = out / "trials.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        begin = time.monotonic()
        while time.monotonic() - begin < 60 and (not log.exists() or log.read_bytes().count(b"\n") < 3):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    early = log.read_bytes()
    assert 3 <= early.count(b"\n") < 300
    log.write_bytes(early + b'{"settings": {"popul')  # the line that was being written
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert log.read_bytes().startswith(early), "what was done was not done again"
    keys = [json.loads(line)["key"] for line in log.read_text().splitlines() if line.endswith("}")]
    assert len(keys) == len(set(keys)) == 300
    assert pl.read_csv(out / "trials.csv").height == 300


def test_time_that_is_up_leaves_a_sweep_that_goes_on(
    experiment: Experiment, pipeline_file: Path, challenge: Path, tmp_path: Path
) -> None:
    over, out = [f"{DISTANCE}=1,2,5"], tmp_path / "s"
    first = sweep(pipeline_file, experiment, over, truth=challenge, out=out, workers=0, minutes=1e-9)
    assert not first.complete
    assert first.best is None
    assert (tmp_path / ".s.scratch").is_dir()
    again = sweep(pipeline_file, experiment, over, truth=challenge, out=out, workers=0)
    assert again.complete
    assert len(again.trials) == 3


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ("population.nuclei.tracking.max_distance=1", "did you mean 'max_distance_um'"),
        ("population.nuclei.tracking.max_distance_um=5,-3", "refused"),
        ("population.nuclei.tracking.method=lapp", "did you mean 'lap'"),
        ("population.nucleus.tracking.max_distance_um=5", "did you mean 'nuclei'"),
        ("population.nuclei.traking.max_distance_um=5", "did you mean 'tracking'"),
        ("population.nuclei.event.0.when=5", "do not change what is scored"),
        ("name=a,b", "does not change what is scored"),
        ("population.nuclei.tracking.max_distance_um", "is not KEY=VALUES"),
        ("population.nuclei.tracking.max_distance_um=9..2", "LOW < HIGH"),
        ("population.nuclei.tracking.max_distance_um=0..2 log", "0 < LOW"),
        ("population.nuclei.tracking.max_distance_um=1..2", "A grid needs values"),
        ("population.nuclei.tracking.max_distance_um=1..2:1", "2 to 1000 steps"),
        ("population.nuclei.tracking.max_distance_um=[1, 2", "no TOML array"),
    ],
)
def test_wrong_axes_are_refused_before_anything_is_written(
    experiment: Experiment, pipeline_file: Path, tmp_path: Path, over: str, said: str
) -> None:
    with pytest.raises(ParameterError, match=said):
        sweep(pipeline_file, experiment, [over], out=tmp_path / "s")
    assert not (tmp_path / "s").exists()
    assert not list(tmp_path.glob(".s.*"))


def test_wrong_truths_are_refused(experiment: Experiment, pipeline_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="does not exist"):
        truth_at(tmp_path / "no")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match="has the columns a, b"):
        truth_at(tmp_path / "t.csv")
    (tmp_path / "late.csv").write_text("track,frame,x_um,y_um\n1,99,1,1\n")
    with pytest.raises(TableError, match="has the frame 99, but the movie has 6"):
        sweep(pipeline_file, experiment, [f"{DISTANCE}=1"], truth=tmp_path / "late.csv", out=tmp_path / "s")
    (tmp_path / "TRA").mkdir()
    tifffile.imwrite(tmp_path / "TRA" / "man_track000.tif", masks()[0], photometric="minisblack")
    (tmp_path / "TRA" / "man_track.txt").write_text("1 0 0 0\n")
    with pytest.raises(ParameterError, match="has 1 frames of 96 x 96 pixels and the movie 6 frames"):
        sweep(pipeline_file, experiment, [f"{DISTANCE}=1"], truth=tmp_path / "TRA", out=tmp_path / "s")
    with pytest.raises(ParameterError, match="did you mean 'LNK'"):
        sweep(pipeline_file, experiment, [f"{DISTANCE}=1"], out=tmp_path / "m", workers=0, metric="LNKK",
              truth=_write(tmp_path / "ok.csv", "track,frame,x_um,y_um\n1,0,7.5,10\n1,1,11,10\n"))  # fmt: skip


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_foreign_folders_and_other_sweeps_are_left_alone(
    experiment: Experiment, pipeline_file: Path, challenge: Path, annotated: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="not of a sweep"):
        sweep(pipeline_file, experiment, [f"{DISTANCE}=1"], truth=challenge, out=mine)
    assert [p.name for p in mine.iterdir()] == ["thesis.txt"]
    out = tmp_path / "s"
    sweep(pipeline_file, experiment, [f"{DISTANCE}=1"], truth=challenge, out=out, workers=0)
    with pytest.raises(StoreError, match="a sweep with another truth"):
        sweep(pipeline_file, experiment, [f"{DISTANCE}=1"], truth=annotated, out=out)


# ---------------------------------------------------------------- search
def _peak(point: dict[str, float]) -> float:
    """Return Branin's function with its sign turned: three peaks of -0.397887."""
    x, y = point["x"], point["y"]
    a = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return -(a**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


def _found(search: str, seed: int, trials: int) -> float:
    axes = [Axis("x", (), -5.0, 10.0), Axis("y", (), 0.0, 15.0)]
    proposals = Proposals(axes, search, trials, seed)  # type: ignore[arg-type]
    done: list[tuple[dict[str, float], float]] = []
    while proposed := proposals.next_round(done):
        done += [(p, _peak(p)) for p in proposed]
    assert len(done) == trials
    return max(v for _, v in done)


def test_bayesian_search_beats_chance_on_branin() -> None:
    seeds = range(12)
    bayes, random = ([_found(s, n, 60) for n in seeds] for s in ("bayes", "random"))
    assert np.median(bayes) > np.median(random)
    assert np.median(bayes) > -0.397887 - 0.25
    assert _found("bayes", 3, 30) == _found("bayes", 3, 30), "the same seed proposes the same"


def test_a_small_space_is_searched_once_and_ends() -> None:
    for search in ("grid", "random", "bayes"):
        proposals = Proposals([Axis("a", (1, 2, 3)), Axis("b", ("u", None))], search, 1000, 1)  # type: ignore[arg-type]
        done: list[tuple[dict[str, object], float]] = []
        while proposed := proposals.next_round(done):
            done += [(p, float(p["a"])) for p in proposed]  # type: ignore[arg-type]
        assert proposals.total == 6
        assert {(p["a"], p["b"]) for p, _ in done} == set(itertools.product((1, 2, 3), ("u", None)))


# ---------------------------------------------------------------- words and text
@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("k=1,2.5,true,none,otsu", Axis("k", (1, 2.5, True, None, "otsu"))),
        ("a.b=0..10:3", Axis("a.b", (0, 5, 10))),
        ("k=0..1:3", Axis("k", (0.0, 0.5, 1.0))),
        ("k=1..100:3 log", Axis("k", (1, 10, 100))),
        ("k=1..3", Axis("k", (), 1.0, 3.0, whole=True)),
        ("k=0.5..3 log", Axis("k", (), 0.5, 3.0, log=True)),
        ('k=[["a", "b"], "c"]', Axis("k", (["a", "b"], "c"))),
    ],
)
def test_axes_in_words(text: str, axis: Axis) -> None:
    assert parse_axis(text) == axis


VALUES = st.one_of(
    st.integers(-99, 99), st.floats(-1e6, 1e6), st.booleans(), st.text(max_size=9).filter(str.isprintable)
)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.sampled_from(["a.b.x", "a.b.new", "a.list.0.k", "a.fresh.y", "top", "a.d.e", "a.d.f"]))
def test_a_value_put_in_is_there_and_nothing_else_changes(value: object, key: str) -> None:
    text = '# head\ntop = 1 # t\n[a]\nd.e = 3 # "dotted"\n[a.b] # table\nx = "a # b" # why\nz = [1, 2]\n'
    text += "[[a.list]]\nk = 1\n"
    before, after = tomllib.loads(text), tomllib.loads(with_values(text, {key: value}))
    assert value_at(after, split_key(key)) == value
    gone = tomllib.loads(with_values(with_values(text, {key: value}), {key: None}))
    assert value_at(gone, split_key(key)) is None
    for other in ("a.b.x", "a.list.0.k", "top", "a.d.e", "a.b.z"):
        if other != key:
            assert value_at(after, split_key(other)) == value_at(before, split_key(other))
    for comment in ("# head", "# t", "# table", "# why", '# "dotted"'):
        assert comment in with_values(text, {key: value})


def test_a_key_in_an_inline_table_is_refused() -> None:
    with pytest.raises(ParameterError, match="cannot be changed line by line"):
        with_values("measure = [{ method = 'shape' }]\n", {"measure.0.method": "intensity"})
