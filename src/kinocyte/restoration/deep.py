"""Restoration by a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.learning.applied import AppliesModel
from kinocyte.learning.grey_values import gives_grey_values
from kinocyte.restoration.base import Image, Movie, Output, Restorer, State, check_frames

if TYPE_CHECKING:
    from kinocyte.learning.model import ImageModel


class Deep(AppliesModel, Restorer):
    """Takes noise or blur off each frame as a network was trained to (CARE, Noise2Void), or computes a stain.

    Each channel is restored by itself, with its own grey values. A stack is restored as a whole by a model for
    volumes, plane by plane by a model for planes. A stain computed from another channel takes that channel's place in
    the corrected image; where the model gives it without unit, the result must be floating point. A network makes
    images look like those it was trained on: check restored intensities before they are measured.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Weigert et al., Nat Methods 15, 1090 (2018), doi:10.1038/s41592-018-0216-7",
        "Krull et al., CVPR (2019), arXiv:1811.10980",
    )

    method: Literal["deep"] = "deep"

    def ready(self, scale: Scale, ndim: int) -> None:
        """Refuse what cannot run before anything does; see `kinocyte.segmentation._deep.DeepSegmenter.ready`.

        Raises
        ------
        MissingExtraError
            If torch is not installed.
        InputFileError
            If there is no such model, or it does not compute what it says it does.
        ParameterError
            If it gives objects, larger images, or reads several channels; or is for volumes where frames are planes.
        CalibrationError
            If the pixel size is too far from that of the training images.
        """
        self.check_model(scale, ndim)

    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return the calibration and whether the model gives grey values; see `Restorer.fit`."""
        del seed, references
        check_frames(movie)
        self.ready(scale, np.ndim(movie[0]))
        model = self.opened()
        values = {"pixel_um": list(scale.spacing_um(model.ndim)), "in_grey_values": gives_grey_values(model)}
        return State(self.name(), values)

    def check(self, state: State, dtype: DTypeLike, output: Output) -> None:
        """Refuse values without unit in whole numbers; see `Restorer.check`."""
        super().check(state, dtype, output)
        whole = np.issubdtype(np.dtype(dtype), np.integer) and output == "same"
        if whole and not state.values["in_grey_values"]:
            msg = (
                f"The model '{self.model}' gives values around 0 to 1, which whole numbers cannot hold; set output = "
                "'float32' in the restoration."
            )
            raise ParameterError(msg)

    def correct(self, frame: Image, t: int, state: State) -> Image:
        """Return the restored frame; see `Restorer.correct`."""
        del t
        from kinocyte.learning.inference.apply import restored_frame

        if not np.isfinite(frame).any():
            return frame
        done = restored_frame(self.opened(), frame[None], pixel_um=state.values["pixel_um"], **self.how)
        return np.asarray(done[0], np.float64)

    def misfit(self, model: ImageModel) -> str | None:
        """Return why the model cannot restore one channel at its own pixels."""
        task = model.task
        if len(model.inputs) != 1:
            what = f"reads {len(model.inputs)} channels at once"
        elif task.result != "image":
            what = "finds objects"
        elif task.enlargement != 1:
            what = "gives larger images"
        else:
            return None
        return (
            f"({task.name()}) {what}, which restoration 'deep' cannot use: it restores one channel at its own pixels; "
            "apply the model with kinocyte predict"
        )
