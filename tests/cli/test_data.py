"""`kinocyte data check` on folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from kinocyte.cli import run
from tests.learning.test_data_checks import cells


def write(root: Path, n: int = 12) -> tuple[Path, Path]:
    for side in ("images", "masks"):
        (root / side).mkdir(parents=True)
    for seed in range(n):
        image, labels = cells(seed)
        tifffile.imwrite(root / "images" / f"im{seed}.tif", image)
        tifffile.imwrite(root / "masks" / f"im{seed}_masks.tif", labels)
    return root / "images", root / "masks"


def test_sound_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, masks = write(tmp_path)
    assert run(["data", "check", str(images), str(masks), "--task", "stardist"]) == 0
    shown = capsys.readouterr().out
    assert "12 pairs, 108 objects; targets hold labels of objects." in shown
    assert "Nothing is wrong" in shown


def test_faults_are_told_and_the_exit_code_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, masks = write(tmp_path)
    tifffile.imwrite(masks / "im3_masks.tif", np.zeros((64, 60), np.uint8))
    (masks / "im7_masks.tif").rename(masks / "im77_masks.tif")
    assert run(["data", "check", str(images), str(masks), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    found = {f["check"]: f for f in document["findings"]}
    assert found["unpaired"]["pairs"] == ["im77_masks.tif"] or found["unpaired"]["pairs"] == ["im7.tif"]
    assert "64 x 64 and 64 x 60" in found["shape"]["sentence"]
    assert len(document["pairs"]) == 11
    assert document["target"] == "labels"


def test_a_broken_file_is_named_beside_the_other_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, masks = write(tmp_path, 4)
    (images / "im1.tif").write_bytes(b"nothing")
    (masks / "im3_masks.tif").unlink()
    assert run(["data", "check", str(images), str(masks), "--json"]) == 1
    found = {f["check"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["unreadable"]["pairs"] == ["im1"]
    assert "im1.tif" in found["unreadable"]["sentence"]
    assert found["unpaired"]["pairs"] == ["im3.tif"]
    assert run(["data", "check", str(images), str(masks), "--json", "--task", "denoise_segment"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert "unpaired" not in {f["check"] for f in document["findings"]}
    assert [p["pair"] for p in document["pairs"]] == ["im0", "im2", "im3"]


def test_images_held_out_must_not_be_learnt_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, masks = write(tmp_path / "a")
    held = write(tmp_path / "b", 2)
    command = ["data", "check", str(images), str(masks), "--held-out-inputs", str(held[0])]
    assert run([*command, "--held-out-targets", str(held[1])]) == 1
    assert "the score would be too good" in capsys.readouterr().out


def test_folders_that_do_not_pair_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, masks = write(tmp_path, 1)
    (masks / "im0_masks.tif").rename(masks / "else.tif")
    assert run(["data", "check", str(images), str(masks)]) == 2
    assert "No file of" in capsys.readouterr().err
    assert run(["data", "check", str(images), str(masks), "--task", "stardust"]) == 2
    assert "did you mean 'stardist'" in capsys.readouterr().err
    assert run(["data", "check", str(tmp_path / "absent")]) == 2
    assert "is no folder" in capsys.readouterr().err
