"""A shared installation: who may give us work, what of a foreign store is run, where keys can be read."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - to see that nothing of the kind is read
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kinocyte
from kinocyte import Experiment, Scale
from kinocyte.core.errors import KinocyteError
from kinocyte.pipeline.execute import Watch, Workers
from kinocyte.pipeline.parse import load_pipeline
from kinocyte.pipeline.run import run
from kinocyte.pipeline.workers.clusters import local_cluster
from tests.pipeline.conftest import blobs

SECRET = "hunter2-of-the-store"


def test_workers_of_this_machine_listen_on_loopback_and_want_our_certificate() -> None:
    psutil = pytest.importorskip("psutil")
    pytest.importorskip("cryptography")
    told: dict[str, str] = {}
    me = psutil.Process()
    before = {c.laddr for c in me.net_connections("inet") if c.status == "LISTEN"}
    with local_cluster(1, 2_000_000_000, Watch(place=told.update)) as client:
        assert client.submit(sum, (1, 2)).result() == 3
        ours = [me, *me.children(recursive=True)]
        open_ = {c.laddr for p in ours for c in p.net_connections("inet") if c.status == "LISTEN"} - before
        assert len(open_) >= 3, "scheduler, worker and the process that watches it"
        assert {a.ip for a in open_} <= {"127.0.0.1", "::1"}
        assert told["scheduler"].startswith("tls://127.0.0.1:")
        port = int(told["scheduler"].rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
            stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
            stranger.settimeout(20)
            try:
                said = stranger.recv(100)
            except ConnectionResetError:
                said = b""
        assert not said or said[0] == 0x15, "a TLS alert, or nothing at all"
        assert client.submit(sum, (1, 3)).result() == 4


class _Harm:
    """Runs code where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self._mark,))


def _first_frame(root: Path) -> None:
    image = next(iter(kinocyte.open(root).positions.values())).image()
    image.frame(0, image.channels[0])


@pytest.mark.parametrize(
    ("dtype", "filters", "compressor"),
    [
        ("|O", [{"id": "pickle", "protocol": 5}], None),
        ("<u2", [{"id": "pickle", "protocol": 5}], None),
        ("<u2", [{"id": "shuffle", "elementsize": 2}, {"id": "pickle", "protocol": 5}], None),
        ("<u2", None, {"id": "pickle", "protocol": 5}),
    ],
)
def test_a_foreign_store_that_holds_pickles_is_refused_and_nothing_in_it_runs(
    tmp_path: Path, dtype: str, filters: Any, compressor: Any
) -> None:
    mark, root = tmp_path / "harmed", tmp_path / "foreign.zarr"
    chunk = root / "0" / "0" / "0" / "0"
    chunk.parent.mkdir(parents=True)
    axes = [{"name": n, "type": "time" if n == "t" else "space"} for n in "tyx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}]
    image = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]}
    array = {
        "zarr_format": 2, "shape": [1, 4, 4], "chunks": [1, 4, 4], "dtype": dtype, "fill_value": 0, "order": "C",
        "compressor": compressor, "filters": filters, "dimension_separator": "/",
    }  # fmt: skip
    for name, document in ((".zgroup", {"zarr_format": 2}), (".zattrs", image), ("0/.zarray", array)):
        (root / name).write_text(json.dumps(document))
    chunk.write_bytes(pickle.dumps(_Harm(mark)))
    with pytest.raises(KinocyteError, match="cannot be read"):
        _first_frame(root)
    assert not mark.exists()
    pickle.loads(chunk.read_bytes())  # noqa: S301 - to see that it would have done harm
    assert mark.exists()


def _store(tmp_path: Path) -> Experiment:
    """Make an experiment in a store that is opened with a key: fsspec's own view of the disk stands for a bucket."""
    options = {"auto_mkdir": True, "secret": SECRET}
    experiment = kinocyte.create(f"local://{tmp_path}/e.zarr", storage_options=options)
    movie = blobs(3, 1)
    scale = Scale(y_um=0.5, x_um=0.5, frame_interval_min=2.0)
    for well in ("B1", "B2"):
        writer = experiment.new_position(
            well=well, field="1", shape=(3, 1, 1, 64, 64), dtype=movie.dtype, channels=["dna"], scale=scale
        )
        for t in range(3):
            writer.write(t, movie[t][None])
        writer.finish()
    return kinocyte.open(experiment.url, storage_options=options)


@pytest.mark.parametrize("workers", [0, 1])
def test_keys_of_a_store_are_written_nowhere(
    workers: int, tmp_path: Path, pipeline_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    experiment = _store(tmp_path)
    chunk = next(p for p in (tmp_path / "e.zarr/B/2/1/0").rglob("*") if p.is_file() and p.name != "zarr.json")
    chunk.write_bytes(b"not a chunk")  # so that failures are told and noted too
    result = run(load_pipeline(pipeline_file), experiment, where=Workers(workers=workers))
    assert {o.status for o in result.outcomes} == {"done", "failed", "blocked"}
    told = capfd.readouterr()
    assert SECRET not in told.out + told.err + repr(result) + repr(experiment) + repr(experiment.storage)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert any(p.parent.name == "runs" for p in files)
    assert not [p for p in files if SECRET.encode() in p.read_bytes()]
