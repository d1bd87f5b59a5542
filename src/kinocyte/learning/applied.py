"""What every method shares that applies a trained network to images."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from kinocyte.core.channels import ChannelNames, Pixels, named_channels, need_as_many
from kinocyte.core.errors import ParameterError
from kinocyte.core.method import Method, param
from kinocyte.core.scale import Scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinocyte.learning.model import ImageModel


class AppliesModel(Method):
    """Base of the methods with a trained network: which model, and how it is computed."""

    #: it is much quicker on a GPU
    wants_gpu: ClassVar[bool] = True

    model: str = param(
        help="Model: the name of one that comes with Kinocyte or is installed, or the path of a BioImage.IO package or "
        "of the folder of a training."
    )
    augment: bool = param(
        False, help="Average what the network says of the image turned and mirrored: 4 to 8 times slower, steadier."
    )
    tile_px: int | None = param(
        None,
        help="Side of the tiles, which bounds memory and changes no result; left out: as large as memory allows.",
        unit="px",
        ge=16,
        advanced=True,
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = param(
        "auto", help="Where to compute; auto takes a GPU where there is one.", advanced=True
    )

    @property
    def package(self) -> Path:
        """Return where the model is.

        Raises
        ------
        InputFileError
            If there is none.
        """
        from kinocyte.learning.zoo import find

        return find(self.model)

    @property
    def how(self) -> dict[str, Any]:
        """Return how the network is computed: keywords of `kinocyte.learning.inference.apply.apply`."""
        return {"tile_px": self.tile_px, "device": self.device, "augment": self.augment}

    @abstractmethod
    def misfit(self, model: ImageModel) -> str | None:
        """Return why the method cannot use a model, as what follows its name in a sentence; None where it can."""

    def opened(self, *, checked: bool = True) -> ImageModel:
        """Return the model, read again only when its files have changed.

        Raises
        ------
        InputFileError
            If there is no such model, or it does not compute what it says it does.
        MissingExtraError
            If it is to be checked and torch is not installed.
        ParameterError
            If the method cannot use it.
        """
        from kinocyte.learning.model import load_image_model

        model = load_image_model(self.model, checked=checked)
        wrong = self.misfit(model)
        if wrong is not None:
            msg = f"The model '{self.model}' {wrong}; see kinocyte model info {self.model}."
            raise ParameterError(msg)
        return model

    def engine(self) -> str:
        """Return what computes the network on this machine, for the record of a result.

        Raises
        ------
        MissingExtraError
            If torch is not installed.
        """
        from kinocyte.learning.inference.engine import engine_of

        return engine_of(self.opened(), self.device).name

    def check_model(self, scale: Scale, ndim: int) -> ImageModel:
        """Return the model, after what cannot run was refused: no torch, volumes where frames are planes, other pixels.

        Parameters
        ----------
        scale : Scale
            Calibration of the frames.
        ndim : int
            2 for frames (y, x), 3 for (z, y, x).

        Raises
        ------
        MissingExtraError
            If torch is not installed.
        InputFileError
            If there is no such model, or it does not compute what it says it does.
        ParameterError
            If the method cannot use it, or it is for volumes where frames are planes.
        CalibrationError
            If the pixel size is too far from that of the training images.
        """
        from kinocyte.learning.devices import need_torch
        from kinocyte.learning.inference.apply import factors_of

        need_torch(f"The {self.kind} method '{self.name()}'")
        model = self.opened()
        if model.ndim > ndim:
            msg = f"The model '{self.model}' is for volumes, the frames are planes; name a model for planes."
            raise ParameterError(msg)
        factors_of(model, scale.spacing_um(model.ndim))
        return model


class ReadsChannels(AppliesModel):
    """Base of those that read several channels of a frame together."""

    channel: ChannelNames = param(
        (), help="Channels to read, in the order of the model's; left out: the channels that the model names."
    )

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that the method reads; where none is named, those of the model, which is opened for it."""
        return self.channel or tuple(c.name for c in self.opened(checked=False).inputs)

    def check_channels(self, model: ImageModel) -> None:
        """Refuse channels that are not as many as the model reads.

        Raises
        ------
        ParameterError
            If they are not.
        """
        need_as_many(self.channels, [c.name for c in model.inputs], f"the model '{self.model}'")

    def stacked(self, pixels: Pixels, model: ImageModel) -> NDArray[Any]:
        """Return the channels of a frame in the order of the model's, (channels, [z], y, x).

        Raises
        ------
        ParameterError
            If one is missing, or they are not as many as the model reads.
        """
        self.check_channels(model)
        return np.stack([np.asarray(channel) for channel in named_channels(pixels, self.channels)])
