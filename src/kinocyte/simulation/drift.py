"""Movies with known drift, made from any image or stack.

A scene larger than the field of view is moved, cropped, and then seen by a camera: bleached, flickering, with a
pattern that stays where it is, with blank frames and with noise. Frames are computed when they are asked for, so
that a long movie needs the memory of one frame.

References
----------
Pylvänäinen et al. (2023) "Fast4DReg - fast registration of 4D microscopy datasets", J. Cell Sci. 136, jcs260728,
Fig. S1A (the drift of `published_drift`, Table 7 of the first author's thesis).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import ndimage

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import DRIFT, conform

#: dx, dy, dz in pixels of the 25 frames of the published benchmark.
PUBLISHED_DRIFT_PX: tuple[tuple[float, float, float], ...] = (
    (-0.1846, -0.842, 0.7736), (1.1534, 0.69, -1.0418), (0.3099, 1.261, -0.5265), (1.3837, 1.961, -2.517),
    (2.8785, 1.0, -3.3751), (3.221, -0.072, -4.0643), (4.83, -2.012, -2.4789), (6.2691, -4.293, -4.9687),
    (7.1845, -7.21, -5.6736), (8.8191, -11.375, -7.2127), (12.1096, -13.948, -6.6842),
    (13.6142, -18.579, -7.6793), (15.5335, -25.244, -7.4236), (18.8507, -32.933, -7.7894),
    (21.5718, -37.042, -9.3144), (25.3066, -45.681, -8.9694), (28.4077, -52.989, -9.1761),
    (32.8398, -60.376, -9.9103), (34.7591, -71.216, -10.8287), (40.0535, -79.337, -10.9413),
    (42.8704, -90.376, -11.5039), (47.4757, -100.918, -13.4116), (51.8525, -112.391, -14.2919),
    (56.8755, -124.903, -14.3824), (62.7437, -137.609, -14.8706),
)  # fmt: skip

#: Gaussian noise of the published noise series, standard deviation in grey values of 16 bit.
PUBLISHED_NOISE_SD = (0.0, 5e3, 1e4, 1.5e4, 2e4, 2.5e4, 3e4, 3.5e4, 4e4, 4.5e4, 5e4, 6e4)


def noise_at_snr(scene: NDArray[np.number], snr: float) -> float:
    """Return the standard deviation of noise, in grey values, that gives a scene a signal-to-noise ratio.

    The ratios of the published series are mean cell over mean background of noisy images clipped to 16 bit; for that
    series take `PUBLISHED_NOISE_SD`.

    Parameters
    ----------
    scene : array of any shape
        What is looked at, without noise.
    snr : float
        Brightest structures (99.9th percentile) above the background (median), in standard deviations of the noise.

    Returns
    -------
    float
        For `DriftMovie` as ``noise_sd``.

    Raises
    ------
    ParameterError
        If the ratio is not positive, or the scene has nothing above its background.
    """
    if not snr > 0:
        msg = f"snr = {snr} must be above 0; leave the noise out for a movie without."
        raise ParameterError(msg)
    signal = float(np.percentile(scene, 99.9) - np.median(scene))
    if not signal > 0:
        msg = "The scene has nothing that is brighter than its background, so there is no signal to compare noise with."
        raise ParameterError(msg)
    return signal / snr


def drift_table(shift_px: NDArray[np.float64], angle_deg: NDArray[np.float64] | None = None) -> pl.DataFrame:
    """Return a drift table of known shifts.

    Parameters
    ----------
    shift_px : array of float, shape (t, 3)
        dx, dy, dz of the content in pixels, one row a frame.
    angle_deg : array of float, shape (t,), optional
        Rotation of the content about the centre of the frame; 0 where left out.

    Returns
    -------
    polars.DataFrame
        Columns of `kinocyte.core.schema.DRIFT`, quality 1.
    """
    shift = np.asarray(shift_px, dtype=np.float64)
    n_frames = len(shift)
    columns = {
        "frame": np.arange(n_frames),
        "dx_px": shift[:, 0],
        "dy_px": shift[:, 1],
        "dz_px": shift[:, 2],
        "angle_deg": np.zeros(n_frames) if angle_deg is None else np.asarray(angle_deg, dtype=np.float64),
        "quality": np.ones(n_frames),
    }
    return conform(pl.DataFrame(columns), DRIFT, table="drift")


def published_drift(*, first_at_rest: bool = True, axial: bool = True) -> pl.DataFrame:
    """Return the drift of the Fast4DReg benchmark, 25 frames.

    Parameters
    ----------
    first_at_rest : bool
        Frame 0 unshifted, as the published generator left it; otherwise its first row as printed.
    axial : bool
        Keep the axial drift; otherwise dz is 0.
    """
    shift = np.array(PUBLISHED_DRIFT_PX)
    if first_at_rest:
        shift[0] = 0.0
    if not axial:
        shift[:, 2] = 0.0
    return drift_table(shift)


def random_walk(
    n_frames: int,
    *,
    step_px: float = 1.0,
    axial_step_px: float = 0.0,
    angle_step_deg: float = 0.0,
    seed: int = 0,
) -> pl.DataFrame:
    """Return a drift of independent normal steps; each step is the standard deviation per axis and frame."""
    rng = np.random.default_rng(seed)
    scale = np.array([step_px, step_px, axial_step_px])
    steps = rng.normal(size=(n_frames, 3)) * scale
    turns = rng.normal(size=n_frames) * angle_step_deg
    steps[:1], turns[:1] = 0.0, 0.0
    return drift_table(np.cumsum(steps, axis=0), np.cumsum(turns))


def steady(
    n_frames: int, *, step_px: tuple[float, float, float] = (0.5, 0.3, 0.0), angle_step_deg: float = 0.0
) -> pl.DataFrame:
    """Return a drift of equal steps (dx, dy, dz) per frame."""
    frames = np.arange(n_frames, dtype=np.float64)
    return drift_table(frames[:, None] * np.array(step_px), frames * angle_step_deg)


def jumps(n_frames: int, *, size_px: float = 5.0, probability: float = 0.2, seed: int = 0) -> pl.DataFrame:
    """Return a drift that rests and now and then jumps by ``size_px`` in a random lateral direction."""
    rng = np.random.default_rng(seed)
    jumping = rng.random(n_frames) < probability
    jumping[:1] = False
    direction = rng.uniform(0, 2 * np.pi, n_frames)
    steps = np.zeros((n_frames, 3))
    steps[:, 0] = np.where(jumping, size_px * np.cos(direction), 0.0)
    steps[:, 1] = np.where(jumping, size_px * np.sin(direction), 0.0)
    return drift_table(np.cumsum(steps, axis=0))


@dataclass(frozen=True)
class Crawl:
    """Objects of the scene that move by themselves.

    Parameters
    ----------
    labels : array of int
        Label image of the scene; 0 is background.
    step_px : float
        Standard deviation of the step per axis and frame, laterally.
    fraction : float
        Share of the objects that crawl.
    """

    labels: NDArray[np.integer]
    step_px: float = 1.0
    fraction: float = 0.5


@dataclass(frozen=True)
class DriftMovie:
    """A movie of a scene that drifts, computed frame by frame.

    Parameters
    ----------
    scene : array, shape (y, x) or (z, y, x)
        What is looked at. Keep a margin around the field of view at least as wide as the drift.
    drift : polars.DataFrame
        Columns of `kinocyte.core.schema.DRIFT`: shift and rotation (about the centre of the scene) of the content.
    margin_px : tuple of int
        Cut away on both sides of each axis of the scene after it has moved, in the order of the axes.
    noise_sd : float
        Standard deviation of Gaussian noise, in grey values.
    shot_noise : bool
        Draw photon noise, taking grey values as photon counts.
    bleach_frames : float
        Frames after which the signal has fallen to 1/e; 0 = no bleaching.
    flicker : float
        Standard deviation of the relative brightness of a frame.
    fixed_pattern : array, shape of a frame, optional
        Added to each frame without moving.
    gain_pattern : array, shape of a frame, optional
        Multiplied with each frame without moving (illumination).
    blank : sequence of int
        Frames without any content.
    crawl : Crawl, optional
        Objects that move by themselves.
    amplitude : array of float, shape (t, number of labels + 1), optional
        Brightness of each object of ``crawl.labels`` in each frame (fluorescence that comes and goes).
    dtype : numpy dtype
        Type of the frames; integers are rounded and clipped to their range.
    seed : int
        Fixes noise, flicker and crawling.
    order : int
        Order of the spline that moves the scene, 0 to 5.
    """

    scene: NDArray[np.number]
    drift: pl.DataFrame
    margin_px: tuple[int, ...] = ()
    noise_sd: float = 0.0
    shot_noise: bool = False
    bleach_frames: float = 0.0
    flicker: float = 0.0
    fixed_pattern: NDArray[np.floating] | None = None
    gain_pattern: NDArray[np.floating] | None = None
    blank: Sequence[int] = ()
    crawl: Crawl | None = None
    amplitude: NDArray[np.floating] | None = None
    dtype: np.dtype[np.generic] = field(default_factory=lambda: np.dtype(np.float32))
    seed: int = 0
    order: int = 3

    def __post_init__(self) -> None:
        """Refuse a scene, margin or table that cannot make a movie."""
        if self.scene.ndim not in {2, 3}:
            msg = f"A scene has the axes (y, x) or (z, y, x), this one has {self.scene.ndim}; give one stack."
            raise ParameterError(msg)
        if self.margin_px and len(self.margin_px) != self.scene.ndim:
            msg = f"margin_px = {self.margin_px} must hold one number per axis of the scene ({self.scene.ndim})."
            raise ParameterError(msg)
        if min(self._frame_shape()) < 1:
            msg = f"margin_px = {self.margin_px} leaves nothing of a scene of {self.scene.shape}; take a smaller one."
            raise ParameterError(msg)
        if self.amplitude is not None and self.crawl is None:
            msg = "amplitude needs the objects it belongs to; give crawl=Crawl(labels, step_px=0)."
            raise ParameterError(msg)

    def _margin(self) -> tuple[int, ...]:
        return self.margin_px or (0,) * self.scene.ndim

    def _frame_shape(self) -> tuple[int, ...]:
        return tuple(n - 2 * m for n, m in zip(self.scene.shape, self._margin(), strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (t, (z,) y, x)."""
        return (self.drift.height, *self._frame_shape())

    @property
    def ndim(self) -> int:
        """Return the number of axes, time included."""
        return self.scene.ndim + 1

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.drift.height

    def __getitem__(self, frame: int) -> NDArray[np.generic]:
        """Return one frame, (y, x) or (z, y, x)."""
        n_frames = len(self)
        if not -n_frames <= frame < n_frames:
            msg = f"frame {frame} of a movie of {n_frames}"
            raise IndexError(msg)
        t = frame % n_frames
        rng = np.random.default_rng([self.seed, t])
        if t in self.blank:
            seen = np.zeros(self._frame_shape())
        else:
            moved = self._moved(t)
            inner = tuple(slice(m, n - m) for m, n in zip(self._margin(), moved.shape, strict=True))
            seen = moved[inner]
            if self.bleach_frames > 0:
                seen = seen * np.exp(-t / self.bleach_frames)
            if self.flicker > 0:
                seen = seen * max(0.05, 1 + self.flicker * rng.normal())
        return self._exposed(seen, rng)

    def clean(self, frame: int) -> NDArray[np.float64]:
        """Return a frame as the sample alone would give it: no camera, no noise, no bleaching."""
        moved = self._moved(frame)
        inner = tuple(slice(m, n - m) for m, n in zip(self._margin(), moved.shape, strict=True))
        return moved[inner]

    def _exposed(self, seen: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.generic]:
        if self.gain_pattern is not None:
            seen = seen * self.gain_pattern
        if self.fixed_pattern is not None:
            seen = seen + self.fixed_pattern
        if self.shot_noise:
            seen = rng.poisson(np.maximum(seen, 0)).astype(np.float64)
        if self.noise_sd > 0:
            seen = seen + rng.normal(0, self.noise_sd, seen.shape)
        if np.issubdtype(self.dtype, np.integer):
            info = np.iinfo(self.dtype.str)
            seen = np.clip(np.rint(seen), info.min, info.max)
        return seen.astype(self.dtype)

    def _moved(self, t: int) -> NDArray[np.float64]:
        scene = self.scene.astype(np.float64) if self.crawl is None else self._crawled(t, self.crawl)
        row = self.drift.row(t, named=True)
        shift = np.array([row["dz_px"], row["dy_px"], row["dx_px"]])[3 - scene.ndim :]
        if row["angle_deg"] == 0:
            if not shift.any():
                return scene
            return np.asarray(ndimage.shift(scene, shift, order=self.order, mode="reflect"), dtype=np.float64)
        turn = np.eye(scene.ndim)
        angle = np.deg2rad(row["angle_deg"])
        # output (y, x) looks up the input turned back: content turns from +x towards +y
        turn[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        centre = (np.array(scene.shape) - 1) / 2
        offset = centre - turn @ (centre + shift)
        moved = ndimage.affine_transform(scene, turn, offset, order=self.order, mode="reflect")
        return np.asarray(moved, dtype=np.float64)

    def _crawled(self, t: int, crawl: Crawl) -> NDArray[np.float64]:
        """Return the scene with each crawling or blinking object cut out and put where it is in frame t."""
        labels = crawl.labels
        n_labels = int(labels.max())
        rng = np.random.default_rng([self.seed, 1_000_003])
        crawling = rng.random(n_labels + 1) < crawl.fraction
        steps = rng.normal(0, crawl.step_px, (len(self), n_labels + 1, 2))
        place = steps[1 : t + 1].sum(axis=0) * crawling[:, None]
        scene = self.scene.astype(np.float64)
        floor = float(np.median(scene[labels == 0])) if (labels == 0).any() else float(scene.min())
        boxes = ndimage.find_objects(labels)
        changed = np.array([c or self.amplitude is not None for c in crawling])
        out = np.where(changed[labels] & (labels > 0), floor, scene)
        for label, box in enumerate(boxes, start=1):
            if box is None or not changed[label]:
                continue
            object_ = np.where(labels[box] == label, scene[box] - floor, 0.0)
            gain = 1.0 if self.amplitude is None else float(self.amplitude[t, label])
            _paste(out, object_ * gain, box, place[label])
        return out


def _paste(
    out: NDArray[np.float64], patch: NDArray[np.float64], box: tuple[slice, ...], place_px: NDArray[np.float64]
) -> None:
    """Add a patch to an image, moved laterally by a fraction of a pixel; what leaves the image is lost."""
    whole = np.floor(place_px).astype(int)
    margin = [(0, 0)] * (patch.ndim - 2) + [(1, 2), (1, 2)]
    padded = np.pad(patch, margin)
    part = np.zeros(patch.ndim)
    part[-2:] = place_px - whole
    moved = ndimage.shift(padded, part, order=1)
    start = np.array([s.start for s in box])
    start[-2:] += whole - 1
    stop = start + np.array(moved.shape)
    low, high = np.maximum(start, 0), np.minimum(stop, np.array(out.shape))
    if (low >= high).any():
        return
    target = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    source = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    out[target] += moved[source]
