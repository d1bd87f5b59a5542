"""The trials of a sweep on disk: one line each, so that a sweep that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kinocyte.core.errors import StoreError
from kinocyte.experiment.storage import Storage, write_error
from kinocyte.pipeline.sweep.stages import Trial
from kinocyte.pipeline.sweep.truth import Truth

_HEAD, _TRIALS = "sweep.json", "trials.jsonl"


class Ledger:
    """Trials that are done, in a folder.

    Parameters
    ----------
    folder : Path
        Made if absent; one that holds something else is refused.
    identity : mapping
        What must be the same for trials to be comparable: experiment, population, truth.

    Raises
    ------
    StoreError
        If the folder holds something else, or the trials of another experiment or truth.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._folder = folder
        head = folder / _HEAD
        if folder.exists() and not folder.is_dir():
            msg = f"{folder} is a file; name a folder with --out."
            raise StoreError(msg)
        if head.is_file():
            known = _read_json(head)
            changed = [k for k in identity if known.get(k) != identity[k]]
            if changed:
                msg = f"{folder} holds a sweep with another {' and '.join(changed)}; name another folder with --out."
                raise StoreError(msg)
        elif folder.is_dir() and any(n.name != ".kinocyte.lock" for n in folder.iterdir() if ".lock" not in n.name):
            msg = f"{folder} holds files that are not of a sweep and is left as it is; name another folder with --out."
            raise StoreError(msg)
        else:
            text = json.dumps(dict(identity), indent=1, ensure_ascii=False)
            Storage(folder).write_bytes(_HEAD, text.encode())
        self.done = self._read()

    def _read(self) -> dict[str, Trial]:
        path = self._folder / _TRIALS
        found: dict[str, Trial] = {}
        if not path.is_file():
            return found
        content = path.read_bytes()
        for line in content.split(b"\n"):
            try:
                trial = Trial(**json.loads(line))
            except (ValueError, TypeError):  # the line that was being written when the sweep was killed
                continue
            if not trial.error:  # what failed is tried again: a full disk is no property of a setting
                found[trial.key] = trial
        if content and not content.endswith(b"\n"):
            self._append(b"\n")
        return found

    def add(self, trial: Trial) -> None:
        """Keep a trial before anything else happens."""
        self.done[trial.key] = trial
        self._append(json.dumps(asdict(trial), ensure_ascii=False).encode() + b"\n")

    def _append(self, content: bytes) -> None:
        path = self._folder / _TRIALS
        try:
            with path.open("ab") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise write_error(str(path), error) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} is damaged ({error}); name another folder with --out."
        raise StoreError(msg) from error
    return document if isinstance(document, dict) else {}


def mark_of(truth: Truth | None) -> dict[str, Any] | None:
    """Return what tells a truth from another: where it lies, what it holds, and a hash of its files."""
    if truth is None:
        return None
    digest = hashlib.blake2b(digest_size=16)
    files = sorted(p for p in truth.path.rglob("*") if p.is_file()) if truth.path.is_dir() else [truth.path]
    beside = truth.path.with_name(truth.path.name.replace("objects", "links"))
    if truth.kind == "objects" and beside.is_file():
        files.append(beside)
    for path in files:
        digest.update(path.name.encode())
        digest.update(hashlib.blake2b(path.read_bytes()).digest())
    return {"kind": truth.kind, "partial": truth.partial, "within_um": truth.match_distance_um,
            "content": digest.hexdigest()}  # fmt: skip
