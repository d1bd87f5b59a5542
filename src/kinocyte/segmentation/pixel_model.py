"""A trained pixel classifier: a forest and everything needed to ask it again, in a file of plain arrays."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kinocyte.core.channels import Pixels, named_channels
from kinocyte.core.errors import CalibrationError, InputFileError, ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation.feature_bank import FeatureBank
from kinocyte.segmentation.forest import Forest

FORMAT, VERSION = "kinocyte-pixel-classifier", 1
_ARRAYS = ("feature", "threshold", "children", "share", "roots")
#: a model file unpacks to no more than this
MAX_BYTES = 1 << 30
#: side of the squares that are classified one at a time
TILE_PX = 512


class Description(BaseModel):
    """What a model says about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: str
    version: int
    channels: tuple[str, ...] = Field(min_length=1, max_length=64)
    classes: tuple[str, ...] = Field(min_length=2, max_length=64)
    spacing_um: tuple[float, ...] = Field(min_length=2, max_length=3)
    bank: FeatureBank
    n_features: int


@dataclass(frozen=True)
class PixelModel:
    """A trained pixel classifier.

    Attributes
    ----------
    forest : Forest
        The trees.
    bank : FeatureBank
        The features they look at.
    channels : tuple of str
        Channels that the features are computed of, in order.
    classes : tuple of str
        Names of the classes, in order.
    spacing_um : tuple of float
        Pixel size of the images it was trained on, (y, x) or (z, y, x).
    """

    forest: Forest
    bank: FeatureBank
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    spacing_um: tuple[float, ...]

    def __post_init__(self) -> None:
        known = len(self.bank.names(self.channels, len(self.spacing_um)))
        if self.forest.n_features != known or self.forest.n_classes != len(self.classes):
            msg = (
                f"The pixel classifier has {known} features and {len(self.classes)} classes, its trees "
                f"{self.forest.n_features} and {self.forest.n_classes}; train it again."
            )
            raise ParameterError(msg)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features, in the order of the forest's columns."""
        return self.bank.names(self.channels, len(self.spacing_um))

    def probabilities(
        self, pixels: Pixels, scale: Scale, *, tile_px: int = TILE_PX, max_scale_ratio: float = 1.1
    ) -> NDArray[np.float32]:
        """Return the probability of each class at each pixel of a frame.

        The frame is worked on in tiles with the margin that the features need, so that memory does not grow with it and
        the size of the tiles changes nothing. An array on disk (``numpy.memmap``, zarr) is read tile by tile.

        Parameters
        ----------
        pixels : array or mapping of str to array
            One frame, (y, x) or (z, y, x); a mapping by channel name where the model reads several. Pixels that are NaN
            or infinite count as the median of the others.
        scale : Scale
            Calibration.
        tile_px : int
            Side of a tile; in a stack a quarter of it, and an eighth along z.
        max_scale_ratio : float
            Largest ratio of the frame's pixel size to that of the training images, either way.

        Returns
        -------
        array of float32, (classes, (z), y, x)

        Raises
        ------
        ParameterError
            If a channel is missing, or has another number of axes than the training images, or is complex.
        CalibrationError
            If the pixel size differs too much.
        """
        channels = self.checked(pixels, scale, max_scale_ratio)
        fills = [fill_value(c) for c in channels]
        shape = channels[0].shape
        out = np.empty((len(self.classes), *shape), np.float32)
        spacing = scale.spacing_um(len(shape))
        for box in tiles(shape, tile_px):
            share = self.forest.predict(self.rows(channels, fills, box, spacing))
            part = (slice(None), *(slice(a, b) for a, b in box))
            out[part] = share.T.reshape(out[part].shape)
        return out

    def rows(
        self,
        channels: list[Any],
        fills: list[float | None],
        box: tuple[tuple[int, int], ...],
        spacing_um: tuple[float, ...],
    ) -> NDArray[np.float32]:
        """Return the features of the pixels of a box of a frame, one row a pixel."""
        return box_rows(self.bank, channels, fills, (box, spacing_um))

    def checked(self, pixels: Pixels, scale: Scale, max_scale_ratio: float) -> list[Any]:
        """Return the channels in order after comparing them and the pixel size with what the model knows."""
        channels = named_channels(pixels, self.channels)
        ndim = len(self.spacing_um)
        for name, image in zip(self.channels, channels, strict=True):
            if image.ndim != ndim or image.dtype.kind not in "biuf" or image.shape != channels[0].shape:
                msg = (
                    f"Channel '{name}' has shape {image.shape} of {image.dtype}; the pixel classifier was trained on "
                    f"{ndim}D images of real numbers, all channels of one shape."
                )
                raise ParameterError(msg)
        for here, there in zip(scale.spacing_um(ndim), self.spacing_um, strict=True):
            if not 1 / max_scale_ratio <= here / there <= max_scale_ratio:
                msg = (
                    f"The pixel classifier was trained on pixels of {there:g} um, these have {here:g} um; "
                    "train one for them or raise max_scale_ratio."
                )
                raise CalibrationError(msg)
        return channels

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a file (``.npz``): arrays of numbers and a description in JSON, nothing that runs."""
        about = Description(
            format=FORMAT,
            version=VERSION,
            channels=self.channels,
            classes=self.classes,
            spacing_um=self.spacing_um,
            bank=self.bank,
            n_features=self.forest.n_features,
        )
        text = np.frombuffer(about.model_dump_json().encode(), np.uint8)
        arrays = {name: getattr(self.forest, name) for name in _ARRAYS}
        with Path(path).open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, description=text, **arrays)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> PixelModel:
        """Read a model that `save` wrote.

        Raises
        ------
        InputFileError
            If the file is missing, is no such model, is damaged, or holds anything but the arrays it should.
        """
        path = Path(path)
        try:
            about, arrays = _read(path)
            return cls(
                Forest(**arrays, n_features=about.n_features),
                about.bank,
                about.channels,
                about.classes,
                about.spacing_um,
            )
        except FileNotFoundError:
            msg = f"There is no pixel classifier at {path}; give the path of a file that was saved after training."
        except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
            msg = f"{path} is no pixel classifier of version {VERSION}: {_first_line(error)}."
        raise InputFileError(msg)


def box_rows(
    bank: FeatureBank,
    channels: list[Any],
    fills: list[float | None],
    where: tuple[tuple[tuple[int, int], ...], tuple[float, ...]],
) -> NDArray[np.float32]:
    """Return the features of a box of a frame; ``where`` is (box, pixel size)."""
    from kinocyte.segmentation._feature_bank import bank_rows, margin_px

    box, spacing = where
    margin = margin_px(bank, spacing)
    wide = [(max(a - m, 0), min(b + m, n)) for (a, b), m, n in zip(box, margin, channels[0].shape, strict=True)]
    pieces = []
    for image, fill in zip(channels, fills, strict=True):
        piece = np.asarray(image[tuple(slice(a, b) for a, b in wide)])
        pieces.append(piece if fill is None else np.where(np.isfinite(piece), piece, fill))
    return bank_rows(pieces, tuple((a - w[0], b - w[0]) for (a, b), w in zip(box, wide, strict=True)), bank, spacing)


def tiles(shape: tuple[int, ...], tile_px: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Yield the boxes that a frame is worked on in, in raster order."""
    sides = (tile_px, tile_px) if len(shape) == 2 else (tile_px // 8, tile_px // 4, tile_px // 4)
    steps = [range(0, n, max(s, 1)) for n, s in zip(shape, sides, strict=True)]
    for corner in product(*steps):
        yield tuple((a, min(a + max(s, 1), n)) for a, s, n in zip(corner, sides, shape, strict=True))


def all_finite(image: Any) -> bool:
    """Tell whether a frame holds no NaN or inf; it is read in slabs."""
    slab = max(1, (1 << 24) // max(int(np.prod(image.shape[1:])), 1))
    return image.dtype.kind != "f" or all(
        np.isfinite(np.asarray(image[i : i + slab])).all() for i in range(0, image.shape[0], slab)
    )


def fill_value(image: Any) -> float | None:
    """Return the median of the finite values of a frame, or None where all are."""
    if all_finite(image):
        return None
    values = np.asarray(image)
    valid = np.isfinite(values)
    return float(np.median(values[valid])) if valid.any() else 0.0


def _read(path: Path) -> tuple[Description, dict[str, NDArray[Any]]]:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
        if sum(members.values()) > MAX_BYTES:
            msg = f"it unpacks to more than {MAX_BYTES >> 20} MB"
            raise ValueError(msg)
        if set(members) != {*_ARRAYS, "description"}:
            msg = f"it holds {', '.join(sorted(members)) or 'nothing'}"
            raise ValueError(msg)
        arrays = {name: _array(archive, name, size) for name, size in members.items()}
    about = _described(arrays.pop("description"))
    return about, arrays


def _array(archive: zipfile.ZipFile, name: str, size: int) -> NDArray[Any]:
    """Return one array after comparing the shape that it claims with the bytes that are there."""
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            msg = f"'{name}' is written in the format {version}"
            raise ValueError(msg)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject or fortran or dtype.kind not in "iuf":
            msg = f"'{name}' holds {dtype}"
            raise ValueError(msg)
        count = 1
        for side in shape:
            count *= int(side)
        if count < 0 or count * dtype.itemsize > size:
            msg = f"'{name}' claims the shape {shape} but has {size} bytes"
            raise ValueError(msg)
        data = file.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype, count).reshape(shape).copy()


def _described(text: NDArray[Any]) -> Description:
    if text.dtype != np.uint8 or text.size > 1 << 20:
        msg = "its description is no text"
        raise ValueError(msg)
    raw = json.loads(text.tobytes().decode())
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        msg = "its description names another format"
        raise ValueError(msg)
    if raw.get("version") != VERSION:
        msg = f"it is of version {raw.get('version')!r}"
        raise ValueError(msg)
    about = Description.model_validate_json(text.tobytes())
    if any(s <= 0 for s in about.spacing_um):
        msg = "its pixel size is not above 0"
        raise ValueError(msg)
    return about


def _first_line(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(p) for p in first['loc'])}: {first['msg']}"
    return str(error).strip().split("\n", maxsplit=1)[0].rstrip(".") or type(error).__name__
