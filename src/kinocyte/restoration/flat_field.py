"""Illumination and camera offset from reference images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.restoration.base import Image, Movie, Restorer, State, as_image, check_frames, planes


class FlatField(Restorer):
    """Divide by an image of even fluorescence or of empty bright field: ``(image - dark) / (flat - dark)``.

    References of several frames are averaged. The result keeps the grey values of a pixel of mean illumination.
    Pixels of the flat field that are missing or not above the dark field take the gain of their nearest neighbour.
    In a pipeline the references are image files, named relative to the pipeline file or the experiment's folder.
    """

    reads: ClassVar[Literal["nothing", "movie", "well", "references"]] = "references"
    reference_fields: ClassVar[tuple[str, ...]] = ("flat", "dark")
    references: ClassVar[tuple[str, ...]] = ("Seibert et al., Proc. SPIE 3336, 348 (1998)",)

    method: Literal["flat_field"] = "flat_field"
    flat: str = param("flat", help="Reference image of even illumination; in a pipeline the path of a file.")
    dark: str | None = param(
        None, help="Reference image without light, in a pipeline the path of a file; the dark level where left out."
    )
    dark_level: float = param(0.0, help="Grey value of the camera without light, where there is no dark image.")

    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return gain and dark field made from the references; see `Restorer.fit`.

        Raises
        ------
        ParameterError
            If a reference is missing, has another shape than the movie, or is nowhere above the dark field.
        """
        del scale, seed
        check_frames(movie)
        shape = np.shape(movie[0])[-2:]
        flat = self._mean(self.flat, references, shape)
        dark = np.full(shape, self.dark_level) if self.dark is None else self._mean(self.dark, references, shape)
        light = flat - dark
        usable = np.isfinite(light) & (light > 0)
        if not usable.any():
            below = f"the dark field '{self.dark}'" if self.dark is not None else f"dark_level = {self.dark_level:g}"
            msg = f"The flat field '{self.flat}' is nowhere brighter than {below}; check which image is which."
            raise ParameterError(msg)
        if not usable.all():
            from scipy import ndimage as ndi

            rows, columns = ndi.distance_transform_edt(~usable, return_distances=False, return_indices=True)
            light = light[rows, columns]
        known = dark[np.isfinite(dark)]
        dark = np.where(np.isfinite(dark), dark, np.median(known))
        gain = light.mean() / light
        mended = int(np.count_nonzero(~usable))
        return State(self.name(), {"mended_pixels": mended}, {"gain": gain, "dark": dark})

    def correct(self, frame: Image, t: int, state: State) -> Image:
        """Return the evenly lit frame; see `Restorer.correct`.

        Raises
        ------
        ParameterError
            If the frame has another shape than the references.
        """
        gain, dark = state.arrays["gain"], state.arrays["dark"]
        if frame.shape[-2:] != gain.shape:
            msg = f"Frame {t} is {frame.shape[-2:]} pixels, the flat field {gain.shape}; take references of that size."
            raise ParameterError(msg)
        return np.asarray((frame - dark) * gain)

    @staticmethod
    def _mean(name: str, references: Mapping[str, Movie] | None, shape: tuple[int, ...]) -> Image:
        """Return the mean over frames and planes of a reference, NaN where it has no value."""
        given = references or {}
        if name not in given:
            msg = f"There is no reference image '{name}'; {nearest(name, given)}."
            raise ParameterError(msg)
        movie = given[name]
        total, count = np.zeros(shape), np.zeros(shape)
        for t in range(check_frames(movie)):
            for plane in planes(as_image(np.asarray(movie[t]))):
                if plane.shape != shape:
                    msg = f"The reference image '{name}' is {plane.shape} pixels, the movie {shape}; they must agree."
                    raise ParameterError(msg)
                finite = np.isfinite(plane)
                total[finite] += plane[finite]
                count += finite
        return np.asarray(np.divide(total, count, out=np.full(shape, np.nan), where=count > 0))
