"""Signalling read from a kinase translocation reporter (ERK-KTR) in migrating cells.

The reporter leaves the nucleus when the kinase is active: the ratio of cytoplasm to nucleus tells the activity. Cells
show pulses of their own, and answer to a stimulus once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import polars as pl

from kinocyte.core.method import Method, param
from kinocyte.core.scale import Scale
from kinocyte.simulation.assays import bodies
from kinocyte.simulation.assays.bodies import Field, Floats
from kinocyte.simulation.assays.movie import AssayMovie, Camera, Scene


class TranslocationAssay(Method):
    """Settings of one field of view of a translocation assay."""

    kind: ClassVar[str] = "simulation"

    method: Literal["erk"] = "erk"
    frames: int = param(60, ge=2, help="Number of frames.")
    height_px: int = param(320, ge=32, help="Height of the image.", unit="px")
    width_px: int = param(320, ge=32, help="Width of the image.", unit="px")
    pixel_size_um: float = param(0.65, gt=0, help="Height and width of a pixel.", unit="um")
    frame_interval_min: float = param(2.0, gt=0, help="Time between frames.", unit="min")
    cells: int = param(25, ge=1, help="Number of cells.")
    stimulus_min: float = param(30.0, ge=0, help="When the growth factor is added.", unit="min")
    response: float = param(0.8, ge=0, le=1, help="Activity that the stimulus adds at its peak.")
    response_delay_min: float = param(4.0, ge=0, help="Mean time from the stimulus to half of the rise.", unit="min")
    adaptation_min: float = param(30.0, gt=0, help="Time in which the response fades.", unit="min")
    basal_activity: float = param(0.1, ge=0, le=1, help="Activity without stimulus.")
    pulses_per_h: float = param(0.4, ge=0, help="Spontaneous pulses of a cell per hour.", unit="1/h")
    ratio_inactive: float = param(0.5, gt=0, help="Ratio of cytoplasm to nucleus without activity.")
    ratio_active: float = param(1.6, gt=0, help="Ratio of cytoplasm to nucleus at full activity.")
    nucleus_radius_um: float = param(6.0, gt=0, help="Mean radius of a nucleus.", unit="um")
    cell_radius_um: float = param(12.0, gt=0, help="Mean radius of a cell.", unit="um")
    speed_um_per_min: float = param(0.5, ge=0, help="Mean speed of a cell.", unit="um/min")
    snr: float = param(12.0, gt=0, le=100, help="Signal of a nucleus above background, divided by its noise.")

    @property
    def field(self) -> Field:
        """Return the field of view."""
        return Field(self.height_px, self.width_px, self.pixel_size_um)


@dataclass(frozen=True, eq=False)
class _Cells:
    yx: Floats
    activity: Floats
    responds_min: Floats
    pulses: pl.DataFrame
    radius: Floats
    stretch: Floats
    angle: Floats
    texture: Floats
    light: Floats


def _activity(s: TranslocationAssay, rng: np.random.Generator) -> tuple[Floats, Floats, pl.DataFrame]:
    """Return the activity (t, n), when each cell answers, and its pulses."""
    times = np.arange(s.frames) * s.frame_interval_min
    n, last = s.cells, float(times[-1])
    delay = rng.gamma(9.0, max(s.response_delay_min, 1e-9) / 9.0, n)
    responds = s.stimulus_min + delay
    since = times[:, None] - responds
    rise = 1 / (1 + np.exp(np.clip(-since / 0.8, -60, 60)))
    activity = s.basal_activity + s.response * rise * np.exp(-np.clip(since, 0, None) / s.adaptation_min)
    rows = []
    for cell in range(n):
        for start in np.sort(rng.uniform(0, last, rng.poisson(s.pulses_per_h * last / 60))):
            activity[:, cell] += 0.5 * np.exp(-(((times - start) / 5.0) ** 2))
            rows.append((cell + 1, float(start)))
    pulses = pl.DataFrame(rows, schema={"track_id": pl.Int64, "pulse_min": pl.Float64}, orient="row")
    return np.clip(activity, 0, 1), responds, pulses


def _cells(s: TranslocationAssay, seed: int) -> _Cells:
    rng = np.random.default_rng([seed, 41])
    n, size = s.cells, s.field.size_um
    at = bodies.scatter(rng, n, size, 2.0 * s.cell_radius_um)
    sd = s.speed_um_per_min / 1.2533
    velocity = rng.normal(0, sd, (n, 2))
    places = []
    radius = s.cell_radius_um * rng.lognormal(0, 0.06, n)
    for _ in range(s.frames):
        places.append(at.copy())
        velocity = bodies.wander(rng, velocity, sd, 20.0, s.frame_interval_min)
        at = at + velocity * s.frame_interval_min
        bodies.bounce(at, velocity, size)
        for _ in range(4):
            bodies.push_apart(at, radius * 0.95, size)
    activity, responds, pulses = _activity(s, rng)
    return _Cells(
        np.array(places), activity, responds, pulses, radius, np.sqrt(rng.uniform(1.0, 1.3, n)),
        rng.uniform(0, np.pi, n), rng.uniform(0, 64, (n, 3)), rng.lognormal(0, 0.15, n),
    )  # fmt: skip


def _ratio(s: TranslocationAssay, activity: Floats) -> Floats:
    return s.ratio_inactive + (s.ratio_active - s.ratio_inactive) * activity


def _scene(s: TranslocationAssay, cells: _Cells, t: int) -> Scene:
    ids = np.arange(1, s.cells + 1)
    look = {"angle": cells.angle, "texture_shift": cells.texture, "id": ids, "softness_um": np.float64(0.6),
            "texture": np.float64(0.05)}  # fmt: skip
    ratio = _ratio(s, cells.activity[t])
    # one amount of reporter a cell: what leaves the nucleus is in the cytoplasm
    share = (s.nucleus_radius_um / s.cell_radius_um) ** 2
    nucleus = cells.light / (share + (1 - share) * ratio)
    axes = np.column_stack([cells.radius * cells.stretch, cells.radius / cells.stretch])
    body, whole = bodies.draw(s.field, cells.yx[t], axes, {"main": nucleus * ratio}, look)
    small = axes * (s.nucleus_radius_um / s.cell_radius_um)
    stain, labels = bodies.draw(s.field, cells.yx[t], small, {"main": cells.light}, look)
    reporter = body[0].copy()
    inside = labels > 0
    grain = body[0][inside] / np.maximum((nucleus * ratio)[np.maximum(whole[inside], 1) - 1], 1e-9)
    reporter[inside] = nucleus[labels[inside] - 1] * np.clip(grain, 0.5, 1.5)
    return Scene(np.stack([stain[0], reporter]).astype(np.float32), {"nuclei": labels, "cells": whole})


def _truth(s: TranslocationAssay, cells: _Cells) -> dict[str, pl.DataFrame]:
    times = np.arange(s.frames) * s.frame_interval_min
    tables = bodies.truth_tables("nuclei", cells.yx, times)
    rows = tables["nuclei_objects"].join(tables["nuclei_members"], on="object_id")
    at = rows["frame"].to_numpy(), rows["track_id"].to_numpy() - 1
    signals = rows.select("object_id", "track_id", "time_min").with_columns(
        activity=pl.Series(cells.activity[at]), ratio=pl.Series(_ratio(s, cells.activity)[at])
    )
    responds = cells.responds_min if s.response > 0 else np.full(s.cells, np.inf)
    return {
        **tables,
        "nuclei_events": bodies.event_table("response", responds, float(times[-1])),
        "signals": signals,
        "pulses": cells.pulses,
    }


def simulate_translocation(settings: TranslocationAssay, seed: int = 0, name: str = "erk") -> AssayMovie:
    """Simulate one field of view of a translocation assay.

    Parameters
    ----------
    settings : TranslocationAssay
        Size, calibration, number of cells, stimulus, response and pulses.
    seed : int
        Fixes everything that chance decides.
    name : str
        Name of the movie.

    Returns
    -------
    AssayMovie
        Channels ``nuclei`` and ``ktr``. Truth: objects, members, tracks and events (``response``) of ``nuclei``,
        ``signals`` (activity and true ratio of every object) and ``pulses``; label images of ``nuclei`` and ``cells``.
    """
    cells = _cells(settings, seed)
    return AssayMovie(
        name=name,
        channels=("nuclei", "ktr"),
        scale=Scale.isotropic(settings.pixel_size_um, settings.frame_interval_min),
        n_frames=settings.frames,
        conditions={"response": settings.response},
        truth=_truth(settings, cells),
        seed=seed,
        _cameras=(Camera.with_snr(settings.snr),) * 2,
        _scene=lambda t: _scene(settings, cells, t),
    )
