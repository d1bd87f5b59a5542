"""Shards change how many files there are and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kinocyte
from kinocyte import Experiment, Scale
from kinocyte.core.errors import StoreError
from kinocyte.experiment import sharding
from kinocyte.experiment.sharding import count_chunks, frames_of_shard, shard_shape
from kinocyte.experiment.writing import PositionWriter

SHAPE = (10, 2, 1, 24, 30)
SCALE = Scale(y_um=0.5, x_um=0.5, frame_interval_min=3.0)
FRAME = 2 * 24 * 30 * 2


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let four frames share a shard."""
    monkeypatch.setattr(sharding, "SHARD_BYTES", 4 * FRAME)


def movie(seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.random.default_rng(seed).integers(0, 60_000, (10, 2, 24, 30)).astype(np.uint16)


def begin(experiment: Experiment, *, sharded: bool, field: str = "1") -> PositionWriter:
    return experiment.new_position(
        well="B2", field=field, shape=SHAPE, dtype="uint16", channels=["a", "b"], scale=SCALE, sharded=sharded
    )


def chunk_files(place: Path) -> int:
    return sum(1 for p in place.rglob("*") if p.is_file() and "/c/" in str(p))


def test_pixels_and_fingerprint_are_the_same_and_files_are_fewer(tmp_path: Path) -> None:
    pixels, made = movie(), {}
    for sharded in (False, True):
        experiment = kinocyte.create(tmp_path / f"{sharded}.zarr")
        writer = begin(experiment, sharded=sharded)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda t, w=writer: w.write(t, pixels[t]), range(10)))
        position = writer.finish()
        with position.write_labels("n") as labels:
            for t in range(10):
                labels.write(t, np.full((24, 30), t + 1, np.uint32))
        made[sharded] = kinocyte.open(tmp_path / f"{sharded}.zarr").position("B2/1")
    assert made[True].image().is_sharded
    assert made[True].labels("n").is_sharded
    assert not made[False].image().is_sharded
    assert made[True].pixel_hash == made[False].pixel_hash
    assert made[True].labels_hash("n") == made[False].labels_hash("n")
    for t in range(10):
        np.testing.assert_array_equal(made[True].image().frame(t, "b"), pixels[t, 1])
        assert made[True].labels("n").frame(t).max() == t + 1
    assert chunk_files(tmp_path / "False.zarr") == 10 * 2 + 10
    # 4 + 4 + 2 frames of pixels; labels of one channel have twice the bytes a pixel, so as many frames fit
    assert chunk_files(tmp_path / "True.zarr") == 3 + 3


def test_other_tools_open_shards(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    yaozarrs = pytest.importorskip("yaozarrs")
    experiment = kinocyte.create(tmp_path / "e.zarr")
    writer = begin(experiment, sharded=True)
    for t, frame in enumerate(movie()):
        writer.write(t, frame)
    writer.finish()
    array = zarr.open_array(str(tmp_path / "e.zarr/B/2/1/0"), mode="r")
    np.testing.assert_array_equal(array[:], movie())
    assert array.chunks == (1, 1, 24, 30)
    assert array.shards == (4, 2, 24, 30)
    yaozarrs.validate_zarr_store(str(tmp_path / "e.zarr"))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(10)), stop=st.integers(0, 10))
def test_any_order_and_any_interruption_give_the_same(tmp_path_factory: Any, order: list[int], stop: int) -> None:
    pixels, place = movie(), tmp_path_factory.mktemp("e") / "e.zarr"
    first = begin(kinocyte.create(place), sharded=True)
    for t in order[:stop]:
        first.write(t, pixels[t])
        assert len(first._arrays._waiting) <= 3, "memory is bounded"
    again = begin(kinocyte.open(place), sharded=True)
    assert again.done <= set(order[:stop])
    for t in order:
        if t not in again.done:
            again.write(t, pixels[t])
    position = again.finish()
    for t in range(10):
        np.testing.assert_array_equal(position.image().frame(t, "a"), pixels[t, 0])


def test_missing_frames_are_named_with_shards_too(tmp_path: Path) -> None:
    writer = begin(kinocyte.create(tmp_path / "e.zarr"), sharded=True)
    for t in (0, 1, 2, 3, 5, 8):
        writer.write(t, movie()[t])
    with pytest.raises(StoreError, match="lacks the frames 4, 6-7, 9"):
        writer.finish()


def test_an_import_shards_when_asked_or_when_chunks_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tifffile

    from kinocyte.interop import importing
    from kinocyte.interop.options import ImportOptions
    from kinocyte.interop.plan import plan_import

    tifffile.imwrite(tmp_path / "B2.tif", movie()[:, 0], imagej=True, metadata={"axes": "TYX"})
    for name, shard, many, expected in (
        ("asked", True, 100_000, True),
        ("few", None, 100_000, False),
        ("many", None, 9, True),
        ("refused", False, 9, False),
    ):
        monkeypatch.setattr(importing, "MANY_CHUNKS", many)
        options = ImportOptions(pixel_size_um=0.5, frame_interval_min=3.0, channels=("a",), shard=shard, wells="B2")
        importing.run_import(plan_import([str(tmp_path / "B2.tif")], options), tmp_path / f"{name}.zarr")
        position = next(iter(kinocyte.open(tmp_path / f"{name}.zarr").positions.values()))
        assert position.image().is_sharded is expected, name
        np.testing.assert_array_equal(position.image().frame(9, 0), movie()[9, 0])


def test_a_shard_holds_whole_frames_and_never_less_than_one() -> None:
    assert frames_of_shard((10, 2, 24, 30), 2) == 4
    assert frames_of_shard((10, 2, 2400, 3000), 2) == 1
    assert frames_of_shard((2, 2, 24, 30), 2) == 2
    assert shard_shape((10, 3, 5, 3000, 2048), (1, 1, 2, 2048, 2048), 4) == (4, 3, 6, 4096, 2048)
    assert count_chunks((10, 3, 5, 3000, 2048), (1, 1, 2, 2048, 2048)) == 10 * 3 * 3 * 2
