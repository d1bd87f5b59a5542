"""Pixels of a simulated frame: bodies, labels and the camera."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.core.errors import ParameterError

if TYPE_CHECKING:
    from kinocyte.simulation._cells_lineage import Lineages
    from kinocyte.simulation.cells import CellMovie

_TILE = 64
_GUIDE = 4096


@cache
def _texture_tile() -> NDArray[np.float32]:
    """Return a periodic cube of smooth noise, mean 0, standard deviation 1; the same for every movie."""
    noise = np.random.default_rng(20_261).standard_normal((_TILE,) * 3)
    k = np.fft.fftfreq(_TILE)
    r2 = k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, : _TILE // 2 + 1] ** 2
    smooth = np.fft.irfftn(np.fft.rfftn(noise) * np.exp(-2 * (np.pi * 2.0) ** 2 * r2), s=noise.shape, axes=(0, 1, 2))
    smooth = (smooth - smooth.mean()) / smooth.std()
    tile: NDArray[np.float32] = np.clip(smooth, -2, 2).astype(np.float32)
    tile.setflags(write=False)
    return tile


@kernel
def _texture_at(tile, w, v, u):  # type: ignore[no-untyped-def] # pragma: no cover - numba
    """Linear between texture points in the plane, nearest along the third axis."""
    k = math.floor(w) & 63
    fv, fu = math.floor(v), math.floor(u)
    j, i = fv & 63, fu & 63
    dv, du = v - fv, u - fu
    j1, i1 = (j + 1) & 63, (i + 1) & 63
    upper = tile[k, j, i] * (1 - du) + tile[k, j, i1] * du
    lower = tile[k, j1, i] * (1 - du) + tile[k, j1, i1] * du
    return upper * (1 - dv) + lower * dv


@kernel
def _draw(cells, ids, look, tile, out):  # type: ignore[no-untyped-def] # pragma: no cover - numba
    """Draw cells into ``out``, light (c, z, y, x) and owner (z, y, x): brightest wins, deepest inside owns.

    ``cells`` rows: z y x, in-plane semi-axes a b, vertical semi-axis c, angle, wobble, light, dye, texture z y x.
    """
    step, softness, texture = look
    shown, owner = out
    planes, height, width = owner.shape
    depth = np.full(owner.shape, np.float32(1.0))
    for n in range(len(cells)):
        z0, y0, x0, a, b, c, angle, wobble, light, dye, tz, ty, tx = cells[n]
        cos, sin = math.cos(angle), math.sin(angle)
        mean = math.sqrt(a * b)
        # beyond seven edge widths the logistic edge is below 0.1 %
        pad = max(a, b) * (1 + wobble) + 7 * softness
        y_from, y_to = max(0, int((y0 - pad) / step[1])), min(height, int((y0 + pad) / step[1]) + 2)
        x_from, x_to = max(0, int((x0 - pad) / step[2])), min(width, int((x0 + pad) / step[2]) + 2)
        for k in range(planes):
            w = (k * step[0] - z0) / c
            if abs(w) > 1 + 7 * softness / mean:
                continue
            for j in range(y_from, y_to):
                dy = j * step[1] - y0
                for i in range(x_from, x_to):
                    dx = i * step[2] - x0
                    u, v = (dx * cos + dy * sin) / a, (dy * cos - dx * sin) / b
                    flat2 = u * u + v * v
                    flat = math.sqrt(flat2)
                    rho = math.sqrt(flat2 + w * w)
                    if flat > 1e-9:
                        rho /= 1 + wobble * (u * u * u - 3 * u * v * v) / (flat2 * flat)
                    edge = (1 - rho) * mean / softness
                    if edge < -7:
                        continue
                    if rho < depth[k, j, i]:
                        depth[k, j, i] = rho
                        owner[k, j, i] = ids[n]
                    fade = 1 / (1 + math.exp(-edge))
                    grain = 1 + texture * _texture_at(tile, tz + 12 * w, ty + 12 * v, tx + 12 * u)
                    value = fade * max(grain, 0.0)
                    shown[0, k, j, i] = max(shown[0, k, j, i], np.float32(value * light))
                    if shown.shape[0] > 1:
                        shown[1, k, j, i] = max(shown[1, k, j, i], np.float32(value * dye))


def render(lineages: Lineages, settings: CellMovie, t: int) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Return the relative light (c, z, y, x), 1 = an average cell, and the labels (z, y, x) of a frame."""
    of = slice(int(lineages.start[t]), int(lineages.start[t + 1]))
    track = lineages.track[of]
    radius = lineages.radius_um[of]
    stretch = np.sqrt(lineages.elongation[track])
    dead = lineages.dead[of]
    stretch = 1 + (stretch - 1) * (1 - dead)
    cells = np.column_stack([
        lineages.position_um[of], radius * stretch, radius / stretch, radius, lineages.angle_rad[of],
        lineages.wobble[track], lineages.brightness[of], 1.5 * np.sqrt(dead), lineages.texture_shift[track],
    ])  # fmt: skip
    size = (settings.planes or 1, settings.height_px, settings.width_px)
    shown = np.zeros((2 if settings.death_dye else 1, *size), np.float32)
    owner = np.zeros(size, np.uint32)
    step = np.array([settings.plane_distance_um, settings.pixel_size_um, settings.pixel_size_um])
    ids = (track + 1).astype(np.uint32)
    look = (step, settings.edge_softness_um, settings.texture)
    _draw(cells, ids, look, _texture_tile(), (shown, owner))
    _claim_centres(cells[:, :3] / step, ids, owner)
    return shown, owner


def _claim_centres(position_px: NDArray[np.float64], ids: NDArray[np.uint32], owner: NDArray[np.uint32]) -> None:
    """Give every cell a pixel of its own at or beside its centre, also where cells are smaller than pixels."""
    if len(ids) == 0:
        return
    centre = np.minimum(np.rint(position_px).astype(np.int64), np.array(owner.shape) - 1)
    flat = np.ravel_multi_index(tuple(centre.T), owner.shape)
    _, first = np.unique(flat, return_index=True)
    owner.ravel()[flat[first]] = ids[first]
    taken = set(flat.tolist())
    for n in np.setdiff1d(np.arange(len(ids)), first):
        here = _nearest_free(centre[n], owner.shape, taken)
        taken.add(here)
        owner.ravel()[here] = ids[n]


def _nearest_free(centre: NDArray[np.int64], shape: tuple[int, ...], taken: set[int]) -> int:
    """Return the flat place of the nearest pixel that is nobody's centre, in rings of growing size."""
    for reach in range(1, max(shape)):
        axes = [np.arange(max(0, c - reach), min(n, c + reach + 1)) for c, n in zip(centre, shape, strict=True)]
        box = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        for place in box[np.argsort(((box - centre) ** 2).sum(axis=1), kind="stable")]:
            flat = int(np.ravel_multi_index(tuple(place), shape))
            if flat not in taken:
                return flat
    msg = "There are more cells than pixels; take fewer cells or a larger image."
    raise ParameterError(msg)


@cache
def _background_table(mean: float, read_noise: float, gain: float, offset: float) -> tuple[int, Any, Any]:
    """Return the distribution of the grey value of a pixel without signal: lowest value, cumulative, guide.

    ``guide[i]`` is the first place whose cumulative probability exceeds ``i / 4096``, where the search may start.
    """
    from scipy.special import gammaln, ndtr, xlogy

    reach = 12 * math.sqrt(mean) + 20
    photons = np.arange(max(0, int(mean - reach)), int(mean + reach) + 1)
    chance = np.exp(xlogy(photons, mean) - mean - gammaln(photons + 1))
    width = max(8 * read_noise * gain, 1e-9)
    low = math.floor(offset + gain * photons[0] - width)
    of_grey = np.zeros(math.ceil(offset + gain * photons[-1] + width) - low + 3)
    for k, p in zip(photons, chance, strict=True):
        centre = offset + gain * k
        # grey value g is what lies from g - 1/2 to g + 1/2
        edges = np.arange(math.floor(centre - width) - 1, math.ceil(centre + width) + 2) + 0.5
        below = ndtr((edges - centre) / (gain * read_noise)) if read_noise else (edges > centre).astype(np.float64)
        first = math.floor(centre - width) - low
        of_grey[first : first + len(edges) - 1] += p * np.diff(below)
    cumulative = np.cumsum(of_grey).astype(np.float32)
    cumulative[-1] = 2.0
    guide = np.searchsorted(cumulative, np.arange(_GUIDE) / _GUIDE, side="right").astype(np.int32)
    return low, cumulative, guide


@kernel
def _look_up(uniform, low, cumulative, guide, out):  # type: ignore[no-untyped-def] # pragma: no cover - numba
    """Draw a grey value for every uniform number by inverting the distribution; clip to 16 bits."""
    for n in range(len(out)):
        k = guide[int(uniform[n] * 4096)]
        while cumulative[k] <= uniform[n]:
            k += 1
        out[n] = np.uint16(min(max(low + k, 0), 65535))


class _CameraSettings(Protocol):
    """How light becomes grey values."""

    @property
    def signal_photons(self) -> float: ...
    @property
    def background_photons(self) -> float: ...
    @property
    def read_noise_photons(self) -> float: ...
    @property
    def gain_per_photon(self) -> float: ...
    @property
    def offset(self) -> float: ...


def expose(shown: NDArray[np.float32], settings: _CameraSettings, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return the grey values of one channel: photons are Poisson, the camera adds normal noise.

    Pixels without signal all follow one distribution, which is drawn from a table; the rest by the general generators.
    """
    camera = (settings.read_noise_photons, settings.gain_per_photon, settings.offset)
    light = shown.ravel()
    out = np.empty(light.size, np.uint16)
    table = _background_table(settings.background_photons, *camera)
    _look_up(rng.random(light.size, dtype=np.float32), *table, out)
    read_noise, gain, offset = camera
    lit = np.flatnonzero(light > 0)
    photons = rng.poisson(settings.background_photons + light[lit] * settings.signal_photons)
    grey = offset + gain * (photons + read_noise * rng.standard_normal(len(lit)))
    out[lit] = np.clip(np.floor(grey + 0.5), 0, 65535).astype(np.uint16)
    return out.reshape(shown.shape)
