"""`kinocyte predict`: a trained network applied to plain files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from kinocyte.cli.console import TaskBar, err
from kinocyte.cli.console import out as console
from kinocyte.core.channels import need_as_many
from kinocyte.core.errors import KinocyteError, ParameterError, nearest
from kinocyte.core.scale import Scale
from kinocyte.learning.grey_values import gives_grey_values, in_type
from kinocyte.pipeline.plain.movies import FileOptions, PlainMovie, opened

if TYPE_CHECKING:
    from kinocyte.learning.model import ImageModel
    from kinocyte.segmentation._deep import DeepSegmenter

Frames = Iterator[NDArray[Any]]
_MOST_16 = np.iinfo(np.uint16).max
#: names that models have of channels and targets without names
_UNNAMED, _UNNAMED_TARGET = re.compile(r"channel_\d+"), re.compile(r"target \d+")


@dataclass(frozen=True)
class Asked:
    """What a person said about applying a model."""

    model: str
    channel: tuple[str, ...] = ()
    objects: bool = False
    uncertainty: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    how: dict[str, Any] = field(default_factory=dict)


class _Wider(Exception):  # noqa: N818 - no error: the file is begun again
    """A frame holds more objects than 16 bits can number."""


def predict(
    model: str,
    /,
    *files: str,
    out: Annotated[Path, Parameter(name="--out")],
    channel: tuple[str, ...] = (),
    probability: float | None = None,
    overlap: float | None = None,
    objects: bool = False,
    uncertainty: bool = False,
    augment: bool = False,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    tile_px: int | None = None,
    options: Annotated[FileOptions, Parameter(name="*")] = FileOptions(),  # noqa: B008 - frozen
) -> int:
    """Apply a trained model to image files or movies.

    Writes NAME_labels.tif (objects, or classes) or NAME_restored.tif (images) as OME-TIFF for each file, with the pixel
    size and, for restored images, the bit depth of the file. Nothing is overwritten; a file that fails is named and
    the others go on.

    Parameters
    ----------
    model : str
        Name of a model (see kinocyte model list), or path of a package or of the folder of a training.
    files : str
        Images and movies; of a folder all images in it.
    out : Path
        Folder to write to.
    channel : str
        Channels to read, by name or number from 1, in the order of the model's; left out: the only one, or those of the
        model's names.
    probability : float
        Objects are where the model is at least this sure; left out: as tuned in training.
    overlap : float
        stardist: of two shapes that share more than this part, the likelier stays.
    objects : bool
        Make objects of the probabilities of a model that gives classes or images.
    uncertainty : bool
        Write also how far each pixel may be off, as NAME_uncertainty.tif (care that was trained as probabilistic).
    augment : bool
        Average over the image turned and mirrored.
    device : str
        Where to compute: auto, cpu, cuda or mps.
    tile_px : int
        Side of the tiles; left out: as large as memory allows.
    options : FileOptions
        What the files do not say.
    """
    from kinocyte.learning.devices import need_torch, pick
    from kinocyte.learning.model import load_image_model
    from kinocyte.pipeline.plain.movies import refuse_existing

    need_torch("kinocyte predict")
    refuse_existing(out, [])
    network = load_image_model(model)
    pick(device)  # refused before the first file
    settings = {"probability": probability, "overlap": overlap}
    asked = Asked(
        model, channel, objects, uncertainty, {k: v for k, v in settings.items() if v is not None},
        {"augment": augment, "device": device, "tile_px": tile_px},
    )  # fmt: skip
    workers = _workers(network, asked)
    places = _listed(files)
    failed = 0
    with TaskBar("Predicting", len(places), "files") as bar:
        for place in places:
            try:
                for sentence in _file(place, options, out, workers):
                    console.print(sentence, markup=False, soft_wrap=True)
            except (KinocyteError, OSError) as error:
                failed += 1
                err.print(f"failed: {place}: {error}", style="red", markup=False, soft_wrap=True)
            bar.finished(place)
    return 1 if failed else 0


def _listed(files: tuple[str, ...]) -> list[str]:
    """Return the files that are meant; of a folder its images."""
    if not files:
        msg = "Name at least one image, movie or folder of them."
        raise ParameterError(msg)
    found: list[str] = []
    for name in files:
        path = Path(name)
        if path.is_dir() and path.suffix != ".zarr":
            inside = sorted(str(p) for p in path.iterdir() if not p.name.startswith(".") and _is_image(p))
            if not inside:
                msg = f"{path} holds no image; name files or another folder."
                raise ParameterError(msg)
            found += inside
        else:
            found.append(name)
    return list(dict.fromkeys(found))


def _is_image(path: Path) -> bool:
    kinds = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".nd2", ".czi", ".lif", ".stk", ".lsm", ".zarr"}
    return path.suffix.lower() in kinds


#: takes a movie; gives the word in the name, the names of channels, and a function from type to what is to be written
Worker = Callable[[PlainMovie], "_Work"]


@dataclass(frozen=True)
class _Work:
    """What is to be computed of one movie."""

    word: str
    channels: tuple[str, ...]
    dtype: np.dtype[Any]
    frames: Callable[[np.dtype[Any]], Frames]
    n_frames: int
    enlargement: int = 1
    interval: float = 1.0


def _file(place: str, options: Any, out: Path, workers: Sequence[Worker]) -> Iterator[str]:
    with opened([place], options) as movies:
        for movie in movies:
            for worker in workers:
                yield f"{movie.stem}: {_written(movie, worker(movie), out)}"


def _written(movie: PlainMovie, work: _Work, out: Path) -> Path:
    """Compute and write one movie, and return where it is."""
    from kinocyte.interop.export.movie_tiff import check_type, write_movie

    check_type(work.dtype)
    target = out / f"{movie.stem}_{work.word}.tif"
    plane = movie.movie.plane_shape
    size = (*plane[:-2], *(n * work.enlargement for n in plane[-2:]))
    shape = (work.n_frames, len(work.channels), *size)
    calibration = _calibrated(movie, work)
    for dtype in (work.dtype, np.dtype(np.uint32)):
        try:
            write_movie(
                target, work.frames(dtype), shape=shape, dtype=dtype, channels=work.channels, calibration=calibration
            )
            break
        except _Wider:
            continue
    return target


def _calibrated(movie: PlainMovie, work: _Work) -> Any:
    known = movie.calibration
    changes: dict[str, Any] = {}
    if work.enlargement > 1:
        for name in ("pixel_y_um", "pixel_x_um"):
            size = getattr(known, name)
            changes[name] = None if size is None else size / work.enlargement
    if work.interval != 1.0:
        every = known.frame_interval_min
        changes |= {"frame_interval_min": None if every is None else every * work.interval, "times_min": None}
    return replace(known, **changes)


def _workers(model: ImageModel, asked: Asked) -> list[Worker]:
    """Return what applies the model, and what tells how sure it is where that was asked for."""
    if asked.uncertainty and not getattr(model.task, "probabilistic", False):
        msg = f"The model '{asked.model}' tells no uncertainty; train care with probabilistic = true."
        raise ParameterError(msg)
    more = [lambda movie: _restored(model, asked, movie, uncertain=True)] if asked.uncertainty else []
    return [_worker(model, asked), *more]


def _worker(model: ImageModel, asked: Asked) -> Worker:
    """Return what applies the model, checked as far as it can be without an image."""
    if model.task.result == "image" and not asked.objects:
        if asked.settings:
            msg = f"The model '{asked.model}' gives images; leave out --{next(iter(asked.settings))}."
            raise ParameterError(msg)
        if model.task.name() == "frame_interpolation":
            return lambda movie: _between(model, asked, movie)
        return lambda movie: _restored(model, asked, movie)
    if model.task.result == "classes" and not asked.objects:
        return lambda movie: _classes(model, asked, movie)
    method = _segmenter(model, asked)
    return lambda movie: _labels(method, model, asked, movie)


def _segmenter(model: ImageModel, asked: Asked) -> DeepSegmenter:
    from pydantic import ValidationError

    from kinocyte.core.registry import explain
    from kinocyte.segmentation.flows import Flows
    from kinocyte.segmentation.semantic import Semantic
    from kinocyte.segmentation.stardist import StarDist

    for kind in (StarDist, Flows, Semantic):
        try:
            method: DeepSegmenter = kind(
                model=asked.model, channel=asked.channel or tuple(c.name for c in model.inputs), **asked.settings,
                **asked.how,
            )  # fmt: skip
        except ValidationError as error:
            if kind is Semantic or any("extra" not in e["type"] for e in error.errors()):
                raise ParameterError("; ".join(explain(kind, error)) + ".") from error
            continue
        if method.fits(model):
            return method
    msg = f"The model '{asked.model}' is for {model.task.name()} with settings that it does not have."
    raise ParameterError(msg)


def _scale(movie: PlainMovie, model: ImageModel) -> Scale:
    """Return the calibration; where the file has none its pixels are taken to be those of the model."""
    known = movie.scale
    if known is None:
        y_um, x_um = (model.pixel_um or (1.0,) * model.ndim)[-2:]
        known = Scale(y_um=y_um, x_um=x_um, z_um=movie.calibration.z_step_um)
        if model.pixel_um is not None:
            err.print(
                f"{movie.stem}: the pixel size is unknown and taken to be the model's, {y_um:g} um; give it with "
                "--pixel-size-um.", style="yellow", markup=False, soft_wrap=True,
            )  # fmt: skip
    if known.z_um is None and len(movie.movie.plane_shape) == 3:
        known = known.model_copy(update={"z_um": (model.pixel_um or (1.0,))[0] if model.ndim == 3 else 1.0})
    return known


def _chosen(movie: PlainMovie, model: ImageModel, asked: Asked, n: int) -> tuple[str, ...]:
    """Return the channels of a movie that the model reads."""
    names = [c.name for c in model.inputs[:n]]
    unnamed = n == 1 or all(_UNNAMED.fullmatch(name) for name in names)  # then order is all that is known
    if not asked.channel and unnamed and n == len(movie.channels):
        return movie.channels
    wanted = tuple(_numbered_or_named(name, movie.channels) for name in asked.channel or names)
    need_as_many(wanted, names, "the model", "--channel")
    if len(movie.channels) < n:
        held = ", ".join(movie.channels)
        msg = f"it has {len(movie.channels)} channel(s) ({held}); the model reads {n} together: {', '.join(names)}."
        raise ParameterError(msg)
    for name in wanted:
        if name not in movie.channels:
            hint = nearest(name, movie.channels)
            msg = f"it has no channel '{name}'; {hint}. Say with --channel which to read, in the order of the model's."
            raise ParameterError(msg)
    return wanted


def _numbered_or_named(name: str, channels: Sequence[str]) -> str:
    """Return the name of a channel that was named, or given by its number from 1."""
    if name in channels or not name.isdecimal() or not 1 <= int(name) <= len(channels):
        return name
    return channels[int(name) - 1]


def _read(movie: PlainMovie, channels: tuple[str, ...]) -> Frames:
    views = movie.views()
    for t in range(movie.movie.shape[0]):
        yield np.stack([views[c][t] for c in channels])


def _labels(method: DeepSegmenter, model: ImageModel, asked: Asked, movie: PlainMovie) -> _Work:
    chosen, scale = _chosen(movie, model, asked, len(model.inputs)), _scale(movie, model)
    method = method.replace(channel=chosen)
    method.ready(scale, len(movie.movie.plane_shape))

    def found(image: NDArray[Any]) -> NDArray[Any]:
        return method.segment(dict(zip(chosen, image, strict=True)), scale)

    return _numbers(movie, chosen, found, ("objects",))


def _classes(model: ImageModel, asked: Asked, movie: PlainMovie) -> _Work:
    from kinocyte.learning.inference.apply import apply, planes_or_whole

    chosen, scale = _chosen(movie, model, asked, len(model.inputs)), _scale(movie, model)

    def found(image: NDArray[Any]) -> NDArray[Any]:
        said = [
            apply(model, p, pixel_um=scale.spacing_um(model.ndim), **asked.how).labels
            for p in planes_or_whole(model, image)
        ]
        return np.asarray(said[0] if image.ndim == model.ndim + 1 else np.stack([np.asarray(s) for s in said]))

    return _numbers(movie, chosen, found, ("classes",))


def _numbers(
    movie: PlainMovie, chosen: tuple[str, ...], found: Callable[[NDArray[Any]], NDArray[Any]], name: tuple[str, ...]
) -> _Work:
    from kinocyte.learning.inference.sequence import ahead

    def frames(dtype: np.dtype[Any]) -> Frames:
        for labels in ahead(found(image) for image in ahead(_read(movie, chosen))):
            if dtype == np.uint16 and labels.max(initial=0) > _MOST_16:
                raise _Wider
            yield labels.astype(dtype)

    return _Work("labels", name, np.dtype(np.uint16), frames, movie.movie.shape[0])


def _type(model: ImageModel, movie: PlainMovie) -> np.dtype[Any]:
    """Return the type of restored pixels: that of the file, or float32 where the result has no grey values."""
    kept = gives_grey_values(model)
    known = movie.movie.dtype
    return known if kept and known.kind in "uif" and known != np.float16 else np.dtype(np.float32)  # OME has no half


def _restored(model: ImageModel, asked: Asked, movie: PlainMovie, *, uncertain: bool = False) -> _Work:
    from kinocyte.learning.inference.apply import restore, restored_frame, uncertainty
    from kinocyte.learning.inference.sequence import ahead

    chosen, dtype = _chosen(movie, model, asked, len(model.inputs)), _type(model, movie)
    size = _scale(movie, model).spacing_um(model.ndim)
    names = tuple(c.name for c in model.targets) or chosen
    if gives_grey_values(model) and len(names) == len(chosen) and all(map(_UNNAMED_TARGET.fullmatch, names)):
        names = chosen  # the same channels, restored
    how = {"what": uncertainty if uncertain else restore, "pixel_um": size, **asked.how}

    def frames(kind: np.dtype[Any]) -> Frames:
        for image in ahead(restored_frame(model, i, **how) for i in ahead(_read(movie, chosen))):
            if len(image) != len(names):
                msg = (
                    f"The model '{model.name}' gives {len(image)} channels where {len(names)} are named; get it again."
                )
                raise ParameterError(msg)
            yield from in_type(image, kind)

    word, dtype = ("uncertainty", np.dtype(np.float32)) if uncertain else ("restored", dtype)
    return _Work(word, names, dtype, frames, movie.movie.shape[0], enlargement=model.task.enlargement)


def _between(model: ImageModel, asked: Asked, movie: PlainMovie) -> _Work:
    """Return a movie with a frame computed between each two."""
    from kinocyte.learning.inference.apply import restored_frame

    n = len(model.inputs) // 2
    asked = asked if asked.channel else replace(asked, channel=tuple(movie.channels[:n]))
    chosen, dtype = _chosen(movie, model, asked, n), _type(model, movie)
    size = _scale(movie, model).spacing_um(model.ndim)
    if movie.movie.shape[0] < 2:
        msg = f"it has one frame; the model '{model.name}' computes frames between frames."
        raise ParameterError(msg)

    def frames(kind: np.dtype[Any]) -> Frames:
        before: NDArray[Any] | None = None
        for image in _read(movie, chosen):
            if before is not None:
                yield from in_type(
                    restored_frame(model, np.concatenate([before, image]), pixel_um=size, **asked.how), kind
                )
            yield from image.astype(kind)
            before = image

    return _Work("restored", chosen, dtype, frames, 2 * movie.movie.shape[0] - 1, interval=0.5)
