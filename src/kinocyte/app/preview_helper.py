"""Previews of deep models in a process of their own, which stays: loading its library would hold the window up.

Started by the window as ``python -m kinocyte.app.preview_helper`` when the first deep model is previewed; it ends with
the window. Each question is one JSON line, each answer one JSON line that names a file of arrays.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from kinocyte.app.previews import Previews, Question, Shown
from kinocyte.core.errors import KinocyteError, ParameterError

_ARRAYS = ("labels", "before", "after", "arrows", "points")
_TAKEN = "KINOCYTE_PREVIEW_HELPER"


def is_deep(asked: Question) -> bool:
    """Tell whether a question needs a network, which is not loaded into the window's own process."""
    methods = [asked.method, *asked.restorers]
    methods += [asked.segmentation] if asked.segmentation is not None and asked.cells is None else []
    return any(getattr(m, "wants_gpu", False) for m in methods) and _TAKEN not in os.environ


class Helper:
    """Asks the other process; made without one, which is started by the first question."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._guard = threading.Lock()
        self._said: Path | None = None

    def answer(self, asked: Question) -> Shown:
        """Return what the other process says.

        Raises
        ------
        ParameterError
            If the method refuses, or the process ended.
        """
        with self._guard:
            process = self._started()
            asks, tells = process.stdin, process.stdout
            line = ""
            if asks is not None and tells is not None:  # both are pipes
                with contextlib.suppress(OSError):
                    asks.write(json.dumps(_written(asked)) + "\n")
                    asks.flush()
                    line = tells.readline()
            if not line:
                last = self._last_words()
                self.close()
                msg = f"The preview of this model ended unexpectedly ({last}); try again, or run it on this position."
                raise ParameterError(msg)
        found = json.loads(line)
        if "refused" in found:
            raise ParameterError(found["refused"])
        place = Path(found["arrays"])
        with np.load(place) as arrays:
            shown = Shown(found["sentence"], **{name: arrays[name] for name in arrays.files})
        place.unlink(missing_ok=True)
        return shown

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            handle, name = tempfile.mkstemp(prefix="kinocyte-preview-", suffix=".log")
            self._said = Path(name)
            with os.fdopen(handle, "w") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "kinocyte.app.preview_helper"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                    env={**os.environ, _TAKEN: "1"},
                )  # fmt: skip
        return self._process

    def _last_words(self) -> str:
        text = self._said.read_text(errors="replace").strip() if self._said is not None else ""
        return (text.splitlines() or ["no reason given"])[-1]

    def close(self) -> None:
        """End the other process."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
            process.wait(5)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        if self._said is not None:
            self._said.unlink(missing_ok=True)


def _written(asked: Question) -> dict[str, Any]:
    """Return a question as plain values; what was read for the window is read again there."""
    return {
        "url": asked.place[0],
        "options": dict(asked.place[1]),
        "position": asked.position.id,
        "frame": asked.frame,
        "kind": asked.kind,
        "method": _table(asked.method),
        "restorers": [_table(r) for r in asked.restorers],
        "segmentation": None if asked.segmentation is None else _table(asked.segmentation),
        "seed": asked.seed,
    }


def _table(method: Any) -> dict[str, Any]:
    bare: Any = getattr(method, "bare", method)
    table = bare.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"kind": bare.kind, "table": {**table, "method": bare.name()}}


def _read(found: Mapping[str, Any] | None) -> Any:
    from kinocyte.core import registry

    return None if found is None else registry.parse(found["kind"], found["table"])


class _Answerer:
    """Answers in the other process; experiments and models that were opened stay open."""

    def __init__(self) -> None:
        self._previews = Previews()
        self._positions: dict[tuple[str, str], Any] = {}

    def answer(self, asked: Mapping[str, Any]) -> dict[str, str]:
        """Return the answer to one question, as plain values."""
        from kinocyte.app.jobs import Job
        from kinocyte.experiment.experiment import open as open_experiment

        key = (asked["url"], asked["position"])
        if key not in self._positions:
            self._positions[key] = open_experiment(asked["url"], storage_options=asked["options"] or None).position(
                asked["position"]
            )
        question = Question(
            self._positions[key], asked["frame"], asked["kind"], _read(asked["method"]),
            tuple(_read(r) for r in asked["restorers"]), _read(asked["segmentation"]), seed=asked["seed"],
        )  # fmt: skip
        shown = self._previews.answer(question, Job("Preview"))
        arrays = {f.name: getattr(shown, f.name) for f in fields(shown) if f.name in _ARRAYS}
        handle, name = tempfile.mkstemp(prefix="kinocyte-preview-", suffix=".npz")
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, **{n: a for n, a in arrays.items() if a is not None})
        return {"sentence": shown.sentence, "arrays": name}


def main() -> int:
    """Answer questions until the window ends."""
    out = sys.stdout
    sys.stdout = sys.stderr  # libraries that print must not end up between the answers
    answerer = _Answerer()
    for line in sys.stdin:
        try:
            said = answerer.answer(json.loads(line))
        except KinocyteError as error:
            said = {"refused": str(error)}
        except (OSError, MemoryError) as error:
            said = {"refused": f"The preview failed: {error or type(error).__name__}."}
        out.write(json.dumps(said) + "\n")
        out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
