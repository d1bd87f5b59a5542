"""`kinocyte channels` on plain files: beads in, shifts out, images laid on each other."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray

from kinocyte.cli import run

TRUTH = {"green": (0.0, 0.0), "red": (1.4, -2.6)}


def beads(dx: float, dy: float, gain: float) -> NDArray[np.uint16]:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:120, :140].astype(float)
    image = np.full(y.shape, 100.0)
    for cy, cx in rng.uniform([8, 8], [112, 132], (30, 2)):
        image += 900 * gain * np.exp(-((y - cy - dy) ** 2 + (x - cx - dx) ** 2) / 5)
    return np.rint(image).astype(np.uint16)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with beads.ome.tif, a movie of two frames taken alike, and the shifts in out/."""
    folder = tmp_path_factory.mktemp("channels")
    frame = np.stack([beads(dx, dy, k + 1.0) for k, (dx, dy) in enumerate(TRUTH.values())])
    size = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "Channel": {"Name": list(TRUTH)}}
    tifffile.imwrite(folder / "beads.ome.tif", frame, ome=True, metadata={"axes": "CYX", **size})
    movie = np.stack([frame, frame])
    tifffile.imwrite(
        folder / "movie.ome.tif",
        movie,
        ome=True,
        metadata={"axes": "TCYX", "TimeIncrement": 2.0, "TimeIncrementUnit": "min", **size},
    )
    assert run(["channels", "estimate", str(folder / "beads.ome.tif"), "--out", str(folder / "out")]) == 0
    return folder


def test_the_table_is_the_truth(done: Path) -> None:
    table = pl.read_csv(done / "out" / "beads_channels.csv")
    assert table.columns == ["channel", "dx_px", "dy_px", "dz_px", "angle_deg", "quality"]
    assert table["channel"].to_list() == list(TRUTH)
    np.testing.assert_allclose(table.select("dx_px", "dy_px").to_numpy(), list(TRUTH.values()), atol=0.1)


def test_the_settings_do_it_again(done: Path, tmp_path: Path) -> None:
    words = ["channels", "estimate", str(done / "beads.ome.tif"), "--out", str(tmp_path / "one"), "--fixed", "red"]
    assert run([*words, "--correlation", "normalised"]) == 0
    settings = tomllib.loads((tmp_path / "one" / "beads_channels.toml").read_text(encoding="utf-8"))
    again = shlex.split(settings["command"].replace("NEW_FOLDER", str(tmp_path / "two")))
    assert run(again[1:]) == 0
    first, second = (pl.read_csv(tmp_path / n / "beads_channels.csv") for n in ("one", "two"))
    assert first.equals(second)
    assert first.filter(channel="red")["dx_px"].item() == 0
    assert first.filter(channel="green")["dx_px"].item() == pytest.approx(-1.4, abs=0.1)


def test_channels_lie_on_each_other(done: Path, tmp_path: Path) -> None:
    words = ["channels", "apply", str(done / "out" / "beads_channels.csv"), str(done / "movie.ome.tif")]
    assert run([*words, "--out", str(tmp_path), "--interpolation", "cubic"]) == 0
    with tifffile.TiffFile(tmp_path / "movie_aligned.ome.tif") as file:
        pixels = file.asarray()
        ome = tifffile.xml2dict(file.ome_metadata or "")["OME"]["Image"]["Pixels"]
    assert pixels.dtype == np.uint16
    assert pixels.shape == (2, 2, 120, 140)
    assert (ome["PhysicalSizeX"], ome["TimeIncrement"]) == (0.25, 2.0)
    assert [c["Name"] for c in ome["Channel"]] == list(TRUTH)
    green, red = pixels[1, :, 5:-5, 5:-5].astype(float)
    assert np.corrcoef(green.ravel(), red.ravel())[0, 1] > 0.98
    np.testing.assert_array_equal(pixels[:, 0], np.stack([beads(0, 0, 1.0)] * 2), "the fixed channel is untouched")


def test_a_magnified_channel_lies_on_the_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    place = rng.uniform([12, 12], [228, 228], (60, 2))
    y, x = np.mgrid[:240, :240].astype(float)

    def seen(size: float) -> NDArray[np.uint16]:
        image = np.full(y.shape, 100.0)
        for cy, cx in (place - 119.5) * size + 119.5:
            image += 900 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 5)
        return np.rint(image).astype(np.uint16)

    file = tmp_path / "slide.ome.tif"
    tifffile.imwrite(
        file, np.stack([seen(1.0), seen(1.01)]), ome=True, metadata={"axes": "CYX", "Channel": {"Name": ["a", "b"]}}
    )
    words = ["channels", "estimate", str(file), "--out", str(tmp_path), "--model", "similarity"]
    assert run(words) == 0
    table = pl.read_csv(tmp_path / "slide_channels.csv")
    assert table.filter(channel="b")["scale_x"].item() == pytest.approx(1.01, abs=5e-4)
    words = ["channels", "apply", str(tmp_path / "slide_channels.csv"), str(file), "--out", str(tmp_path / "still")]
    assert run([*words, "--interpolation", "fourier"]) == 2
    assert run([*words, "--interpolation", "cubic"]) == 0
    one, two = tifffile.imread(tmp_path / "still" / "slide_aligned.ome.tif")[:, 8:-8, 8:-8].astype(float)
    raw_one, raw_two = tifffile.imread(file)[:, 8:-8, 8:-8].astype(float)
    assert np.abs(one - two).mean() < 0.2 * np.abs(raw_one - raw_two).mean()


def test_the_settings_of_apply_do_it_again(done: Path, tmp_path: Path) -> None:
    table, movie = str(done / "out" / "beads_channels.csv"), str(done / "movie.ome.tif")
    assert run(["channels", "apply", table, movie, "--out", str(tmp_path / "one"), "--interpolation", "cubic"]) == 0
    settings = tomllib.loads((tmp_path / "one" / "movie_aligned.ome.tif.toml").read_text(encoding="utf-8"))
    assert run(shlex.split(settings["command"].replace("NEW_FOLDER", str(tmp_path / "two")))[1:]) == 0
    one, two = (tifffile.imread(tmp_path / n / "movie_aligned.ome.tif") for n in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_a_sample_brings_a_warning(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["channels", "estimate", str(done / "movie.ome.tif"), "--out", str(tmp_path), "--frame", "1", "--sample"]
    assert run(words) == 0
    assert "colocalisation" in capsys.readouterr().err
    settings = tomllib.loads((tmp_path / "movie_channels.toml").read_text(encoding="utf-8"))
    assert "--frame 1 --sample" in settings["command"]


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--fixed", "blue"], "has no channel 'blue'"),
        (["--frame", "5"], "--frame 5 is not among them"),
        (["--max-step-um", "3"], "has no meaning for channels"),
        (["--channel", "red"], "leave --channel out"),
    ],
)
def test_what_is_refused_at_estimate(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], sentence: str
) -> None:
    words = ["channels", "estimate", str(done / "beads.ome.tif"), "--out", str(tmp_path / "new"), *extra]
    assert run(words) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_what_is_refused_at_apply(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, movie, out = done / "out" / "beads_channels.csv", str(done / "movie.ome.tif"), str(tmp_path / "new")
    half = tmp_path / "half.csv"
    pl.read_csv(table).head(1).write_csv(half)
    empty = tmp_path / "empty.csv"
    pl.read_csv(table).with_columns(dx_px=pl.lit(float("nan"))).write_csv(empty)
    for words, sentence in (
        ([str(tmp_path / "no.csv"), movie], "estimate first"),
        ([str(half), movie], "no single row for channel 'red'"),
        ([str(empty), movie], "not a finite number"),
        ([str(table), movie, "--fill", "70000"], "does not fit into the uint16"),
        ([str(table), str(tmp_path / "no.tif")], "does not exist"),
    ):
        assert run(["channels", "apply", *words, "--out", out]) == 2
        assert sentence in capsys.readouterr().err
        assert not Path(out).exists()
    assert run(["channels", "estimate", str(done / "beads.ome.tif"), "--out", str(done / "out")]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["njt", "nanoj", "nanopyx"])
def test_tables_of_other_programs_there_and_back(done: Path, tmp_path: Path, form: str) -> None:
    ours, away, back = done / "out" / "beads_channels.csv", tmp_path / "away", tmp_path / "back"
    assert run(["channels", "convert", str(ours), "--to", form, "--out", str(away)]) == 0
    (foreign,) = away.iterdir()
    words = ["channels", "convert", str(foreign), "--to", "csv", "--out", str(back), "--channels", "green,red"]
    assert run(words) == 0
    columns = ["channel", "dx_px", "dy_px", "dz_px", "angle_deg"]
    first, second = (pl.read_csv(p).select(columns) for p in (ours, back / "beads_channels.csv"))
    assert first.equals(second)
    movie = str(done / "movie.ome.tif")
    for name, table in (("one", ours), ("two", foreign)):
        assert run(["channels", "apply", str(table), movie, "--out", str(tmp_path / name)]) == 0
    one, two = (tifffile.imread(tmp_path / n / "movie_aligned.ome.tif") for n in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_rows_and_channels_must_agree(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t_DriftTable.csv"
    table.write_text(" ,X-Drift (pixels),Y-Drift (pixels)\n1,0,0\n2,1,1\n3,2,2\n")
    out = ["--out", str(tmp_path / "new")]
    assert run(["channels", "apply", str(table), str(done / "movie.ome.tif"), *out]) == 2
    assert "3 rows for 2 channels (green, red)" in capsys.readouterr().err
    assert run(["channels", "convert", str(table), "--to", "csv", *out]) == 2
    assert "none is named" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_ome_zarr_holds_what_the_tiff_holds(done: Path, tmp_path: Path) -> None:
    words = ["channels", "apply", str(done / "out" / "beads_channels.csv"), str(done / "movie.ome.tif")]
    assert run([*words, "--out", str(tmp_path)]) == 0
    assert run([*words, "--out", str(tmp_path), "--format", "ome-zarr"]) == 0
    import zarr

    stored = zarr.open_array(tmp_path / "movie_aligned.ome.zarr" / "0", mode="r")
    np.testing.assert_array_equal(np.asarray(stored[:]), tifffile.imread(tmp_path / "movie_aligned.ome.tif"))
