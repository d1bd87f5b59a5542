"""Linking by weighing hypotheses about whole stretches of track."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, ClassVar, Literal

import polars as pl

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.tracking.base import LONGEST_GAP, LONGEST_UM, SHORTEST_UM, LabelSource, Linker

Hypothesis = Literal["false_positive", "init", "term", "link", "branch", "dead", "merge"]

#: what bTrack's configuration calls the hypotheses and the parameters
_NAMES: dict[str, Hypothesis] = {
    "P_FP": "false_positive",
    "P_init": "init",
    "P_term": "term",
    "P_link": "link",
    "P_branch": "branch",
    "P_dead": "dead",
    "P_merge": "merge",
}
_LENGTHS = {
    "lambda_dist": "border_scale_um",
    "lambda_link": "link_scale_um",
    "lambda_branch": "branch_scale_um",
    "theta_dist": "border_um",
    "dist_thresh": "hypothesis_max_distance_um",
}
_NUMBERS = {
    "lambda_time": "end_scale_frames",
    "theta_time": "end_frames",
    "time_thresh": "max_frame_gap",
    "eta": "least_probability",
    "segmentation_miss_rate": "false_positive_rate",
    "apoptosis_rate": "death_rate",
}


class Bayesian(Linker):
    """Link confident stretches of track by the most probable set of hypotheses.

    First, objects of consecutive frames are linked as by `kinocyte.tracking.LAP` and the tracks are cut wherever a
    division might have taken place. Then each stretch begins by appearing, by continuing another one, as a daughter or
    by a merge; it ends by disappearing, dying, continuing, dividing or merging; or it is a false detection. Of all
    sets of hypotheses that explain each beginning and each end exactly once, the one of largest probability is found
    by integer programming (HiGHS). The hypotheses and their probabilities are those of bTrack.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Ulicna et al., Frontiers in Computer Science 3, 734559 (2021), doi:10.3389/fcomp.2021.734559",
        "Bise et al., IEEE ISBI, 1004-1010 (2011), doi:10.1109/ISBI.2011.5872571",
        "Huangfu and Hall, Mathematical Programming Computation 10, 119-142 (2018), doi:10.1007/s12532-017-0130-5",
    )

    method: Literal["bayesian"] = "bayesian"
    max_distance_um: float = param(
        15.0,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Largest distance an object moves from one frame to the next.",
    )
    hypotheses: tuple[Hypothesis, ...] = param(
        ("false_positive", "init", "term", "link", "branch"),
        help="What may have happened; init and term are always possible.",
    )
    hypothesis_max_distance_um: float = param(
        20.0, ge=SHORTEST_UM, le=LONGEST_UM, unit="um", help="Largest distance over a gap, a division or a merge."
    )
    max_frame_gap: int = param(
        3, ge=1, le=LONGEST_GAP, help="Largest difference of frames over which stretches are joined, 1 = no gap."
    )
    feature_penalties: dict[str, float] = param(
        {}, help="Columns of the objects table and weights; objects that differ in them count as farther apart."
    )
    link_scale_um: float = param(
        10.0,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Distance over which a link gets less probable by a factor e.",
    )
    branch_scale_um: float = param(
        20.0,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Distance over which a division or merge gets less probable by a factor e.",
    )
    border_um: float = param(
        20.0, ge=0, le=LONGEST_UM, unit="um", help="Tracks may begin and end this near to the border of the field."
    )
    border_scale_um: float = param(
        5.0,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Distance to the border over which that gets less probable by a factor e.",
    )
    end_frames: int = param(
        5, ge=0, help="Tracks may begin so many frames after the first and end so many before the last."
    )
    end_scale_frames: float = param(5.0, gt=0, help="Frames over which that gets less probable by a factor e.")
    least_probability: float = param(
        1e-10, gt=0, lt=1, help="Probability of a beginning or end for which nothing speaks.", advanced=True
    )
    false_positive_rate: float = param(
        0.1, gt=0, lt=1, help="Probability that a single detection is false.", advanced=True
    )
    death_rate: float = param(0.001, gt=0, lt=1, help="Probability that a track ends by death.", advanced=True)

    @classmethod
    def from_btrack(cls, configuration: Mapping[str, Any], *, um_per_unit: float = 1.0) -> Bayesian:
        """Return the linker that a bTrack configuration describes.

        Parameters
        ----------
        configuration : mapping
            The content of a bTrack JSON file: a table ``TrackerConfig`` with ``HypothesisModel`` and, for the search
            radius, ``MotionModel`` (older form) or ``max_search_radius`` (newer form, without the outer table).
        um_per_unit : float
            Size of the unit its lengths are given in, such as the size of a pixel.

        Raises
        ------
        ParameterError
            If there is no hypothesis model, it names an unknown hypothesis, or a value is no number.
        """
        table = configuration.get("TrackerConfig", configuration)
        table = table if isinstance(table, Mapping) else {}
        model = table.get("HypothesisModel") or table.get("hypothesis_model")
        if not isinstance(model, Mapping):
            msg = "The bTrack configuration has no HypothesisModel; give the whole JSON file."
            raise ParameterError(msg)
        unknown = [h for h in model.get("hypotheses", ()) if h not in _NAMES]
        if unknown:
            msg = f"The bTrack configuration names the hypothesis '{unknown[0]}'; valid: {', '.join(_NAMES)}."
            raise ParameterError(msg)
        motion = table.get("MotionModel") or table.get("motion_model") or {}
        of_motion = motion.get("max_search_radius") if isinstance(motion, Mapping) else None
        radius = table.get("max_search_radius") or of_motion
        numbers = {k: model[k] for k in (*_LENGTHS, *_NUMBERS) if k in model} | {"max_search_radius": radius or 1.0}
        fits = {k: isinstance(v, int | float) and not isinstance(v, bool) and isfinite(v) for k, v in numbers.items()}
        wrong = next((k for k, fit in fits.items() if not fit), None)
        if wrong is not None:
            msg = f"The bTrack configuration has {wrong} = {numbers[wrong]!r}; give a number."
            raise ParameterError(msg)
        values: dict[str, Any] = {_LENGTHS[k]: v * um_per_unit for k, v in model.items() if k in _LENGTHS}
        values |= {_NUMBERS[k]: v for k, v in model.items() if k in _NUMBERS}
        for name in ("max_frame_gap", "end_frames"):
            if name in values:
                values[name] = max(int(values[name]), 1 if name == "max_frame_gap" else 0)
        if "hypotheses" in model:
            values["hypotheses"] = tuple(_NAMES[h] for h in model["hypotheses"])
        if radius:
            values["max_distance_um"] = radius * um_per_unit
        return cls(**values)

    @property
    def features(self) -> tuple[str, ...]:
        """Return the measured columns that the penalties name."""
        return tuple(sorted(self.feature_penalties))

    def link(self, objects: pl.DataFrame, *, labels: LabelSource | None = None, seed: int = 0) -> pl.DataFrame:
        """Return the links of the most probable explanation.

        Parameters
        ----------
        objects : polars.DataFrame
            Columns ``object_id frame x_um y_um``, in 3D ``z_um``, and those that penalties name.
        labels : callable, optional
            Not looked at.
        seed : int
            Not needed: there is no chance in it.

        Returns
        -------
        polars.DataFrame
            `kinocyte.core.schema.LINKS`. ``cost`` is the squared distance in um^2 times the squared penalty;
            ``confidence`` of a link within a stretch is that of `kinocyte.tracking.LAP`, of one between stretches how
            much more probable its hypothesis is than that both ends stay open.
        """
        del labels, seed  # part of the contract of all linkers
        from kinocyte.tracking._bayesian import link_by_hypotheses

        return link_by_hypotheses(self, objects)
