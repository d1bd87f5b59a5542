"""`kinocyte data`: look at what a network is to learn from, and choose what to annotate next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from kinocyte.cli._options import Json
from kinocyte.cli.console import TaskBar, err, out, print_json, table
from kinocyte.core.errors import ParameterError

if TYPE_CHECKING:
    from kinocyte.pipeline.training.checking import FolderReport

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
    json: Json = False,
) -> int:
    """Check images and targets before training: pairs, shapes, labels, grey values, doubles, leakage, sizes.

    Nothing is changed. The exit code is 1 when there is an error.

    Parameters
    ----------
    inputs : Path
        Folder of images: TIFF, PNG or NPY; or a BioImage.IO data set (a folder with rdf.yaml).
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
    """
    from kinocyte.pipeline.training.checking import check_folders, named_task

    chosen = None if task is None else named_task(task)
    found = check_folders(
        inputs, targets, task=chosen, target=target, held_out_inputs=held_out_inputs,
        held_out_targets=held_out_targets, patch_px=patch_px, axes=axes, group=group,
    )  # fmt: skip
    if json:
        document = {
            "inputs": str(inputs), "targets": None if targets is None else str(targets), "target": found.target,
            "ok": found.ok, "findings": [vars(f) for f in found.findings],
            "pairs": found.facts.pairs.fill_nan(None).to_dicts(),
        }  # fmt: skip
        print_json(document)
    else:
        _show(found)
    return 0 if found.ok else 1


def _show(report: FolderReport) -> None:
    findings, kind, guessed = report.findings, report.target, report.guessed
    n = report.facts.pairs.height
    words = {"labels": "labels of objects", "classes": "classes", "image": "images", "none": "nothing"}
    objects = f", {report.facts.pairs['objects'].sum()} objects" if kind == "labels" else ""
    assumed = " (guessed; --target says otherwise)" if guessed and kind != "none" else ""
    out.print(f"{n} pair{'' if n == 1 else 's'}{objects}; targets hold {words[kind]}{assumed}.", soft_wrap=True)
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
    json: Json = False,
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
    """
    from kinocyte.core.errors import StoreError
    from kinocyte.learning.model import load_image_model
    from kinocyte.learning.quality.judging import applied
    from kinocyte.learning.quality.ranking import rank_frames
    from kinocyte.pipeline.pairs import image_pairs
    from kinocyte.pipeline.training.run import fitting

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
        print_json(document)
        return 0
    shown = order.head(_RANKED).select("rank", "image", "uncertainty", "unlikeness", "objects")
    title = "Annotate these first" + (f" (the first {_RANKED} of {order.height})" if order.height > _RANKED else "")
    table(title, shown.columns, shown.iter_rows())
    return 0
