"""Spreading of cells on a surface, seen by reflection interference contrast (RICM).

A cell lands, hovers above the surface (bright, with fringes), and then, or never, spreads (dark, growing). The
background is uneven, the same for all fields of a well, and stands for 1 once it is divided out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from kinocyte.core.method import Method, param
from kinocyte.core.scale import Scale
from kinocyte.simulation.assays import bodies
from kinocyte.simulation.assays.bodies import Field, Floats
from kinocyte.simulation.assays.movie import AssayMovie, Camera, Scene

#: light of a hovering and of a spread cell beside that of the bare surface, and how quickly it turns
_HOVERING, _SPREAD, _TURN_MIN = 0.22, -0.38, 0.15


class SpreadingAssay(Method):
    """Settings of one field of view of a spreading assay."""

    kind: ClassVar[str] = "simulation"

    method: Literal["ricm"] = "ricm"
    frames: int = param(44, ge=2, help="Number of frames.")
    height_px: int = param(288, ge=32, help="Height of the image.", unit="px")
    width_px: int = param(288, ge=32, help="Width of the image.", unit="px")
    pixel_size_um: float = param(0.2, gt=0, help="Height and width of a pixel.", unit="um")
    frame_interval_min: float = param(0.3, gt=0, help="Time between frames.", unit="min")
    cells: int = param(18, ge=0, help="Number of cells that land.")
    bare_frames: int = param(4, ge=0, help="Frames before the first cell lands, which show the surface alone.")
    landing_span: float = param(0.6, gt=0, le=1, help="Part of the rest of the movie in which cells land.")
    dose_pm: float = param(100.0, ge=0, help="Antibody in picomole per litre.")
    ec50_pm: float = param(30.0, gt=0, help="Dose at half of the effect, in picomole per litre.")
    longest_hovering_min: float = param(8.0, gt=0, help="Mean hovering time without antibody.", unit="min")
    shortest_hovering_min: float = param(1.2, gt=0, help="Mean hovering time at a saturating dose.", unit="min")
    least_hovering_min: float = param(0.6, ge=0, help="No cell spreads earlier after landing.", unit="min")
    spreading_um2_per_min: float = param(12.0, gt=0, help="Mean growth of the area of a cell.", unit="um2/min")
    hovering_radius_um: float = param(2.6, gt=0, help="Mean radius of a hovering cell.", unit="um")
    largest_area_um2: float = param(75.0, gt=0, help="Mean area of a spread cell.", unit="um2")
    brightness: float = param(1000.0, gt=10, help="Grey value of the background in the middle of the field.")
    unevenness: float = param(0.3, ge=0, lt=1, help="Part by which the background falls towards the corners.")
    noise: float = param(0.02, gt=0, le=0.5, help="Standard deviation of a pixel relative to the background.")

    @property
    def hovering_min(self) -> float:
        """Return the mean hovering time at this dose."""
        share = self.dose_pm / (self.dose_pm + self.ec50_pm)
        return float(self.longest_hovering_min * (self.shortest_hovering_min / self.longest_hovering_min) ** share)

    @property
    def field(self) -> Field:
        """Return the field of view."""
        return Field(self.height_px, self.width_px, self.pixel_size_um)


@dataclass(frozen=True, eq=False)
class _Cells:
    yx: Floats
    landing_min: Floats
    spreading_min: Floats
    growth: Floats
    radius: Floats
    largest: Floats


def _cells(s: SpreadingAssay, seed: int) -> _Cells:
    rng = np.random.default_rng([seed, 21])
    n = s.cells
    margin = np.sqrt(s.largest_area_um2 / np.pi)
    room = s.field.size_um - 2 * margin
    at = margin + bodies.scatter(rng, n, room, 2.6 * margin)
    last = (s.frames - 1) * s.frame_interval_min
    first = min((s.bare_frames - 0.9) * s.frame_interval_min, last)
    landing = first + rng.uniform(0, s.landing_span, n) * (last - first)
    rest = max(s.hovering_min - s.least_hovering_min, 1e-6)
    spreading = landing + s.least_hovering_min + rng.exponential(rest, n)
    return _Cells(
        at, landing, spreading, s.spreading_um2_per_min * rng.lognormal(0, 0.2, n),
        s.hovering_radius_um * rng.lognormal(0, 0.08, n), s.largest_area_um2 * rng.lognormal(0, 0.12, n),
    )  # fmt: skip


def _area(cells: _Cells, now: float) -> Floats:
    """Return the area of each cell; a spreading cell grows from the area it hovered with."""
    start = np.pi * cells.radius**2 * 0.8
    grown = start + cells.growth * np.clip(now - cells.spreading_min, 0, None)
    area: Floats = np.where(now >= cells.spreading_min, np.minimum(grown, cells.largest), np.pi * cells.radius**2)
    return area


def cell_light(since_min: ArrayLike) -> Floats:
    """Return the light of cells less that of the bare surface, at times from their spreading.

    A hovering cell is bright. Spreading is the moment at which it gets darker than the surface, so the light begins to
    fall a little before.
    """
    begun = np.asarray(since_min, np.float64) + _TURN_MIN * np.log((_HOVERING - _SPREAD) / -_SPREAD)
    return np.where(begun < 0, _HOVERING, _SPREAD + (_HOVERING - _SPREAD) * np.exp(-np.maximum(begun, 0) / _TURN_MIN))


def _background(s: SpreadingAssay) -> NDArray[np.float32]:
    y, x = np.mgrid[-1 : 1 : s.height_px * 1j, -1 : 1 : s.width_px * 1j]
    even: Floats = 1 - s.unevenness * 0.5 * ((x - 0.2) ** 2 + (y + 0.1) ** 2)
    return even.astype(np.float32)


def _scene(s: SpreadingAssay, cells: _Cells, background: NDArray[np.float32], t: int) -> Scene:
    now = t * s.frame_interval_min
    light = np.ones((s.height_px, s.width_px))
    labels = np.zeros((s.height_px, s.width_px), np.uint32)
    radius = np.sqrt(_area(cells, now) / np.pi)
    for k in np.flatnonzero(cells.landing_min <= now):
        reach = radius[k] + 3.0
        low = np.maximum(((cells.yx[k] - reach) / s.pixel_size_um).astype(int), 0)
        high = np.minimum(((cells.yx[k] + reach) / s.pixel_size_um).astype(int) + 2, light.shape)
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        y, x = np.mgrid[window]
        r = np.hypot(y * s.pixel_size_um - cells.yx[k, 0], x * s.pixel_size_um - cells.yx[k, 1])
        inside = r < radius[k]
        labels[window][inside] = k + 1
        edge = 1 / (1 + np.exp((r - radius[k]) / 0.12))
        since = now - cells.spreading_min[k]
        depth = float(cell_light(since))
        if depth == _HOVERING:  # with rings around the centre
            shade = depth * edge + 0.10 * np.exp(-r / 2.2) * np.cos(2 * np.pi * r / 1.1) * (r < reach)
        else:
            shade = depth * edge
        light[window] += shade
    return Scene((light * background)[None].astype(np.float32), {"cells": labels})


def _truth(s: SpreadingAssay, cells: _Cells) -> dict[str, pl.DataFrame]:
    times = np.arange(s.frames) * s.frame_interval_min
    last = float(times[-1])
    present = times[:, None] >= cells.landing_min
    where = np.broadcast_to(cells.yx, (s.frames, *cells.yx.shape))
    spreading = np.where(cells.spreading_min <= last, cells.spreading_min, np.inf)
    contact = bodies.event_table("contact", cells.landing_min, last)
    lives = pl.DataFrame({
        "track_id": np.arange(1, s.cells + 1), "contact_min": cells.landing_min, "spreading_min": cells.spreading_min,
        "hovering_min": cells.spreading_min - cells.landing_min, "spreading_um2_per_min": cells.growth,
    })  # fmt: skip
    return {
        **bodies.truth_tables("cells", where, times, present),
        "cells_events": pl.concat([contact, bodies.event_table("spreading", spreading, last)]),
        "lives": lives,
        "hovering": pl.DataFrame({"mean_hovering_min": [s.hovering_min]}),
    }


def simulate_spreading(settings: SpreadingAssay, seed: int = 0, name: str = "ricm") -> AssayMovie:
    """Simulate one field of view of a spreading assay.

    Parameters
    ----------
    settings : SpreadingAssay
        Size, calibration, number of cells, dose and times.
    seed : int
        Fixes everything that chance decides.
    name : str
        Name of the movie.

    Returns
    -------
    AssayMovie
        Channel ``ricm``. Truth: objects, members, tracks and events (``contact``, ``spreading``) of ``cells``,
        ``lives`` (times and growth of every cell, also after the end of the movie) and ``hovering`` (mean hovering
        time).
    """
    cells, background = _cells(settings, seed), _background(settings)
    camera = Camera.with_noise(settings.noise, settings.brightness)
    return AssayMovie(
        name=name,
        channels=("ricm",),
        scale=Scale.isotropic(settings.pixel_size_um, settings.frame_interval_min),
        n_frames=settings.frames,
        conditions={"dose_pm": settings.dose_pm},
        truth=_truth(settings, cells),
        seed=seed,
        _cameras=(camera,),
        _scene=lambda t: _scene(settings, cells, background, t),
    )
