"""Objects in, links and tracks out."""

from kinocyte.core.lineages import lineage_layout, lineage_names
from kinocyte.tracking.base import LabelSource, Linker, Mended, Mender
from kinocyte.tracking.bayesian import Bayesian
from kinocyte.tracking.branches import branch_table
from kinocyte.tracking.editing import Replayed, replay
from kinocyte.tracking.extending import Proposal, extend
from kinocyte.tracking.kalman import Kalman
from kinocyte.tracking.lap import LAP
from kinocyte.tracking.lineage import build_tracks
from kinocyte.tracking.manual import Manual
from kinocyte.tracking.mending import Mending
from kinocyte.tracking.nearest import Nearest
from kinocyte.tracking.overlap import Overlap

__all__ = [
    "LAP",
    "Bayesian",
    "Kalman",
    "LabelSource",
    "Linker",
    "Manual",
    "Mended",
    "Mender",
    "Mending",
    "Nearest",
    "Overlap",
    "Proposal",
    "Replayed",
    "branch_table",
    "build_tracks",
    "extend",
    "lineage_layout",
    "lineage_names",
    "replay",
]
