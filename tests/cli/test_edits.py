"""`kinocyte edits`: the list of corrections, and taking them back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import kinocyte
from kinocyte import Scale
from kinocyte.cli import run
from kinocyte.core.schema import OBJECTS, empty
from kinocyte.experiment.editing import Disc

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def corrected(tmp_path: Path) -> str:
    """Return an experiment with one position and two corrections that wait."""
    experiment = kinocyte.create(tmp_path / "e.zarr")
    scale = Scale.isotropic(0.5, 1.0)
    writer = experiment.new_position(
        well="B2", field="1", shape=(1, 1, 1, 8, 8), dtype=np.uint8, channels=["dna"], scale=scale
    )
    writer.write(0, np.zeros((1, 8, 8), np.uint8))
    position = writer.finish()
    position.write_table("nuclei_objects", empty(OBJECTS))
    edit = position.edit("nuclei")
    edit.add(0, Disc(1.0, 1.0, 1.0))
    edit.add(0, Disc(3.0, 3.0, 1.0))
    return str(experiment.url)


def test_corrections_are_listed_undone_and_restored(corrected: str, capsys: Capture) -> None:
    assert run(["edits", corrected]) == 0
    shown = capsys.readouterr().out
    assert "add_object" in shown
    assert "2 wait to be applied" in shown
    assert run(["edits", corrected, "--position", "B2/1", "--undo", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["undone"] == 1
    assert [(c["number"], c["status"]) for c in document["corrections"]] == [(1, "pending")]
    assert run(["edits", corrected, "--position", "B2/1", "--undo", "9", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["undone"], document["corrections"]) == (1, [])
    assert run(["edits", corrected, "--position", "B2/1", "--redo", "2"]) == 0
    assert "2 redone" in capsys.readouterr().out
    assert run(["edits", corrected, "--population", "other"]) == 0
    assert "No corrections" in capsys.readouterr().out


def test_undo_needs_one_position_and_a_number(corrected: str, capsys: Capture) -> None:
    assert run(["edits", corrected, "--undo", "1"]) == 2
    assert "--position B2/1" in capsys.readouterr().err
    assert run(["edits", corrected, "--position", "B2/1", "--undo", "0"]) == 2
    assert "1 or more" in capsys.readouterr().err
    assert len(kinocyte.open(corrected).position("B2/1").journal.active()) == 2


def test_what_could_not_be_applied_is_an_exit_code(corrected: str, capsys: Capture) -> None:
    position = kinocyte.open(corrected).position("B2/1")
    with position.write_labels("nuclei") as writer:
        labels = np.zeros((8, 8), np.uint32)
        labels[1:3, 1:3] = 1
        writer.write(0, labels)
    from kinocyte.pipeline.execute import Workers
    from kinocyte.pipeline.parse import parse_pipeline
    from kinocyte.pipeline.run import run as run_pipeline

    pipeline = parse_pipeline("[population.nuclei]\nmeasure = []\n")
    assert run_pipeline(pipeline, kinocyte.open(corrected), where=Workers(workers=0)).ok
    kinocyte.open(corrected).position("B2/1").edit("nuclei").add(0, Disc(0.75, 0.75, 0.2))
    result = run_pipeline(pipeline, kinocyte.open(corrected), where=Workers(workers=0))
    assert result.ok
    assert run(["edits", corrected, "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)["corrections"]
    assert [r["status"] for r in rows] == ["applied", "applied", "conflict"]
    assert "leave no pixel" in rows[2]["message"]
