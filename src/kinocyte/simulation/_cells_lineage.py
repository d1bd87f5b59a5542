"""Lives of simulated cells: where each one is in each frame, who came from whom, and when it divides or dies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kinocyte.core.errors import ParameterError

if TYPE_CHECKING:
    from kinocyte.simulation.cells import CellMovie

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Share of the dish that bodies may fill; discs jam at about 0.84, balls at about 0.64.
_FULL = {2: 0.75, 3: 0.5}
#: Radius of a newborn relative to its adult radius; half the volume.
_NEWBORN = 2 ** (-1 / 3)
#: Radius of a dead cell relative to its radius when death began.
_SHRUNKEN = 0.6


@dataclass(frozen=True, eq=False)
class Lineages:
    """Truth in columns. Objects are sorted by frame, then track; ``start[t]`` is the first object of frame t."""

    frame: Ints
    track: Ints
    """Index into the arrays of tracks, from 0."""
    position_um: Floats
    """(n, 3), order z y x."""
    radius_um: Floats
    angle_rad: Floats
    brightness: Floats
    dead: Floats
    """0 alive to 1 gone."""
    start: Ints
    parent: Ints
    """Index of the mother's track, -1 for none."""
    divides_min: Floats
    """Time of division, infinite for none within the movie."""
    dies_min: Floats
    elongation: Floats
    wobble: Floats
    texture_shift: Floats
    """(tracks, 3), place in the texture tile that the cell shows."""


def _mean_wait_min(rate_per_h: float) -> float:
    """Return the mean time to an event; a rate below one in a billion hours is none."""
    return 60 / rate_per_h if rate_per_h > 1e-9 else math.inf


class _Dish:
    """The cells alive at one time, as arrays that grow and shrink together."""

    def __init__(self, settings: CellMovie, rng: np.random.Generator) -> None:
        self.s = settings
        self.rng = rng
        self.size = np.array(settings.size_um)
        self.tracks = 0
        self.parent: list[Ints] = []
        self.state = self._newcomers(np.empty((0, 3)), np.empty(0, np.int64))
        self.ends: list[tuple[Ints, Floats, Floats]] = []

    def _newcomers(self, position: Floats, parent: Ints) -> dict[str, NDArray[Any]]:
        """Return the state of new cells, which move as chance has it."""
        s, rng, n = self.s, self.rng, len(parent)
        velocity = rng.normal(0, s.velocity_sd_um_per_min, (n, 3))
        if s.ndim == 2:
            velocity[:, 0] = 0
        sigma = np.sqrt(np.log1p(s.diameter_cv**2))
        track = np.arange(self.tracks, self.tracks + n)
        self.tracks += n
        self.parent.append(parent)
        return {
            "track": track, "position": position, "velocity": velocity,
            "adult": s.diameter_um / 2 * rng.lognormal(-(sigma**2) / 2, sigma, n),
            "angle": rng.uniform(0, np.pi, n), "spin": rng.normal(0, 0.02, n),
            "born": np.zeros(n), "divides": np.full(n, np.inf), "dies": np.full(n, np.inf),
        }  # fmt: skip

    def _schedule(self, state: dict[str, NDArray[Any]], now: float, rest: float) -> None:
        """Draw when each cell divides and dies; ``rest`` is the time in which it cannot divide."""
        n = len(state["track"])
        divide, die = self.rng.exponential(size=n), self.rng.exponential(size=n)
        state["divides"] = now + rest + divide * _mean_wait_min(self.s.division_rate_per_h)
        state["dies"] = now + die * _mean_wait_min(self.s.death_rate_per_h)

    def populate(self) -> None:
        """Put the first cells into the dish."""
        n = self.s.initial_cells
        self.state = self._newcomers(self.rng.uniform(0, 1, (n, 3)) * self.size, np.full(n, -1))
        self.state["born"] = np.full(n, -np.inf)
        self._schedule(self.state, 0.0, 0.0)
        if self._filled(self.reach(0.0)) > _FULL[self.s.ndim]:
            msg = (
                f"{n} cells of {self.s.diameter_um:g} um at spacing {self.s.spacing:g} do not fit into the image; "
                "take fewer or smaller cells, a larger image or a smaller spacing."
            )
            raise ParameterError(msg)
        self._separate(0.0, rounds=400)

    def radius(self, now: float) -> Floats:
        """Return the present radius of every cell: newborns grow, dying cells shrink."""
        age = now - self.state["born"]
        growth = np.clip(age / max(self.s.shortest_cycle_min, 1e-9), 0, 1)
        adult: Floats = self.state["adult"] * (_NEWBORN + (1 - _NEWBORN) * growth)
        return adult * (1 - (1 - _SHRUNKEN) * self.dead(now))

    def dead(self, now: float) -> Floats:
        """Return how far each cell is on its way from 0, alive, to 1, gone."""
        past = now - self.state["dies"]
        share: Floats = np.where(past >= 0, past / max(self.s.death_duration_min, 1e-9), 0.0)
        return np.clip(share, 0, 1)

    def reach(self, now: float) -> Floats:
        """Return the radius within which a cell keeps others away."""
        return self.s.spacing * self.radius(now)

    def _filled(self, reach: Floats) -> float:
        s = self.s
        area = (s.height_px * s.pixel_size_um) * (s.width_px * s.pixel_size_um)
        if s.ndim == 2:
            return float((np.pi * reach**2).sum() / area)
        depth = (s.planes or 1) * s.plane_distance_um + s.diameter_um
        return float((4 / 3 * np.pi * reach**3).sum() / (area * depth))

    def _walls(self, now: float) -> tuple[Floats, Floats]:
        """Return the lowest and highest place of each centre: bodies stay inside where they can."""
        margin = np.minimum(self.radius(now)[:, None] * 1.1, self.size / 2)
        return margin, self.size - margin

    def _separate(self, now: float, rounds: int) -> None:
        """Push cells apart that are closer than they may be; what is left after the rounds stays."""
        position, reach = self.state["position"].copy(), self.reach(now)
        low, high = self._walls(now)
        np.clip(position, low, high, out=position)
        if len(reach) < 2:
            return
        tolerance = 0.01 * float(reach.mean())
        for _ in range(rounds):
            pairs = cKDTree(position).query_pairs(2 * float(reach.max()), output_type="ndarray")
            i, j = pairs[:, 0], pairs[:, 1]
            apart = position[i] - position[j]
            distance = np.sqrt((apart**2).sum(axis=1))
            overlap = reach[i] + reach[j] - distance
            near = overlap > tolerance
            if not near.any():
                break
            i, j, apart, distance, overlap = i[near], j[near], apart[near], distance[near], overlap[near]
            apart[distance == 0] = (0.0, 0.6, 0.8)
            push = apart * (0.5 * overlap / np.where(distance > 0, distance, 1.0))[:, None]
            for axis in range(3):
                position[:, axis] += np.bincount(i, push[:, axis], len(position))
                position[:, axis] -= np.bincount(j, push[:, axis], len(position))
            np.clip(position, low, high, out=position)
        self.state["position"] = position

    def step(self, now: float) -> None:
        """Move on to the time ``now``: cells go, divide, move and make room."""
        self._remove_dead(now)
        self._divide(now)
        self._move(now)
        self._separate(now, rounds=12)

    def _take(self, keep: NDArray[np.bool_]) -> None:
        self.state = {name: values[keep] for name, values in self.state.items()}

    def _retire(self, which: NDArray[np.bool_], divides: Floats) -> None:
        state = self.state
        dies = np.where(np.isfinite(divides), np.inf, state["dies"][which])
        self.ends.append((state["track"][which], divides, dies))
        self._take(~which)

    def _remove_dead(self, now: float) -> None:
        gone = now >= self.state["dies"] + self.s.death_duration_min
        self._retire(gone, np.full(int(gone.sum()), np.inf))

    def _divide(self, now: float) -> None:
        s, state = self.s, self.state
        due = (now >= state["divides"]) & (state["divides"] < state["dies"])
        if not due.any() or self._filled(self.reach(now)) > _FULL[s.ndim]:
            return
        mothers = {name: values[due] for name, values in state.items()}
        direction = self.rng.normal(size=(int(due.sum()), 3)) * ((s.ndim == 3), 1, 1)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        half = (s.spacing * _NEWBORN * mothers["adult"])[:, None] * direction
        # a division that waited for room happens when there is room, not when it was due
        last = now - s.frame_interval_min
        self._retire(due, np.maximum(mothers["divides"], last))
        position = np.concatenate([mothers["position"] - half, mothers["position"] + half])
        daughters = self._newcomers(position, np.tile(mothers["track"], 2))
        daughters["born"] = np.full(len(position), now)
        self._schedule(daughters, now, s.shortest_cycle_min)
        self.state = {name: np.concatenate([self.state[name], daughters[name]]) for name in daughters}

    def _move(self, now: float) -> None:
        s, state = self.s, self.state
        kept = np.exp(-s.frame_interval_min / s.persistence_min) if s.persistence_min else 0.0
        velocity = state["velocity"]
        kick = self.rng.normal(0, s.velocity_sd_um_per_min, velocity.shape)
        if s.ndim == 2:
            kick[:, 0] = 0
        velocity = kept * velocity + np.sqrt(1 - kept**2) * kick
        velocity[self.dead(now) > 0] = 0
        position = state["position"] + velocity * s.frame_interval_min
        low, high = self._walls(now)
        outside = (position < low) | (position > high)
        velocity[outside] *= -1
        state["velocity"] = velocity
        state["position"] = np.clip(position, low, high)
        turn = state["spin"] * s.frame_interval_min
        state["angle"] = state["angle"] + turn

    def brightness(self, now: float) -> Floats:
        """Return how much brighter than usual each cell is: before division and in death it rounds up."""
        soon = self.state["divides"] - now
        mitotic = np.where(self.state["divides"] < self.state["dies"], np.clip(1 - soon / 20.0, 0, 1), 0.0)
        return 1 + 0.5 * mitotic + 0.6 * self.dead(now)


def simulate_lineages(settings: CellMovie, seed: int) -> Lineages:
    """Return the lives of all cells of a movie; see `kinocyte.simulation.cells.simulate_cells`."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    dish = _Dish(settings, rng)
    dish.populate()
    rows: list[tuple[NDArray[Any], ...]] = []
    for t in range(settings.frames):
        now = t * settings.frame_interval_min
        if t:
            dish.step(now)
        state = dish.state
        # _separate and _take make new arrays at every step, so that rows may keep these
        rows.append((
            np.full(len(state["track"]), t), state["track"], np.array(state["position"]), dish.radius(now),
            state["angle"], dish.brightness(now), dish.dead(now),
        ))  # fmt: skip
    everyone = np.ones(len(dish.state["track"]), bool)
    end = (settings.frames - 1) * settings.frame_interval_min
    last_dies = dish.state["dies"]
    dish.ends.append((dish.state["track"], np.full(everyone.size, np.inf), last_dies))
    columns = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    return _assemble(settings, rng, dish, columns, end)


def _assemble(
    settings: CellMovie, rng: np.random.Generator, dish: _Dish, columns: list[NDArray[Any]], end: float
) -> Lineages:
    n = dish.tracks
    divides, dies = np.full(n, np.inf), np.full(n, np.inf)
    for track, when_divides, when_dies in dish.ends:
        divides[track], dies[track] = when_divides, when_dies
    dies[dies > end] = np.inf
    sigma = np.sqrt(np.log1p(settings.brightness_cv**2))
    glow = rng.lognormal(-(sigma**2) / 2, sigma, n)
    stretch = settings.elongation - 1
    track = columns[1].astype(np.int64)
    shapes = {
        "elongation": 1 + stretch * rng.uniform(0.5, 1.5, n),
        "wobble": rng.uniform(0, 0.1, n),
        "texture_shift": rng.uniform(0, 64, (n, 3)),
    }
    seen = _in_sight(columns[0].astype(np.int64), track, settings, rng)
    frame, track, position, radius, angle, brightness, dead = (c[seen] for c in columns)
    return Lineages(
        frame=frame.astype(np.int64), track=track.astype(np.int64), position_um=position.astype(np.float64),
        radius_um=radius.astype(np.float64), angle_rad=angle.astype(np.float64),
        brightness=brightness.astype(np.float64) * glow[track.astype(np.int64)], dead=dead.astype(np.float64),
        start=np.searchsorted(frame, np.arange(settings.frames + 1)),
        parent=np.concatenate(dish.parent), divides_min=divides, dies_min=dies, **shapes,
    )  # fmt: skip


def _in_sight(frame: Ints, track: Ints, settings: CellMovie, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Tell which objects are seen: gaps lie inside tracks and are no longer than they may be."""
    seen = np.ones(len(frame), bool)
    if settings.gap_rate == 0 or len(frame) == 0:
        return seen
    order = np.lexsort((frame, track))
    missed = rng.random(len(frame)) < settings.gap_rate
    by_track = track[order]
    inner = np.zeros(len(frame), bool)
    inner[1:-1] = (by_track[1:-1] == by_track[:-2]) & (by_track[1:-1] == by_track[2:])
    missed &= inner
    # the place within a run of missed frames: the distance to the last one seen
    index = np.arange(len(frame))
    last_seen = np.maximum.accumulate(np.where(missed, -1, index))
    missed &= (index - last_seen) % (settings.longest_gap_frames + 1) != 0
    seen[order] = ~missed
    return seen
