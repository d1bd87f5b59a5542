"""BioImage.IO data sets: a folder with ``rdf.yaml`` of the type ``dataset`` and the images it describes.

The description (versions 0.2 and 0.3) says what the data are, whose, under which licence and where they came from; how
images and targets lie in the folder it leaves open. So they are looked for by the names of folders, unless
``config.kinocyte`` names them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinocyte.core.errors import InputFileError
from kinocyte.interop.file_kinds import IMAGE_SUFFIXES
from kinocyte.interop.pair_folders import INPUT_WORDS, TARGET_WORDS

_DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml", "dataset.yaml")
_LONGEST = 10_000_000
_PART = 2**20
_SUFFIXES = {*IMAGE_SUFFIXES, ".npy"}


@dataclass(frozen=True, slots=True)
class Dataset:
    """A described data set on this machine.

    Parameters
    ----------
    name, license : str
        As described.
    cite : tuple of str
        What to cite, each with its DOI or address.
    inputs, targets : Path
        Folders of images and of what should come out of them; no targets where there is one folder of images.
    """

    name: str
    license: str
    cite: tuple[str, ...]
    inputs: Path
    targets: Path | None


def read_dataset(path: Path) -> Dataset:
    """Return a BioImage.IO data set, after the files it lists were compared with their checksums.

    Parameters
    ----------
    path : Path
        Folder with the description and the images, or the description itself.

    Raises
    ------
    InputFileError
        If it is none, a listed file is missing or another one, or it is not clear which folders are meant.
    """
    file = _description(path)
    rdf, folder = _read(file), file.parent
    _check_files(rdf, folder, file)
    inputs, targets = _named(rdf, folder, file) or _found(rdf, folder, file)
    return Dataset(
        str(rdf.get("name") or folder.name), str(rdf.get("license") or "not stated"), _cited(rdf), inputs, targets
    )


def is_described(path: Path) -> bool:
    """Tell whether a folder holds the description of a data set or model."""
    return any((path / name).is_file() for name in _DESCRIPTIONS)


def _description(path: Path) -> Path:
    if path.suffix == ".zip":
        msg = f"{path} is an archive; unpack it and name the folder with its rdf.yaml."
        raise InputFileError(msg)
    if path.is_file():
        return path
    for name in _DESCRIPTIONS:
        if (path / name).is_file():
            return path / name
    msg = f"There is no rdf.yaml in {path}, so it is no BioImage.IO data set; name its folders by inputs and targets."
    raise InputFileError(msg)


def _read(file: Path) -> Mapping[str, Any]:
    import yaml  # type: ignore[import-untyped]  # a library without types

    try:
        content = file.read_bytes()
        rdf = yaml.safe_load(content) if len(content) <= _LONGEST else None
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{file} cannot be read: {' '.join(str(error).split())}"
        raise InputFileError(msg) from error
    if not isinstance(rdf, dict) or rdf.get("type") != "dataset":
        kind = rdf.get("type") if isinstance(rdf, dict) else None
        msg = f"{file} describes {'a ' + str(kind) if kind else 'nothing'}, no data set; name a BioImage.IO data set."
        raise InputFileError(msg)
    return rdf


def _check_files(rdf: Mapping[str, Any], folder: Path, file: Path) -> None:
    """Refuse listed files that lead out of the folder, are missing or have another checksum."""
    listed = rdf.get("attachments")
    entries: Sequence[Any] = listed.get("files") or () if isinstance(listed, Mapping) else listed or ()
    for entry in entries:
        source = str(entry.get("source", "") if isinstance(entry, Mapping) else entry)
        if "://" in source:
            continue
        target = _inside(folder, source, file)
        if not target.is_file():
            msg = f"{file} lists '{source}', which is not there; get the data set again."
            raise InputFileError(msg)
        wanted = entry.get("sha256") if isinstance(entry, Mapping) else None
        if wanted and _sha256(target) != str(wanted):
            msg = f"{target} is not the file that {file.name} describes (its checksum is another); get it again."
            raise InputFileError(msg)


def _inside(folder: Path, name: str, file: Path) -> Path:
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        msg = f"{file} names '{name}', which leads out of its folder; it is not read."
        raise InputFileError(msg)
    return target


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(_PART):
            found.update(part)
    return found.hexdigest()


def _named(rdf: Mapping[str, Any], folder: Path, file: Path) -> tuple[Path, Path | None] | None:
    """Return the folders that ``config.kinocyte`` names."""
    config = rdf.get("config")
    ours = config.get("kinocyte") if isinstance(config, Mapping) else None
    if not isinstance(ours, Mapping) or "inputs" not in ours:
        return None
    inputs, targets = (_inside(folder, str(ours[k]), file) if ours.get(k) else None for k in ("inputs", "targets"))
    for place in (inputs, targets):
        if place is not None and not place.is_dir():
            msg = f"{file} names the folder '{place.name}', which is not there; get the data set again."
            raise InputFileError(msg)
    return (inputs, targets) if inputs is not None else None


def _found(rdf: Mapping[str, Any], folder: Path, file: Path) -> tuple[Path, Path | None]:
    """Return the one folder that is named like images and the one beside it that is named like targets."""
    places = sorted({p.parent for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and _counts(p, folder)})
    learnt = [p for p in places if not _words(p.relative_to(folder)) & _HELD_BACK] or places
    goals = [p for p in learnt if _words(Path(p.name)) & set(TARGET_WORDS)]
    inputs = [p for p in learnt if p not in goals]
    if len(inputs) > 1:
        inputs = [p for p in inputs if _words(Path(p.name)) & set(INPUT_WORDS)]
    goals = [p for p in goals if p.parent == inputs[0].parent] if inputs else []
    if len(inputs) == 1 and len(goals) <= 1:
        return inputs[0], goals[0] if goals else None
    if not places:
        source = rdf.get("source") or rdf.get("download_url")
        where = f"; get them from {source} and unpack them beside it" if source else ""
        msg = f"{file} describes images that are not there{where}."
        raise InputFileError(msg)
    seen = ", ".join(f"'{p.relative_to(folder)}'" for p in places[:6])
    msg = f"{folder} holds images in {seen}; say which are images and which targets by inputs and targets in [data]."
    raise InputFileError(msg)


#: words in names of folders that must not be learnt from
_HELD_BACK = {"test", "testing", "validation", "val", "holdout"}


def _counts(path: Path, folder: Path) -> bool:
    """Tell whether an image is one of the data: no link, nothing hidden, no cover beside the description."""
    parts = path.relative_to(folder).parts
    return len(parts) > 1 and not path.is_symlink() and not any(p.startswith((".", "__")) for p in parts)


def _words(path: Path) -> set[str]:
    return {w for w in re.split(r"[^a-z0-9]+", path.as_posix().lower()) if w}


def _cited(rdf: Mapping[str, Any]) -> tuple[str, ...]:
    lines = []
    for entry in rdf.get("cite") or ():
        if isinstance(entry, Mapping):
            where = entry.get("doi") or entry.get("url") or ""
            lines.append(" ".join(str(p) for p in (entry.get("text"), where) if p))
    return tuple(lines)
