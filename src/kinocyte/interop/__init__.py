"""Files of microscopes and of other programs: import into an experiment, tracks and tables read and written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinocyte.core.lazy import attach

if TYPE_CHECKING:
    from kinocyte.interop.importing import run_import
    from kinocyte.interop.options import ImportOptions, import_options
    from kinocyte.interop.plain_tables import read_table, write_table
    from kinocyte.interop.plan import plan_import
    from kinocyte.interop.tracks.formats import read_tracks, write_tracks

__all__ = [
    "ImportOptions",
    "import_options",
    "plan_import",
    "read_table",
    "read_tracks",
    "run_import",
    "write_table",
    "write_tracks",
]

__getattr__, __dir__ = attach(
    __name__,
    names={
        "ImportOptions": "kinocyte.interop.options",
        "import_options": "kinocyte.interop.options",
        "plan_import": "kinocyte.interop.plan",
        "read_table": "kinocyte.interop.plain_tables",
        "read_tracks": "kinocyte.interop.tracks.formats",
        "run_import": "kinocyte.interop.importing",
        "write_table": "kinocyte.interop.plain_tables",
        "write_tracks": "kinocyte.interop.tracks.formats",
    },
)
