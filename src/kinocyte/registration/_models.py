"""Rotation, scale and shear: a guess from the amplitudes of spectra, then Gauss-Newton steps on the images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from kinocyte.core.threads import each
from kinocyte.registration._geometry import turn_matrices
from kinocyte.registration._merge import fill
from kinocyte.registration._prepare import Frames, shrink
from kinocyte.registration._spectrum import Image, window, windowed
from kinocyte.registration._track import Tracked

Floats = NDArray[np.float64]

#: Longest side of the images that the first guess is made from, and the shortest that steps are made on.
POLAR_SIDE, LEAST_SIDE = 256, 64
#: Directions over half a turn, and radii in logarithmic steps.
DIRECTIONS, RADII = 720, 256
#: Largest change of size from frame to frame that is looked for, as a factor.
MOST_SCALE = 1.5
#: Resolutions at which the steps are made, one after the other, and rounds at each.
LEVELS, ROUNDS = (4, 2, 1), 2
#: Parameters of the models: how the matrix may change, as matrices in (y, x).
TURN, SIZE = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(2)
CHANGES: dict[str, list[Floats]] = {
    "rigid": [TURN],
    "similarity": [TURN, SIZE],
    "affine": [np.outer(*np.eye(2)[[a, b]]) for a in range(2) for b in range(2)],
}


class Laid(Frames):
    """Frames with a matrix each undone."""

    def __init__(self, frames: Frames, matrix: Floats) -> None:
        super().__init__(frames.movies, frames.preparation, least_bin=frames.bin)
        self.matrix = matrix

    def _prepared(self, t: int) -> Image | None:
        image = super()._prepared(t)
        return None if image is None else warped(image, np.zeros(2), self.matrix[t])


def warped(image: Image, shift_yx: Floats, matrix: Floats) -> Image:
    """Return an image with matrix and shift undone, linearly interpolated; edges are repeated."""
    centre = (np.array(image.shape[1:]) - 1) / 2
    offset = centre + shift_yx - matrix @ centre
    out = np.empty_like(image)
    for plane, to in zip(image, out, strict=True):
        ndimage.affine_transform(plane, matrix, offset, output=to, order=1, mode="nearest")
    return out


def polar(image: Image, mask: Image | None) -> Image:
    """Return the logarithm of the spectrum's amplitude over direction (half a turn) and logarithm of the radius.

    It does not see shifts; a rotation of the content shifts it along the direction, a change of size along the radius
    (Reddy & Chatterji 1996, IEEE Trans. Image Process. 5:1266).
    """
    side = min(image.shape[1:])
    top, left = ((n - side) // 2 for n in image.shape[1:])
    square = image[:, top : top + side, left : left + side]
    weight = window(square.shape, (1, 2), 0.5)
    if mask is not None:
        weight = weight * mask[:, top : top + side, left : left + side]
    amplitude = np.abs(fft.fft2(windowed(square, weight, (1, 2)), axes=(1, 2))).sum(axis=0)
    amplitude = np.log1p(np.fft.fftshift(amplitude) / max(float(amplitude.mean()), 1e-30))
    radius = np.geomspace(max(3, side / 40), max(6, 0.45 * side), RADII)
    direction = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    centre = side // 2
    rows = centre + np.outer(np.sin(direction), radius)
    columns = centre + np.outer(np.cos(direction), radius)
    out = ndimage.map_coordinates(amplitude, [rows, columns], order=1)
    # what no direction has of its own tells no angle, and what every radius has tells no size
    slope = ndimage.uniform_filter1d(out, RADII // 3, axis=1, mode="nearest")
    return np.asarray((out - slope) * window((1, 1, RADII), (2,), 0.2)[0], dtype=np.float32)


def guess_matrices(frames: Frames, mask: Image | None, *, sized: bool) -> tuple[Floats, NDArray[np.bool_]]:
    """Return matrices (n, 2, 2) of rotation and size against a running mean of the frames before, and which are known.

    Angles are unambiguous below a quarter turn; sizes are looked for up to a factor of `MOST_SCALE`.
    """
    factor = max(1, -(-max(frames.shape[1:]) // POLAR_SIDE))
    side = min(frames.shape[1:]) // factor
    step_log = np.log(max(6, 0.45 * side) / max(3, side / 40)) / (RADII - 1)
    reach = int(np.ceil(np.log(MOST_SCALE) / step_log)) if sized else 0
    angle, log_size, known = np.zeros(frames.n), np.zeros(frames.n), np.zeros(frames.n, dtype=bool)
    small = None if mask is None else shrink(mask, factor)
    k_turn = 2j * np.pi * np.fft.fftfreq(DIRECTIONS)[:, None]
    k_size = 2j * np.pi * np.fft.rfftfreq(2 * RADII)
    mean: NDArray[np.complexfloating] | None = None
    for t in range(frames.n):
        image = frames.image(t)
        if image is None or side < 8:
            continue
        picture = polar(shrink(image, factor), small)
        if not sized:
            picture = picture - picture.mean(axis=0)
        spectrum = fft.rfft2(picture, s=(DIRECTIONS, 2 * RADII))
        if mean is None:
            mean, known[t] = spectrum, True
            continue
        found = _peak(fft.irfft2(np.conj(mean) * spectrum, s=(DIRECTIONS, 2 * RADII)), reach)
        if found is None:
            continue
        # a larger content has a smaller spectrum
        angle[t], log_size[t], known[t] = found[0] * 180.0 / DIRECTIONS, -found[1] * step_log, True
        mean = 0.8 * mean + 0.2 * spectrum * np.exp(k_turn * found[0] + k_size * found[1])
    angle, log_size = (fill(v[:, None], known)[:, 0] for v in (angle, log_size))
    return np.exp(log_size)[:, None, None] * turn_matrices(angle), known


def _peak(values: Floats, reach: int) -> tuple[float, float] | None:
    """Return the place of the highest correlation along direction and radius, or None where it does not stand out."""
    near = np.take(values, np.arange(-reach, reach + 1), axis=1)
    row, column = np.unravel_index(int(np.argmax(near)), near.shape)
    if near[row, column] < 3 * float(near.std()):
        return None
    around = [float(near[(row + d) % DIRECTIONS, column]) for d in (-1, 0, 1)]
    turn = (float(row) + _vertex(around) + DIRECTIONS / 2) % DIRECTIONS - DIRECTIONS / 2
    at = int(column) - reach
    return turn, at + _vertex([float(values[row, at + d]) for d in (-1, 0, 1)]) if reach else 0.0


def _vertex(around: list[float]) -> float:
    low, mid, high = around
    bend = low - 2 * mid + high
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5))


def track_model(
    frames: Frames, model: str, translate: Callable[[Frames], Tracked], mask: Image | None = None
) -> tuple[Tracked, Floats]:
    """Return the shifts of all images against frame 0, and their matrices (n, 2, 2) in (y, x).

    Parameters
    ----------
    frames : Frames
        Prepared images (p, y, x).
    model : str
        ``rigid``, ``similarity`` or ``affine``.
    translate : callable
        Returns the shifts of frames that are only shifted.
    mask : float32 (p, y, x), optional
        Weight of the pixels in the coordinates of the camera.
    """
    matrix, _ = guess_matrices(frames, mask, sized=model != "rigid")
    tracked = translate(Laid(frames, matrix))
    known = tracked.known
    shift = np.einsum("tij,tj->ti", matrix, fill(tracked.shift, known)[:, 1:])
    for factor in LEVELS:
        if factor > 1 and min(frames.shape[1:]) // factor < LEAST_SIDE:
            continue
        for _ in range(ROUNDS):
            _descend(frames, np.flatnonzero(known), (shift, matrix), CHANGES[model], factor=factor, mask=mask)
    shift = fill(shift, known)
    matrix = fill(matrix.reshape(-1, 4), known).reshape(-1, 2, 2)
    if known.any():
        matrix = matrix @ np.linalg.inv(matrix[0])
        shift = shift - matrix @ shift[0]
    else:
        matrix = np.broadcast_to(np.eye(2), matrix.shape).copy()
    whole = np.concatenate([np.zeros((frames.n, 1)), shift], axis=1)
    return replace(tracked, shift=whole), matrix


def _descend(
    frames: Frames,
    chosen: NDArray[np.intp],
    path: tuple[Floats, Floats],
    changes: list[Floats],
    *,
    factor: int,
    mask: Image | None,
) -> None:
    """Lay the chosen frames on their mean at a resolution; shifts (n, 2) in px of the images and matrices in place."""
    shift, matrix = path
    small = None if mask is None else shrink(mask, factor)

    def seen(t: int) -> tuple[Image, Image] | None:
        image = frames.image(t)
        if image is None:
            return None
        smooth = np.asarray(ndimage.gaussian_filter(shrink(image, factor), (0, 1, 1)), dtype=np.float32)
        return smooth, np.ones_like(smooth) if small is None else small

    shape = (frames.shape[0], *(n // factor for n in frames.shape[1:]))
    total, count = np.zeros(shape), np.zeros(shape)
    for t in chosen:
        found = seen(int(t))
        if found is not None:
            share = warped(found[1], shift[t] / factor, matrix[t])
            total += share * warped(found[0], shift[t] / factor, matrix[t])
            count += share
    if not count.any():
        return
    template = np.asarray(total / np.maximum(count, 1e-6), dtype=np.float32)
    cover = np.asarray(np.minimum(count / np.max(count) * 2, 1), dtype=np.float32)
    weight = window(template.shape, (1, 2), 0.15) * cover
    columns = _columns(template, changes)

    def place(t: int) -> tuple[Floats, Floats]:
        found = seen(t)
        if found is None:
            return shift[t], matrix[t]
        masked = weight if small is None else weight * warped(found[1], shift[t] / factor, matrix[t])
        start = (shift[t] / factor, matrix[t])
        at, turned = _gauss_newton(found[0], template, masked, start, columns=columns, changes=changes)
        return at * factor, turned

    for t, (at, turned) in zip(chosen, each(place, [int(t) for t in chosen], template.size), strict=True):
        shift[t], matrix[t] = at, turned


def _columns(template: Image, changes: list[Floats]) -> NDArray[np.float32]:
    """Return how the template changes with each parameter; its brightness and offset are free: a frame may bleach."""
    dy, dx = np.gradient(template, axis=(1, 2))
    v = (np.arange(template.shape[1]) - (template.shape[1] - 1) / 2)[:, None]
    u = np.arange(template.shape[2]) - (template.shape[2] - 1) / 2
    out = [dy, dx]
    out += [dy * (c[0, 0] * v + c[0, 1] * u) + dx * (c[1, 0] * v + c[1, 1] * u) for c in changes]
    out += [template, np.ones_like(template)]
    return np.stack([c.ravel() for c in out]).astype(np.float32)


def _gauss_newton(
    image: Image,
    template: Image,
    weight: Image,
    start: tuple[Floats, Floats],
    *,
    columns: NDArray[np.float32],
    changes: list[Floats],
) -> tuple[Floats, Floats]:
    """Return shift and matrix that lay an image on the template.

    Inverse compositional steps (Baker & Matthews 2004, Int. J. Comput. Vis. 56:221): the template is moved towards
    the image, and the opposite is put before what the image is looked up with.
    """
    shift, matrix = start
    weighted = columns * weight.ravel()
    # the length of a parameter that acts far from the centre differs from that of a shift: scaled before it is judged
    normal = (weighted @ columns.T).astype(np.float64)
    length = np.sqrt(np.maximum(np.diag(normal), 1e-30))
    scaled = normal / np.outer(length, length)
    if np.linalg.cond(scaled) > 1e10:
        return start
    radius = max(template.shape[1:]) / 2
    for _ in range(10):
        error = (warped(image, shift, matrix) - template).ravel()
        step = np.linalg.solve(scaled, (weighted @ error) / length) / length
        change = np.sum([s * c for s, c in zip(step[2:], changes, strict=False)], axis=0)
        far = max(np.abs(step[:2]).max(), radius * np.abs(change).max())
        if far > 0.1 * radius:
            return start  # no top near: leave the guess
        turned = matrix @ np.linalg.inv(np.eye(2) + change)
        shift, matrix = shift - turned @ step[:2], turned
        if far < 1e-3:
            break
    return shift, matrix
