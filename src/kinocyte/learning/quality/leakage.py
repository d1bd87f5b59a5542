"""Whether images that a model is judged by were among those it learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kinocyte.learning.data.pairs import Pair, digest


def learnt_from(record: Mapping[str, Any], pairs: Sequence[Pair]) -> list[str] | None:
    """Return the names of the pairs whose images took part in a training, held-out ones included.

    Parameters
    ----------
    record : mapping
        Record of the training, with the digests of its images.
    pairs : sequence of Pair
        At the pixel size and with the channels that the model reads; each image is read once.

    Returns
    -------
    list of str or None
        None if the record does not know the images: the model is of another program or an earlier version.
    """
    known = record.get("digests")
    if not isinstance(known, Sequence) or isinstance(known, str) or not known:
        return None
    digests = set(known)
    return [p.name for p in pairs if digest(p.image) in digests]
