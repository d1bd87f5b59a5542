"""What made the results: every step record of every position in one file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kinocyte.core.version import __version__
from kinocyte.experiment.experiment import Experiment


def write_provenance(experiment: Experiment, folder: Path) -> Path:
    """Write ``provenance.json``: methods, parameters, versions, seeds, fingerprints and corrections."""
    positions: dict[str, Any] = {}
    for position in experiment.positions.values():
        positions[position.id] = {
            "name": position.name,
            "pixels": position.pixel_hash,
            "source": dict(position.attributes.get("source") or {}),
            "steps": {r.key: r.model_dump(mode="json") for r in position.records.all()},
            "corrections": [e.model_dump(mode="json") for e in position.journal.active()],
        }
    document = {
        "experiment": experiment.name,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "kinocyte": __version__,
        "conditions": experiment.conditions.to_dicts(),
        "positions": positions,
    }
    target = folder / "provenance.json"
    target.write_text(json.dumps(document, indent=1, ensure_ascii=False, default=str), encoding="utf-8")
    return target
