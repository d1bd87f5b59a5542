"""Bytes of an experiment: a folder on this machine or any fsspec URL, behind one small face.

Files are published by writing beside the target and renaming; object stores publish whole objects by nature.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from kinocyte.core.errors import StoreError

if TYPE_CHECKING:
    from zarr.abc.store import Store


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

        try:
            fs, root = fsspec.core.url_to_fs(self.url, **self.options)
        except (ImportError, ValueError) as error:
            msg = f"Cannot open {self.url}: {error}; for S3 run: pip install 'kinocyte[cluster]'"
            raise StoreError(msg) from error
        return fs, root.rstrip("/")

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
        fs, full = self._remote(path)
        return bool(fs.exists(full))

    def listdir(self, path: str = "") -> list[str]:
        """Return the sorted names in a folder; an absent folder is empty."""
        if self.is_local:
            try:
                return sorted(os.listdir(f"{self.url}/{path}"))  # noqa: PTH208 - as above
            except (FileNotFoundError, NotADirectoryError):
                return []
        fs, full = self._remote(path)
        fs.invalidate_cache()
        try:
            found = fs.ls(full, detail=False)
        except FileNotFoundError:
            return []
        return sorted({str(p).rstrip("/").rsplit("/", 1)[-1] for p in found if str(p).rstrip("/") != full.rstrip("/")})

    def read_bytes(self, path: str) -> bytes | None:
        """Return the content of a file, or None if it is absent."""
        try:
            if self.is_local:  # thousands of small files are read when a plate is looked at: no Path a file
                with open(f"{self.url}/{path}", "rb", buffering=0) as file:  # noqa: PTH123
                    return file.read()
            fs, full = self._remote(path)
            content = fs.cat_file(full)
            return bytes(content)
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
                fs, full = self._remote(path)
                if fs.protocol in ("memory", ("memory",)):
                    fs.makedirs(fs._parent(full), exist_ok=True)
                fs.pipe_file(full, content)
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
        fs, full = self._remote(path)
        if fs.protocol in ("memory", ("memory",)):
            fs.makedirs(fs._parent(full), exist_ok=True)
        if fs.exists(full):
            return False
        try:
            fs.pipe_file(full, content, mode="create")
        except FileExistsError:
            return False
        return True

    def remove(self, path: str) -> None:
        """Remove a file or folder of ours; absent is fine."""
        try:
            if not self.is_local:
                fs, full = self._remote(path)
                if fs.exists(full):
                    fs.rm(full, recursive=True)
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
            if place.name.endswith((".partial", ".old")):
                self.remove(str(place.relative_to(self.local())))

    def zarr_store(self, path: str = "", *, read_only: bool = False) -> Store:
        """Return the zarr store of a relative path."""
        import zarr

        if self.is_local:
            return zarr.storage.LocalStore(self.local(path), read_only=read_only)
        return zarr.storage.FsspecStore.from_url(
            self.at(path), storage_options=self.options or None, read_only=read_only
        )


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


def write_error(place: str, error: OSError) -> StoreError:
    """Return the sentence for a failed write."""
    if error.errno == errno.ENOSPC:
        return StoreError(f"The disk is full while writing {place}; free some space and run the same command again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"No permission to write {place}; choose a folder that you may write to.")
    return StoreError(
        f"Cannot write {place}: {error.strerror or error}; run the same command again once that is mended."
    )
