"""Restoration learnt from pairs: a poor image and a good one of the same field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.method import param
from kinocyte.learning.tasks._images import ImageTask, mean_error
from kinocyte.learning.tasks.base import Module, Reading, Singles, Tensor

if TYPE_CHECKING:
    from kinocyte.learning.data.pairs import Pair

#: least scale of a guess, in normalised grey values: keeps the loss finite on pixels without noise
LEAST_SCALE = 1e-3


class Care(ImageTask):
    """Learns to restore images (less noise, sharper) from pairs of a poor and a good image of the same field."""

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "image"
    references: ClassVar[tuple[str, ...]] = (
        "Weigert et al., Nat Methods 15, 1090 (2018), doi:10.1038/s41592-018-0216-7",
        "Seitzer et al., ICLR (2022), arXiv:2203.09168 (how the scale is learnt)",
    )

    method: Literal["care"] = "care"
    error: Literal["absolute", "squared"] = param(
        "absolute", help="What training makes small: absolute error keeps edges, squared error gives the mean."
    )
    residual: bool = param(True, help="Learn the difference from the input where input and target have equal channels.")
    probabilistic: bool = param(
        False, help="Also learn how far each pixel may be off, as the scale of a Laplace distribution."
    )

    same_grey_values: bool = param(
        True,
        help="Input and target have the same grey values but for noise and blur; false where targets had more light: "
        "then each is scaled by itself and results come without unit.",
    )
    fit_grey_values: bool = param(
        False,
        help="Bring each target to the grey values of its input by one gain and one offset a channel before it is "
        "learnt from: for targets that had more light, or images that were stretched one by one. Results come in the "
        "grey values of the input.",
    )

    @property
    def scaled_as_input(self) -> bool:
        """Tell whether the result comes in the grey values of the input."""
        return self.same_grey_values or self.fit_grey_values

    def arranged(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        """Return pairs whose targets have the grey values of their inputs, if that is asked for."""
        if not self.fit_grey_values:
            return pairs
        return [_fitted(pair) if pair.has_target else pair for pair in pairs]

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return a U-Net with one output a channel, or two (value, scale) if it is probabilistic."""
        from kinocyte.learning.networks.image_to_image import RegressionNet

        return RegressionNet(
            n_inputs, n_targets, ndim, width=self.width, depth=self.depth, flat=self.flat,
            start="input" if self.residual and n_inputs == n_targets else "nothing",
            extra=n_targets if self.probabilistic else 0,
        )  # fmt: skip

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the error; the likelihood of the scale of a Laplace distribution adds its gradient and nothing else.

        The image is learnt as without a scale: were both learnt by their likelihood, pixels that are hard at first
        would be given a wide scale, hardly count any more and stay bad. What a pixel's scale learns is weighted by the
        scale itself (its square beside a squared error), which brings it into the unit of the error (Seitzer et al.,
        beta = 1).
        """
        if not self.probabilistic:
            return {"loss": mean_error(output, target, self.error)}
        import torch

        n = target.shape[1]
        error = mean_error(output[:, :n], target, self.error)
        scale = torch.nn.functional.softplus(output[:, n:]) + LEAST_SCALE
        off = (output[:, :n] - target).abs().detach()
        surprise = off / scale + torch.log(2 * scale)
        guided = (scale.detach() ** (1 if self.error == "absolute" else 2) * surprise).mean()
        return {"loss": error + guided - guided.detach(), "surprise": surprise.detach().mean()}

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:
        """Return the restored image; the map ``uncertainty`` is its Laplace scale (standard deviation / sqrt 2)."""
        if not self.probabilistic:
            return super().read(output, settings)
        n = output.shape[0] // 2
        scale = np.logaddexp(np.float32(0), output[n:]) + np.float32(LEAST_SCALE)
        return Reading(image=output[:n], maps={"uncertainty": scale.astype(np.float32)})


def _fitted(pair: Pair) -> Pair:
    """Return a pair whose target is read with the gain and offset that bring it nearest to the image."""

    def target() -> NDArray[Any]:
        image, wanted = pair.image, np.asarray(pair.target, np.float32)
        if wanted.shape[1:] != image.shape[1:]:
            return wanted  # the checks of the data say so
        return np.stack([_as_bright(channel, image[i % len(image)]) for i, channel in enumerate(wanted)])

    return pair.replace(target=target)


def _as_bright(target: Singles, image: NDArray[Any]) -> Singles:
    """Return ``gain * target + offset`` nearest to an image; noise of mean 0 in the image does not bias the gain."""
    known = np.isfinite(target) & np.isfinite(image)
    t, x = target[known].astype(float), image[known].astype(float)
    if t.size == 0 or np.ptp(t) == 0:
        return target
    gain = float(np.mean((t - t.mean()) * (x - x.mean())) / np.var(t))
    return (np.float32(gain) * (target - np.float32(t.mean())) + np.float32(x.mean())).astype(np.float32)
