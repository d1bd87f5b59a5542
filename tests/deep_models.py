"""Models whose weights are worked out, not learnt, so that what they must find is known."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from kinocyte.learning.data.normalisation import Normalisation
from kinocyte.learning.image_package import describe
from kinocyte.learning.model import ImageModel, InputChannel
from kinocyte.learning.package import write_package
from kinocyte.learning.tasks.care import Care
from kinocyte.learning.tasks.stardist import StarDist
from kinocyte.learning.tasks.virtual_stain import VirtualStain


def blob_finder(
    *, name: str = "blobs", channel: str = "dna", pixel_um: tuple[float, ...] | None = None, radius_px: float = 5.0
) -> ImageModel:
    """Return a star-convex model that sees a disc of one size around each bright spot."""
    # its distances are the same at every pixel, so that no pixel knows more than the middle
    task = StarDist(width=1, depth=0, grid=1, n_rays=16, last_width=1, refine=False)
    weights = {n: np.zeros(t.shape, np.float32) for n, t in task.build(1, 1, 2).state_dict().items()}
    for layer in ("down.0.first", "down.0.second", "last"):
        weights[f"{layer}.weight"][0, 0, 1, 1] = 1.0  # the pixel itself
    weights["out.weight"][0] = 6.0
    weights["out.bias"][0] = -3.0
    weights["out.bias"][1:] = radius_px / 10.0
    card = {"description": "Finds bright spots.", "license": "CC0-1.0", "authors": ["the tests"]}
    return ImageModel(
        name, task, (InputChannel(name=channel),), (InputChannel(name="labels"),), "yx", pixel_um, weights, card=card
    )  # fmt: skip


def unchanging(*, name: str = "same") -> ImageModel:
    """Return a restoration model that gives its input back."""
    task = Care(width=1, depth=1)
    weights = {n: np.zeros(t.shape, np.float32) for n, t in task.build(1, 1, 2).state_dict().items()}
    return ImageModel(name, task, (InputChannel(name="dna"),), (InputChannel(name="dna"),), "yx", None, weights)


def swapping(*, name: str = "swap", method: Literal["none", "absolute"] = "absolute") -> ImageModel:
    """Return a stain model that gives the second of its two channels."""
    task = VirtualStain(width=1, depth=1)
    weights = {n: np.zeros(t.shape, np.float32) for n, t in task.build(2, 1, 2).state_dict().items()}
    for layer, place in (("down.0.first", 1), ("down.0.second", 0), ("up.0.first", 2), ("up.0.second", 0)):
        weights[f"body.{layer}.weight"][0, place, 1, 1] = 1.0  # the pixel itself, past the coarser level
    weights["body.out.weight"][0] = 1.0
    grey = Normalisation(method="absolute", low=0, high=1000)
    goal = grey if method == "absolute" else Normalisation()
    inputs = tuple(InputChannel(name=n, normalisation=grey) for n in ("phase", "dna"))
    return ImageModel(name, task, inputs, (InputChannel(name="stain", normalisation=goal),), "yx", None, weights)


def saved(model: ImageModel, target: Path) -> Path:
    """Write a model as a package without exports to other formats, and return where it is."""
    write_package(target, *describe(model, formats=()))
    return target
