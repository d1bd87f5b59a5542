"""The perceptual distance with the weights that come with Kinocyte."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from kinocyte.evaluation.perceptual import PerceptualDistance
from kinocyte.learning.tensors import read_tensors


@cache
def perceptual_distance() -> PerceptualDistance:
    """Return ST-LPIPS; its weights are read once.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    """
    file = files("kinocyte") / "data" / "perceptual" / "st-lpips.safetensors"
    return PerceptualDistance(read_tensors(file.read_bytes(), name="st-lpips.safetensors"))
