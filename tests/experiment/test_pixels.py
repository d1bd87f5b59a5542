"""Pixels and labels come back byte for byte, one frame at a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import kinocyte
from kinocyte import Scale
from kinocyte.core.errors import CalibrationError, ParameterError, StoreError
from kinocyte.experiment.writing import halve


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "float32", "float64", ">u2"])
@pytest.mark.parametrize("planes", [1, 3])
def test_frames_come_back_byte_for_byte(tmp_path: Path, dtype: str, planes: int) -> None:
    rng = np.random.default_rng(1)
    shape = (4, 2, 9, 11) if planes == 1 else (4, 2, planes, 9, 11)
    movie = rng.integers(0, 255, shape).astype(dtype)
    experiment = kinocyte.create(tmp_path / "e.zarr")
    writer = experiment.new_position(
        well="c03",
        field="x1",
        shape=(4, 2, planes, 9, 11),
        dtype=dtype,
        channels=["a", "ü b"],
        scale=Scale.isotropic(0.123456789, 7.25, z_um=1.5),
    )
    for t in (2, 0, 3, 1):
        writer.write(t, movie[t].astype(np.dtype(dtype).newbyteorder("=")))
    position = writer.finish()
    image = kinocyte.open(tmp_path / "e.zarr").position("C3/x1").image()
    assert image.channels == ("a", "ü b")
    assert image.dtype == np.dtype(dtype).newbyteorder("=")
    for t in range(4):
        for c, name in enumerate(image.channels):
            np.testing.assert_array_equal(image.frame(t, name), movie[t, c])
    assert position.scale.x_um == pytest.approx(0.123456789, abs=1e-12)
    assert position.scale.frame_interval_min == pytest.approx(7.25, abs=1e-12)


def test_nan_and_infinity_survive(tmp_path: Path) -> None:
    frame = np.array([[[np.nan, np.inf], [-np.inf, 0.0]]], np.float32)
    experiment = kinocyte.create(tmp_path / "e.zarr")
    writer = experiment.new_position(
        well="A1", field="0", shape=(1, 1, 1, 2, 2), dtype="float32", channels=["a"], scale=Scale.isotropic(1.0)
    )
    writer.write(0, frame)
    np.testing.assert_array_equal(writer.finish().image().frame(0, "a"), frame[0])


def test_one_chunk_never_holds_two_frames(tmp_path: Path, fill) -> None:  # type: ignore[no-untyped-def]
    fill(tmp_path / "e.zarr", shape=(3, 2, 4, 20, 30))
    meta = json.loads((tmp_path / "e.zarr/B/2/1/0/zarr.json").read_text())
    assert meta["chunk_grid"]["configuration"]["chunk_shape"][0] == 1


def test_large_frames_have_smaller_copies(tmp_path: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 999, (1, 2100, 1500)).astype(np.uint16)
    experiment = kinocyte.create(tmp_path / "e.zarr")
    writer = experiment.new_position(
        well="A1", field="0", shape=(1, 1, 1, 2100, 1500), dtype="uint16", channels=["a"], scale=Scale.isotropic(1.0)
    )
    writer.write(0, frame)
    image = writer.finish().image()
    assert image.n_levels == 3
    assert image.frame(0, "a", level=2).shape == (525, 375)
    expected = frame[0, :2, :2].mean()
    assert abs(float(image.frame(0, "a", level=1)[0, 0]) - expected) <= 0.5


@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_halving_keeps_the_range_and_labels_keep_their_values(plane: np.ndarray) -> None:
    half = halve(plane, labels=False)
    assert half.shape == (-(-plane.shape[0] // 2), -(-plane.shape[1] // 2))
    assert half.min() >= plane.min()
    assert half.max() <= plane.max()
    assert set(np.unique(halve(plane, labels=True))) <= set(np.unique(plane))


def test_interrupted_position_is_invisible_and_resumed(tmp_path: Path) -> None:
    plan = {
        "well": "A1",
        "field": "0",
        "shape": (3, 1, 1, 4, 4),
        "dtype": "uint8",
        "channels": ["a"],
        "scale": Scale.isotropic(1.0, 1.0),
    }
    experiment = kinocyte.create(tmp_path / "e.zarr")
    writer = experiment.new_position(**plan)
    writer.write(1, np.full((1, 4, 4), 7, np.uint8))
    reopened = kinocyte.open(tmp_path / "e.zarr")
    assert not reopened.positions
    with pytest.raises(StoreError, match="lacks the frames 0, 2"):
        writer.finish()
    again = reopened.new_position(**plan)
    assert again.done == {1}
    for t in (0, 2):
        again.write(t, np.zeros((1, 4, 4), np.uint8))
    assert again.finish().image().frame(1, "a").max() == 7
    assert reopened.new_position(**{**plan, "field": "1"}).done == frozenset()


def test_a_different_plan_starts_afresh(tmp_path: Path) -> None:
    plan = {
        "well": "A1",
        "field": "0",
        "shape": (2, 1, 1, 4, 4),
        "dtype": "uint8",
        "channels": ["a"],
        "scale": Scale.isotropic(1.0, 1.0),
    }
    experiment = kinocyte.create(tmp_path / "e.zarr")
    experiment.new_position(**plan).write(0, np.ones((1, 4, 4), np.uint8))
    assert experiment.new_position(**{**plan, "scale": Scale.isotropic(2.0, 1.0)}).done == frozenset()


def test_wrong_frames_are_refused_by_name(tmp_path: Path) -> None:
    experiment = kinocyte.create(tmp_path / "e.zarr")
    writer = experiment.new_position(
        well="A1", field="0", shape=(2, 1, 1, 4, 4), dtype="uint8", channels=["a"], scale=Scale.isotropic(1.0, 1.0)
    )
    with pytest.raises(StoreError, match="shape"):
        writer.write(0, np.zeros((1, 4, 5), np.uint8))
    with pytest.raises(StoreError, match="type"):
        writer.write(0, np.zeros((1, 4, 4), np.uint16))
    with pytest.raises(StoreError, match="no frame 9"):
        writer.write(9, np.zeros((1, 4, 4), np.uint8))


def test_unknown_channel_and_frame_name_the_right_ones(tmp_path: Path, fill) -> None:  # type: ignore[no-untyped-def]
    image = fill(tmp_path / "e.zarr").position("B2/1").image()
    with pytest.raises(ParameterError, match="did you mean 'c0'"):
        image.frame(0, "c00")
    with pytest.raises(ParameterError, match="frames 0 to 2"):
        image.frame(3, "c0")


def test_labels_replace_older_ones_only_when_whole(tmp_path: Path, fill) -> None:  # type: ignore[no-untyped-def]
    position = fill(tmp_path / "e.zarr").position("B2/1")
    with position.write_labels("nuclei") as writer:
        for t in range(3):
            writer.write(t, np.full((20, 30), t + 1, np.int64))
    before = position.labels_hash("nuclei")
    with pytest.raises(RuntimeError, match="boom"), position.write_labels("nuclei") as writer:  # noqa: PT012
        writer.write(0, np.zeros((20, 30), np.uint32))
        raise RuntimeError("boom")
    with pytest.raises(StoreError, match="frames 1-2"), position.write_labels("nuclei") as writer:
        writer.write(0, np.zeros((20, 30), np.uint32))
    assert position.labels("nuclei").frame(2).max() == 3
    assert position.labels_hash("nuclei") == before
    assert [n for n in (tmp_path / "e.zarr/B/2/1/labels").iterdir() if n.name.startswith(".")] == []


@pytest.mark.parametrize("bad", [np.full((20, 30), -1), np.full((20, 30), 2**32), np.full((20, 30), 1.5)])
def test_labels_that_are_no_labels_are_refused(tmp_path: Path, fill, bad: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    position = fill(tmp_path / "e.zarr").position("B2/1")
    with pytest.raises(StoreError, match="whole numbers"), position.write_labels("nuclei") as writer:
        writer.write(0, bad)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(frames=st.permutations(range(4)))
def test_pixel_hash_does_not_depend_on_the_order_of_writing(tmp_path_factory, frames: list[int]) -> None:  # type: ignore[no-untyped-def]
    root = tmp_path_factory.mktemp("hash")
    movie = np.arange(4 * 6, dtype=np.uint8).reshape(4, 1, 2, 3)
    hashes = []
    for name, order in (("a", range(4)), ("b", frames)):
        writer = kinocyte.create(root / f"{name}.zarr").new_position(
            well="A1", field="0", shape=(4, 1, 1, 2, 3), dtype="uint8", channels=["a"], scale=Scale.isotropic(1.0, 1.0)
        )
        for t in order:
            writer.write(t, movie[t])
        hashes.append(writer.finish().pixel_hash)
    assert hashes[0] == hashes[1]


def test_calibration_that_is_not_stated_is_asked_for(tmp_path: Path, fill) -> None:  # type: ignore[no-untyped-def]
    fill(tmp_path / "e.zarr")
    place = tmp_path / "e.zarr/B/2/1/zarr.json"
    meta = json.loads(place.read_text())
    for axis in meta["attributes"]["ome"]["multiscales"][0]["axes"]:
        axis.pop("unit", None)
    place.write_text(json.dumps(meta))
    with pytest.raises(CalibrationError, match="--pixel-size-um"):
        kinocyte.open(tmp_path / "e.zarr").position("B2/1").scale  # noqa: B018 - reading it is the test


@pytest.mark.parametrize("sharded", [False, True])
def test_one_flipped_bit_is_found_out(tmp_path: Path, sharded: bool) -> None:
    import zarr

    experiment = kinocyte.create(tmp_path / "e.zarr")
    shape = (2, 2, 1, 16, 16)
    scale = Scale.isotropic(0.5, 1.0)
    writer = experiment.new_position(
        well="B2", field="1", shape=shape, dtype="uint16", channels=["a", "b"], scale=scale, sharded=sharded
    )
    for t in range(2):
        writer.write(t, np.full((2, 16, 16), t + 1, np.uint16))
    position = writer.finish()
    with position.write_labels("n") as labels:
        for t in range(2):
            labels.write(t, np.ones((16, 16), np.uint32))
    for path, index, said in (
        ("B/2/1/0", (1, 1, 3, 3), "import the position again"),
        ("B/2/1/labels/n/0", (1, 3, 3), r"remove .*B/2/1/records/n.segmentation.json and run"),
    ):
        array = zarr.open_array(str(tmp_path / "e.zarr" / path), mode="r+")
        array[index] = 99  # as a disk would do it: no document changes
        opened = kinocyte.open(tmp_path / "e.zarr").position("B2/1")
        read = opened.labels("n").frame if "labels" in path else lambda t, p=opened: p.image().frame(t, "b")
        assert read(0).max() == 1
        with pytest.raises(StoreError, match=rf"Frame 1 of .* is damaged .*{said}"):
            read(1)
    assert opened.image().frame(1, "a").max() == 2


def test_an_image_that_a_run_replaces_or_a_person_deletes_is_not_called_damaged(tmp_path: Path) -> None:
    import shutil

    writer = kinocyte.create(tmp_path / "e.zarr").new_position(
        well="B2", field="1", shape=(2, 1, 1, 16, 16), dtype="uint16", channels=["a"], scale=Scale.isotropic(0.5, 1.0)
    )
    for t in range(2):
        writer.write(t, np.ones((1, 16, 16), np.uint16))
    position = writer.finish()
    for value in (1, 2):  # the second time as a run does it while a window looks on
        with position.write_labels("n") as labels:
            for t in range(2):
                labels.write(t, np.full((16, 16), value, np.uint32))
        if value == 1:
            seen = position.labels("n")
            assert seen.frame(0).max() == 1
    assert seen.frame(1).max() == 2
    shutil.rmtree(tmp_path / "e.zarr")
    with pytest.raises(StoreError, match=r"There is no image at .* any more: it was moved or deleted"):
        seen.frame(0)
