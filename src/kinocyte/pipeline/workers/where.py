"""The options that say where the tasks run, checked before anything is touched."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param

#: One thread a worker: positions are what runs in parallel.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
WORKER_ENVIRONMENT = dict.fromkeys(_ONE_THREAD, "1")
_WALLTIME = re.compile(r"(?:(\d+)-)?(\d{1,3}):([0-5]\d):([0-5]\d)")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]i?)?B?\s*", re.IGNORECASE)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Workers(BaseModel):
    """Where the tasks run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int | None = param(
        None,
        ge=0,
        help="Processes on this machine; 0 runs in this process; when left out, one a core, or 0 for a small job.",
    )
    worker_memory: str | None = param(
        None, help="Memory a process may use, such as 8GB; when left out, its share of this machine's.", advanced=True
    )
    scheduler: str | None = param(
        None, help="Address of a running Dask scheduler, such as tls://10.0.0.5:8786 (or tcp:// on this machine)."
    )
    tls_ca: Path | None = param(None, help="File of the certificate authority, for tls:// (PEM).", advanced=True)
    tls_cert: Path | None = param(None, help="File of our certificate, for tls:// (PEM).", advanced=True)
    tls_key: Path | None = param(None, help="File of our private key, for tls:// (PEM).", advanced=True)
    slurm: bool = param(False, help="Start the workers as Slurm jobs (needs the extra 'cluster').")
    slurm_partition: str | None = param(None, help="Slurm partition of the jobs.", advanced=True)
    slurm_account: str | None = param(None, help="Slurm account of the jobs.", advanced=True)
    slurm_walltime: str = param("02:00:00", help="Longest run time of a job, HH:MM:SS.", advanced=True)
    slurm_memory: str | None = param(
        None, help="Memory of a job, such as 8GB; when left out, what the pipeline needs by estimate.", advanced=True
    )
    slurm_cpus: int = param(1, ge=1, help="Processor cores of a job, for the threads of deep models.", advanced=True)
    slurm_gpus: int | None = param(
        None, ge=0, help="GPUs of a job; when left out, 1 if a step of the pipeline wants one.", advanced=True
    )
    slurm_options: tuple[str, ...] = param(
        (), help="More directives of the jobs, such as --slurm-options --constraint=icelake.", advanced=True
    )
    slurm_interface: str | None = param(
        None, help="Network interface by which jobs reach this machine, such as ib0.", advanced=True
    )
    slurm_folder: Path | None = param(
        None, help="Folder that jobs see too, for their logs and keys; when left out, ~/.kinocyte/slurm.", advanced=True
    )
    min_jobs: int = param(1, ge=0, help="Fewest Slurm jobs while there is work.", advanced=True)
    max_jobs: int = param(8, ge=1, help="Most Slurm jobs at once.", advanced=True)

    @property
    def is_local(self) -> bool:
        """Tell whether the work is done by this machine alone."""
        return self.scheduler is None and not self.slurm

    def check(self) -> None:
        """Raise `ParameterError` where the options contradict each other."""
        if self.scheduler is not None and self.slurm:
            msg = "--scheduler and --slurm name two places for the work; leave one out."
            raise ParameterError(msg)
        self._check_scheduler()
        for option, text in (("--worker-memory", self.worker_memory), ("--slurm-memory", self.slurm_memory)):
            if text is not None:
                parse_bytes(text, option)
        walltime_s(self.slurm_walltime)
        if self.min_jobs > self.max_jobs:
            msg = f"--min-jobs {self.min_jobs} is more than --max-jobs {self.max_jobs}; swap them."
            raise ParameterError(msg)

    def _check_scheduler(self) -> None:
        files = {"--tls-ca": self.tls_ca, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}
        given = [name for name, path in files.items() if path is not None]
        encrypted = self.scheduler is not None and self.scheduler.startswith("tls://")
        if given and not encrypted:
            msg = f"{given[0]} goes with --scheduler tls://HOST:PORT; name the scheduler that way."
            raise ParameterError(msg)
        if self.scheduler is None:
            return
        if not re.fullmatch(r"(tcp|tls)://[^/@\s]+:\d+", self.scheduler):
            msg = f"--scheduler {self.scheduler} is not an address such as tls://10.0.0.5:8786."
            raise ParameterError(msg)
        missing = [name for name, path in files.items() if path is None]
        if encrypted and missing:
            msg = f"--scheduler {self.scheduler} needs {' and '.join(missing)} as well; name the PEM files."
            raise ParameterError(msg)
        for name, path in files.items():
            if path is not None and not path.is_file():
                msg = f"{name} {path} is not a file; name the PEM file that the scheduler was started with."
                raise ParameterError(msg)

    def check_secrets(self, options: dict[str, Any]) -> None:
        """Refuse to send the options of a store, which may hold keys, in the clear beyond this machine.

        Raises
        ------
        ParameterError
            If there are options and the scheduler is another machine's without TLS.
        """
        if not options or self.scheduler is None or self.scheduler.startswith("tls://"):
            return
        if urlsplit(self.scheduler).hostname not in _LOOPBACK:
            msg = (
                f"The options of the store would travel to {self.scheduler} unencrypted; use tls://, or give the "
                "workers their keys in their own environment."
            )
            raise ParameterError(msg)


def cores() -> int:
    """Return the number of processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_memory() -> int:
    """Return the bytes of memory this process may use, limits of its control group included."""
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT)


def parse_bytes(text: str, option: str) -> int:
    """Return a size such as ``8GB`` in bytes.

    Raises
    ------
    ParameterError
        If it is not a size.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        msg = f"{option} {text} is not a size such as 8GB or 512MB."
        raise ParameterError(msg)
    number, unit = float(found[1]), (found[2] or "").lower()
    base = 1024 if unit.endswith("i") else 1000
    return int(number * base ** (" kmgt".index(unit[0]) if unit else 0))


def walltime_s(text: str) -> int:
    """Return a walltime such as ``02:00:00`` or ``1-00:00:00`` in seconds.

    Raises
    ------
    ParameterError
        If it is not one.
    """
    found = _WALLTIME.fullmatch(text)
    if found is None:
        msg = f"--slurm-walltime {text} is not a time such as 02:00:00 or 1-00:00:00."
        raise ParameterError(msg)
    days, hours, minutes, seconds = (int(g or 0) for g in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
