"""`kinocyte drift` on plain files: what is written, what is refused, and that the frames hold still."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from kinocyte.cli import run
from kinocyte.core.schema import DRIFT
from kinocyte.pipeline.plain.drift import sentence

#: dz, dy, dx of the content
PATH = np.array([[0, 0, 0], [0, 1.5, -0.75], [0, 2.25, -3], [0, -1, -4.5], [0, -3.5, -2.25], [0, 0.6, 5]])
CALIBRATION = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "TimeIncrement": 4.0, "TimeIncrementUnit": "min"}


def scene(shape: tuple[int, ...], seed: int = 1) -> NDArray[np.float64]:
    """Return a texture whose values run from 1000 to about 9000."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0, mode="wrap")
    return np.asarray(1000 + 8000 * (noise - noise.min()) / np.ptp(noise))


def drifting(side: int = 128, margin: int = 16) -> NDArray[np.uint16]:
    """Return two channels that drift alike, (t, c, y, x)."""
    big = [scene((side + 2 * margin,) * 2, seed) for seed in (1, 2)]
    inner = slice(margin, -margin)
    frames = [[ndimage.shift(c, s[1:], order=5, mode="grid-wrap")[inner, inner] for c in big] for s in PATH]
    return np.rint(frames).astype(np.uint16)


def write(path: Path, movie: NDArray[Any], **extra: Any) -> Path:
    tifffile.imwrite(path, movie, ome=True, metadata={"axes": "TCYX", **CALIBRATION, **extra})
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with movie.ome.tif, its drift in out/ and its correction in out/."""
    folder = tmp_path_factory.mktemp("drift")
    movie = write(folder / "movie.ome.tif", drifting(), Channel={"Name": ["phase", "red"]})
    assert run(["drift", "estimate", str(movie), "--out", str(folder / "out")]) == 0
    return folder


def test_the_table_is_the_truth(done: Path) -> None:
    table = pl.read_csv(done / "out" / "movie_drift.csv")
    assert table.columns[: len(DRIFT)] == list(DRIFT)
    assert {"error_px", "interpolated"} <= set(table.columns), "the columns of the method follow"
    np.testing.assert_allclose(table.select("dz_px", "dy_px", "dx_px").to_numpy(), PATH, atol=0.1)
    assert (table["quality"] > 0.5).all()


def test_pictures_are_drawn(done: Path) -> None:
    for name in ("drift", "before_after"):
        shades = np.asarray(Image.open(done / "out" / f"movie_{name}.png").convert("LA"))
        assert shades.std() > 10
        assert (done / "out" / f"movie_{name}.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")
    assert "Time (min)" in (done / "out" / "movie_drift.svg").read_text(encoding="utf-8")


def test_the_settings_do_it_again(done: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    movie = str(done / "movie.ome.tif")
    first = ["drift", "estimate", movie, "--out", str(tmp_path / "one"), "--no-plots"]
    assert run([*first, "--reference", "first", "--channel", "red", "--pixel-size-um", "0.5"]) == 0
    settings = tomllib.loads((tmp_path / "one" / "movie_drift.toml").read_text(encoding="utf-8"))
    assert settings["registration"]["reference"] == "first"
    words = shlex.split(settings["command"].replace("NEW_FOLDER", str(again)))
    assert run([*words[1:], "--no-plots"]) == 0
    assert (again / "movie_drift.csv").read_bytes() == (tmp_path / "one" / "movie_drift.csv").read_bytes()
    assert sorted(p.name for p in again.iterdir()) == ["movie_drift.csv", "movie_drift.toml"]


@pytest.mark.parametrize("canvas", ["same", "crop", "extend"])
def test_frames_hold_still(done: Path, tmp_path: Path, canvas: str) -> None:
    movie = str(done / "movie.ome.tif")
    words = ["drift", "apply", str(done / "out" / "movie_drift.csv"), movie, "--out", str(tmp_path)]
    assert run([*words, "--canvas", canvas, "--interpolation", "cubic", "--fill", "7"]) == 0
    with tifffile.TiffFile(tmp_path / "movie_corrected.ome.tif") as file:
        pixels = file.series[0].asarray()
        ome = tifffile.xml2dict(file.ome_metadata or "")["OME"]["Image"]["Pixels"]
    assert pixels.dtype == np.uint16
    assert pixels.shape[:2] == (6, 2)
    assert [c["Name"] for c in ome["Channel"]] == ["phase", "red"]
    assert (ome["PhysicalSizeX"], ome["PhysicalSizeY"], ome["TimeIncrement"]) == (0.5, 0.5, 4.0)
    assert ome["TimeIncrementUnit"] == "min"
    height, width = pixels.shape[2:]
    wanted = {"same": (128, 128), "crop": (128 - 6, 128 - 10), "extend": (128 + 6, 128 + 10)}[canvas]
    assert abs(height - wanted[0]) <= 1
    assert abs(width - wanted[1]) <= 1
    middle = pixels[:, :, 12:-12, 12:-12].astype(float)
    assert np.abs(middle - middle[0]).max() < 0.02 * 8000, "every frame shows what frame 0 shows"
    assert (pixels == 7).any() == (canvas != "crop"), "the fill stands where a frame shows nothing"
    assert not list(tmp_path.glob(".*")), "nothing half-written stays"


def test_the_settings_of_apply_do_it_again(done: Path, tmp_path: Path) -> None:
    table, movie = str(done / "out" / "movie_drift.csv"), str(done / "movie.ome.tif")
    assert run(["drift", "apply", table, movie, "--out", str(tmp_path / "one"), "--canvas", "crop"]) == 0
    settings = tomllib.loads((tmp_path / "one" / "movie_corrected.ome.tif.toml").read_text(encoding="utf-8"))
    assert run(shlex.split(settings["command"].replace("NEW_FOLDER", str(tmp_path / "two")))[1:]) == 0
    one, two = (tifffile.imread(tmp_path / n / "movie_corrected.ome.tif") for n in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_what_is_known_of_a_pattern_at_rest_is_said() -> None:
    drift = pl.DataFrame({"dx_px": [0.0], "dy_px": [0.0], "dz_px": [0.0], "angle_deg": [0.0], "quality": [1.0]})
    for known, words in (("suspected", "may hide the drift"), ("removed", "left out"), ("none", "0.00 px.")):
        assert words in sentence("movie", drift.with_columns(fixed_pattern=pl.lit(known), frame=pl.lit(0)))


def test_stacks_keep_their_planes_and_times(tmp_path: Path) -> None:
    big = scene((20, 96, 96), 3)
    shifts = np.array([[0, 0, 0], [1, 2, -3], [-2, 1, 4]])
    movie = np.stack([np.roll(big, s, axis=(0, 1, 2)) for s in shifts])[:, 3:-3, 8:-8, 8:-8].astype(np.float32)
    times = [t for t in (0.0, 5.0, 12.5) for _ in range(movie.shape[1])]
    plane = {"DeltaT": times, "DeltaTUnit": ["min"] * len(times)}
    source = {"axes": "TZYX", "PhysicalSizeX": 0.4, "PhysicalSizeY": 0.4, "PhysicalSizeZ": 1.5, "Plane": plane}
    tifffile.imwrite(tmp_path / "stack.ome.tif", movie, ome=True, metadata=source)
    out = tmp_path / "out"
    assert run(["drift", "estimate", str(tmp_path / "stack.ome.tif"), "--out", str(out), "--stack", "volume"]) == 0
    table = pl.read_csv(out / "stack_drift.csv")
    np.testing.assert_allclose(table.select("dz_px", "dy_px", "dx_px").to_numpy(), shifts, atol=0.1)
    assert run(["drift", "apply", str(out), str(tmp_path / "stack.ome.tif"), "--out", str(out)]) == 0
    with tifffile.TiffFile(out / "stack_corrected.ome.tif") as file:
        pixels = file.asarray()
        ome = tifffile.xml2dict(file.ome_metadata or "")["OME"]["Image"]["Pixels"]
    assert pixels.dtype == np.float32
    assert pixels.shape == movie.shape
    assert ome["PhysicalSizeZ"] == 1.5
    assert sorted({p["DeltaT"] for p in ome["Plane"]}) == [0.0, 5.0, 12.5]
    inner = (slice(None), slice(3, -3), slice(6, -6), slice(6, -6))
    assert np.abs(pixels[inner] - pixels[inner][0]).max() < 0.05 * 8000


def test_a_movie_that_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    angles = [0.0, 2.0, -3.0]
    big = scene((160, 200), 4)
    movie = np.rint([ndimage.rotate(big, a, reshape=False, mode="reflect")[20:-20, 20:-20] for a in angles])
    tifffile.imwrite(
        tmp_path / "turning.tif", movie.astype(np.uint16), photometric="minisblack", metadata={"axes": "TYX"}
    )
    path, out = str(tmp_path / "turning.tif"), str(tmp_path)
    assert run(["drift", "estimate", path, "--out", out, "--model", "rigid"]) == 0
    assert "largest turn 3.0" in capsys.readouterr().out
    found = pl.read_csv(tmp_path / "turning_drift.csv")["angle_deg"].to_numpy()
    np.testing.assert_allclose(np.abs(found), np.abs(angles), atol=0.1)
    assert run(["drift", "apply", out, path, "--out", out, "--canvas", "crop", "--interpolation", "cubic"]) == 0
    still = tifffile.imread(tmp_path / "turning_corrected.ome.tif").astype(float)
    assert np.abs(still - still[0]).max() < 0.05 * 8000


def test_a_blank_frame_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movie = drifting()
    movie[3] = 0
    path = write(tmp_path / "blank.ome.tif", movie)
    assert run(["drift", "estimate", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "1 could not be registered and were interpolated: 3." in capsys.readouterr().out
    assert "interpolated" in (tmp_path / "out" / "blank_drift.svg").read_text(encoding="utf-8")


def refused(words: list[str], capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """Return the sentence of a command that must be refused and must write nothing."""
    before = sorted(p.name for p in folder.rglob("*"))
    assert run(words) == 2
    assert sorted(p.name for p in folder.rglob("*")) == before
    return capsys.readouterr().err


def test_what_is_refused_at_estimate(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movie = str(done / "movie.ome.tif")
    out = ["--out", str(tmp_path / "new")]
    assert "does not exist" in refused(["drift", "estimate", str(tmp_path / "no.tif"), *out], capsys, tmp_path)
    assert "at least one file" in refused(["drift", "estimate", *out], capsys, tmp_path)
    assert "--out" in refused(["drift", "estimate"], capsys, tmp_path)
    assert "TABLE" in refused(["drift", "apply"], capsys, tmp_path)
    assert "has no channel 'blue'" in refused(["drift", "estimate", movie, *out, "--channel", "blue"], capsys, tmp_path)
    assert "movie_drift.csv exists already" in refused(
        ["drift", "estimate", movie, "--out", str(done / "out")], capsys, done
    )
    assert "Two movies are called 'movie'" in refused(["drift", "estimate", movie, movie, *out], capsys, tmp_path)
    assert "states a pixel size of 0.5 um" in refused(
        ["drift", "estimate", movie, *out, "--pixel-size-um", "0.9"], capsys, tmp_path
    )
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0 this is no image")
    assert "broken" in refused(["drift", "estimate", str(broken), *out], capsys, tmp_path)
    tifffile.imwrite(tmp_path / "bare.tif", drifting()[:, 0], metadata={"axes": "TYX"})
    words = ["drift", "estimate", str(tmp_path / "bare.tif"), *out, "--max-step-um", "3"]
    assert "give --pixel-size-um" in refused(words, capsys, tmp_path)


def test_settings_that_cannot_be_used_are_refused(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["drift", "estimate", str(done / "movie.ome.tif"), "--out", str(tmp_path / "new"), "--settings"]
    good = str(done / "out" / "movie_drift.toml")
    assert "leave the other options" in refused([*words, good, "--reference", "first"], capsys, tmp_path)
    assert "cannot be read as settings" in refused([*words, str(tmp_path / "no.toml")], capsys, tmp_path)
    bad = tmp_path / "bad.toml"
    bad.write_text('[registration]\nmethod = "phase_correlation"\nreference = "last"\n', encoding="utf-8")
    assert "[registration] reference is refused" in refused([*words, str(bad)], capsys, tmp_path)
    bad.write_text('name = "x"\n', encoding="utf-8")
    assert "holds no [registration]" in refused([*words, str(bad)], capsys, tmp_path)


def test_what_is_refused_at_apply(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movie, good = str(done / "movie.ome.tif"), done / "out" / "movie_drift.csv"
    out = ["--out", str(tmp_path / "new")]
    short = tmp_path / "short.csv"
    pl.read_csv(good).head(4).write_csv(short)
    assert "holds 4 frames, 'movie' 6" in refused(["drift", "apply", str(short), movie, *out], capsys, tmp_path)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    assert str(other) in refused(["drift", "apply", str(other), movie, *out], capsys, tmp_path)
    assert "estimate first" in refused(["drift", "apply", str(tmp_path), movie, *out], capsys, tmp_path)
    assert "does not fit into the uint16" in refused(
        ["drift", "apply", str(good), movie, *out, "--fill", "-1"], capsys, tmp_path
    )
    far = tmp_path / "far.csv"
    pl.read_csv(good).with_columns(dx_px=pl.col("frame") * 100.0).write_csv(far)
    words = ["drift", "apply", str(far), movie, *out, "--canvas", "crop"]
    assert "leaves no area" in refused(words, capsys, tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "movie_corrected.ome.tif").write_bytes(b"mine")
    words = ["drift", "apply", str(good), movie, "--out", str(tmp_path / "full")]
    assert "exists already" in refused(words, capsys, tmp_path)
    assert (tmp_path / "full" / "movie_corrected.ome.tif").read_bytes() == b"mine"


def test_a_movie_that_breaks_half_way_is_named_and_the_others_go_on(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.ome.tif"
    tifffile.imwrite(broken, drifting(), ome=True, compression="zlib", metadata={"axes": "TCYX", **CALIBRATION})
    with tifffile.TiffFile(broken) as file:
        page = file.pages[7]
        offset, length = page.dataoffsets[0], page.databytecounts[0]
    with broken.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * length)
    table = str(done / "out" / "movie_drift.csv")
    out = tmp_path / "out"
    assert run(["drift", "apply", table, str(broken), str(done / "movie.ome.tif"), "--out", str(out)]) == 1
    assert "failed: broken" in capsys.readouterr().err
    assert sorted(p.name for p in out.iterdir()) == ["movie_corrected.ome.tif", "movie_corrected.ome.tif.toml"]


def content(table: Path) -> NDArray[np.float64]:
    return pl.read_csv(table).select("dx_px", "dy_px", "dz_px").to_numpy()


@pytest.mark.parametrize("form", ["njt", "nanoj", "nanopyx"])
def test_tables_of_other_programs_there_and_back(done: Path, tmp_path: Path, form: str) -> None:
    ours, away, back = done / "out" / "movie_drift.csv", tmp_path / "away", tmp_path / "back"
    assert run(["drift", "convert", str(ours), "--to", form, "--out", str(away)]) == 0
    (foreign,) = away.iterdir()
    assert run(["drift", "convert", str(foreign), "--to", "csv", "--out", str(back)]) == 0
    np.testing.assert_array_equal(content(back / "movie_drift.csv"), content(ours))
    movie = str(done / "movie.ome.tif")
    for name, table in (("one", ours), ("two", away), ("three", foreign)):
        assert run(["drift", "apply", str(table), movie, "--out", str(tmp_path / name)]) == 0
    first, second, third = (tifffile.imread(tmp_path / n / "movie_corrected.ome.tif") for n in ("one", "two", "three"))
    np.testing.assert_array_equal(second, first)
    np.testing.assert_array_equal(third, first)


def test_drift_along_z_leaves_and_comes_as_a_second_table(tmp_path: Path) -> None:
    table = tmp_path / "m_drift.csv"
    columns = {"frame": [0, 1, 2], "dx_px": [0.0, 1.0, 2.5], "dy_px": [0.0, -3.0, 0.25], "dz_px": [0.0, 0.5, -2.0]}
    pl.DataFrame(columns).with_columns(angle_deg=0.0, quality=1.0).write_csv(table)
    assert run(["drift", "convert", str(table), "--to", "njt", "--out", str(tmp_path / "njt")]) == 0
    both = sorted(map(str, (tmp_path / "njt").iterdir()))
    assert [Path(p).name for p in both] == ["m_xy_DriftTable.njt", "m_z_DriftTable.njt"]
    assert run(["drift", "convert", *both, "--to", "csv", "--out", str(tmp_path / "back")]) == 0
    np.testing.assert_array_equal(content(tmp_path / "back" / "m_drift.csv"), content(table))
    stack = np.round(scene((3, 8, 40, 40), 5)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "m.ome.tif", stack, ome=True, metadata={"axes": "TZYX"})
    movie = str(tmp_path / "m.ome.tif")
    assert run(["drift", "apply", str(table), movie, "--out", str(tmp_path / "a")]) == 0
    words = ["drift", "apply", both[0], movie, "--z-table", both[1], "--out", str(tmp_path / "b")]
    assert run(words) == 0
    first, second = (tifffile.imread(tmp_path / n / "m_corrected.ome.tif") for n in "ab")
    np.testing.assert_array_equal(first, second)


def test_what_cannot_be_converted_is_refused(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = str(done / "out" / "movie_drift.csv")
    out = ["--out", str(tmp_path / "new")]
    assert "at least one table" in refused(["drift", "convert", "--to", "njt", *out], capsys, tmp_path)
    assert "both tables of 'movie'" in refused(["drift", "convert", good, good, "--to", "njt", *out], capsys, tmp_path)
    turned = tmp_path / "turned_drift.csv"
    pl.read_csv(good).with_columns(angle_deg=pl.col("frame") * 0.5).write_csv(turned)
    assert "cannot hold" in refused(["drift", "convert", str(turned), "--to", "njt", *out], capsys, tmp_path)
    scaled = tmp_path / "scaled_drift.csv"
    pl.read_csv(good).with_columns(scale_x=1.01).write_csv(scaled)
    assert "cannot hold" in refused(["drift", "convert", str(scaled), "--to", "njt", *out], capsys, tmp_path)
    bad = tmp_path / "bad.njt"
    bad.write_bytes(b"PK nothing")
    assert "bad.njt" in refused(["drift", "convert", str(bad), "--to", "csv", *out], capsys, tmp_path)
    words = ["drift", "apply", str(bad), str(done / "movie.ome.tif"), *out]
    assert "bad.njt" in refused(words, capsys, tmp_path)
    words = ["drift", "apply", str(done / "out"), str(done / "movie.ome.tif"), *out, "--z-table", good]
    assert "leave --z-table out" in refused(words, capsys, tmp_path)


def test_ome_zarr_holds_what_the_tiff_holds(done: Path, tmp_path: Path) -> None:
    movie, table = str(done / "movie.ome.tif"), str(done / "out" / "movie_drift.csv")
    words = ["drift", "apply", table, movie, "--out", str(tmp_path), "--canvas", "crop"]
    assert run(words) == 0
    assert run([*words, "--format", "ome-zarr"]) == 0
    place = tmp_path / "movie_corrected.ome.zarr"
    yaozarrs = pytest.importorskip("yaozarrs")
    yaozarrs.validate_zarr_store(str(place))
    from kinocyte.experiment.storage import Storage
    from kinocyte.interop.omezarr import read_omezarr

    (found,) = read_omezarr(str(place))
    assert Storage(place).exists("0/zarr.json")
    pixels = tifffile.imread(tmp_path / "movie_corrected.ome.tif")
    assert found.shape == (6, 2, 1, *pixels.shape[2:])
    assert found.dtype == np.uint16
    assert found.channels == ("phase", "red")
    known = found.calibration
    assert (known.pixel_x_um, known.frame_interval_min) == (0.5, 4.0)
    for t, c in np.ndindex(6, 2):
        np.testing.assert_array_equal(found.read(t, c), pixels[t, c])
    assert not list(tmp_path.glob(".*")), "nothing half-written stays"
    # and back in as a movie of its own
    assert run(["drift", "estimate", str(place), "--out", str(tmp_path / "again"), "--no-plots"]) == 0
    assert pl.read_csv(tmp_path / "again" / "movie_corrected_drift.csv")["dx_px"].abs().max() < 0.1


def test_ome_zarr_without_a_calibration_states_none(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "bare.tif", drifting()[:, 0], metadata={"axes": "TYX"})
    table = tmp_path / "t.csv"
    zero = pl.DataFrame({"frame": range(6)}).with_columns(
        **dict.fromkeys(("dx_px", "dy_px", "dz_px", "angle_deg"), pl.lit(0.0)), quality=1.0
    )
    zero.write_csv(table)
    words = ["drift", "apply", str(table), str(tmp_path / "bare.tif"), "--out", str(tmp_path), "--format", "ome-zarr"]
    assert run(words) == 0
    from kinocyte.interop.omezarr import read_omezarr

    (found,) = read_omezarr(str(tmp_path / "bare_corrected.ome.zarr"))
    assert (found.calibration.pixel_x_um, found.calibration.frame_interval_min) == (None, None)


def test_an_ome_zarr_that_breaks_half_way_leaves_nothing(done: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.ome.tif"
    tifffile.imwrite(broken, drifting(), ome=True, compression="zlib", metadata={"axes": "TCYX", **CALIBRATION})
    with tifffile.TiffFile(broken) as file:
        offset, length = file.pages[7].dataoffsets[0], file.pages[7].databytecounts[0]
    with broken.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * length)
    out = tmp_path / "out"
    table = str(done / "out" / "movie_drift.csv")
    assert run(["drift", "apply", table, str(broken), "--out", str(out), "--format", "ome-zarr"]) == 1
    assert not list(out.iterdir())


def test_the_bar_advances_by_frames(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kinocyte.cli.console import TaskBar

    seen: list[int] = []
    monkeypatch.setattr(TaskBar, "reached", lambda _, frames: seen.append(frames))
    words = ["drift", "estimate", str(done / "movie.ome.tif"), "--out", str(tmp_path / "out")]
    assert run(words) == 0
    assert seen == sorted(seen)
    assert set(seen) >= set(range(1, 7)), "every frame of the six moves the bar"
    assert seen[-1] == 6
    seen.clear()
    assert run(["drift", "apply", str(tmp_path / "out"), words[2], "--out", str(tmp_path / "out")]) == 0
    assert seen == sorted(seen)
    assert set(seen) >= set(range(1, 7))


def test_a_mask_leaves_out_what_moves_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movie = drifting()[:, :1]
    movie[:, 0, :64] = np.stack([np.roll(scene((64, 128), 7), (-4 * t, 5 * t), (0, 1)) for t in range(6)])
    path = write(tmp_path / "m.ome.tif", movie)
    mask = np.zeros((128, 128), np.uint8)
    mask[64:] = 255
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    words = ["drift", "estimate", str(path), "--no-plots", "--out"]
    assert run([*words, str(tmp_path / "one"), "--mask", str(tmp_path / "mask.tif")]) == 0
    found = content(tmp_path / "one" / "m_drift.csv")
    assert run([*words, str(tmp_path / "all")]) == 0
    lost = np.abs(content(tmp_path / "all" / "m_drift.csv") - PATH[:, ::-1]).max()
    assert np.abs(found - PATH[:, ::-1]).max() < min(0.6, 0.2 * lost)
    settings = tomllib.loads((tmp_path / "one" / "m_drift.toml").read_text(encoding="utf-8"))
    again = shlex.split(settings["command"].replace("NEW_FOLDER", str(tmp_path / "two")))
    assert run([*again[1:], "--no-plots"]) == 0
    assert (tmp_path / "two" / "m_drift.csv").read_bytes() == (tmp_path / "one" / "m_drift.csv").read_bytes()
    tifffile.imwrite(tmp_path / "small.tif", mask[:50])
    no = [*words, str(tmp_path / "no"), "--mask"]
    assert "they must agree" in refused([*no, str(tmp_path / "small.tif")], capsys, tmp_path)
    tifffile.imwrite(tmp_path / "void.tif", 0 * mask)
    assert "0 everywhere" in refused([*no, str(tmp_path / "void.tif")], capsys, tmp_path)
    assert "no single image" in refused([*no, str(path)], capsys, tmp_path)


def test_every_parameter_of_the_method_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    from kinocyte.registration import PhaseCorrelation

    assert run(["drift", "estimate", "--help"]) == 0
    said = capsys.readouterr().out
    assert "--version" not in said
    for name in set(PhaseCorrelation.model_fields) - {"method"}:
        assert f"--{name.replace('_', '-')}" in said


def test_options_that_hold_several_numbers(done: Path, tmp_path: Path) -> None:
    words = ["drift", "estimate", str(done / "movie.ome.tif"), "--out", str(tmp_path), "--no-plots"]
    more = [
        "--region-px",
        "10",
        "120",
        "5",
        "125",
        "--lags",
        "1",
        "--lags",
        "3",
        "--channel",
        "phase",
        "--channel",
        "red",
    ]
    assert run([*words, *more, "--combine", "joint", "--average-frames", "1"]) == 0
    settings = tomllib.loads((tmp_path / "movie_drift.toml").read_text(encoding="utf-8"))["registration"]
    assert settings["region_px"] == [10, 120, 5, 125]
    assert settings["lags"] == [1, 3]
    assert settings["channel"] == ["phase", "red"]
    np.testing.assert_allclose(content(tmp_path / "movie_drift.csv"), PATH[:, ::-1], atol=0.1)
