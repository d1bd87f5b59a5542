"""One population made of others: red and green nuclei of a FUCCI movie, the vote of several segmentations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.method import Method, param
from kinocyte.core.scale import Scale


class Combined(Method):
    """Objects are made from the label images of other populations, then cleaned.

    With ``union``, ``majority`` and ``intersection``, objects of different populations that overlap enough are one, and
    a pixel belongs to it when one, more than half, or all of them agree. With ``priority`` the objects of an earlier
    population stay and those of a later one fill what is free. The union of the red and the green nuclei of a FUCCI
    movie is the mask of all nuclei. The steps after that run in the order of the parameters; with a single population
    only they do something.
    """

    kind: ClassVar[str] = "segmentation"

    method: Literal["combined"] = "combined"
    populations: tuple[str, ...] = param(help="Populations whose label images are combined, in order of priority.")
    how: Literal["union", "majority", "intersection", "priority"] = param(
        "union",
        help="Which pixels belong to an object: those of any population, of more than half, of all, or by rank.",
    )
    min_iou: float = param(
        0.3, help="Objects are one when their intersection over union reaches this (not with priority).", ge=0, le=1
    )
    max_overlap: float = param(
        0.5, help="Priority: a later object is left out when more than this part of it is taken.", ge=0, le=1
    )
    split_parts: bool = param(False, help="Make each connected part of an object an object of its own.")
    largest_part: bool = param(False, help="Keep only the largest connected part of each object.")
    fill_holes: bool = param(False, help="Fill background that is enclosed by one object.")
    shrink_um: float = param(0.0, help="Take this much off the outline of every object.", unit="um", ge=0)
    grow_um: float = param(
        0.0, help="Let every object take the background within this distance; the nearest has it.", unit="um", ge=0
    )
    min_area_um2: float | None = param(None, help="Smaller objects are left out (2D).", unit="um2", ge=0)
    max_area_um2: float | None = param(None, help="Larger objects are left out (2D).", unit="um2", gt=0)
    min_volume_um3: float | None = param(None, help="Smaller objects are left out (3D).", unit="um3", ge=0)
    max_volume_um3: float | None = param(None, help="Larger objects are left out (3D).", unit="um3", gt=0)
    exclude_border_um: float | None = param(
        None,
        help="Leave out objects that come this close to a side of the frame; 0 leaves out those that touch it.",
        unit="um",
        ge=0,
    )

    @field_validator("populations")
    @classmethod
    def _named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) < len(names):
            msg = "populations needs at least one name, each once"
            raise ValueError(msg)
        return names

    def combine(self, labels: Mapping[str, NDArray[Any]] | Sequence[NDArray[Any]], scale: Scale) -> NDArray[np.uint32]:
        """Return the label image of one frame.

        Parameters
        ----------
        labels : mapping of str to array, or sequence of array
            Label images of the frame by population, or in the order of ``populations``; all of one shape, (y, x) or
            (z, y, x).
        scale : Scale
            Calibration.

        Returns
        -------
        array of uint32
            0 is background, objects are numbered 1..n in the order in which rows meet their first pixel.

        Raises
        ------
        ParameterError
            If a population is missing, or the images are not label images of one shape.
        """
        from kinocyte.segmentation import label_algebra as algebra

        out = algebra.combine(self._images(labels), self.how, min_iou=self.min_iou, max_overlap=self.max_overlap)
        if self.split_parts:
            out = algebra.split_parts(out)
        if self.largest_part:
            out = algebra.keep_largest_part(out)
        if self.fill_holes:
            out = algebra.fill_holes(out)
        if self.shrink_um > 0:
            out = algebra.shrink(out, self.shrink_um, scale)
        if self.grow_um > 0:
            out = algebra.grow(out, self.grow_um, scale)
        low, high = (
            (self.min_area_um2, self.max_area_um2) if out.ndim == 2 else (self.min_volume_um3, self.max_volume_um3)
        )
        if low is not None or high is not None:
            out = algebra.remove_by_size(out, scale, smallest=low, largest=high)
        return out if self.exclude_border_um is None else algebra.clear_border(out, scale, self.exclude_border_um)

    def _images(self, labels: Mapping[str, NDArray[Any]] | Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        if not isinstance(labels, Mapping):
            if len(labels) != len(self.populations):
                msg = f"combined needs {len(self.populations)} label images, there are {len(labels)}."
                raise ParameterError(msg)
            return list(labels)
        for name in self.populations:
            if name not in labels:
                msg = f"There is no population '{name}' to combine; {nearest(name, labels)}."
                raise ParameterError(msg)
        return [labels[name] for name in self.populations]
