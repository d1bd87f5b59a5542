"""`kinocyte doctor`."""

from __future__ import annotations

import json
import os
import stat
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from kinocyte.cli import _environment
from kinocyte.cli.doctor import doctor


def test_here_everything_of_the_base_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is True
    assert said["mend"] == []
    libraries = {row["name"]: row for row in said["libraries"]}
    assert libraries["numpy"]["version"] == version("numpy")
    assert {row["state"] for row in libraries.values()} == {"works"}
    assert {"zarr", "polars", "numba", "scikit-image"} <= set(libraries)


def test_extras_name_what_is_missing_and_how_to_get_it() -> None:
    extras = {extra.name: extra for extra in _environment.extras()}
    assert {"formats", "deep", "app", "cluster"} <= set(extras)
    for extra in extras.values():
        assert extra.complete == (not extra.missing) == (extra.mend == "")
        for requirement in extra.missing:
            assert f'"{requirement}"' in extra.mend
    try:
        version("torch")
    except PackageNotFoundError:
        assert any(r.startswith("torch") for r in extras["deep"].missing)
        assert extras["deep"].mend.startswith(f"{sys.executable} -m pip install ")


def test_the_tables_are_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert doctor() == 0
    said = capsys.readouterr().out
    for part in (
        "This machine",
        "Libraries of the base",
        "Optional parts",
        "numpy",
        "Everything the base needs works.",
    ):
        assert part in said


def test_a_missing_library_is_named_with_its_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = ["numpy>=2.0", "no-such-library-42>=1.5", "packaging>=9999"]
    monkeypatch.setattr(_environment, "requires", lambda name: needs)
    monkeypatch.setattr(_environment, "checks", list)
    assert doctor(json=True) == 1
    said = json.loads(capsys.readouterr().out)
    states = {row["name"]: row["state"] for row in said["libraries"]}
    assert states == {"numpy": "works", "no-such-library-42": "missing", "packaging": "too old"}
    assert said["mend"] == [f'{sys.executable} -m pip install "no-such-library-42>=1.5" "packaging>=9999"']


def test_requirements_of_other_systems_and_extras_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = [
        "numpy",
        'winonly; sys_platform == "no-such-system"',
        'torch; extra == "deep"',
        'kinocyte[deep]; extra == "dev"',
        'pytest; extra == "dev"',
        'old; python_version < "3" and extra == "dev"',
    ]
    monkeypatch.setattr(_environment, "requires", lambda name: needs)
    assert [r.name for r in _environment._requirements()] == ["numpy"]
    assert [r.name for r in _environment._requirements("dev")] == ["torch", "pytest"]
    assert list(_environment._requirements("app")) == []


def test_a_library_that_fails_or_ends_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good_42.py").write_text("print('noise')\n")
    (tmp_path / "bad_42.py").write_text("raise RuntimeError('wrong\\nABI')\n")
    (tmp_path / "deadly_42.py").write_text("import os\nos._exit(132)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    results = _environment.import_results(["deadly_42", "bad_42", "good_42"])
    assert results["good_42"] == ("works", "")
    assert results["bad_42"] == ("broken", "RuntimeError: wrong ABI")
    assert results["deadly_42"][0] == "broken"
    assert "132" in results["deadly_42"][1]


def test_a_broken_library_is_installed_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_environment, "requires", lambda name: ["numpy>=2.0"])
    monkeypatch.setattr(_environment, "import_results", lambda modules: {"numpy": ("broken", "ImportError: ABI")})
    monkeypatch.setattr(_environment, "checks", list)
    assert doctor() == 1
    said = capsys.readouterr().out
    assert "ImportError: ABI" in said
    assert 'pip install --force-reinstall --no-deps "numpy>=2.0"' in said


def test_the_import_name_of_a_library_is_found() -> None:
    names = _environment._import_names()
    assert (names["scikit-image"], names["pillow"], names["numpy"]) == ("skimage", "PIL", "numpy")


@pytest.mark.skipif(sys.platform == "win32", reason="folders are made read-only by mode bits here")
def test_a_folder_without_right_to_write_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(closed / "cache"))
    if os.access(closed, os.W_OK):  # root may write anywhere, so the folder must not even be one
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    check = _environment.numba_cache()
    closed.chmod(stat.S_IRWXU)
    assert check.ok is False
    assert "NUMBA_CACHE_DIR" in check.mend


def test_a_store_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> str:
        raise OSError(28, "No space left on device")

    check = _environment._try("Write a Zarr store", full)
    assert check.ok is False
    assert "No space left on device" in check.detail
