"""Cancer cells that arrest on an endothelium under flow.

Cells drift with the stream from the left to the right. Near a junction of the endothelium, and the more the slower the
stream, a cell slows down and stays; when the stream is strong again some are washed off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kinocyte.core.method import Method, param
from kinocyte.core.scale import Scale
from kinocyte.simulation.assays import bodies
from kinocyte.simulation.assays.bodies import Field, Floats
from kinocyte.simulation.assays.movie import AssayMovie, Camera, Scene

_JUNCTION_UM = 1.2


class AdhesionAssay(Method):
    """Settings of one field of view of an adhesion assay."""

    kind: ClassVar[str] = "simulation"

    method: Literal["flow"] = "flow"
    frames_per_flow: int = param(40, ge=5, help="Frames of each stretch of constant flow.")
    flows_um_per_s: tuple[float, ...] = param(
        (400.0, 200.0, 100.0, 400.0), help="Speed of the stream in each stretch; the last is the wash.", unit="um/s"
    )
    height_px: int = param(240, ge=32, help="Height of the image.", unit="px")
    width_px: int = param(320, ge=32, help="Width of the image.", unit="px")
    pixel_size_um: float = param(0.9, gt=0, help="Height and width of a pixel.", unit="um")
    frames_per_s: float = param(25.0, gt=0, help="Frames per second.", unit="1/s")
    arrivals_per_s: float = param(3.0, ge=0, help="Cells that come in per second at a flow of 100 um/s.", unit="1/s")
    stickiness_per_s: float = param(1.5, ge=0, help="Arrests per second beside a junction at 100 um/s.", unit="1/s")
    flow_power: float = param(1.5, ge=0, help="How steeply arrests fall with the flow; 0: not at all.")
    junction_reach_um: float = param(6.0, gt=0, help="Distance from a junction over which stickiness fades.", unit="um")
    wash_off: float = param(0.15, ge=0, le=1, help="Share of arrested cells that the wash takes off.")
    arrested_at_start: int = param(3, ge=0, help="Cells that are arrested in the first frame.")
    cell_radius_um: float = param(7.0, gt=0, help="Mean radius of a cancer cell.", unit="um")
    endothelial_um: float = param(45.0, gt=0, help="Mean distance of endothelial nuclei.", unit="um")
    noise: float = param(0.03, gt=0, le=0.5, help="Standard deviation of a pixel relative to the background.")

    @property
    def frames(self) -> int:
        """Return the number of frames."""
        return self.frames_per_flow * len(self.flows_um_per_s)

    @property
    def field(self) -> Field:
        """Return the field of view."""
        return Field(self.height_px, self.width_px, self.pixel_size_um)

    def flow(self, frame: int) -> float:
        """Return the speed of the stream in a frame."""
        return self.flows_um_per_s[min(frame // self.frames_per_flow, len(self.flows_um_per_s) - 1)]


@dataclass(frozen=True, eq=False)
class _Bed:
    """The endothelium: its nuclei, the distance of every pixel to a junction, its light without cancer cells."""

    nuclei: Floats
    junctions: NDArray[np.bool_]
    distance_um: Floats
    light: NDArray[np.float32]

    def distance(self, yx: Floats, pixel_um: float) -> Floats:
        at = np.clip(np.rint(yx / pixel_um).astype(int), 0, np.array(self.distance_um.shape) - 1)
        found: Floats = self.distance_um[at[:, 0], at[:, 1]]
        return found


def _bed(s: AdhesionAssay, rng: np.random.Generator) -> _Bed:
    from scipy.ndimage import distance_transform_edt

    size = s.field.size_um
    n = max(4, round(float(np.prod(size + 2 * s.endothelial_um)) / s.endothelial_um**2))
    at = bodies.scatter(rng, n, size + 2 * s.endothelial_um, 0.9 * s.endothelial_um) - s.endothelial_um
    y, x = np.mgrid[: s.height_px, : s.width_px] * s.pixel_size_um
    near, _ = cKDTree(at).query(np.column_stack([y.ravel(), x.ravel()]), k=2)
    junctions = (near[:, 1] - near[:, 0] < 2 * _JUNCTION_UM).reshape(y.shape)
    away: Floats = distance_transform_edt(~junctions) * s.pixel_size_um
    light = np.stack([1 - 0.06 * np.exp(-((away / 2.0) ** 2)), 0.05 + 1.2 * np.exp(-((away / 1.5) ** 2))])
    return _Bed(at, junctions, away, light.astype(np.float32))


@dataclass(eq=False)
class _Cell:
    number: int
    radius: float
    pace: float
    path: dict[int, Floats]
    arrest_frame: int | None = None
    loose_frame: int | None = None

    def adheres(self, frame: int) -> bool:
        arrested = self.arrest_frame is not None and self.arrest_frame <= frame
        return arrested and (self.loose_frame is None or frame < self.loose_frame)


def _run(s: AdhesionAssay, bed: _Bed, rng: np.random.Generator) -> list[_Cell]:
    size, dt = s.field.size_um, 1 / s.frames_per_s
    cells: list[_Cell] = []
    alive: list[tuple[_Cell, Floats]] = []

    def add(at: Floats) -> _Cell:
        radius = s.cell_radius_um * float(rng.lognormal(0, 0.08))
        cell = _Cell(len(cells) + 1, radius, float(rng.uniform(0.75, 1.15)), {})
        cells.append(cell)
        alive.append((cell, at))
        return cell

    for at in bodies.scatter(rng, s.arrested_at_start, size, 4 * s.cell_radius_um):
        add(at).arrest_frame = 0
    for frame in range(s.frames):
        flow = s.flow(frame)
        for _ in range(rng.poisson(s.arrivals_per_s * (flow / 100) ** 0.3 * dt)):
            add(np.array([rng.uniform(0, size[0]), rng.uniform(0, flow * dt)]))
        staying = []
        for cell, at in alive:
            cell.path[frame] = at
            moved = _next(s, bed, rng, (cell, at), frame)
            if moved[1] <= size[1]:
                staying.append((cell, moved))
        alive = staying
    return cells


def _next(s: AdhesionAssay, bed: _Bed, rng: np.random.Generator, state: tuple[_Cell, Floats], frame: int) -> Floats:
    """Return where a cell is in the next frame; it may arrest, creep or be washed off on the way."""
    cell, at = state
    flow, dt = s.flow(frame), 1 / s.frames_per_s
    if cell.arrest_frame is not None and cell.loose_frame is None:
        wash = frame >= s.frames - s.frames_per_flow
        if wash and rng.random() < 1 - (1 - s.wash_off) ** (1 / s.frames_per_flow):
            cell.loose_frame = frame
        creep: Floats = np.clip(at + rng.normal(0, 0.02, 2), 0, s.field.size_um)
        return creep
    if cell.loose_frame is None:
        gap = float(bed.distance(at[None], s.pixel_size_um)[0])
        rate = s.stickiness_per_s * (flow / 100) ** -s.flow_power * np.exp(-gap / s.junction_reach_um)
        if rng.random() < 1 - np.exp(-rate * dt):
            cell.arrest_frame = frame
            return at
    drifted: Floats = at + np.array([rng.normal(0, 0.3), cell.pace * flow * dt])
    return drifted


def _scene(s: AdhesionAssay, bed: _Bed, cells: list[_Cell], t: int) -> Scene:
    light = bed.light.copy()
    labels = np.zeros((s.height_px, s.width_px), np.uint32)
    for cell in cells:
        if t not in cell.path:
            continue
        at = cell.path[t]
        reach = cell.radius + 4.0
        low = np.maximum(((at - reach) / s.pixel_size_um).astype(int), 0)
        high = np.minimum(((at + reach) / s.pixel_size_um).astype(int) + 2, labels.shape)
        window = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
        y, x = np.mgrid[window]
        r = np.hypot(y * s.pixel_size_um - at[0], x * s.pixel_size_um - at[1])
        labels[window][r < cell.radius] = cell.number
        body = 1 / (1 + np.exp((r - cell.radius) / 0.5))
        light[0][window] += 0.45 * body - 0.35 * np.exp(-(((r - cell.radius - 0.6) / 0.9) ** 2))
    return Scene(light, {"cells": labels})


def _truth(s: AdhesionAssay, bed: _Bed, cells: list[_Cell]) -> dict[str, pl.DataFrame]:
    interval = 1 / s.frames_per_s / 60
    times = np.arange(s.frames) * interval
    n = len(cells)
    where, present = np.zeros((s.frames, n, 2)), np.zeros((s.frames, n), bool)
    for k, cell in enumerate(cells):
        for t, at in cell.path.items():
            where[t, k], present[t, k] = at, True
    arrested = [np.inf if c.arrest_frame is None else c.arrest_frame * interval for c in cells]
    stopped = [c for c in cells if c.arrest_frame is not None]
    at = np.array([c.path[c.arrest_frame or 0] for c in stopped]).reshape(-1, 2)
    landings = pl.DataFrame({
        "track_id": [c.number for c in stopped], "arrest_frame": [c.arrest_frame for c in stopped],
        "loose_frame": pl.Series([c.loose_frame for c in stopped], dtype=pl.Int64),
        "flow_um_per_s": [s.flow(c.arrest_frame or 0) for c in stopped],
        "junction_distance_um": bed.distance(at, s.pixel_size_um),
    })  # fmt: skip
    adhering = pl.DataFrame({
        "frame": np.arange(s.frames), "time_min": times, "flow_um_per_s": [s.flow(t) for t in range(s.frames)],
        "adhering": [sum(c.adheres(t) for c in cells) for t in range(s.frames)],
    })  # fmt: skip
    return {
        **bodies.truth_tables("cells", where, times, present),
        "cells_events": bodies.event_table("arrest", np.array(arrested), float(times[-1])),
        "landings": landings,
        "adhering": adhering,
    }


def simulate_adhesion(settings: AdhesionAssay, seed: int = 0, name: str = "flow") -> AssayMovie:
    """Simulate one field of view of an adhesion assay.

    Parameters
    ----------
    settings : AdhesionAssay
        Size, calibration, stretches of flow, arrivals and stickiness.
    seed : int
        Fixes everything that chance decides.
    name : str
        Name of the movie.

    Returns
    -------
    AssayMovie
        Channels ``brightfield`` and ``junctions``. Truth: objects, members, tracks and events (``arrest``) of
        ``cells``, ``landings`` (where, when and at which flow each cell arrested, and whether it was washed off) and
        ``adhering`` (arrested cells in every frame).
    """
    rng = np.random.default_rng([seed, 51])
    bed = _bed(settings, rng)
    cells = _run(settings, bed, rng)
    camera = Camera.with_noise(settings.noise, 1000.0)
    return AssayMovie(
        name=name,
        channels=("brightfield", "junctions"),
        scale=Scale.isotropic(settings.pixel_size_um, 1 / settings.frames_per_s / 60),
        n_frames=settings.frames,
        conditions={"stickiness_per_s": settings.stickiness_per_s},
        truth=_truth(settings, bed, cells),
        seed=seed,
        _cameras=(camera, camera),
        _scene=lambda t: _scene(settings, bed, cells, t),
    )
