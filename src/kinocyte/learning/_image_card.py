"""What a model says of itself in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kinocyte.learning.model import ImageModel


def readme(model: ImageModel, left_out: Mapping[str, str]) -> str:
    """Return the page that goes with a model.

    Parameters
    ----------
    model : ImageModel
        What the page is about.
    left_out : mapping of str to str
        Forms of the network that the package lacks, with the reason.
    """
    card, record = model.card, model.card.get("training", {})
    lines = [f"# {model.name}", "", str(card.get("description", "")), "", str(card.get("about", "")), ""]
    lines += ["## Use", "", *_use(model), "", "## Training", "", *training_lines(record), ""]
    lines += ["## Validation", "", *_validation(record, card.get("test", {})), ""]
    lines += ["## Licence and citation", "", f"Licence of the weights: {card.get('license', 'unknown')}.", ""]
    lines += [f"- {line}" for line in distinct([*card.get("cite", ()), *model.task.references])]
    if left_out:
        lines += ["", "## Left out", "", *(f"- {form}: {why}." for form, why in left_out.items())]
    return "\n".join(lines).rstrip() + "\n"


def _use(model: ImageModel) -> list[str]:
    size = "not known: it takes images as they are"
    if model.pixel_um is not None:
        size = " x ".join(f"{s:g}" for s in model.pixel_um) + " um; images of another pixel size are rescaled"
    lines = [f"- Task: `{model.task.name()}`, {'planes (y, x)' if model.ndim == 2 else 'volumes (z, y, x)'}"]
    for c in model.inputs:
        n = c.normalisation
        scaled = {
            "percentile": f"percentiles {n.low:g} and {n.high:g} of the image become 0 and 1",
            "absolute": f"the grey values {n.low:g} and {n.high:g} become 0 and 1",
            "none": "grey values are not scaled",
        }[n.method]
        lines.append(f"- Channel `{c.name}`: {scaled}")
    lines.append(f"- Pixel size: {size}")
    lines += [f"- {name}: {value:g}" for name, value in model.settings.items()]
    return lines


def training_lines(record: Mapping[str, Any]) -> list[str]:
    """Return how a model was trained, one line a fact."""
    if not record:
        return ["How it was trained is not recorded."]
    n, s = record["images"], record["settings"]
    lines = [
        f"- {n['training']} images to learn from, {n['held_out']} held out whole"
        + (f", {n['replayed']} replayed" if n.get("replayed") else ""),
        f"- {record['steps']} steps of {s['batch_size']} patches of {s['patch_px']} pixels, seed {s['seed']}",
        f"- Learning rate {s['learning_rate']:g}, {s['schedule']}; the weights of step {record['best_step']} were kept",
    ]
    if record.get("start"):
        lines.append(f"- It began with the weights of {record['start']}")
    versions = ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items())
    minutes = "" if record.get("seconds") is None else f", {record['seconds'] / 60:.0f} minutes"
    return [*lines, f"- {record.get('machine', 'machine unknown')}{minutes}; {versions}"]


def _validation(record: Mapping[str, Any], test: Mapping[str, Any]) -> list[str]:
    lines = []
    if record.get("held_out"):
        lines += ["On the held-out images (they told which step to keep, and set the thresholds):", ""]
        lines += [_score(name, value) for name, value in record["held_out"].items()]
    if test:
        lines += ["", f"On test images that nothing was fitted to ({test.get('data', 'see about')}):", ""]
        lines += [_score(name, value) for name, value in test.items() if name != "data"]
    return lines or ["It was not validated."]


def _score(name: str, value: Any) -> str:
    return f"- {name}: {value:.4g}" if isinstance(value, float) else f"- {name}: {value}"


def distinct(references: Sequence[str]) -> list[str]:
    """Return references in order, the first of those with one DOI or one text."""
    found: dict[str, str] = {}
    for line in references:
        doi = re.search(r"10\.\d{4,}/\S+[\w)]", line)
        found.setdefault(doi[0].lower() if doi else line, line)
    return list(found.values())
