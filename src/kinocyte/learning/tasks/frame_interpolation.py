"""Frames between frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.learning.tasks._images import ImageTask, mean_error, wanted
from kinocyte.learning.tasks.base import Module, Singles, Tensor

if TYPE_CHECKING:
    from kinocyte.learning.data.pairs import Pair


class FrameInterpolation(ImageTask):
    """Learns to compute the frame between two frames of a movie from movies with all of them.

    The channels of the input are those of the frame before, then those of the frame after.
    """

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "image"
    fewest_inputs: ClassVar[int] = 2
    references: ClassVar[tuple[str, ...]] = (
        "Priessner et al., Nat Methods 21, 322 (2024), doi:10.1038/s41592-023-02138-w (CAFI: the task)",
        "Lucas and Kanade, IJCAI (1981), pp. 674-679 (how far things moved)",
        "Liu et al., ICCV (2017), arXiv:1702.02463 (frames moved by learnt fields)",
    )

    method: Literal["frame_interpolation"] = "frame_interpolation"
    largest_shift_px: float = param(
        8.0, gt=0, le=64, help="Farthest that anything moves from a frame to the next along an axis.", unit="px"
    )
    error: Literal["absolute", "squared"] = param("absolute", help="What training makes small.")
    turn_round: bool = param(
        True,
        help="Learn from movies backwards as often as forwards, and give the mean of both; leave out where time has an "
        "arrow.",
    )

    def arranged(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        """Return pairs as they are if they have targets; else the frames of each movie with their two neighbours.

        Parameters
        ----------
        pairs : sequence of Pair
            Without targets: one a frame, in order of time, of which those of one group are a movie.

        Raises
        ------
        ParameterError
            If no movie has three frames.
        """
        if any(p.has_target for p in pairs):
            return pairs
        movies: dict[str, list[Pair]] = {}
        for pair in pairs:
            movies.setdefault(pair.group, []).append(pair)
        made = [_between(*frames[t - 1 : t + 2]) for frames in movies.values() for t in range(1, len(frames) - 1)]
        if not made:
            msg = f"None of the {len(movies)} movies has three frames, of which the middle one could be learnt."
            raise ParameterError(msg)
        return made

    @property
    def scaled_as_input(self) -> bool:
        """Tell that the result comes in the grey values of the input."""
        return True

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return a network that moves both frames to the middle by an estimate, and corrects motion and result.

        Raises
        ------
        ParameterError
            If the input does not have twice as many channels as the target.
        """
        from kinocyte.learning.networks.motion import MotionNet

        return MotionNet(
            n_inputs, n_targets, ndim, width=self.width, depth=self.depth, flat=self.flat,
            largest_shift_px=self.largest_shift_px, both_ways=self.turn_round,
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


def _between(before: Pair, frame: Pair, after: Pair) -> Pair:
    """Return a pair of two frames and the one between; read when it is asked for."""

    def between() -> NDArray[Any]:
        return frame.image

    names = [f"{c} {when}" for when in ("before", "after") for c in frame.channels]
    return frame.replace(image=lambda: np.concatenate([before.image, after.image]), target=between, channels=names)


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
