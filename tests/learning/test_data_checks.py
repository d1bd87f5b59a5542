"""Each fault of data that spoils a training is found and named, and sound data pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinocyte.learning.data.checks import DataReport, check_pairs, guess_target
from kinocyte.learning.data.pairs import Pair
from kinocyte.learning.tasks.denoise_segment import DenoiseSegment
from kinocyte.learning.tasks.stardist import StarDist
from kinocyte.pipeline.pairs import read_pairs


def cells(seed: int, size: int = 64) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return an image and its labels: nine discs on a grid, moved a little."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.uint16)
    for k in range(9):
        cy, cx = 11 + 20 * (k // 3) + rng.uniform(-2, 2), 11 + 20 * (k % 3) + rng.uniform(-2, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(20, 45)] = k + 1
    bright = 200 + 1000 * (labels > 0) * rng.uniform(0.5, 1.5, 10)[labels] + rng.normal(0, 40, labels.shape)
    return bright.clip(0).astype(np.uint16), labels


def sound(n: int = 14) -> list[Pair]:
    found = []
    for seed in range(n):
        image, labels = cells(seed)
        found.append(Pair(f"im{seed}", image[None], labels))
    return found


def kinds(report: DataReport) -> set[tuple[str, str]]:
    return {(f.severity, f.check) for f in report.findings}


def test_sound_data_pass() -> None:
    pairs = sound()
    report = check_pairs(pairs[:10], pairs[10:])
    assert report.ok
    assert report.findings == ()
    assert report.pairs["objects"].to_list() == [9] * 14
    assert report.pairs["used_for"].to_list() == ["training"] * 10 + ["held out"] * 4


def nan_target(image: Any, labels: Any) -> Pair:
    target = image.astype(np.float32)[None]
    target[0, 0, 0] = np.nan
    return Pair("bad", image[None], target)


FAULTS: dict[str, tuple[str, str, Callable[[Any, Any], Pair]]] = {
    "shapes": ("error", "shape", lambda i, lab: Pair("bad", i[None], lab[:, 1:])),
    "a volume's labels": ("error", "shape", lambda i, lab: Pair("bad", i[None], np.stack([lab] * 2))),
    "empty": ("warning", "empty", lambda i, lab: Pair("bad", i[None], lab * 0)),
    "one number for all": ("error", "mask", lambda i, lab: Pair("bad", i[None], (lab > 0) * np.uint8(255))),
    "one number for two": ("warning", "repeated", lambda i, lab: Pair("bad", i[None], np.where(lab == 9, 1, lab))),
    "a stray piece": (
        "warning", "pieces", lambda i, lab: Pair("bad", i[None], np.where((np.indices(lab.shape) == 30).all(0), 1, lab))
    ),
    "a speck": (
        "warning", "tiny", lambda i, lab: Pair("bad", i[None], np.where((np.indices(lab.shape) == 21).all(0), 77, lab))
    ),
    "fractions": ("error", "unreadable", lambda i, lab: Pair("bad", i[None], lab / 2)),
    "a picture for labels": ("error", "picture", lambda i, lab: Pair("bad", np.rot90(i)[None], i)),
    "negative": ("error", "unreadable", lambda i, lab: Pair("bad", i[None], -lab.astype(int))),
    "no target": ("error", "unreadable", lambda i, lab: Pair("bad", i[None])),
    "NaN": ("error", "nan", lambda i, lab: Pair("bad", np.where(i == i.max(), np.nan, i)[None], lab)),
    "constant": ("warning", "constant", lambda i, lab: Pair("bad", i[None] * 0 + 7, lab)),
    "saturated": ("warning", "saturated", lambda i, lab: Pair("bad", np.where(i > 900, 65535, i)[None], lab)),
    "few grey values": ("warning", "grey_levels", lambda i, lab: Pair("bad", (i // 200)[None], lab)),
    "bit depth": ("warning", "bit_depth", lambda i, lab: Pair("bad", (i // 8).astype(np.uint8)[None], lab)),
    "two channels": ("error", "channels", lambda i, lab: Pair("bad", np.stack([i, i]), lab)),
    "copied": ("error", "copy", lambda i, lab: Pair("bad", lab[None], lab)),
    "pixel size": ("warning", "pixel_size", lambda i, lab: Pair("bad", i[None], lab, pixel_um=(0.1, 0.1))),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_names_the_pair(fault: str) -> None:
    severity, check, spoil = FAULTS[fault]
    pairs = [p.replace(pixel_um=(0.3, 0.3)) if fault == "pixel size" else p for p in sound()]
    report = check_pairs([*pairs, spoil(*cells(99))])
    assert (severity, check) in kinds(report), report.findings
    hit = next(f for f in report.findings if f.check == check)
    assert "bad" in hit.pairs
    assert report.ok == (severity != "error")


def test_nan_in_a_target_image() -> None:
    report = check_pairs([nan_target(*cells(0)), Pair("b", cells(1)[0][None], cells(2)[0][None])], target="image")
    assert ("error", "nan") in kinds(report)


def test_one_image_and_one_movie() -> None:
    assert ("warning", "amount") in kinds(check_pairs(sound(1)))
    frames = [p.replace(group="movie") for p in sound(3)]
    report = check_pairs(frames)
    assert any("come from one image or movie ('movie')" in f.sentence for f in report.findings)
    assert not check_pairs([]).ok


def test_doubles_and_leakage_also_when_turned() -> None:
    pairs = sound()
    assert pairs[0].target is not None
    copy = pairs[0].replace(name="copy", group="copy")
    assert ("warning", "duplicate") in kinds(check_pairs([*pairs, copy]))
    leaked = check_pairs(pairs, [copy])
    assert not leaked.ok
    assert any(f.check == "leakage" and f.pairs == ("im0", "copy") for f in leaked.findings)
    turned = Pair("turned", np.rot90(pairs[0].image, axes=(1, 2))[:, ::-1], np.rot90(pairs[0].target)[::-1])
    found = check_pairs(pairs, [turned])
    assert [(f.severity, f.pairs) for f in found.findings] == [("warning", ("im0", "turned"))]
    noisy = (pairs[3].image + np.random.default_rng(0).normal(0, 5, (1, 64, 64))).clip(0).astype(np.uint16)
    neighbour = Pair("next frame", noisy, pairs[3].target)
    assert [f.pairs for f in check_pairs(pairs, [neighbour]).findings] == [("im3", "next frame")]


def test_objects_larger_than_what_is_seen() -> None:
    from tests.learning.test_data_patches import Plain

    class Near(Plain):
        def reach(self, ndim: int) -> tuple[int, ...]:
            return (4,) * ndim

    report = check_pairs(sound(), task=Near(), patch_px=(8, 8))
    sentences = [f.sentence for f in report.findings if f.check == "object_size"]
    assert len(sentences) == 2
    assert "sees 4 pixels" in sentences[0]
    assert "patches 8" in sentences[1]


def test_images_without_labels_are_fine_where_a_task_takes_them() -> None:
    bare = Pair("bare", cells(9)[0][None])
    assert not check_pairs([*sound(), bare], task=StarDist()).ok
    report = check_pairs([*sound(), bare], task=DenoiseSegment())
    assert report.ok
    assert not any("bare" in f.pairs for f in report.findings if f.check in {"empty", "unreadable"})


def test_a_target_that_cannot_be_compared_is_not_called_empty() -> None:
    image, labels = cells(9)
    for bad in (Pair("bad", image[None], labels[:-3]), nan_target(image, labels)):
        assert "empty" not in {check for _, check in kinds(check_pairs([*sound(), bad]))}


@pytest.mark.parametrize(("values", "severity"), [((0, 255), "error"), ((0, 1, 2, 3, 5), "warning"), ((0, 1, 2), None)])
def test_classes_have_numbers_without_gaps(values: tuple[int, ...], severity: str | None) -> None:
    classes = np.resize(values, (32, 32))
    pairs = [Pair(str(i), np.random.default_rng(i).random((1, 32, 32)), classes) for i in range(3)]
    found = {k[0] for k in kinds(check_pairs(pairs, target="classes")) if k[1] == "classes"}
    assert found == (set() if severity is None else {severity})


def test_classes_that_are_labels() -> None:
    image, _ = cells(0)
    many = np.arange(64 * 64).reshape(64, 64) // 40
    assert ("warning", "classes") in kinds(check_pairs([Pair("a", image[None], many)], target="classes"))


def test_what_targets_hold_is_guessed(data: Path) -> None:
    image, labels = cells(0)
    assert guess_target(Pair("a", image[None], labels)) == "labels"
    assert guess_target(Pair("a", image[None], labels[None].astype(np.float32))) == "labels"
    assert guess_target(Pair("a", image[None], image[None])) == "image"
    assert guess_target(Pair("a", image[None], image[None] / 7)) == "image"
    assert guess_target(Pair("a", image[None])) == "none"
    folder = data / "denoising_pairs"
    assert guess_target(read_pairs(folder / "noisy", folder / "clean", target="image")[0]) == "image"


def test_real_nuclei_have_only_the_faults_their_makers_left(data: Path) -> None:
    folder = data / "dsb2018" / "test"
    report = check_pairs(read_pairs(folder / "images", folder / "masks"))
    assert report.ok
    assert report.pairs.height == 50
    assert report.pairs["objects"].sum() > 1500
    assert not {f.check for f in report.findings} & {"shape", "duplicate", "leakage", "mask", "bit_depth"}
