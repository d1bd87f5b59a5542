"""A trained network for images, with everything that is needed to apply it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from kinocyte.core.method import param
from kinocyte.learning.data.normalisation import Normalisation
from kinocyte.learning.tasks.base import Task


class InputChannel(BaseModel):
    """One channel that a model reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = param(help="Name of the channel in the training data.")
    normalisation: Normalisation = param(Normalisation(), help="How its grey values are scaled.")


@dataclass(frozen=True, eq=False)
class ImageModel:
    """A network and what it was trained for.

    Attributes
    ----------
    name : str
        Name of the model.
    task : Task
        What it does; builds the network and reads its output.
    inputs : tuple of InputChannel
        Channels it reads, in order.
    targets : tuple of InputChannel
        Channels of the image it gives, or one entry an instance label image; class names of semantic labels.
    axes : {"yx", "zyx"}
        Whether the network is for planes or volumes.
    pixel_um : tuple of float or None
        Pixel size it was trained at, in order of axes; images of another size are rescaled. None: never rescaled.
    weights : mapping of str to ndarray of float32
        The state dict of the network that ``task.build`` makes.
    settings : mapping of str to float
        How outputs are read, tuned on validation images.
    card : mapping
        Words and numbers about it: description, authors, licence, data, scores, limits, the record of its training.
    """

    name: str
    task: Task
    inputs: tuple[InputChannel, ...]
    targets: tuple[InputChannel, ...]
    axes: Literal["yx", "zyx"]
    pixel_um: tuple[float, ...] | None
    weights: Mapping[str, NDArray[np.float32]]
    settings: Mapping[str, float] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ndim(self) -> int:
        """Return 2 or 3."""
        return len(self.axes)
