"""Movies of positions and strips of single cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from kinocyte.core.errors import MissingExtraError, ParameterError, StoreError
from kinocyte.experiment.experiment import Experiment
from kinocyte.report import write_movie
from kinocyte.report.colours import track_rgb
from kinocyte.report.gallery import CROP_PX, longest_tracks, strips
from kinocyte.report.movie import display_channel, movie_maker
from tests.report.conftest import PIXEL_UM, SIZE, add_position


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_a_movie_has_every_frame(experiment: Experiment, tmp_path: Path, suffix: str) -> None:
    path = write_movie(
        experiment.position("B2/1"), tmp_path / "new" / f"movie{suffix}", longest_px=256, frames_per_second=5
    )
    with Image.open(path) as movie:
        assert (movie.n_frames, movie.size) == (12, (256, 256))  # type: ignore[attr-defined]
        movie.seek(3)
        movie.load()
        assert movie.info["duration"] == 200
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_every_third_frame(experiment: Experiment, tmp_path: Path) -> None:
    path = write_movie(experiment.position("B2/1"), tmp_path / "m.gif", longest_px=128, every=3)
    with Image.open(path) as movie:
        assert movie.n_frames == 4  # type: ignore[attr-defined]


def test_mp4_needs_its_library_and_says_so(experiment: Experiment, tmp_path: Path) -> None:
    target = tmp_path / "movie.mp4"
    if find_spec("imageio_ffmpeg") is None:
        with pytest.raises(MissingExtraError, match="pip install imageio-ffmpeg"):
            write_movie(experiment.position("B2/1"), target)
        assert list(tmp_path.iterdir()) == []
        return
    write_movie(experiment.position("B2/1"), target, longest_px=128)
    assert target.read_bytes()[4:8] == b"ftyp"


def test_wrong_arguments_name_the_remedy(experiment: Experiment, tmp_path: Path) -> None:
    position = experiment.position("B2/1")
    with pytest.raises(ParameterError, match=r"ends in '\.avi'"):
        write_movie(position, tmp_path / "movie.avi")
    with pytest.raises(ParameterError, match="did you mean 'dye'"):
        write_movie(position, tmp_path / "movie.gif", channel="dy")
    with pytest.raises(ParameterError, match="did you mean 'cells'"):
        write_movie(position, tmp_path / "movie.gif", populations=["cell"])
    with pytest.raises(ParameterError, match="frames_per_second > 0"):
        write_movie(position, tmp_path / "movie.gif", frames_per_second=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_movie(position, tmp_path / "file" / "movie.gif")


def test_outlines_and_tails_lie_where_the_cells_are(experiment: Experiment) -> None:
    position = experiment.position("C2/1")
    maker = movie_maker(position, longest_px=2 * SIZE)
    picture = np.asarray(maker.picture(11)).astype(int)
    objects = position.objects("cells").filter(pl.col("frame") == 11)
    labels = position.labels("cells").frame(11)
    for row in objects.iter_rows(named=True):
        mask = (labels == row["label"]).repeat(2, 0).repeat(2, 1)
        mask[:40], mask[-40:], mask[:, -90:] = False, False, False  # time and scale bar
        inside = picture[mask]
        if mask.sum() > 100:
            assert (inside == track_rgb(row["track_id"])).all(axis=1).any()
    grey_only = np.asarray(movie_maker(position, populations=(), longest_px=2 * SIZE).picture(11)).astype(int)
    assert (grey_only.max(axis=2) == grey_only.min(axis=2)).all()


def test_the_channel_that_was_segmented_is_shown(new_experiment: Callable[..., Experiment]) -> None:
    position = add_position(new_experiment(), "A1", "1", n_frames=2, channels=["phase", "dye"])
    assert display_channel(position, ["cells"]) == "phase"  # the records of the fixture name the first channel
    position.records.drop("segmentation", "cells")
    assert display_channel(position, ["cells"]) == "phase"


def test_cells_are_shown_in_the_channel_in_which_they_were_found(new_experiment: Callable[..., Experiment]) -> None:
    position = add_position(new_experiment(), "A1", "1", n_frames=2, channels=["phase", "dye"])
    record = position.records.get("segmentation", "cells")
    assert record is not None
    position.records.put(record.model_copy(update={"method": {"method": {"method": "threshold", "channel": "dye"}}}))
    assert display_channel(position, ["cells"]) == "dye"
    maker = replace(movie_maker(position, channel="phase"), populations=("cells", "others"))
    assert {s.channel for s in strips(maker, "cells")} == {"dye"}


def test_strips_follow_the_longest_tracks(experiment: Experiment) -> None:
    maker = movie_maker(experiment.position("B3/1"))
    found = strips(maker, "cells", most_tracks=3, crops=5)
    assert [s.track_id for s in found] == [1, 2, 3]
    assert all(s.frames == (0, 3, 6, 8, 11) for s in found)
    assert all(s.picture.size == (5 * (CROP_PX + 2) - 2, CROP_PX) for s in found)
    middle = np.asarray(found[0].picture)[CROP_PX // 2 - 4 : CROP_PX // 2 + 4, CROP_PX // 2 - 4 : CROP_PX // 2 + 4]
    assert middle.mean() > 60  # the cell is in the middle


def test_longest_tracks_count_frames_and_break_ties_by_number() -> None:
    table = pl.DataFrame({"track_id": [5, 5, 2, 2, 9, 9, 9, None], "frame": [0, 1, 0, 1, 0, 1, 2, 3]})
    assert longest_tracks(table, 2) == [9, 2]
    assert longest_tracks(table.head(0), 2) == []


@pytest.mark.parametrize(
    ("n_frames", "n_cells", "planes", "n_channels"), [(1, 3, 1, 1), (3, 0, 1, 1), (2, 2, 4, 1), (2, 2, 1, 12)]
)
def test_one_frame_no_cells_stacks_and_many_channels(
    new_experiment: Callable[..., Experiment], tmp_path: Path, n_frames: int, n_cells: int, planes: int, n_channels: int
) -> None:
    names = [f"c{i}" for i in range(n_channels)]
    position = add_position(
        new_experiment(), "A1", "1", n_frames=n_frames, n_cells=n_cells, planes=planes, channels=names
    )
    path = write_movie(position, tmp_path / "m.webp", longest_px=128)
    with Image.open(path) as movie:
        assert getattr(movie, "n_frames", 1) == n_frames
        assert movie.size == (SIZE, SIZE)
    assert len(strips(movie_maker(position), "cells")) == min(n_cells, 4)


def test_cells_at_the_border_have_crops(new_experiment: Callable[..., Experiment]) -> None:
    position = add_position(new_experiment(), "A1", "1", n_frames=2, n_cells=1)
    corner = position.table("cells_objects").with_columns(x_um=pl.lit(0.0), y_um=pl.lit((SIZE - 1) * PIXEL_UM))
    position.write_table("cells_objects", corner)
    assert len(strips(movie_maker(position), "cells")) == 1
