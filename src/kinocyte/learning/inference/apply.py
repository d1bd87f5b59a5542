"""One image through a trained network: what it means, at the pixels of the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import CalibrationError, ParameterError
from kinocyte.learning.devices import Device
from kinocyte.learning.grey_values import limits, restored, restored_distance
from kinocyte.learning.inference.augmented import augmented_output
from kinocyte.learning.inference.engine import Engine, engine_of, out_of_memory
from kinocyte.learning.inference.tiles import Geometry, core_of, halved, padded, parts, weight_of, windows
from kinocyte.learning.model import ImageModel
from kinocyte.learning.tasks.base import Reading

Singles = NDArray[np.float32]

#: pixel sizes nearer than this to that of the model are taken as equal
SAME_SIZE = 0.05
#: more than this many times coarser or finer than in training, a model is not applied
MOST_RESCALING = 8.0


def apply(
    model: ImageModel,
    image: NDArray[Any],
    *,
    pixel_um: Sequence[float] | None = None,
    tile_px: int | None = None,
    device: Device = "auto",
    augment: bool = False,
    settings: Mapping[str, float] | None = None,
) -> Reading:
    """Return what a model says of one image.

    Parameters
    ----------
    model : ImageModel
        What to apply.
    image : ndarray, shape (channels, [z], y, x)
        Any real type; channels in the order of ``model.inputs``. Pixels that are NaN or infinite are taken as the
        darkest, belong to no object and are NaN in a resulting image.
    pixel_um : sequence of float, optional
        Size of the image's pixels in order of axes. Where it differs by more than 5 % from that of the training
        images, the image is resampled to their size, and the result back to the image's.
    tile_px : int, optional
        Side of the tiles; left out, the image is cut only where memory asks for it.
    device : {"auto", "cpu", "cuda", "mps"}
        auto takes a GPU where there is one.
    augment : bool
        Apply the network to the image in all four orientations of a rectangle, of a square and its mirror image all
        eight, and average its outputs.
    settings : mapping of str to float, optional
        Settings of the task that replace those tuned in training, such as ``probability_threshold``.

    Returns
    -------
    Reading
        Labels at the pixels of the image with the quality of each object, or an image in normalised grey values (see
        `restore`).

    Raises
    ------
    ParameterError
        If the image has other channels or axes than the model reads, holds no finite value, or a setting is unknown.
    CalibrationError
        If its pixels are more than eight times larger or smaller than in training.
    MissingExtraError
        If torch is not installed.

    Notes
    -----
    Grey values are scaled by limits of the whole image, tiles overlap by the reach of the network and start on its
    coarsest grid, and the output of the whole image is put together before objects are read from it. On a processor
    (x86-64 with oneDNN, as torch comes) the size of a tile therefore changes no bit of a result. On a GPU, whose
    convolutions follow the size of what they are given, it moves the output by rounding alone, below 1e-5 of its range.
    """
    chosen = _settings(model, settings)
    missing = ~np.isfinite(image).all(axis=0) if image.dtype.kind == "f" else None
    x = _fitted(_normalised(model, image, limits_of(model, image)), factors_of(model, pixel_um))
    output = network_output(model, x, tile_px=tile_px, device=device, augment=augment)
    reading = model.task.read(output, chosen)
    return _at_pixels(reading, image.shape[1:], x.shape[1:], model, missing)


def restore(model: ImageModel, image: NDArray[Any], **how: Any) -> Singles:
    """Return the image that a model computes, in grey values (see `kinocyte.learning.grey_values.restored`).

    Parameters
    ----------
    model : ImageModel
        Of a task whose result is an image.
    image : ndarray, shape (channels, [z], y, x)
        As in `apply`.
    **how
        As in `apply`.

    Returns
    -------
    ndarray of float32, shape (targets, [z], y, x)
        Larger in the plane by the enlargement of the task.

    Raises
    ------
    ParameterError
        As `apply`, or if the model gives no image.
    """
    reading = apply(model, image, **how)
    if reading.image is None:
        msg = f"The model '{model.name}' ({model.task.name()}) finds objects and gives no image; use segmentation."
        raise ParameterError(msg)
    return restored(model, reading.image, limits_of(model, image))


def uncertainty(model: ImageModel, image: NDArray[Any], **how: Any) -> Singles:
    """Return how far the image that a model computes may be off at each pixel.

    Parameters
    ----------
    model, image, **how
        As in `restore`.

    Returns
    -------
    ndarray of float32, shape (targets, [z], y, x)
        Scale of a Laplace distribution (standard deviation divided by the root of 2) in the unit of `restore`.

    Raises
    ------
    ParameterError
        As `apply`, or if the model tells none.
    """
    maps = apply(model, image, **how).maps
    if "uncertainty" not in maps:
        msg = f"The model '{model.name}' tells no uncertainty; train care with probabilistic = true."
        raise ParameterError(msg)
    return restored_distance(model, maps["uncertainty"], limits_of(model, image))


def planes_or_whole(model: ImageModel, image: NDArray[Any]) -> list[NDArray[Any]]:
    """Return what a model is shown at a time of an image (channels, [z], y, x): planes of a stack if it is for planes.

    Raises
    ------
    ParameterError
        If the image is a plane and the model is for volumes.
    """
    if image.ndim < model.ndim + 1:
        msg = f"The model '{model.name}' is for volumes, and this is a plane; name a model for planes."
        raise ParameterError(msg)
    return [image] if image.ndim == model.ndim + 1 else [image[:, z] for z in range(image.shape[1])]


def restored_frame(
    model: ImageModel, image: NDArray[Any], *, what: Callable[..., Singles] | None = None, **how: Any
) -> Singles:
    """Return the image that a model computes of a frame, a stack plane by plane where the model is for planes.

    Parameters
    ----------
    model, **how
        As in `restore`.
    what : callable, optional
        `restore`, which it is when left out, or `uncertainty`.
    image : ndarray, shape (channels, [z], y, x)
        What has no value at all in one of the channels (NaN), such as a plane, has none in the result.

    Returns
    -------
    ndarray of float32, shape (targets, [z], y, x)
        As `restore`.

    Raises
    ------
    ParameterError
        As `restore`, or if the image is a plane and the model is for volumes.
    """
    done = [_restored_part(model, part, what or restore, how) for part in planes_or_whole(model, image)]
    return done[0] if image.ndim == model.ndim + 1 else np.stack(done, axis=1)


def has_values(image: NDArray[Any]) -> bool:
    """Tell whether each channel of an image (channels, [z], y, x) has a value anywhere."""
    return bool(np.isfinite(image).any(axis=tuple(range(1, image.ndim))).all())


def _restored_part(
    model: ImageModel, part: NDArray[Any], what: Callable[..., Singles], how: Mapping[str, Any]
) -> Singles:
    if has_values(part):
        return what(model, part, **how)
    y, x = (n * model.task.enlargement for n in part.shape[-2:])
    return np.full((len(model.targets) or len(part), *part.shape[1:-2], y, x), np.nan, np.float32)


def virtual_stain(model: ImageModel, image: NDArray[Any], **how: Any) -> Singles:
    """Return the stain that a model computes from images without it; as `restore`.

    Raises
    ------
    ParameterError
        As `restore`, or if the model was trained for something else than a stain.
    """
    if model.task.name() not in {"virtual_stain", "pix2pix"}:
        msg = f"The model '{model.name}' is for {model.task.name()}; name one that was trained for virtual_stain."
        raise ParameterError(msg)
    return restore(model, image, **how)


def network_output(
    model: ImageModel, x: Singles, *, tile_px: int | None = None, device: Device = "auto", augment: bool = False
) -> Singles:
    """Return the output of a model's network for a whole normalised image (channels, [z], y, x)."""
    engine = engine_of(model, device)
    if augment:
        return augmented_output(model, x, engine.geometry, lambda turned: _whole(engine, turned, tile_px))
    return _whole(engine, x, tile_px)


def _whole(engine: Engine, x: Singles, tile_px: int | None) -> Singles:
    """Return the output of an image of any size, in as few parts as memory allows."""
    geometry = engine.geometry
    wide = padded(x, geometry.divisor)
    boxes = windows(wide.shape[1:], geometry)
    out = _blended(engine, wide, boxes) if len(boxes) > 1 else _tiled(engine, wide, tile_px)
    return out[(slice(None), *(slice(0, n) for n in geometry.output_shape(x.shape[1:])))]


def _blended(engine: Engine, wide: Singles, boxes: Sequence[tuple[slice, ...]]) -> Singles:
    """Return the mean of overlapping windows, each weighted less towards its sides."""
    geometry, shape = engine.geometry, wide.shape[1:]
    total, count = np.zeros(0, np.float32), np.zeros(geometry.output_shape(shape), np.float32)
    for box in boxes:
        said = _tiled(engine, wide[(slice(None), *box)], None)
        weight, place = weight_of(box, shape, geometry), geometry.output(box)
        if total.size == 0:
            total = np.zeros((len(said), *count.shape), np.float32)
        total[(slice(None), *place)] += said * weight
        count[place] += weight
    return np.asarray(total / count, np.float32)


def _tiled(engine: Engine, wide: Singles, tile_px: int | None) -> Singles:
    """Return the output of an image of whole divisors, in as few parts as memory allows."""
    geometry = engine.geometry
    shape = wide.shape[1:]
    if tile_px is not None:
        core = tuple(min(-(-tile_px // d) * d, n) for d, n in zip(geometry.divisor, shape, strict=True))
        if all(r >= n for r, n in zip(geometry.reach, shape, strict=True)):  # it sees the whole image
            core = shape
    else:
        core = core_of(shape, geometry, engine.most_pixels())
    while True:
        try:
            return _in_parts(engine, wide, core)
        except (RuntimeError, MemoryError) as error:
            if not (out_of_memory(error) or isinstance(error, MemoryError)):
                raise
            smaller = halved(core, geometry.divisor)
            if smaller == core:
                msg = f"An image of {' x '.join(map(str, shape))} pixels does not fit into memory even in the smallest "
                msg += "tiles; close other programs or take a smaller model."
                raise ParameterError(msg) from error
            core = smaller


def _in_parts(engine: Engine, wide: Singles, core: Sequence[int]) -> Singles:
    geometry, out = engine.geometry, None
    shape = wide.shape[1:]
    for read, keep in parts(shape, core, geometry):
        said = engine(wide[(slice(None), *read)])
        _check_output(said, geometry, tuple(s.stop - s.start for s in read))
        if tuple(core) == tuple(shape):
            return said
        if out is None:
            out = np.empty((len(said), *geometry.output_shape(shape)), np.float32)
        inner = tuple(slice(k.start - r.start, k.stop - r.start) for k, r in zip(keep, read, strict=True))
        out[(slice(None), *geometry.output(keep))] = said[(slice(None), *geometry.output(inner))]
    if out is None:
        msg = "The image holds no pixel."
        raise ParameterError(msg)
    return out


def _check_output(said: Singles, geometry: Geometry, shape: tuple[int, ...]) -> None:
    if said.shape[1:] != geometry.output_shape(shape):
        wanted = geometry.output_shape(shape)
        msg = (
            f"The network gives {said.shape[1:]} pixels for {shape} where {wanted} were expected; get the model again."
        )
        raise ParameterError(msg)


def limits_of(model: ImageModel, image: NDArray[Any]) -> list[tuple[float, float]]:
    """Return the grey values of each channel of a whole image that become 0 and 1 for a model.

    Raises
    ------
    ParameterError
        If the image has other channels or axes than the model reads, or a channel holds no finite value.
    """
    if image.ndim != model.ndim + 1 or len(image) != len(model.inputs):
        names = ", ".join(c.name for c in model.inputs)
        size = " x ".join(map(str, image.shape[1:]))
        msg = (
            f"The model '{model.name}' reads {len(model.inputs)} channel(s) ({names}) of {' '.join(model.axes)}; the "
            f"image has {len(image)} of {size} pixels."
        )
        raise ParameterError(msg)
    if image.size == 0:
        msg = "The image holds no pixel."
        raise ParameterError(msg)
    return limits(image, [c.normalisation for c in model.inputs])


def _normalised(model: ImageModel, image: NDArray[Any], bounds: Sequence[tuple[float, float]]) -> Singles:
    own = getattr(model, "preprocessed", None)  # models of other programs bring their own
    if own is not None:
        return np.asarray(own(np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)), np.float32)
    each = [c.normalisation.apply(i, b) for c, i, b in zip(model.inputs, image, bounds, strict=True)]
    return np.stack([np.where(np.isfinite(x), x, np.float32(0)) for x in each])


def _settings(model: ImageModel, settings: Mapping[str, float] | None) -> dict[str, float]:
    known = {**model.task.untuned, **model.settings}
    for name in settings or ():
        if name not in known:
            msg = f"The model '{model.name}' has no setting '{name}'; it has: {', '.join(sorted(known)) or 'none'}."
            raise ParameterError(msg)
    return {**known, **(settings or {})}


def factors_of(model: ImageModel, pixel_um: Sequence[float] | None) -> tuple[float, ...] | None:
    """Return how many times the image is to be enlarged along each axis, or None."""
    if model.pixel_um is None or pixel_um is None:
        return None
    factors = tuple(own / theirs for own, theirs in zip(pixel_um, model.pixel_um, strict=True))
    if max(max(f, 1 / f) for f in factors) > MOST_RESCALING:
        msg = (
            f"The image has pixels of {_listed(pixel_um)} um, the model '{model.name}' was trained at "
            f"{_listed(model.pixel_um)} um; check the pixel size, or take another model."
        )
        raise CalibrationError(msg)
    rounded = tuple(1.0 if abs(f - 1) <= SAME_SIZE else f for f in factors)
    return None if all(f == 1.0 for f in rounded) else rounded


def _listed(sizes: Sequence[float]) -> str:
    return " x ".join(f"{s:.4g}" for s in sizes)


def _fitted(x: Singles, factors: tuple[float, ...] | None) -> Singles:
    """Return a normalised image at the pixel size of the model."""
    if factors is None:
        return x
    shape = tuple(max(round(n * f), 1) for n, f in zip(x.shape[1:], factors, strict=True))
    return _resized(x, shape)


def _resized(x: Singles, shape: tuple[int, ...]) -> Singles:
    from skimage.transform import resize

    smooth = any(m < n for m, n in zip(shape, x.shape[1:], strict=True))
    return np.stack([resize(c, shape, order=1, mode="edge", anti_aliasing=smooth) for c in x]).astype(np.float32)


def _at_pixels(
    reading: Reading,
    shape: tuple[int, ...],
    seen: tuple[int, ...],
    model: ImageModel,
    missing: NDArray[np.bool_] | None,
) -> Reading:
    """Return a reading at the pixels of the image it is of."""
    more = (1, model.task.enlargement, model.task.enlargement)[3 - len(shape) :]
    wanted = tuple(n * m for n, m in zip(shape, more, strict=True))
    read = tuple(n * m for n, m in zip(seen, more, strict=True))
    maps = {name: _map_at(m, read, wanted) for name, m in reading.maps.items()}
    if reading.image is not None:
        image = _map_at(reading.image, read, wanted)
        if missing is not None and missing.any():
            lost = missing
            for axis, m in enumerate(more):
                lost = np.repeat(lost, m, axis=axis)
            image = np.where(lost, np.float32(np.nan), image)
        return replace(reading, image=image, maps=maps)
    if reading.labels is None:
        return replace(reading, maps=maps)
    labels = reading.labels[tuple(slice(0, n) for n in seen)]
    if seen != shape:
        places = [((np.arange(m) + 0.5) * n / m).astype(np.intp) for n, m in zip(seen, shape, strict=True)]
        labels = labels[np.ix_(*places)]
    if missing is not None:
        labels = np.where(missing, np.uint32(0), labels)
    if model.task.result == "classes":
        return replace(reading, labels=np.ascontiguousarray(labels), maps=maps)
    return _numbered(replace(reading, labels=np.ascontiguousarray(labels), maps=maps))


def _map_at(image: Singles, read: tuple[int, ...], wanted: tuple[int, ...]) -> Singles:
    """Return a map or image, which may be on the coarser grid of the network, at the pixels of the image."""
    channels = image if image.ndim == len(wanted) + 1 else image[None]
    coarse = tuple(round(n / max(m, 1)) for n, m in zip(read, channels.shape[1:], strict=True))
    for axis, step in enumerate(coarse, start=1):
        channels = np.repeat(channels, max(step, 1), axis=axis)
    channels = channels[(slice(None), *(slice(0, n) for n in read))]
    found = channels if channels.shape[1:] == wanted else _resized(channels, wanted)
    return np.ascontiguousarray(found if image.ndim == len(wanted) + 1 else found[0])


def _numbered(reading: Reading) -> Reading:
    """Return labels without the numbers of objects that lie outside of the image or vanish at its pixel size."""
    labels, quality = reading.labels, reading.quality
    if labels is None or labels.size == 0:
        return reading
    most = int(labels.max()) if quality is None else max(int(labels.max()), len(quality))
    seen = np.bincount(labels.reshape(-1), minlength=most + 1)[1:] > 0
    if seen.all():
        return reading
    numbers = np.concatenate([[0], np.cumsum(seen) * seen]).astype(np.uint32)
    return replace(reading, labels=numbers[labels], quality=None if quality is None else quality[seen])
