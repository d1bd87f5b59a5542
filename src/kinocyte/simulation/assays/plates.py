"""Whole simulated experiments: which wells, which conditions, which movies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.simulation.assays.movie import AssayMovie

_ROWS = "BCDEFG"


@dataclass(frozen=True, eq=False)
class PlateMovie:
    """One movie of a simulated plate; the movie itself is made when it is asked for."""

    well: str
    field: int
    conditions: Mapping[str, Any]
    _make: Callable[[], AssayMovie]

    @property
    def name(self) -> str:
        """Return the name of the file, ``B2_1``."""
        return f"{self.well}_{self.field}"

    def movie(self) -> AssayMovie:
        """Simulate the movie."""
        return self._make()


@dataclass(frozen=True)
class _Design:
    """One condition a column of the plate, one replicate a row."""

    conditions: tuple[Mapping[str, Any], ...]
    simulate: Callable[..., AssayMovie]
    settings: Callable[[Mapping[str, Any]], Any]


def _adcc() -> _Design:
    from kinocyte.simulation.assays.adcc import KillingAssay, simulate_killing

    doses = tuple({"dose_pm": dose} for dose in (0.0, 10.0, 100.0))
    return _Design(doses, simulate_killing, lambda c: KillingAssay(dose_pm=c["dose_pm"]))


def _ricm() -> _Design:
    from kinocyte.simulation.assays.ricm import SpreadingAssay, simulate_spreading

    doses = tuple({"dose_pm": dose} for dose in (0.0, 30.0, 300.0))
    return _Design(doses, simulate_spreading, lambda c: SpreadingAssay(dose_pm=c["dose_pm"]))


def _fucci() -> _Design:
    from kinocyte.simulation.assays.fucci import CycleAssay, simulate_cycle

    drugs = ({"drug": "control", "g1_delay_h": 0.0}, {"drug": "inhibitor", "g1_delay_h": 6.0})
    settings = {"medium_change_frames": (20,), "drift_um_per_h": 0.2}
    return _Design(drugs, simulate_cycle, lambda c: CycleAssay(g1_delay_h=c["g1_delay_h"], **settings))


def _erk() -> _Design:
    from kinocyte.simulation.assays.erk import TranslocationAssay, simulate_translocation

    stimuli = ({"stimulus": "none", "response": 0.0}, {"stimulus": "growth factor", "response": 0.8})
    return _Design(stimuli, simulate_translocation, lambda c: TranslocationAssay(response=c["response"]))


def _flow() -> _Design:
    from kinocyte.simulation.assays.flow import AdhesionAssay, simulate_adhesion

    lines = (
        {"cell_line": "AsPC1", "stickiness_per_s": 1.5, "flow_power": 1.5},
        {"cell_line": "MiaPaCa2", "stickiness_per_s": 0.9, "flow_power": 0.2},
        {"cell_line": "Panc10", "stickiness_per_s": 0.1, "flow_power": 1.0},
    )
    return _Design(
        lines,
        simulate_adhesion,
        lambda c: AdhesionAssay(stickiness_per_s=c["stickiness_per_s"], flow_power=c["flow_power"]),
    )


#: Assays by name; each imports its simulator when it is asked for.
ASSAYS: Mapping[str, Callable[[], _Design]] = MappingProxyType(
    {"adcc": _adcc, "ricm": _ricm, "fucci": _fucci, "erk": _erk, "flow": _flow}
)


def simulated_plate(
    assay: str, *, replicates: int = 3, fields: int = 1, seed: int = 1, changes: Mapping[str, Any] | None = None
) -> list[PlateMovie]:
    """Return the movies of a simulated experiment.

    Parameters
    ----------
    assay : str
        ``adcc``, ``ricm``, ``fucci``, ``erk`` or ``flow``.
    replicates : int
        Wells of each condition, each a biological replicate with the number of its row.
    fields : int
        Movies a well.
    seed : int
        Fixes everything that chance decides.
    changes : mapping, optional
        Settings of the assay other than its defaults, such as ``{"frames": 30}``. Frames of ``flow`` are shared out
        among its stretches of flow.

    Raises
    ------
    ParameterError
        If there is no such assay, or a setting is refused.
    """
    if assay not in ASSAYS:
        msg = f"There is no assay '{assay}'; {nearest(assay, ASSAYS)}."
        raise ParameterError(msg)
    if not 1 <= replicates <= len(_ROWS) or fields < 1:
        msg = (
            f"A simulated plate has 1 to {len(_ROWS)} replicates and at least one field, not {replicates} and {fields}."
        )
        raise ParameterError(msg)
    design = ASSAYS[assay]()
    wanted = dict(changes or {})
    movies = []
    for column, conditions in enumerate(design.conditions):
        settings = design.settings(conditions)
        if "frames" in wanted and "frames" not in type(settings).model_fields:
            wanted["frames_per_flow"] = wanted.pop("frames") // len(settings.flows_um_per_s)
        settings = settings.replace(**wanted)
        for row in range(replicates):
            for field in range(fields):
                well = f"{_ROWS[row]}{column + 2}"
                own = int(np.random.SeedSequence([seed, column, row, field]).generate_state(1)[0])
                known = {**conditions, "replicate": row + 1}
                movies.append(PlateMovie(well, field + 1, known, _maker(design, settings, own, f"{well}_{field + 1}")))
    return movies


def settings_of(assay: str) -> list[str]:
    """Return the names of the settings of an assay, which ``changes`` of `simulated_plate` may name."""
    design = ASSAYS[assay]()
    return list(type(design.settings(design.conditions[0])).model_fields)


def _maker(design: _Design, settings: Any, seed: int, name: str) -> Callable[[], AssayMovie]:
    return lambda: design.simulate(settings, seed=seed, name=name)
