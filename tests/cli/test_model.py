"""`kinocyte model`: list, info, install, export, test, remove; torch is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from kinocyte.cli import run  # noqa: E402
from tests.deep_models import blob_finder, saved  # noqa: E402


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KINOCYTE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_the_life_of_an_installed_model(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = saved(blob_finder(), tmp_path / "shared.zip")
    assert run(["model", "install", str(source), "--name", "spots"]) == 0
    assert (models / "spots" / "rdf.yaml").is_file()
    capsys.readouterr()
    assert run(["model", "list"]) == 0
    said = capsys.readouterr().out
    assert "spots" in said
    assert "stardist" in said
    assert run(["model", "info", "spots"]) == 0
    said = capsys.readouterr().out
    assert "segmentation 'stardist'" in said
    assert "CC0-1.0" in said
    assert run(["model", "test", "spots"]) == 0
    assert "gives the test output" in capsys.readouterr().out
    assert run(["model", "export", "spots", "--out", str(tmp_path / "again.zip")]) == 0
    assert run(["model", "test", str(tmp_path / "again.zip")]) == 0
    assert run(["model", "remove", "spots"]) == 0
    assert not (models / "spots").exists()
    assert run(["model", "remove", "spots"]) == 2


def test_packages_of_other_programs(data: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["model", "install", str(data / "bioimageio_unet2d_nuclei_broad"), "--name", "broad"]) == 0
    capsys.readouterr()
    assert run(["model", "info", "broad"]) == 0
    said = capsys.readouterr().out
    assert "MIT" in said
    assert "segmentation 'semantic'" in said


def test_models_of_events(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kinocyte.events._deep import package_of

    assert run(["model", "list"]) == 0
    assert "events-step" in capsys.readouterr().out
    for model in ("events-step", str(package_of("events-step"))):
        assert run(["model", "info", model]) == 0
        said = capsys.readouterr().out
        assert "kinocyte events deep" in said
        assert "left_censored_called_event" in said
        assert run(["model", "test", model]) == 0
        assert "gives the test output" in capsys.readouterr().out


def test_what_is_no_model_is_refused(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    notes = str(tmp_path / "notes.txt")
    for words in (["install", notes], ["install", str(tmp_path / "nothing")], ["info", "nothing"],
                  ["install", notes, "--kind", "cellpose"], ["export", "x", "--out", "y"]):  # fmt: skip
        assert run(["model", *words]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not models.exists()
