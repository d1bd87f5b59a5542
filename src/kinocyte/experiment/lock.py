"""One writer at a time: a second run on the same experiment is refused with a clear sentence.

On a disk the operating system releases the lock when the process ends, however it ends. Object stores have no locks:
there a small object with a heartbeat says who writes, and counts as abandoned after two minutes of silence.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from types import TracebackType
from typing import Self

from kinocyte.core.errors import BusyError
from kinocyte.experiment.storage import Storage, write_error

LOCK_NAME = ".kinocyte.lock"
_HEARTBEAT_S = 30.0
_ABANDONED_S = 120.0


class ExperimentLock:
    """Context manager that holds the right to write to an experiment."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._file: object | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises
        ------
        BusyError
            If another process holds it; the message says which.
        StoreError
            If the experiment may not be written.
        """
        if self._storage.is_local:
            self._enter_local()
        else:
            self._enter_remote()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock back."""
        from filelock import BaseFileLock

        if isinstance(self._file, BaseFileLock):
            self._storage.local(f"{LOCK_NAME}.owner").unlink(missing_ok=True)
            self._file.release()
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._storage.remove(LOCK_NAME)

    def _enter_local(self) -> None:
        from filelock import FileLock, Timeout

        lock = FileLock(self._storage.local(LOCK_NAME), timeout=0)
        owner = self._storage.local(f"{LOCK_NAME}.owner")
        try:
            lock.acquire()
        except Timeout:
            who = owner.read_text() if owner.exists() else "another process"
            msg = f"{self._storage.url} is being written by {who}; wait until it ends or stop it, then try again."
            raise BusyError(msg) from None
        except OSError as error:
            raise write_error(self._storage.url, error) from error
        self._file = lock
        try:
            owner.write_text(_me())
        except OSError as error:
            lock.release()
            raise write_error(self._storage.url, error) from error

    def _enter_remote(self) -> None:
        content = self._storage.read_bytes(LOCK_NAME)
        if content is not None:
            held = json.loads(content)
            silent_s = time.time() - float(held.get("time", 0))
            if silent_s < _ABANDONED_S:
                msg = (
                    f"{self._storage.url} is being written by {held.get('who')}; wait until it ends or, if it was "
                    f"killed, try again in {_ABANDONED_S - silent_s:.0f} s."
                )
                raise BusyError(msg)
        self._beat()
        taken = json.loads(self._storage.read_bytes(LOCK_NAME) or b"{}")
        if taken.get("token") != self._token:
            msg = f"{self._storage.url} was taken by {taken.get('who')} at the same moment; try again later."
            raise BusyError(msg)
        self._thread = threading.Thread(target=self._keep_beating, name="kinocyte-lock", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        document = {"token": self._token, "who": _me(), "time": time.time()}
        self._storage.write_bytes(LOCK_NAME, json.dumps(document).encode())

    def _keep_beating(self) -> None:
        while not self._stop.wait(_HEARTBEAT_S):
            self._beat()


def _me() -> str:
    return f"process {os.getpid()} on {platform.node()}"
