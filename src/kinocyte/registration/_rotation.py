"""Rotation: from the amplitudes of spectra, then exactly, by Gauss-Newton steps on the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from kinocyte.registration._merge import fill
from kinocyte.registration._prepare import Frames, shrink
from kinocyte.registration._spectrum import Image, window, windowed
from kinocyte.registration._track import Tracked

Floats = NDArray[np.float64]

#: Longest side of the images that the first guess of the angle is made from.
POLAR_SIDE = 256
#: Directions over half a turn.
DIRECTIONS = 720


class Turned(Frames):
    """Frames turned back by an angle each."""

    def __init__(self, frames: Frames, angle_deg: Floats) -> None:
        super().__init__(frames.movies, frames.preparation)
        self.angle_deg = angle_deg

    def _prepared(self, t: int) -> Image | None:
        image = super()._prepared(t)
        return None if image is None else warped(image, np.zeros(3), float(self.angle_deg[t]))


def turn_matrix(angle_deg: float) -> Floats:
    """Return the matrix that turns (p, y, x) from +x towards +y."""
    angle = np.deg2rad(angle_deg)
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return turn


def warped(image: Image, shift_px: Floats, angle_deg: float) -> Image:
    """Return an image with rotation and shift undone; edges are repeated."""
    if angle_deg == 0 and not np.any(shift_px):
        return image
    turn = turn_matrix(angle_deg)
    centre = (np.array(image.shape) - 1) / 2
    out = ndimage.affine_transform(image, turn, centre + shift_px - turn @ centre, order=1, mode="nearest")
    return np.asarray(out, dtype=np.float32)


def polar(image: Image) -> Image:
    """Return the logarithm of the spectrum's amplitude over direction (half a turn) and radius.

    It does not see shifts; a rotation of the content shifts it along the direction (Reddy & Chatterji 1996, IEEE
    Trans. Image Process. 5:1266).
    """
    side = min(image.shape[1:])
    top, left = ((n - side) // 2 for n in image.shape[1:])
    square = image[:, top : top + side, left : left + side]
    weight = window(square.shape, (1, 2), 0.5)
    amplitude = np.abs(fft.fft2(windowed(square, weight, (1, 2)), axes=(1, 2))).sum(axis=0)
    amplitude = np.log1p(np.fft.fftshift(amplitude) / max(float(amplitude.mean()), 1e-30))
    radius = np.arange(max(4, side // 32), max(6, int(0.4 * side)))
    direction = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    centre = side // 2
    rows = centre + np.outer(np.sin(direction), radius)
    columns = centre + np.outer(np.cos(direction), radius)
    out = ndimage.map_coordinates(amplitude, [rows, columns], order=1)
    return np.asarray(out - out.mean(axis=0), dtype=np.float32)  # what no direction has of its own tells no angle


def guess_angles(frames: Frames) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the rotation of each frame in degrees against a running mean of the ones before, and which are known.

    Angles are unambiguous below a quarter turn.
    """
    factor = max(1, -(-max(frames.shape[1:]) // POLAR_SIDE))
    angle, known = np.zeros(frames.n), np.zeros(frames.n, dtype=bool)
    k = np.arange(DIRECTIONS // 2 + 1)
    mean: NDArray[np.complexfloating] | None = None
    for t in range(frames.n):
        image = frames.image(t)
        if image is None:
            continue
        spectrum = fft.rfft(polar(shrink(image, factor)), axis=0)
        if mean is None:
            mean, known[t] = spectrum, True
            continue
        values = fft.irfft((np.conj(mean) * spectrum).sum(axis=1), n=DIRECTIONS)
        place = int(np.argmax(values))
        low, mid, high = (float(values[(place + d) % DIRECTIONS]) for d in (-1, 0, 1))
        bend = low - 2 * mid + high
        if bend >= 0 or mid < 3 * float(values.std()):
            continue
        step = (place + 0.5 * (low - high) / bend + DIRECTIONS / 2) % DIRECTIONS - DIRECTIONS / 2
        angle[t], known[t] = step * 180.0 / DIRECTIONS, True
        mean = 0.8 * mean + 0.2 * spectrum * np.exp(2j * np.pi * k * step / DIRECTIONS)[:, None]
    return np.asarray(fill(angle[:, None], known)[:, 0]), known


def track_rigid(frames: Frames, translate: Callable[[Frames], Tracked]) -> tuple[Tracked, Floats]:
    """Return the shifts against frame 0 of all images, and their rotation in degrees.

    Parameters
    ----------
    frames : Frames
        Prepared images (p, y, x).
    translate : callable
        Returns the shifts of frames that do not turn.
    """
    angle, _ = guess_angles(frames)
    tracked = translate(Turned(frames, angle))
    shift = fill(tracked.shift, tracked.known)
    shift = np.stack([turn_matrix(a) @ s for a, s in zip(angle, shift, strict=True)])
    for _ in range(2):
        template = _template(frames, shift, angle, tracked.known)
        for t in np.flatnonzero(tracked.known):
            shift[t], angle[t] = _gauss_newton(frames, int(t), template, shift[t], float(angle[t]))
    angle = fill(angle[:, None], tracked.known)[:, 0]
    shift = fill(shift, tracked.known)
    turned = angle - angle[0]
    shift = np.stack([s - turn_matrix(a) @ shift[0] for a, s in zip(turned, shift, strict=True)])
    return Tracked(shift, tracked.known, tracked.sharpness, tracked.height, tracked.residual, tracked.error), turned


def _template(frames: Frames, shift: Floats, angle: Floats, known: Sequence[bool] | NDArray[np.bool_]) -> Image:
    """Return the mean of the frames as they lie on each other, smoothed by a pixel."""
    total, count = np.zeros(frames.shape), 0
    for t in np.flatnonzero(known):
        image = frames.image(int(t))
        if image is not None:
            total += _smooth(warped(image, shift[t], float(angle[t])))
            count += 1
    return np.asarray(total / max(count, 1), dtype=np.float32)


def _smooth(image: Image) -> Image:
    return np.asarray(ndimage.gaussian_filter(image, (0, 1, 1)), dtype=np.float32)


def _gauss_newton(frames: Frames, t: int, template: Image, shift: Floats, angle: float) -> tuple[Floats, float]:
    """Return shift and angle that lay a frame on the template (Lucas & Kanade 1981, inverse compositional)."""
    image = frames.image(t)
    if image is None:
        return shift, angle
    smooth = _smooth(image)
    weight = window(template.shape, (1, 2), 0.15)
    dy, dx = np.gradient(template, axis=(1, 2))
    v = (np.arange(template.shape[1]) - (template.shape[1] - 1) / 2)[:, None]
    u = np.arange(template.shape[2]) - (template.shape[2] - 1) / 2
    columns = np.stack([(c * weight).ravel() for c in (dy, dx, dy * u - dx * v, template, np.ones_like(template))])
    normal = columns @ columns.T
    if np.linalg.cond(normal) > 1e14:
        return shift, angle
    for _ in range(8):
        error = ((warped(smooth, shift, angle) - template) * weight).ravel()
        # brightness and offset are free: a frame may bleach
        step = np.linalg.solve(normal, columns @ error)[:3] * -1
        if np.abs(step[:2]).max() > 3 or abs(step[2]) > 0.1:
            break
        shift = shift + turn_matrix(angle) @ np.array([0.0, step[0], step[1]])
        angle = angle + float(np.rad2deg(step[2]))
        if np.abs(step[:2]).max() < 1e-3 and abs(step[2]) < 1e-6:
            break
    return shift, angle
