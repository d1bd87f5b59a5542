"""What every spot detector offers: bright blobs of a known size, found by a filter that answers to that size."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.segmentation.base import Found, Pixels, Segmenter, single_channel

#: columns of a table of spots; a spot is its row number + 1 in the label image
SPOTS = {
    "label": pl.UInt32, "x_um": pl.Float64, "y_um": pl.Float64, "z_um": pl.Float64, "quality": pl.Float64,
    "radius_um": pl.Float64,
}  # fmt: skip


class SpotDetector(Segmenter):
    """Base of the spot detectors: `detect` returns the spots, `segment` draws them as discs or balls."""

    channel: str = param(help="Channel that shows the spots.")
    radius_um: float = param(2.5, help="Radius of a spot.", unit="um", gt=0)
    foreground: Literal["bright", "dark"] = param("bright", help="Whether spots are brighter or darker than around.")
    min_quality: float = param(
        0.0, help="Spots to which the filter answers less are left out; see quality in the table of spots.", ge=0
    )
    min_snr: float = param(
        6.0,
        help="Spots to which the filter answers less than this many times its usual fluctuation in the frame are left "
        "out; pure noise reaches 5. 0 keeps every local maximum.",
        ge=0,
    )
    median: bool = param(False, help="Take the median of 3 x 3 pixels first, against hot pixels.", advanced=True)
    subpixel: bool = param(
        True, help="Place the spot between pixels, at the top of a parabola through its neighbours.", advanced=True
    )

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that the method reads."""
        return (self.channel,)

    @abstractmethod
    def answer(self, image: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
        """Return the filtered image, whose local maxima are the spots and whose value there is their quality.

        Parameters
        ----------
        image : array of float64, (y, x) or (z, y, x)
            Finite values, spots bright.
        scale : Scale
            Calibration.
        """

    def contrast(
        self,
        image: NDArray[np.float64],  # noqa: ARG002 - for detectors whose answer is not linear
        scale: Scale,  # noqa: ARG002 - likewise
        answer: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return a filtered image that is linear in the grey values, by which ``min_snr`` tells spots from noise."""
        return answer

    def detect(self, pixels: Pixels, scale: Scale) -> pl.DataFrame:
        """Return the spots of one frame, sorted by plane, row and column.

        Parameters
        ----------
        pixels : array or mapping of str to array
            One frame, (y, x) or (z, y, x), any real dtype; pixels that are NaN or infinite hold no spot.
        scale : Scale
            Calibration.

        Returns
        -------
        polars.DataFrame
            ``label x_um y_um z_um quality radius_um``; the centre of the first pixel is at 0, ``quality`` is the answer
            of the filter at the brightest pixel, ``label`` the value that `segment` draws the spot with.

        Raises
        ------
        ParameterError
            If the channel is missing, or the array is complex or not 2D or 3D.
        CalibrationError
            If a stack comes without a distance of planes.
        """
        return self._detected(pixels, scale, None)

    def look(self, pixels: Pixels, scale: Scale, kept: dict[str, tuple[Any, Any]]) -> pl.DataFrame:
        """Return what `detect` returns, quickly while one value after another is tried on a frame.

        Parameters
        ----------
        pixels : array or mapping of str to array
            One frame, as for `detect`.
        scale : Scale
            Calibration.
        kept : dict
            Empty for a new frame. It then holds the filtered frame, which is taken again where a changed value does
            not change it; its arrays must not be written to.
        """
        return self._detected(pixels, scale, kept)

    def _detected(self, pixels: Pixels, scale: Scale, kept: dict[str, tuple[Any, Any]] | None) -> pl.DataFrame:
        from kinocyte.segmentation._spot_kernels import find_spots

        image = single_channel(pixels, self.channel)
        if image.ndim not in {2, 3} or image.dtype.kind not in "biuf":
            found = f"Channel '{self.channel}' has shape {image.shape} of {image.dtype}"
            msg = f"{found}; give (y, x) or (z, y, x) of real numbers."
            raise ParameterError(msg)
        scale.spacing_um(image.ndim)
        return self.table(*find_spots(image, self, scale, kept), scale)

    def table(self, where_px: NDArray[np.float64], quality: NDArray[np.float64], scale: Scale) -> pl.DataFrame:
        """Return the table of spots at places in pixels, (n, 2) or (n, 3), in the order given."""
        ndim = where_px.shape[1]
        where_um = np.zeros((len(quality), 3))
        where_um[:, 3 - ndim :] = where_px * np.array(scale.spacing_um(ndim))
        columns: dict[str, Any] = {
            "label": np.arange(1, len(quality) + 1), "x_um": where_um[:, 2], "y_um": where_um[:, 1],
            "z_um": where_um[:, 0], "quality": quality, "radius_um": np.full(len(quality), self.radius_um),
        }  # fmt: skip
        return pl.DataFrame(columns, schema=SPOTS)

    def segment(self, pixels: Pixels, scale: Scale, *, seed: int = 0) -> NDArray[np.uint32]:  # noqa: ARG002 - no chance
        """Return the spots of one frame drawn as discs, or balls in 3D.

        A pixel belongs to the nearest centre within the radius.

        Returns
        -------
        array of uint32
            0 is background, row i of `detect` has the value i + 1.
        """
        return self.find(pixels, scale).labels

    def find(self, pixels: Pixels, scale: Scale, *, seed: int = 0) -> Found:  # noqa: ARG002 - no chance
        """Return the discs, with quality and place of each spot: the mean of its pixels would be a whole pixel's."""
        from kinocyte.segmentation._spot_kernels import draw_spots

        spots = self.detect(pixels, scale)
        return Found(draw_spots(spots, single_channel(pixels, self.channel).shape, scale), known_of(spots))


def known_of(spots: pl.DataFrame) -> pl.DataFrame:
    """Return what a table of spots says of the objects that are drawn of them."""
    return spots.select(pl.col("label").cast(pl.UInt32), "x_um", "y_um", "z_um", "quality")


def suggested_minimum(spots: pl.DataFrame, feature: str = "quality") -> float:
    """Return the value that parts the spots of a table into two classes by Otsu's rule; 0 for fewer than two spots.

    Parameters
    ----------
    spots : polars.DataFrame
        Any table of spots or objects.
    feature : str
        Column to part by.
    """
    from kinocyte.segmentation.levels import otsu

    values = spots[feature].drop_nulls().drop_nans().to_numpy().astype(np.float64)
    return otsu(values) if values.size > 1 else 0.0
