"""Neighbourhoods and pairs."""

from kinocyte.interactions.base import InteractionMethod, LabelSource
from kinocyte.interactions.chance import contacts_beyond_chance
from kinocyte.interactions.contact import Contact
from kinocyte.interactions.delaunay import Delaunay
from kinocyte.interactions.density import local_density
from kinocyte.interactions.episodes import contact_episodes, pair_tracks
from kinocyte.interactions.killing import KillerRanking
from kinocyte.interactions.nearest import Nearest
from kinocyte.interactions.neighbourhood import cumulated_presence, neighbour_counts
from kinocyte.interactions.pairs import pair_ids, pair_signals
from kinocyte.interactions.radius import Radius

__all__ = [
    "Contact",
    "Delaunay",
    "InteractionMethod",
    "KillerRanking",
    "LabelSource",
    "Nearest",
    "Radius",
    "contact_episodes",
    "contacts_beyond_chance",
    "cumulated_presence",
    "local_density",
    "neighbour_counts",
    "pair_ids",
    "pair_signals",
    "pair_tracks",
]
