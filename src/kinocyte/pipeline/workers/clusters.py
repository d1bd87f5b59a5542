"""Dask clients: workers on this machine, or a scheduler that runs somewhere."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kinocyte.core.errors import StoreError
from kinocyte.pipeline.workers.watch import Watch
from kinocyte.pipeline.workers.where import WORKER_ENVIRONMENT, Workers

#: Settings of schedulers and workers of ours. Results are a few lines of text: nothing is worth spilling to disk; a
#: worker that reaches its limit is ended before the machine is.
DASK_SETTINGS = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.scheduler.unknown-task-duration": "60s",
    "distributed.admin.large-graph-warning-threshold": "1GB",
}
_CONNECT_S = 15
_FIRST_WORKER_S = 120
#: Pauses before workers that were killed while they started are started once more.
_START_PAUSES_S = (1.0, 4.0)


@contextmanager
def local_cluster(n: int, memory_bytes: int, watch: Watch) -> Iterator[Any]:
    """Give a client of worker processes on this machine.

    They listen on loopback only, and speak TLS with keys made for this run where ``cryptography`` is installed, so that
    nobody else on a shared machine can give them work.

    Parameters
    ----------
    n : int
        Number of processes, one thread each.
    memory_bytes : int
        Memory of each; a process that goes beyond is ended and its task reported.
    watch : Watch
        Told the address.
    """
    import dask
    from distributed import Client
    from distributed.security import Security

    encrypted = importlib.util.find_spec("cryptography") is not None
    with (
        dask.config.set(DASK_SETTINGS),
        _started(
            n_workers=n,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            protocol="tls://" if encrypted else "tcp://",
            security=Security.temporary() if encrypted else None,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            memory_limit=memory_bytes,
            env=WORKER_ENVIRONMENT,
            silence_logs=50,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        watch.place(place_of(client))
        yield client


def _started(**options: Any) -> Any:
    from distributed import LocalCluster

    for pause_s in _START_PAUSES_S:
        with suppress(RuntimeError):  # a worker was killed while it started; the cluster has closed the others
            return LocalCluster(**options)
        time.sleep(pause_s)
    try:
        return LocalCluster(**options)
    except RuntimeError as error:
        msg = f"The worker processes did not start ({error}); run the same command again, or with --workers 0."
        raise StoreError(msg) from error


@contextmanager
def running_scheduler(where: Workers, watch: Watch) -> Iterator[Any]:
    """Give a client of a scheduler that runs already.

    Raises
    ------
    StoreError
        If nothing answers, the certificates do not fit, or there is no worker.
    """
    from distributed import Client
    from distributed.security import Security

    security = None
    if where.tls_ca is not None:
        security = Security(
            tls_ca_file=str(where.tls_ca),
            tls_client_cert=str(where.tls_cert),
            tls_client_key=str(where.tls_key),
            require_encryption=True,
        )
    try:
        client = Client(where.scheduler, security=security, timeout=_CONNECT_S, set_as_default=False)
    except OSError as error:
        msg = f"No Dask scheduler answers at {where.scheduler} ({error}); start one with: dask scheduler"
        raise StoreError(msg) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_FIRST_WORKER_S)
        except TimeoutError as error:
            msg = f"The scheduler at {where.scheduler} has no worker; start some with: dask worker {where.scheduler}"
            raise StoreError(msg) from error
        watch.place(place_of(client))
        yield client


def place_of(client: Any) -> dict[str, str]:
    """Return the addresses of the scheduler and of its dashboard."""
    return {"scheduler": str(client.scheduler.address), "dashboard": str(client.dashboard_link)}
