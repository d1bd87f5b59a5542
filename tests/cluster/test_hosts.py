"""Workers on hosts of their own: one is cut off, one loses its power, the scheduler is started anew."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kinocyte import Experiment
from kinocyte.core.errors import StoreError
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import load_pipeline
from kinocyte.pipeline.run import run
from kinocyte.pipeline.runfile import read_run
from kinocyte.pipeline.task import Outcome
from tests.cluster.conftest import assert_same, results
from tests.cluster.hosts import Hosts, missing

pytestmark = pytest.mark.namespaces
Maker = Callable[..., Experiment]
NAMES = ("scheduler", "one", "two", "three")


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """Return files with a certificate and its key."""
    pytest.importorskip("cryptography")
    from distributed.security import Security

    made = Security.temporary().get_tls_config_for_role("client")
    files = {}
    for name in ("ca_file", "cert", "key"):
        (tmp_path / f"{name}.pem").write_text(made[name])
        files[name] = str(tmp_path / f"{name}.pem")
    return files


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Return four hosts."""
    if reason := missing():
        pytest.skip(reason)
    with Hosts(NAMES, tmp_path) as made:
        yield made


def _tls(keys: dict[str, str]) -> list[str]:
    return ["--tls-ca-file", keys["ca_file"], "--tls-cert", keys["cert"], "--tls-key", keys["key"]]


def _scheduler(hosts: Hosts, keys: dict[str, str]) -> str:
    hosts.start(
        "scheduler", "distributed.cli.dask_scheduler", "--host", hosts.address("scheduler"), "--port", "8786",
        "--protocol", "tls", "--dashboard-address", "127.0.0.1:0", *_tls(keys),
    )  # fmt: skip
    _wait_for(hosts.address("scheduler"), 8786)
    return f"tls://{hosts.address('scheduler')}:8786"


def _wait_for(address: str, port: int) -> None:
    """Wait until somebody listens: a scheduler takes long to start where others compute."""
    end = time.monotonic() + 90.0
    while True:
        try:
            socket.create_connection((address, port), timeout=2.0).close()
        except OSError:
            assert time.monotonic() < end, f"nobody listens at {address}:{port}"
            time.sleep(0.2)
        else:
            return


def _worker(hosts: Hosts, name: str, address: str, keys: dict[str, str]) -> None:
    hosts.start(
        name, "distributed.cli.dask_worker", address, "--nthreads", "1", "--name", name, "--memory-limit", "3GB",
        "--no-dashboard", "--death-timeout", "60", *_tls(keys),
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_worker_cut_off_one_killed_and_the_scheduler_restarted(
    hosts: Hosts, keys: dict[str, str], plate: Maker, pipeline_file: Path
) -> None:
    declared = load_pipeline(pipeline_file)
    calm, hunted = (plate(n, n_positions=4, n_frames=24, size=128) for n in ("calm.zarr", "hunted.zarr"))
    address = _scheduler(hosts, keys)
    for name in ("one", "two", "three"):
        _worker(hosts, name, address, keys)
    faults = [
        lambda: hosts.cut_off("one"),
        lambda: hosts.kill("two"),
        lambda: _restart(hosts, address, keys),
    ]

    def strike(_: Outcome) -> None:
        if faults:
            faults.pop(0)()

    where = Workers(scheduler=address, tls_ca=keys["ca_file"], tls_cert=keys["cert"], tls_key=keys["key"])
    result = run(declared, hunted, where=where, on_outcome=strike)
    assert not faults
    assert result.ok, result.failed
    lost = {r for o in result.outcomes for r in o.retries}
    assert any("was lost" in r for r in lost), "somebody was lost in the middle of a task, and the record says so"
    noted = read_run(hunted.storage)
    assert noted is not None
    assert lost == {r for t in noted["tasks"] for r in t.get("retries", ())}
    assert run(declared, calm, where=Workers(workers=0)).ok
    assert_same(results(calm), results(hunted))
    left = [p for p in Path(hunted.url).rglob("*") if p.name.endswith((".partial", ".old"))]
    assert left == []


def _restart(hosts: Hosts, address: str, keys: dict[str, str]) -> None:
    """Start the scheduler anew, and a worker, as an init system does with services that have ended."""
    hosts.kill("scheduler")
    hosts.kill("three")
    threading.Timer(1.0, lambda: (_scheduler(hosts, keys), _worker(hosts, "three", address, keys))).start()


@pytest.mark.long
def test_a_scheduler_that_does_not_know_our_certificate_gives_us_nothing(
    hosts: Hosts, keys: dict[str, str], plate: Maker, pipeline_file: Path, tmp_path: Path
) -> None:
    from distributed.security import Security

    address = _scheduler(hosts, keys)
    other = Security.temporary().get_tls_config_for_role("client")
    for name in ("cert", "key"):
        (tmp_path / f"other_{name}.pem").write_text(other[name])
    where = Workers(
        scheduler=address,
        tls_ca=keys["ca_file"],
        tls_cert=tmp_path / "other_cert.pem",
        tls_key=tmp_path / "other_key.pem",
    )
    with pytest.raises(StoreError, match="No Dask scheduler answers"):
        run(load_pipeline(pipeline_file), plate("e.zarr"), where=where)
