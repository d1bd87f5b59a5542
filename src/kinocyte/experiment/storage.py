"""Bytes of an experiment: a folder on this machine or any fsspec URL, behind one small face.

Files are published by writing beside the target and renaming; object stores publish whole objects by nature.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import from_json

from kinocyte.core.errors import KinocyteError, MissingExtraError, StoreError
from kinocyte.experiment.patience import patiently

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarr.abc.store import Store

_T = TypeVar("_T")
#: What web servers say of a file that is not there; buckets that may not be listed say 403.
_ABSENT = (403, 404, 410)
#: Names of unfinished files and folders, and of older ones that were renamed aside.
LEFT_BEHIND = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.(?P<what>partial|old)")
_LINK = "kinocyte import --link"


class Storage:
    """A root under which relative paths are read and written.

    Parameters
    ----------
    url : str or Path
        A folder, or a URL that fsspec knows (``s3://bucket/plate.zarr``, ``memory://plate.zarr``).
    options : dict, optional
        Passed to the fsspec file system, for example ``{"anon": True}``; never written anywhere.
    """

    def __init__(self, url: str | Path, options: dict[str, Any] | None = None) -> None:
        text = os.fspath(url)
        if text.startswith("file://"):
            text = text.removeprefix("file://")
        self.is_local = "://" not in text
        self.options = dict(options or {})
        self.url = str(Path(text).absolute()) if self.is_local else text.rstrip("/")

    def __repr__(self) -> str:
        """Show the place, never the options, which may hold secrets."""
        return f"Storage({self.url!r})"

    @cached_property
    def _fs(self) -> tuple[Any, str]:
        import fsspec

        try:  # what other processes wrote must be seen: no list of a folder is remembered
            fs, root = fsspec.core.url_to_fs(self.url, **{"use_listings_cache": False, **self.options})
        except ImportError as error:
            msg = f"Reading {self.url} needs more packages; install them with: pip install 'kinocyte[cluster]'"
            raise MissingExtraError(msg) from error
        except ValueError as error:
            msg = f"Cannot open {self.url}: {error}; give a folder, or a URL such as s3://bucket/plate.zarr."
            raise StoreError(msg) from error
        return fs, root.rstrip("/")

    @cached_property
    def is_web(self) -> bool:
        """Tell whether the place is a web server, from which is only read."""
        return self.url.startswith(("http://", "https://"))

    def _ask(self, path: str, act: Callable[[Any, str], _T]) -> _T:
        """Do something at a place that is not on a disk, patiently, and tell what went wrong in one sentence.

        Raises
        ------
        FileNotFoundError, FileExistsError
            As the file system says.
        StoreError
            If the place may not be read or does not answer.
        """
        fs, full = self._remote(path)
        try:
            return patiently(lambda: act(fs, full))
        except (FileNotFoundError, NotADirectoryError, FileExistsError, KinocyteError):
            raise
        except Exception as error:  # each library has errors of its own
            if self.is_web and getattr(error, "status", None) in _ABSENT:
                raise FileNotFoundError(full) from error
            raise remote_error(self.at(path), error) from error

    def check_writable(self) -> None:
        """Raise `StoreError` for a web server."""
        if self.is_web:
            msg = f"{self.url} can only be read; keep what is new in an experiment of your own with: {_LINK} {self.url}"
            raise StoreError(f"{msg} EXPERIMENT.zarr")

    def at(self, path: str = "") -> str:
        """Return the full place of a relative path, for messages and for libraries."""
        return f"{self.url}/{path}" if path else self.url

    def local(self, path: str = "") -> Path:
        """Return a relative path as a `Path`; only for local storage."""
        if not self.is_local:
            msg = f"{self.url} is not on this machine's disks."
            raise StoreError(msg)
        return Path(self.url, path) if path else Path(self.url)

    def _remote(self, path: str) -> tuple[Any, str]:
        fs, root = self._fs
        return fs, f"{root}/{path}" if path else root

    def exists(self, path: str = "") -> bool:
        """Tell whether a file or folder is there."""
        if self.is_local:
            return self.local(path).exists()
        if self.is_web:  # many servers list no folders
            return self.read_bytes(path) is not None
        return self._ask(path, lambda fs, full: bool(fs.exists(full)))

    def listdir(self, path: str = "") -> list[str]:
        """Return the sorted names in a folder; an absent folder is empty."""
        if self.is_local:
            try:
                return sorted(os.listdir(f"{self.url}/{path}"))  # noqa: PTH208 - as above
            except (FileNotFoundError, NotADirectoryError):
                return []
        try:
            found = self._ask(path, lambda fs, full: [str(p).rstrip("/") for p in fs.ls(full, detail=False)])
        except FileNotFoundError:
            return []
        folder = self._remote(path)[1].rstrip("/")
        return sorted({p.rsplit("/", 1)[-1] for p in found if p.rpartition("/")[0] == folder})

    def read_bytes(self, path: str) -> bytes | None:
        """Return the content of a file, or None if it is absent."""
        try:
            if self.is_local:  # thousands of small files are read when a plate is looked at: no Path a file
                with open(f"{self.url}/{path}", "rb", buffering=0) as file:  # noqa: PTH123
                    return file.read()
            return self._ask(path, lambda fs, full: bytes(fs.cat_file(full)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_document(self, path: str) -> dict[str, Any] | None:
        """Return a JSON object, or None if the file is absent.

        Raises
        ------
        StoreError
            If the file holds anything else.
        """
        content = self.read_bytes(path)
        return None if content is None else parse_document(content, self.at(path))

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file so that a reader sees the old or the new content, never a part.

        Raises
        ------
        StoreError
            If the disk is full or may not be written.
        """
        try:
            if not self.is_local:
                self.check_writable()
                self._ask(path, lambda fs, full: _pipe(fs, full, content))
                return
            target = self.local(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
            try:
                partial.write_bytes(content)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.at(path), error) from error

    def create_bytes(self, path: str, content: bytes) -> bool:
        """Write a file that must not be there yet, whole or not at all; return False if another one is there.

        Of two processes that create the same file at once, one is told False.
        """
        try:
            if not self.is_local:
                return self._create_remote(path, content)
            target = self.local(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
            try:
                partial.write_bytes(content)
                return _appear(partial, target)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.at(path), error) from error

    def _create_remote(self, path: str, content: bytes) -> bool:
        self.check_writable()
        if self._ask(path, lambda fs, full: bool(fs.exists(full))):
            return False
        try:
            self._ask(path, lambda fs, full: _pipe(fs, full, content, mode="create"))
        except FileExistsError:  # by another process, or by an attempt of ours whose answer was lost
            return self.read_bytes(path) == content
        return True

    def remove(self, path: str) -> None:
        """Remove a file or folder of ours; absent is fine."""
        try:
            if not self.is_local:
                self.check_writable()
                self._ask(path, _remove)
                return
            target = self.local(path)
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise write_error(self.at(path), error) from error

    def publish(self, staged: str, target: str) -> None:
        """Put a finished folder in the place of an older one.

        On a disk this is one rename (after the older folder has been renamed aside); on an object store, which cannot
        rename, ``staged`` and ``target`` are the same place.
        """
        if staged == target:
            return
        try:
            new, place = self.local(staged), self.local(target)
            aside = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.old")
            if place.exists():
                place.rename(aside)
            new.rename(place)
            if aside.exists():
                shutil.rmtree(aside)
        except OSError as error:
            raise write_error(self.at(target), error) from error

    def staging(self, target: str) -> str:
        """Return where to write a folder that `publish` later puts at ``target``."""
        if not self.is_local:
            return target
        parent, _, name = target.rpartition("/")
        staged = f".{name}.{uuid.uuid4().hex[:8]}.partial"
        return f"{parent}/{staged}" if parent else staged

    def sweep(self, path: str, *, deep: bool = False) -> None:
        """Remove what a killed process left in a folder of ours: parts of files and replaced folders.

        Parameters
        ----------
        path : str
            The folder.
        deep : bool
            Look into every folder below it as well, as for the chunks of an array.
        """
        if not self.is_local:
            return
        found = self.local(path).rglob("*.partial") if deep else self.local(path).glob(".*")
        for place in list(found):
            left = LEFT_BEHIND.fullmatch(place.name)
            if left is not None and left["what"] == "old" and not place.with_name(left["name"]).exists():
                self._put_back(place, place.with_name(left["name"]))
            elif left is not None or (deep and place.name.endswith(".partial")):
                self.remove(str(place.relative_to(self.local())))

    def _put_back(self, aside: Path, place: Path) -> None:
        """Return an older folder to its place: whoever renamed it aside was killed before the new one came."""
        try:
            aside.rename(place)
        except OSError as error:
            raise write_error(str(place), error) from error

    def measure(self, path: str) -> tuple[int, int, float | None]:
        """Return the number of files at a path or below, their bytes, and when the newest was written.

        The time is in seconds since 1970, by the clock of the store; None where the store does not tell.
        """
        if not self.is_local:
            found = self._ask(path, lambda fs, full: list(fs.find(full, detail=True).values()))
            times = [_written(entry) for entry in found]
            newest = None if not times or None in times else max(t for t in times if t is not None)
            return len(found), sum(int(e.get("size") or 0) for e in found), newest
        place = self.local(path)
        files = [place, *place.rglob("*")] if place.is_dir() and not place.is_symlink() else [place]
        stats = [f.lstat() for f in files]
        known = [s for f, s in zip(files, stats, strict=True) if not f.is_dir() or f.is_symlink()]
        return len(known), sum(s.st_size for s in known), max(s.st_mtime for s in stats)

    def zarr_store(self, path: str = "", *, read_only: bool = False) -> Store:
        """Return the zarr store of a relative path."""
        import zarr

        if self.is_local:
            return zarr.storage.LocalStore(self.local(path), read_only=read_only)
        from kinocyte.experiment.patient_store import PatientStore

        if not read_only:
            self.check_writable()
        self._remote(path)  # the sentence for a missing package is ours
        store = zarr.storage.FsspecStore.from_url(
            self.at(path), storage_options=self.options or None, read_only=read_only
        )
        return PatientStore(store)


def _written(entry: dict[str, Any]) -> float | None:
    """Return when an object was written, in seconds since 1970; file systems name it differently."""
    for key in ("LastModified", "last_modified", "updated", "mtime", "created"):
        value = entry.get(key)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return None


def _pipe(fs: Any, full: str, content: bytes, **how: Any) -> None:
    if fs.protocol in ("memory", ("memory",)):
        fs.makedirs(fs._parent(full), exist_ok=True)
    fs.pipe_file(full, content, **how)


def _remove(fs: Any, full: str) -> None:
    if fs.exists(full):
        fs.rm(full, recursive=True)


class AtOnce(Storage):
    """The same place at one moment: what was read once is not read again. For reading only.

    Reading a position asks for the same small documents dozens of times; each is one request to an object store.
    """

    def __init__(self, storage: Storage) -> None:
        self.is_local, self.options, self.url = storage.is_local, storage.options, storage.url
        if not storage.is_local:
            self.__dict__["_fs"] = storage._fs
        self._documents: dict[str, dict[str, Any] | None] = {}
        self._folders: dict[str, list[str]] = {}

    def read_document(self, path: str) -> dict[str, Any] | None:
        """Return a JSON object, or None if the file is absent; callers leave it as it is."""
        if path not in self._documents:
            self._documents[path] = super().read_document(path)
        return self._documents[path]

    def listdir(self, path: str = "") -> list[str]:
        """Return the sorted names in a folder; an absent folder is empty."""
        if path not in self._folders:
            self._folders[path] = super().listdir(path)
        return self._folders[path]


def parse_document(content: bytes, place: str) -> dict[str, Any]:
    """Return the JSON object that a file holds."""
    try:
        document = from_json(content)
    except ValueError as error:
        msg = f"{place} is not valid JSON ({error}); restore it from a backup or import the position again."
        raise StoreError(msg) from error
    if not isinstance(document, dict):
        msg = f"{place} does not hold a JSON object; restore it from a backup or import the position again."
        raise StoreError(msg)
    return document


def _appear(partial: Path, target: Path) -> bool:
    """Give a written file its name unless the name is taken; disks without hard links create it in place."""
    try:
        os.link(partial, target)
    except FileExistsError:
        return False
    except OSError:
        try:
            with target.open("xb") as file:
                file.write(partial.read_bytes())
        except FileExistsError:
            return False
    return True


def remote_error(place: str, error: Exception) -> StoreError:
    """Return the sentence for a place on a network that cannot be read or written."""
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, PermissionError) or type(error).__name__ == "NoCredentialsError":
        return StoreError(f"No permission at {place} ({said}); check the name of the bucket and your credentials.")
    return StoreError(f"{place} does not answer ({said}); run the same command again once it does.")


def write_error(place: str, error: OSError) -> StoreError:
    """Return the sentence for a failed write."""
    if error.errno == errno.ENOSPC:
        return StoreError(f"The disk is full while writing {place}; free some space and run the same command again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"No permission to write {place}; choose a folder that you may write to.")
    return StoreError(
        f"Cannot write {place}: {error.strerror or error}; run the same command again once that is mended."
    )
