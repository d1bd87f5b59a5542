"""The cell cycle under a drug, told by two colours (FUCCI).

Red rises through G1 and is lost at the start of S, green rises from there to mitosis and is lost when the cell divides:
the nucleus is dark at birth. A drug lengthens G1. A medium change makes
the light of cells and medium jump.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import polars as pl

from kinocyte.core.method import Method, param
from kinocyte.core.scale import Scale
from kinocyte.core.schema import EVENTS, LINKS, MEMBERS, OBJECTS, TRACKS, conform
from kinocyte.simulation.assays import bodies
from kinocyte.simulation.assays.bodies import Field, Floats
from kinocyte.simulation.assays.movie import AssayMovie, Camera, Scene
from kinocyte.simulation.cells import photons_at

_STEP_MIN = 30.0
#: what reaches the camera without any medium
_DARK_PHOTONS = 5.0


class CycleAssay(Method):
    """Settings of one field of view of a cell-cycle assay."""

    kind: ClassVar[str] = "simulation"

    method: Literal["fucci"] = "fucci"
    frames: int = param(40, ge=2, help="Number of frames.")
    height_px: int = param(320, ge=32, help="Height of the image.", unit="px")
    width_px: int = param(320, ge=32, help="Width of the image.", unit="px")
    pixel_size_um: float = param(1.24, gt=0, help="Height and width of a pixel.", unit="um")
    frame_interval_min: float = param(120.0, gt=0, help="Time between frames.", unit="min")
    cells: int = param(14, ge=1, help="Number of cells in the first frame.")
    g1_h: float = param(12.0, gt=0, help="Mean length of G1 without drug.", unit="h")
    rest_h: float = param(14.0, gt=0, help="Mean length of S, G2 and M.", unit="h")
    spread: float = param(0.12, ge=0, le=0.5, help="Spread of both lengths between cells, relative to the mean.")
    g1_delay_h: float = param(0.0, ge=0, help="Hours by which the drug lengthens G1.", unit="h")
    speed_um_per_h: float = param(1.0, ge=0, help="Mean speed of a cell.", unit="um/h")
    radius_um: float = param(8.0, gt=0, help="Mean radius of a nucleus.", unit="um")
    medium_change_frames: tuple[int, ...] = param(
        (), help="Frames from which on a medium change dims cells and medium."
    )
    medium_change_factor: float = param(0.75, gt=0, le=1, help="What remains of the light at each medium change.")
    medium_photons: float = param(30.0, ge=0, help="Photons that a pixel of fresh medium sends; changes dim them too.")
    drift_um_per_h: float = param(0.0, ge=0, help="Speed at which the plate drifts.", unit="um/h")
    snr: float = param(10.0, gt=0, le=100, help="Signal of a nucleus above background, divided by its noise.")

    @property
    def field(self) -> Field:
        """Return the field of view."""
        return Field(self.height_px, self.width_px, self.pixel_size_um)


@dataclass(eq=False)
class _Branch:
    """One cell from birth to division."""

    number: int
    parent: int | None
    root: int
    generation: int
    born_min: float
    g1_min: float
    cycle_min: float
    radius: float
    texture: Floats
    angle: float
    path: dict[int, Floats] = field(default_factory=dict)

    @property
    def divides_min(self) -> float:
        return self.born_min + self.cycle_min

    def colours(self, now: float) -> tuple[float, float]:
        """Return red and green light at a time."""
        age = now - self.born_min
        g1, rest = self.g1_min, self.cycle_min - self.g1_min
        if age < g1:  # red builds up
            return 0.12 + 0.88 * (age / g1) ** 0.8, 0.0
        late = (age - g1) / rest
        return max(0.0, 1.0 - late / 0.15), min(1.0, 0.15 + late / 0.5) if late < 0.97 else 0.5


def _new(
    s: CycleAssay, rng: np.random.Generator, branches: list[_Branch], parent: _Branch | None, now: float
) -> _Branch:
    def length(mean_h: float) -> float:
        return 60 * mean_h * float(np.clip(rng.normal(1, s.spread), 0.5, 1.8))

    g1 = length(s.g1_h + s.g1_delay_h)
    cycle = g1 + length(s.rest_h)
    number = len(branches) + 1
    born = now if parent is not None else now - float(rng.uniform(0, cycle))
    branch = _Branch(
        number, None if parent is None else parent.number, number if parent is None else parent.root,
        0 if parent is None else parent.generation + 1, born, g1, cycle, s.radius_um * float(rng.lognormal(0, 0.07)),
        rng.uniform(0, 64, 3), float(rng.uniform(0, np.pi)),
    )  # fmt: skip
    branches.append(branch)
    return branch


def _grow(s: CycleAssay, seed: int) -> list[_Branch]:
    """Let the cells move and divide and return all branches."""
    rng = np.random.default_rng([seed, 31])
    branches: list[_Branch] = []
    size = s.field.size_um
    at = list(bodies.scatter(rng, s.cells, size, 3 * s.radius_um))
    alive = [_new(s, rng, branches, None, 0.0) for _ in range(s.cells)]
    sd = s.speed_um_per_h / 60 / 1.2533
    velocity = rng.normal(0, sd, (s.cells, 2))
    steps = max(1, round(s.frame_interval_min / _STEP_MIN))
    for frame in range(s.frames):
        for cell, place in zip(alive, at, strict=True):
            cell.path[frame] = place.copy()
        for k in range(steps):
            now = (frame + (k + 1) / steps) * s.frame_interval_min
            dt = s.frame_interval_min / steps
            velocity = bodies.wander(rng, velocity, sd, 120.0, dt)
            moved = np.array(at) + velocity * dt
            bodies.bounce(moved, velocity, size)
            for _ in range(3):
                bodies.push_apart(moved, np.full(len(moved), s.radius_um * 1.05), size)
            alive, at, velocity = _divide(s, rng, branches, (alive, list(moved), velocity), now)
    return branches


_State = tuple[list[_Branch], list[Floats], Floats]


def _divide(s: CycleAssay, rng: np.random.Generator, branches: list[_Branch], state: _State, now: float) -> _State:
    alive, at, velocity = state
    cells, places, speeds = [], [], []
    for cell, place, speed in zip(alive, at, velocity, strict=True):
        if cell.divides_min > now:
            cells.append(cell)
            places.append(place)
            speeds.append(speed)
            continue
        turn = rng.uniform(0, np.pi)
        apart = 0.9 * s.radius_um * np.array([np.sin(turn), np.cos(turn)])
        for sign in (1, -1):
            cells.append(_new(s, rng, branches, cell, cell.divides_min))
            places.append(np.clip(place + sign * apart, 0, s.field.size_um))
            speeds.append(-speed if sign < 0 else speed)
    return cells, places, np.array(speeds)


def _signal_photons(s: CycleAssay) -> float:
    """Return the photons of a pixel whose light is 1, such that it stands out of its own noise as asked."""
    return photons_at(s.snr, s.medium_photons + _DARK_PHOTONS, Camera.read_noise_photons)


def _scene(s: CycleAssay, branches: list[_Branch], t: int) -> Scene:
    now = t * s.frame_interval_min
    shown = [b for b in branches if t in b.path]
    size = np.array([b.radius * (0.8 + 0.2 * min(1.0, (now - b.born_min) / b.cycle_min)) for b in shown])
    axes = np.column_stack([size * 1.1, size / 1.1])
    where = np.array([b.path[t] for b in shown]).reshape(-1, 2)
    colours = np.array([b.colours(now) for b in shown]).reshape(-1, 2)
    dim = s.medium_change_factor ** sum(t >= f for f in s.medium_change_frames)
    look = {
        "angle": np.array([b.angle for b in shown]), "id": np.array([b.number for b in shown]),
        "texture_shift": np.array([b.texture for b in shown]).reshape(-1, 3),
        "softness_um": np.float64(0.9), "texture": np.float64(0.1),
    }  # fmt: skip
    light, labels = bodies.draw(
        s.field, where, axes, {"main": colours[:, 0] * dim, "second": colours[:, 1] * dim}, look
    )
    medium = s.medium_photons / _signal_photons(s)
    return Scene((light + medium * dim).astype(np.float32), {"nuclei": labels})


def _truth(s: CycleAssay, branches: list[_Branch], drift: Floats) -> dict[str, pl.DataFrame]:
    size = s.field.size_um
    for b in branches:  # what the drift has carried out of sight is no object
        b.path = {
            t: at + drift[t] for t, at in b.path.items() if ((at + drift[t] >= 0) & (at + drift[t] <= size)).all()
        }
    rows = sorted((t, b.number, t * s.frame_interval_min, *at[::-1]) for b in branches for t, at in b.path.items())
    frame, track, time, x, y = (np.array(c) for c in zip(*rows, strict=True))
    ids = np.arange(1, len(rows) + 1)
    objects = pl.DataFrame({"object_id": ids, "frame": frame, "label": track, "time_min": time, "x_um": x, "y_um": y,
                            "z_um": np.zeros(len(rows))})  # fmt: skip
    members = pl.DataFrame({"object_id": ids, "track_id": track})
    seen = [b for b in branches if b.path]
    tracks = pl.DataFrame({
        "track_id": [b.number for b in seen], "parent_id": pl.Series([b.parent for b in seen], dtype=pl.Int64),
        "root_id": [b.root for b in seen], "generation": [b.generation for b in seen],
        "first_frame": [min(b.path) for b in seen], "last_frame": [max(b.path) for b in seen],
    })  # fmt: skip
    last = (s.frames - 1) * s.frame_interval_min
    divided = np.array([b.divides_min if b.divides_min <= last else np.inf for b in seen])
    g1_end = np.array([b.born_min + b.g1_min for b in seen])
    g1_end = np.where(g1_end <= last, g1_end, np.inf)
    events = pl.concat([bodies.event_table(n, at, last) for n, at in (("division", divided), ("g1_end", g1_end))])
    events = events.with_columns(pl.Series("track_id", [b.number for b in seen] * 2))
    cycles = pl.DataFrame({
        "track_id": [b.number for b in seen], "generation": [b.generation for b in seen],
        "born_min": [b.born_min for b in seen], "g1_h": [b.g1_min / 60 for b in seen],
        "cycle_h": [b.cycle_min / 60 for b in seen],
    })  # fmt: skip
    return {
        "nuclei_objects": conform(objects, OBJECTS, table="objects"),
        "nuclei_members": conform(members, MEMBERS, table="members"),
        "nuclei_tracks": conform(tracks, TRACKS, table="tracks"),
        "nuclei_links": _links(objects, members, tracks),
        "nuclei_events": conform(events, EVENTS, table="events"),
        "cycles": cycles,
    }


def _links(objects: pl.DataFrame, members: pl.DataFrame, tracks: pl.DataFrame) -> pl.DataFrame:
    along = objects.join(members, on="object_id").sort("track_id", "frame")
    inner = along.select(
        pl.col("object_id").alias("source_id"),
        pl.col("object_id").shift(-1).over("track_id").alias("target_id"),
    ).drop_nulls()
    first = along.group_by("track_id").agg(pl.col("object_id").first().alias("target_id"))
    last = along.group_by("track_id").agg(pl.col("object_id").last().alias("source_id"))
    born = tracks.filter(pl.col("parent_id").is_not_null()).join(first, on="track_id")
    born = born.join(last, left_on="parent_id", right_on="track_id").select("source_id", "target_id")
    links = pl.concat([inner, born]).with_columns(cost=None, frame_gap=1, confidence=1.0).sort("source_id", "target_id")
    return conform(links, LINKS, table="links")


def simulate_cycle(settings: CycleAssay, seed: int = 0, name: str = "fucci") -> AssayMovie:
    """Simulate one field of view of a cell-cycle assay.

    Parameters
    ----------
    settings : CycleAssay
        Size, calibration, number of cells, lengths of the phases, drug, medium changes and drift.
    seed : int
        Fixes everything that chance decides.
    name : str
        Name of the movie.

    Returns
    -------
    AssayMovie
        Channels ``red`` (G1) and ``green`` (S, G2, M). Truth: objects, members, tracks, links and events (``division``,
        ``g1_end``) of ``nuclei``, and ``cycles`` (true length of G1 and of the cycle of every cell).
    """
    branches = _grow(settings, seed)
    walk = np.arange(settings.frames) * settings.frame_interval_min / 60 * settings.drift_um_per_h
    drift = np.column_stack([0.6 * walk, -0.8 * walk])
    truth = _truth(settings, branches, drift)
    return AssayMovie(
        name=name,
        channels=("red", "green"),
        scale=Scale.isotropic(settings.pixel_size_um, settings.frame_interval_min),
        n_frames=settings.frames,
        conditions={"g1_delay_h": settings.g1_delay_h},
        truth=truth,
        seed=seed,
        _cameras=(Camera(_signal_photons(settings), background_photons=_DARK_PHOTONS),) * 2,
        _scene=lambda t: _scene(settings, branches, t),
    )
