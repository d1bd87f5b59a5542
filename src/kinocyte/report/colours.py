"""Colours that people with a colour vision deficiency tell apart."""

from __future__ import annotations

from functools import cache

#: Okabe and Ito (2008), without black and yellow, which vanish on a dark or a white page; grey is the seventh.
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A8A8A")

#: Bright enough for a line of one pixel on a black image.
TRACKS = ("#56B4E9", "#E69F00", "#2FD6A5", "#F0E442", "#FF7B39", "#F39BC9", "#9AD1FF")

#: Sequential colour maps for quantities, both from matplotlib and made for colour vision deficiencies.
SEQUENTIAL = ("viridis", "cividis")


def category(index: int) -> str:
    """Return the colour of the n-th condition, ``#rrggbb``; colours repeat after seven."""
    return CATEGORIES[index % len(CATEGORIES)]


def rgb(colour: str) -> tuple[int, int, int]:
    """Return ``#rrggbb`` as three whole numbers 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def track_rgb(track_id: int) -> tuple[int, int, int]:
    """Return the colour of a track, the same in every figure and on every machine."""
    return rgb(TRACKS[track_id % len(TRACKS)])


@cache
def group_colours(n: int) -> tuple[str, ...]:
    """Return the colours of ``n`` conditions: categories for up to seven, steps of viridis in their order for more."""
    if n <= len(CATEGORIES):
        return CATEGORIES[:n]
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    # neither end, as the darkest vanish on a dark page and the lightest on a light one
    return tuple(to_hex(colormaps["viridis"](0.2 + 0.68 * i / (n - 1))) for i in range(n))


@cache
def stops(name: str, n: int = 33) -> tuple[str, ...]:
    """Return ``n`` evenly spaced colours of a sequential map as ``#rrggbb``, low to high."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return tuple(to_hex(colormaps[name](i / (n - 1))) for i in range(n))


def ink_on(colour: str) -> str:
    """Return black or white, whichever reads better on ``colour`` (WCAG 2 relative luminance)."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb(colour))]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"


def shade(colour: str, index: int, n: int) -> str:
    """Return one of ``n`` lightnesses of a colour, from darker to lighter, the colour itself where n is 1."""
    part = 0.0 if n < 2 else 0.5 * index / (n - 1) - 0.25
    target = 255 if part > 0 else 0
    return "#{:02x}{:02x}{:02x}".format(*(round(v + abs(part) * (target - v)) for v in rgb(colour)))
