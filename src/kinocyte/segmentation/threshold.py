"""Segmentation by a threshold: filter, threshold, fill, split, keep what looks like a cell."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.segmentation import splitting
from kinocyte.segmentation.base import Pixels, Segmenter, single_channel
from kinocyte.segmentation.filters import Filter, Gaussian

Feature = Literal[
    "area_um2",
    "volume_um3",
    "equivalent_diameter_um",
    "major_axis_um",
    "minor_axis_um",
    "eccentricity",
    "solidity",
    "extent",
    "circularity",
    "mean",
    "min",
    "max",
    "std",
    "contrast",
]


class PropertyFilter(BaseModel):
    """Keep the objects whose property lies within a range, ``{ feature = "solidity", min = 0.8 }``.

    ``mean``, ``min``, ``max`` and ``std`` are grey values of the channel before any filter; ``contrast`` is the mean
    divided by the mean of all background pixels; ``circularity`` is 4 pi area / perimeter^2 (2D, square pixels).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    feature: Feature = param(help="What is measured on each object.")
    min: float | None = param(None, help="Smallest value that is kept; left out: no lower limit.")
    max: float | None = param(None, help="Largest value that is kept; left out: no upper limit.")

    @model_validator(mode="after")
    def _has_a_limit(self) -> PropertyFilter:
        if self.min is None and self.max is None:
            msg = "give min, max or both."
            raise ValueError(msg)
        if self.min is not None and self.max is not None and self.min > self.max:
            msg = "min must not exceed max."
            raise ValueError(msg)
        return self


class Looked(NamedTuple):
    """What a threshold does to a frame, for a person who tries values."""

    labels: NDArray[np.uint32]
    """As of `Threshold.segment`."""
    filtered: NDArray[Any]
    """The image that the level is applied to."""
    level: float | None
    """The level of the frame, if there is one."""


class Threshold(Segmenter):
    """Objects are what is brighter (or darker) than a level; touching objects are split.

    The channel runs through ``filters``, a level turns it into a mask, holes are filled, the mask is split into
    objects, and objects that are too small, too large, cut by the frame or otherwise odd are left out. Pixels that are
    NaN or infinite are background. A constant frame has no objects. Automatic levels always find two classes, even in
    noise; ``min_contrast`` therefore rejects a frame whose bright class does not stand out from the spread of the dark
    one. Otsu's level needs cells on a few per cent of the frame; ``background`` finds a single one. Where dim cells are
    missed beside bright ones, ``adaptive`` looks for a dimmer class too and gives each object a level of its own.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979)",
        "Zack, Rogers and Latt, J. Histochem. Cytochem. 25, 741 (1977)",
        "Li and Tam, Pattern Recognit. Lett. 19, 771 (1998)",
        "Sauvola and Pietikäinen, Pattern Recognit. 33, 225 (2000)",
        "Meyer, Signal Process. 38, 113 (1994)",
    )

    method: Literal["threshold"] = "threshold"
    channel: str = param(help="Channel that shows the objects.")
    filters: tuple[Filter, ...] = param(
        (Gaussian(sigma_um=0.5),), help="Filters that prepare the image, in order; an empty list takes it as it is."
    )
    threshold: Literal["otsu", "adaptive", "triangle", "li", "background", "local", "niblack", "sauvola", "fixed"] = (
        param(
            "otsu",
            help="How the level is found: from the histogram of the frame (otsu, triangle, li), for each object on "
            "its own where dim and bright ones lie side by side (adaptive), some deviations above the background "
            "where cells are few (background), around each pixel (local, niblack, sauvola), or given as low and high "
            "(fixed).",
        )
    )
    outline_fraction: float | None = param(
        None,
        help="The outline of each object runs this fraction of the way from the background to its bright part: at 0.5 "
        "blur and brightness do not change its area. Left out: along the level, and at 0.35 with threshold adaptive.",
        ge=0,
        lt=1,
        advanced=True,
    )
    low: float | None = param(None, help="With a fixed threshold: darkest grey value of objects, after the filters.")
    high: float | None = param(None, help="With a fixed threshold: brightest grey value of objects, after the filters.")
    foreground: Literal["bright", "dark"] = param(
        "bright", help="Whether objects are brighter or darker than the level; a fixed range needs no such choice."
    )
    level_factor: float = param(
        1.0, help="Automatic levels are multiplied by this; above 1 takes less.", gt=0, le=10, advanced=True
    )
    background_sd: float = param(
        6.0,
        help="Threshold background: standard deviations of the background, estimated from the darker half of the "
        "frame, between background and level. Cells must cover less than half of the frame.",
        gt=0,
    )
    window_um: float = param(
        30.0, help="Side of the neighbourhood of a local threshold; larger than an object.", unit="um", gt=0
    )
    local_k: float = param(
        0.2,
        help="Standard deviations below the local mean (niblack, negative asks for brighter pixels), or weight of the "
        "local contrast (sauvola).",
        ge=-10,
        le=10,
        advanced=True,
    )
    local_offset: float = param(0.0, help="Grey values a pixel must exceed the local mean by (local).", advanced=True)
    hysteresis_low: float | None = param(
        None,
        help="With a fixed threshold: objects spread into adjoining pixels down to this grey value.",
        advanced=True,
    )
    hysteresis: float | None = param(
        None,
        help="With an automatic level: objects spread into adjoining pixels down to this fraction of the way from the "
        "mean background to the level; 1 spreads nothing.",
        gt=0,
        le=1,
        advanced=True,
    )
    min_contrast: float = param(
        4.0,
        help="A frame has no objects where its bright part is on average fewer standard deviations of the dark part "
        "above it; noise reaches 2.7, a slope 3.5, fluorescent nuclei 4.5 to 40. 0 accepts every frame; fixed levels "
        "do not ask.",
        ge=0,
    )
    fill_holes: bool = param(True, help="Fill background that is enclosed by an object.")
    connectivity: Literal["face", "full"] = param(
        "full",
        help="Whether pixels of one object must share an edge (face) or a corner is enough (full).",
        advanced=True,
    )
    split: splitting.Split = splitting.split("intensity peaks")
    max_neck: float = splitting.max_neck()
    seed_distance_um: float = splitting.seed_distance_um()
    seed_h_um: float = splitting.seed_h_um()
    min_area_um2: float | None = param(10.0, help="Smaller objects are left out (2D).", unit="um2", ge=0)
    max_area_um2: float | None = param(None, help="Larger objects are left out (2D).", unit="um2", gt=0)
    min_volume_um3: float | None = param(None, help="Smaller objects are left out (3D).", unit="um3", ge=0)
    max_volume_um3: float | None = param(None, help="Larger objects are left out (3D).", unit="um3", gt=0)
    exclude_border_um: float | None = param(
        None,
        help="Leave out objects that come this close to a side of the frame; 0 leaves out those that touch it.",
        unit="um",
        ge=0,
    )
    keep: tuple[PropertyFilter, ...] = param((), help="Keep the objects whose properties lie within these ranges.")

    @model_validator(mode="after")
    def _range_is_given(self) -> Threshold:
        fixed = self.threshold == "fixed"
        if fixed and self.low is None and self.high is None:
            msg = "threshold = 'fixed' needs low, high or both."
            raise ValueError(msg)
        if self.low is not None and self.high is not None and self.low > self.high:
            msg = f"low = {self.low:g} must not exceed high = {self.high:g}."
            raise ValueError(msg)
        if not fixed:
            for name in ("low", "high", "hysteresis_low"):
                if getattr(self, name) is not None:
                    msg = f"{name} belongs to threshold = 'fixed', not to '{self.threshold}'."
                    raise ValueError(msg)
        elif self.hysteresis is not None:
            msg = "hysteresis belongs to automatic thresholds; with threshold = 'fixed' give hysteresis_low."
            raise ValueError(msg)
        if self.threshold == "adaptive" and self.hysteresis is not None:
            msg = "threshold = 'adaptive' draws each outline by outline_fraction; leave hysteresis out."
            raise ValueError(msg)
        if self.hysteresis_low is not None and (self.low is None or self.hysteresis_low > self.low):
            msg = "hysteresis_low needs a low that is not below it."
            raise ValueError(msg)
        return self

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that the method reads."""
        return (self.channel,)

    def segment(self, pixels: Pixels, scale: Scale, *, seed: int = 0) -> NDArray[np.uint32]:  # noqa: ARG002 - no chance
        """Return the label image of one frame.

        Parameters
        ----------
        pixels : array or mapping of str to array
            One frame, (y, x) or (z, y, x), any real dtype; of a mapping the channel is taken.
        scale : Scale
            Calibration.
        seed : int
            Not used; nothing is left to chance.

        Returns
        -------
        array of uint32
            0 is background, objects are numbered 1..n in the order in which rows meet their first pixel.

        Raises
        ------
        ParameterError
            If the channel is missing, or the array is complex or not 2D or 3D.
        CalibrationError
            If a stack comes without a distance of planes.
        """
        from kinocyte.segmentation._threshold_kernel import segment

        return segment(single_channel(pixels, self.channel), self, scale)

    def level(self, pixels: Pixels, scale: Scale) -> tuple[NDArray[Any], float | None]:
        """Return the image that the level is applied to, and the level: what a person sees who chooses it by eye.

        Parameters
        ----------
        pixels : array or mapping of str to array
            One frame, (y, x) or (z, y, x), any real dtype; of a mapping the channel is taken.
        scale : Scale
            Calibration.

        Returns
        -------
        filtered : array
            The channel after the filters; pixels that are NaN or infinite have the median of the others.
        level : float or None
            One level for the whole frame (of a fixed range its lower limit); None where each pixel or object has its
            own, and in a constant frame.
        """
        from kinocyte.segmentation._threshold_kernel import filtered_and_level

        return filtered_and_level(single_channel(pixels, self.channel), self, scale)

    def look(self, pixels: Pixels, scale: Scale, kept: dict[str, tuple[Any, Any]]) -> Looked:
        """Return what `segment` and `level` return, quickly while one value after another is tried on a frame.

        Parameters
        ----------
        pixels : array or mapping of str to array
            One frame, as for `segment`.
        scale : Scale
            Calibration.
        kept : dict
            Empty for a new frame. It then holds what the last values gave, so that only what a changed value changes
            is computed; its arrays and those returned must not be written to.
        """
        from kinocyte.segmentation._threshold_kernel import look

        return look(single_channel(pixels, self.channel), self, scale, kept)
