"""Movies with a known answer, written as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

from kinocyte.cli import run
from kinocyte.simulation.cells import CellMovie, simulate_cells

SMALL = ["--frames", "4", "--set", "cells=4", "--set", "height_px=90", "--set", "width_px=80", "--set", "snr=12"]


def test_cells_and_their_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cells"
    assert run(["simulate", "cells", str(folder), "--replicates", "2", "--seed", "3", *SMALL]) == 0
    assert "kinocyte track" in capsys.readouterr().out
    settings = CellMovie(frames=4, cells=4, height_px=90, width_px=80, snr=12)
    for name, seed in (("cells_1", 3), ("cells_2", 4)):
        movie = simulate_cells(settings, seed=seed)
        with tifffile.TiffFile(folder / "movies" / f"{name}.ome.tif") as file:
            np.testing.assert_array_equal(file.asarray(), np.stack([movie.frame(t)[0] for t in range(4)]))
            assert 'PhysicalSizeX="0.65"' in str(file.ome_metadata)
        labels = tifffile.imread(folder / "truth" / f"{name}_labels.ome.tif")
        np.testing.assert_array_equal(labels, np.stack([movie.labels(t) for t in range(4)]))
        assert pl.read_csv(folder / "truth" / f"{name}_links.csv").height == movie.links.height
    truth = folder / "truth" / "cells_1_objects.csv"
    assert run(["evaluate", "tracking", str(truth), str(truth), "--max-distance-um", "6"]) == 0
    assert run(["simulate", "cells", str(folder)]) == 2
    assert "holds files already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cells", "--set", "sn=3"], "did you mean 'snr'"),
        (["cells", "--set", "snr=lots"], "--set snr"),
        (["cells", "--set", "snr"], "KEY=VALUE"),
        (["cells", "--set", "snr=3\ncells = 4"], "KEY=VALUE"),
        (["cells", "--set", "cells=100000"], "do not fit"),
        (["cells", "--replicates", "0"], "1 or more"),
        (["adcc", "--set", "targtes=1"], "did you mean 'targets'"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_writes_nothing(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", words[0], str(tmp_path / "out"), *words[1:]]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") <= 2
    assert not (tmp_path / "out").exists()
