"""What every simulated assay gives: frames as a camera sees them, label images and the truth as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.scale import Scale
from kinocyte.simulation.cells import photons_at

Light = NDArray[np.float32]
LabelImage = NDArray[np.uint32]


@dataclass(frozen=True)
class Camera:
    """How light becomes grey values; photons are Poisson, the electronics add normal noise."""

    signal_photons: float
    """Photons of a pixel whose light is 1."""
    background_photons: float = 20.0
    read_noise_photons: float = 1.6
    gain_per_photon: float = 1.0
    offset: float = 100.0

    @classmethod
    def with_snr(cls, snr: float) -> Camera:
        """Return the camera whose light of 1 stands out from the noise by a ratio."""
        return cls(photons_at(snr, cls.background_photons, cls.read_noise_photons))

    @classmethod
    def with_noise(cls, noise: float, brightness: float) -> Camera:
        """Return a camera without background whose light of 1 has a grey value and a relative noise."""
        photons = 1 / noise**2
        return cls(photons, 0.0, 0.0, brightness / photons, 0.0)


@dataclass(frozen=True, eq=False)
class Scene:
    """One frame before the camera: light of every channel (c, y, x) and the label image of every population."""

    light: Light
    labels: Mapping[str, LabelImage]


@dataclass(frozen=True, eq=False)
class AssayMovie:
    """One simulated field of view.

    Frames may be asked for in any order; each depends on the settings, the seed and its number alone.

    Attributes
    ----------
    name : str
        Name of the movie.
    channels : tuple of str
        Names of the channels.
    scale : Scale
        Calibration.
    n_frames : int
        Number of frames.
    conditions : mapping of str to object
        What was done to the well.
    truth : mapping of str to polars.DataFrame
        The tables of the experiment as they would be without any error (``targets_events``), and what no
        experiment knows (who killed whom, hazards, true durations).
    """

    name: str
    channels: tuple[str, ...]
    scale: Scale
    n_frames: int
    conditions: Mapping[str, object]
    truth: Mapping[str, pl.DataFrame]
    seed: int
    _cameras: tuple[Camera, ...] = field(repr=False)
    _scene: Callable[[int], Scene] = field(repr=False)

    def frame(self, t: int) -> NDArray[np.uint16]:
        """Return what the camera sees in a frame, (c, y, x), grey values.

        Raises
        ------
        ParameterError
            If the movie has no such frame.
        """
        from kinocyte.simulation._cells_render import expose

        rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(self.seed, spawn_key=(7, self._check(t)))))
        light = self._scene(t).light
        return np.stack([expose(c, camera, rng) for c, camera in zip(light, self._cameras, strict=True)])

    def labels(self, population: str, t: int) -> LabelImage:
        """Return the true label image of a population, (y, x); the label of a cell is its ``track_id``."""
        known = self._scene(self._check(t)).labels
        if population not in known:
            msg = f"The movie has no population '{population}'; {nearest(population, known)}."
            raise ParameterError(msg)
        return known[population]

    def _check(self, t: int) -> int:
        if not 0 <= t < self.n_frames:
            msg = f"Frame {t} does not exist: the movie has frames 0 to {self.n_frames - 1}."
            raise ParameterError(msg)
        return int(t)
