"""What differs between conditions, with replicates respected.

A comparison (`Survival`, `Values`, ..) is a method with one verb, ``compare(table) -> Comparison``; the functions
behind it take polars frames or numpy arrays. Where replicates are named they are the sample of every test, however
many cells they hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinocyte.core.lazy import attach

if TYPE_CHECKING:
    from kinocyte.statistics.additive import additive_test, monte_carlo_sum
    from kinocyte.statistics.additive_comparison import compare_additive
    from kinocyte.statistics.additive_sum import Additive
    from kinocyte.statistics.aligned_signal import AlignedSignal
    from kinocyte.statistics.alignment import align_signal
    from kinocyte.statistics.base import Comparer, Comparison
    from kinocyte.statistics.behaviour import Behaviour
    from kinocyte.statistics.competing import cumulative_incidence
    from kinocyte.statistics.competing_risks import CompetingRisks
    from kinocyte.statistics.corrections import adjust
    from kinocyte.statistics.dose_comparison import compare_doses
    from kinocyte.statistics.dose_fit import fit_dose_response
    from kinocyte.statistics.dose_response import DoseResponse
    from kinocyte.statistics.durations import survival_table, waiting_table
    from kinocyte.statistics.effects import cliffs_delta, cohens_d, effect_sizes, hedges_g
    from kinocyte.statistics.hazard import kernel_hazard, piecewise_hazard
    from kinocyte.statistics.hazard_comparison import compare_hazard
    from kinocyte.statistics.hazard_over_time import Hazard
    from kinocyte.statistics.incidence_comparison import compare_incidence
    from kinocyte.statistics.logrank import log_rank, log_rank_of_replicates
    from kinocyte.statistics.mixed import mixed_model
    from kinocyte.statistics.product_limit import kaplan_meier, number_at_risk
    from kinocyte.statistics.proportional_hazards import cox
    from kinocyte.statistics.survival import Survival
    from kinocyte.statistics.survival_comparison import compare_survival
    from kinocyte.statistics.value_comparison import compare_values
    from kinocyte.statistics.values import Values

__all__ = [
    "Additive",
    "AlignedSignal",
    "Behaviour",
    "Comparer",
    "Comparison",
    "CompetingRisks",
    "DoseResponse",
    "Hazard",
    "Survival",
    "Values",
    "additive_test",
    "adjust",
    "align_signal",
    "cliffs_delta",
    "cohens_d",
    "compare_additive",
    "compare_doses",
    "compare_hazard",
    "compare_incidence",
    "compare_survival",
    "compare_values",
    "cox",
    "cumulative_incidence",
    "effect_sizes",
    "fit_dose_response",
    "hedges_g",
    "kaplan_meier",
    "kernel_hazard",
    "log_rank",
    "log_rank_of_replicates",
    "mixed_model",
    "monte_carlo_sum",
    "number_at_risk",
    "piecewise_hazard",
    "survival_table",
    "waiting_table",
]

__getattr__, __dir__ = attach(
    __name__,
    names={
        "compare_hazard": "kinocyte.statistics.hazard_comparison",
        "compare_additive": "kinocyte.statistics.additive_comparison",
        "Hazard": "kinocyte.statistics.hazard_over_time",
        "Additive": "kinocyte.statistics.additive_sum",
        "AlignedSignal": "kinocyte.statistics.aligned_signal",
        "Behaviour": "kinocyte.statistics.behaviour",
        "Comparer": "kinocyte.statistics.base",
        "Comparison": "kinocyte.statistics.base",
        "CompetingRisks": "kinocyte.statistics.competing_risks",
        "DoseResponse": "kinocyte.statistics.dose_response",
        "Survival": "kinocyte.statistics.survival",
        "Values": "kinocyte.statistics.values",
        "additive_test": "kinocyte.statistics.additive",
        "adjust": "kinocyte.statistics.corrections",
        "align_signal": "kinocyte.statistics.alignment",
        "cliffs_delta": "kinocyte.statistics.effects",
        "cohens_d": "kinocyte.statistics.effects",
        "compare_doses": "kinocyte.statistics.dose_comparison",
        "compare_incidence": "kinocyte.statistics.incidence_comparison",
        "compare_survival": "kinocyte.statistics.survival_comparison",
        "compare_values": "kinocyte.statistics.value_comparison",
        "cox": "kinocyte.statistics.proportional_hazards",
        "cumulative_incidence": "kinocyte.statistics.competing",
        "effect_sizes": "kinocyte.statistics.effects",
        "fit_dose_response": "kinocyte.statistics.dose_fit",
        "hedges_g": "kinocyte.statistics.effects",
        "kaplan_meier": "kinocyte.statistics.product_limit",
        "kernel_hazard": "kinocyte.statistics.hazard",
        "log_rank": "kinocyte.statistics.logrank",
        "log_rank_of_replicates": "kinocyte.statistics.logrank",
        "mixed_model": "kinocyte.statistics.mixed",
        "monte_carlo_sum": "kinocyte.statistics.additive",
        "number_at_risk": "kinocyte.statistics.product_limit",
        "piecewise_hazard": "kinocyte.statistics.hazard",
        "survival_table": "kinocyte.statistics.durations",
        "waiting_table": "kinocyte.statistics.durations",
    },
)
