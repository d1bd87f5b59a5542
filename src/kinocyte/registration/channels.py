"""Chromatic shift between channels: estimated once on beads or a calibration slide, applied to images taken alike."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.schema import DRIFT, Column, Schema, conform
from kinocyte.registration._geometry import SHAPE, composed
from kinocyte.registration.phase_correlation import PhaseCorrelation
from kinocyte.registration.resample import Interpolation, corrected_frame

#: One row a channel: its shift against the reference channel.
CHANNEL_SHIFTS: Schema = {
    "channel": Column(pl.String, "name of the channel"),
    **{n: DRIFT[n] for n in ("dx_px", "dy_px", "dz_px", "angle_deg", "quality")},
}


class ColocalisationWarning(UserWarning):
    """Channels of a sample were aligned with each other, which can make up colocalisation."""


@dataclass(frozen=True)
class _Pair:
    """Two images read as a movie of two frames."""

    images: tuple[NDArray[Any], NDArray[Any]]

    @property
    def shape(self) -> tuple[int, ...]:
        return (2, *self.images[0].shape)

    @property
    def ndim(self) -> int:
        return self.images[0].ndim + 1

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.images[0].dtype

    def __getitem__(self, frame: int) -> NDArray[Any]:
        return self.images[frame]


def estimate_channels(
    images: Mapping[str, NDArray[Any]],
    *,
    reference: str | None = None,
    method: PhaseCorrelation | None = None,
    sample: bool = False,
) -> pl.DataFrame:
    """Return the shift of each channel against one of them.

    Parameters
    ----------
    images : mapping of str to array
        The channels of one field, (y, x) or (z, y, x), of beads or a calibration slide.
    reference : str, optional
        Channel that stays; the first where left out.
    method : PhaseCorrelation, optional
        How images are compared.
    sample : bool
        The images show a sample, not beads: structures that differ from channel to channel are laid on each other.

    Returns
    -------
    polars.DataFrame
        ``channel dx_px dy_px dz_px angle_deg quality``; quality 0 and no shift where nothing repeats. A method with
        the model ``similarity`` or ``affine`` adds ``scale_x scale_y shear_x`` (chromatic magnification).

    Warns
    -----
    ColocalisationWarning
        If ``sample`` is set: aligning a sample with itself can make up colocalisation.

    Raises
    ------
    ParameterError
        If there are fewer than two channels, they differ in shape, or the reference is not among them.
    """
    if len(images) < 2:
        msg = f"Channels are aligned with each other and there are {len(images)}; give at least two."
        raise ParameterError(msg)
    fixed = next(iter(images)) if reference is None else reference
    if fixed not in images:
        msg = f"There is no channel '{fixed}'; {nearest(fixed, images)}."
        raise ParameterError(msg)
    if sample:
        warnings.warn(
            "Channels of a sample were aligned with each other: structures that differ are pulled together, which can "
            "make up colocalisation; estimate on beads or a calibration slide and apply that.",
            ColocalisationWarning,
            stacklevel=2,
        )
    chosen = (method or PhaseCorrelation()).replace(fixed_pattern="keep", channel=())
    rows = []
    for name, image in images.items():
        row: dict[str, Any] = {"channel": name, "dx_px": 0.0, "dy_px": 0.0, "dz_px": 0.0, "angle_deg": 0.0,
                               "quality": 1.0}  # fmt: skip
        if name != fixed:
            if image.shape != images[fixed].shape:
                msg = f"Channel '{name}' has the shape {image.shape}, '{fixed}' {images[fixed].shape}; crop them alike."
                raise ParameterError(msg)
            found = chosen.estimate(_Pair((np.asarray(images[fixed]), np.asarray(image))))
            row.update({c: found[c][1] for c in row if c != "channel"})
            row.update({c: found[c][1] for c in SHAPE if c in found.columns})
        elif chosen.model in {"similarity", "affine"}:
            row.update({"scale_x": 1.0, "scale_y": 1.0, "shear_x": 0.0})
        rows.append(row)
    return conform(pl.DataFrame(rows), CHANNEL_SHIFTS, table="channel shifts")


def apply_channels(
    image: NDArray[Any],
    channel: str,
    shifts: pl.DataFrame,
    *,
    interpolation: Interpolation = "linear",
    labels: bool = False,
    fill: float = 0.0,
    keep_dtype: bool = True,
) -> NDArray[Any]:
    """Return one image of a channel laid on the reference channel.

    Parameters
    ----------
    image : array, (y, x) or (z, y, x)
        Image of that channel, taken like the calibration.
    channel : str
        Its name in the table.
    shifts : polars.DataFrame
        What `estimate_channels` returned.
    interpolation : str
        How pixels between pixels are found.
    labels : bool
        Values are moved, never mixed.
    fill : float
        Value where the image shows nothing.
    keep_dtype : bool
        Round and clip to the type of the image instead of returning floats.

    Raises
    ------
    ParameterError
        If the channel is not in the table.
    """
    table = conform(shifts, CHANNEL_SHIFTS, table="channel shifts")
    chosen = table.filter(pl.col("channel") == channel)
    if chosen.height != 1:
        msg = f"The shifts hold no single row for the channel '{channel}'; {nearest(channel, table['channel'])}."
        raise ParameterError(msg)
    row = chosen.row(0, named=True)
    size = image.shape if image.ndim == 3 else (1, *image.shape)
    how = "nearest" if labels else interpolation
    kept = image.dtype if keep_dtype or how == "nearest" else np.dtype(np.float32)
    shape = [np.array(row.get(c, 0.0 if c == "shear_x" else 1.0)) for c in SHAPE]
    matrix = composed(np.array(row["angle_deg"]), *shape)
    depth = row["dz_px"] if image.ndim == 3 else 0.0
    return corrected_frame(
        image, np.array([depth, row["dy_px"], row["dx_px"]]), matrix,
        start=(0, 0, 0), size=(size[0], size[1], size[2]), interpolation=how, fill=fill, dtype=kept,
    )  # fmt: skip
