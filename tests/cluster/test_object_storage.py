"""An experiment in a bucket, or behind a web server, is the same experiment, whatever the network does."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment, Scale
from kinocyte.cli import run as command_line
from kinocyte.core.errors import StoreError
from kinocyte.experiment import patience
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from kinocyte.pipeline.status import status
from tests.cluster.servers import Faults, s3_server, web_server
from tests.pipeline.conftest import PIPELINE, blobs
from tests.pipeline.test_run import assert_same, results

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
ASKED = PIPELINE + '\n[[comparison]]\nmethod = "values"\nvalue = "mean_speed_um_per_min"\nby = "dose"\n'


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def bucket(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of a bucket that is reached as people reach theirs: by the environment."""
    pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    with s3_server(faults) as address:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # what botocore would try again is left to us
        monkeypatch.setattr(patience, "PAUSES_S", (0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
        s3fs.S3FileSystem.clear_instance_cache()
        name = f"bucket-{uuid.uuid4().hex[:8]}"
        s3fs.S3FileSystem().mkdir(name)
        yield f"s3://{name}"
        s3fs.S3FileSystem.clear_instance_cache()


def fill(url: str, wells: tuple[str, ...] = ("A1", "A2", "A3", "A4")) -> Experiment:
    """Make an experiment of small movies, half of them with a dose."""
    experiment = kinocyte.create(url)
    for n, well in enumerate(wells):
        movie = blobs(4, n)
        writer = experiment.new_position(
            well=well,
            field="1",
            shape=(4, 1, 1, *movie.shape[1:]),
            dtype=movie.dtype,
            channels=["dna"],
            scale=Scale(y_um=0.5, x_um=0.5, frame_interval_min=2.0),
        )
        for t, frame in enumerate(movie):
            writer.write(t, frame[None])
        writer.finish()
    dose = [float(n % 2) for n in range(len(wells))]
    experiment.set_conditions(
        pl.DataFrame({"well": wells, "dose": dose, "replicate": [n // 2 for n in range(len(wells))]})
    )
    return kinocyte.open(url)


@pytest.mark.slow
def test_a_bucket_gives_what_a_disk_gives_while_the_server_fails_now_and_then(
    tmp_path: Path, bucket: str, faults: Faults
) -> None:
    asked = parse_pipeline(ASKED)
    disk, remote = fill(str(tmp_path / "e.zarr")), fill(f"{bucket}/e.zarr")
    assert run(asked, disk, where=Workers(workers=0)).ok
    faults.share = 0.15
    done = run(asked, remote, where=Workers(workers=0))
    assert done.ok, [o.message for o in done.failed]
    assert faults.injected > 20
    faults.share = 0.0
    assert_same(results(disk), results(remote))
    answers = [e.comparisons()[0] for e in (kinocyte.open(disk.url), kinocyte.open(remote.url))]
    assert answers[0].frames.keys() == answers[1].frames.keys()
    for name, frame in answers[0].frames.items():
        assert frame.equals(answers[1].frames[name]), name
    state = status(kinocyte.open(remote.url))
    assert state.counts == {"done": 12}
    assert state.run_state == "finished"
    assert {o.status for o in run(asked, remote).outcomes} == {"kept"}


def test_a_server_that_stays_away_is_named_and_nothing_is_half(bucket: str, faults: Faults) -> None:
    remote = fill(f"{bucket}/e.zarr", ("A1",))
    faults.share = 1.0
    with pytest.raises(StoreError, match=r"s3://bucket-\w+/e.zarr.* does not answer .*run the same command again"):
        remote.position("A1/1").write_table("nuclei_objects", pl.DataFrame({"object_id": [1]}))
    faults.share = 0.0
    assert "nuclei_objects" not in kinocyte.open(remote.url).position("A1/1").tables


def test_an_entry_whose_answer_was_lost_is_there_once(bucket: str, faults: Faults) -> None:
    position = fill(f"{bucket}/e.zarr", ("A1",)).position("A1/1")
    faults.share = 0.1
    for n in range(12):
        position.journal.append("remove_object", {"n": n}, "nuclei")
    faults.share = 0.0
    entries = kinocyte.open(f"{bucket}/e.zarr").position("A1/1").journal.entries()
    assert [e.payload["n"] for e in entries] == list(range(12))
    assert len({e.number for e in entries}) == 12


def test_what_is_refused_for_good_is_asked_once(bucket: str, faults: Faults) -> None:
    storage = Storage(f"{bucket}/e.zarr")
    faults.requests = 0
    assert storage.read_bytes("nothing.json") is None
    assert faults.requests <= 3, faults.methods
    with pytest.raises(StoreError, match=r"No permission|does not answer|There is no"):
        kinocyte.open("s3://no-such-bucket/e.zarr")


@pytest.mark.parametrize("lists", [True, False])
def test_ome_zarr_is_read_straight_from_a_web_server(tmp_path: Path, faults: Faults, lists: bool) -> None:
    pytest.importorskip("aiohttp")
    disk = fill(str(tmp_path / "e.zarr"), ("A1", "A2"))
    assert run(parse_pipeline(PIPELINE), disk, where=Workers(workers=0)).ok
    with web_server(tmp_path, faults, lists=lists) as address:
        faults.share = 0.1
        remote = kinocyte.open(f"{address}/e.zarr")
        assert list(remote.positions) == ["A1/1", "A2/1"]
        position = remote.position("A2/1")
        here = disk.position("A2/1")
        np.testing.assert_array_equal(position.image().frame(3, "dna"), here.image().frame(3, "dna"))
        np.testing.assert_array_equal(position.labels("nuclei").frame(2), here.labels("nuclei").frame(2))
        if lists:  # without lists nobody can tell which records there are
            assert position.objects("nuclei").equals(here.objects("nuclei"))
        with pytest.raises(StoreError, match=r"can only be read; .*kinocyte import --link"):
            run(parse_pipeline(PIPELINE), remote)
        with pytest.raises(StoreError, match="There is no experiment at"):
            kinocyte.open(f"{address}/other.zarr")


def test_pixels_of_a_web_server_are_linked_and_analysed(
    tmp_path: Path, faults: Faults, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("aiohttp")
    (tmp_path / "far").mkdir()
    far = fill(str(tmp_path / "far/plate.zarr"), ("A1", "A2"))
    assert run(parse_pipeline(PIPELINE), far, where=Workers(workers=0)).ok
    with web_server(tmp_path / "far", faults, lists=False) as address:
        mine = str(tmp_path / "mine.zarr")
        assert command_line(["import", "--link", "--no-labels", f"{address}/plate.zarr", mine]) == 0, (
            capsys.readouterr()
        )
        opened = kinocyte.open(mine)
        assert all(p.is_linked for p in opened.positions.values())
        assert run(parse_pipeline(PIPELINE), opened, where=Workers(workers=0)).ok
        ours, theirs = results(opened), results(far)
        assert_same(
            {k: v for k, v in ours.items() if "nuclei" in k}, {k: v for k, v in theirs.items() if "nuclei" in k}
        )


@pytest.mark.parametrize(("url", "module"), [("https://127.0.0.1:9/e.zarr", "aiohttp"), ("s3://bucket/e.zarr", "s3fs")])
def test_a_missing_package_is_one_sentence(url: str, module: str) -> None:
    program = f"import sys; sys.modules['{module}'] = None\nfrom kinocyte.cli import main\nmain(['status', '{url}'])\n"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 2
    assert said.stderr.count("\n") == 1, said.stderr
    assert "pip install 'kinocyte[cluster]'" in said.stderr


def test_secrets_of_a_bucket_are_nowhere_in_what_a_run_leaves(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = {"key": "AKIAHUNTER", "secret": "hunter2hunter2"}
    fill(f"{bucket}/e.zarr", ("A1",))
    opened = kinocyte.open(f"{bucket}/e.zarr", storage_options=secret)
    assert run(parse_pipeline(PIPELINE), opened, where=Workers(workers=0)).ok
    storage = Storage(f"{bucket}/e.zarr")
    names = [f"runs/{n}" for n in storage.listdir("runs") if n.endswith(".json")]
    names += [f"A/1/1/records/{n}" for n in storage.listdir("A/1/1/records")]
    assert len(names) == 4
    for name in names:
        text = (storage.read_bytes(name) or b"").decode()
        assert json.loads(text)
        assert "hunter2" not in text
        assert "AKIAHUNTER" not in text


def _count(experiment: Experiment, ask: Callable[[Any], Any]) -> dict[str, int]:
    """Return how often each file is asked for."""
    asked: dict[str, int] = {}
    position = experiment.position("A1/1")
    real, listed = Storage.read_bytes, Storage.listdir

    def read(self: Storage, path: str) -> bytes | None:
        asked[path] = asked.get(path, 0) + 1
        return real(self, path)

    def listdir(self: Storage, path: str = "") -> list[str]:
        asked[f"{path}/"] = asked.get(f"{path}/", 0) + 1
        return listed(self, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "read_bytes", read)
        patch.setattr(Storage, "listdir", listdir)
        ask(position)
    return asked


def test_reading_the_objects_asks_for_every_file_once() -> None:
    experiment = fill("memory://counted/e.zarr", ("A1",))
    assert run(parse_pipeline(PIPELINE), experiment, where=Workers(workers=0)).ok
    asked = _count(kinocyte.open(experiment.url), lambda p: p.objects("nuclei"))
    assert set(asked.values()) == {1}, asked
    # tables, two lists, three records, and a group and rows of objects, features and members
    assert sum(asked.values()) <= 13, asked
    asked = _count(kinocyte.open(experiment.url), lambda p: p.tracks("nuclei"))
    assert max(asked.values()) == 1, asked
