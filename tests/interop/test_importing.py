"""From files to the experiment: byte for byte, resumable, each position whole or not there."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import kinocyte
from kinocyte.core.errors import BusyError, ParameterError, StoreError
from kinocyte.experiment.position import Position
from kinocyte.experiment.writing import PositionWriter
from kinocyte.interop.importing import Progress, failures, run_import
from kinocyte.interop.options import import_options
from kinocyte.interop.plan import plan_import

Pixels = Callable[[Any], NDArray[Any]]

#: path, options, oracle (path below, axes of tifffile) for formats that tifffile reads as a whole
REAL: list[tuple[str, dict[str, Any]]] = [
    ("vendor_files/xyt_calibrated_16bit__golgi_bfa_sum_projection.tif", {}),
    ("vendor_files/xyz_calibrated_16bit__golgi_bfa.tif", {}),
    ("yeast_mito_3dt/yeast_3d_mitochondria_6t.ome.tif", {"frame_interval_min": 0.5}),
    (
        "ecoli_3ch_and_3dt/coli_nucl_ori_3d_6t.ome.tif",
        {"pixel_size_um": 0.065, "z_step_um": 0.2, "frame_interval_min": 5},
    ),
    ("telomere_timelapse_100f/timelapse_telomeres_2d.tif", {}),
    ("pystackreg_pc12_drift/pc12-unreg.tif", {"axes": "tyx", "pixel_size_um": 0.5, "frame_interval_min": 1}),
    ("vendor_files/ndtiff_12_bit_pycromanager_mda", {}),
    ("scratch_assay_labelled_10f/scratch-assay-labeled-10T-2Ch.tiff", {"frame_interval_min": 20}),
]


@pytest.mark.parametrize(("name", "options"), REAL, ids=[r[0].split("/")[-1] for r in REAL])
def test_pixels_arrive_byte_for_byte(
    data: Path, imported: Callable[..., Any], pixels: Pixels, name: str, options: dict[str, Any]
) -> None:
    path = data / name
    experiment = imported(path, **options)
    (position,) = experiment.positions.values()
    file = next(path.glob("*.tif")) if path.is_dir() else path
    with tifffile.TiffFile(file) as tiff:
        expected, axes = tiff.series[0].asarray(), tiff.series[0].axes.replace("Q", "T")
    order = [axes.index(a) for a in "TCZYX" if a in axes]
    got = pixels(position)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got.ravel(), expected.transpose(order).ravel())
    assert position.image().is_3d == ("Z" in axes)


def test_two_workers_write_what_one_writes(data: Path, tmp_path: Path) -> None:
    plan = plan_import([data / "vendor_files/3T-4C-3Z-2pos.czi"], import_options(wells="C5"))
    for workers in (1, 4):
        run_import(plan, tmp_path / f"{workers}.zarr", workers=workers, name="same")
    one, four = kinocyte.open(tmp_path / "1.zarr"), kinocyte.open(tmp_path / "4.zarr")
    assert list(one.positions) == ["C5/1", "C5/2"]
    assert {p.id: p.pixel_hash for p in one.positions.values()} == {p.id: p.pixel_hash for p in four.positions.values()}


def test_an_open_question_writes_nothing(data: Path, tmp_path: Path) -> None:
    plan = plan_import([data / "cancer_cell_nuclei_48f/cancer_cell_migration_crop.tif"])
    with pytest.raises(ParameterError, match="--pixel-size-um"):
        run_import(plan, tmp_path / "x.zarr")
    assert not (tmp_path / "x.zarr").exists()


def frames(folder: Path, n: int = 6, *, well: str = "B2", size: int = 32, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for t in range(n):
        for channel in "GP":
            image = rng.integers(0, 60000, (size, size)).astype(np.uint16)
            tifffile.imwrite(folder / f"exp_{channel}_{well}_1_00d{t:02d}h00m.tif", image, compression="zlib")
    return folder


def test_a_bad_position_stays_out_and_the_others_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "möbius .. plate"
    for i, well in enumerate(("B2", "B3", "B4")):
        frames(folder, well=well, seed=i)
    (folder / "exp_G_B3_1_00d02h00m.tif").write_bytes(b"")
    report = run_import(plan_import([folder], import_options(pixel_size_um=1)), tmp_path / "x.zarr")
    assert report.imported == ("B2/1", "B4/1")
    assert "exp_G_B3_1_00d02h00m.tif' is empty" in failures(report)[0]
    assert list(kinocyte.open(tmp_path / "x.zarr").positions) == ["B2/1", "B4/1"]


def test_a_file_that_goes_bad_after_planning(tmp_path: Path) -> None:
    for i, well in enumerate(("B2", "B3")):
        frames(tmp_path / "in", well=well, seed=i)
    plan = plan_import([tmp_path / "in"], import_options(pixel_size_um=1))
    path = tmp_path / "in/exp_P_B2_1_00d04h00m.tif"
    path.write_bytes(path.read_bytes()[:300])
    report = run_import(plan, tmp_path / "x.zarr")
    assert report.imported == ("B3/1",)
    assert "exp_P_B2_1_00d04h00m.tif" in report.failed[0][1]
    assert list(kinocyte.open(tmp_path / "x.zarr").positions) == ["B3/1"]
    frames(tmp_path / "in", well="B2", seed=0)
    mended = run_import(plan_import([tmp_path / "in"], import_options(pixel_size_um=1)), tmp_path / "x.zarr")
    assert mended.imported == ("B2/1", "B3/1")


def test_a_bad_mask_keeps_its_position_out(data: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "ricm"
    shutil.copytree(data / "celldetective_adcc_and_ricm/ricm_demo", folder)
    mask = folder / "W1/100/labels_effectors/0003.tif"
    mask.chmod(0o644)
    tifffile.imwrite(mask, np.full((185, 179), -5, np.int16))
    report = run_import(plan_import([folder]), tmp_path / "x.zarr")
    assert report.imported == ()
    assert "0003.tif" in report.failed[0][1]
    assert not kinocyte.open(tmp_path / "x.zarr").positions
    without = run_import(plan_import([folder], import_options(labels=False)), tmp_path / "y.zarr")
    assert without.imported == ("A1/100",)
    assert kinocyte.open(tmp_path / "y.zarr").positions["A1/100"].label_names == []


def test_masks_and_tables_that_were_not_come_to_are_written_later(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_import([data / "celldetective_adcc_and_ricm/ricm_demo"])

    def stop(*_: object, **__: object) -> None:
        msg = "stopped here"
        raise StoreError(msg)

    with monkeypatch.context() as patched:
        patched.setattr(Position, "write_labels", stop)
        with pytest.raises(StoreError, match="stopped here"):
            run_import(plan, tmp_path / "x.zarr")
    with monkeypatch.context() as patched:
        patched.setattr(Position, "write_table", stop)
        with pytest.raises(StoreError, match="stopped here"):
            run_import(plan, tmp_path / "x.zarr")
    run_import(plan, tmp_path / "x.zarr")
    run_import(plan, tmp_path / "whole.zarr")
    resumed, whole = (kinocyte.open(tmp_path / n).positions["A1/100"] for n in ("x.zarr", "whole.zarr"))
    assert resumed.tables == whole.tables
    assert resumed.labels_hash("effectors") == whole.labels_hash("effectors")
    assert all(resumed.table(t).equals(whole.table(t)) for t in whole.tables)


def test_progress_counts_every_frame(tmp_path: Path) -> None:
    frames(tmp_path / "in")
    seen: list[Progress] = []
    run_import(
        plan_import([tmp_path / "in"], import_options(pixel_size_um=1)), tmp_path / "x.zarr", on_progress=seen.append
    )
    assert [p.done for p in seen] == list(range(1, 7))
    assert {p.total for p in seen} == {6}


def test_a_second_import_of_the_same_files_changes_nothing(tmp_path: Path) -> None:
    frames(tmp_path / "in")
    for _ in range(2):
        report = run_import(plan_import([tmp_path / "in"], import_options(pixel_size_um=1)), tmp_path / "x.zarr")
    assert report.imported == report.resumed == ("B2/1",)


def test_other_files_do_not_replace_a_position(tmp_path: Path) -> None:
    run_import(plan_import([frames(tmp_path / "a")], import_options(pixel_size_um=1)), tmp_path / "x.zarr")
    other = plan_import([frames(tmp_path / "b", seed=5)], import_options(pixel_size_um=1))
    report = run_import(other, tmp_path / "x.zarr")
    assert "already holds a position B2/1" in report.failed[0][1]


def test_conditions_of_a_second_import_are_added(tmp_path: Path) -> None:
    for i, (well, drug) in enumerate((("B2", "x"), ("B3", "y"))):
        (tmp_path / f"{well}.csv").write_text(f"well,drug\n{well},{drug}\n")
        options = import_options(pixel_size_um=1, wells=str(tmp_path / f"{well}.csv"))
        run_import(plan_import([frames(tmp_path / well, well=well, seed=i)], options), tmp_path / "x.zarr")
    table = kinocyte.open(tmp_path / "x.zarr").conditions
    assert table.select("well", "drug").rows() == [("B2", "x"), ("B3", "y")]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    plan = plan_import([frames(tmp_path / "in")], import_options(pixel_size_um=1))
    experiment = kinocyte.create(tmp_path / "x.zarr")
    code = (
        "import sys, kinocyte\n"
        "with kinocyte.open(sys.argv[1]).lock():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, experiment.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(BusyError, match="is being written"):
            run_import(plan, experiment.url)
        holder.communicate()
    run_import(plan, experiment.url)


def test_a_full_disk_stops_with_a_sentence_and_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_import([frames(tmp_path / "in")], import_options(pixel_size_um=1))
    real = PositionWriter.write

    def full(self: PositionWriter, frame: int, block: NDArray[Any]) -> None:
        if frame == 3:
            msg = "no space left on the disk"
            raise StoreError(msg)
        real(self, frame, block)

    monkeypatch.setattr(PositionWriter, "write", full)
    with pytest.raises(StoreError, match="no space"):
        run_import(plan, tmp_path / "x.zarr", workers=1)
    assert not kinocyte.open(tmp_path / "x.zarr").positions
    monkeypatch.setattr(PositionWriter, "write", real)
    assert run_import(plan, tmp_path / "x.zarr").resumed == ("B2/1",)


def test_memory_does_not_grow_with_the_movie(tmp_path: Path) -> None:
    peaks = []
    for n in (8, 40):
        path = tmp_path / f"{n}.tif"
        tifffile.imwrite(path, np.zeros((n, 256, 256), np.uint16), metadata={"axes": "TYX"})
        plan = plan_import([path], import_options(pixel_size_um=1, frame_interval_min=1))
        run_import(plan, tmp_path / f"{n}.zarr", workers=2)  # warm
        tracemalloc.start()
        run_import(plan, tmp_path / f"{n}b.zarr", workers=2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5
    assert peaks[1] < 40 * 256 * 256 * 2


def test_linked_pixels_stay_where_they_are(tmp_path: Path, pixels: Pixels) -> None:
    run_import(plan_import([frames(tmp_path / "in")], import_options(pixel_size_um=1)), tmp_path / "x.zarr")
    linked = plan_import([tmp_path / "x.zarr"], import_options(link=True))
    assert run_import(linked, tmp_path / "y.zarr").imported == ("B2/1",)
    a = kinocyte.open(tmp_path / "x.zarr").positions["B2/1"]
    b = kinocyte.open(tmp_path / "y.zarr").positions["B2/1"]
    assert b.is_linked
    np.testing.assert_array_equal(pixels(a), pixels(b))
    refused = plan_import([tmp_path / "in"], import_options(link=True, pixel_size_um=1))
    assert "--link" in refused.questions[0]


# ---------------------------------------------------------------- kill -9
KILLED = """
import sys
from kinocyte.interop.importing import run_import
from kinocyte.interop.options import import_options
from kinocyte.interop.plan import plan_import
plan = plan_import([sys.argv[1]], import_options(pixel_size_um=0.5))
run_import(plan, sys.argv[2], name="killed", workers=2, on_progress=lambda p: print(p.done, flush=True))
print("finished", flush=True)
"""


def content(store: Path) -> dict[str, bytes]:
    """Return every file of a store, without the date, the version that made it, and the lock."""
    found = {}
    for path in sorted(store.rglob("*")):
        if path.is_file() and not path.name.startswith(".kinocyte.lock"):
            found[path.relative_to(store).as_posix()] = path.read_bytes()
    root = json.loads(found["zarr.json"])
    for key in ("created", "version"):
        root["attributes"]["kinocyte"].pop(key)
    found["zarr.json"] = json.dumps(root).encode()
    return found


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Return a folder of two positions and the store an undisturbed import makes of it."""
    folder = tmp_path_factory.mktemp("plate")
    for i, well in enumerate(("B2", "C3")):
        frames(folder / "in", n=10, well=well, size=128, seed=i)
    plan = plan_import([folder / "in"], import_options(pixel_size_um=0.5))
    run_import(plan, folder / "whole.zarr", name="killed")
    return folder / "in", content(folder / "whole.zarr")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_and_resumed_is_undisturbed(plate: tuple[Path, dict[str, bytes]], tmp_path: Path, seed: int) -> None:
    source, expected = plate
    store = tmp_path / "killed.zarr"
    rng = random.Random(seed)
    for _ in range(3):
        stop_after = rng.randrange(1, 18)
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(source), str(store)], stdout=subprocess.PIPE, text=True
        ) as run:
            assert run.stdout is not None
            for line in run.stdout:
                if line.strip() == "finished" or int(line) >= stop_after:
                    break
            time.sleep(rng.uniform(0, 0.01))
            os.kill(run.pid, signal.SIGKILL)
    report = run_import(plan_import([source], import_options(pixel_size_um=0.5)), store, name="killed")
    assert report.imported == ("B2/1", "C3/1")
    assert content(store) == expected
