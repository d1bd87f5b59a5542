"""Who may write: one process to an experiment, or several at once to positions of their own.

A run of the whole experiment, an import or a conversion holds the experiment. Runs limited to positions hold those
positions alone, so that the jobs of an array work side by side; what belongs to the whole plate they write one after
the other. On a disk the operating system releases a lock when its process ends, however it ends. Object stores have no
locks: there small objects with a heartbeat say who writes, and count as abandoned after two minutes of silence.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from kinocyte.core.errors import BusyError
from kinocyte.experiment.storage import Storage, write_error

LOCK_NAME = ".kinocyte.lock"
#: Folder with a lock for each position that a run of single positions holds.
CLAIMS = ".kinocyte.claims"
_PLATE = "plate"
_HEARTBEAT_S = 30.0
_ABANDONED_S = 120.0
#: How long a run of positions waits for its turn to claim them, and for its turn to write what belongs to the plate.
_TURN_S, _PLATE_S = 60.0, 600.0
_POLL_S = 0.1


class ExperimentLock:
    """Context manager that holds the right to write to an experiment, or to some of its positions.

    Parameters
    ----------
    storage : Storage
        The experiment.
    positions : sequence of str, optional
        Ids of the positions that are written; everything when left out.
    """

    def __init__(self, storage: Storage, positions: Sequence[str] | None = None) -> None:
        self._storage, self._positions = storage, positions
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Take the lock.

        Raises
        ------
        BusyError
            If another process holds it; the message says which.
        StoreError
            If the experiment may not be written.
        """
        with ExitStack() as taken:
            if self._positions is None:
                taken.enter_context(_claim(self._storage, LOCK_NAME, patience_s=_TURN_S, whole=True))
                _check_unclaimed(self._storage)
            else:
                with _claim(self._storage, LOCK_NAME, patience_s=_TURN_S):
                    for position in self._positions:
                        taken.enter_context(_claim(self._storage, _claim_name(position)))
            self._held = taken.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock back."""
        self._held.close()


def plate_lock(storage: Storage) -> contextlib.AbstractContextManager[None]:
    """Return a context manager around the writing of what belongs to the whole plate; it waits for its turn."""
    return _claim(storage, _claim_name(_PLATE), patience_s=_PLATE_S)


def _claim_name(position: str) -> str:
    return f"{CLAIMS}/{position.replace('/', '_')}.lock"


def _check_unclaimed(storage: Storage) -> None:
    """Raise `BusyError` if a run of single positions goes on; what a killed one left is removed.

    Whoever claims a position holds the lock of the experiment at that moment, as the caller does now, so that no
    claim can appear meanwhile.
    """
    for name in storage.listdir(CLAIMS):
        if name.endswith(".lock"):
            with _claim(storage, f"{CLAIMS}/{name}"):
                pass
    storage.remove(CLAIMS)


@contextmanager
def _claim(storage: Storage, name: str, *, patience_s: float = 0.0, whole: bool = False) -> Iterator[None]:
    """Hold one lock.

    Parameters
    ----------
    storage : Storage
        The experiment.
    name : str
        File or object of the lock.
    patience_s : float
        How long to wait for another holder who will be quick. One that holds the whole experiment is not waited for.
    whole : bool
        Whether this holder will not be quick.
    """
    claim = _LocalClaim(storage, name, whole=whole) if storage.is_local else _RemoteClaim(storage, name, whole=whole)
    deadline = time.monotonic() + patience_s
    while (holder := claim.take()) is not None:
        if holder.stays or time.monotonic() >= deadline:
            raise BusyError(holder.sentence(storage.url))
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        claim.release()


class _Holder:
    """Who holds a lock that was asked for."""

    def __init__(self, who: str, *, stays: bool, advice: str) -> None:
        self._who, self.stays, self._advice = who, stays, advice

    def sentence(self, url: str) -> str:
        return f"{url} is being written by {self._who}; {self._advice}."


class _LocalClaim:
    """A lock of the operating system on a file; a file beside it names the holder."""

    def __init__(self, storage: Storage, name: str, *, whole: bool) -> None:
        from filelock import FileLock

        self._place, self._name, self._whole = storage.url, name, whole
        self._file = FileLock(storage.local(name), timeout=0)
        self._owner = storage.local(f"{name}.owner")

    def take(self) -> _Holder | None:
        """Take the lock and return None, or return who holds it."""
        from filelock import Timeout

        try:
            if "/" in self._name:
                self._owner.parent.mkdir(exist_ok=True)
            self._file.acquire()
        except Timeout:
            return self._holder()
        except OSError as error:
            raise write_error(self._place, error) from error
        try:
            self._owner.write_text(json.dumps({"who": _me(), "stays": self._whole}), encoding="utf-8")
        except OSError as error:
            self._file.release()
            raise write_error(self._place, error) from error
        return None

    def _holder(self) -> _Holder:
        advice = "wait until it ends or stop it, then try again"
        try:
            said = json.loads(self._owner.read_text(encoding="utf-8"))
            return _Holder(str(said["who"]), stays=bool(said["stays"]), advice=advice)
        except (OSError, ValueError, KeyError, TypeError):  # it is being written at this moment
            return _Holder("another process", stays=False, advice=advice)

    def release(self) -> None:
        """Give the lock back; a disk that became read-only meanwhile keeps the name of a holder that is gone."""
        with contextlib.suppress(OSError):
            self._owner.unlink(missing_ok=True)
        self._file.release()


class _RemoteClaim:
    """An object with a heartbeat."""

    def __init__(self, storage: Storage, name: str, *, whole: bool) -> None:
        self._storage, self._name, self._whole = storage, name, whole
        self._token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> _Holder | None:
        """Take the lock and return None, or return who holds it."""
        held = self._read()
        if held is None:
            if not self._storage.create_bytes(self._name, self._content()):
                return self._holder(self._read() or {})
        elif not self._is_abandoned(held):
            return self._holder(held)
        else:
            self._beat()
        taken = self._read() or {}
        if taken.get("token") != self._token:
            return self._holder(taken)
        self._thread = threading.Thread(target=self._keep_beating, name="kinocyte-lock", daemon=True)
        self._thread.start()
        return None

    def _read(self) -> dict[str, Any] | None:
        content = self._storage.read_bytes(self._name)
        try:
            return None if content is None else dict(json.loads(content))
        except ValueError:  # the lock file of a disk, copied into the bucket with the rest
            return {}

    def _is_abandoned(self, held: dict[str, Any]) -> bool:
        """Tell whether a heartbeat has stopped: old by the clock, and silent while we watch, as clocks may differ."""
        if not held:
            return True
        if time.time() - float(held.get("time", 0)) < _ABANDONED_S:
            return False
        if held.get("host") == platform.node() and not _is_alive(held.get("process")):
            return True
        self._stop.wait(_HEARTBEAT_S + 5)
        return self._read() == held

    def _holder(self, held: dict[str, Any]) -> _Holder:
        silent_s = time.time() - float(held.get("time", 0))
        left_s = max(1.0, _ABANDONED_S - silent_s)
        advice = f"wait until it ends or, if it was killed, try again in {left_s:.0f} s"
        return _Holder(str(held.get("who", "another process")), stays=bool(held.get("stays", True)), advice=advice)

    def _content(self) -> bytes:
        document = {
            "token": self._token,
            "who": _me(),
            "host": platform.node(),
            "process": os.getpid(),
            "time": time.time(),
            "stays": self._whole,
        }
        return json.dumps(document).encode()

    def _beat(self) -> None:
        self._storage.write_bytes(self._name, self._content())

    def _keep_beating(self) -> None:
        while not self._stop.wait(_HEARTBEAT_S):
            self._beat()

    def release(self) -> None:
        """Give the lock back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if (self._read() or {}).get("token") == self._token:
            self._storage.remove(self._name)


def _is_alive(process: object) -> bool:
    """Tell whether a process of this machine is there."""
    if not isinstance(process, int) or os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _me() -> str:
    return f"process {os.getpid()} on {platform.node()}"
