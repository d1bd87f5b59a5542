"""`kinocyte data`: look at what a network is to learn from, and choose what to annotate next."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from kinocyte.cli.console import TaskBar, err, out, table
from kinocyte.core.errors import ParameterError

if TYPE_CHECKING:
    from kinocyte.interop.pair_folders import NamedPairs
    from kinocyte.learning.data.checks import DataReport, Finding
    from kinocyte.learning.tasks.base import Task

app = App(name="data", help_format="plaintext", help="Check pairs of images and targets; choose what to annotate.")

_RANKED = 20
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@app.command
def check(
    inputs: Path,
    targets: Path | None = None,
    /,
    *,
    task: str | None = None,
    target: Literal["labels", "classes", "image"] | None = None,
    held_out_inputs: Path | None = None,
    held_out_targets: Path | None = None,
    patch_px: int | None = None,
    axes: str | None = None,
    group: str | None = None,
    json: bool = False,
) -> int:
    """Check images and targets before training: pairs, shapes, labels, grey values, doubles, leakage, sizes.

    Nothing is changed. The exit code is 1 when there is an error.

    Parameters
    ----------
    inputs : Path
        Folder of images: TIFF, PNG or NPY.
    targets : Path
        Folder of targets with the same names, also with a word such as _mask or _labels at the end.
    task : str
        What is to be learnt, such as stardist: what targets hold, and how far the network sees.
    target : str
        What targets hold, where no task says it: labels of objects, classes, or an image. Guessed when left out.
    held_out_inputs : Path
        Folder of images a model will be judged by: none of them may be learnt from.
    held_out_targets : Path
        Folder of their targets.
    patch_px : int
        Size of the patches to train with.
    axes : str
        What the axes of the files are, such as tyx.
    group : str
        Regular expression that finds in a name the image or movie a file is of, such as "^(mouse[0-9]+)".
    json : bool
        Print one JSON object instead of tables.
    """
    from kinocyte.learning.data.checks import Finding, check_pairs, guess_target
    from kinocyte.pipeline.pairs import read_pairs

    chosen = None if task is None else named_task(task)
    kind: Literal["labels", "classes", "image", "none"] = chosen.target if chosen is not None else target or "image"
    if targets is None:
        kind = "none"
    lonely = [] if targets is None else _lonely(inputs, targets)
    if held_out_targets is not None and held_out_inputs is not None:
        lonely += _lonely(held_out_inputs, held_out_targets)
    pairs = read_pairs(inputs, targets, target="image", axes=axes, group=group, partial=True)
    if chosen is None and target is None:
        kind = guess_target(pairs[0])
    # labels come as the one channel of an image here, so that colour masks are found and not refused
    pairs = read_pairs(inputs, targets, target=kind, axes=axes, group=group, partial=True)
    out_of = (held_out_inputs, held_out_targets)
    held = (
        [] if out_of[0] is None else read_pairs(out_of[0], out_of[1], target=kind, axes=axes, group=group, partial=True)
    )
    size = None if patch_px is None else (patch_px, patch_px)
    report = check_pairs(pairs, held, target=kind, task=chosen, patch_px=size)
    unpaired = [Finding("error", "unpaired", names, sentence) for names, sentence in lonely]
    findings = [*unpaired, *report.findings]
    if json:
        document = {
            "inputs": str(inputs), "targets": None if targets is None else str(targets), "target": kind,
            "ok": report.ok and not unpaired, "findings": [vars(f) for f in findings],
            "pairs": report.pairs.fill_nan(None).to_dicts(),
        }  # fmt: skip
        print(json_format.dumps(document, ensure_ascii=False, allow_nan=False))  # noqa: T201 - for programs
    else:
        _show(findings, report, kind, guessed=chosen is None and target is None)
    return 0 if report.ok and not unpaired else 1


def named_task(name: str) -> Task:
    """Return a task by its name, with its defaults.

    Raises
    ------
    ParameterError
        If no installed package offers it.
    """
    from kinocyte.core import registry
    from kinocyte.learning.tasks.base import Task

    found = registry.parse("task", {"method": name})
    if not isinstance(found, Task):
        msg = f"'{name}' is no task of deep learning; see `kinocyte methods`."
        raise ParameterError(msg)
    return found


def _lonely(inputs: Path, targets: Path) -> list[tuple[tuple[str, ...], str]]:
    from kinocyte.interop.pair_folders import match_names, unpaired

    found: NamedPairs = match_names(inputs, targets)
    alone = [tuple(p.name for p in side) for side in (found.only_inputs, found.only_targets) if side]
    sentences = [s[0].upper() + s[1:] + "; rename it or take it out." for s in unpaired(found)]
    if not found.pairs:
        msg = f"No file of '{inputs}' has a partner in '{targets}': {' '.join(sentences)}"
        raise ParameterError(msg)
    return list(zip(alone, sentences, strict=True))


def _show(findings: list[Finding], report: DataReport, kind: str, *, guessed: bool) -> None:
    n = report.pairs.height
    words = {"labels": "labels of objects", "classes": "classes", "image": "images", "none": "nothing"}
    objects = f", {report.pairs['objects'].sum()} objects" if kind == "labels" else ""
    assumed = " (guessed; --target says otherwise)" if guessed and kind != "none" else ""
    out.print(f"{n} pairs{objects}; targets hold {words[kind]}{assumed}.", soft_wrap=True)
    for finding in findings:
        out.print(f"[{_COLOURS[finding.severity]}]{finding.severity:8}[/] ", end="")
        out.print(finding.sentence, markup=False, soft_wrap=True)
    if not findings:
        out.print("Nothing is wrong with them.")
    else:
        counts = {s: sum(f.severity == s for f in findings) for s in _COLOURS}
        rows = [(s, c) for s, c in counts.items() if c]
        table("Found", ("kind", "count"), rows)
        if any(f.severity == "error" for f in findings):
            err.print("Mend the errors before training.", style="red")


@app.command
def rank(
    model: str,
    *files: Path,
    channels: list[str] | None = None,
    diversity: float = 0.5,
    axes: str | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    out_csv: Path | None = None,
    json: bool = False,
) -> int:
    """Order frames by how much a model would gain from their annotation: what it is unsure of, and unlike each other.

    Parameters
    ----------
    model : str
        Name of a model, its package, or the folder of a training.
    files : Path
        Images, folders of images, or experiments (.zarr).
    channels : list of str
        Channels that the model reads, in its order, by name or by number from 1.
    diversity : float
        0 orders by uncertainty alone, 1 by unlikeness alone.
    axes : str
        What the axes of the files are, such as tyx.
    device : str
        Where to compute.
    out_csv : Path
        File to write the whole order to; it must not exist yet.
    json : bool
        Print one JSON object instead of a table.
    """
    from kinocyte.cli.model_evaluating import fitting
    from kinocyte.core.errors import StoreError
    from kinocyte.learning.model import load_image_model
    from kinocyte.learning.quality.judging import applied
    from kinocyte.learning.quality.ranking import rank_frames
    from kinocyte.pipeline.pairs import image_pairs

    if not files:
        msg = "Name at least one image or folder of images to rank."
        raise ParameterError(msg)
    if out_csv is not None and out_csv.exists():
        msg = f"{out_csv} exists already and is left as it is; name another file."
        raise StoreError(msg)
    loaded = load_image_model(model)
    pairs = [fitting(loaded, p, channels) for f in files for p in image_pairs(f, axes=axes)]
    with TaskBar("Predicting", len(pairs), "images") as bar:
        order = rank_frames(loaded, pairs, applied(device=device), diversity=diversity, told=bar.reached)
    if out_csv is not None:
        order.write_csv(out_csv)
    if json:
        document = {"model": model, "order": order.to_dicts()}
        print(json_format.dumps(document, ensure_ascii=False, allow_nan=False))  # noqa: T201 - for programs
        return 0
    shown = order.head(_RANKED).select("rank", "image", "uncertainty", "unlikeness", "objects")
    title = "Annotate these first" + (f" (the first {_RANKED} of {order.height})" if order.height > _RANKED else "")
    table(title, shown.columns, shown.iter_rows())
    return 0
