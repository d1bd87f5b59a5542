"""One walk over the objects in order of time that gives each its track."""

from __future__ import annotations

from typing import Any

import numpy as np

from kinocyte.core.compiled import kernel


@kernel
def follow(before: Any, in_degree: Any, out_degree: Any) -> Any:
    """Return the track of each object, and first and last object, parent, root and generation of each track.

    Parameters
    ----------
    before : numpy.ndarray of int64, shape (n,)
        Predecessor of each object (of several the closest), -1 for none; objects are sorted by frame.
    in_degree, out_degree : numpy.ndarray of int64, shape (n,)
        Number of predecessors and successors.

    Returns
    -------
    tuple of numpy.ndarray
        ``track`` (n,), then ``first last parent root generation``, one entry a track; parent -1 = none.
    """
    n = len(before)
    track = np.empty(n, np.int64)
    first, last, parent = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    root, generation = np.empty(n, np.int64), np.empty(n, np.int32)
    count = 0
    for i in range(n):
        b = before[i]
        if b >= 0 and in_degree[i] == 1 and out_degree[b] == 1:
            track[i] = track[b]
            last[track[i]] = i
            continue
        track[i] = count
        first[count] = last[count] = i
        if b < 0:
            parent[count], root[count], generation[count] = -1, count, 0
        else:
            mother = track[b]
            parent[count], root[count] = mother, root[mother]
            generation[count] = generation[mother] + (1 if out_degree[b] > 1 else 0)
        count += 1
    return track, first[:count], last[:count], parent[:count], root[:count], generation[:count]
