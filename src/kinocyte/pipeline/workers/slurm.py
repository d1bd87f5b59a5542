"""Workers as Slurm jobs, as many as there is work for, each ended before its walltime."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kinocyte.core.errors import MissingExtraError, ParameterError, StoreError
from kinocyte.pipeline.plan import Task
from kinocyte.pipeline.workers.clusters import DASK_SETTINGS, place_of
from kinocyte.pipeline.workers.needs import most_memory
from kinocyte.pipeline.workers.watch import Watch
from kinocyte.pipeline.workers.where import WORKER_ENVIRONMENT, Workers, parse_bytes, walltime_s

_LEAST_MEMORY = 2_000_000_000
#: A worker ends this long before its job would be ended, so that it can say goodbye.
_GOODBYE_S = 120


@contextmanager
def slurm_cluster(
    where: Workers, todo: Sequence[Task], watch: Watch, *, most_useful: int | None = None
) -> Iterator[Any]:
    """Give a client of a scheduler in this process whose workers are Slurm jobs.

    There are never more jobs than are of use: one a position, or ``most_useful``. Scheduler and workers speak TLS with
    keys made for this run; the keys of the workers lie in ``slurm_folder``, readable by the user alone, meanwhile.

    Raises
    ------
    MissingExtraError
        If dask-jobqueue or cryptography is missing.
    StoreError
        If there is no Slurm here, or it refuses the jobs.
    """
    import dask
    from distributed import Client

    slurm_class = _slurm_class()
    settings = job_settings(where, todo)
    with (
        dask.config.set(DASK_SETTINGS),
        _keys(folder_of(where)) as security,
        slurm_class(security=security, protocol="tls://", **settings) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        _check_accepted(cluster.job_script())
        useful = len({t.position for t in todo}) if most_useful is None else most_useful
        most = max(1, min(where.max_jobs, useful))
        cluster.adapt(minimum_jobs=min(where.min_jobs, most), maximum_jobs=most, interval="2s", wait_count=5)
        watch.place(place_of(client))
        yield client


@contextmanager
def _keys(folder: Path) -> Iterator[Any]:
    """Make keys and a certificate for this run, in files that the user alone can read and that go with the run."""
    from distributed.security import Security

    try:
        made = Security.temporary().get_tls_config_for_role("worker")
    except ImportError as error:
        raise _missing() from error
    with tempfile.TemporaryDirectory(prefix="keys-", dir=folder) as place:
        files = {}
        for name in ("ca_file", "cert", "key"):
            file = Path(place, f"{name}.pem")
            file.touch(mode=0o600)
            file.write_text(str(made[name]), encoding="ascii")
            files[name] = str(file)
        pair = {f"tls_{r}_{n}": files[n] for r in ("scheduler", "worker", "client") for n in ("cert", "key")}
        yield Security(tls_ca_file=files["ca_file"], require_encryption=True, **pair)


def _slurm_class() -> Any:
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as error:
        raise _missing() from error
    if shutil.which("sbatch") is None:
        msg = "There is no sbatch on this machine; run on a login node of the cluster, or leave --slurm out."
        raise StoreError(msg)
    return SLURMCluster


def _missing() -> MissingExtraError:
    return MissingExtraError("Slurm needs dask-jobqueue and cryptography: pip install 'kinocyte[cluster]'")


def job_settings(where: Workers, todo: Sequence[Task]) -> dict[str, Any]:
    """Return what a job asks of Slurm, from the options and from what the tasks need.

    Raises
    ------
    ParameterError
        If the folder for logs and keys cannot be made.
    """
    folder = folder_of(where)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        msg = f"Cannot make the folder {folder} ({error.strerror}); name another one with --slurm-folder."
        raise ParameterError(msg) from error
    gpus = gpus_of(where, todo)
    threads = {k: str(where.slurm_cpus) for k in WORKER_ENVIRONMENT}
    directives = [*(["--gres=gpu:" + str(gpus)] if gpus else []), "--no-requeue", *where.slurm_options]
    worker = ["--lifetime", f"{lifetime_s(where.slurm_walltime)}s", "--lifetime-stagger", "5s"]
    worker += ["--dashboard-address", "127.0.0.1:0", *(["--resources", f"GPU={gpus}"] if gpus else [])]
    return {
        "queue": where.slurm_partition,
        "account": where.slurm_account,
        "walltime": where.slurm_walltime,
        "memory": str(memory_of(where, todo)),
        "cores": 1,
        "job_cpu": where.slurm_cpus,
        "processes": 1,
        "job_name": "kinocyte",
        "interface": where.slurm_interface,
        "log_directory": str(folder),
        "local_directory": "${TMPDIR:-/tmp}",
        "death_timeout": 120,
        "job_extra_directives": directives,
        "job_script_prologue": [f"export {k}={v}" for k, v in threads.items()],
        "worker_extra_args": worker,
        "scheduler_options": {"dashboard_address": "127.0.0.1:0"},
    }


def folder_of(where: Workers) -> Path:
    """Return the folder for logs and keys, which the jobs see too."""
    return (where.slurm_folder or Path.home() / ".kinocyte" / "slurm").absolute()


def memory_of(where: Workers, todo: Sequence[Task]) -> int:
    """Return the memory of a job in bytes: as asked, else what the hungriest task needs and a quarter more."""
    if where.slurm_memory is not None:
        return parse_bytes(where.slurm_memory, "--slurm-memory")
    return max(_LEAST_MEMORY, int(1.25 * most_memory(list(todo))))


def gpus_of(where: Workers, todo: Sequence[Task]) -> int:
    """Return the GPUs of a job: as asked, else one if a step wants one."""
    return where.slurm_gpus if where.slurm_gpus is not None else int(any(t.wants_gpu for t in todo))


def lifetime_s(walltime: str) -> int:
    """Return after how many seconds a worker of a job with this walltime ends by itself."""
    total = walltime_s(walltime)
    return max(total - _GOODBYE_S, total // 2)


def _check_accepted(script: str) -> None:
    """Ask Slurm whether it would take the job, so that a refusal is one sentence instead of an endless wait."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "job.sh")
        file.write_text(script, encoding="utf-8")
        asked = subprocess.run(["sbatch", "--test-only", str(file)], capture_output=True, text=True, check=False)
    if asked.returncode:
        said = " ".join(asked.stderr.split())
        msg = f"Slurm refuses the jobs ({said}); name another --slurm-partition, --slurm-account or --slurm-memory."
        raise StoreError(msg)
