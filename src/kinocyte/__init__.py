"""Kinocyte: live-cell movies of a whole experiment in, what every cell did and what differs out.

>>> import kinocyte
>>> experiment = kinocyte.open("plate.zarr")  # doctest: +SKIP
>>> experiment.objects("nuclei").collect()  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinocyte.core.lazy import attach

if TYPE_CHECKING:
    from kinocyte.core.scale import Scale
    from kinocyte.experiment.experiment import Experiment, create, open  # noqa: A004
    from kinocyte.experiment.position import Position

__all__ = ["Experiment", "Position", "Scale", "__version__", "create", "open"]

__getattr__, __dir__ = attach(
    __name__,
    names={
        "Experiment": "kinocyte.experiment.experiment",
        "Position": "kinocyte.experiment.position",
        "Scale": "kinocyte.core.scale",
        "__version__": "kinocyte.core.version",
        "create": "kinocyte.experiment.experiment",
        "open": "kinocyte.experiment.experiment",
    },
    rooms=(
        "core",
        "evaluation",
        "events",
        "experiment",
        "interactions",
        "interop",
        "learning",
        "measurement",
        "pipeline",
        "registration",
        "report",
        "restoration",
        "segmentation",
        "simulation",
        "statistics",
        "tracking",
    ),
)
