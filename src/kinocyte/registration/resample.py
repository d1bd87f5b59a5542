"""Undo a drift: in pixels, in labels and in tables of positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.scale import Scale
from kinocyte.core.schema import DRIFT, conform, require
from kinocyte.registration._geometry import is_plain, path_of, undone
from kinocyte.registration.base import Movie

Interpolation = Literal["nearest", "linear", "cubic", "lanczos", "fourier"]
Canvas = Literal["same", "crop", "extend"]
Floats = NDArray[np.float64]
Size = tuple[int, int, int]


@dataclass(frozen=True)
class CorrectedMovie:
    """A movie with its drift undone, computed frame by frame when it is asked for.

    Parameters
    ----------
    movie : Movie
        Frames as they were taken.
    shift_px : array, shape (t, 3)
        dz, dy, dx of the content.
    matrix : array, shape (t, 2, 2)
        What the content has become about the centre of the frame, in (y, x): turned, scaled, sheared.
    start : tuple of int
        Where the result begins in the coordinates of frame 0: z, y, x.
    size : tuple of int
        Shape of a corrected frame: z, y, x.
    interpolation : str
        How pixels between pixels are found.
    fill : float
        Value where a frame shows nothing.
    keep_dtype : bool
        Round and clip to the type of the movie; otherwise float32 (float64 for float64 and 32 bit integers).
    """

    movie: Movie
    shift_px: Floats
    matrix: Floats
    start: tuple[int, int, int]
    size: tuple[int, int, int]
    interpolation: str
    fill: float
    keep_dtype: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the corrected pixels."""
        given: np.dtype[Any] = np.dtype(self.movie.dtype)
        if self.keep_dtype or self.interpolation == "nearest":
            return given
        return _working_type(given)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (t, (z,) y, x)."""
        size = self.size if self.movie.ndim == 4 else self.size[1:]
        return (len(self.shift_px), *size)

    @property
    def ndim(self) -> int:
        """Return the number of axes, time included."""
        return int(self.movie.ndim)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.shift_px)

    def __getitem__(self, frame: int) -> NDArray[Any]:
        """Return one corrected frame."""
        n = len(self)
        if not -n <= frame < n:
            msg = f"frame {frame} of a movie of {n}"
            raise IndexError(msg)
        t = frame % n
        return corrected_frame(
            np.asarray(self.movie[t]), self.shift_px[t], self.matrix[t],
            start=self.start, size=self.size, interpolation=self.interpolation, fill=self.fill, dtype=self.dtype,
        )  # fmt: skip


def apply_drift(
    movie: Movie,
    drift: pl.DataFrame,
    *,
    interpolation: Interpolation = "linear",
    labels: bool = False,
    canvas: Canvas = "same",
    fill: float = 0.0,
    keep_dtype: bool = True,
) -> CorrectedMovie:
    """Undo the drift of a movie, frame by frame.

    Parameters
    ----------
    movie : Movie
        Channel or label movie, (t, y, x) or (t, z, y, x); it need not be the one the drift was estimated from.
    drift : polars.DataFrame
        Columns of `kinocyte.core.schema.DRIFT`, one row a frame; and, where the content changed its size or shape,
        ``scale_x scale_y shear_x`` (see `PhaseCorrelation`).
    interpolation : str
        ``nearest``, ``linear``, ``cubic``, ``lanczos`` or ``fourier``; the last two shift only.
    labels : bool
        The movie holds labels: values are moved, never mixed.
    canvas : str
        ``same`` size as the frames; ``crop`` to what all frames show; ``extend`` to what any frame shows.
    fill : float
        Value where a frame shows nothing.
    keep_dtype : bool
        Round and clip to the type of the movie instead of returning floats.

    Returns
    -------
    CorrectedMovie
        Lazy; each frame is computed when it is asked for.

    Raises
    ------
    ParameterError
        If table and movie differ in length, or nothing is left of the movie.
    """
    for name, value, choices in (("interpolation", interpolation, Interpolation), ("canvas", canvas, Canvas)):
        if value not in get_args(choices):
            msg = f"{name} = '{value}' is unknown; {nearest(value, get_args(choices))}."
            raise ParameterError(msg)
    shift, matrix = _path(drift, int(movie.shape[0]))
    how = "nearest" if labels else interpolation
    if not is_plain(matrix) and how in {"lanczos", "fourier"}:
        msg = f"interpolation = '{how}' undoes shifts only, and this drift turns or scales; choose 'cubic'."
        raise ParameterError(msg)
    full = tuple(int(n) for n in movie.shape[1:])
    frame = (1, *full) if len(full) == 2 else full
    if len(full) == 2:
        shift = shift * np.array([0.0, 1.0, 1.0])
    start, size = _canvas((frame[0], frame[1], frame[2]), shift, matrix, canvas)
    return CorrectedMovie(movie, shift, matrix, start, size, how, fill, keep_dtype)


def corrected_frame(
    pixels: NDArray[Any],
    shift_px: Floats,
    matrix: Floats,
    *,
    start: tuple[int, int, int],
    size: tuple[int, int, int],
    interpolation: str,
    fill: float,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Return one frame with its shift and matrix undone; see `CorrectedMovie` for the parameters."""
    from kinocyte.registration._resample_kernel import shifted

    volume = pixels[None] if pixels.ndim == 2 else pixels
    first = shift_px + np.array(start, dtype=np.float64)
    if not is_plain(matrix):
        turned = _turned(volume, shift_px, matrix, (start, size), interpolation)
        out = _as_type(turned, dtype)
        seen = _inside_turned(volume.shape, shift_px, matrix, (start, size))
        out[~np.broadcast_to(seen, out.shape)] = _as_type(np.array([fill]), dtype)[0]
        return out[0] if pixels.ndim == 2 else out
    if interpolation == "nearest":
        index = [np.clip(np.floor(np.arange(n) + f + 0.5).astype(np.intp), 0, m - 1)
                 for n, f, m in zip(size, first, volume.shape, strict=True)]  # fmt: skip
        out = volume[np.ix_(*index)]
    elif volume.dtype == dtype and dtype.kind == "u" and dtype.itemsize <= 2 and interpolation != "fourier":
        out = shifted(volume, first, interpolation, size)
    else:
        working = volume.astype(_working_type(volume.dtype), copy=False)
        out = _as_type(shifted(working, first, interpolation, size), dtype)
    _fill_outside(out, _inside(volume.shape, first, size), fill)
    return np.asarray(out[0] if pixels.ndim == 2 else out)


def drifted_positions(
    table: pl.DataFrame, drift: pl.DataFrame, scale: Scale, *, shape: tuple[int, int] | None = None
) -> pl.DataFrame:
    """Return a table of positions with the drift undone, without touching pixels.

    Parameters
    ----------
    table : polars.DataFrame
        Columns ``frame x_um y_um`` and, where there is depth, ``z_um``; others are kept.
    drift : polars.DataFrame
        Columns of `kinocyte.core.schema.DRIFT`.
    scale : Scale
        Calibration.
    shape : (y, x), optional
        Frame size in px; needed where the drift turns, because it turns about the centre of the frame.

    Raises
    ------
    TableError
        If a column is missing.
    ParameterError
        If a frame of the table is not in the drift, or the drift turns or scales and ``shape`` is left out.
    """
    require(table, ["frame", "x_um", "y_um"], table="positions")
    shift, matrix = path_of(drift)
    frame = conform(drift, DRIFT, table="drift")["frame"].to_numpy()
    asked = table["frame"].cast(pl.Int32).to_numpy()
    order = np.argsort(frame, kind="stable")
    row = order[np.searchsorted(frame[order], asked).clip(max=max(len(frame) - 1, 0))] if len(frame) else asked * 0
    lost = np.flatnonzero(frame[row] != asked) if len(frame) else np.arange(len(asked))
    if len(lost):
        msg = f"Frame {asked[lost[0]]} of the positions is not in the drift table; estimate drift for all frames."
        raise ParameterError(msg)
    turning = not is_plain(matrix[row])
    if turning and shape is None:
        msg = "This drift turns or scales about the centre of the frame; give shape=(rows, columns) of the frame."
        raise ParameterError(msg)
    centre = np.zeros(2) if shape is None else (np.array(shape) - 1) / 2
    place = np.stack([table["y_um"].to_numpy() / scale.y_um, table["x_um"].to_numpy() / scale.x_um], axis=1)
    y, x = undone(place, shift[row, 1:], matrix[row], centre).T if turning else (place - shift[row, 1:]).T
    columns = [pl.Series("x_um", x * scale.x_um), pl.Series("y_um", y * scale.y_um)]
    if "z_um" in table.columns and scale.z_um is not None:
        columns.append(pl.Series("z_um", table["z_um"].to_numpy() - shift[row, 0] * scale.z_um))
    return table.with_columns(columns)


def _path(drift: pl.DataFrame, n_frames: int) -> tuple[Floats, Floats]:
    table = conform(drift, DRIFT, table="drift").sort("frame")
    if table["frame"].to_list() != list(range(n_frames)):
        msg = (
            f"The drift table holds {table.height} frames, the movie {n_frames}; "
            "each frame from 0 needs one row. Estimate the drift of this movie."
        )
        raise ParameterError(msg)
    return path_of(table)


def _working_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the float type that holds the values of a type."""
    wide = dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize == 4)
    return np.dtype(np.float64 if wide else np.float32)


def _as_type(out: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values rounded and clipped to an integer type; NaN become 0."""
    if out.dtype == dtype:
        return out
    if dtype.kind in "iu":
        info = np.iinfo(dtype.str)
        if out.dtype.kind == "f":
            out = np.rint(out)
            if not np.isfinite(out.sum()):
                out = np.nan_to_num(out, nan=0.0, posinf=float(info.max), neginf=float(info.min))
        return np.asarray(np.clip(out, info.min, info.max), dtype=dtype)
    if dtype.kind == "b":
        return np.asarray(out > 0.5)
    return out.astype(dtype)


def _inside(shape: tuple[int, ...], first: Floats, size: tuple[int, int, int]) -> tuple[slice, ...]:
    """Return the part of the result that looks up pixels of the frame (half a pixel of grace)."""
    low = np.clip(np.ceil(-0.5 - first), 0, size).astype(int)
    high = np.clip(np.ceil(np.array(shape) - 0.5 - first), 0, size).astype(int)
    return tuple(slice(a, max(a, b)) for a, b in zip(low.tolist(), high.tolist(), strict=True))


def _fill_outside(out: NDArray[Any], inside: tuple[slice, ...], fill: float) -> None:
    value = _as_type(np.array([fill]), out.dtype)[0]
    for axis, part in enumerate(inside):
        for edge in (slice(0, part.start), slice(part.stop, None)):
            out[tuple(edge if a == axis else slice(None) for a in range(3))] = value


def _turned(
    volume: NDArray[Any], shift_px: Floats, matrix: Floats, box: tuple[Size, Size], interpolation: str
) -> NDArray[Any]:
    from scipy import ndimage

    full, offset = _lookup(volume.shape, shift_px, matrix, box[0])
    order = {"nearest": 0, "linear": 1, "cubic": 3}[interpolation]
    source = volume if order == 0 else volume.astype(_working_type(volume.dtype), copy=False)
    out = ndimage.affine_transform(source, full, offset, output_shape=box[1], order=order, mode="nearest")
    return np.asarray(out)


def _lookup(shape: tuple[int, ...], shift_px: Floats, matrix: Floats, start: Size) -> tuple[Floats, Floats]:
    """Return matrix and offset that look up where the content of a result pixel is in the frame."""
    full = np.eye(3)
    full[1:, 1:] = matrix
    centre = (np.array(shape) - 1) / 2
    return full, centre + shift_px - full @ (centre - np.array(start))


def _inside_turned(
    shape: tuple[int, ...], shift_px: Floats, matrix: Floats, box: tuple[Size, Size]
) -> NDArray[np.bool_]:
    size = box[1]
    full, offset = _lookup(shape, shift_px, matrix, box[0])
    v, u = np.arange(size[1])[:, None], np.arange(size[2])
    y = full[1, 1] * v + full[1, 2] * u + offset[1]
    x = full[2, 1] * v + full[2, 2] * u + offset[2]
    lateral = (y >= -0.5) & (y < shape[1] - 0.5) & (x >= -0.5) & (x < shape[2] - 0.5)
    z = np.arange(size[0]) + offset[0]
    axial = (z >= -0.5) & (z < shape[0] - 0.5)
    return np.asarray(axial[:, None, None] & lateral)


def _canvas(
    shape: tuple[int, int, int], shift: Floats, matrix: Floats, canvas: Canvas
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return where the result begins in the coordinates of frame 0 and its shape."""
    if canvas == "same":
        return (0, 0, 0), shape
    low, high = _bounds(shape, shift, matrix, inner=canvas == "crop")
    start, size = low.astype(int), (high - low).astype(int)
    if (size < 1).any():
        msg = "The drift leaves no area that all frames show; use canvas = 'same' or 'extend'."
        raise ParameterError(msg)
    z, y, x = (int(v) for v in start)
    depth, height, width = (int(v) for v in size)
    return (z, y, x), (depth, height, width)


def _bounds(shape: tuple[int, int, int], shift: Floats, matrix: Floats, *, inner: bool) -> tuple[Floats, Floats]:
    """Return first pixel and one past the last, shown by all frames (inner) or by any."""
    lows, highs = [], []
    full = np.array(shape, dtype=np.float64)
    for moved, turned in zip(shift, matrix, strict=True):
        back = np.linalg.inv(turned)
        # the upright box inside or around a frame that is laid back about its centre
        half = full / 2
        if inner:
            # a box of the frame's proportions: its corners touch the frame's edges
            half[1:] *= (half[1:] / (np.abs(turned) @ half[1:])).min()
        else:
            half[1:] = np.abs(back) @ half[1:]
        middle = (full - 1) / 2 - np.array([moved[0], *(back @ moved[1:])])
        lows.append(middle - half + 0.5)
        highs.append(middle + half - 0.5)
    if inner:
        return np.ceil(np.max(lows, axis=0) - 1e-9), np.floor(np.min(highs, axis=0) + 1e-9) + 1
    return np.floor(np.min(lows, axis=0) + 1e-9), np.ceil(np.max(highs, axis=0) - 1e-9) + 1
