"""Drawing bodies and moving them: what the simulated assays share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kinocyte.core.schema import EVENTS, MEMBERS, OBJECTS, TRACKS, conform

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Field:
    """A rectangular field of view."""

    height_px: int
    width_px: int
    pixel_size_um: float

    @property
    def size_um(self) -> Floats:
        """Return height and width from the first to the last pixel centre."""
        return (np.array([self.height_px, self.width_px]) - 1) * self.pixel_size_um


def draw(
    field: Field, yx_um: Floats, semi_axes_um: Floats, light: Mapping[str, Floats], look: Mapping[str, Any]
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Draw soft, textured ellipses.

    Parameters
    ----------
    field : Field
        The field of view.
    yx_um : array, (n, 2)
        Centres.
    semi_axes_um : array, (n, 2)
        Long and short semi-axis.
    light : mapping
        ``main`` and, where there is one, ``second``: brightness of each body in two channels, (n,).
    look : mapping
        ``angle`` (n,), ``texture_shift`` (n, 3), ``softness_um`` and ``texture`` (numbers), ``id`` (n,) from 1.

    Returns
    -------
    light : array of float32, (2, y, x)
        The brightest body wins.
    labels : array of uint32, (y, x)
        The body in which the pixel lies deepest.
    """
    from kinocyte.simulation._cells_render import _draw, _texture_tile

    n = len(yx_um)
    zero = np.zeros(n)
    mean_axis = np.sqrt(semi_axes_um[:, 0] * semi_axes_um[:, 1]) if n else zero
    second = light.get("second", zero)
    cells = np.column_stack([
        zero, yx_um, semi_axes_um, mean_axis, look["angle"], zero + 0.05, light["main"], second, look["texture_shift"],
    ]) if n else np.zeros((0, 13))  # fmt: skip
    shown = np.zeros((2, 1, field.height_px, field.width_px), np.float32)
    owner = np.zeros((1, field.height_px, field.width_px), np.uint32)
    step = np.array([1.0, field.pixel_size_um, field.pixel_size_um])
    appearance = (step, float(look["softness_um"]), float(look["texture"]))
    _draw(cells, look["id"].astype(np.uint32), appearance, _texture_tile(), (shown, owner))
    return shown[:, 0], owner[0]


def scatter(rng: np.random.Generator, n: int, size_um: Floats, distance_um: float) -> Floats:
    """Return n places in a field that keep a distance where they can: drawn at random, then pushed apart."""
    at = rng.uniform(0, 1, (n, 2)) * size_um
    for _ in range(200):
        if not push_apart(at, np.full(n, distance_um / 2), size_um):
            break
    return at


def push_apart(yx_um: Floats, radius_um: Floats, size_um: Floats, share: float = 1.0) -> bool:
    """Move bodies that overlap away from each other, in place; tell whether any did."""
    if len(yx_um) < 2:
        return False
    pairs = cKDTree(yx_um).query_pairs(2 * float(radius_um.max()), output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    apart = yx_um[pairs[:, 0]] - yx_um[pairs[:, 1]]
    distance = np.maximum(np.hypot(*apart.T), 1e-9)
    overlap = radius_um[pairs].sum(axis=1) - distance
    near = overlap > 1e-3
    move = share * (0.5 * overlap[near] / distance[near])[:, None] * apart[near]
    np.add.at(yx_um, pairs[near, 0], move)
    np.add.at(yx_um, pairs[near, 1], -move)
    np.clip(yx_um, 0, size_um, out=yx_um)
    return bool(near.any())


def wander(
    rng: np.random.Generator, velocity: Floats, sd_um_per_min: float, persistence_min: float, dt: float
) -> Floats:
    """Return velocities one step later: an Ornstein-Uhlenbeck process, exact for any step."""
    keep = np.exp(-dt / max(persistence_min, 1e-9))
    kick: Floats = rng.normal(0, sd_um_per_min * np.sqrt(1 - keep * keep), velocity.shape)
    moved: Floats = velocity * keep + kick
    return moved


def bounce(yx_um: Floats, velocity: Floats, size_um: Floats) -> None:
    """Turn bodies round at the edge of the field, in place."""
    for axis in range(2):
        out = (yx_um[:, axis] < 0) | (yx_um[:, axis] > size_um[axis])
        velocity[out, axis] *= -1
    np.clip(yx_um, 0, size_um, out=yx_um)


def truth_tables(
    population: str, yx_um: Floats, times_min: NDArray[np.floating[Any]], present: NDArray[np.bool_] | None = None
) -> dict[str, pl.DataFrame]:
    """Return objects, members and tracks of cells that never divide.

    Parameters
    ----------
    population : str
        Prefix of the names of the tables.
    yx_um : array, (t, n, 2)
        Where each cell is in each frame.
    times_min : array, (t,)
        Time of the frames.
    present : array of bool, (t, n), optional
        Where a cell is in sight; everywhere if left out.
    """
    n_frames, n = yx_um.shape[:2]
    shown = np.ones((n_frames, n), bool) if present is None else present
    frame, track = np.nonzero(shown)
    objects = pl.DataFrame({
        "object_id": np.arange(1, frame.size + 1), "frame": frame, "label": track + 1, "time_min": times_min[frame],
        "x_um": yx_um[frame, track, 1], "y_um": yx_um[frame, track, 0], "z_um": np.zeros(frame.size),
    })  # fmt: skip
    members = pl.DataFrame({"object_id": np.arange(1, frame.size + 1), "track_id": track + 1})
    seen = np.flatnonzero(shown.any(axis=0))
    tracks = pl.DataFrame({
        "track_id": seen + 1, "parent_id": pl.Series([None] * seen.size, dtype=pl.Int64), "root_id": seen + 1,
        "generation": np.zeros(seen.size, np.int32), "first_frame": shown[:, seen].argmax(axis=0),
        "last_frame": n_frames - 1 - shown[::-1, seen].argmax(axis=0),
    })  # fmt: skip
    return {
        f"{population}_objects": conform(objects, OBJECTS, table="objects"),
        f"{population}_members": conform(members, MEMBERS, table="members"),
        f"{population}_tracks": conform(tracks, TRACKS, table="tracks"),
    }


def event_table(name: str, time_min: Floats, last_min: float | Floats) -> pl.DataFrame:
    """Return the true events of cells: ``event`` within the movie, ``censored_left`` before it, else ``none``.

    Parameters
    ----------
    name : str
        Name of the event.
    time_min : array, (n,)
        When it happens; negative or 0 before the first frame, infinite for never.
    last_min : float or array
        Time of the last frame of each cell.
    """
    happened = (time_min > 0) & (time_min <= last_min)
    classes = np.where(happened, "event", np.where(time_min <= 0, "censored_left", "none"))
    table = pl.DataFrame({
        "track_id": np.arange(1, time_min.size + 1), "event": [name] * time_min.size, "class": classes,
        "time_min": pl.Series(np.where(happened, time_min, np.nan), nan_to_null=True),
        "time_se_min": pl.Series([0.0] * time_min.size), "confidence": pl.Series([1.0] * time_min.size),
    })  # fmt: skip
    return conform(table, EVENTS, table="events")
