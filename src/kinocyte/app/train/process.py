"""Training, checking and ranking in a process of their own: asked by one JSON line, told in JSON lines.

Started by the window as ``python -m kinocyte.app.train.process``. It stops at the word ``stop``, and when the window
ends, however it ends; a training keeps its last step and goes on from there when it is resumed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from kinocyte.app.run_process import Teller
from kinocyte.app.serving import Stop, serve
from kinocyte.core.errors import ParameterError

#: the order of frames is told this far
_RANKED = 100


def train(asked: Mapping[str, Any], teller: Teller, stop: Stop) -> None:
    """Train as a table says, in a run folder, and tell every look at the held-out images."""
    from kinocyte.pipeline.training.file import parse_image_training
    from kinocyte.pipeline.training.run import train_images

    wanted = parse_image_training(asked["table"], "The form")

    def told(progress: Any) -> None:
        if progress.row is not None:
            teller.say("row", **{k: v for k, v in progress.row.items() if v is not None})
        teller.progress("", progress.step / progress.steps, step=progress.step, seconds_left=progress.seconds_left)
        stop.patient = True
        if stop.asked.is_set():
            raise KeyboardInterrupt

    made = train_images(
        wanted, Path(asked["folder"]), Path(asked["out"]), resume=asked["resume"], told=told,
        begun=lambda sentence: teller.say("begun", sentence=sentence, steps=wanted.training.steps),
        found=lambda finding: teller.say("finding", severity=finding.severity, sentence=finding.sentence, places=[]),
    )  # fmt: skip
    teller.say("trained", model=str(made.model), scores=made.scores, verdict=_verdict(Path(asked["out"])))


def _verdict(out: Path) -> str:
    """Return what the curves say, as the report of quality does."""
    import polars as pl

    from kinocyte.learning.quality.curves import judge_curves
    from kinocyte.learning.training.run_folder import RunFolder

    rows = RunFolder(out).history()
    return judge_curves(pl.DataFrame(rows)).sentence if rows else ""


def check(asked: Mapping[str, Any], teller: Teller, _stop: Stop) -> None:
    """Tell what is wrong with the images, each finding with the places of its first images."""
    from kinocyte.pipeline.training.checking import check_folders
    from kinocyte.pipeline.training.file import parse_image_training
    from kinocyte.pipeline.training.run import check_lesson

    wanted = parse_image_training(asked["table"], "The form")
    folder, data = Path(asked["folder"]), wanted.data
    patch_px = wanted.training.patch_px
    if data.inputs is not None:
        inputs = folder / data.inputs
        targets = None if data.targets is None else folder / data.targets
        report = check_folders(
            inputs, targets, task=wanted.chosen_task(folder), axes=data.axes, group=data.group,
            patch_px=patch_px if isinstance(patch_px, int) else None,
        )  # fmt: skip
        findings, pairs, files = report.findings, report.facts.pairs, _files(inputs, targets)
    else:
        lesson, task = wanted.lesson(folder)
        facts = check_lesson(lesson, task, patch_px)
        findings, pairs, files = facts.findings, facts.pairs, {}
    for finding in findings:
        places = [_place(name, files) for name in finding.pairs[:20]]
        teller.say("finding", severity=finding.severity, sentence=finding.sentence, places=places)
    objects = int(pairs["objects"].sum()) if "objects" in pairs.columns and pairs["objects"].sum() else 0
    teller.say("checked", pairs=pairs.height, objects=objects)


def _files(inputs: Path, targets: Path | None) -> dict[str, tuple[str, str]]:
    """Return image and target by the name of a pair, and by the name of either file."""
    from kinocyte.interop.pair_folders import image_paths, match_names, stem

    if targets is None:
        return {stem(p): (str(p), "") for p in image_paths(inputs)}
    found = match_names(inputs, targets)
    files = {stem(a): (str(a), str(b)) for a, b in found.pairs.values()}
    files |= {p.name: (str(p), "") for p in found.only_inputs}
    return files | {p.name: ("", str(p)) for p in found.only_targets}


def _place(name: str, files: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Return where the image of a pair is: files and frame, or position and frame of the experiment."""
    whole, _, number = name.rpartition(", frame ")
    base, frame = (whole, int(number)) if whole and number.isdigit() else (name, 0)
    image, target = files.get(name) or files.get(base) or ("", "")
    return {"name": name, "image": image, "target": target, "position": base, "frame": frame}


def rank(asked: Mapping[str, Any], teller: Teller, _stop: Stop) -> None:
    """Order frames by how much a model would gain from their annotation."""
    from kinocyte.interop.pair_folders import image_paths, stem
    from kinocyte.learning.model import load_image_model
    from kinocyte.learning.quality.judging import applied
    from kinocyte.learning.quality.ranking import rank_frames
    from kinocyte.pipeline.pairs import image_pairs
    from kinocyte.pipeline.training.run import fitting

    place = Path(asked["images"])
    model = load_image_model(asked["model"])
    teller.say("doing", sentence="Reading the frames …")
    pairs = [fitting(model, p, asked["channels"]) for p in image_pairs(place)[:: asked["every"]]]
    order = rank_frames(
        model, pairs, applied(device=asked["device"]), told=lambda done, n: teller.progress("", done / n)
    )
    folder = place.is_dir() and place.suffix != ".zarr"
    files = {stem(p): (str(p), "") for p in image_paths(place)} if folder else {}
    rows = [
        {**row, "place": _place(row["image"], files)}
        for row in order.head(_RANKED).fill_nan(None).iter_rows(named=True)
    ]
    teller.say("ranked", rows=rows, images=order.height)


def report(asked: Mapping[str, Any], teller: Teller, _stop: Stop) -> None:
    """Write the report of `kinocyte evaluate model` on two folders, or on the images that the training held out."""
    inputs, targets = asked.get("inputs", ""), asked.get("targets", "")
    with tempfile.TemporaryDirectory(prefix="kinocyte-held-out-") as place:
        teller.say("doing", sentence="The model is judged on images that it has not learnt from; a minute or more …")
        if not inputs:
            inputs, targets = _written(_held_out(asked), Path(place))
        out = _free(Path(asked["out"]) / "report")
        command = ["evaluate", "model", asked["out"], "--inputs", inputs, "--targets", targets, "--out", str(out)]
        done = subprocess.run(
            [sys.executable, "-m", "kinocyte.cli", *command], capture_output=True, text=True, check=False
        )
    if done.returncode:
        said = " ".join((done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").split())
        raise ParameterError(said[-600:])
    teller.say("reported", page=str(out / "report.html"))


def _held_out(asked: Mapping[str, Any]) -> list[Any]:
    from kinocyte.learning.data.split import split
    from kinocyte.learning.training.run_folder import RunFolder
    from kinocyte.pipeline.training.file import parse_image_training

    wanted = parse_image_training(RunFolder(Path(asked["out"])).asked, asked["out"])
    lesson, _ = wanted.lesson(Path(asked["folder"]))
    held = list(split(lesson.pairs, wanted.training.held_out, wanted.training.seed).held_out)
    if not held or not held[0].has_target:
        msg = "No images with targets were held out of this training; choose two folders of other images."
        raise ParameterError(msg)
    return held


def _written(pairs: Sequence[Any], place: Path) -> tuple[str, str]:
    """Write pairs as two folders of TIFF files."""
    import numpy as np
    import tifffile

    folders = place / "images", place / "targets"
    for folder in folders:
        folder.mkdir()
    for number, pair in enumerate(pairs):
        name = f"{number:04d}_{re.sub('[^A-Za-z0-9]+', '-', pair.name)}.tif"
        axes = "CYX" if pair.image.ndim == 3 else "CZYX"
        more = {} if pair.pixel_um is None else _size(pair.pixel_um)
        tifffile.imwrite(folders[0] / name, np.asarray(pair.image), metadata={"axes": axes, **more}, ome=True)
        target = np.asarray(pair.target)
        labels = target.astype(np.uint32) if target.ndim < pair.image.ndim else target
        tifffile.imwrite(folders[1] / name, labels, metadata={"axes": axes[-labels.ndim :], **more}, ome=True)
    return str(folders[0]), str(folders[1])


def _size(pixel_um: Sequence[float]) -> dict[str, Any]:
    sizes = dict(zip("ZYX"[3 - len(pixel_um) :], pixel_um, strict=True))
    return {f"PhysicalSize{a}": s for a, s in sizes.items()} | {f"PhysicalSize{a}Unit": "µm" for a in sizes}


def _free(path: Path) -> Path:
    """Return a path that does not exist yet."""
    tried = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in count(1))
    return next(p for p in tried if not p.exists())


_WORK = {"train": train, "check": check, "rank": rank, "report": report}


if __name__ == "__main__":
    sys.exit(serve(_WORK))
