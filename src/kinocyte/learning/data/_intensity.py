"""Grey values of augmentation: brightness, gamma, blur, four kinds of noise, dark channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kinocyte.learning.data.augment import Augmentation

Singles = NDArray[np.float32]


def changed(
    augmentation: Augmentation, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator
) -> tuple[Singles, NDArray[Any] | None]:
    """Return an image with changed grey values, and its target, which follows where it must."""
    gain, offset = _brightness(augmentation, len(image), rng)
    follows = augmentation.target_follows and target is not None and target.dtype.kind == "f"
    if augmentation.gain or augmentation.offset:
        image = _linear(image, gain, offset)
        if follows and target is not None:
            # a target with as many channels is changed channel by channel, any other as the first channel
            same = len(target) == len(image)
            target = _linear(target, gain if same else gain[:1], offset if same else offset[:1])
    if augmentation.gamma and rng.random() < augmentation.probability:
        image = _gamma(image, _factor(augmentation.gamma, rng))
    if augmentation.blur_px and rng.random() < augmentation.probability:
        image = _blurred(image, float(rng.uniform(0, augmentation.blur_px)))
    image = _noisy(augmentation, image, rng)
    if augmentation.channel_extinction and len(image) > 1:
        dark = rng.random(len(image)) < augmentation.channel_extinction
        dark[0] = False
        image = np.where(dark.reshape(-1, *([1] * (image.ndim - 1))), np.float32(0), image)
    return np.ascontiguousarray(image, np.float32), target


def _factor(largest: float, rng: np.random.Generator) -> float:
    """Return a factor from 1 - largest to 1 / (1 - largest), as often below 1 as above."""
    return float((1 - largest) ** -rng.uniform(-1, 1))


def _brightness(
    augmentation: Augmentation, n_channels: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    gain, offset = np.ones(n_channels, np.float32), np.zeros(n_channels, np.float32)
    if augmentation.gain and rng.random() < augmentation.probability:
        gain = np.array([_factor(augmentation.gain, rng) for _ in range(n_channels)], np.float32)
    if augmentation.offset and rng.random() < augmentation.probability:
        offset = rng.uniform(-augmentation.offset, augmentation.offset, n_channels).astype(np.float32)
    return gain, offset


def _linear(image: NDArray[Any], gain: NDArray[np.float32], offset: NDArray[np.float32]) -> Singles:
    shape = (-1, *([1] * (image.ndim - 1)))
    return (image * gain.reshape(shape) + offset.reshape(shape)).astype(np.float32)


def _gamma(image: Singles, gamma: float) -> Singles:
    """Return positive grey values to a power; those below 0, which background noise has, stay."""
    bright = np.maximum(image, 0)
    return np.where(image > 0, bright ** np.float32(gamma), image).astype(np.float32)


def _blurred(image: Singles, sigma_px: float) -> Singles:
    from scipy.ndimage import gaussian_filter

    blurred: Singles = gaussian_filter(image, (*([0] * (image.ndim - 2)), sigma_px, sigma_px), mode="mirror")
    return blurred


def _noisy(augmentation: Augmentation, image: Singles, rng: np.random.Generator) -> Singles:
    def level(most: float) -> float:
        return float(rng.uniform(0, most)) if most and rng.random() < augmentation.probability else 0.0

    def draw() -> Singles:
        return rng.standard_normal(image.shape, np.float32)

    shot = level(augmentation.poisson_noise)
    if shot:  # a count n with mean and variance (grey value / shot), in grey values again
        counts = rng.poisson(np.maximum(image, 0) / shot).astype(np.float32)
        image = (counts * np.float32(shot) + np.minimum(image, 0)).astype(np.float32)
    speckle = level(augmentation.speckle_noise)
    if speckle:
        image = image * (1 + np.float32(speckle) * draw())
    gaussian = level(augmentation.gaussian_noise)
    if gaussian:
        image = image + np.float32(gaussian) * draw()
    local = level(augmentation.local_noise)
    if local:
        image = image + np.float32(local) * draw() * _spot(image.shape[-2:], rng)
    return image


def _spot(plane: tuple[int, ...], rng: np.random.Generator) -> Singles:
    """Return the weight, 0 to 1, of a soft spot at a random place that fills about a tenth of the plane."""
    y, x = (np.arange(n, dtype=np.float32)[:, None] - rng.uniform(0, n) for n in plane)
    sigma = np.float32(0.18 * float(np.sqrt(plane[0] * plane[1])))
    return np.exp(-(y**2 + x.T**2) / (2 * sigma**2)).astype(np.float32)
