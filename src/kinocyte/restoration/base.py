"""What every method that mends pixels offers, and what it takes as a movie."""

from __future__ import annotations

import io
import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import Method, param
from kinocyte.core.scale import Scale

Image = NDArray[np.float64]
Output = Literal["same", "float32"]


class Movie(Protocol):
    """One channel read frame by frame: a numpy array, a memory-mapped file or anything that reads lazily."""

    def __len__(self) -> int:
        """Return the number of frames."""

    def __getitem__(self, frame: int, /) -> Any:
        """Return one frame, (y, x) or (z, y, x)."""


@dataclass(frozen=True, slots=True)
class State:
    """What a restorer learned from a movie: numbers and small arrays, nothing else.

    Parameters
    ----------
    method : str
        Name of the method that made it.
    values : mapping of str to JSON value
        Numbers, texts, lists.
    arrays : mapping of str to array
        What is too large for a list, such as a background image.
    """

    method: str
    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the state as the content of an ``.npz`` file (no pickles)."""
        head = json.dumps({"method": self.method, "values": dict(self.values)}, allow_nan=False)
        buffer = io.BytesIO()
        contents: dict[str, Any] = {"__head__": np.array(head), **self.arrays}
        np.savez_compressed(buffer, **contents)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> State:
        """Return the state that `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            head = json.loads(str(file["__head__"]))
            arrays = {name: file[name] for name in file.files if name != "__head__"}
        return cls(method=head["method"], values=head["values"], arrays=arrays)


class Restorer(Method):
    """Mends the pixels of one channel, frame by frame.

    `fit` looks at the movie once, where the method needs that, and returns a small state; `apply` is then a pure
    function of one frame, its number and that state, so that frames may be worked on in any order and by anyone.
    """

    kind: ClassVar[str] = "restoration"
    #: what `fit` reads: nothing, all frames of the movie, other movies of the well, or reference images
    reads: ClassVar[Literal["nothing", "movie", "well", "references"]] = "nothing"
    #: parameters that name a reference image; in a pipeline the path of a file
    reference_fields: ClassVar[tuple[str, ...]] = ()

    channel: str | tuple[str, ...] = param((), help="Channel to restore, or several; none named = all that are given.")
    output: Output = param(
        "same",
        help="Number type of the result: that of the image (rounded, limited to its range) or 32-bit floating point.",
        advanced=True,
    )

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that the method restores; empty for all."""
        return (self.channel,) if isinstance(self.channel, str) else self.channel

    @property
    def reference_names(self) -> tuple[str, ...]:
        """Names of the reference images that the method reads."""
        return tuple(str(getattr(self, f)) for f in self.reference_fields if getattr(self, f) is not None)

    def ready(self, scale: Scale, ndim: int) -> None:
        """Refuse what cannot run on frames of ``ndim`` axes before anything does, such as a library that is missing."""

    @abstractmethod
    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return what the method has to know before it can mend a frame.

        Parameters
        ----------
        movie : movie
            One channel; ``movie[t]`` is (y, x) or (z, y, x) of any real dtype. At least one frame.
        scale : Scale
            Calibration; parameters in micrometres become pixels here.
        seed : int
            Fixes whatever chance there is.
        references : mapping of str to movie, optional
            By name: the reference images, or the movies of the well, of methods that read those.

        Returns
        -------
        State
            To be passed to `apply`; the same input and seed give the same state.
        """

    @abstractmethod
    def correct(self, frame: Image, t: int, state: State) -> Image:
        """Return the mended frame in floating point.

        Parameters
        ----------
        frame : array of float64, (y, x) or (z, y, x)
            Frame ``t`` of the movie; NaN where a pixel is missing. Not changed.
        t : int
            Number of the frame.
        state : State
            Result of `fit`.

        Returns
        -------
        array of float64
            Same shape; NaN stays NaN.
        """

    def apply(self, frame: NDArray[Any], t: int, state: State) -> NDArray[Any]:
        """Return the mended frame in the dtype that ``output`` asks for.

        Raises
        ------
        ParameterError
            If the state is another method's, the frame is complex or not 2D or 3D, or the result cannot be held.
        """
        frame = np.asarray(frame)
        self.check(state, frame.dtype, self.output)
        return as_output(self.correct(as_image(frame), t, state), frame.dtype, self.output)

    def check(self, state: State, dtype: DTypeLike, output: Output) -> None:
        """Refuse a state of another method, and an integer result that could not hold the numbers."""
        del dtype, output
        if state.method != self.name():
            msg = f"The state was made by the restoration method '{state.method}', not '{self.name()}'; fit it anew."
            raise ParameterError(msg)


class BackgroundRestorer(Restorer):
    """Takes an estimated background off each frame."""

    operation: Literal["subtract", "divide"] = param(
        "subtract", help="Subtract the background (fluorescence) or divide by it (bright field, uneven illumination)."
    )
    keep_level: bool = param(
        True, help="Keep the mean grey value of the background instead of making it 0 (subtract) or 1 (divide)."
    )
    clip: bool = param(False, help="Set values below 0 to 0.")

    def check(self, state: State, dtype: DTypeLike, output: Output) -> None:
        """Refuse quotients near 1 in whole numbers; see `Restorer.check`."""
        super().check(state, dtype, output)
        whole = np.issubdtype(np.dtype(dtype), np.integer) and output == "same"
        if whole and self.operation == "divide" and not self.keep_level:
            msg = (
                f"Restoration '{self.name()}' divides, and the quotients lie near 1, which whole numbers cannot hold; "
                "set keep_level = true or output = 'float32'."
            )
            raise ParameterError(msg)

    def without(self, frame: Image, background: Image, t: int, level: float | None = None) -> Image:
        """Return the frame less its background as the parameters say; NaN where either is.

        ``level`` is the grey value that is kept, the mean of the background where left out.

        Raises
        ------
        ParameterError
            If the background to divide by is not positive everywhere.
        """
        known = background[np.isfinite(background)]
        if level is None:
            level = float(known.mean()) if known.size else 0.0
        if self.operation == "subtract":
            out = frame - background + (level if self.keep_level else 0.0)
        else:
            wrong = int(np.count_nonzero(known <= 0))
            if wrong:
                msg = (
                    f"Frame {t}: the background is 0 or negative at {wrong} pixels, so that the frame cannot be "
                    "divided by it; use operation = 'subtract'."
                )
                raise ParameterError(msg)
            out = frame / background * (level if self.keep_level else 1.0)
        return np.maximum(out, 0.0) if self.clip else out


def as_image(frame: NDArray[Any]) -> Image:
    """Return a frame as float64; infinite values count as missing.

    Raises
    ------
    ParameterError
        If it is complex or neither 2D nor 3D.
    """
    array = np.asarray(frame)
    if array.ndim not in {2, 3} or array.dtype.kind not in "buif":
        msg = f"A frame must be (y, x) or (z, y, x) of real numbers; this one has shape {array.shape}, {array.dtype}."
        raise ParameterError(msg)
    image = array.astype(np.float64)
    if array.dtype.kind == "f":
        image[np.isinf(image)] = np.nan
    return image


def as_output(image: Image, dtype: DTypeLike, output: Output) -> NDArray[Any]:
    """Return the image in its final dtype: whole numbers are rounded and limited to the range of the type.

    Raises
    ------
    ParameterError
        If a whole-number type should hold a value that is not a number.
    """
    kind = np.dtype(dtype)
    if output == "float32":
        return image.astype(np.float32)
    if kind.kind == "f":
        return image.astype(kind)
    if np.isnan(image).any():
        msg = f"The restored frame holds values that are not numbers, which {kind} cannot; set output = 'float32'."
        raise ParameterError(msg)
    if kind.kind == "b":
        return image >= 0.5
    info = np.iinfo(kind)
    rounded = np.rint(image)
    # in float64 the largest 64-bit numbers round up to 2**64, which would wrap around
    top = np.nextafter(float(info.max), 0) if float(info.max) > info.max else float(info.max)
    return np.clip(rounded, float(info.min), top).astype(kind)


def planes(image: Image) -> Image:
    """Return the image as (z, y, x) without copying."""
    return image if image.ndim == 3 else image[None]


def spread(n_frames: int, most: int) -> list[int]:
    """Return at most ``most`` frame numbers, spread evenly from the first to the last."""
    if n_frames <= most:
        return list(range(n_frames))
    return sorted({int(t) for t in np.linspace(0, n_frames - 1, most).round()})


def check_frames(movie: Movie) -> int:
    """Return the number of frames.

    Raises
    ------
    ParameterError
        If there are none.
    """
    n = len(movie)
    if n == 0:
        msg = "The movie has no frames; restoration needs at least one."
        raise ParameterError(msg)
    return n
