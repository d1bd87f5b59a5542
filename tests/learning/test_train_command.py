"""`kinocyte train`: training files that are refused, and one that trains."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from kinocyte.cli import run
from kinocyte.cli._training_file import read_training_file
from kinocyte.core.errors import ParameterError
from kinocyte.simulation.signals import StepSignals, simulate_steps

SHIPPED = Path(__file__).resolve().parents[2] / "src" / "kinocyte" / "data" / "models"
TABLES = """
name = "mine"
signals = ["signal"]
[data]
objects = "objects.csv"
events = "events.csv"
movie = ["movie"]
[training]
epochs = 1
device = "cpu"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = [simulate_steps(StepSignals(cells=10, frames=20), seed=s) for s in range(3)]
    for name in ("cells", "events"):
        parts = [getattr(m, name).with_columns(movie=pl.lit(i)) for i, m in enumerate(made)]
        pl.concat(parts).write_csv(tmp_path / f"{'objects' if name == 'cells' else name}.csv")
    (tmp_path / "train.toml").write_text(TABLES)
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs", "epoch", "no key 'training.epoch'; did you mean 'epochs'"),
        ('name = "mine"', "", "'name' is missing"),
        ("epochs = 1", "epochs = 0", "training.epochs = 0"),
        ("[data]", "[date]", "no key 'date'; did you mean 'data'"),
        ("[data]", "[data", "cannot be read as a training file"),
        ('objects = "objects.csv"', "", "must name one of"),
        ('"objects.csv"', '"nothing.csv"', "does not exist"),
        ('movie = ["movie"]', 'movie = ["film"]', "lacks the column 'film'"),
        ('["signal"]', '["signa"]', "did you mean 'signal'"),
    ],
)
def test_a_training_file_that_is_wrong_is_refused_in_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    (folder / "train.toml").write_text(TABLES.replace(old, new))
    try:
        import torch  # noqa: F401 - only whether it is there
    except ImportError:
        if old in {'objects = "objects.csv"', '"objects.csv"', 'movie = ["movie"]', '["signal"]'}:
            pytest.skip("torch is not installed (extra 'deep'), which is said before the data is read")
    assert run(["train", str(folder / "train.toml"), "--out", str(folder / "model")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (folder / "model").exists()


def test_annotations_are_found_beside_the_training_file(folder: Path) -> None:
    labelled = read_training_file(folder / "train.toml").labelled(folder)
    assert len(labelled.kind) == 30
    assert set(labelled.signals.movie.tolist()) == {1, 2, 3}
    (folder / "train.toml").write_text(TABLES.replace('events = "events.csv"', ""))
    with pytest.raises(ParameterError, match="must name one of"):
        read_training_file(folder / "train.toml").labelled(folder)


def test_the_training_file_of_the_model_that_comes_with_kinocyte_is_the_one_it_was_trained_with() -> None:
    from kinocyte.learning.signals.model import load_model

    wanted, card = read_training_file(SHIPPED / "events-step.toml"), load_model(SHIPPED / "events-step").card
    assert card["training"] == {**wanted.training.model_dump(mode="json"), "seed": wanted.seed}
    assert card["data"] == wanted.data.model_dump(mode="json", exclude_none=True)
    assert card["held_out"]["precision"] >= 0.98
    assert card["held_out"]["left_censored_called_event"] <= 0.05
    size = sum(p.stat().st_size for p in (SHIPPED / "events-step").iterdir())
    assert size < 2_000_000


def test_a_model_is_trained_from_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'deep')")
    from kinocyte.events import Deep

    assert run(["train", str(folder / "train.toml"), "--out", str(folder / "model.zip")]) == 0
    assert "The model is in" in capsys.readouterr().out
    cells = pl.read_csv(folder / "objects.csv").filter(pl.col("movie") == 0)
    found = Deep(signals=("signal",), model=str(folder / "model.zip")).detect(cells, "death").events
    assert found.height == 10
    assert run(["train", str(folder / "train.toml"), "--out", str(folder / "model.zip")]) == 2
    assert "exists already" in capsys.readouterr().err
