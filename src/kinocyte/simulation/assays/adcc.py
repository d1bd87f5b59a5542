"""Killing of target cells by effector cells under an antibody (ADCC).

Targets hardly move; effectors wander, bind targets and, while bound, kill at a rate that depends on the dose. A dying
target lights up with the death dye and its nucleus contracts; an effector that kills shows a degranulation marker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.method import Method, param
from kinocyte.core.scale import Scale
from kinocyte.simulation.assays import bodies
from kinocyte.simulation.assays.bodies import Field, Floats
from kinocyte.simulation.assays.movie import AssayMovie, Camera, Scene

_STEP_MIN = 0.5
#: time constants of the death dye and of the contraction of the nucleus
_DYE_MIN, _CONTRACTION_MIN = 2.0, 6.0
_DEAD_RADIUS = 0.78
#: an effector degranulates at most so long before its victim dies
_FROM_HIT_TO_DEATH_MIN = 10.0
#: an effector that left a target does not bind again at once
_REST_MIN = 8.0


class KillingAssay(Method):
    """Settings of one field of view of a killing assay."""

    kind: ClassVar[str] = "simulation"

    method: Literal["adcc"] = "adcc"
    frames: int = param(60, ge=2, help="Number of frames.")
    height_px: int = param(384, ge=32, help="Height of the image.", unit="px")
    width_px: int = param(384, ge=32, help="Width of the image.", unit="px")
    pixel_size_um: float = param(0.62, gt=0, help="Height and width of a pixel.", unit="um")
    frame_interval_min: float = param(3.0, gt=0, help="Time between frames.", unit="min")
    targets: int = param(40, ge=1, help="Number of target cells.")
    effectors: int = param(60, ge=0, help="Number of effector cells.")
    dose_pm: float = param(100.0, ge=0, help="Antibody in picomole per litre.")
    ec50_pm: float = param(20.0, gt=0, help="Dose at half of the highest killing rate, in picomole per litre.")
    basal_killing_per_h: float = param(0.2, ge=0, help="Deaths per hour of contact without antibody.", unit="1/h")
    maximal_killing_per_h: float = param(3.0, ge=0, help="Deaths per hour of contact at a saturating dose.", unit="1/h")
    spontaneous_death_per_h: float = param(0.02, ge=0, help="Deaths per hour without any effector.", unit="1/h")
    dead_at_start: float = param(0.03, ge=0, le=1, help="Share of targets that are dead in the first frame.")
    crowding_protection: float = param(
        0.0, ge=0, le=0.2, help="Share by which each target neighbour within 32 um lowers the killing rate."
    )
    target_radius_um: float = param(6.5, gt=0, help="Mean radius of a target's nucleus.", unit="um")
    effector_radius_um: float = param(4.0, gt=0, help="Mean radius of an effector.", unit="um")
    effector_speed_um_per_min: float = param(3.0, ge=0, help="Mean speed of a free effector.", unit="um/min")
    bound_speed_um_per_min: float = param(0.4, ge=0, help="Mean speed of a bound effector.", unit="um/min")
    residence_min: float = param(20.0, gt=0, help="Mean time an effector stays bound.", unit="min")
    snr: float = param(8.0, gt=0, le=100, help="Signal of a nucleus above background, divided by its noise.")

    @property
    def killing_per_h(self) -> float:
        """Return the rate at which a bound effector kills at this dose."""
        share = self.dose_pm / (self.dose_pm + self.ec50_pm)
        return self.basal_killing_per_h + (self.maximal_killing_per_h - self.basal_killing_per_h) * share

    @property
    def field(self) -> Field:
        """Return the field of view."""
        return Field(self.height_px, self.width_px, self.pixel_size_um)

    @property
    def contact_um(self) -> float:
        """Return the distance of the centres of a bound pair."""
        return self.target_radius_um + self.effector_radius_um


@dataclass(frozen=True, eq=False)
class _Lives:
    """Everything that happens, sampled at the frames; times are in minutes, infinite for never."""

    target_yx: Floats
    effector_yx: Floats
    bound_to: NDArray[np.int64]
    death_min: Floats
    killer: NDArray[np.int64]
    contact_min: Floats
    degranulation_min: Floats
    target_radius: Floats
    effector_radius: Floats


class _Dish:
    """The state of all cells, moved on in small steps."""

    def __init__(self, s: KillingAssay, rng: np.random.Generator) -> None:
        self.s, self.rng = s, rng
        n, m = s.targets, s.effectors
        self.target_radius = s.target_radius_um * rng.lognormal(0, 0.08, n)
        self.effector_radius = s.effector_radius_um * rng.lognormal(0, 0.08, m)
        size = s.field.size_um
        self.targets = bodies.scatter(rng, n, size, 2.4 * s.target_radius_um)
        self.effectors = bodies.scatter(rng, m, size, 2.2 * s.effector_radius_um)
        self.drift = np.zeros((n, 2))
        self.velocity = rng.normal(0, s.effector_speed_um_per_min / 1.2533, (m, 2))
        self.bound = np.full(m, -1)
        self.free_from = np.zeros(m)
        self.leaves = np.zeros(m)
        self.since = np.full(m, np.inf)
        self.anchor = np.zeros((m, 2))
        self.death = np.where(rng.random(n) < s.dead_at_start, 0.0, np.inf)
        spontaneous = rng.exponential(size=n) * 60 / max(s.spontaneous_death_per_h, 1e-12)
        self.spontaneous = np.where(self.death <= 0, np.inf, spontaneous)
        self.tolerance = rng.exponential(size=n)  # dies when the dose of contact that it took reaches this
        self.taken = np.zeros(n)
        self.killer = np.full(n, -1)
        self.contact = np.full(n, np.inf)
        self.degranulation = np.full(m, np.inf)
        near = np.hypot(*(self.targets[:, None] - self.targets[None]).T) <= 32
        crowd = near.sum(axis=0) - 1
        self.rate = s.killing_per_h / 60 * np.clip(1 - s.crowding_protection * crowd, 0.05, 1)

    def step(self, now: float) -> None:
        """Move everything on to ``now``."""
        s, rng, size = self.s, self.rng, self.s.field.size_um
        self.drift = bodies.wander(rng, self.drift, 0.05, 30.0, _STEP_MIN)
        self.targets += self.drift * _STEP_MIN
        np.clip(self.targets, 0, size, out=self.targets)
        self.velocity = bodies.wander(rng, self.velocity, s.effector_speed_um_per_min / 1.2533, 4.0, _STEP_MIN)
        free = self.bound < 0
        self.effectors[free] += self.velocity[free] * _STEP_MIN
        bodies.bounce(self.effectors, self.velocity, size)
        self._leave(now)
        self._bind(now)
        self._stay()
        bodies.push_apart(self.effectors, self.effector_radius, size, share=0.5)
        self._kill(now)

    def _leave(self, now: float) -> None:
        gone = (self.bound >= 0) & (now >= self.leaves)
        self.bound[gone] = -1
        self.free_from[gone] = now + _REST_MIN
        self.since[gone] = np.inf

    def _bind(self, now: float) -> None:
        """Bind free effectors that touch a living target, the nearest one."""
        free = np.flatnonzero((self.bound < 0) & (now >= self.free_from))
        alive = np.flatnonzero(self.death > now)
        if not free.size or not alive.size:
            return
        distance = np.linalg.norm(self.effectors[free][:, None] - self.targets[alive][None], axis=2)
        nearest = distance.argmin(axis=1)
        touching = distance[np.arange(free.size), nearest] < self.s.contact_um
        who, whom = free[touching], alive[nearest[touching]]
        self.bound[who] = whom
        self.leaves[who] = now + self.rng.exponential(self.s.residence_min, who.size)
        self.since[who] = now
        away = self.effectors[who] - self.targets[whom]
        self.anchor[who] = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9) * self.s.contact_um

    def _stay(self) -> None:
        who = np.flatnonzero(self.bound >= 0)
        sd = self.s.bound_speed_um_per_min * _STEP_MIN / 1.2533
        place = self.targets[self.bound[who]] + self.anchor[who]
        self.effectors[who] = place + self.rng.normal(0, max(sd, 1e-9), (who.size, 2))

    def _kill(self, now: float) -> None:
        holding = np.bincount(self.bound[self.bound >= 0], minlength=len(self.targets))
        alive = self.death > now
        self.taken[alive] += (self.rate * holding)[alive] * _STEP_MIN
        dies = alive & (self.taken >= self.tolerance) & (holding > 0)
        for target in np.flatnonzero(dies):
            holders = np.flatnonzero(self.bound == target)
            killer = int(self.rng.choice(holders))
            when = now - _STEP_MIN * float(self.rng.random())
            self.death[target], self.killer[target] = when, killer
            self.contact[target] = min(self.since[killer], when)
            hit = max(self.since[killer], when - _FROM_HIT_TO_DEATH_MIN)
            self.degranulation[killer] = min(self.degranulation[killer], hit)
            self.leaves[holders] = np.minimum(self.leaves[holders], now + self.rng.exponential(6.0, holders.size))
        alone = alive & ~dies & (self.spontaneous <= now)
        self.death[alone] = self.spontaneous[alone]


def _live(s: KillingAssay, seed: int) -> _Lives:
    dish = _Dish(s, np.random.default_rng([seed, 11]))
    steps = max(1, round(s.frame_interval_min / _STEP_MIN))
    targets, effectors, bound = [], [], []
    for frame in range(s.frames):
        targets.append(dish.targets.copy())
        effectors.append(dish.effectors.copy())
        bound.append(dish.bound.copy())
        for k in range(steps):
            dish.step((frame + (k + 1) / steps) * s.frame_interval_min)
    last = (s.frames - 1) * s.frame_interval_min
    return _Lives(
        np.array(targets), np.array(effectors), np.array(bound), np.where(dish.death <= last, dish.death, np.inf),
        dish.killer, dish.contact, dish.degranulation, dish.target_radius, dish.effector_radius,
    )  # fmt: skip


def _scene(s: KillingAssay, lives: _Lives, looks: dict[str, Floats], t: int) -> Scene:
    now = t * s.frame_interval_min
    dead_for = now - lives.death_min
    dead = dead_for >= 0
    dye = np.where(dead, 1 - np.exp(-np.clip(dead_for, 0, 1e6) / _DYE_MIN), 0.0)
    dye[lives.death_min <= 0] = 1.0
    shrunk = np.where(dead, 1 - np.exp(-np.clip(dead_for, 0, 1e6) / _CONTRACTION_MIN), 0.0)
    shrunk[lives.death_min <= 0] = 1.0
    radius = lives.target_radius * (1 - (1 - _DEAD_RADIUS) * shrunk)
    axes = np.column_stack([radius * looks["target_stretch"], radius / looks["target_stretch"]])
    nuclei, target_labels = bodies.draw(
        s.field, lives.target_yx[t], axes,
        {"main": looks["target_light"] * (1 + 0.4 * shrunk), "second": dye * looks["target_dye"]},
        {"angle": looks["target_angle"], "texture_shift": looks["target_texture"], "id": np.arange(s.targets) + 1,
         "softness_um": np.float64(0.6), "texture": np.float64(0.15)},
    )  # fmt: skip
    since = now - lives.degranulation_min
    marker = np.where(since >= 0, np.exp(-np.abs(since) / 40), 0.0)
    axes = np.column_stack([lives.effector_radius * 1.15, lives.effector_radius / 1.15])
    shown, effector_labels = bodies.draw(
        s.field, lives.effector_yx[t], axes,
        {"main": looks["effector_light"], "second": 0.08 + marker},
        {"angle": looks["effector_angle"], "texture_shift": looks["effector_texture"],
         "id": np.arange(s.effectors) + 1, "softness_um": np.float64(0.5), "texture": np.float64(0.1)},
    )  # fmt: skip
    light = np.stack([nuclei[0], nuclei[1], shown[0], shown[1]])
    return Scene(light, {"targets": target_labels, "effectors": effector_labels})


def _looks(s: KillingAssay, seed: int) -> dict[str, Floats]:
    rng = np.random.default_rng([seed, 12])
    n, m = s.targets, s.effectors
    return {
        "target_light": rng.lognormal(-0.02, 0.2, n), "target_dye": rng.lognormal(0, 0.2, n),
        "target_stretch": np.sqrt(rng.uniform(1.05, 1.35, n)), "target_angle": rng.uniform(0, np.pi, n),
        "target_texture": rng.uniform(0, 64, (n, 3)),
        "effector_light": rng.lognormal(-0.02, 0.2, m), "effector_angle": rng.uniform(0, np.pi, m),
        "effector_texture": rng.uniform(0, 64, (m, 3)),
    }  # fmt: skip


def _truth(s: KillingAssay, lives: _Lives) -> dict[str, pl.DataFrame]:
    times = np.arange(s.frames) * s.frame_interval_min
    last = float(times[-1])
    killed = np.flatnonzero((lives.killer >= 0) & np.isfinite(lives.death_min))
    kills = pl.DataFrame({
        "target_track_id": killed + 1, "effector_track_id": lives.killer[killed] + 1,
        "contact_min": lives.contact_min[killed], "death_min": lives.death_min[killed],
    })  # fmt: skip
    frame, effector = np.nonzero(lives.bound_to >= 0)
    contacts = pl.DataFrame({
        "frame": frame.astype(np.int32), "time_min": times[frame], "effector_track_id": effector + 1,
        "target_track_id": lives.bound_to[frame, effector] + 1,
    })  # fmt: skip
    hazard = pl.DataFrame({"killing_per_h": [s.killing_per_h]})
    return {
        **bodies.truth_tables("targets", lives.target_yx, times),
        **bodies.truth_tables("effectors", lives.effector_yx, times),
        "targets_events": bodies.event_table("death", lives.death_min, last),
        "effectors_events": bodies.event_table("degranulation", lives.degranulation_min, last),
        "kills": kills, "contacts": contacts, "hazard": hazard,
    }  # fmt: skip


def simulate_killing(settings: KillingAssay, seed: int = 0, name: str = "adcc") -> AssayMovie:
    """Simulate one field of view of a killing assay.

    Parameters
    ----------
    settings : KillingAssay
        Size, calibration, numbers of cells, dose and rates.
    seed : int
        Fixes everything that chance decides.
    name : str
        Name of the movie.

    Returns
    -------
    AssayMovie
        Channels ``hoechst`` (nuclei of targets), ``pi`` (dead targets), ``cfse`` (effectors) and ``lamp1``
        (degranulated effectors). Truth: objects, members, tracks and events of ``targets`` and ``effectors``, ``kills``
        (who killed whom, since when they were in contact, when it died), ``contacts`` (bound pairs in every frame) and
        ``hazard`` (killing rate per hour of contact).
    """
    lives, looks = _live(settings, seed), _looks(settings, seed)
    return AssayMovie(
        name=name,
        channels=("hoechst", "pi", "cfse", "lamp1"),
        scale=Scale.isotropic(settings.pixel_size_um, settings.frame_interval_min),
        n_frames=settings.frames,
        conditions={"dose_pm": settings.dose_pm},
        truth=_truth(settings, lives),
        seed=seed,
        _cameras=(Camera.with_snr(settings.snr),) * 4,
        _scene=lambda t: _scene(settings, lives, looks, t),
    )
