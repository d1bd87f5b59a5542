"""Objects in, links and tracks out."""

from kinocyte.tracking.base import LabelSource, Linker
from kinocyte.tracking.lap import LAP

__all__ = ["LAP", "LabelSource", "Linker"]
