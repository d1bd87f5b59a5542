"""How touching objects are parted: parameters that several methods have, declared once; each method places them."""

from __future__ import annotations

from typing import Any, Literal

from kinocyte.core.method import param

Split = Literal["none", "neck", "distance", "h_maxima", "intensity"]


def split(peaks: str) -> Any:
    """Declare by what objects are parted; ``peaks`` says what is high in the middle of an object."""
    return param(
        "neck",
        help="How touching objects are parted: not at all; at necks narrower than max_neck; between centres at least "
        f"seed_distance_um apart; between centres that rise seed_h_um above their saddle; or between {peaks} at "
        "least seed_distance_um apart.",
    )


def max_neck() -> Any:
    """Declare how narrow a neck is cut."""
    return param(
        0.9,
        help="Split neck: objects are parted where the neck is narrower than this fraction of the smaller part.",
        gt=0,
        lt=1,
    )


def seed_distance_um() -> Any:
    """Declare how near two centres may be."""
    return param(5.0, help="Split distance and intensity: smallest distance of two centres.", unit="um", ge=0)


def seed_h_um() -> Any:
    """Declare how high a centre must rise."""
    return param(
        0.75,
        help="Split h_maxima: how much farther from the edge a centre lies than the saddle between both.",
        unit="um",
        gt=0,
    )
