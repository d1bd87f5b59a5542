"""From a movie to its drift table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import DRIFT, conform
from kinocyte.registration._align import quality_of
from kinocyte.registration._axial import CommonPlanes, Sections
from kinocyte.registration._axial_steps import stepped
from kinocyte.registration._coarse import Search
from kinocyte.registration._geometry import SHAPE, decomposed
from kinocyte.registration._merge import fill
from kinocyte.registration._prepare import Frames, Preparation, shrink
from kinocyte.registration._spectrum import Image
from kinocyte.registration._tiles import on_tiles
from kinocyte.registration._track import Tracked, Tracker, track
from kinocyte.registration.base import Movie

Floats = NDArray[np.float64]

#: Axial drift, as a share of the planes, above which the lateral drift is taken anew from common planes.
RELOOK = 0.05
#: How often sections along z are cropped anew before the last steps, which need them to a plane only.
AXIAL_ATTEMPTS = 2
#: Longest side of the images from which the lateral drift of stacks is first told, px.
ROUGH_SIDE = 256


@dataclass(frozen=True)
class Plan:
    """Everything `estimate` needs to know, in pixels.

    Parameters
    ----------
    preparation : Preparation
        What is done to frames.
    search : Search
        How they are compared.
    reference : str
        ``global``, ``first``, ``previous`` or ``template``.
    template_frames : int
        Frames of the running template.
    axial : bool
        Estimate dz of stacks too.
    axial_view : str
        Axis along which stacks are projected for dz, ``y`` or ``x``.
    fixed_pattern : str
        ``auto``, ``remove`` or ``keep``.
    total_px : float
        Largest lateral shift against the first frame.
    model : str
        ``translation``, ``rigid``, ``similarity`` or ``affine``.
    """

    preparation: Preparation = field(default_factory=Preparation)
    search: Search = field(default_factory=Search)
    reference: str = "global"
    template_frames: int = 5
    axial: bool = True
    axial_view: str = "y"
    fixed_pattern: str = "auto"
    total_px: float = np.inf
    model: str = "translation"


def checked(movies: Sequence[Movie]) -> tuple[Movie, ...]:
    """Return the channels of a movie after a look at their shapes.

    Raises
    ------
    ParameterError
        If there is no channel, no frame, or channels differ in shape.
    """
    if not movies:
        msg = "There is no channel to estimate drift from; give at least one."
        raise ParameterError(msg)
    shape = tuple(movies[0].shape)
    if len(shape) not in {3, 4}:
        more = " A list holds the channels of a movie: stack frames into one array." if len(movies) > 1 else ""
        more = more or (" Give each channel by itself, in a list or by name." if len(shape) == 5 else "")
        msg = f"A movie has the axes (t, y, x) or (t, z, y, x); this one has the shape {shape}.{more}"
        raise ParameterError(msg)
    if min(shape) < 1:
        msg = f"The movie of shape {shape} is empty; there is nothing to register."
        raise ParameterError(msg)
    for movie in movies[1:]:
        if tuple(movie.shape) != shape:
            msg = f"Channels differ in shape, {tuple(movie.shape)} and {shape}; give channels of one movie."
            raise ParameterError(msg)
    return tuple(movies)


def estimate(movies: Sequence[Movie], plan: Plan, mask: NDArray[Any] | None = None) -> pl.DataFrame:
    """Return the drift table of a movie; see `kinocyte.registration.base.Registrar.estimate`."""
    movies = checked(movies)
    _check_crops(movies[0], plan)
    if mask is not None:
        movies = _masked(movies, mask)
    stack = movies[0].ndim == 4 and plan.preparation.projection != "volume" and movies[0].shape[1] > 1
    if stack and plan.axial:
        found = _stack(movies, plan, mask)
    else:
        found = _plain(movies, plan, mask)
    return _table(found, plan.model)


@dataclass(frozen=True)
class _Found:
    """Shift of each image against frame 0 (p, y, x) in px of the frame, its matrix (y, x), and how sure it is."""

    frames: Frames
    lateral: Tracked
    path: Floats
    known: NDArray[np.bool_]
    matrix: Floats
    axial: Tracked | None = None


def _plain(
    movies: tuple[Movie, ...],
    plan: Plan,
    mask: NDArray[Any] | None,
    *,
    side: int | None = None,
    view: CommonPlanes | None = None,
    start: _Found | None = None,
) -> _Found:
    """Return what projections, planes or volumes tell; images above ``side`` pixels are made smaller.

    Shifts that are known to a few pixels, as far as they are, take the place of the search over all places.
    """
    longest = max(movies[0].shape[-2:])
    frames = Frames(movies, plan.preparation, view=view, least_bin=1 if side is None else max(1, -(-longest // side)))
    search = plan.search
    if frames.volume and frames.shape[0] > 1 and movies[0].ndim == 4:
        search = replace(plan.search, axes=(0, 1, 2), free=(0, 1, 2))
    mask_image = None if mask is None else _mask_image(mask, frames, plan)
    matrix = np.broadcast_to(np.eye(2), (frames.n, 2, 2))
    if plan.model != "translation":
        from kinocyte.registration._models import track_model

        if frames.volume:
            msg = f"model = '{plan.model}' lays projections on each other; choose stack = 'projection'."
            raise ParameterError(msg)
        still = replace(plan, fixed_pattern="keep")
        lateral, matrix = track_model(frames, plan.model, lambda f: _tracked(f, search, still, mask_image), mask_image)
    else:
        lateral = _tracked(frames, search, plan, mask_image, start)
        if side is None and frames.bin > 1 and not frames.volume and lateral.pattern != "removed":
            lateral = on_tiles(frames, lateral, search, None if mask is None else _seen_mask(mask, plan), view)
    trusted = lateral.known & ~_elsewhere(lateral, 0.1 * min(frames.shape[1:]))
    shift, known = _relative(replace(lateral, known=trusted), plan.total_px / frames.bin)
    path = fill(np.where(known[:, None], shift, np.nan), known) * np.array([1.0, frames.bin, frames.bin])
    if not frames.volume:
        path[:, 0] = 0.0
    frames.drop()
    return _Found(frames, lateral, path, known, matrix)


def _stack(movies: tuple[Movie, ...], plan: Plan, mask: NDArray[Any] | None) -> _Found:
    """Return lateral and axial shifts of stacks.

    A rough lateral path lays the sections along z on each other; the axial path then tells which planes all frames
    show, and from these the lateral path is measured.
    """
    if plan.model != "translation":
        found = _plain(movies, plan, mask)
        axial = _axial(movies, plan, found.path, found.known)
        return _with_axial(found, axial)
    rough = _plain(movies, plan, mask, side=ROUGH_SIDE)
    if rough.frames.bin > 1 and rough.known.sum() < 0.9 * len(rough.known):
        rough = _plain(movies, plan, mask)  # fine structure may stay where coarse structure changes
    axial = _axial(movies, plan, rough.path, rough.known)
    depth_px = fill(axial.shift[:, 1:2], axial.known & rough.known)[:, 0]
    first, last = plan.preparation.planes or (0, int(movies[0].shape[1]))
    view = CommonPlanes(plan.preparation, depth_px, last - first)
    if np.ptp(depth_px) > max(1.0, RELOOK * (last - first)) and view.depth >= 0.3 * (last - first):
        again = _plain(movies, plan, mask, view=view, start=rough)
        if again.known.sum() >= rough.known.sum():
            return _with_axial(again, axial)
    return _with_axial(rough if rough.frames.bin == 1 else _plain(movies, plan, mask, start=rough), axial)


def _with_axial(found: _Found, axial: Tracked) -> _Found:
    path = found.path.copy()
    path[:, 0] = fill(axial.shift[:, 1:2], axial.known & found.known)[:, 0]
    return replace(found, path=path, axial=axial)


def _check_crops(movie: Movie, plan: Plan) -> None:
    region, planes = plan.preparation.region, plan.preparation.planes
    height, width = int(movie.shape[-2]), int(movie.shape[-1])
    if region is not None:
        y0, y1, x0, x1 = region
        if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            msg = f"region {region} does not lie in a frame of {height} x {width} px; give y0, y1, x0, x1 inside it."
            raise ParameterError(msg)
    if planes is not None and movie.ndim == 4 and not 0 <= planes[0] < planes[1] <= movie.shape[1]:
        msg = f"planes {planes} do not lie in a stack of {movie.shape[1]} planes; give first and last + 1."
        raise ParameterError(msg)


def _tracked(frames: Frames, search: Search, plan: Plan, mask: Image | None, start: _Found | None = None) -> Tracked:
    if frames.n == 1:
        one = np.ones(1)
        seen = np.array([frames.image(0) is not None])
        sharp = np.where(seen, np.inf, 0.0)
        return Tracked(np.zeros((1, 3)), seen, sharp, one * seen, np.zeros(1), np.zeros(1))
    tracker = Tracker(frames, search, mask)
    if start is not None and start.lateral.pattern != "removed" and plan.reference == "global":
        seen = np.flatnonzero(start.known)
        tracker.start_from(seen.tolist(), start.path[seen] / np.array([1.0, frames.bin, frames.bin]))
        tracker.pattern = start.lateral.pattern
    elif plan.fixed_pattern != "keep" and frames.n >= 4:
        from kinocyte.registration._pattern import remove_pattern

        remove_pattern(tracker, always=plan.fixed_pattern == "remove")
    return track(tracker, plan.reference, template_frames=plan.template_frames)


def _relative(tracked: Tracked, total_px: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Return shifts against frame 0 and which are known; frame 0 may itself be filled in."""
    known = tracked.known.copy()
    shift = fill(tracked.shift, known)
    shift = shift - shift[0]
    if np.isfinite(total_px):
        known &= np.abs(shift[:, 1:]).max(axis=1) <= total_px
    return shift, known


def _elsewhere(tracked: Tracked, far_px: float) -> NDArray[np.bool_]:
    """Return frames that look alike at a place far from their neighbours only by chance.

    A frame that really jumped shows, where it overlaps, the same as the others; these do not.
    """
    known = np.flatnonzero(tracked.known)
    out = np.zeros(len(tracked.known), dtype=bool)
    if len(known) < 5:
        return out
    height = tracked.height[known]
    unlike = height < 0.6 * float(np.median(height))
    shift = tracked.shift[known]
    for axis in range(shift.shape[1]):
        expected = np.interp(known, known[~unlike], shift[~unlike, axis])
        out[known] |= unlike & (np.abs(shift[:, axis] - expected) > far_px)
    return out


def _masked(movies: tuple[Movie, ...], mask: NDArray[Any]) -> tuple[Movie, ...]:
    """Return the movies with what a three-dimensional mask excludes set to the frame's median."""
    spatial = tuple(movies[0].shape[1:])
    if tuple(mask.shape) not in {spatial, spatial[-2:]}:
        msg = f"The mask has the shape {mask.shape}, the frames have {spatial}; give one of (y, x) or of the frame."
        raise ParameterError(msg)
    if not np.asarray(mask, dtype=bool).any():
        msg = "The mask excludes every pixel; leave it out or mark what may be looked at."
        raise ParameterError(msg)
    if len(spatial) == 2:
        return movies
    return tuple(_MaskedMovie(m, np.asarray(mask, dtype=bool)) for m in movies)


@dataclass(frozen=True)
class _MaskedMovie:
    movie: Movie
    mask: NDArray[np.bool_]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.movie.shape)

    @property
    def ndim(self) -> int:
        return int(self.movie.ndim)

    @property
    def dtype(self) -> Any:
        return self.movie.dtype

    def __getitem__(self, frame: int) -> NDArray[Any]:
        pixels = np.asarray(self.movie[frame])
        return np.where(self.mask, pixels, np.median(pixels[pixels.shape[0] // 2]).astype(pixels.dtype))


def _mask_image(mask: NDArray[Any], frames: Frames, plan: Plan) -> Image:
    """Return the mask as a weight of the prepared images."""
    out = _seen_mask(mask, plan)
    if out.ndim == 3 and not frames.volume:
        out = out.max(axis=0)
    out = shrink(out if out.ndim == 3 else out[None], frames.bin)
    return np.ascontiguousarray(np.broadcast_to(out, frames.shape))


def _seen_mask(mask: NDArray[Any], plan: Plan) -> NDArray[np.float32]:
    """Return the part of the mask that is looked at."""
    out = np.asarray(mask, dtype=np.float32)
    planes, region = plan.preparation.planes, plan.preparation.region
    if out.ndim == 3 and planes is not None:
        out = out[planes[0] : planes[1]]
    return out if region is None else out[..., region[0] : region[1], region[2] : region[3]]


def _axial(movies: tuple[Movie, ...], plan: Plan, path: Floats, known: NDArray[np.bool_]) -> Tracked:
    """Return the axial shifts (axis 1) from projections along y or x of the part that all frames see."""
    region = plan.preparation.region or (0, movies[0].shape[-2], 0, movies[0].shape[-1])
    size = (int(region[1] - region[0]), int(region[3] - region[2]))
    preparation = replace(plan.preparation, enhance="none")
    view = Sections(plan.preparation, plan.axial_view, path, known, size)
    frames = Frames(movies, preparation, view=view, least_bin=None)
    search = replace(plan.search, axes=(1, 2), free=(1,), smallest_px=0.0, largest_px=0.0, step_px=np.inf)
    plain = replace(plan, fixed_pattern="keep")
    if plan.reference == "global":
        better = stepped(frames, _tracked(frames, replace(search, attempts=AXIAL_ATTEMPTS), plain, None))
        if better is not None:
            return better
    return _tracked(frames, search, plain, None)


def _table(found: _Found, model: str) -> pl.DataFrame:
    frames, lateral, axial = found.frames, found.lateral, found.axial
    path, known = found.path, found.known
    quality = np.where(known, quality_of(lateral.sharpness), 0.0)
    residual, error = lateral.residual * frames.bin, lateral.error * frames.bin
    if axial is not None:
        quality = np.minimum(quality, np.where(axial.known, quality_of(axial.sharpness), 0.0))
        residual = np.hypot(residual, axial.residual)
    quality = quality / (1 + residual**2)
    outlier = _outliers(quality, lateral.height, residual)
    times, raw = frames.times(), np.arange(frames.n_raw)
    block = np.minimum(raw // max(1, frames.preparation.average), frames.n - 1)
    path = np.stack([np.interp(raw, times, path[:, a]) for a in range(3)], axis=1)
    entries = found.matrix.reshape(-1, 4)
    matrix = np.stack([np.interp(raw, times, entries[:, k]) for k in range(4)], axis=1).reshape(-1, 2, 2)
    angle, *shape = decomposed(matrix @ np.linalg.inv(matrix[0]))
    columns = {
        "frame": raw,
        "dx_px": path[:, 2] - path[0, 2],
        "dy_px": path[:, 1] - path[0, 1],
        "dz_px": path[:, 0] - path[0, 0],
        "angle_deg": angle,
        "quality": quality[block],
        "peak_height": np.where(known, lateral.height, 0.0)[block],
        "sharpness": np.where(known, np.minimum(lateral.sharpness, 1e6), 0.0)[block],
        "residual_px": residual[block],
        "error_px": np.where(known & np.isfinite(error), error, np.nan)[block],
        "outlier": outlier[block],
        "interpolated": (quality == 0)[block],
        "fixed_pattern": np.full(frames.n_raw, lateral.pattern),
    }
    if model in {"similarity", "affine"}:
        columns.update(zip(SHAPE, shape, strict=True))
    return conform(pl.DataFrame(columns).with_columns(pl.col("error_px").fill_nan(None)), DRIFT, table="drift")


def _outliers(quality: Floats, height: Floats, residual: Floats) -> NDArray[np.bool_]:
    """Return frames that could not be registered or stand out from the rest of the movie."""
    good = quality > 0
    out = ~good
    if good.sum() >= 4:
        middle = float(np.median(height[good]))
        spread = 1.4826 * float(np.median(np.abs(height[good] - middle)))
        out |= good & (height < min(middle - 6 * spread, 0.6 * middle))
        out |= good & (residual > 0.25 + 6 * float(np.median(residual[good])))
    return out
