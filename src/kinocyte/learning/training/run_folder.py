"""The folder of one training: what was asked, how it went, what came out. It is never overwritten."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, StoreError
from kinocyte.learning.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint, write_whole

Singles = NDArray[np.float32]

_ASKED, _HISTORY, _RECORD, _MODEL = "training.json", "history.csv", "record.json", "model"


class RunFolder:
    """A folder with ``training.json`` (what was asked), ``history.csv``, ``checkpoints/`` and, at the end, ``model/``.

    Make one with `begin_run` or `resume_run`.
    """

    def __init__(self, path: Path, *, log: bool = False) -> None:
        self.path = path
        self._log = log
        self._logged = 0
        self._last = path / "checkpoints" / "last.safetensors"
        self._best = path / "checkpoints" / "best.safetensors"

    @property
    def model(self) -> Path:
        """Return where the trained model is or will be."""
        return self.path / _MODEL

    @property
    def finished(self) -> bool:
        """Tell whether the model is there."""
        return (self.model / "rdf.yaml").is_file()

    @property
    def asked(self) -> dict[str, Any]:
        """Return what was asked when the run began."""
        return dict(_json(self.path / _ASKED))

    def last_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint, None where there is none yet."""
        return read_checkpoint(self._last) if self._last.is_file() else None

    def best_weights(self) -> dict[str, Singles]:
        """Return the weights that did best on the held-out images."""
        return dict(read_checkpoint(self._best).arrays)

    def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write the newest checkpoint over the one before."""
        write_checkpoint(self._last, checkpoint)

    def keep_best(self, weights: Mapping[str, Singles], *, step: int, loss: float) -> None:
        """Write the best weights over those before."""
        write_checkpoint(self._best, Checkpoint(weights, {"step": step, "loss": loss}))

    def keep_state(self, weights: Mapping[str, Singles], *, step: int) -> None:
        """Write the weights of a step, which stay."""
        path = self._best.with_name(f"step-{step:07d}.safetensors")
        write_checkpoint(path, Checkpoint(weights, {"step": step}))

    def keep_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write the history, one row a look at the held-out images."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({n: int(v) if n == "step" else v for n, v in row.items()} for row in rows)
        write_whole(self.path / _HISTORY, buffer.getvalue().encode())
        if self._log:
            from kinocyte.learning.training.event_log import write_events

            write_whole(self.path / "log" / "events.out.tfevents.0.kinocyte", write_events(rows))

    def keep_record(self, record: Mapping[str, Any]) -> None:
        """Write what is known at the end: scores, time, machine."""
        write_whole(self.path / _RECORD, (json.dumps(record, indent=1) + "\n").encode())

    def abandon(self) -> None:
        """Remove the folder of a run that never began."""
        (self.path / _ASKED).unlink(missing_ok=True)
        self.path.rmdir()

    def history(self) -> list[dict[str, float]]:
        """Return the rows of the history, none before the first look."""
        path = self.path / _HISTORY
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as stream:
            return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]

    def record(self) -> dict[str, Any]:
        """Return what was known at the end; empty before."""
        path = self.path / _RECORD
        return dict(_json(path)) if path.is_file() else {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{path.parent} is no folder of a training: there is no {path.name} in it."
        raise InputFileError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}; {path.parent} is no folder of a training."
        raise InputFileError(msg) from error
    if not isinstance(found, dict):
        msg = f"{path} holds no table; {path.parent} is no folder of a training."
        raise InputFileError(msg)
    return found


def begin_run(path: Path, asked: Mapping[str, Any], *, log: bool = False) -> RunFolder:
    """Return the new folder of a training.

    Parameters
    ----------
    path : Path
        Must not exist yet, or be an empty folder.
    asked : mapping
        What is to be trained on what and how: plain values.
    log : bool
        Whether to keep a log for TensorBoard too.

    Raises
    ------
    StoreError
        If something is there already.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        msg = f"{path} exists already and is left as it is; name a new folder, or go on with that run by --resume."
        raise StoreError(msg)
    write_whole(path / _ASKED, _text(asked))
    return RunFolder(path, log=log)


def resume_run(path: Path, asked: Mapping[str, Any], *, log: bool = False) -> RunFolder:
    """Return the folder of a training that was begun with the same words.

    Raises
    ------
    StoreError
        If it was begun with others; the message names the first that differs.
    InputFileError
        If it is no folder of a training.
    """
    run = RunFolder(path, log=log)
    before = run.asked
    now = _as_known(json.loads(_text(asked)), before)
    if before != now:
        where = _first_difference(before, now)
        msg = f"{path} was begun with another {where}; restore it to go on, or begin a new run in another folder."
        raise StoreError(msg)
    return run


def _as_known(now: Any, before: Any) -> Any:
    """Return what is asked without the keys that Kinocyte did not have when the run began and that say nothing."""
    if not (isinstance(now, dict) and isinstance(before, dict)):
        return now
    return {key: _as_known(value, before.get(key)) for key, value in now.items() if key in before or value}


def _text(asked: Mapping[str, Any]) -> bytes:
    return (json.dumps(asked, indent=1) + "\n").encode()


def _first_difference(before: Any, now: Any, place: str = "") -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *now]:
            if before.get(key) != now.get(key):
                return _first_difference(before.get(key), now.get(key), f"{place}.{key}".lstrip("."))
    return f"{place} ({before!r}, now {now!r})"


def fingerprint(asked: Mapping[str, Any]) -> str:
    """Return the checksum of what was asked."""
    return hashlib.sha256(_text(asked)).hexdigest()
