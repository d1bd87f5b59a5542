"""Figures, overlays and the report page.

>>> from kinocyte.report import write_report
>>> write_report(experiment, "report.html")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinocyte.core.lazy import attach

if TYPE_CHECKING:
    from kinocyte.report.examination import Examination, examine, measure_quality
    from kinocyte.report.movie import write_movie
    from kinocyte.report.page import write_report
    from kinocyte.report.quality_flags import Limits

__all__ = ["Examination", "Limits", "examine", "measure_quality", "write_movie", "write_report"]

__getattr__, __dir__ = attach(
    __name__,
    names={
        "Examination": "kinocyte.report.examination",
        "Limits": "kinocyte.report.quality_flags",
        "examine": "kinocyte.report.examination",
        "measure_quality": "kinocyte.report.examination",
        "write_movie": "kinocyte.report.movie",
        "write_report": "kinocyte.report.page",
    },
)
