"""The same experiment in memory and on an S3 server."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

import kinocyte


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, object]]:
    """Start an S3 server on loopback and return the options to reach it."""
    server = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    running.start()
    yield {"endpoint_url": f"http://127.0.0.1:{port}", "key": "test", "secret": "test"}
    running.stop()


def _round_trip(url: str, options: dict[str, object] | None, fill, objects: pl.DataFrame) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    experiment = fill(url, wells=("A1", "A2"), storage_options=options)
    with experiment.lock():
        for position in experiment.positions.values():
            for value in (1, 2):
                with position.write_labels("nuclei") as writer:
                    for t in range(3):
                        writer.write(t, np.full((20, 30), value + t, np.uint32))
            position.write_table("nuclei_objects", objects)
    experiment.set_conditions(pl.DataFrame({"well": ["A1"], "drug": ["ü"]}))
    again = kinocyte.open(url, storage_options=options)
    assert list(again.positions) == ["A1/1", "A2/1"]
    assert again.position("A2/1").labels("nuclei").frame(1).max() == 3
    np.testing.assert_array_equal(
        again.position("A1/1").image().frame(2, "c1"), experiment.position("A1/1").image().frame(2, "c1")
    )
    return again.objects("nuclei").collect()


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_memory_and_s3_give_what_a_disk_gives(tmp_path, fill, objects, s3) -> None:  # type: ignore[no-untyped-def]
    import s3fs

    s3fs.S3FileSystem(**s3).mkdir("bucket")
    disk = _round_trip(str(tmp_path / "e.zarr"), None, fill, objects)
    assert disk.equals(_round_trip("memory://remote/e.zarr", None, fill, objects))
    assert disk.equals(_round_trip("s3://bucket/e.zarr", s3, fill, objects))


def test_options_with_secrets_are_never_shown_or_written(fill) -> None:  # type: ignore[no-untyped-def]
    from kinocyte.experiment.storage import Storage

    storage = Storage("s3://bucket/e.zarr", {"key": "AKIA", "secret": "hunter2"})
    assert "hunter2" not in repr(storage)
    assert "hunter2" not in storage.at("x")
