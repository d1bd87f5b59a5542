"""The models of this machine: those that come with Kinocyte, those a person installed, and packages at any path."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

from kinocyte.core.errors import InputFileError, ParameterError, StoreError, nearest
from kinocyte.learning.model import ImageModel
from kinocyte.learning.package import Package, read_package

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def folder() -> Path:
    """Return where installed models are: ``KINOCYTE_MODELS``, or a folder of the user's data."""
    asked = os.environ.get("KINOCYTE_MODELS")
    if asked:
        return Path(asked).expanduser()
    if sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "kinocyte" / "models"


def installed() -> dict[str, Path]:
    """Return the models that a person installed, by name."""
    found = folder()
    inside = sorted(found.iterdir()) if found.is_dir() else []
    return {p.name: p for p in inside if p.is_dir() and _NAME.fullmatch(p.name) and _described(p)}


def shipped() -> dict[str, Path]:
    """Return the models for images that come with Kinocyte, by name."""
    from kinocyte.learning.image_package import shipped as ours

    return ours()


def every() -> dict[str, Path]:
    """Return all models by name; one that was installed goes before one of ours with the same name."""
    return {**shipped(), **installed()}


def find(path_or_name: str | Path) -> Path:
    """Return where a model is: a path, the folder of a finished training, an installed model, or one of ours.

    Raises
    ------
    InputFileError
        If there is none.
    """
    path = Path(path_or_name).expanduser()
    if path.exists():
        inside = path / "model"
        return inside if _described(inside) and not _described(path) else path
    known = every()
    if str(path_or_name) in known:
        return known[str(path_or_name)]
    ours = Path(str(files("kinocyte") / "data" / "models"))
    if _NAME.fullmatch(str(path_or_name)) and (ours / str(path_or_name) / "rdf.yaml").is_file():
        msg = f"The model '{path_or_name}' calls events and is not for images; see kinocyte events deep --help."
        raise InputFileError(msg)
    msg = (
        f"There is no model '{path_or_name}': no folder or zip of that path, none installed and none of ours; "
        f"{nearest(str(path_or_name), known)}."
    )
    raise InputFileError(msg)


def opened(path_or_name: str | Path, *, checked: bool = True) -> ImageModel:
    """Return a model, read again only when its files have changed; see `kinocyte.learning.model.load_image_model`."""
    path = find(path_or_name).absolute()
    return _load(str(path), _stamp(path), checked)


@lru_cache(maxsize=8)
def _load(path: str, _stamp: object, checked: bool) -> ImageModel:
    return load(Path(path), checked=checked)


def load(path: Path, *, checked: bool = True) -> ImageModel:
    """Return the model of a package, ours or another program's, read anew; see `opened`."""
    from kinocyte.learning.foreign import packages
    from kinocyte.learning.image_package import load as load_ours

    package = read_package(path)
    if packages.is_ours(package):
        return load_ours(package, checked=checked)
    return packages.model_of(package, checked=checked)


def install(source: Path, name: str | None = None) -> Path:
    """Copy a package into the folder of installed models, after it has been checked, and return where it is.

    Raises
    ------
    InputFileError
        If it is no package, or not what it says.
    ParameterError
        If the name cannot be one.
    StoreError
        If a model of that name is installed already.
    """
    source = find(source)  # of a training the model
    package = read_package(source)
    model = load(source)
    return keep(package, checked_name(name or _plain(model.name)))


def keep(package: Package, name: str) -> Path:
    """Write the files of a package into the folder of installed models under a name; it appears when it is whole.

    Raises
    ------
    StoreError
        If there is a model of that name already, or the folder cannot be written.
    """
    target = folder() / name
    if target.exists():
        msg = f"A model '{name}' is installed already and is left as it is; remove it first or give --name."
        raise StoreError(msg)
    part = folder() / f".{name}.{uuid4().hex[:8]}.part"
    try:
        for inside, content in package.files.items():
            file = part / inside
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        part.rename(target)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        msg = f"{target} cannot be written: {error.strerror or error}; set KINOCYTE_MODELS to another folder."
        raise StoreError(msg) from error
    return target


def remove(name: str) -> Path:
    """Remove an installed model and return where it was.

    Raises
    ------
    InputFileError
        If none of that name is installed; those that come with Kinocyte stay.
    """
    known = installed()
    if name not in known:
        ours = " It comes with Kinocyte and stays." if name in shipped() else ""
        msg = f"No model '{name}' is installed; {nearest(name, known)}.{ours}"
        raise InputFileError(msg)
    shutil.rmtree(known[name])
    return known[name]


def checked_name(name: str) -> str:
    """Return a name that a folder may have.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if not _NAME.fullmatch(name):
        msg = f"A model cannot be called '{name}'; use letters, digits, '.', '_', '+' and '-', at most 64."
        raise ParameterError(msg)
    return name


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-._+")[:64] or "model"


def _described(path: Path) -> bool:
    return any((path / name).is_file() for name in ("rdf.yaml", "bioimageio.yaml"))


def _stamp(path: Path) -> Mapping[str, int] | tuple[tuple[str, int, int], ...]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return tuple((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in files)
