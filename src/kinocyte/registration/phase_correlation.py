"""Drift by correlation of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import model_validator

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.registration.base import Movie, Movies, Registrar

if TYPE_CHECKING:
    from kinocyte.registration._estimate import Plan


class PhaseCorrelation(Registrar):
    """Estimate drift from the correlation of frames, weighted by how well each frequency repeats.

    With ``reference="global"`` frames are compared at several lags on small images, the lags are solved by robust
    least squares, and each frame is then aligned to a fraction of a pixel with the mean of all others. What the
    spectra have in common decides the weights: where the signal rules they are those of phase correlation, where
    noise rules those of the matched filter.

    The table holds, after the columns of `kinocyte.core.schema.DRIFT`: ``peak_height`` (weighted correlation
    coefficient), ``sharpness`` (the peak in standard deviations of chance), ``residual_px`` (disagreement of a
    frame's measurements), ``error_px`` (predicted standard error), ``outlier``, ``interpolated`` and
    ``fixed_pattern``: ``removed`` where a pattern at rest was found and taken off, ``suspected`` where frames rest on
    each other while part of the content moves as one, so that dirt, camera or illumination may hide a drift (mask it,
    take another channel or set ``fixed_pattern = "remove"``), else ``none``.

    The models ``similarity`` and ``affine`` add ``scale_x``, ``scale_y`` and ``shear_x``: a point (x, y) of frame 0,
    from the centre of the frame, lies in frame t at ``turn(angle_deg) [[1, shear_x], [0, 1]] (scale_x x, scale_y y)
    + (dx_px, dy_px)``; `apply_drift` and `drifted_positions` undo them.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Knapp & Carter 1976, IEEE Trans. ASSP 24:320, doi:10.1109/TASSP.1976.1162830",
        "Kuglin & Hines 1975, Proc. IEEE Int. Conf. Cybernetics and Society, 163",
        "Guizar-Sicairos et al. 2008, Opt. Lett. 33:156, doi:10.1364/OL.33.000156",
        "Padfield 2012, IEEE Trans. Image Process. 21:2706, doi:10.1109/TIP.2011.2181402",
        "Baker & Matthews 2004, Int. J. Comput. Vis. 56:221, doi:10.1023/B:VISI.0000011205.11775.fd",
        "Pylvänäinen et al. 2023, J. Cell Sci. 136:jcs260728, doi:10.1242/jcs.260728",
    )

    method: Literal["phase_correlation"] = "phase_correlation"
    channel: str | tuple[str, ...] = param(
        (), help="Channel to look at, or several that are combined; none named = all that are given."
    )
    combine: Literal["sum", "joint"] = param(
        "sum",
        help="Several channels: add them (signal that moves from one to the other stays), or add their correlations.",
        advanced=True,
    )
    reference: Literal["global", "previous", "first", "template"] = param(
        "global",
        help="What a frame is compared with: all others, the one before, the first, or a mean of the last ones.",
    )
    template_frames: int = param(5, help="Number of frames of the running template.", ge=1, le=50, advanced=True)
    model: Literal["translation", "rigid", "similarity", "affine"] = param(
        "translation",
        help="Shift only; shift and rotation about the centre of the frame; size too; or size along each axis and "
        "shear too.",
    )
    stack: Literal["projection", "volume"] = param(
        "projection",
        help="Stacks: shift from projections along z, then along y (fast); or from the correlation of whole volumes.",
    )
    projection: Literal["mean", "max"] = param(
        "mean", help="Projection of stacks; the mean stands more noise, the maximum more background."
    )
    axial: bool = param(True, help="Estimate the drift along z of stacks too.")
    axial_view: Literal["y", "x"] = param(
        "y", help="Axis along which stacks are projected to find the drift along z.", advanced=True
    )
    correlation: Literal["weighted", "phase", "normalised"] = param(
        "weighted",
        help="Weight of the frequencies: from the data, all equal (phase correlation), or as they are "
        "(normalised cross-correlation of the pixels that both frames show, inside the mask).",
        advanced=True,
    )
    fixed_pattern: Literal["auto", "remove", "keep"] = param(
        "auto",
        help="Dirt, camera or illumination that stays in place while the sample moves: find and remove it, always "
        "remove it, or leave it.",
    )
    enhance: Literal["none", "edges", "beads"] = param(
        "none", help="Compare the image itself, its edges, or bright beads only."
    )
    bead_diameter_um: float | None = param(
        None, help="Diameter of the beads for enhance = 'beads'; 4 pixels where left out.", unit="um", gt=0,
        advanced=True,
    )  # fmt: skip
    smallest_um: float | None = param(
        None, help="Structures finer than this are filtered out before frames are compared.", unit="um", gt=0,
        advanced=True,
    )  # fmt: skip
    largest_um: float | None = param(
        None, help="Structures coarser than this are filtered out before frames are compared.", unit="um", gt=0,
        advanced=True,
    )  # fmt: skip
    max_step_um: float | None = param(
        None,
        help="Largest shift from one frame to the next along x or y; none = half of the frame, or four fifths where "
        "frames of clear structure find no place nearby.",
        unit="um",
        gt=0,
    )
    max_total_um: float | None = param(
        None, help="Largest shift against the first frame along x or y; frames beyond it are interpolated.",
        unit="um", gt=0,
    )  # fmt: skip
    region_px: tuple[int, int, int, int] | None = param(
        None, help="Part of the frame that is looked at: first row, last row + 1, first column, last column + 1.",
        unit="px",
    )  # fmt: skip
    planes: tuple[int, int] | None = param(
        None, help="Planes of a stack that are looked at: first, last + 1.", advanced=True
    )
    average_frames: int = param(
        1, help="Frames averaged before they are compared; the drift between them is interpolated.", ge=1, le=100,
        advanced=True,
    )  # fmt: skip
    lags: tuple[int, ...] = param(
        (1, 2, 4, 8, 16, 32), help="Distances in frames at which frames are compared (global).", advanced=True
    )

    @model_validator(mode="after")
    def _crops_run_forward(self) -> PhaseCorrelation:
        for name, value in (("region_px", self.region_px), ("planes", self.planes)):
            if value is not None:
                starts, stops = value[::2], value[1::2]
                if min(starts) < 0 or any(a >= b for a, b in zip(starts, stops, strict=True)):
                    msg = f"{name} = {value} must run from a smaller to a larger number, none negative"
                    raise ValueError(msg)
        if not self.lags or min(self.lags) < 1:
            msg = "lags must hold at least one distance, each 1 or more"
            raise ValueError(msg)
        if self.smallest_um is not None and self.largest_um is not None and self.smallest_um >= self.largest_um:
            msg = "smallest_um must be below largest_um"
            raise ValueError(msg)
        return self

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that the method reads; empty for all that it is given."""
        return (self.channel,) if isinstance(self.channel, str) and self.channel else tuple(self.channel)

    def estimate(
        self,
        movie: Movies,
        scale: Scale | None = None,
        seed: int = 0,  # noqa: ARG002 - the verb's signature; nothing here is left to chance
        *,
        mask: NDArray[Any] | None = None,
    ) -> pl.DataFrame:
        """Return the drift of a movie; see `Registrar.estimate`.

        Raises
        ------
        ParameterError
            If channels, region or mask do not fit the movie, or a length in micrometres lacks a scale.
        """
        from kinocyte.registration._estimate import estimate

        return estimate(self._movies(movie), self._plan(scale), mask)

    def _movies(self, movie: Movies) -> list[Movie]:
        if isinstance(movie, Mapping):
            missing = [c for c in self.channels if c not in movie]
            if missing:
                msg = f"There is no channel '{missing[0]}'; {nearest(missing[0], movie)}."
                raise ParameterError(msg)
            return [movie[c] for c in self.channels or tuple(movie)]
        if isinstance(movie, Sequence) and not hasattr(movie, "shape"):
            return list(movie)
        return [cast("Movie", movie)]

    def _plan(self, scale: Scale | None) -> Plan:
        from kinocyte.registration._coarse import Search
        from kinocyte.registration._estimate import Plan
        from kinocyte.registration._prepare import Preparation

        def in_px(name: str, default: float) -> float:
            length_um = getattr(self, name)
            if length_um is None:
                return default
            if scale is None:
                msg = f"{name} is a length in micrometres; give the pixel size (scale) with it."
                raise ParameterError(msg)
            return float(length_um / scale.pixel_size_um)

        preparation = Preparation(
            projection="volume" if self.stack == "volume" else self.projection,
            region=self.region_px,
            planes=self.planes,
            joint=self.combine == "joint" and self.stack != "volume",
            enhance=self.enhance,
            bead_px=in_px("bead_diameter_um", 4.0),
            average=self.average_frames,
        )
        search = Search(
            whiten={"weighted": "weighted", "phase": "phase", "normalised": "flat"}[self.correlation],
            lags=tuple(sorted(set(self.lags))),
            smallest_px=in_px("smallest_um", 0.0),
            largest_px=in_px("largest_um", 0.0),
            step_px=in_px("max_step_um", np.inf),
            depth_px=1.0 if scale is None or scale.z_um is None else scale.z_um / scale.pixel_size_um,
        )
        return Plan(
            preparation=preparation,
            search=search,
            reference=self.reference,
            template_frames=self.template_frames,
            axial=self.axial,
            axial_view=self.axial_view,
            fixed_pattern=self.fixed_pattern,
            total_px=in_px("max_total_um", np.inf),
            model=self.model,
        )
