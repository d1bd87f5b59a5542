"""From frames as they are stored to the images that are compared."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kinocyte.core.errors import ParameterError
from kinocyte.core.threads import each
from kinocyte.registration import _project_kernel
from kinocyte.registration._spectrum import Image, noise_sd
from kinocyte.registration.base import Movie

#: Images above this number of pixels are compared at half, a third .. of their resolution.
MOST_PIXELS = 4_400_000
#: Bytes of prepared images that are kept, more where the images of a group take more.
CACHE_BYTES = 80_000_000
#: Most frames aligned with each other at once, and the bytes that their images may take, and their spectra as well.
GROUP_FRAMES, GROUP_BYTES = 64, 160_000_000

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Preparation:
    """What is done to a frame before it is compared.

    Parameters
    ----------
    projection : str
        ``max`` or ``mean`` along z, ``volume`` to keep the planes.
    region : (y0, y1, x0, x1), optional
        Part of the frame that is looked at.
    planes : (z0, z1), optional
        Planes that are looked at.
    joint : bool
        Several channels stay planes of their own instead of being summed.
    enhance : str
        ``none``, ``edges`` or ``beads``.
    bead_px : float
        Diameter of a bead.
    average : int
        Frames that are averaged in time.
    """

    projection: str = "mean"
    region: Box | None = None
    planes: tuple[int, int] | None = None
    joint: bool = False
    enhance: str = "none"
    bead_px: float = 4.0
    average: int = 1


def read(movie: Movie, frame: int) -> NDArray[Any]:
    """Return one frame; a movie of complex or object values is refused."""
    pixels = np.asarray(movie[frame])
    if pixels.dtype.kind not in "buif":
        msg = f"Frame {frame} holds values of type {pixels.dtype}; drift is estimated from real numbers."
        raise ParameterError(msg)
    if pixels.ndim not in {2, 3}:
        msg = f"Frame {frame} has {pixels.ndim} axes; a frame is (y, x) or (z, y, x)."
        raise ParameterError(msg)
    return pixels


def project(pixels: NDArray[Any], how: str, axis: int = 0) -> NDArray[Any]:
    """Return the projection of a stack along an axis without overflow; NaN are left out of it."""
    if pixels.shape[axis] == 1:
        return np.asarray(pixels.take(0, axis=axis))
    if pixels.dtype.kind == "f" and not np.isfinite(pixels.sum()):
        pixels = np.where(np.isfinite(pixels), pixels, np.float32(np.nanmedian(_finite(pixels))))
    if how == "max":
        return np.asarray(pixels.max(axis=axis))
    if axis == 0 and _project_kernel.fits(pixels):
        out = np.empty(pixels.shape[1:], dtype=np.float32)
        _project_kernel.mean_along_z(pixels, out)
        return out
    if pixels.dtype.kind in "bu" and pixels.dtype.itemsize <= 2:
        total = np.add.reduce(pixels, axis=axis, dtype=np.uint32)
        return np.asarray(total / np.float32(pixels.shape[axis]), dtype=np.float32)
    return np.asarray(pixels.mean(axis=axis, dtype=np.float64), dtype=np.float32)


def _finite(pixels: NDArray[Any]) -> NDArray[Any]:
    good = pixels[np.isfinite(pixels)]
    return good if good.size else np.zeros(1, dtype=pixels.dtype)


def shrink(image: NDArray[Any], factor: int) -> Image:
    """Return the mean over blocks of the last two axes; what does not fill a block is left out."""
    if factor == 1:
        return np.asarray(image, dtype=np.float32)
    ny, nx = image.shape[-2] // factor, image.shape[-1] // factor
    rows = image[..., : ny * factor, : nx * factor]
    total = np.asarray(rows[..., ::factor, :], dtype=np.float32).copy()
    for i in range(1, factor):
        total += rows[..., i::factor, :]
    # neighbours of a row are summed as a product with a vector, which reads them in the order in which they lie
    return np.asarray(total.reshape(-1, factor) @ np.full(factor, 1 / factor**2, np.float32)).reshape(
        *image.shape[:-2], ny, nx
    )


def filled(image: NDArray[Any]) -> Image | None:
    """Return float32 with NaN and infinities replaced by the median; None for an image without content."""
    out = np.asarray(image, dtype=np.float32)
    low, high = float(out.min()), float(out.max())
    if not np.isfinite(low + high):
        good = np.isfinite(out)
        if good.mean() < 0.1:
            return None
        out = np.where(good, out, np.float32(np.median(out[good])))
        low, high = float(out.min()), float(out.max())
    return None if high - low <= 1e-6 * max(abs(high), abs(low), 1e-30) else out


def enhanced(image: Image, how: str, bead_px: float) -> Image:
    """Return the image with edges or beads brought out; lateral axes only.

    ``edges``: length of the gradient after Gaussian smoothing by one pixel. ``beads``: difference of Gaussians of the
    beads' size, and nothing where it stays below three robust standard deviations.
    """
    if how == "none":
        return image
    if how == "edges":
        dy = ndimage.gaussian_filter(image, (0, 1, 1), order=(0, 1, 0))
        dx = ndimage.gaussian_filter(image, (0, 1, 1), order=(0, 0, 1))
        return np.asarray(np.hypot(dy, dx), dtype=np.float32)
    sigma = bead_px / (2 * np.sqrt(2))
    spots = ndimage.gaussian_filter(image, (0, sigma, sigma)) - ndimage.gaussian_filter(
        image, (0, 1.6 * sigma, 1.6 * sigma)
    )
    level = np.median(spots) + 3 * 1.4826 * np.median(np.abs(spots - np.median(spots)))
    return np.asarray(np.maximum(spots - level, 0), dtype=np.float32)


def group_size(shape: tuple[int, int, int]) -> int:
    """Return how many frames are aligned at once."""
    return int(np.clip(GROUP_BYTES // (4 * int(np.prod(shape)) + 1), 4, GROUP_FRAMES))


class Frames:
    """Prepared images (p, y, x) of a movie, read when asked for; the latest are kept within a limit of bytes.

    Parameters
    ----------
    movies : sequence of Movie
        Channels of one shape.
    preparation : Preparation
        What is done to a frame.
    view : callable, optional
        Turns a frame of one channel and its number into an image in place of the projection.
    least_bin : int or None
        Pixels along y and x that are averaged at least; more where images are huge. None: never any.
    """

    def __init__(
        self,
        movies: Sequence[Movie],
        preparation: Preparation,
        *,
        view: Callable[[NDArray[Any], int], NDArray[Any]] | None = None,
        least_bin: int | None = 1,
    ) -> None:
        self.movies, self.preparation, self._view = tuple(movies), preparation, view
        self.n_raw = int(self.movies[0].shape[0])
        step = max(1, preparation.average)
        self.n = -(-self.n_raw // step)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Image | None] = OrderedDict()
        self.pattern: Image | None = None
        self.bin = least_bin or 1
        self._levels: list[tuple[float, float]] | None = None
        self._raw_size = int(np.prod(self.movies[0].shape[1:]))
        raw = self._raw(0, 0)
        pixels = int(np.prod(raw.shape[-2:]))
        while least_bin is not None and pixels / self.bin**2 > MOST_PIXELS:
            self.bin += 1
        self.shape = self._shape(raw)

    def _shape(self, raw: NDArray[Any]) -> tuple[int, int, int]:
        y, x = raw.shape[-2] // self.bin, raw.shape[-1] // self.bin
        planes = raw.shape[0] if raw.ndim == 3 else 1
        return (planes * (len(self.movies) if self.preparation.joint else 1), y, x)

    @property
    def volume(self) -> bool:
        """Tell whether the first axis of the images is z."""
        return self.preparation.projection == "volume" and self._view is None

    def times(self) -> NDArray[np.float64]:
        """Return the mean frame number of each image."""
        step = max(1, self.preparation.average)
        return np.array([(t * step + min((t + 1) * step, self.n_raw) - 1) / 2 for t in range(self.n)])

    def image(self, t: int) -> Image | None:
        """Return an image, or None where there is nothing in it."""
        with self._lock:
            found = t in self._kept
            image = self._kept.get(t)
            if found:
                self._kept.move_to_end(t)
        if not found:
            image = self._prepared(t)
            with self._lock:
                self._kept[t] = image
                while len(self._kept) > self._most():
                    self._kept.popitem(last=False)
        return image if image is None or self.pattern is None else image - self.pattern

    def fetch(self, wanted: Sequence[int]) -> None:
        """Prepare images side by side, as many as are kept."""
        each(self.image, list(wanted)[: self._most()], self._raw_size)

    def _most(self) -> int:
        """Return how many images are kept: those of a group at least, or it would read them again and again."""
        return max(group_size(self.shape), CACHE_BYTES // max(4 * int(np.prod(self.shape)), 1))

    def drop(self) -> None:
        """Let go of the images that are kept."""
        self._kept.clear()

    def noise(self, sample: Sequence[int]) -> float:
        """Return the median over some images of the standard deviation of their white noise."""
        found = [noise_sd(i) for i in (self.image(t) for t in sample) if i is not None]
        return float(np.median(found)) if found else 0.0

    def _prepared(self, t: int) -> Image | None:
        step = max(1, self.preparation.average)
        block = [self._frame(f) for f in range(t * step, min((t + 1) * step, self.n_raw))]
        seen = [i for i in block if i is not None]
        if not seen:
            return None
        image = seen[0] if len(seen) == 1 else np.mean(seen, axis=0, dtype=np.float32)
        return enhanced(np.asarray(image), self.preparation.enhance, self.preparation.bead_px)

    def _frame(self, frame: int) -> Image | None:
        parts = [filled(shrink(self._raw(c, frame), self.bin)) for c in range(len(self.movies))]
        if len(parts) == 1:
            only = parts[0]
            return None if only is None else only.reshape(self.shape)
        if all(p is None for p in parts):
            return None
        levels = self._channel_levels()
        scaled = [
            np.zeros(self._one(), dtype=np.float32) if p is None else ((p - a) / b).reshape(self._one())
            for p, (a, b) in zip(parts, levels, strict=True)
        ]
        if self.preparation.joint:
            return np.concatenate(scaled, axis=0).astype(np.float32)
        return np.asarray(np.sum(scaled, axis=0), dtype=np.float32)

    def _one(self) -> tuple[int, int, int]:
        share = len(self.movies) if self.preparation.joint else 1
        return (self.shape[0] // share, self.shape[1], self.shape[2])

    def _channel_levels(self) -> list[tuple[float, float]]:
        """Return median and spread of each channel over a few frames: one scale for the whole movie."""
        if self._levels is None:
            sample = np.unique(np.linspace(0, self.n_raw - 1, min(5, self.n_raw)).astype(int))
            self._levels = []
            for c in range(len(self.movies)):
                seen = [i for i in (filled(shrink(self._raw(c, int(t)), max(4, self.bin))) for t in sample)
                        if i is not None]  # fmt: skip
                middle = float(np.median([np.median(i) for i in seen])) if seen else 0.0
                spread = float(np.median([i.std() for i in seen])) if seen else 1.0
                self._levels.append((middle, max(spread, 1e-12)))
        return self._levels

    def _raw(self, channel: int, frame: int) -> NDArray[Any]:
        with self._lock:  # readers of files need not stand two threads at once
            pixels = read(self.movies[channel], frame)
        planes, region = self.preparation.planes, self.preparation.region
        if pixels.ndim == 3 and planes is not None:
            pixels = pixels[planes[0] : planes[1]]
        if region is not None:
            pixels = pixels[..., region[0] : region[1], region[2] : region[3]]
        if self._view is not None:
            return self._view(pixels, frame)
        if pixels.ndim == 3 and self.preparation.projection != "volume":
            pixels = project(pixels, self.preparation.projection)
        return pixels
