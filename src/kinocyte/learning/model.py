"""A trained network for images, with everything that is needed to apply it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.learning.data.normalisation import Normalisation
from kinocyte.learning.devices import need_torch
from kinocyte.learning.package import write_package
from kinocyte.learning.tasks.base import Module, Task


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

    def replace(self, **changes: Any) -> ImageModel:
        """Return a copy with some attributes changed."""
        return replace(self, **changes)

    def network(self) -> Module:
        """Return the network with its weights, on the processor, ready to be used (not to be trained).

        Raises
        ------
        ParameterError
            If the weights are not those of the network that the task makes.
        MissingExtraError
            If torch is not installed.
        """
        torch = need_torch(f"The model '{self.name}'")
        with torch.device("meta"):
            network = self.task.build(len(self.inputs), max(len(self.targets), 1), self.ndim)
        wanted = {n: tuple(t.shape) for n, t in network.state_dict().items()}
        if wanted != {n: a.shape for n, a in self.weights.items()}:
            msg = (
                f"The weights of the model '{self.name}' are not those of the network that this version of Kinocyte "
                f"makes for {self.task.name()}; get or train it again, or use the version that saved it."
            )
            raise ParameterError(msg)
        network.load_state_dict({n: torch.from_numpy(np.array(a)) for n, a in self.weights.items()}, assign=True)
        return network.eval()

    def normalised(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return an image (channels, [z], y, x) as the network sees it.

        Raises
        ------
        ParameterError
            If it has another number of channels or axes.
        """
        if image.ndim != self.ndim + 1 or len(image) != len(self.inputs):
            listed = ", ".join(c.name for c in self.inputs)
            msg = (
                f"The model '{self.name}' reads {len(self.inputs)} channels ({listed}) of {' '.join(self.axes)}; the "
                f"image has the shape {image.shape}."
            )
            raise ParameterError(msg)
        return np.stack([c.normalisation.apply(plane) for c, plane in zip(self.inputs, image, strict=True)])

    def save(self, target: Path) -> None:
        """Write the model as a BioImage.IO package, a folder or a ``.zip``.

        Raises
        ------
        StoreError
            If there is something at the target already, or it cannot be written.
        """
        from kinocyte.learning.image_package import describe

        rdf, files = describe(self)
        write_package(target, rdf, files)


def load_image_model(path_or_name: str | Path, *, checked: bool = True) -> ImageModel:
    """Return a model for images, ours or another program's, after it has given its own test output again.

    It is read again only when its files have changed.

    Parameters
    ----------
    path_or_name : str or Path
        Folder or zip of a package, folder of a finished training, or the name of a model that is installed or comes
        with Kinocyte.
    checked : bool
        Compute its test output first; without, torch is not needed.

    Raises
    ------
    InputFileError
        If there is none, it is no model for images, or it does not compute what it says it does.
    MissingExtraError
        If it is to be checked and torch is not installed.
    """
    from kinocyte.learning.zoo import opened

    return opened(path_or_name, checked=checked)
