"""The model that comes with Kinocyte to try denoising with."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from kinocyte.learning.inference.apply import restore
from kinocyte.learning.model import load_image_model
from kinocyte.simulation.exposures import varied_exposures

torch = pytest.importorskip("torch")

MODELS = Path(str(files("kinocyte") / "data" / "models"))


def off(made: np.ndarray, clean: np.ndarray) -> float:
    return float(np.sqrt(np.mean((made - clean) ** 2)))


def test_it_is_on_the_whole_nearer_to_the_truth_than_the_best_gaussian_and_keeps_grey_values() -> None:
    model = load_image_model("denoise-demo")
    ours, gaussian, gain = [], [], []
    # images that training never saw: it began with seed 1
    for settings, exposed, clean in varied_exposures(8, seed=2, size_px=128):
        made = restore(model, exposed, device="cpu")
        assert made.shape == clean.shape
        ours.append(off(made, clean))
        noisy = exposed.astype(float)
        gaussian.append(min(off(ndimage.gaussian_filter(noisy, (0, s, s)), clean) for s in (0.7, 1, 1.4, 2, 2.8)))
        bright = clean > np.percentile(clean, 90)
        gain.append((made[bright].mean() - settings.offset) / (clean[bright].mean() - settings.offset))
    # the best sigma of each image, which nobody knows, included
    assert np.exp(np.mean(np.log(np.array(ours) / np.array(gaussian)))) < 0.96
    assert np.mean(gain) == pytest.approx(1, abs=0.05)


def test_it_is_small_and_says_what_it_learnt_from() -> None:
    folder = MODELS / "denoise-demo"
    assert sum(p.stat().st_size for p in folder.iterdir()) < 5e6
    asked = tomllib.loads((MODELS / "denoise-demo.toml").read_text(encoding="utf-8"))
    model = load_image_model("denoise-demo")
    assert "never seen a real image" in model.card["about"]
    assert model.card["about"] == asked["about"]
    assert model.task.name() == asked["task"]["method"]
    assert model.card["training"]["settings"]["seed"] == asked["training"]["seed"]
