"""Tidying removes what killed programs left, and nothing that anybody could want."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.cli import run as command_line
from kinocyte.core.errors import BusyError, StoreError
from kinocyte.experiment.records import Record
from kinocyte.experiment.storage import Storage
from kinocyte.experiment.tidying import tidy

OLD = {
    "B/2/1/.nuclei.0123abcd.partial": None,
    "B/2/1/labels/.nuclei.0123abcd.partial/0/c/0": "part of a file",
    "B/2/1/tables/nuclei_objects/.table.parquet.0123abcd.partial": "part of a file",
    "B/2/1/records/.nuclei.tracking.json.89abcdef.partial": "part of a file",
    "B/2/1/labels/.nuclei.89abcdef.old/zarr.json": "replaced folder",
    "comparisons/survival/curves.parquet": "comparison without answer",
    "runs/live/20260101T000000000000.json": "heartbeat of a run that ended",
    ".zarr.json.0123abcd.partial": "part of a file",
}
MINE = (
    "notes.txt",
    "B/2/1/labels/mask drawn by hand.tif",
    "B/2/1/tables/thesis.xlsx",
    "B/2/1/.old",
    "B/2/1/draft.partial",
    "B/2/1/labels/.hidden/0/zarr.json",
    "B/2/1/.nuclei.0123.partial",
)


def planted(fill: Any, objects: pl.DataFrame, url: str, old: bool) -> Experiment:
    """Return an experiment with results, leftovers of killed programs, and files of a person."""
    experiment = fill(url)
    position, storage = experiment.position("B2/1"), experiment.storage
    with position.write_labels("nuclei") as writer:
        for t in range(3):
            writer.write(t, np.ones((20, 30), np.uint32))
    position.write_table("nuclei_objects", objects, step="nuclei.segmentation")
    position.records.put(Record(step="segmentation", population="nuclei", fingerprint="s"))
    position.write_table("nuclei_tracks", objects.select("object_id"), step="nuclei.tracking")
    position.write_table("imported", objects)
    position.journal.append("remove_object", {"object": 1}, "nuclei")
    for path in (*OLD, *MINE):
        storage.write_bytes(path, b"x" * 100)
    if old and storage.is_local:
        age(Path(url))
    return kinocyte.open(url)


def age(folder: Path, hours: float = 3.0) -> None:
    """Make every file some hours old."""
    then = time.time() - 3600 * hours
    for place in (folder, *folder.rglob("*")):
        os.utime(place, (then, then))


def listing(url: str) -> set[str]:
    return {str(p.relative_to(url)) for p in Path(url).rglob("*") if p.is_file() and "lock" not in p.name}


def test_leftovers_go_and_everything_else_stays(tmp_path: Path, fill: Any, objects: pl.DataFrame) -> None:
    url = str(tmp_path / "e.zarr")
    experiment = planted(fill, objects, url, old=True)
    before = listing(url)
    would = tidy(experiment, dry_run=True)
    assert listing(url) == before
    done = tidy(experiment)
    assert [o.path for o in would.removed] == [o.path for o in done.removed]
    gone = before - listing(url)
    orphaned = {p for p in OLD if OLD[p] is not None or p in gone}
    assert gone == orphaned | {f"B/2/1/tables/nuclei_tracks/{n}" for n in ("zarr.json", "table.parquet")}
    kinds = {o.kind for o in done.removed}
    assert kinds == {k for k in OLD.values() if k} | {"table without record"}
    assert done.size_bytes > 100 * len(orphaned)
    position = kinocyte.open(url).position("B2/1")
    assert position.tables == ["imported", "nuclei_objects"]
    assert len(position.journal.entries()) == 1
    assert tidy(kinocyte.open(url)).removed == ()


def test_what_is_young_stays(tmp_path: Path, fill: Any, objects: pl.DataFrame) -> None:
    url = str(tmp_path / "e.zarr")
    experiment = planted(fill, objects, url, old=False)
    before = listing(url)
    done = tidy(experiment)
    assert done.removed == ()
    assert len(done.left) >= 8
    assert listing(url) == before
    age(Path(url), hours=-5.0)  # a clock that was wrong
    assert tidy(experiment).removed == ()


def test_nothing_is_removed_under_a_run_or_a_worker_that_outlived_it(
    tmp_path: Path, fill: Any, objects: pl.DataFrame
) -> None:
    from filelock import FileLock

    url = str(tmp_path / "e.zarr")
    experiment = planted(fill, objects, url, old=True)
    with experiment.lock(), pytest.raises(BusyError, match="is being written by"):
        tidy(kinocyte.open(url))
    with FileLock(tmp_path / "e.zarr/B/2/1/.lock"):
        done = tidy(experiment)
    assert {w for _, w in done.left} == {"a worker is writing to this position"}
    assert all(not o.path.startswith("B/2/1") for o in done.removed)


def test_half_an_image_in_a_bucket_goes(fill: Any, objects: pl.DataFrame) -> None:
    experiment = fill("memory://tidy/e.zarr")
    position, storage = experiment.position("B2/1"), experiment.storage

    def killed(name: str) -> None:
        with position.write_labels(name) as writer:
            writer.write(0, np.ones((20, 30), np.uint32))
            raise KeyboardInterrupt

    real, Storage.remove = Storage.remove, lambda self, path: None  # type: ignore[method-assign]  # it was killed at once
    try:
        with pytest.raises(KeyboardInterrupt):
            killed("half")
    finally:
        Storage.remove = real  # type: ignore[method-assign]
    with position.write_labels("whole") as writer:
        for t in range(3):
            writer.write(t, np.ones((20, 30), np.uint32))
    done = tidy(kinocyte.open(experiment.url), older_than_min=0.0)
    assert [(o.path, o.kind) for o in done.removed] == [("B/2/1/labels/half", "labels without record")]
    assert storage.listdir("B/2/1/labels") == ["whole", "zarr.json"]


def test_an_older_folder_is_put_back_where_the_new_one_never_came(
    tmp_path: Path, fill: Any, objects: pl.DataFrame
) -> None:
    position = fill(tmp_path / "e.zarr").position("B2/1")
    with position.write_labels("nuclei") as writer:
        for t in range(3):
            writer.write(t, np.full((20, 30), 7, np.uint32))
    labels = tmp_path / "e.zarr/B/2/1/labels"
    (labels / "nuclei").rename(labels / ".nuclei.0123abcd.old")  # and then the process was killed
    assert tidy(kinocyte.open(tmp_path / "e.zarr"), older_than_min=0.0).removed == ()
    position.sweep()
    assert position.labels("nuclei").frame(2).max() == 7


def test_the_command_says_what_and_how_much(
    tmp_path: Path, fill: Any, objects: pl.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(tmp_path / "e.zarr")
    planted(fill, objects, url, old=True)
    (tmp_path / "e.zarr/C/3/1/.importing").mkdir(parents=True)
    (tmp_path / "e.zarr/C/3/1/.importing/0000001.hash").write_text("x")
    assert command_line(["tidy", url, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"]
    assert told["unfinished_imports"] == ["C/3/1"]
    assert {o["kind"] for o in told["removed"]} >= {"replaced folder", "table without record"}
    assert command_line(["tidy", url]) == 0
    said = capsys.readouterr().out
    assert "Removed" in said
    assert "leftovers" in said
    assert "repeat the import" in said
    assert command_line(["tidy", url]) == 0
    assert "Removed: nothing." in capsys.readouterr().out


def test_stores_of_others_are_left_alone(tmp_path: Path) -> None:
    import zarr

    group = zarr.open_group(str(tmp_path / "i.zarr"), mode="w")
    group.attrs["ome"] = {"version": "0.5", "multiscales": []}
    with pytest.raises(StoreError, match="made by another program"):
        tidy(kinocyte.open(tmp_path / "i.zarr"))


def test_staging_is_beside_its_target_so_that_no_rename_crosses_folders(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    for target in ("B/2/1/labels/nuclei", "B/2/1/corrected", "top"):
        staged = storage.staging(target)
        assert staged.rpartition("/")[0] == target.rpartition("/")[0]
        (tmp_path / staged).mkdir(parents=True)
        renamed: list[tuple[Path, Path]] = []
        with pytest.MonkeyPatch.context() as patch:
            real = Path.rename
            patch.setattr(Path, "rename", lambda a, b, real=real, seen=renamed: (seen.append((a, b)), real(a, b))[1])
            storage.publish(staged, target)
        assert renamed
        assert all(a.parent == Path(b).parent for a, b in renamed)
