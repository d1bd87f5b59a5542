"""What is needed to go on with a training exactly where it stopped, as one file that is whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, StoreError
from kinocyte.learning.tensors import read_tensors, write_tensors

_NOTES = "notes"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Numbers by name, and what is said about them (plain values)."""

    arrays: Mapping[str, NDArray[Any]]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def under(self, folder: str) -> dict[str, NDArray[Any]]:
        """Return the arrays whose names begin with a folder, by the rest of their names."""
        return {name.removeprefix(f"{folder}/"): a for name, a in self.arrays.items() if name.startswith(f"{folder}/")}


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; whoever is killed meanwhile leaves the one before.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    text = np.frombuffer(json.dumps(checkpoint.notes).encode(), np.uint8)
    write_whole(path, write_tensors({**checkpoint.arrays, _NOTES: text}))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}; free some space or choose another place."
        raise StoreError(msg) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint.

    Raises
    ------
    InputFileError
        If it cannot be read or is none.
    """
    try:
        arrays = read_tensors(path.read_bytes(), name=str(path))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}."
        raise InputFileError(msg) from error
    try:
        notes = json.loads(arrays.pop(_NOTES).tobytes())
    except (KeyError, ValueError) as error:
        msg = f"{path} is no checkpoint of a training: it lacks its notes."
        raise InputFileError(msg) from error
    return Checkpoint(arrays, notes)
