"""What happened to each cell, and when: classes, transitions, transients, steps, peaks; and operations on tables.

Every method is a model with the verb ``detect``; every table operation one with the verb ``apply``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinocyte.core.lazy import attach

if TYPE_CHECKING:
    from kinocyte.events.around import AroundEvent, around_event
    from kinocyte.events.base import EventMethod, EventTables
    from kinocyte.events.change_point import ChangePoint
    from kinocyte.events.deep import Deep
    from kinocyte.events.expression import columns_of
    from kinocyte.events.first_detection import FirstDetection
    from kinocyte.events.group import Group
    from kinocyte.events.hysteresis import Hysteresis
    from kinocyte.events.peaks import Peaks
    from kinocyte.events.table_collapse import CollapsePairs, CollapseTracks, GroupByFrame
    from kinocyte.events.table_operations import (
        Calibrate,
        Derive,
        Differentiate,
        JoinPopulations,
        MergeStates,
        Query,
        TableOperation,
    )
    from kinocyte.events.threshold_transition import ThresholdTransition
    from kinocyte.events.thresholds import SuggestedThreshold, suggest_threshold
    from kinocyte.events.transient import Transient
    from kinocyte.events.unique_state import UniqueState

__all__ = [
    "AroundEvent",
    "Calibrate",
    "ChangePoint",
    "CollapsePairs",
    "CollapseTracks",
    "Deep",
    "Derive",
    "Differentiate",
    "EventMethod",
    "EventTables",
    "FirstDetection",
    "Group",
    "GroupByFrame",
    "Hysteresis",
    "JoinPopulations",
    "MergeStates",
    "Peaks",
    "Query",
    "SuggestedThreshold",
    "TableOperation",
    "ThresholdTransition",
    "Transient",
    "UniqueState",
    "around_event",
    "columns_of",
    "suggest_threshold",
]

__getattr__, __dir__ = attach(
    __name__,
    names={
        "AroundEvent": "kinocyte.events.around",
        "Calibrate": "kinocyte.events.table_operations",
        "ChangePoint": "kinocyte.events.change_point",
        "CollapsePairs": "kinocyte.events.table_collapse",
        "CollapseTracks": "kinocyte.events.table_collapse",
        "Deep": "kinocyte.events.deep",
        "Derive": "kinocyte.events.table_operations",
        "Differentiate": "kinocyte.events.table_operations",
        "EventMethod": "kinocyte.events.base",
        "EventTables": "kinocyte.events.base",
        "FirstDetection": "kinocyte.events.first_detection",
        "Group": "kinocyte.events.group",
        "GroupByFrame": "kinocyte.events.table_collapse",
        "Hysteresis": "kinocyte.events.hysteresis",
        "JoinPopulations": "kinocyte.events.table_operations",
        "MergeStates": "kinocyte.events.table_operations",
        "Peaks": "kinocyte.events.peaks",
        "Query": "kinocyte.events.table_operations",
        "SuggestedThreshold": "kinocyte.events.thresholds",
        "TableOperation": "kinocyte.events.table_operations",
        "ThresholdTransition": "kinocyte.events.threshold_transition",
        "Transient": "kinocyte.events.transient",
        "UniqueState": "kinocyte.events.unique_state",
        "around_event": "kinocyte.events.around",
        "columns_of": "kinocyte.events.expression",
        "suggest_threshold": "kinocyte.events.thresholds",
    },
)
