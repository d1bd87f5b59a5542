"""Words of the report of a model: the paragraph for a paper, references, parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kinocyte.core.version import __version__
from kinocyte.learning._image_card import distinct
from kinocyte.learning.model import ImageModel
from kinocyte.learning.quality.judging import Judgement
from kinocyte.learning.quality.sweeping import Sweep

_SCORED = {
    "labels": (
        "Caicedo et al. 2019, Nature Methods 16, 1247, doi:10.1038/s41592-019-0612-7 (average precision)",
        "Kirillov et al. 2019, CVPR, doi:10.1109/CVPR.2019.00963 (panoptic quality)",
    ),
    "classes": (),
    "image": ("Wang et al. 2004, IEEE Trans. Image Process. 13, 600, doi:10.1109/TIP.2003.819861 (SSIM)",),
}
_LPIPS = "Ghildyal & Liu 2022, Shift-tolerant perceptual similarity metric, ECCV (ST-LPIPS)"


def subtitle(model: ImageModel, n_images: int, data: Path) -> str:
    """Return what the model is and what it was judged by."""
    space = "planes" if model.ndim == 2 else "volumes"
    task = model.task.name().replace("_", " ")
    return f"Model of the task {task} for {space}, judged by {n_images} images in '{data.name}'"


def methods(model: ImageModel, judged: Judgement, record: Mapping[str, Any], n_images: int) -> list[str]:
    """Return materials and methods in paragraphs that a paper may take over."""
    channels = ", ".join(c.name for c in model.inputs)
    about = str(model.card.get("description") or "").strip().rstrip(".")
    first = (
        f"A network for {model.task.name().replace('_', ' ')} ({'2D' if model.ndim == 2 else '3D'}; input: {channels}) "
        f"was {'trained' if record else 'used'} with Kinocyte {_version(record)}."
    )
    first += f" {about}." if about else ""
    return [text for text in (first, _trained(record), _tested(judged, n_images)) if text]


def _version(record: Mapping[str, Any]) -> str:
    versions = record.get("versions")
    kept = versions.get("kinocyte") if isinstance(versions, Mapping) else None
    return str(kept or __version__.partition("+")[0])


def _trained(record: Mapping[str, Any]) -> str:
    settings, images = record.get("settings"), record.get("images")
    if not isinstance(settings, Mapping) or not isinstance(images, Mapping):
        return ""
    size = settings.get("patch_px")
    patch = " x ".join(map(str, size)) if isinstance(size, Sequence) and not isinstance(size, str) else f"{size}"
    text = (
        f"It learnt from {images.get('training')} images; {images.get('held_out')} others (chosen by image or movie, "
        f"not by patch) told when to stop. {record.get('steps')} steps of {settings.get('batch_size')} patches of "
        f"{patch} pixels were made with AdamW at a learning rate of {settings.get('learning_rate'):g} "
        f"({settings.get('schedule')} schedule, seed {settings.get('seed')})"
    )
    start = record.get("start")
    text += f", starting from the weights of '{start}'" if start else ", from random weights"
    used = augmented(record.get("augmentation"))
    text += f". Patches were varied by {used}" if used else ". Patches were not varied"
    torch = record.get("versions", {}).get("torch") if isinstance(record.get("versions"), Mapping) else None
    machine = str(record.get("machine") or "").replace(", processor unknown", "").rstrip(", ")
    text += f". PyTorch {torch}, {machine}." if torch else "."
    return text


_VARIED = {
    "flips": "mirroring", "flip_depth": "mirroring in z", "quarter_turns": "quarter turns", "rotation_deg": "rotation",
    "scale": "scaling", "shear_deg": "shear", "elastic_px": "elastic bending", "gain": "brightness", "offset": "offset",
    "gamma": "gamma", "blur_px": "blur", "gaussian_noise": "Gaussian noise", "poisson_noise": "Poisson noise",
    "speckle_noise": "speckle noise", "local_noise": "local noise", "channel_extinction": "extinction of channels",
}  # fmt: skip


def augmented(augmentation: Any) -> str:
    """Return what an augmentation does, in words; empty for nothing."""
    if not isinstance(augmentation, Mapping):
        return ""
    parts = []
    for name, word in _VARIED.items():
        value = augmentation.get(name)
        if value is True:
            parts.append(word)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            parts.append(
                f"{word} ({value:g}{' px' if name.endswith('_px') else ' deg' if name.endswith('_deg') else ''})"
            )
    return ", ".join(parts)


_SEEN = {True: " that it had not learnt from", False: " of which it had learnt from some", None: ""}


def _tested(judged: Judgement, n_images: int) -> str:
    def shown(name: str) -> str:
        value = judged.pooled.get(name)
        return "undefined" if value is None else f"{value:.3g}"

    images = f"{n_images} images" if n_images != 1 else "one image"
    if judged.kind == "labels":
        return (
            f"On {images} with {judged.pooled.get('reference_objects')} objects{_SEEN[judged.unseen]}, F1 was "
            f"{shown('f1')} at an overlap (intersection over union) of 0.5, average precision over overlaps from 0.5 "
            f"to 0.95 {shown('mean_average_precision')}, and panoptic quality {shown('panoptic_quality')}."
        )
    if judged.kind == "classes":
        return f"On {images} the mean overlap (intersection over union) of classes was {shown('mean_iou')}."
    before = judged.per_image.filter(judged.per_image["of"] == "input")["ssim"].mean()
    was = f" (input: {before:.3g})" if isinstance(before, float) else ""
    return (
        f"On {images} the structural similarity (SSIM) to the target was {shown('ssim')}{was}, the peak signal-to-"
        f"noise ratio {shown('psnr_db')} dB and the root mean square error {shown('nrmse_range')} of the range, after "
        "gain and offset had been fitted."
    )


def references(model: ImageModel, judged: Judgement) -> list[str]:
    """Return what the paragraphs cite: the network, the scores, what the card says."""
    cited = model.card.get("cite")
    own = (
        [str(c.get("text") or c) if isinstance(c, Mapping) else str(c) for c in cited]
        if isinstance(cited, list)
        else []
    )
    perceptual = [_LPIPS] if judged.pooled.get("st_lpips") is not None else []
    return distinct([*own, *type(model.task).references, *_SCORED[judged.kind], *perceptual])


def parameters(
    model: ImageModel, record: Mapping[str, Any], machine: Mapping[str, str]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return every parameter of task, training and augmentation, the channels, versions and hardware."""
    channels = [
        (f"{side} '{c.name}'", f"{c.normalisation.method} {c.normalisation.low:g} to {c.normalisation.high:g}")
        for side, group in (("input", model.inputs), ("target", model.targets))
        for c in group
    ]
    size = "not stated" if model.pixel_um is None else " x ".join(f"{p:g}" for p in model.pixel_um)
    found = [
        ("Task", [(k, str(v)) for k, v in model.task.model_dump().items()]),
        ("Channels and grey values", [*channels, ("pixel size (um)", size)]),
        ("Settings of reading, tuned on held-out images", [(k, f"{v:g}") for k, v in model.settings.items()]),
    ]
    for title, key in (
        ("Training", "settings"),
        ("Augmentation", "augmentation"),
        ("Versions of the training", "versions"),
    ):
        rows = record.get(key)
        if isinstance(rows, Mapping):
            found.append((title, [(str(k), str(v)) for k, v in rows.items()]))
    said = ("machine", "seconds", "steps", "best_step", "start")
    if record:
        found.append(("How it was trained", [(k, str(record[k])) for k in said if record.get(k) is not None]))
    found.append(("This report was computed with", [("Kinocyte", __version__), *machine.items()]))
    return [(title, rows) for title, rows in found if rows]


def sweep_sentence(swept: Sweep, score: str) -> str:
    """Return which checkpoint is the best."""
    best = swept.table.row(0, named=True)
    by = (
        "SSIM and ST-LPIPS together" if "st_lpips" in swept.table.columns and best.get("st_lpips") is not None else None
    )
    return (
        f"{swept.table.height} different states of the network were compared; '{best['name']}' of step {best['step']} "
        f"is the best by {by or score}."
    )
