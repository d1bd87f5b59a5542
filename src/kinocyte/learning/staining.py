"""Channels that no microscope took: computed by a network from those that are there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.method import Method, param
from kinocyte.core.scale import Scale
from kinocyte.learning.applied import ReadsChannels
from kinocyte.learning.grey_values import gives_grey_values, in_type

if TYPE_CHECKING:
    from kinocyte.learning.model import ImageModel

Image = NDArray[Any]


class Stainer(Method):
    """Computes one channel of a frame from others."""

    kind: ClassVar[str] = "stain"

    @property
    @abstractmethod
    def channels(self) -> tuple[str, ...]:
        """Channels that the method reads."""

    @abstractmethod
    def ready(self, scale: Scale, ndim: int, dtype: DTypeLike) -> None:
        """Refuse what cannot run on frames of ``ndim`` axes and this type of pixel before anything does."""

    @abstractmethod
    def stain(self, pixels: Mapping[str, Image], scale: Scale) -> Image:
        """Return the computed channel of one frame.

        Parameters
        ----------
        pixels : mapping of str to array
            The channels of a frame, each (y, x) or (z, y, x).
        scale : Scale
            Calibration of the frame.

        Returns
        -------
        array
            As the channels that were read: whole numbers are rounded and limited to the range of their type.
        """


class VirtualStain(ReadsChannels, Stainer):
    """Computes a stain from other channels as a network was trained to (artificial labelling).

    The new channel stands beside the others in the corrected image: it is segmented, measured and shown like any other.
    It is a guess where nothing in the input tells of it: do not measure brightness in it before you have compared it
    with real stains of the same cells.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Ounkomol et al., Nat. Methods 15, 917 (2018)",
        "Christiansen et al., Cell 173, 792 (2018)",
    )

    method: Literal["virtual_stain"] = "virtual_stain"
    gives: str = param("", help="Which channel of the model's to take, by name; left out: its first.")
    levels: tuple[float, float] | None = param(
        None,
        help="Grey values that stand for 0 and 1 of a model that was trained without fixed grey values; left out: its "
        "numbers as they are, around 0 to 1, which whole numbers cannot hold.",
    )

    def misfit(self, model: ImageModel) -> str | None:
        """Return why the model cannot compute a channel of the same frame at the same pixels."""
        task = model.task
        if task.result != "image":
            return f"({task.name()}) finds objects and gives no image"
        if task.name() == "frame_interpolation":
            return (
                "computes frames between frames, which no channel of the same frames can hold: make the movie with "
                "kinocyte predict and import that"
            )
        if task.enlargement != 1:
            return (
                f"({task.name()}) gives finer pixels, which no channel beside the others can hold: make images with "
                "kinocyte predict and import them"
            )
        return None

    def ready(self, scale: Scale, ndim: int, dtype: DTypeLike) -> None:
        """Refuse what cannot run: see `AppliesModel.check_model`; and whole numbers for values around 0 to 1.

        Raises
        ------
        ParameterError
            If the model does not fit the method or the channels, or whole numbers cannot hold what it gives.
        """
        model = self.check_model(scale, ndim)
        self._place(model)
        self.check_channels(model)
        if self.levels is not None and not self.levels[0] < self.levels[1]:
            msg = f"levels = {list(self.levels)}: the grey value of 1 must be above that of 0."
            raise ParameterError(msg)
        if np.issubdtype(np.dtype(dtype), np.integer) and self.levels is None and not gives_grey_values(model):
            msg = (
                f"The model '{self.model}' gives values around 0 to 1, which {np.dtype(dtype)} pixels cannot hold; "
                "say by levels = [LOW, HIGH] which grey values stand for 0 and 1."
            )
            raise ParameterError(msg)

    def stain(self, pixels: Mapping[str, Image], scale: Scale) -> Image:
        """Return the computed channel of one frame; see `Stainer.stain`.

        Raises
        ------
        ParameterError
            If a channel is missing or the model does not fit.
        """
        from kinocyte.learning.inference.apply import restored_frame

        model = self.opened()
        image, size = self.stacked(pixels, model), scale.spacing_um(model.ndim)
        stained = restored_frame(model, image, pixel_um=size, **self.how)[self._place(model)]
        if self.levels is not None and not gives_grey_values(model):
            stained = self.levels[0] + stained * (self.levels[1] - self.levels[0])
        return in_type(stained, image.dtype)

    def _place(self, model: ImageModel) -> int:
        names = [c.name for c in model.targets]
        if not self.gives:
            return 0
        if self.gives not in names:
            msg = f"The model '{self.model}' gives no channel '{self.gives}'; {nearest(self.gives, names)}."
            raise ParameterError(msg)
        return names.index(self.gives)
