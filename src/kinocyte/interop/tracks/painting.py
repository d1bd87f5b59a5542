"""Label images of objects that have none: outlines filled, or discs and balls of the object's radius."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.interop.tracks.base import TrackData, calibrated
from kinocyte.interop.tracks.trackmate_new import movie_shape, radii_um

#: ``paint(frame, rows, values)`` returns the image of a frame where the objects of these rows have these values.
Painter = Callable[[int, NDArray[np.intp], NDArray[np.int64]], NDArray[np.uint16]]
_MOST_PIXELS = 2**29


def painter(data: TrackData) -> Painter:
    """Return what makes the label images of tracks: from label images, outlines or radii.

    Raises
    ------
    ParameterError
        If an object has no position, or the frames would be larger than 2**29 pixels.
    """
    from kinocyte.interop.tracks.ctc import relabelled

    masks = data.masks
    if masks is not None:
        labels = data.objects["label"].to_numpy().astype(np.int64)

        def relabel(t: int, rows: NDArray[np.intp], values: NDArray[np.int64]) -> NDArray[np.uint16]:
            return relabelled(masks(t), labels[rows], values, f"The label image of frame {t} of '{data.name}'")

        return relabel
    return _drawer(data)


def _drawer(data: TrackData) -> Painter:
    scale = calibrated(data, "A label image")
    shape = movie_shape(data)[1:]
    if data.shape is None:  # room for what is drawn around the outermost centre
        room = 2.0 * float(radii_um(data).max() or 0.0)  # type: ignore[arg-type] # a number: the column is
        shape = tuple(n + int(min(room / s, 100)) for n, s in zip(shape, scale.spacing_um(len(shape)), strict=True))
    if int(np.prod(shape, dtype=np.float64)) > _MOST_PIXELS:
        msg = f"'{data.name}' would need frames of {' x '.join(map(str, shape))} pixels; give its calibration."
        raise ParameterError(msg)
    spacing = np.array(scale.spacing_um(len(shape)))
    centres = data.objects.select([f"{a}_um" for a in "zyx"[-len(shape) :]]).to_numpy()
    if not np.isfinite(centres).all():
        lost = data.objects["object_id"][int(np.flatnonzero(~np.isfinite(centres).all(1))[0])]
        msg = f"The object {lost} of '{data.name}' has no position and cannot be drawn; take it out."
        raise ParameterError(msg)
    off = ((centres < -0.5 * spacing) | (centres > (np.array(shape) - 0.5) * spacing)).any(1)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        where = ", ".join(f"{a} = {v:g} um" for a, v in zip("zyx"[-len(shape) :], centres[row], strict=True))
        lost = data.objects["object_id"][row]
        msg = f"The object {lost} of '{data.name}' lies outside the image ({where}); take it out."
        raise ParameterError(msg)
    radii = radii_um(data).to_numpy()
    outlines = data.contours.items() if len(shape) == 2 else {}
    ids = data.objects["object_id"].to_list()

    def draw(_: int, rows: NDArray[np.intp], values: NDArray[np.int64]) -> NDArray[np.uint16]:
        image = np.zeros(shape, np.uint16)
        pixels = [_pixels(centres[r], radii[r], outlines.get(ids[r]), shape, spacing) for r in rows]
        for k in sorted(range(len(rows)), key=lambda k: -len(pixels[k][0])):  # small ones lie on top
            image[pixels[k]] = values[k]
        _keep_all(image, values, np.clip(np.rint(centres[rows] / spacing), 0, np.array(shape) - 1).astype(np.intp))
        return image

    return draw


def _pixels(
    centre: NDArray[np.float64], radius: float, outline: NDArray[np.float64] | None, shape: tuple[int, ...],
    spacing: NDArray[np.float64],
) -> tuple[NDArray[Any], ...]:  # fmt: skip
    """Return the pixels of one object."""
    if outline is not None and len(outline) > 2:
        from skimage.draw import polygon

        rows, columns = polygon(
            (outline[:, 1] + centre[0]) / spacing[0], (outline[:, 0] + centre[1]) / spacing[1], shape
        )
        return rows, columns
    low = np.maximum(np.ceil((centre - radius) / spacing), 0).astype(int)
    high = np.minimum(np.floor((centre + radius) / spacing), np.array(shape) - 1).astype(int)
    box = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    grid = np.meshgrid(*box, indexing="ij")
    inside = sum((g * s - c) ** 2 for g, s, c in zip(grid, spacing, centre, strict=True)) <= radius**2
    return tuple(g[inside] for g in grid)


def _keep_all(image: NDArray[np.uint16], values: NDArray[np.int64], centres: NDArray[np.intp]) -> None:
    """Give every object that others cover a near pixel that is nobody's last."""
    count = np.bincount(image.ravel(), minlength=int(values.max(initial=0)) + 1)
    for value, centre in zip(values, centres, strict=True):
        if count[value]:
            continue
        window = _window(image, count, centre)
        part = image[window]
        far = sum(
            (np.arange(w.start, w.stop) - c).reshape([-1 if i == k else 1 for i in range(image.ndim)]) ** 2
            for k, (w, c) in enumerate(zip(window, centre, strict=True))
        )
        free = (part == 0) | (count[part] > 1)
        spot = np.unravel_index(int(np.argmin(np.where(free, far, np.iinfo(np.int64).max))), part.shape)
        count[part[spot]] -= 1
        part[spot] = value
        count[value] = 1


def _window(image: NDArray[np.uint16], count: NDArray[np.int64], centre: NDArray[np.intp]) -> tuple[slice, ...]:
    """Return a box round a centre that holds a pixel that is nobody's last."""
    reach = 2
    while True:
        window = tuple(
            slice(max(c - reach, 0), min(c + reach + 1, n)) for c, n in zip(centre, image.shape, strict=True)
        )
        part = image[window]
        if ((part == 0) | (count[part] > 1)).any():
            return window
        if part.size == image.size:
            msg = "A frame has more objects than pixels; give the calibration or the size of the movie."
            raise ParameterError(msg)
        reach *= 2
