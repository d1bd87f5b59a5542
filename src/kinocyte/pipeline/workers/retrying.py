"""Doing a task again where the fault was of the moment: a lost connection, a busy server, a stale file handle.

Bad input fails at once: it would fail again. The pauses are fixed but for a share that depends on the name of the task,
so that hundreds of workers do not come back to one server in the same second; no clock and no chance enter.
"""

from __future__ import annotations

import errno
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from kinocyte.pipeline.plan import Task
from kinocyte.pipeline.task import Outcome, perform

#: Pauses before the second, third and fourth attempt.
PAUSES_S = (1.0, 4.0, 15.0)
_OF_THE_MOMENT = frozenset(
    getattr(errno, name)
    for name in (
        "EAGAIN",
        "EBUSY",
        "ECONNABORTED",
        "ECONNREFUSED",
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "EINTR",
        "ENETDOWN",
        "ENETRESET",
        "ENETUNREACH",
        "ENOTCONN",
        "EPIPE",
        "ESTALE",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
)
_TOO_MANY_REQUESTS = 429
_SERVER_FAULT = 500
_CODES = {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "ThrottlingException"}


def is_transient(error: BaseException) -> bool:
    """Tell whether an error, or what it was raised from, may be gone in a moment."""
    return any(_of_the_moment(e) for e in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _of_the_moment(error: BaseException) -> bool:
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if isinstance(error, OSError) and error.errno in _OF_THE_MOMENT:
        return True
    status, code = _http(error)
    return status == _TOO_MANY_REQUESTS or (status is not None and status >= _SERVER_FAULT) or code in _CODES


def _http(error: BaseException) -> tuple[int | None, str]:
    """Return the HTTP status and the code of an error of botocore or aiohttp, which name them differently."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return (status if isinstance(status, int) else None), str(response.get("Error", {}).get("Code", ""))
    status = getattr(error, "status", None)
    return (status if isinstance(status, int) else None), ""


def perform_patiently(
    url: str,
    options: dict[str, Any],
    task: Task,
    progress: Callable[[float], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Do a task, again after a pause where the fault was of the moment; never raises.

    Parameters
    ----------
    url, options, task, progress
        As of `perform`.
    sleep : callable
        What waits, for tests.

    Returns
    -------
    Outcome
        ``retries`` holds the reason of every attempt that failed and was repeated.
    """
    reasons: list[str] = []
    for pause in (*PAUSES_S, None):
        caught: list[BaseException] = []
        outcome = perform(url, options, task, progress, on_error=caught.append)
        if pause is None or not caught or not is_transient(caught[0]):
            break
        reasons.append(outcome.message)
        sleep(pause * _share(task.id, len(reasons)))
    return replace(outcome, retries=tuple(reasons))


def _share(task: str, attempt: int) -> float:
    """Return between 0.8 and 1.2, always the same for a task and attempt."""
    digest = hashlib.blake2b(f"{task}:{attempt}".encode(), digest_size=2).digest()
    return 0.8 + 0.4 * int.from_bytes(digest, "big") / 65535
