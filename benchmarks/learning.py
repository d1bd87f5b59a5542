"""What networks learn from small real data in minutes on one core, beside what needs no learning.

    python benchmarks/learning.py [--only care noise2void] [--steps 1.0]

Prints a table and writes ``benchmarks/results/learning.json``; with ``--only`` the other rows stay as they were. Every
row is trained by the loop that ``kinocyte train`` uses, with the seed below, and scored on images that training never
saw (other fields of view, other images, later frames, or another part of the field where there is only one). Networks
are small and trainings short, so that the table can be made again anywhere: these are floors, not records. Baselines
have their own parameters chosen on the training images. Scores of images are taken after the gain and offset that fit
the truth best, for ours and baselines alike, since a network gives normalised grey values.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import learning_data as real
import numpy as np
from numpy.typing import NDArray

from kinocyte.learning.data.augment import Augmentation
from kinocyte.learning.model import ImageModel, InputChannel
from kinocyte.learning.tasks.base import Reading, Task
from kinocyte.learning.training.fit import Lesson, fit
from kinocyte.learning.training.run_folder import begin_run
from kinocyte.learning.training.settings import TrainingSettings

RESULTS = Path(__file__).parent / "results" / "learning.json"
Array = NDArray[Any]
#: image, prediction, truth -> score; the higher the better
Score = Callable[[Array, Array], float]


@dataclass(frozen=True)
class Row:
    """One line of the table: a task, what it learns from, and what it is compared with."""

    task: Task
    data: real.Data
    score: str
    steps: int
    baselines: Mapping[str, Callable[[Array], Array]]
    patch_px: int = 64
    batch_size: int = 8
    learning_rate: float = 2e-3
    note: str = ""
    augmentation: Augmentation = field(default_factory=Augmentation)


def rows() -> dict[str, Callable[[], Row]]:
    from kinocyte.learning.tasks.care import Care
    from kinocyte.learning.tasks.denoise_segment import DenoiseSegment
    from kinocyte.learning.tasks.flows import Flows
    from kinocyte.learning.tasks.frame_interpolation import FrameInterpolation
    from kinocyte.learning.tasks.noise2noise import Noise2Noise
    from kinocyte.learning.tasks.noise2void import Noise2Void
    from kinocyte.learning.tasks.pix2pix import Pix2Pix
    from kinocyte.learning.tasks.semantic import Boundary, Semantic
    from kinocyte.learning.tasks.stardist import StarDist
    from kinocyte.learning.tasks.super_resolution import SuperResolution
    from kinocyte.learning.tasks.virtual_stain import VirtualStain

    def denoising(task: Task, data: real.Data, steps: int = 2500, note: str = "") -> Row:
        return Row(task, data, "psnr", steps, real.denoisers(), batch_size=4, note=note)

    def nuclei(task: Task, steps: int = 400) -> Row:
        return Row(task, real.labelled_nuclei(), "f1", steps, real.thresholds(), 128, 4, 1e-3)

    return {
        "stardist": lambda: nuclei(StarDist(width=16, last_width=64), 900),
        "flows": lambda: nuclei(Flows(width=16)),
        "boundary": lambda: nuclei(Boundary(width=16)),
        "semantic": lambda: Row(
            Semantic(width=16), real.foreground(), "iou", 250, real.foreground_thresholds(), 128, 4, 1e-3
        ),
        # each image of the set was stretched to 8 bit by itself, so one exposure and the mean differ in grey values
        "care": lambda: denoising(
            Care(width=16, residual=False, error="squared", fit_grey_values=True), real.exposures()
        ),
        "care_probabilistic": lambda: denoising(
            Care(width=16, residual=False, error="squared", probabilistic=True, fit_grey_values=True), real.exposures()
        ),
        "noise2noise": lambda: denoising(Noise2Noise(width=16), real.redrawn_exposures(), note=real.REDRAWN),
        "noise2void": lambda: denoising(
            Noise2Void(width=16, version="n2v", hidden=0.02), real.exposures(targets=False)
        ),
        "noise2void_n2v2": lambda: denoising(Noise2Void(width=16, hidden=0.02), real.exposures(targets=False)),
        # chosen with one strip of the training rows left out; as strips differ in brightness, the step with the least
        # error on another strip comes long before the one with the best correlation, so all strips are learnt from
        "virtual_stain": lambda: Row(
            VirtualStain(width=16, error="absolute"), replace(real.phase(), held_out=0.0), "pearson", 800,
            real.phase_baselines(real.phase()), 128, 2, 1e-3, augmentation=Augmentation(
                rotation_deg=180, scale=0.15, gain=0.2, offset=0.1, gamma=0.2, gaussian_noise=0.05
            ),
        ),
        "pix2pix": lambda: Row(
            Pix2Pix(width=16, critic_width=16), real.phase(), "pearson", 800, real.phase_baselines(real.phase()), 128,
            2, 1e-3, note="made to look real, not to be nearest: compare with virtual_stain",
        ),
        "super_resolution_x2": lambda: Row(
            SuperResolution(width=16), real.binned(2), "psnr", 500, real.enlargements(2), 48, 4
        ),
        "super_resolution_x4": lambda: Row(
            SuperResolution(width=16, factor=4), real.binned(4), "psnr", 500, real.enlargements(4), 32, 4
        ),
        # chosen with the last third of the training frames left out: a wider network is best after 250 steps and then
        # learns the few frames by heart, augmented grey values or angles leave it at its estimate
        "frame_interpolation": lambda: Row(
            FrameInterpolation(width=8, largest_shift_px=8, error="squared"), real.movies(), "psnr", 900,
            real.interpolations(), 96, 4, 2e-3,
        ),
        "denoise_segment": lambda: Row(
            DenoiseSegment(width=16, denoising_weight=0.3, hidden=0.01), real.noisy_nuclei(), "f1", 1000,
            real.thresholds(), 128, 4, 1e-3,
        ),
    }  # fmt: skip


def trained(row: Row, steps: float) -> ImageModel:
    """Return the model that a row describes."""
    n = max(int(row.steps * steps), 20)
    inputs = tuple(InputChannel(name=name) for name in row.data.inputs)
    targets = tuple(InputChannel(name=name) for name in row.data.targets)
    lesson = Lesson(
        row.task.arranged(row.data.training), inputs, targets, row.augmentation, card={"name": row.task.name()}
    )
    settings = TrainingSettings(
        steps=n, batch_size=row.batch_size, patch_px=row.patch_px, learning_rate=row.learning_rate,
        warmup_steps=min(50, n // 4), check_every=max(n // 10, 1), checkpoint_every=n, threads=1, device="cpu",
        precision="auto", ema=0.99, held_out=row.data.held_out, seed=1,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        return fit(lesson, row.task, settings, begin_run(Path(folder) / "run", {}))


def applied(model: ImageModel, image: Array) -> Reading:
    """Return what a model says of a whole image."""
    import torch

    x = model.normalised(image)
    rest = [(0, -n % d) for n, d in zip(x.shape[1:], model.task.divisor(model.ndim), strict=True)]
    padded = np.pad(x, [(0, 0), *rest], mode="reflect")
    with torch.no_grad():
        out = model.network()(torch.from_numpy(padded[None]))[0].numpy()
    larger, coarser = model.task.enlargement, model.task.stride
    out = out[(slice(None), *(slice(0, -(-n * larger // coarser)) for n in x.shape[1:]))]
    read = model.task.read(out, model.settings)
    if read.labels is None:
        return read
    return replace(read, labels=read.labels[tuple(slice(0, n * larger) for n in x.shape[1:])])


def psnr(made: Array, truth: Array) -> float:
    """Return the peak signal-to-noise ratio in dB after the best gain and offset, of all channels."""
    return float(np.mean([_psnr(m, t) for m, t in zip(made, truth, strict=True)]))


def _psnr(made: Array, truth: Array) -> float:
    m, t = made.astype(float).ravel(), truth.astype(float).ravel()
    gain, offset = np.polyfit(m, t, 1) if m.std() > 0 else (0.0, t.mean())
    return float(10 * np.log10((t.max() - t.min()) ** 2 / np.mean((gain * m + offset - t) ** 2)))


def pearson(made: Array, truth: Array) -> float:
    """Return the mean correlation of channels; 0 for what is constant."""
    pairs = [(m.ravel(), t.ravel()) for m, t in zip(made, truth, strict=True)]
    return float(np.mean([np.corrcoef(m, t)[0, 1] if m.std() > 0 else 0.0 for m, t in pairs]))


def f1(made: Array, truth: Array) -> float:
    """Return the F1 score of objects at an intersection over union of one half."""
    from kinocyte.evaluation.segmentation import score_segmentation

    score = score_segmentation(truth, made).f1
    return 1.0 if score is None else score


def iou(made: Array, truth: Array) -> float:
    """Return the intersection of two foregrounds over their union."""
    both, either = np.sum((made > 0) & (truth > 0)), np.sum((made > 0) | (truth > 0))
    return float(both / either) if either else 1.0


SCORES: dict[str, Score] = {"psnr": psnr, "pearson": pearson, "f1": f1, "iou": iou}


def measured(row: Row, steps: float) -> dict[str, Any]:
    """Train, score and return a line of the table."""
    begin, used = time.monotonic(), time.process_time()
    model = trained(row, steps)
    seconds, cpu_s = time.monotonic() - begin, time.process_time() - used
    score = SCORES[row.score]
    test = [(np.asarray(p.image), np.asarray(p.target)) for p in row.data.test]
    ours = [score(_result(applied(model, image)), truth) for image, truth in test]
    others = unlearnt(row)
    best = max(others, key=lambda n: np.mean(others[n]))
    won = sum(a > b for a, b in zip(ours, others[best], strict=True))
    return {
        "task": repr(row.task), "data": row.data.words, "training_images": len(row.data.training),
        "test_images": len(test), "score": row.score, "ours": float(np.mean(ours)),
        "baselines": {n: float(np.mean(v)) for n, v in others.items()}, "best_baseline": best,
        "beats_best_baseline": bool(np.mean(ours) > np.mean(others[best])), "images_won": won,
        "steps": max(int(row.steps * steps), 20), "training_s": round(seconds, 1), "cpu_s": round(cpu_s, 1),
        "parameters": int(sum(a.size for a in model.weights.values())), "note": row.note,
        **row.data.more(model, applied),
    }  # fmt: skip


_KNOWN: dict[tuple[str, str], dict[str, list[float]]] = {}


def unlearnt(row: Row) -> dict[str, list[float]]:
    """Return the score of every test image by every baseline; rows on the same images share them."""
    key = row.data.words, row.score
    if key not in _KNOWN:
        score, test = SCORES[row.score], [(np.asarray(p.image), np.asarray(p.target)) for p in row.data.test]
        _KNOWN[key] = {n: [score(f(image), truth) for image, truth in test] for n, f in row.baselines.items()}
    return _KNOWN[key]


def _result(read: Reading) -> Array:
    made = read.image if read.labels is None else read.labels
    assert made is not None
    return made


def show(table: Mapping[str, Mapping[str, Any]]) -> None:
    print(f"\n{'row':20} {'score':8} {'ours':>8} {'baselines':70} {'won':>7} {'steps':>6} {'cpu s':>6}")
    for name, r in table.items():
        others = "  ".join(f"{n} {v:.3f}" for n, v in sorted(r["baselines"].items(), key=lambda i: -i[1]))
        won = f"{r['images_won']}/{r['test_images']}"
        print(f"{name:20} {r['score']:8} {r['ours']:8.3f} {others:70} {won:>7} {r['steps']:6} {r['cpu_s']:6.0f}")


def main() -> None:
    known = rows()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(known), default=list(known))
    parser.add_argument("--steps", type=float, default=1.0, help="factor on the steps of each training")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args()
    os.nice(10)
    table: dict[str, Any] = {}
    for name in options.only:
        made = measured(known[name](), options.steps)
        show({name: made})
        before = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}  # another run may have written
        table = {**before, name: made} if not options.dry else {**table, name: made}
        if not options.dry:
            RESULTS.parent.mkdir(exist_ok=True)
            ordered = {n: table[n] for n in known if n in table}
            RESULTS.write_text(
                json.dumps({"note": __doc__.strip().split("\n\n")[-1], "rows": ordered}, indent=1) + "\n"
            )
    show(table)


if __name__ == "__main__":
    main()
