"""Restoration by a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.restoration.base import Image, Movie, Output, Restorer, State, check_frames

if TYPE_CHECKING:
    from kinocyte.learning.model import ImageModel


class Deep(Restorer):
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
    #: it is much quicker on a GPU
    wants_gpu: ClassVar[bool] = True

    method: Literal["deep"] = "deep"
    model: str = param(
        help="Model: the name of one that comes with Kinocyte or is installed, or the path of a BioImage.IO package or "
        "of the folder of a training."
    )
    augment: bool = param(
        False, help="Average what the network says of the image turned and mirrored: 4 to 8 times slower, steadier."
    )
    tile_px: int | None = param(
        None,
        help="Side of the tiles, which bounds memory; left out: as large as memory allows.",
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
        from kinocyte.learning.devices import need_torch
        from kinocyte.learning.inference.apply import factors_of

        need_torch("The restoration method 'deep'")
        model = self._opened()
        if model.ndim > ndim:
            msg = f"The model '{self.model}' is for volumes, the frames are planes; name a model for planes."
            raise ParameterError(msg)
        factors_of(model, scale.spacing_um(model.ndim))

    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return the calibration and whether the model gives grey values; see `Restorer.fit`."""
        del seed, references
        check_frames(movie)
        self.ready(scale, np.ndim(movie[0]))
        model = self._opened()
        absolute = all(c.normalisation.method == "absolute" for c in model.targets)
        in_grey_values = model.task.scaled_as_input or (bool(model.targets) and absolute)
        values = {"pixel_um": list(scale.spacing_um(model.ndim)), "in_grey_values": in_grey_values}
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
        from kinocyte.learning.inference.apply import restore

        model = self._opened()
        parts = frame[:, None] if frame.ndim == 3 and model.ndim == 2 else frame[None, None]
        if not np.isfinite(frame).any():
            return frame
        done = [
            np.full(part.shape[1:], np.nan)
            if not np.isfinite(part).any()
            else restore(
                model, part, pixel_um=state.values["pixel_um"], tile_px=self.tile_px, device=self.device,
                augment=self.augment,
            )[0]
            for part in parts
        ]  # fmt: skip
        return np.asarray(done[0] if frame.ndim == model.ndim else np.stack(done), np.float64)

    def _opened(self) -> ImageModel:
        from kinocyte.learning.zoo import open_model

        model = open_model(self.model)
        task = model.task
        if task.result != "image" or len(model.inputs) != 1 or task.enlargement != 1:
            what = "finds objects" if task.result != "image" else "gives larger images"
            if len(model.inputs) != 1:
                what = f"reads {len(model.inputs)} channels at once"
            msg = (
                f"The model '{self.model}' ({task.name()}) {what}, which restoration 'deep' cannot use: it restores "
                "one channel at its own pixels; apply the model with kinocyte predict."
            )
            raise ParameterError(msg)
        return model
