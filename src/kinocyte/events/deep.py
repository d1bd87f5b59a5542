"""Events told by a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
from pydantic import field_validator

from kinocyte.core.method import param
from kinocyte.events.base import EventMethod, EventTables, Formula, columns_in


class Deep(EventMethod):
    """Finds events that a network was trained to see, with a probability of each class and a time with its error.

    The model that comes with Kinocyte, ``events-step``, was trained on simulated signals only: signals that step up
    once for good, as a death dye does, over baselines that drift. For a signal that steps down give its negative,
    ``-mean_calcein``. Models trained on your own annotations are named by the path of their package.

    The cells of one position (or of each group that ``by`` tells apart) are its population: what "low" and "high" are
    is taken from all of them, so give all cells, not only those of interest.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Torro et al., eLife 14, RP105302 (2025), doi:10.7554/eLife.105302",
        "Bai, Kolter & Koltun, arXiv:1803.01271 (2018)",
        "Guo et al., ICML (2017), arXiv:1706.04599",
    )

    method: Literal["deep"] = "deep"
    signals: tuple[Formula, ...] = param(
        help="Columns or formulas to read, in the order of the model's signals, such as ['mean_pi']."
    )
    model: str = param(
        "events-step", help="Model: the path of a BioImage.IO package, folder or zip, or the name of one of ours."
    )
    min_confidence: float = param(
        0.5, ge=0, le=1, help="Least probability of an event; below it the likelier of the other classes is taken."
    )

    @field_validator("signals", mode="before")
    @classmethod
    def _one_signal_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the measured columns the signals name."""
        return columns_in(*self.signals)

    @property
    def package(self) -> Path:
        """Return where the model is.

        Raises
        ------
        InputFileError
            If there is neither a file nor one of our models of that name.
        """
        from kinocyte.events._deep import package_of

        return package_of(self.model)

    def detect(
        self,
        cells: pl.DataFrame,
        name: str,
        *,
        earlier: pl.DataFrame | None = None,
        by: Sequence[str] = (),
        field_um: tuple[float, float] | None = None,
    ) -> EventTables:
        """Return the event of every track; parameters as `EventMethod.detect`.

        Returns
        -------
        EventTables
            ``events`` with ``time_min``, ``time_se_min`` (null where the model gives none), ``confidence`` (the
            probability of the class called) and ``p_event p_none p_censored_left``. A track without any value of the
            signals is ``excluded``. ``<name>_state`` is true from the event on, or always where censored on the left.

        Raises
        ------
        InputFileError
            If the model is not there or cannot be read.
        ParameterError
            If the model reads another number of signals.

        Notes
        -----
        Frames that are missing are told to the network as such; times in between are on the scale of minutes of the
        track itself, so intervals may differ. No PyTorch is needed.
        """
        del field_um  # part of the contract of all methods
        from kinocyte.events._deep import detect_with_model

        return detect_with_model(self, cells, name, earlier=earlier, by=by)
