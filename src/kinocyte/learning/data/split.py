"""Which pairs are held out to tell how well a network does on what it has not seen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from kinocyte.core.errors import ParameterError
from kinocyte.learning.data.pairs import Pair


@dataclass(frozen=True, eq=False)
class Split:
    """Pairs to learn from and pairs held out; no image or movie gives to both."""

    training: tuple[Pair, ...]
    held_out: tuple[Pair, ...]


def split(pairs: Sequence[Pair], held_out: float = 0.15, seed: int = 1) -> Split:
    """Hold out a share of the images or movies.

    The order in which groups are held out follows from the seed and their names alone: it does not depend on the order
    of the files, and pairs added later leave the order of the others as it was.

    Parameters
    ----------
    pairs : sequence of Pair
        All pairs; those of one `Pair.group` stay together.
    held_out : float
        Share of the pairs, from 0 to below 1; as many groups are held out as come nearest to it, at least one unless
        the share is 0, and never all.
    seed : int
        Fixes the choice.

    Raises
    ------
    ParameterError
        If there is no pair, the share is out of bounds, or all pairs come from one image or movie.
    """
    if not pairs:
        msg = "There is no pair to learn from."
        raise ParameterError(msg)
    if not 0 <= held_out < 1:
        msg = f"The share held out is {held_out}; it lies from 0 to below 1."
        raise ParameterError(msg)
    if held_out == 0:
        return Split(tuple(pairs), ())
    groups = sorted({p.group for p in pairs}, key=lambda g: _order(g, seed))
    if len(groups) < 2:
        what = "There is one pair" if len(pairs) == 1 else f"All {len(pairs)} pairs come from one image or movie"
        msg = (
            f"{what} ('{groups[0]}'), so none can be held out to tell when to stop; annotate a second image, "
            f"{'' if len(pairs) == 1 else 'say which part of a name tells images apart (group), '}or set held_out = 0 "
            "and judge the model on other images."
        )
        raise ParameterError(msg)
    size = dict.fromkeys(groups, 0)
    for pair in pairs:
        size[pair.group] += 1
    chosen = set(groups[: _count([size[g] for g in groups], held_out)])
    return Split(
        tuple(p for p in pairs if p.group not in chosen),
        tuple(p for p in pairs if p.group in chosen),
    )


def _order(group: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()


def _count(sizes: Sequence[int], share: float) -> int:
    """Return how many of the first groups come nearest to a share of all pairs: at least one, never all."""
    total, so_far, errors = sum(sizes), 0, []
    for n in sizes[:-1]:
        so_far += n
        errors.append(abs(so_far / total - share))
    return errors.index(min(errors)) + 1
