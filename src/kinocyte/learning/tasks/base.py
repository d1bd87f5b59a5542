"""What every task of deep learning offers.

A task is a method like any other: its fields are the keys ``[task]`` of a training file, the options of the command
line and the form of the application. Another package adds a task, with a network of its own, by the entry point
``task.<name>``. torch is imported where it is needed, so that a task can be declared and read without it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.method import Method

if TYPE_CHECKING:
    from kinocyte.learning.data.pairs import Pair

Singles = NDArray[np.float32]
#: a ``torch.Tensor`` or ``torch.nn.Module``; torch is not imported to say so
Tensor = Any
Module = Any
#: numbers by the names of layers
Weights = Mapping[str, Singles]


@dataclass(frozen=True, eq=False)
class Reading:
    """What the output of a network means.

    Exactly one of ``labels`` (uint32, 0 is background) and ``image`` (channels first, float32, in normalised grey
    values) is given; ``quality`` holds one number between 0 and 1 an object, object 1 first; ``maps`` holds images to
    look at, such as ``probability``.
    """

    labels: NDArray[np.uint32] | None = None
    image: Singles | None = None
    quality: NDArray[np.float32] | None = None
    maps: Mapping[str, Singles] = field(default_factory=dict)


class Task(Method):
    """One thing that networks learn.

    Shapes: images are (channels, y, x) or (channels, z, y, x); a batch has one axis more in front.
    """

    kind: ClassVar[str] = "task"
    #: what the target of a pair holds: instance or class labels, an image, or nothing (noise2void)
    target: ClassVar[Literal["labels", "classes", "image", "none"]]
    #: what a prediction is
    result: ClassVar[Literal["labels", "classes", "image"]]
    #: whether pairs without a target teach something too
    target_optional: ClassVar[bool] = False
    #: how long the optimiser remembers gradients and their squares
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    #: settings of `read` and the values they have before `tune`
    untuned: ClassVar[Mapping[str, float]] = {}

    @abstractmethod
    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return the network with its first weights (torch's global generator is seeded by the caller).

        Parameters
        ----------
        n_inputs, n_targets : int
            Channels of the input; channels of the target image or number of classes (1 for instance labels).
        ndim : int
            2 or 3.

        Returns
        -------
        torch.nn.Module
            Takes (batch, n_inputs, [z], y, x) float32 and returns (batch, outputs, [z], y, x) float32.
        """

    def critic(self, n_inputs: int, n_targets: int, ndim: int) -> Module | None:  # noqa: ARG002 - few have one
        """Return a second network that is trained against the first and not kept in the model; None: there is none."""
        return None

    def networks(self, n_inputs: int, n_targets: int, ndim: int) -> dict[str, Module]:
        """Return the networks that are trained together: ``network``, which is the model, and ``critic`` if any."""
        found = {"network": self.build(n_inputs, n_targets, ndim)}
        critic = self.critic(n_inputs, n_targets, ndim)
        return found if critic is None else {**found, "critic": critic}

    def step(
        self, networks: Mapping[str, Module], optimisers: Mapping[str, Any], batch: tuple[Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """Learn from one batch and return the parts of the loss; tasks with several networks have steps of their own.

        Parameters
        ----------
        networks, optimisers : mapping
            By the names of `networks`. Each optimiser shortens long gradients by itself before it steps.
        batch : tuple of Tensor
            What `prepare` gave, stacked, on the device; computed in the precision of the training.
        """
        image, target = batch
        parts = self.loss(networks["network"](image), target)
        optimisers["network"].zero_grad(set_to_none=True)
        parts["loss"].backward()
        optimisers["network"].step()
        return {name: value.detach() for name, value in parts.items()}

    def adopted(
        self,
        start: Task,  # noqa: ARG002 - few take them otherwise than they are
        weights: Weights,
        batch: Callable[[int], Singles],  # noqa: ARG002 - as above
    ) -> Weights:
        """Return the weights to begin with, made of those of a model that does ``start``.

        Parameters
        ----------
        start : Task
            What the other model does; of the same name as this task.
        weights : mapping of str to ndarray
            Its weights.
        batch : callable
            Returns the normalised patches (n, channels, [z], y, x) of a step of the training that is to begin.
        """
        return weights

    def arranged(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        """Return what is learnt from images as they were read; some tasks make targets of the images themselves."""
        return pairs

    @abstractmethod
    def prepare(self, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> tuple[Singles, Singles]:
        """Return what the network is shown and what its output is compared with, for one augmented patch.

        Parameters
        ----------
        image : ndarray of float32, shape (n_inputs, [z], y, x)
            Normalised.
        target : ndarray or None
            Labels ([z], y, x) or a normalised image (n_targets, [z], y, x), as `target` says.
        rng : Generator
            For tasks that hide or draw something.
        """

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the parts of the loss of a batch; ``loss`` is what is made small."""

    @abstractmethod
    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:
        """Return what the output (outputs, [z], y, x) of one whole image means."""

    def tune(  # tasks without settings look at neither
        self,
        outputs: Sequence[Singles],  # noqa: ARG002
        targets: Sequence[NDArray[Any]],  # noqa: ARG002
    ) -> dict[str, float]:
        """Return the settings of `read` that do best on validation images; `untuned` where there are none."""
        return dict(self.untuned)

    def divisor(self, ndim: int) -> tuple[int, ...]:
        """Return what each length of an input must be a multiple of, in order of axes."""
        return (1,) * ndim

    @abstractmethod
    def reach(self, ndim: int) -> tuple[int, ...]:
        """Return how many pixels away the farthest input lies that an output can depend on, in order of axes.

        Tiles overlap by it, so that the size of a tile does not change a result.
        """

    @property
    def scaled_as_input(self) -> bool:
        """Tell whether a target image shows the signal of the input in the same grey values.

        Channel i of it is then scaled by the limits of input channel i (counted round, where there are fewer), in
        training as in the result, so that a result comes back in the grey values of its input
        (`kinocyte.learning.grey_values.restored`).
        """
        return False

    @property
    def enlargement(self) -> int:
        """Return how many output pixels one input pixel becomes along each axis in the plane."""
        return 1

    @property
    def stride(self) -> int:
        """Return how many input pixels along each axis one output pixel stands for (the grid of star-convex tasks)."""
        return 1
