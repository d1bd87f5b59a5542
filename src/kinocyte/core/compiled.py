"""The decorator of our compiled kernels: numba, kept on disk in a way that several processes may share.

numba numbers the compiled variants of a function (one for each combination of argument types) and keeps an index of
the numbers. Two processes that compile two variants at the same moment give both the same number, and a third one then
loads code made for other types (numba issue 4807): a wrong result or a crash, in the first run after an installation,
where all workers compile at once. Here a variant's file is named after the hash of what it is, so that no process ever
writes over another's, and no index is needed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import numba
from numba.core.caching import IndexDataCacheFile


class _SharedCacheFile(IndexDataCacheFile):
    """Compiled variants of one function, each in a file named after its content's key."""

    def __init__(self, original: IndexDataCacheFile) -> None:
        self.__dict__.update(original.__dict__)
        self._base_name = original._index_name.removesuffix(".nbi")

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._name_of(key), (repr(key), data))  # type: ignore[no-untyped-call]  # numba is untyped

    def load(self, key: Any) -> Any:
        try:
            stored_key, data = self._load_data(self._name_of(key))  # type: ignore[no-untyped-call]  # likewise
        except Exception:  # noqa: BLE001  # nothing there, or a file that a full disk cut short: compile
            return None
        return data if stored_key == repr(key) else None

    def flush(self) -> None:
        """Leave the files: they carry the time of their source in their name and are never taken for another's."""

    def _name_of(self, key: Any) -> str:
        made_of = repr((key, self._source_stamp, self._version)).encode()
        return f"{self._base_name}.{hashlib.sha256(made_of).hexdigest()[:24]}.nbc"


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called; the interpreter is free for other threads while it runs.

    The machine code is kept beside the source or in the user's cache directory, as numba does.
    """
    compiled: Any = numba.njit(cache=True, nogil=True)(function)
    if os.environ.get("NUMBA_DISABLE_JIT", "0") == "0":
        compiled._cache._cache_file = _SharedCacheFile(compiled._cache._cache_file)
    return compiled  # type: ignore[no-any-return]  # numba's decorators carry no types
