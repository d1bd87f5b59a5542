"""Draw one frame for a reader: grey image, outlines of cells, tails of tracks, a scale bar and the time.

Arrays in, pictures out; reading the movie is the business of `kinocyte.report.movie`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

RGB = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Tail:
    """The way a cell came: points (x, y) in pixels of the picture, oldest first."""

    points: tuple[tuple[float, float], ...]
    colour: RGB


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything that is drawn into one picture.

    Attributes
    ----------
    grey : array of uint8
        (y, x) at the size of the picture.
    outlines : sequence of (array of uint32, mapping of int to RGB, RGB)
        Label image at the size of the picture, the colour of each label, and that of all others.
    tails : sequence of Tail
        Tracks.
    text : str
        Upper left, usually the time.
    bar : (int, str), optional
        Length of the scale bar in pixels of the picture and what it stands for.
    """

    grey: NDArray[np.uint8]
    outlines: Sequence[tuple[NDArray[np.uint32], Mapping[int, RGB], RGB]] = ()
    tails: Sequence[Tail] = ()
    text: str = ""
    bar: tuple[int, str] | None = None


def limits(
    samples: Iterable[NDArray[Any]], low_percent: float = 1.0, high_percent: float = 99.7
) -> tuple[float, float]:
    """Return the grey values shown as black and as white: percentiles of the movie, without NaN and inf."""
    parts = []
    for frame in samples:
        flat = np.asarray(frame).ravel()
        flat = flat[:: max(1, flat.size // 60_000)]
        parts.append(flat[np.isfinite(flat)].astype(np.float64))
    values = np.concatenate(parts) if parts else np.zeros(0)
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (low_percent, high_percent)))
    return low, high if high > low else low + 1.0


def picture_size(height: int, width: int, longest_px: int) -> tuple[int, int]:
    """Return height and width of the picture: the longer side as asked for; small images grow by whole numbers."""
    longest = max(height, width)
    if longest >= longest_px:
        factor = longest_px / longest
        return max(1, round(height * factor)), max(1, round(width * factor))
    grow = max(1, longest_px // longest)
    return height * grow, width * grow


def to_grey(plane: NDArray[Any], black: float, white: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a plane (y, x) as grey values 0 to 255 at another size, (y, x); NaN is black."""
    scaled = (np.nan_to_num(np.asarray(plane, dtype=np.float32), posinf=white) - black) * (255.0 / (white - black))
    image = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    if image.size != (size[1], size[0]):
        smaller = image.size[0] > size[1]
        image = image.resize((size[1], size[0]), Image.Resampling.BOX if smaller else Image.Resampling.NEAREST)
    return np.asarray(image)


def resize_labels(labels: NDArray[np.uint32], size: tuple[int, int]) -> NDArray[np.uint32]:
    """Return a label image (y, x) at another size without mixing labels."""
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * labels.shape[a] / n).astype(np.intp), labels.shape[a] - 1)
        for a, n in enumerate(size)
    )
    return np.asarray(labels[np.ix_(rows, columns)])


def outline(labels: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return the pixels of objects that touch background or another object from the right or below, or from within."""
    edge = np.zeros(labels.shape, dtype=bool)
    down = labels[1:] != labels[:-1]
    right = labels[:, 1:] != labels[:, :-1]
    edge[:-1] |= down
    edge[1:] |= down & (labels[:-1] == 0)
    edge[:, :-1] |= right
    edge[:, 1:] |= right & (labels[:, :-1] == 0)
    return np.asarray(edge & (labels > 0))


def draw(frame: Frame) -> Image.Image:
    """Return the picture of one frame."""
    pixels = np.repeat(frame.grey[..., None], 3, axis=2)
    for labels, colours, other in frame.outlines:
        edge = outline(labels)
        ids = labels[edge]
        unique, inverse = np.unique(ids, return_inverse=True)
        if unique.size:
            table = np.array([colours.get(int(v), other) for v in unique], dtype=np.uint8)
            pixels[edge] = table[inverse]
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    for tail in frame.tails:
        if len(tail.points) > 1:
            pen.line([(float(x), float(y)) for x, y in tail.points], fill=tail.colour, width=1)
    _annotate(pen, frame, image.size)
    return image


def _annotate(pen: ImageDraw.ImageDraw, frame: Frame, size: tuple[int, int]) -> None:
    height = max(10, min(16, round(min(size) / 20)))
    font = _font(height)
    paint: dict[str, Any] = {"fill": (255, 255, 255), "stroke_fill": (0, 0, 0), "stroke_width": 1, "font": font}
    if frame.text:
        pen.text((4, 3), frame.text, **paint)
    if frame.bar is not None:
        length, text = frame.bar
        right, bottom = size[0] - 6, size[1] - 6
        pen.rectangle((right - length - 1, bottom - 4, right + 1, bottom + 1), fill=(0, 0, 0))
        pen.rectangle((right - length, bottom - 3, right, bottom), fill=(255, 255, 255))
        pen.text((right, bottom - 7), text, anchor="rb", **paint)


@cache
def _font(height_px: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib; the font inside Pillow has no micro sign."""
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), height_px)


def scale_bar(um_per_px: float, width_px: int) -> tuple[int, str]:
    """Return length in pixels and text of a scale bar of a round number, about a fifth of the width."""
    target = 0.22 * width_px * um_per_px
    power = 10.0 ** math.floor(math.log10(target))
    length = max(f * power for f in (1, 2, 5) if f * power <= target * 1.0001)
    text = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    return max(1, round(length / um_per_px)), text


def time_text(minutes: float) -> str:
    """Return a time as people say it: ``45 min``, ``3 h 20 min``, ``12.5 s``."""
    if abs(minutes) < 1 and minutes:
        return f"{minutes * 60:.3g} s"
    if abs(minutes) < 120:
        return f"{minutes:.4g} min"
    hours, rest = divmod(round(abs(minutes)), 60)
    sign = "-" if minutes < 0 else ""
    return f"{sign}{hours} h {rest:02d} min" if rest else f"{sign}{hours} h"
