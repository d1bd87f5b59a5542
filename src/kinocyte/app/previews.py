"""What a step would do to the frame on the screen: computed beside the window by the same methods as a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.app.cells import Cells
from kinocyte.app.jobs import Job
from kinocyte.app.preview_memory import Memory
from kinocyte.core.errors import KinocyteError, ParameterError
from kinocyte.core.method import Method
from kinocyte.events.base import EventMethod
from kinocyte.experiment.position import Position
from kinocyte.interactions.base import InteractionMethod
from kinocyte.learning.staining import Stainer
from kinocyte.measurement.contours import ContourBands
from kinocyte.measurement.filters import FeatureFilter
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.placed import Place
from kinocyte.registration.base import Registrar
from kinocyte.restoration.base import Restorer
from kinocyte.segmentation.base import Segmenter
from kinocyte.segmentation.spots import SpotDetector
from kinocyte.segmentation.threshold import Threshold
from kinocyte.tracking.base import Linker

#: Frames ahead whose links are shown, and over which drift is estimated.
AHEAD = 4
_BINS = 160
#: Values of a frame from which the end of its histogram is found.
_SAMPLE = 300_000


@dataclass(frozen=True)
class Histogram:
    """Grey values of a frame after the filters, and the level that parts them."""

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    level: float | None


@dataclass(frozen=True)
class Series:
    """A signal of one cell over time and what was found on it."""

    times_min: NDArray[np.float64]
    values: NDArray[np.float64]
    label: str
    event_min: float | None = None
    error_min: float | None = None


@dataclass(frozen=True)
class Shown:
    """What a preview shows; places are in pixels of the frame.

    Parameters
    ----------
    sentence : str
        What was found, with numbers.
    labels, before, after : array, optional
        Images of the frame: objects; pixels before and after a correction.
    arrows : array of float64, (n, 2, ndim), optional
        Start and direction.
    arrow_values : array of float64, (n,), optional
        What colours them, such as a distance; without, all have one colour.
    points : array of float64, (n, ndim), optional
        Places of spots, or of objects.
    passed : array of bool, (n,), optional
        Which of them a filter keeps.
    histogram, series : optional
        For the plot below the form.
    """

    sentence: str
    labels: NDArray[Any] | None = None
    before: NDArray[Any] | None = None
    after: NDArray[Any] | None = None
    arrows: NDArray[np.float64] | None = None
    arrow_values: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None
    passed: NDArray[np.bool_] | None = None
    histogram: Histogram | None = None
    series: Series | None = None


@dataclass(frozen=True)
class Question:
    """What is to be previewed."""

    position: Position
    frame: int
    kind: str
    method: Method | FeatureFilter
    #: corrections of grey values before the step
    restorers: tuple[Method, ...] = ()
    #: how the cells of the step are found, where they were not found yet
    segmentation: Method | None = None
    #: the cells of the step where they were
    cells: Cells | None = None
    track_id: int | None = None
    #: name of the event
    name: str = ""
    seed: int = 1
    #: populations of reference and neighbour
    sides: tuple[str, str] = ("", "")
    #: whose step it is, all filters of its kind, and whether they are of lineages
    population: str = ""
    filters: tuple[FeatureFilter, ...] = ()
    of_tracks: bool = False
    #: place of the experiment, and how it is reached
    place: tuple[str, Mapping[str, Any]] = field(default_factory=lambda: ("", {}))


class Previews:
    """Answers questions of one window."""

    def __init__(self) -> None:
        self._memory = Memory()
        self._helper: Any = None
        self._sides: Any = None

    def close(self) -> None:
        """End the process that computes deep previews, if there is one."""
        if self._helper is not None:
            self._helper.close()

    def forget(self) -> None:
        """Read everything anew: the store may hold something else now."""
        self._memory.forget()
        self._sides = None

    def answer(self, asked: Question, job: Job) -> Shown:
        """Return what a step would do.

        Raises
        ------
        KinocyteError
            If the method refuses the frame, or reads what is not there yet.
        """
        from kinocyte.app import preview_filters, preview_helper, preview_pairs

        job.check()
        method = asked.method
        if isinstance(method, FeatureFilter):
            return preview_filters.kept_shown(asked, method)
        if preview_helper.is_deep(asked):
            self._helper = self._helper or preview_helper.Helper()
            shown: Shown = self._helper.answer(asked)
            return shown
        if isinstance(method, InteractionMethod):
            self._sides = self._sides or preview_pairs.Sides()
            return preview_pairs.pairs_shown(asked, method, self._sides)
        if isinstance(method, Linker):
            return self._links(asked, method, job)
        answers: tuple[tuple[type, Any], ...] = (
            (Restorer, self._restoration),
            (Stainer, self._stain),
            (Registrar, self._drift),
            (Segmenter, self._segmentation),
            (ContourBands, self._bands),
            (EventMethod, _event),
        )
        for kind, answer in answers:
            if isinstance(method, kind):
                found: Shown = answer(asked, method)
                return found
        msg = f"There is no preview of {asked.kind} '{method.name()}'; run it on this position to see its result."
        raise ParameterError(msg)

    # ------------------------------------------------------------ pixels
    def _frame(self, asked: Question, frame: int, channels: Sequence[str]) -> Mapping[str, NDArray[Any]]:
        """Return channels of a frame as the step will see them, in the coordinates of the shown image."""
        return self._memory.seen(asked.position, frame, channels, asked.restorers, asked.seed)

    def _restoration(self, asked: Question, method: Restorer) -> Shown:
        channel = (method.channels or asked.position.image("raw").channels)[0]
        asked.position.image("raw").channel_index(channel)
        before = self._memory.restored(asked.position, channel, asked.restorers, asked.seed)
        after = self._memory.restored(asked.position, channel, (*asked.restorers, method), asked.seed)
        old, new = np.asarray(before[asked.frame]), np.asarray(after[asked.frame])
        spread = [float(np.percentile(a, 50)) for a in (old, new)]
        sentence = f"{channel}: the median grey value of this frame goes from {spread[0]:.4g} to {spread[1]:.4g}."
        return Shown(sentence, before=old, after=new)

    def _stain(self, asked: Question, method: Stainer) -> Shown:
        scale, image = asked.position.scale, asked.position.image()
        method.ready(scale, len(image.frame_shape), image.dtype)
        pixels = self._frame(asked, asked.frame, method.channels)
        before = next(iter(pixels.values()))
        after = method.stain(pixels, scale)
        level = [float(np.median(a)) for a in (before, after)]
        sentence = (
            f"Computed from {', '.join(pixels)}: the median grey value is {level[1]:.4g} (before: {level[0]:.4g}); "
            "a guess where nothing in the input tells of it."
        )
        return Shown(sentence, before=np.asarray(before), after=after)

    def _drift(self, asked: Question, method: Registrar) -> Shown:
        raw = asked.position.image("raw")
        last = min(asked.frame + AHEAD, raw.n_frames - 1)
        first = max(0, last - AHEAD)
        if last == first:
            return Shown("The movie has one frame; there is no drift to show.")
        channels = method.channels or raw.channels
        movies = {c: self._memory.restored(asked.position, c, asked.restorers, asked.seed) for c in channels}
        parts = {c: _Part(m, first, last + 1) for c, m in movies.items()}
        found = method.estimate(
            parts if len(parts) > 1 else next(iter(parts.values())), asked.position.scale, asked.seed
        )
        rows = found.select("dx_px", "dy_px").to_numpy()
        moved = rows[-1] - rows[0]
        steps = np.hypot(*np.diff(rows, axis=0).T)
        room = min(raw.frame_shape[-2:]) / 7
        factor = max((f for f in (1, 2, 5, 10, 20, 50) if np.hypot(*moved) * f <= room), default=1)
        sentence = (
            f"From frame {first} to {last} the content moves {moved[0]:+.2f} px in x and {moved[1]:+.2f} px in y, "
            f"at most {steps.max():.2f} px from frame to frame"
            + (f" (arrows {factor} times as long)." if factor > 1 else ".")
        )
        return Shown(sentence, arrows=_grid_of_arrows(raw.frame_shape, moved * factor))

    # ------------------------------------------------------------ cells
    def _labels(self, asked: Question, method: Segmenter, frame: int) -> NDArray[Any]:
        """Return the objects of a frame as the step before would find them, kept for the next question."""

        def found() -> NDArray[np.uint32]:
            pixels = self._frame(asked, frame, method.channels)
            return method.segment(pixels, asked.position.scale, seed=asked.seed + frame)

        return self._memory.array(["labels", *_where(asked, frame), method], found)

    def _segmentation(self, asked: Question, method: Segmenter) -> Shown:
        pixels = self._frame(asked, asked.frame, method.channels)
        scale = asked.position.scale
        if isinstance(method, SpotDetector):
            where = [*_where(asked, asked.frame), method.channel, method.name()]
            spots = method.look(pixels, scale, self._memory.stages(where, pixels[method.channel].nbytes))
            axes = ["z_um", "y_um", "x_um"][3 - next(iter(pixels.values())).ndim :]
            places = spots.select(axes).to_numpy() / np.array(scale.spacing_um(len(axes)))
            values = spots["quality"].to_numpy()
            quality = f", quality {values.min():.3g} to {values.max():.3g}" if len(values) else ""
            return Shown(f"{spots.height} spots in this frame{quality}.", points=places)
        if not isinstance(method, Threshold):
            labels = method.segment(pixels, scale, seed=asked.seed + asked.frame)
            return Shown(_counted(labels, asked.position), labels=_small(labels))
        where = [*_where(asked, asked.frame), method.channel, method.name()]
        looked = method.look(pixels, scale, self._memory.stages(where, pixels[method.channel].nbytes))
        counts, edges = self._memory.once(["histogram", *where, method.filters], lambda: _histogram(looked.filtered))
        histogram = Histogram(counts, edges, looked.level) if len(counts) else None
        return Shown(_counted(looked.labels, asked.position), labels=_small(looked.labels), histogram=histogram)

    def _links(self, asked: Question, method: Linker, job: Job) -> Shown:
        first = asked.frame
        last = min(first + AHEAD, asked.position.n_frames - 1)
        objects = self._objects(asked, first, last, job)
        labels = asked.cells.labels if asked.cells is not None else None
        links = method.link(objects, labels=None if labels is None else labels.frame, seed=asked.seed)
        where = objects.select("object_id", "frame", "x_um", "y_um")
        ends = (
            links.select("source_id", "target_id")
            .join(where, left_on="source_id", right_on="object_id")
            .join(where, left_on="target_id", right_on="object_id", suffix="_to")
        )
        n = [objects.filter(pl.col("frame") == t).height for t in range(first, last + 1)]
        linked = ends.filter(pl.col("frame") == first)["source_id"].n_unique()
        sentence = f"{linked} of {n[0]} cells of this frame are followed on; frames {first} to {last} hold {n} cells."
        scale = asked.position.scale
        start = ends.select(pl.col("y_um") / scale.y_um, pl.col("x_um") / scale.x_um).to_numpy()
        stop = ends.select(pl.col("y_um_to") / scale.y_um, pl.col("x_um_to") / scale.x_um).to_numpy()
        return Shown(sentence, arrows=np.stack([start, stop - start], axis=1) if len(start) else np.zeros((0, 2, 2)))

    def _objects(self, asked: Question, first: int, last: int, job: Job) -> pl.DataFrame:
        """Return the cells of a few frames: those that were found, or as the step before would find them."""
        if asked.cells is not None and asked.cells.objects.height:
            return asked.cells.objects.filter(pl.col("frame").is_between(first, last))
        method = asked.segmentation
        if not isinstance(method, Segmenter):
            msg = "The cells were not found yet; run the steps before this one on this position."
            raise ParameterError(msg)
        parts = []
        for frame in range(first, last + 1):
            job.check()
            found = partial(self._rows, asked, method, frame)
            parts.append(self._memory.once(["objects", *_where(asked, frame), method], found))
        return pl.concat(parts).with_row_index("object_id", offset=1).cast({"object_id": pl.Int64})

    def _rows(self, asked: Question, method: Segmenter, frame: int) -> pl.DataFrame:
        from kinocyte.pipeline.steps.segmentation import object_rows

        return object_rows(self._labels(asked, method, frame), frame, asked.position)

    def _bands(self, asked: Question, method: ContourBands) -> Shown:
        if asked.cells is not None and asked.cells.labels is not None:
            labels = asked.cells.labels.frame(asked.frame)
        elif isinstance(asked.segmentation, Segmenter):
            labels = self._labels(asked, asked.segmentation, asked.frame)
        else:
            msg = "The cells were not found yet; run the steps before this one on this position."
            raise ParameterError(msg)
        picture = method.picture(labels, asked.position.scale)
        limits = ", ".join(f"{low:g} to {high:g} µm" for low, high in method.bands_um)
        return Shown(f"Bands {limits}; positive is inside the cell.", labels=picture)


class _Part:
    """Some frames of a movie."""

    def __init__(self, movie: Any, first: int, end: int) -> None:
        self._movie, self._first, self._n = movie, first, end - first
        self.shape = (self._n, *movie.shape[1:])
        self.ndim, self.dtype = movie.ndim, movie.dtype

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, frame: int) -> NDArray[Any]:
        if not -self._n <= frame < self._n:
            raise IndexError(frame)
        return np.asarray(self._movie[self._first + frame % self._n])


def _where(asked: Question, frame: int) -> list[Any]:
    """Return what the pixels of a frame depend on."""
    return [asked.position.image().place, frame, asked.restorers, asked.seed]


def _small(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels in as few bytes as they need: the window draws those of two bytes without a detour."""
    fits = labels.dtype.itemsize > 2 and int(labels.max(initial=0)) <= np.iinfo(np.uint16).max
    return labels.astype(np.uint16) if fits else labels


def _counted(labels: NDArray[np.uint32], position: Position) -> str:
    from kinocyte.segmentation.components import pixel_counts

    n = int(labels.max(initial=0))
    if not n:
        return "No object in this frame."
    sizes = pixel_counts(np.ascontiguousarray(labels), n)
    sizes = sizes[sizes > 0]
    pixel = float(np.prod(position.scale.spacing_um(labels.ndim)))
    unit = "µm²" if labels.ndim == 2 else "µm³"
    return f"{len(sizes)} objects in this frame; half of them are larger than {np.median(sizes) * pixel:.4g} {unit}."


def _histogram(filtered: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return counts and edges of the grey values of a frame, but for its brightest pixels; none of a constant one."""
    values = np.asarray(filtered).ravel()
    low, high = float(values.min()), float(np.percentile(values[:: max(1, values.size // _SAMPLE)], 99.95))
    if not high > low:
        return np.zeros(0, np.int64), np.zeros(0)
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    bins = ((values - low) * (_BINS / (high - low))).astype(np.int64)  # np.histogram takes five times as long
    counts = np.bincount(np.minimum(bins, _BINS), minlength=_BINS + 1)[:_BINS]
    return counts, np.linspace(low, high, _BINS + 1)


def _grid_of_arrows(frame_shape: Sequence[int], moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 5 x 5 arrows of one shift (x, y) over a frame."""
    y, x = (np.linspace(0.15, 0.85, 5) * n for n in frame_shape[-2:])
    starts = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.stack([starts, np.broadcast_to(moved[::-1], starts.shape)], axis=1)


def _event(asked: Question, method: EventMethod) -> Shown:
    cells = asked.cells
    if cells is None or not cells.has_tracks:
        msg = "The cells were not followed yet; run the steps before this one on this position."
        raise ParameterError(msg)
    found = method.detect(cells.objects, asked.name or "event", earlier=cells.events)
    classes = dict(found.events["class"].value_counts().iter_rows())
    n = found.events.height
    parts = [f"{classes.get('event', 0)} of {n} cells"]
    parts += [f"{classes['censored_left']} from the start"] if "censored_left" in classes else []
    parts += [f"{classes['excluded']} without a verdict"] if "excluded" in classes else []
    series = _series(cells, method, found.events, asked.track_id)
    more = "" if series is not None else " Choose a cell in the image to see its signal."
    return Shown(f"{asked.name or 'event'}: {', '.join(parts)}.{more}", series=series)


def _series(cells: Cells, method: EventMethod, events: pl.DataFrame, track_id: int | None) -> Series | None:
    column = next((c for c in method.columns if c in cells.objects.columns), None)
    if column is None:
        return None
    if track_id is None:
        with_event = events.filter(pl.col("class") == "event")
        if with_event.is_empty():
            return None
        track_id = int(with_event["track_id"][0])
    rows = cells.objects.filter(pl.col("track_id") == track_id).sort("frame")
    mine = events.filter((pl.col("track_id") == track_id) & (pl.col("class") == "event"))
    return Series(
        rows["time_min"].cast(pl.Float64).to_numpy(),
        rows[column].cast(pl.Float64).to_numpy(),
        f"{column} of track {track_id}",
        float(mine["time_min"][0]) if mine.height and mine["time_min"][0] is not None else None,
        float(mine["time_se_min"][0]) if mine.height and mine["time_se_min"][0] is not None else None,
    )


# ---------------------------------------------------------------- suggestions
@dataclass(frozen=True)
class Suggestion:
    """One way to set a step, with what it gives on this frame."""

    title: str
    values: Mapping[str, Any]


def suggestions(previews: Previews, asked: Question, job: Job) -> list[Suggestion]:
    """Return ways to set a step, each tried on the frame by the library itself.

    Raises
    ------
    ParameterError
        If nothing can be suggested for the method.
    """
    method = asked.method
    if isinstance(method, Threshold):
        return _levels(previews, asked, method, job)
    if isinstance(method, SpotDetector):
        from kinocyte.segmentation.spots import suggested_minimum

        pixels = previews._frame(asked, asked.frame, method.channels)
        loose = method.replace(min_quality=0.0)
        spots = loose.detect(pixels, asked.position.scale)
        smallest = suggested_minimum(spots)
        kept = spots.filter(pl.col("quality") >= smallest).height
        title = f"Smallest quality {smallest:.3g}: {kept} of {spots.height} spots are kept"
        return [Suggestion(title, {"min_quality": float(f"{smallest:.4g}")})]
    name = method.name() if isinstance(method, Method) else asked.kind
    msg = f"Nothing can be suggested for '{name}' from one frame."
    raise ParameterError(msg)


def _levels(previews: Previews, asked: Question, method: Threshold, job: Job) -> list[Suggestion]:
    found = []
    drop = {"low", "high", "hysteresis_low", "hysteresis"}
    before = {k: v for k, v in method.model_dump(exclude_unset=True).items() if k not in drop}
    for way in ("otsu", "triangle", "li", "background", "adaptive"):
        job.check()
        tried = Threshold.model_validate({**before, "threshold": way})
        try:
            labels = previews._labels(asked, tried, asked.frame)
        except KinocyteError:
            continue
        found.append(Suggestion(f"{way}: {_counted(labels, asked.position)}", {"threshold": way}))
    return found


def bare(method: Any) -> Method:
    """Return a method without the keys of its place."""
    return method.bare if isinstance(method, Place) else method


def before_step(pipeline: Pipeline, name: str | None) -> tuple[Method, ...]:
    """Return the corrections of grey values before a step; before the correction of a name if one is given."""
    found: list[Method] = []
    for key, restorer in pipeline.restoration.items():
        if key == name:
            break
        found.append(restorer)
    return tuple(found)
