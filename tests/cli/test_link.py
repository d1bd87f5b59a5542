"""`kinocyte link` says what it did not look for; `kinocyte track` finds divisions without a pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

from kinocyte.cli import run
from kinocyte.simulation.cells import CellMovie, simulate_cells

Capture = pytest.CaptureFixture[str]


def meeting_and_dividing(path: Path) -> set[tuple[int, int]]:
    """Write eight scenes in which two cells become one in the very frame in which a third divides; return the links."""
    rows: list[tuple[int, int, float, float]] = []
    links: set[tuple[int, int]] = set()
    for scene in range(8):
        x, before = 200.0 * scene, {}
        for t in range(10):
            apart = {"a": (x, 2.0 * t - 9), "b": (x, 9 - 2.0 * t), "c": (x + 60, 0.0)}
            after = {"ab": (x, 0.0), "d": (x + 60, -float(t)), "e": (x + 60, float(t))}
            now = {}
            for name, (at_x, at_y) in (apart if t < 4 else after).items():
                now[name] = len(rows)
                rows.append((len(rows), t, at_x + 0.3 * t, at_y))
            kin = {"ab": ("a", "b"), "d": ("c",), "e": ("c",)} if t == 4 else {n: (n,) for n in now}
            links |= {(before[p], now[n]) for n, parents in kin.items() for p in parents if p in before}
            before = now
    pl.DataFrame(rows, schema=["object_id", "frame", "x_um", "y_um"], orient="row").write_csv(path)
    return links


@pytest.mark.parametrize("mode", ["kinocyte", "trackmate"])
def test_merging_and_splitting_in_one_frame(tmp_path: Path, capsys: Capture, mode: str) -> None:
    true = meeting_and_dividing(tmp_path / "o.csv")
    words = ["--max-distance-um", "8", "--splitting-max-distance-um", "10", "--merging-max-distance-um", "10"]
    assert run(["link", str(tmp_path / "o.csv"), "--out", str(tmp_path / "l.csv"), *words, "--compatible", mode]) == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert f"{len(true)} links with 8 divisions are in" in said
    assert "not looked for" not in said
    assert set(pl.read_csv(tmp_path / "l.csv").select("source_id", "target_id").iter_rows()) == true


def test_what_was_not_looked_for_and_what_has_no_place_is_said(tmp_path: Path, capsys: Capture) -> None:
    rows = pl.DataFrame({"object_id": [0, 1, 2], "frame": [0, 1, 1], "x_um": [1.0, 1.5, np.nan], "y_um": 1.0})
    rows.write_csv(tmp_path / "o.csv")
    assert run(["link", str(tmp_path / "o.csv"), "--out", str(tmp_path / "l.csv")]) == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert "1 links are in" in said
    assert "1 of 3 objects have no position" in said
    assert "--splitting-max-distance-um" in said


def test_round_cells_are_followed_through_their_divisions(tmp_path: Path, capsys: Capture) -> None:
    settings = CellMovie(
        frames=10, height_px=100, width_px=100, cells=7, division_rate_per_h=1.5, shortest_cycle_min=15,
        death_rate_per_h=0,
    )  # fmt: skip
    movie = simulate_cells(settings, seed=1)
    um = {"PhysicalSizeX": 0.65, "PhysicalSizeY": 0.65, "TimeIncrement": 5.0, "TimeIncrementUnit": "min"}
    stack = np.stack([movie.frame(t)[0] for t in range(10)])
    tifffile.imwrite(tmp_path / "m.ome.tif", stack, ome=True, metadata={"axes": "TYX", **um})
    words = ["track", str(tmp_path / "m.ome.tif"), "--diameter-um", "11", "--no-movie", "--workers", "1", "--out"]
    assert run([*words, str(tmp_path / "with")]) == 0
    assert "divisions" in capsys.readouterr().out
    tracks = pl.read_csv(tmp_path / "with" / "m" / "m_cells_tracks.csv")
    true = movie.tracks["parent_id"].drop_nulls().n_unique()
    assert 0.6 * true <= tracks["parent_id"].drop_nulls().n_unique() <= 1.2 * true
    assert run([*words, str(tmp_path / "without"), "--no-divisions"]) == 0
    kept = json.loads((tmp_path / "without" / "m" / "track.json").read_text())
    assert kept["pipeline"]["population"]["cells"]["tracking"]["splitting_max_distance_um"] is None


@pytest.mark.parametrize("layout", ["stack", "pages", "folder"])
def test_masks_in_files_are_compared(tmp_path: Path, capsys: Capture, layout: str) -> None:
    frames = np.zeros((4, 30, 60), np.uint16)
    for t in range(4):
        frames[t, 5:15, 5 + 4 * t : 20 + 4 * t] = 7
        frames[t, 15:25, 30 - 4 * t : 45 - 4 * t] = 9
    rows = [(10 * t + label, t, label, 0.0, 0.0) for t in range(4) for label in (7, 9)]
    objects = pl.DataFrame(rows, schema=["object_id", "frame", "label", "x_um", "y_um"], orient="row")
    objects.write_csv(tmp_path / "o.csv")
    masks = tmp_path / ("masks" if layout == "folder" else "masks.tif")
    if layout == "folder":
        masks.mkdir()
        for t in range(4):
            tifffile.imwrite(masks / f"m{t:02d}.tif", frames[t])
    else:
        tifffile.imwrite(
            masks, frames, photometric="minisblack", metadata={"axes": "TYX"} if layout == "stack" else None
        )
    for extra in (["--method", "overlap"], ["--cost", "iou"]):
        out = tmp_path / f"{extra[1]}.csv"
        command = ["link", str(tmp_path / "o.csv"), "--out", str(out), *extra]
        assert run(command) == 2
        assert "--labels" in capsys.readouterr().err
        assert run([*command, "--labels", str(masks)]) == 0
        links = set(pl.read_csv(out).select("source_id", "target_id").iter_rows())
        assert links == {(10 * t + label, 10 * t + 10 + label) for t in range(3) for label in (7, 9)}


def test_no_manual_links_is_no_answer(tmp_path: Path, capsys: Capture) -> None:
    pl.DataFrame({"object_id": [1, 2, 5], "frame": [0, 1, 2], "x_um": 1.0, "y_um": 1.0}).write_csv(tmp_path / "o.csv")
    command = ["link", str(tmp_path / "o.csv"), "--method", "manual", "--out"]
    assert run([*command, str(tmp_path / "none.csv")]) == 2
    assert "--pairs" in capsys.readouterr().err
    for number, typed in enumerate((["1", "2", "--pairs", "2", "5"], ["[[1, 2], [2, 5]]"])):
        out = tmp_path / f"{number}.csv"
        assert run([*command, str(out), "--pairs", *typed]) == 0
        assert pl.read_csv(out).select("source_id", "target_id").rows() == [(1, 2), (2, 5)]
