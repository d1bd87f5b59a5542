"""The BioImage.IO description of a model of events, and the files that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.version import __version__
from kinocyte.learning.package import described, npy
from kinocyte.learning.signals.networks import CLASSES, PAPER_FRAMES, Kind, run
from kinocyte.learning.signals.operations import NumpyOperations
from kinocyte.learning.signals.series import CHANNELS, SignalSet, batch, prepare, resized
from kinocyte.learning.tensors import write_tensors

if TYPE_CHECKING:
    from kinocyte.learning.signals.model import SignalModel

Singles = NDArray[np.float32]
_TEST_FRAMES = 64


def describe(model: SignalModel) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return ``rdf.yaml`` (BioImage.IO model 0.5) as a table, and the other files by name."""
    kinds: list[Kind] = list(model.networks)
    first = kinds[0]
    files = {
        f"{kind}.safetensors" if kind != first else "weights.safetensors": write_tensors(model.networks[kind])
        for kind in kinds
    }
    given = _test_input(first, len(model.signals))
    said = run(first, NumpyOperations(), model.networks[first], given)
    files |= {"test_input.npy": npy(given), "test_output.npy": npy(said), "README.md": _readme(model).encode()}
    card, weights = model.card, described("weights.safetensors", files["weights.safetensors"])
    channels = given.shape[1]
    rdf = {
        "format_version": "0.5.4",
        "type": "model",
        "name": card.get("name", "events"),
        "description": card.get("description", "Tells of signals of cells whether and when an event happened."),
        "authors": [{"name": a} for a in card.get("authors", ["The Kinocyte developers"])],
        "license": card.get("license", "BSD-3-Clause"),
        "tags": ["events", "time series", "single cell", "live-cell imaging"],
        "cite": [{"text": "Torro et al., eLife 14, RP105302", "doi": "10.7554/eLife.105302"}],
        "documentation": {"source": "README.md"},
        "timestamp": card.get("timestamp", "2026-11-22T00:00:00+00:00"),
        "inputs": [
            _tensor("signals", _input_axes(first, channels), described("test_input.npy", files["test_input.npy"]))
        ],
        "outputs": [_tensor("said", _output_axes(first), described("test_output.npy", files["test_output.npy"]))],
        "weights": {
            "pytorch_state_dict": {
                **weights,
                "architecture": {
                    "callable": "module",
                    "import_from": "kinocyte.learning.signals._torch_operations",
                    "kwargs": {"kind": first, "channels": channels},
                },
                "pytorch_version": "2.6",
            }
        },
        "config": {"kinocyte": _ours(model, first, kinds, files)},
    }
    return rdf, files


def _ours(model: SignalModel, first: Kind, kinds: list[Kind], files: Mapping[str, bytes]) -> dict[str, Any]:
    more = {k: described(f"{k}.safetensors", files[f"{k}.safetensors"]) for k in kinds if k != first}
    ours = {
        "task": "events",
        "kind": first,
        "signals": list(model.signals),
        "classes": list(CLASSES),
        "temperature": model.temperature,
        "error_factor": model.error_factor,
        "version": __version__.partition("+")[0],
        "card": dict(model.card),
    }
    return {**ours, "more_weights": more} if more else ours


def _tensor(name: str, axes: list[dict[str, Any]], test: dict[str, str]) -> dict[str, Any]:
    return {"id": name, "axes": axes, "data": {"type": "float32"}, "test_tensor": test}


def _input_axes(kind: Kind, channels: int) -> list[dict[str, Any]]:
    if kind == "joint":
        n_signals = (channels - 1) // len(CHANNELS)
        names = [f"{c}_{s}" for c in CHANNELS for s in range(n_signals)] + ["inside"]
    else:
        names = [f"signal_{s}" for s in range(channels)]
    size: Any = {"min": 1, "step": 1} if kind == "joint" else PAPER_FRAMES
    return [
        {"type": "batch"},
        {"type": "channel", "id": "channel", "channel_names": names},
        {"type": "time", "id": "time", "size": size},
    ]


def _output_axes(kind: Kind) -> list[dict[str, Any]]:
    if kind != "joint":
        names = list(CLASSES) if kind == "classifier" else ["time"]
        return [{"type": "batch"}, {"type": "channel", "id": "channel", "channel_names": names}]
    return [
        {"type": "batch"},
        {"type": "channel", "id": "channel", "channel_names": list(CLASSES)},
        {"type": "time", "id": "time", "size": {"tensor_id": "signals", "axis_id": "time"}},
    ]


def _test_input(kind: Kind, n_signals: int) -> Singles:
    """Return one track that steps, as a network reads it."""
    rng = np.random.default_rng(0)
    time = np.arange(_TEST_FRAMES, dtype=float)
    value = 100 + 100 * (time > 40)[:, None] + rng.normal(0, 10, (time.size, n_signals))
    start = np.array([0, time.size])
    tracks = [t for t in prepare(SignalSet(value, time, start, np.zeros(1, np.int64))) if t is not None]
    return batch(tracks) if kind == "joint" else resized(tracks, length=PAPER_FRAMES)


def _readme(model: SignalModel) -> str:
    card = model.card
    lines = [f"# {card.get('name', 'events')}", "", str(card.get("description", "")), "", str(card.get("about", ""))]
    lines += ["", "Signals, in order: " + ", ".join(model.signals) + "."]
    found = card.get("held_out")
    if found:
        lines += ["", "On movies held out of training (they told when to stop, and set temperature and errors):", ""]
        for name in ("tracks", "precision", "recall", "left_censored_called_event", "mean_absolute_error",
                     "covered_95", "calibration_error"):  # fmt: skip
            value = found.get(name)
            lines.append(f"- {name}: {value:.4g}" if isinstance(value, float) else f"- {name}: {value}")
        lines += ["", "Times are in frames. Rows: true class, columns: called class (" + ", ".join(CLASSES) + ").", ""]
        lines += ["    " + " ".join(f"{n:6d}" for n in row) for row in found["confusion"]]
    return "\n".join(lines) + "\n"
