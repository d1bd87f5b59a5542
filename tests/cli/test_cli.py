"""The command as a person types it: exit codes, sentences, and what lies on disk afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import kinocyte
from kinocyte.cli import run

DEMO = Path(kinocyte.__file__).parent / "data" / "demo"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the demo once and return its folder."""
    folder = tmp_path_factory.mktemp("demo with ü and spaces")
    assert run(["demo", str(folder), "--workers", "0"]) == 0
    return folder


def test_demo_ends_with_a_report_and_tables(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (demo / "demo_report.html").stat().st_size > 50_000
    experiment = kinocyte.open(demo / "demo.zarr")
    tracks = experiment.tracks("nuclei").collect()
    objects = experiment.objects("nuclei").collect()
    assert tracks["period"].n_unique() == 2
    assert tracks["position"].n_unique() == 4
    per_frame = objects.group_by("position", "frame").len()["len"]
    assert 5 <= per_frame.median() <= 15, "about ten nuclei lie in each half of the field"
    assert tracks["parent_id"].drop_nulls().len() >= 2, "the movie shows mitoses"
    assert run(["demo", str(demo), "--workers", "0"]) == 0
    assert "12 kept from before" in capsys.readouterr().out


def test_status_as_text_and_as_json(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", str(demo / "demo.zarr")]) == 0
    assert "segmentation" in capsys.readouterr().out
    assert run(["status", str(demo / "demo.zarr"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["counts"] == {"done": 12}
    assert document["run"]["state"] == "finished"


@pytest.mark.parametrize("name", ["csv", "parquet", "excel", "labels", "napari"])
def test_export_writes_what_the_store_holds(demo: Path, tmp_path: Path, name: str) -> None:
    assert run(["export", str(demo / "demo.zarr"), str(tmp_path / "out"), "--formats", name]) == 0
    position = kinocyte.open(demo / "demo.zarr").position("A1/1")
    tracks = kinocyte.open(demo / "demo.zarr").tracks("nuclei").collect()
    out = tmp_path / "out"
    assert json.loads((out / "provenance.json").read_text())["positions"]["A1/1"]["steps"]["nuclei.tracking"]["method"]
    if name == "csv":
        read = pl.read_csv(out / "nuclei_tracks.csv")
        assert read.height == tracks.height
        assert read["mean_speed_um_per_min"].to_list() == pytest.approx(
            tracks["mean_speed_um_per_min"].to_list(), nan_ok=True
        )
    elif name == "parquet":
        assert pl.read_parquet(out / "nuclei_tracks.parquet").equals(tracks)
    elif name == "excel":
        import zipfile

        book = zipfile.ZipFile(out / "nuclei.xlsx").read("xl/workbook.xml").decode()
        assert all(f'name="{sheet}"' in book for sheet in ("objects", "tracks", "links"))
    elif name == "labels":
        import numpy as np
        import tifffile

        with tifffile.TiffFile(out / "A1_1_nuclei.ome.tif") as tif:
            read_labels = tif.asarray()
            assert 'PhysicalSizeX="0.645"' in (tif.ome_metadata or "")
        for t in range(15):
            np.testing.assert_array_equal(read_labels[t], position.labels("nuclei").frame(t))
    else:
        read = pl.read_csv(out / "A1_1_nuclei_tracks.csv")
        assert read.columns == ["track_id", "t", "y", "x"]
        assert read["x"].max() < 105
        graph = json.loads((out / "A1_1_nuclei_tracks_graph.json").read_text())
        assert set(map(int, graph)) <= set(read["track_id"])


@pytest.mark.filterwarnings("ignore")
def test_export_to_anndata(demo: Path, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    assert run(["export", str(demo / "demo.zarr"), str(tmp_path / "out"), "--formats", "anndata"]) == 0
    data = anndata.read_h5ad(tmp_path / "out/nuclei.h5ad")
    objects = kinocyte.open(demo / "demo.zarr").objects("nuclei").collect()
    assert data.n_obs == objects.height
    area = data[:, "area_um2"].X[:, 0]
    assert area.tolist() == pytest.approx(objects["area_um2"].to_list(), rel=1e-6)
    assert data.var.loc["area_um2", "unit"] == "um2"
    assert set(data.obs["period"]) == {"0 to 7 h", "7.5 to 14.5 h"}


def test_nothing_of_a_user_is_overwritten_by_an_export(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.doc").write_text("years")
    assert run(["export", str(demo / "demo.zarr"), str(tmp_path / "out")]) == 2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["thesis.doc"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run", "none.toml", "none.zarr"], "Cannot read the pipeline file none.toml"),
        (["run", str(DEMO / "pipeline.toml"), "none.zarr"], "There is no experiment at"),
        (["status", "none.zarr"], "kinocyte import"),
        (["import", "none.tif", "e.zarr"], "none.tif"),
        (["import"], "Name the files"),
        (["import", "a.tif"], "Name the experiment after the files"),
        (["import", "a.tif", "b.tif"], "ends in .zarr"),
        (["import", str(DEMO), "e.zarr", "--pixel-size-um", "-1"], "pixel-size-um"),
        (["export", "none.zarr", "out"], "There is no experiment"),
        (["rnu", "a"], "rnu"),
        (["run", "a.toml", "b.zarr", "--wrokers", "2"], "wrokers"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(
    argv: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(argv) == 2
    captured = capsys.readouterr()
    assert said in captured.err + captured.out
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == [], "nothing on disk is changed"


def test_dry_runs_change_nothing(tmp_path: Path, demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["import", str(DEMO), str(tmp_path / "e.zarr"), "--channels", "h2b", "--wells", str(DEMO / "plate.csv")]
    assert run([*argv, "--dry-run"]) == 0
    assert "A2/2" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    before = sorted(p.stat().st_mtime_ns for p in demo.rglob("*"))
    assert run(["run", str(demo / "pipeline.toml"), str(demo / "demo.zarr"), "--dry-run"]) == 0
    assert "0 tasks to do, 12 done already" in capsys.readouterr().out
    assert sorted(p.stat().st_mtime_ns for p in demo.rglob("*")) == before


def test_schema_is_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["$defs"]["Threshold"]["properties"]["channel"]["description"]


@pytest.mark.parametrize("verb", ["demo", "import", "run", "status", "report", "export", "schema", "doctor"])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"kinocyte {verb}" in said
    assert "Workers" not in said, "an internal name is no help"


@pytest.fixture
def small_disk(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Mount a disk of 4 MB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_named_and_the_same_command_goes_on(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 3_900_000)
    argv = ["import", str(DEMO), str(small_disk / "e.zarr"), "--channels", "h2b", "--wells", str(DEMO / "plate.csv")]
    assert run(argv) == 2
    assert "disk is full" in capsys.readouterr().err
    filler.unlink()
    assert run(argv) == 0
    assert len(kinocyte.open(small_disk / "e.zarr").positions) == 4
    filler.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize - 20_000))
    command = ["run", str(DEMO / "pipeline.toml"), str(small_disk / "e.zarr"), "--workers", "0", "--no-report"]
    assert run(command) in {1, 2}
    assert "disk is full" in capsys.readouterr().err
    filler.unlink()
    assert run(command) == 0
    assert kinocyte.open(small_disk / "e.zarr").tracks("nuclei").collect().height > 20


def test_interrupting_says_how_to_go_on(
    demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kinocyte.pipeline.status.status", stop)
    assert run(["status", str(demo / "demo.zarr")]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_the_command_is_there_and_says_its_version() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "kinocyte.cli", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert said.strip() == kinocyte.__version__


OBJECTS = "object_id,frame,x_um,y_um\n1,0,1,1\n2,0,20,20\n3,1,2,1\n4,1,21,20\n5,2,3,1\n6,3,21,21\n"


def test_link_takes_the_options_of_the_linker_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "o.csv", tmp_path / "links.csv"
    source.write_text(OBJECTS)
    assert run(["link", str(source), "--out", str(target), "--max-distance-um", "5", "--max-frame-gap", "2"]) == 0
    assert pl.read_csv(target).select("source_id", "target_id").rows() == [(1, 3), (2, 4), (3, 5), (4, 6)]
    before = target.read_text()
    assert run(["link", str(source), "--out", str(target)]) == 2
    assert target.read_text() == before
    for words, said in (
        (["--max-distanc-um", "3"], "--max-distance-um"),
        (["--max-distance-um", "-3"], "greater than or equal to 0.000001"),
        (["--method", "lapp"], "did you mean 'lap'"),
    ):
        assert run(["link", str(source), "--out", str(tmp_path / "no.csv"), *words]) == 2
        assert said in capsys.readouterr().err
    source.write_text("object_id,x_um\n1,2\n")
    assert run(["link", str(source), "--out", str(tmp_path / "no.csv")]) == 2
    assert "frame" in capsys.readouterr().err
    assert not (tmp_path / "no.csv").exists()


def test_help_of_link_shows_every_parameter_of_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    from kinocyte.core import registry

    assert run(["link", "--help"]) == 0
    said = "".join(capsys.readouterr().out.split())
    for name in registry.parameters(registry.get("tracking", "lap")):
        assert f"--{name.replace('_', '-')}"[:25] in said
