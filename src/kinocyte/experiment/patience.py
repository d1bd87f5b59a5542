"""Asking a store again where it failed for a moment: a busy server, a lost connection.

Object stores answer now and then with 500 or 503 and mean: once more. Every read and write of an experiment on one is
repeated up to four times with growing pauses, some fifteen seconds altogether. What is refused for good (no such
object, no permission, bad input) is not asked again.
"""

from __future__ import annotations

import asyncio
import errno
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

#: Seconds before the second, third, fourth and fifth attempt; a tenth more or less, so that workers keep out of step.
PAUSES_S = (0.2, 0.8, 3.0, 10.0)
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
_NOT_IMPLEMENTED = 501
_CODES = {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "ThrottlingException"}
#: Errors of connections that are no `OSError`, by name: their libraries need not be installed.
_NAMES = {
    "ClientConnectionError",
    "ClientPayloadError",
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "EndpointConnectionError",
    "FSTimeoutError",
    "HTTPClientError",
    "IncompleteRead",
    "ReadTimeoutError",
    "ResponseParserError",
    "ServerDisconnectedError",
}
_T = TypeVar("_T")


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
    if any(kind.__name__ in _NAMES for kind in type(error).__mro__):
        return True
    status, code = _http(error)
    if code in _CODES or status == _TOO_MANY_REQUESTS:
        return True
    return status is not None and status >= _SERVER_FAULT and status != _NOT_IMPLEMENTED


def _http(error: BaseException) -> tuple[int | None, str]:
    """Return the HTTP status and the code of an error of botocore or aiohttp, which name them differently."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return (status if isinstance(status, int) else None), str(response.get("Error", {}).get("Code", ""))
    status = getattr(error, "status", None)
    return (status if isinstance(status, int) else None), ""


def patiently(act: Callable[[], _T]) -> _T:
    """Do something with a store, again after a pause where it failed for a moment."""
    for pause in PAUSES_S:
        try:
            return act()
        except Exception as error:
            if not is_transient(error):
                raise
        time.sleep(_about(pause))
    return act()


async def patiently_async(act: Callable[[], Awaitable[_T]]) -> _T:
    """Do something with a store, again after a pause where it failed for a moment, in an event loop."""
    for pause in PAUSES_S:
        try:
            return await act()
        except Exception as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(_about(pause))
    return await act()


def _about(pause_s: float) -> float:
    return pause_s * random.uniform(0.9, 1.1)  # noqa: S311 - no secret, and no result depends on it
