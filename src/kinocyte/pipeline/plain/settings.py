"""The settings file beside a table of drift or of channels: what was done, in a form that does it again."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from kinocyte.core import registry
from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.core.version import __version__

if TYPE_CHECKING:
    from kinocyte.pipeline.plain.movies import PlainMovie
    from kinocyte.registration import Registrar


def settings_text(
    movie: PlainMovie,
    method: Registrar,
    options: BaseModel,
    out: Path,
    *,
    verb: str = "drift",
    flags: Sequence[str] = (),
) -> str:
    """Return the settings of an estimate as TOML.

    Parameters
    ----------
    movie : PlainMovie
        The movie.
    method : Registrar
        What was used.
    options : FileOptions
        What a person said about the files.
    out : Path
        Folder of the table, where the settings lie too.
    verb : {"drift", "channels"}
        What was estimated.
    flags : sequence of str
        Further words of the command.

    Returns
    -------
    str
        Keys ``kinocyte`` (version), ``command``, ``files``, ``channels``, ``frames``; then ``[registration]``,
        every parameter of the method.
    """
    said = options.model_dump(exclude_unset=True, exclude_defaults=True)
    words = [
        "kinocyte",
        verb,
        "estimate",
        *_sources(movie),
        "--settings",
        str(out.absolute() / f"{movie.stem}_{verb}.toml"),
    ]
    words += ["--out", "NEW_FOLDER", *_flags(said), *flags]
    head: dict[str, Any] = {
        "kinocyte": __version__,
        "command": shlex.join(words),
        "files": [str(p) for p in movie.movie.files],
        "channels": list(movie.channels),
        "frames": movie.movie.shape[0],
    }
    parameters = {k: v for k, v in method.model_dump(mode="json").items() if v is not None}
    lines = [f"{k} = {toml_value(v)}" for k, v in head.items()]
    lines += ["", "[registration]", *(f"{k} = {toml_value(v)}" for k, v in parameters.items())]
    return "\n".join(lines) + "\n"


def applied_text(
    movie: PlainMovie, table: Path, options: BaseModel, said: dict[str, Any], *, verb: str = "drift"
) -> str:
    """Return the settings of a correction as TOML: what was done with which table, and the command that does it again.

    Parameters
    ----------
    movie : PlainMovie
        The movie.
    table : Path
        Table of drift or of channel shifts, or the folder of tables.
    options : FileOptions
        What a person said about the files.
    said : dict
        Further options of the command by name; None for what was left out.
    verb : {"drift", "channels"}
        What was corrected.
    """
    given = {k: str(v) if isinstance(v, Path) else v for k, v in said.items() if v is not None}
    files = options.model_dump(exclude_unset=True, exclude_defaults=True)
    words = ["kinocyte", verb, "apply", str(table.absolute()), *_sources(movie), "--out", "NEW_FOLDER"]
    head: dict[str, Any] = {
        "kinocyte": __version__,
        "command": shlex.join([*words, *_flags(given), *_flags(files)]),
        "table": str(table.absolute()),
        "files": [str(p) for p in movie.movie.files],
        "channels": list(movie.channels),
        **given,
    }
    return "".join(f"{k} = {toml_value(v)}\n" for k, v in head.items())


def method_of(settings: Path | None, method: Any, default: Any) -> Any:
    """Return the method of a settings file, or the one of the command line where no file is given.

    Raises
    ------
    ParameterError
        If both are given.
    InputFileError
        As `read_method`.
    """
    if settings is None:
        return method
    if method != default:
        msg = "--settings holds the method with all its parameters; leave the other options of the method out."
        raise ParameterError(msg)
    return read_method(settings)


def read_method(path: Path) -> Registrar:
    """Return the method of a settings file.

    Raises
    ------
    InputFileError
        If it cannot be read, holds no ``[registration]``, or a parameter is refused.
    ParameterError
        If the method is unknown.
    """
    from kinocyte.registration import Registrar

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("registration")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{path} cannot be read as settings: {' '.join(str(error).split())}"
        raise InputFileError(msg) from error
    if not isinstance(table, dict) or not isinstance(table.get("method"), str):
        msg = f"{path} holds no [registration] with a method; give the .toml that an earlier run wrote."
        raise InputFileError(msg)
    try:
        method = registry.get("registration", table["method"]).model_validate(table)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        place = ".".join(map(str, item["loc"])) or "registration"
        msg = f"{path}, [registration] {place} is refused: {item['msg'].removeprefix('Value error, ')}."
        raise InputFileError(msg) from error
    if not isinstance(method, Registrar):
        msg = f"{type(method).__qualname__} is not a Registrar."
        raise TypeError(msg)
    return method


def _sources(movie: PlainMovie) -> list[str]:
    files = movie.movie.files
    return [str(files[0])] if len(files) == 1 else sorted({str(p.parent) for p in files})


def _flags(said: dict[str, Any]) -> list[str]:
    words = []
    for name, value in said.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag)
        elif isinstance(value, (list, tuple)):
            words += [flag, ",".join(map(str, value))]
        else:
            words += [flag, str(value)]
    return words


def toml_value(value: Any) -> str:
    """Return a text, number, truth value or list of them as TOML, which writes these as JSON does."""
    return json.dumps(value, ensure_ascii=False)
