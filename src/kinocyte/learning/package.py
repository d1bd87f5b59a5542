"""Models as BioImage.IO packages: a folder or a zip with ``rdf.yaml``, weights, test tensors, words and a licence.

Packages come from strangers: an archive is looked through before anything is unpacked, nothing in it is run, weights
are safetensors and arrays are read without pickles.
"""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, StoreError

#: most that a package may hold when it is unpacked
MOST_BYTES = 2 * 1024**3
MOST_FILES = 1000
#: how many times larger than its archive a file may be
_MOST_SWELLING = 200
_LONGEST_RDF = 10_000_000
_RDF = ("rdf.yaml", "bioimageio.yaml")


@dataclass(frozen=True, eq=False)
class Package:
    """The description of a model and the files it comes with, by their names in the package."""

    rdf: Mapping[str, Any]
    files: Mapping[str, bytes]
    name: str

    def file(self, name: str) -> bytes:
        """Return the bytes of a file that the description names.

        Raises
        ------
        InputFileError
            If it is not in the package, or its checksum is not the one described.
        """
        if name not in self.files:
            msg = f"The model package {self.name} lacks the file '{name}' that its description names; get it again."
            raise InputFileError(msg)
        return self.files[name]

    def checked(self, entry: Mapping[str, Any]) -> bytes:
        """Return the file of an entry with ``source`` and ``sha256``, refused where the checksum differs.

        Raises
        ------
        InputFileError
            As `file`.
        """
        source = str(entry.get("source", ""))
        content = self.file(source)
        wanted = entry.get("sha256")
        if wanted is not None and hashlib.sha256(content).hexdigest() != str(wanted):
            msg = f"The file '{source}' of the model package {self.name} is not the described one; get it again."
            raise InputFileError(msg)
        return content


def read_package(path: Path) -> Package:
    """Return the package in a folder or zip archive.

    Raises
    ------
    InputFileError
        If it is no package, or an archive with paths that lead out of it, links, too many or too large files.
    """
    files = _folder(path) if path.is_dir() else _archive(path)
    for name in _RDF:
        if name in files:
            return Package(_description(files[name], f"{path}/{name}"), files, str(path))
    msg = f"{path} is no model package: it holds no rdf.yaml; name a BioImage.IO folder or zip."
    raise InputFileError(msg)


def _description(content: bytes, place: str) -> Mapping[str, Any]:
    import yaml  # type: ignore[import-untyped]  # a library without types

    if len(content) > _LONGEST_RDF:
        msg = f"{place} is {len(content)} bytes long, which no description of a model is; get it again."
        raise InputFileError(msg)
    try:
        rdf = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{place} cannot be read: {' '.join(str(error).split())}"
        raise InputFileError(msg) from error
    if not isinstance(rdf, dict) or rdf.get("type") != "model":
        msg = f"{place} does not describe a model; name a BioImage.IO model."
        raise InputFileError(msg)
    return rdf


def _folder(path: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    total = 0
    for item in sorted(path.rglob("*")):
        if item.is_symlink():
            msg = f"The model package {path} holds the link {item.name}; replace it by the file."
            raise InputFileError(msg)
        if item.is_file():
            total += item.stat().st_size
            if total > MOST_BYTES or len(files) >= MOST_FILES:
                raise _too_much(path)
            files[item.relative_to(path).as_posix()] = item.read_bytes()
    return files


def _archive(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [i for i in archive.infolist() if not i.is_dir()]
            _look_through(entries, path)
            return {i.filename: _unpacked(archive, i, path) for i in entries}
    except FileNotFoundError as error:
        msg = f"There is no model package at {path}; name a BioImage.IO folder or zip."
        raise InputFileError(msg) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        if isinstance(error, InputFileError):
            raise
        msg = f"{path} cannot be read as a zip archive: {error}; get it again."
        raise InputFileError(msg) from error


def _look_through(entries: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse an archive before a byte of it is unpacked."""
    if len(entries) > MOST_FILES or sum(i.file_size for i in entries) > MOST_BYTES:
        raise _too_much(path)
    names = [i.filename for i in entries]
    for item in entries:
        name = item.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or PureWindowsPath(name).drive or "\0" in name:
            msg = f"The archive {path} holds '{name}', which leads out of it; it is not opened."
            raise InputFileError(msg)
        if stat.S_ISLNK(item.external_attr >> 16):
            msg = f"The archive {path} holds the link '{name}'; it is not opened."
            raise InputFileError(msg)
        if item.file_size > 1_000_000 and item.file_size > _MOST_SWELLING * max(item.compress_size, 1):
            raise _too_much(path)
    if len(set(names)) < len(names):
        msg = f"The archive {path} holds two files of one name; it is not opened."
        raise InputFileError(msg)


def _unpacked(archive: zipfile.ZipFile, item: zipfile.ZipInfo, path: Path) -> bytes:
    """Return a file, of which no more is unpacked than the archive says it holds."""
    with archive.open(item) as stream:
        content = stream.read(item.file_size + 1)
    if len(content) != item.file_size:
        raise _too_much(path)
    return content


def _too_much(path: Path) -> InputFileError:
    return InputFileError(
        f"The model package {path} would unpack to more than {MOST_FILES} files or {MOST_BYTES // 1024**2} MiB, or to "
        "far more than its size; it is not opened."
    )


def write_package(target: Path, rdf: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Write a package: a zip where the name ends in .zip, else a folder; it appears when it is whole.

    Raises
    ------
    StoreError
        If there is something at the target already, or it cannot be written.
    """
    import yaml

    if target.exists():
        msg = f"{target} exists already and is left as it is; name a new folder or zip."
        raise StoreError(msg)
    text = yaml.safe_dump(dict(rdf), sort_keys=False, allow_unicode=True, width=110).encode()
    every = {"rdf.yaml": text, **files}
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".zip":
            part.write_bytes(_zipped(every))
        else:
            part.mkdir()
            for name, content in every.items():
                (part / name).write_bytes(content)
        part.rename(target)
    except OSError as error:
        msg = f"{target} cannot be written: {error.strerror or error}; choose another place."
        raise StoreError(msg) from error


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """Return files as a zip that is the same whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    """Return an array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def from_npy(content: bytes, *, name: str) -> NDArray[Any]:
    """Return the array of a .npy file; one that would run code is refused.

    Raises
    ------
    InputFileError
        If it is no array of numbers.
    """
    try:
        # np.load would also open archives
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        msg = f"{name} cannot be read as an array of numbers: {error}"
        raise InputFileError(msg) from error
    return array


def described(name: str, content: bytes) -> dict[str, str]:
    """Return the entry of a file in a description: where it is and its checksum."""
    return {"source": name, "sha256": hashlib.sha256(content).hexdigest()}
