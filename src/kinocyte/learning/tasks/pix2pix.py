"""Images from images by a network and its critic, which learns to tell made images from real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from kinocyte.core.method import param
from kinocyte.learning.tasks._images import ImageTask, mean_error
from kinocyte.learning.tasks.base import Module, Tensor


class Pix2Pix(ImageTask):
    """Learns to turn images of one kind into another so that they look real: a network against a critic of patches.

    Images look sharper than those of `virtual_stain`, but sharp detail may be made up: measure nothing in it that was
    not checked against real images. Grey values are float from end to end, of any bit depth and any size.
    """

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "image"
    references: ClassVar[tuple[str, ...]] = (
        "Isola et al., CVPR (2017), arXiv:1611.07004",
        "Mao et al., ICCV (2017), arXiv:1611.04076 (least squares)",
    )

    #: as in the paper: with a longer memory network and critic swing
    betas: ClassVar[tuple[float, float]] = (0.5, 0.999)

    method: Literal["pix2pix"] = "pix2pix"
    depth: int = param(4, ge=1, le=6, help="How many times the network halves the image to see more around a pixel.")
    pixel_weight: float = param(100.0, ge=0, help="Weight of the absolute error beside that of convincing the critic.")
    adversarial: Literal["cross_entropy", "least_squares"] = param(
        "least_squares", help="How the critic is scored; least_squares is the steadier."
    )
    critic_width: int = param(32, ge=1, help="Channels of the first level of the critic.")
    critic_depth: int = param(3, ge=1, le=5, help="How many times the critic halves the image; 3 judges 70 pixels.")

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return the U-Net that makes images."""
        from kinocyte.learning.networks.image_to_image import RegressionNet

        return RegressionNet(n_inputs, n_targets, ndim, width=self.width, depth=self.depth, flat=self.flat)

    def critic(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return the network that tells made from real; it is not part of the trained model."""
        from kinocyte.learning.networks.patch_gan import PatchCritic

        return PatchCritic(n_inputs, n_targets, ndim, width=self.critic_width, depth=self.critic_depth)

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the mean absolute error, by which checkpoints are compared; training adds the critic's."""
        return {"loss": mean_error(output, target, "absolute")}

    def step(self, networks: Mapping[str, Module], optimisers: Mapping[str, Any], batch: Any) -> dict[str, Tensor]:
        """Let the critic learn from a batch, then the network; return the parts of their losses.

        Parameters
        ----------
        networks : mapping
            ``network`` (see `build`) and ``critic``.
        optimisers : mapping
            One for each network, by the same names.
        batch : tuple of Tensor
            Inputs and targets.
        """
        image, target = batch
        network, critic = networks["network"], networks["critic"]
        made = network(image)
        real_score, made_score = critic(image, target), critic(image, made.detach())
        critic_loss = (self._score(real_score, real=True) + self._score(made_score, real=False)) / 2
        optimisers["critic"].zero_grad(set_to_none=True)
        critic_loss.backward()
        optimisers["critic"].step()

        pixels = mean_error(made, target, "absolute")
        critic.requires_grad_(False)
        convincing = self._score(critic(image, made), real=True)
        critic.requires_grad_(True)
        loss = convincing + self.pixel_weight * pixels
        optimisers["network"].zero_grad(set_to_none=True)
        loss.backward()
        optimisers["network"].step()
        parts = {"loss": loss, "pixels": pixels, "convincing": convincing, "critic": critic_loss}
        return {name: value.detach() for name, value in parts.items()}

    def _score(self, score: Tensor, *, real: bool) -> Tensor:
        """Return how far the critic's numbers are from calling every patch real, or made."""
        import torch

        wanted = torch.full_like(score, float(real))
        if self.adversarial == "least_squares":
            return torch.nn.functional.mse_loss(score, wanted)
        return torch.nn.functional.binary_cross_entropy_with_logits(score, wanted)
