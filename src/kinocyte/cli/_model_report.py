"""What the report of a model is made from: its scores, its training, its card."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, MissingExtraError
from kinocyte.evaluation.images import error_map, score_image, ssim_map
from kinocyte.evaluation.overlaps import overlaps
from kinocyte.evaluation.perceptual import PerceptualDistance
from kinocyte.evaluation.segmentation import match_objects
from kinocyte.learning.data.checks import short
from kinocyte.learning.data.pairs import Pair, as_labels
from kinocyte.learning.devices import hardware
from kinocyte.learning.model import ImageModel
from kinocyte.learning.quality.curves import CurveVerdict, judge_curves
from kinocyte.learning.quality.judging import Example, Judgement
from kinocyte.learning.quality.sweeping import Candidate, Sweep
from kinocyte.pipeline.plain.movies import refuse_existing
from kinocyte.report.training_page import Plate, TrainingPage, write_training_report

Array = NDArray[Any]

_FILES = (
    "report.html",
    "report.pdf",
    "scores.csv",
    "per_image.csv",
    "errors.csv",
    "sensitivity.csv",
    "checkpoints.csv",
)
_SHOWN = {
    "labels": (
        "f1", "precision", "recall", "accuracy", "mean_average_precision", "panoptic_quality", "mean_matched_iou",
        "mean_true_iou", "foreground_iou", "da_sq", "true_positives", "false_positives", "false_negatives",
    ),
    "classes": ("mean_iou", "mean_f1", "accuracy"),
    "image": ("psnr_db", "ssim", "nrmse_range", "nrmse_norm", "pearson", "mean_absolute_error", "st_lpips"),
}  # fmt: skip
_TILES = {
    "labels": ("f1", "mean_average_precision", "panoptic_quality", "mean_matched_iou"),
    "classes": ("mean_iou", "mean_f1", "accuracy"),
    "image": ("ssim", "psnr_db", "nrmse_range", "st_lpips"),
}


_LABELS = {
    "f1": "F1", "psnr_db": "PSNR (dB)", "ssim": "SSIM", "st_lpips": "ST-LPIPS", "nrmse_range": "NRMSE (range)",
    "nrmse_norm": "NRMSE (norm)", "pearson": "Pearson", "mean_matched_iou": "mean matched IoU", "mean_iou": "mean IoU",
    "mean_true_iou": "mean true IoU", "foreground_iou": "foreground IoU", "da_sq": "DA and SQ", "mean_f1": "mean F1",
}  # fmt: skip


def label(score: str) -> str:
    """Return the name of a score as papers write it."""
    return _LABELS.get(score, score.replace("_", " "))


# ------------------------------------------------------------------------------------------ the training
def run_of(model: str) -> Path | None:
    """Return the folder of the training of a model, None where there is none beside it."""
    for path in (Path(model), Path(model).parent):
        if (path / "history.csv").is_file():
            return path
    return None


def history(run: Path) -> pl.DataFrame:
    """Return the history of a training.

    Raises
    ------
    InputFileError
        If it cannot be read.
    """
    path = run / "history.csv"
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(stream)]
    except (OSError, ValueError, TypeError) as error:
        msg = f"'{path}' cannot be read as the history of a training ({error})."
        raise InputFileError(msg) from error
    return pl.DataFrame(rows, infer_schema_length=None)


def verdict(run: Path | None) -> CurveVerdict | None:
    """Return what the curves of a training say, None without a training."""
    return None if run is None else judge_curves(history(run))


def checkpoints(run: Path) -> list[Candidate]:
    """Return the states that a training kept.

    Raises
    ------
    InputFileError
        If there is none or one is damaged.
    """
    from kinocyte.learning.training.checkpoint import read_checkpoint

    found = []
    for path in sorted((run / "checkpoints").glob("*.safetensors")):
        kept = read_checkpoint(path)
        # what judges and predicts: the mean of the weights where one is kept, else the weights themselves
        weights = kept.under("mean") or kept.under("networks/network") or dict(kept.arrays)
        found.append(Candidate(path.stem, int(kept.notes.get("step", 0)), weights))
    if not found:
        msg = f"'{run}' holds no checkpoints; name the folder of a training."
        raise InputFileError(msg)
    return found


def perceptual() -> PerceptualDistance | None:
    """Return ST-LPIPS where torch is installed."""
    from kinocyte.learning.quality.perceptual import perceptual_distance

    try:
        return perceptual_distance()
    except MissingExtraError:
        return None


# ------------------------------------------------------------------------------------------ what is written
def refuse_taken(folder: Path) -> None:
    """Refuse a folder that holds a report already.

    Raises
    ------
    StoreError
        Names the first file that exists.
    """
    refuse_existing(folder, (*_FILES, "maps"))


class Keeper:
    """Writes maps while images are judged, and the report at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, int] = {}

    def maps(self, pair: Pair, target: Array, prediction: Array) -> None:
        """Write the prediction, and for images the signed error and the similarity, as float32 TIFF."""
        import re

        import tifffile

        folder = self._folder / "maps"
        folder.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"[^\w.-]+", "_", pair.name)
        n = self._names[stem] = self._names.get(stem, 0) + 1
        stem = stem if n == 1 else f"{stem}_{n}"
        if prediction.ndim == target.ndim and prediction.dtype.kind == "f":
            made = {
                "prediction": prediction,
                "error": np.stack([error_map(a, b) for a, b in zip(target, prediction, strict=True)]),
                "ssim": np.stack([ssim_map(a, b) for a, b in zip(target, prediction, strict=True)]),
            }
        else:
            made = {"labels": prediction}
        for what, image in made.items():
            whole = image.astype(np.float32) if image.dtype.kind == "f" else image
            if what != "labels" and len(whole) == 1:  # one channel: a plain image
                whole = whole[0]
            tifffile.imwrite(folder / f"{stem}_{what}.tif", whole, compression="zlib", photometric="minisblack")

    def report(
        self, page: TrainingPage, judged: Judgement, swept: Sweep | None, tried: pl.DataFrame | None
    ) -> list[Path]:
        """Write the report and its numbers, and return the files."""
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        written = [folder / "report.html", folder / "report.pdf"]
        write_training_report(page, *written)
        tables = {"scores": score_table(judged), "per_image": judged.per_image, "errors": judged.errors}
        tables |= {} if tried is None else {"sensitivity": tried}
        tables |= {} if swept is None else {"checkpoints": swept.table}
        for name, rows in tables.items():
            if rows.width:
                rows.write_csv(folder / f"{name}.csv")
                written.append(folder / f"{name}.csv")
        if swept is not None and swept.table["rank"].len() > 0:
            best = folder / f"best_checkpoint_{swept.table['name'][0]}"
            if not best.exists() and not swept.stays:
                swept.best.save(best)
                written.append(best)
        return written


def score_table(judged: Judgement) -> pl.DataFrame:
    """Return the main scores: over everything and as the mean of images, or for prediction and input."""
    names = _SHOWN[judged.kind]
    if judged.kind == "image":
        parts = {of: judged.per_image.filter(pl.col("of") == of) for of in ("prediction", "input")}
        return pl.DataFrame(
            {"score": list(names)} | {of: [t[n].mean() for n in names] for of, t in parts.items()}, strict=False
        )
    mean = [judged.per_image[n].cast(pl.Float64).mean() if n in judged.per_image.columns else None for n in names]
    whole = [judged.pooled.get(n) for n in names]
    over = "all_objects" if judged.kind == "labels" else "all_pixels"
    return pl.DataFrame({"score": list(names), over: whole, "mean_of_images": mean}, strict=False)


# ------------------------------------------------------------------------------------------ the page
def page(
    model: ImageModel,
    judged: Judgement,
    *,
    title: str | None,
    run: Path | None,
    swept: Sweep | None,
    tried: pl.DataFrame | None,
    data: Path,
    pairs: Sequence[Pair],
) -> TrainingPage:
    """Return the report of a model."""
    from kinocyte.cli import _model_words as words

    found = verdict(run)
    kept = None if run is None else history(run)
    record = record_of(run, model)
    return TrainingPage(
        title=title or model.name,
        subtitle=words.subtitle(model, len(pairs), data),
        tiles=[(label(n), judged.pooled[n]) for n in _TILES[judged.kind] if judged.pooled.get(n) is not None],
        n_images=judged.per_image["image"].n_unique(),
        scores=_labelled(score_table(judged)),
        per_image=_named_shortly(judged.per_image.select(_columns(judged))),
        plates=[
            *_training_plates(kept, found),
            *_score_plates(judged),
            *_example_plates(judged),
            *_tried(tried, judged),
        ],
        methods=words.methods(model, judged, record, len(pairs)),
        references=words.references(model, judged),
        parameters=words.parameters(model, record, machine()),
        verdict="" if found is None else found.verdict,
        verdict_sentence="" if found is None else found.sentence,
        sweep=None if swept is None else swept.table.select("rank", "name", "step", "score"),
        sweep_sentence="" if swept is None else words.sweep_sentence(swept, label(swept.score)),
        notes=judged.notes,
    )


def _labelled(scores: pl.DataFrame) -> pl.DataFrame:
    """Return the scores that are defined, under the names of papers."""
    known = scores.filter(~pl.all_horizontal(pl.exclude("score").is_null()))
    return known.with_columns(score=pl.Series([label(n) for n in known["score"]], dtype=pl.String))


def _named_shortly(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of images with short names and the columns that hold anything, under the names of papers."""
    shown = rows.with_columns(image=pl.Series([short(n) for n in rows["image"]], dtype=pl.String))
    filled = [c for c in shown.columns if shown[c].null_count() < shown.height]
    return shown.select(filled).rename({c: label(c) for c in filled})


def record_of(run: Path | None, model: ImageModel) -> Mapping[str, Any]:
    """Return the record of the training, from its folder or the card of the model."""
    if run is not None and (run / "record.json").is_file():
        try:
            found = json.loads((run / "record.json").read_text(encoding="utf-8"))
        except ValueError as error:
            msg = f"'{run / 'record.json'}' is damaged ({error})."
            raise InputFileError(msg) from error
        if isinstance(found, dict):
            return found
    kept = model.card.get("training")
    return kept if isinstance(kept, Mapping) else {}


def machine() -> dict[str, str]:
    """Return what computed the report."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"machine": hardware(), "Python": platform.python_version()}
    for name in ("torch", "onnxruntime", "numpy", "scipy", "polars"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _columns(judged: Judgement) -> list[str]:
    extra = ["channel", "of"] if judged.kind == "image" else []
    classes = [c for c in judged.per_image.columns if c.startswith("iou_")]
    wanted = ["image", *extra, *_SHOWN[judged.kind], *classes]
    return [c for c in wanted if c in judged.per_image.columns]


def _training_plates(kept: pl.DataFrame | None, found: CurveVerdict | None) -> list[Plate]:
    from kinocyte.report.learning_figures import loss_curves

    if kept is None or kept.height == 0:
        return []
    best = None if found is None else found.best_step
    text = "Loss of the training patches and of the held-out images at every look, on a linear and a logarithmic scale."
    return [Plate("curves", "loss", loss_curves(kept, best), "Loss", text)]


def _score_plates(judged: Judgement) -> list[Plate]:
    from kinocyte.report.learning_figures import precision_by_overlap, scores_by_image

    name, rows = label(judged.main), judged.per_image
    if judged.kind == "image":
        series = {
            of: rows.filter(pl.col("of") == of)[judged.main].drop_nulls().to_list() for of in ("input", "prediction")
        }
        text = "Each dot is one image (and channel); the line is the median. The input is what the model was given."
    else:
        series = {"images": rows[judged.main].drop_nulls().to_list()}
        text = "Each dot is one image; the line is the median."
    plates = [Plate("scores", "by_image", scores_by_image(series, name), name[0].upper() + name[1:], text)]
    if judged.kind == "labels":
        text = "Share TP / (TP + FP + FN) of all objects when at least this overlap is asked of a found object."
        plates.append(Plate("scores", "precision", precision_by_overlap(judged.pooled), "Average precision", text))
    return plates


def _example_plates(judged: Judgement) -> list[Plate]:
    from kinocyte.report import learning_figures as figures

    if not judged.examples:
        return []
    if judged.kind == "image":
        made = [_image_row(e) for e in judged.examples]
        figure = figures.image_examples([row for row, _ in made], [maps for _, maps in made])
        text = (
            "Input and prediction are brought to the grey values of the target by one gain and one offset. The error "
            "keeps its sign: orange where the prediction is too dark, purple where it is too bright. SSIM is near 1 "
            "where structures agree, negative where they are inverted."
        )
        return [Plate("examples", "examples", figure, "Prediction and input against the target", text)]
    matched = judged.kind == "labels"
    figure = figures.object_examples([_label_row(e, matched=matched) for e in judged.examples])
    text = (
        "Objects count as found when they overlap an object of the truth by at least half (intersection over union)."
        if matched
        else "Classes count as found where the prediction has the same class."
    )
    return [Plate("examples", "examples", figure, "Truth, prediction and errors", text)]


def _plane(volume: Array, z: int) -> Array:
    return volume[z] if volume.ndim == 3 else volume


def _label_row(example: Example, *, matched: bool) -> tuple[str, Array, Array, Array, Mapping[int, int]]:
    truth = as_labels(example.target, example.name)
    result = example.prediction.astype(np.int64)
    if matched:
        pairs = match_objects(overlaps(truth, result))
        found = dict(zip(pairs.reference.tolist(), pairs.result.tolist(), strict=True))
    else:  # one region a class; what is right in it is neither missed nor spurious
        found = {int(c): int(c) for c in np.unique(truth) if c}
    filled = (truth > 0).sum(axis=(-2, -1))
    z = int(np.argmax(filled)) if truth.ndim == 3 else 0
    return short(example.name), _plane(example.image[0], z), _plane(truth, z), _plane(result, z), found


def _image_row(
    example: Example,
) -> tuple[tuple[str, Array, Array, Array, Mapping[str, str]], tuple[Array, Array]]:
    from kinocyte.learning.quality.judging import enlarged, fitted

    target, prediction = example.target[0], example.prediction[0]
    z = target.shape[0] // 2 if target.ndim == 3 else 0
    start = fitted(target, enlarged(example.image[0], target.shape))
    prediction = fitted(target, prediction)
    scores = {}
    for name, image in (("input", start), ("prediction", prediction)):
        s = score_image(target, image)
        scores[name] = f"SSIM {s.ssim:.3f}" if s.ssim is not None else ""
        scores[name] += f", {s.psnr_db:.1f} dB" if s.psnr_db is not None else ""
    maps = (_plane(error_map(target, prediction), z), _plane(ssim_map(target, prediction), z))
    return (short(example.name), _plane(start, z), _plane(target, z), _plane(prediction, z), scores), maps


def _tried(tried: pl.DataFrame | None, judged: Judgement) -> list[Plate]:
    from kinocyte.report.learning_figures import sensitivity_curves

    if tried is None or tried.height == 0:
        return []
    text = (
        "Score of a few images when a setting of the model is another, or when noise, blur or another size is given to "
        "the images. Orange: how the model and the images are. A steep curve asks for care."
    )
    return [Plate("sensitivity", "sensitivity", sensitivity_curves(tried, label(judged.main)), "Sensitivity", text)]
