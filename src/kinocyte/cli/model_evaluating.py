"""`kinocyte evaluate model`: how well a model does on images it has not learnt from, with a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kinocyte.cli._options import Json
from kinocyte.cli.console import TaskBar, err, out, print_json, table
from kinocyte.core.errors import ParameterError

if TYPE_CHECKING:
    from kinocyte.learning.data.pairs import Pair
    from kinocyte.learning.model import ImageModel
    from kinocyte.learning.quality.judging import Judgement, Predict
    from kinocyte.learning.quality.sweeping import Sweep

#: images that changes of settings and of images are tried on, and their largest side
_TRIED, _TRIED_PX = 3, 512
_EXPLAINED = {
    "f1": "F1 of objects found at an overlap of 0.5",
    "precision": "share of predicted objects that are true",
    "recall": "share of true objects that were found",
    "accuracy": "TP / (TP + FP + FN)",
    "mean_average_precision": "mean accuracy at overlaps of 0.5 to 0.95",
    "mean_matched_iou": "overlap of found objects",
    "mean_true_iou": "the same over all true objects, 0 for missed ones",
    "foreground_iou": "overlap of all foreground, blind to merged objects",
    "panoptic_quality": "found and well outlined in one",
    "da_sq": "mean of DA and SQ (Celldetective)",
    "psnr_db": "peak signal to noise in dB, higher is better",
    "ssim": "structural similarity, 1 is best",
    "nrmse_range": "root mean square error over the range",
    "nrmse_norm": "the same over the root mean square of the target",
    "pearson": "correlation of grey values",
    "mean_absolute_error": "mean distance of grey values",
    "st_lpips": "perceptual distance ST-LPIPS, 0 is best",
    "mean_iou": "overlap, mean over classes",
    "mean_f1": "F1 (Dice), mean over classes",
}


def model(
    model: str,
    /,
    *,
    inputs: Path,
    targets: Path | None = None,
    out: Path | None = None,
    json: Json = False,
    channels: list[str] | None = None,
    sweep: bool = False,
    sensitivity: bool = True,
    examples: int = 3,
    axes: str | None = None,
    group: str | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    augment: bool = False,
    title: str | None = None,
) -> int:
    """Judge a model by images with known targets: scores, errors in pictures, curves, checkpoints, sensitivity.

    With --out a report is written as report.html and report.pdf, and every number as CSV.

    Parameters
    ----------
    model : str
        Name of a model, its package (folder or zip), or the folder of a training.
    inputs : Path
        Folder of images that the model has not learnt from.
    targets : Path
        Folder of their targets, with the same names; left out where the task makes them of the images: the middle ones
        of three frames (frame_interpolation), fine images of their own means (super_resolution).
    out : Path
        Folder to write to; it must not hold a report yet.
    channels : list of str
        Channels of the images that the model reads, in its order, by name or by number from 1.
    sweep : bool
        Compare the checkpoints of the training, and write the best as a model where it is another one.
    sensitivity : bool
        Try other thresholds, noise, blur and sizes on a few images.
    examples : int
        How many images are shown, from the worst to the best.
    axes : str
        What the axes of the files are, such as tyx.
    group : str
        Regular expression that finds in a name the image or movie a file is of.
    device : str
        Where to compute.
    augment : bool
        Average over turned and mirrored images.
    title : str
        Heading of the report; the name of the model when left out.
    """
    from kinocyte.cli import _model_report as report
    from kinocyte.learning.model import load_image_model
    from kinocyte.learning.quality.judging import applied, judge
    from kinocyte.learning.quality.leakage import learnt_from
    from kinocyte.pipeline.pairs import read_pairs
    from kinocyte.pipeline.training.run import fitting

    loaded = load_image_model(model)
    run = report.run_of(model)
    if targets is None:
        pairs = _made(loaded, read_pairs(inputs, None, target="none", axes=axes, group=group))
    else:
        pairs = read_pairs(inputs, targets, target=loaded.task.result, axes=axes, group=group)
    pairs = [fitting(loaded, p, channels) for p in pairs]
    if out is not None:
        report.refuse_taken(out)
    predict = applied(device=device, augment=augment)
    perceptual = report.perceptual() if loaded.task.result == "image" else None
    keep = report.Keeper(out) if out is not None else None
    with TaskBar("Judging", len(pairs), "images") as bar:
        judged = judge(
            loaded, pairs, predict, perceptual=perceptual, n_examples=examples,
            told=lambda done, _: bar.reached(done), seen=None if keep is None else keep.maps,
        )  # fmt: skip
    judged = _warned(judged, learnt_from(report.record_of(run, loaded), pairs))
    swept = _swept(loaded, run, pairs, predict, perceptual) if sweep else None
    tried = _tried(loaded, pairs, predict) if sensitivity else None
    document = _document(model, judged, swept, tried, run)
    if keep is not None:
        page = report.page(loaded, judged, title=title, run=run, swept=swept, tried=tried, data=inputs, pairs=pairs)
        document["written"] = [str(p) for p in keep.report(page, judged, swept, tried)]
    if json:
        print_json(document)
    else:
        _show(judged, swept, tried, run, document.get("written", []))
    return 0


def _warned(judged: Judgement, known: list[str] | None) -> Judgement:
    """Return the judgement with a note about images that the model knows from its training."""
    if not known:
        return replace(judged, unseen=None if known is None else True)
    names = ", ".join(f"'{n}'" for n in known[:4]) + (f" and {len(known) - 4} more" if len(known) > 4 else "")
    note = (
        f"{len(known)} of the {judged.per_image['image'].n_unique()} images took part in the training ({names}), so "
        "the scores flatter the model; judge it by images it has never seen."
    )
    return replace(judged, unseen=False, notes=(note, *judged.notes))


def _made(model: ImageModel, pairs: list[Pair]) -> list[Pair]:
    """Return images with targets that the task makes of them."""
    found = list(model.task.arranged(pairs))
    if not all(p.has_target for p in found):
        msg = f"Name the folder of targets by --targets: {model.task.name()} cannot be judged by images alone."
        raise ParameterError(msg)
    return found


def _swept(model: ImageModel, run: Path | None, pairs: list[Pair], predict: Predict, perceptual: Any) -> Sweep:
    from kinocyte.cli._model_report import checkpoints
    from kinocyte.learning.quality.sweeping import sweep_checkpoints

    if run is None:
        msg = "--sweep compares the checkpoints of a training; name the folder of the training instead of the model."
        raise ParameterError(msg)
    return sweep_checkpoints(model, checkpoints(run), pairs, predict, perceptual=perceptual)


def _tried(model: ImageModel, pairs: list[Pair], predict: Predict) -> Any:
    from kinocyte.learning.quality.sensitivity import sensitivity

    chosen = [cropped(p, _TRIED_PX, model.task.enlargement) for p in pairs[:: max(1, len(pairs) // _TRIED)][:_TRIED]]
    with TaskBar("Trying changes", 1, "changes") as bar:
        return sensitivity(model, chosen, predict, told=bar.reached)


def cropped(pair: Pair, size_px: int, enlargement: int) -> Pair:
    """Return the middle of a pair, up to a size in the plane."""

    def middle(read: Callable[[], Any], factor: int) -> Callable[[], Any]:
        def cut() -> Any:
            array = read()
            if array is None:
                return None
            side = size_px * factor
            start = [max(0, (n // factor - size_px) // 2) * factor for n in array.shape[-2:]]
            return array[..., start[0] : start[0] + side, start[1] : start[1] + side]

        return cut

    target = middle(lambda: pair.target, enlargement) if pair.has_target else None
    return pair.replace(image=middle(lambda: pair.image, 1), target=target)


def _document(name: str, judged: Judgement, swept: Sweep | None, tried: Any, run: Path | None) -> dict[str, Any]:
    from kinocyte.cli._model_report import verdict

    found = verdict(run)
    return {
        "model": name,
        "kind": judged.kind,
        "scores": dict(judged.pooled),
        "per_image": judged.per_image.to_dicts(),
        "training": None if found is None else {"verdict": found.verdict, "sentence": found.sentence},
        "checkpoints": None if swept is None else swept.table.to_dicts(),
        "sensitivity": None if tried is None else tried.to_dicts(),
        "notes": list(judged.notes),
    }


def _show(judged: Judgement, swept: Sweep | None, tried: Any, run: Path | None, written: list[str]) -> None:
    from kinocyte.cli._model_report import score_table, verdict

    scores = score_table(judged)
    rows = [(*row, _EXPLAINED.get(str(row[0]), "")) for row in scores.iter_rows()]
    named = [("score" if c == "score" else c.replace("_", " ")) for c in scores.columns]
    shown = [(str(r[0]).replace("_", " "), *r[1:]) for r in rows]
    n = judged.per_image["image"].n_unique()
    table(f"Model on {n} images", (*named, "what it is"), shown)
    for note in judged.notes:
        out.print(f"Note: {note}", markup=False, soft_wrap=True)
    found = verdict(run)
    if found is not None:
        out.print(f"Training: {found.verdict}. {found.sentence}", markup=False)
    if swept is not None:
        rows_of_sweep = swept.table.select("rank", "name", "step", "score").iter_rows()
        table(f"Checkpoints by {swept.score.replace('_', ' ')}", ("rank", "name", "step", "score"), rows_of_sweep)
    if tried is not None and tried.height and not written:  # else the report draws it
        rows_tried = [(w.replace("_", " "), v, x, "as it is" if same else "") for w, v, x, same in tried.iter_rows()]
        table(f"{judged.main.replace('_', ' ')} under changes", ("changed", "to", "score", ""), rows_tried)
    for path in written:
        err.print(f"written: {path}", markup=False, soft_wrap=True)
