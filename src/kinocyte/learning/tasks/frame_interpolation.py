"""Frames between frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.learning.tasks._images import ImageTask, mean_error, wanted
from kinocyte.learning.tasks.base import Module, Singles, Tensor


class FrameInterpolation(ImageTask):
    """Learns to compute the frame between two frames of a movie from movies with all of them.

    The channels of the input are those of the frame before, then those of the frame after.
    """

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "image"
    fewest_inputs: ClassVar[int] = 2
    references: ClassVar[tuple[str, ...]] = (
        "Priessner et al., Nat Methods 21, 322 (2024), doi:10.1038/s41592-023-02138-w (CAFI: the task)",
        "Liu et al., ICCV (2017), arXiv:1702.02463 (frames moved by learnt fields)",
    )

    method: Literal["frame_interpolation"] = "frame_interpolation"
    largest_shift_px: float = param(
        8.0, gt=0, le=64, help="Farthest that anything moves from a frame to the next along an axis.", unit="px"
    )
    error: Literal["absolute", "squared"] = param("absolute", help="What training makes small.")
    turn_round: bool = param(
        True, help="Show movies backwards as often as forwards; leave out where time has an arrow."
    )

    @property
    def scaled_as_input(self) -> bool:
        """Tell that the result comes in the grey values of the input."""
        return True

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return a network that moves both frames, blends and corrects them.

        Raises
        ------
        ParameterError
            If the input does not have twice as many channels as the target.
        """
        from kinocyte.learning.networks.motion import MotionNet

        return MotionNet(
            n_inputs, n_targets, ndim, width=self.width, depth=self.depth, flat=self.flat,
            largest_shift_px=self.largest_shift_px,
        )  # fmt: skip

    def prepare(self, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> tuple[Singles, Singles]:
        """Return both frames, in an order that is drawn if `turn_round`, and the frame between.

        Raises
        ------
        ParameterError
            If there is no frame between, or the number of channels is odd.
        """
        between = wanted(self, target)
        n = image.shape[0]
        if n % 2:
            msg = f"The input has {n} channels; it must hold those of the frame before, then those of the frame after."
            raise ParameterError(msg)
        if self.turn_round and rng.random() < 0.5:
            image = np.concatenate([image[n // 2 :], image[: n // 2]])
        return image, between

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the mean error."""
        return {"loss": mean_error(output, target, self.error)}


def neighbours_and_between(
    movie: NDArray[Any], *, distance: int = 1
) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
    """Yield each frame of a movie that has two neighbours: its number, both neighbours as channels, and itself.

    Parameters
    ----------
    movie : ndarray, shape (t, channels, [z], y, x)
        Any type; what is yielded keeps it.
    distance : int
        How many frames away the neighbours are.

    Yields
    ------
    frame : int
    around : ndarray, shape (2 * channels, [z], y, x)
    between : ndarray, shape (channels, [z], y, x)

    Raises
    ------
    ParameterError
        If the movie is too short.
    """
    if movie.ndim not in {4, 5} or distance < 1 or len(movie) < 2 * distance + 1:
        msg = (
            f"A movie of shape {movie.shape} holds no frame with neighbours {distance} frames away; give axes "
            f"(t, channels, [z], y, x) and at least {2 * distance + 1} frames."
        )
        raise ParameterError(msg)
    for t in range(distance, len(movie) - distance):
        yield t, np.concatenate([movie[t - distance], movie[t + distance]]), movie[t]
