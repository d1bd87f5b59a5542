"""Which positions are as a run meant to leave them: told from their records alone, without planning them again.

A plan looks at pixels' metadata, labels and every step of every position. A position whose records carry the very
fingerprints that the run meant them to have, whose outputs are there, and which nobody corrected, needs none of that: a
fingerprint covers all a result was made from, and pixels never change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kinocyte.core.errors import KinocyteError
from kinocyte.experiment.position import Position
from kinocyte.experiment.records import record_key


def is_settled(position: Position, tasks: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether all tasks of a position are done, as the entries of a run file name them.

    False means that the position must be planned to be told: something is missing, corrected, or was imported.

    Parameters
    ----------
    position : Position
        Seen at one moment (`Position.at_once`).
    tasks : sequence of mapping
        Entries of the position in the file of a run, ``step population fingerprint``.
    """
    try:
        if not tasks or position.journal.is_touched:
            return False
        records = position.records.documents()
        outputs: set[str] = set()
        for task in tasks:
            record = records.get(record_key(task["step"], task["population"]))
            if record is None or record.get("fingerprint") != task["fingerprint"]:
                return False
            outputs.update(record.get("outputs", ()))
        labels = {f"labels/{n}" for n in position.label_names}
        made = {f"labels/{task['population']}" for task in tasks if task["step"] == "segmentation"}
        there = {f"tables/{n}" for n in position.tables} | labels
    except KinocyteError:
        return False
    return outputs <= there and labels <= made  # labels that were imported may have changed since
