"""Objects in, links and tracks out."""

from kinocyte.tracking.base import LabelSource, Linker
from kinocyte.tracking.lap import LAP
from kinocyte.tracking.lineage import build_tracks

__all__ = ["LAP", "LabelSource", "Linker", "build_tracks"]
