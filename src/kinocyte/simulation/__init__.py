"""Movies, assays, signals and drift with exact ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinocyte.core.lazy import attach

if TYPE_CHECKING:
    from kinocyte.simulation.assays.adcc import KillingAssay, simulate_killing
    from kinocyte.simulation.assays.erk import TranslocationAssay, simulate_translocation
    from kinocyte.simulation.assays.flow import AdhesionAssay, simulate_adhesion
    from kinocyte.simulation.assays.fucci import CycleAssay, simulate_cycle
    from kinocyte.simulation.assays.movie import AssayMovie
    from kinocyte.simulation.assays.plates import simulated_plate
    from kinocyte.simulation.assays.ricm import SpreadingAssay, simulate_spreading
    from kinocyte.simulation.cells import CellMovie, SimulatedMovie, simulate_cells
    from kinocyte.simulation.drift import DriftMovie
    from kinocyte.simulation.signals import StepSignals, simulate_steps

__all__ = [
    "AdhesionAssay",
    "AssayMovie",
    "CellMovie",
    "CycleAssay",
    "DriftMovie",
    "KillingAssay",
    "SimulatedMovie",
    "SpreadingAssay",
    "StepSignals",
    "TranslocationAssay",
    "simulate_adhesion",
    "simulate_cells",
    "simulate_cycle",
    "simulate_killing",
    "simulate_spreading",
    "simulate_steps",
    "simulate_translocation",
    "simulated_plate",
]

__getattr__, __dir__ = attach(
    __name__,
    names={
        "AdhesionAssay": "kinocyte.simulation.assays.flow",
        "AssayMovie": "kinocyte.simulation.assays.movie",
        "CellMovie": "kinocyte.simulation.cells",
        "CycleAssay": "kinocyte.simulation.assays.fucci",
        "DriftMovie": "kinocyte.simulation.drift",
        "KillingAssay": "kinocyte.simulation.assays.adcc",
        "SimulatedMovie": "kinocyte.simulation.cells",
        "SpreadingAssay": "kinocyte.simulation.assays.ricm",
        "StepSignals": "kinocyte.simulation.signals",
        "TranslocationAssay": "kinocyte.simulation.assays.erk",
        "simulate_adhesion": "kinocyte.simulation.assays.flow",
        "simulate_cells": "kinocyte.simulation.cells",
        "simulate_cycle": "kinocyte.simulation.assays.fucci",
        "simulate_killing": "kinocyte.simulation.assays.adcc",
        "simulate_spreading": "kinocyte.simulation.assays.ricm",
        "simulate_steps": "kinocyte.simulation.signals",
        "simulate_translocation": "kinocyte.simulation.assays.erk",
        "simulated_plate": "kinocyte.simulation.assays.plates",
    },
    rooms=("assays", "cells", "drift", "signals"),
)
