"""`kinocyte classifier`: strokes in, a classifier out that finds textured cells of the mean of their background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray

from kinocyte.cli import run

SIZE, CENTRES = 96, ((24, 26), (24, 70), (70, 30), (68, 72))


def write_movie(folder: Path) -> tuple[Path, NDArray[np.uint8]]:
    """Write two frames of cells that only their texture shows; return the file and the truth."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:SIZE, :SIZE]
    truth = np.zeros((2, SIZE, SIZE), np.uint8)
    for t in range(2):
        for cy, cx in CENTRES:
            truth[t][np.hypot(y - cy, x - cx - 2 * t) < 11] = 1
    movie = rng.normal(1000, np.where(truth, 120, 10)).clip(0).astype(np.uint16)
    path = folder / "cells.ome.tif"
    metadata = {"axes": "TYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Channel": {"Name": ["phase"]}}
    tifffile.imwrite(path, movie, ome=True, metadata=metadata)
    return path, truth


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, NDArray[np.uint8]]:
    folder = tmp_path_factory.mktemp("strokes")
    path, truth = write_movie(folder)
    strokes = np.zeros_like(truth)
    strokes[0, 23:26] = truth[0, 23:26] + 1
    strokes[1, 69:72] = truth[1, 69:72] + 1
    tifffile.imwrite(folder / "drawn.tif", strokes, metadata={"axes": "TYX"})
    model = folder / "m.npz"
    assert run(["classifier", "train", str(path), "--strokes", str(folder / "drawn.tif"), "--out", str(model)]) == 0
    return path, model, truth


def test_maps_and_objects_are_where_the_cells_are(
    trained: tuple[Path, Path, NDArray[np.uint8]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, model, truth = trained
    assert run(["classifier", "apply", str(path), "--model", str(model), "--out", str(tmp_path)]) == 0
    assert "cells: 8 objects in 2 frames" in capsys.readouterr().out
    maps = tifffile.imread(tmp_path / "cells_probabilities.ome.tif")
    assert maps.shape == (2, 2, SIZE, SIZE)
    np.testing.assert_allclose(maps.sum(axis=1), 1, atol=1e-5)
    labels = tifffile.imread(tmp_path / "cells_labels.ome.tif")
    for t in range(2):
        assert overlap(labels[t] > 0, truth[t] > 0) > 0.65
    with tifffile.TiffFile(tmp_path / "cells_probabilities.ome.tif") as file:
        assert 'Name="background"' in str(file.ome_metadata)
        assert 'Name="object"' in str(file.ome_metadata)
    assert run(["classifier", "apply", str(path), "--model", str(model), "--out", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_points_in_a_table_train_as_well(
    trained: tuple[Path, Path, NDArray[np.uint8]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _, truth = trained
    rows = [
        {"frame": 0, "x_um": 0.5 * x, "y_um": 12.0, "class": "cell" if truth[0, 24, x] else "empty"}
        for x in range(SIZE)
    ]
    table = tmp_path / "points.csv"
    pl.DataFrame(rows).write_csv(table)
    command = ["classifier", "train", str(path), "--strokes", str(table), "--out", str(tmp_path / "m.npz")]
    assert run([*command, "--classes", "empty", "cell"]) == 0
    pipeline = tmp_path / "p.toml"
    pipeline.write_text(
        '[population.cells.segmentation]\nmethod = "pixel_classifier"\nmodel = "m.npz"\n'
        '[population.cells.tracking]\nmethod = "lap"\nmax_distance_um = 5.0\n'
    )
    done = ["track", str(path), "--pipeline", str(pipeline), "--out", str(tmp_path / "out"), "--no-movie"]
    assert run([*done, "--frame-interval-min", "1"]) == 0
    assert "8 objects in 4 tracks" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--classes", "a", "b", "c"], "No stroke shows the class 'c'"),
        (["--use-channels", "faze"], "valid: phase"),
        (["--out", "m.txt"], "must end in .npz"),
        (["--strokes", "CELLS"], "which has"),
    ],
)
def test_refusals_are_one_sentence(
    trained: tuple[Path, Path, NDArray[np.uint8]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    message: str,
) -> None:
    path, model, _ = trained
    wrong = tmp_path / "wrong.csv"
    pl.DataFrame({"frame": [7], "x_um": [1.0], "y_um": [1.0], "class": ["object"]}).write_csv(wrong)
    said = {"--strokes": str(model.parent / "drawn.tif"), "--out": str(tmp_path / "x.npz")}
    rest = [str(wrong) if w == "CELLS" else w for w in change]
    if rest[0] in said:
        said[rest[0]] = rest[1]
        rest = []
    assert run(["classifier", "train", str(path), *[w for pair in said.items() for w in pair], *rest]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()
