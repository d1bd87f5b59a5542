"""Shifts of many frames from measurements between few: robust least squares, gaps, outliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Least share of the frame that a group has to see in common along each axis.
COMMON = 0.55


@dataclass(frozen=True)
class Window:
    """Frames that were measured together.

    Parameters
    ----------
    frames : array of int, shape (n,)
        Numbers of the frames.
    shift : array, shape (n, 3)
        Shift of each up to a common constant, px.
    weight : array, shape (n,)
        How far each is trusted; 0 = not at all.
    """

    frames: Indices
    shift: Floats
    weight: Floats


def solve(
    windows: Sequence[Window], n_frames: int, *, scale_px: float = 0.5, robust: bool = True
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return the shifts that agree best with all windows.

    Each window adds one unknown constant. Iteratively reweighted least squares with Tukey's biweight (Holland &
    Welsch 1977) lets single wrong measurements go.

    Parameters
    ----------
    windows : sequence of Window
        Measurements.
    n_frames : int
        Number of frames.
    scale_px : float
        Smallest residual that counts as large.
    robust : bool
        Otherwise plain weighted least squares.

    Returns
    -------
    shift : array, shape (n_frames, 3)
        NaN for frames that no window ties to the largest connected set.
    residual : array, shape (n_frames,)
        Root mean square disagreement of a frame's measurements in px.
    tied : array of bool, shape (n_frames,)
        Frames of the largest connected set.
    """
    used = [(w, np.flatnonzero(w.weight > 0)) for w in windows]
    used = [(w, k) for w, k in used if len(k) > 1]
    shift = np.full((n_frames, 3), np.nan)
    if not used:
        return shift, np.zeros(n_frames), np.zeros(n_frames, dtype=bool)
    frame = np.concatenate([w.frames[k] for w, k in used])
    window = np.concatenate([np.full(len(k), i) for i, (_, k) in enumerate(used)])
    value = np.concatenate([w.shift[k] for w, k in used])
    trust = np.concatenate([w.weight[k] for w, k in used])
    tied_nodes, tied = _largest_set(frame, window, n_frames, len(used))
    keep = tied[frame]
    frame, window, value, trust = frame[keep], window[keep], value[keep], trust[keep]
    weight = trust.copy()
    for _ in range(12 if robust else 1):
        solution = _least_squares((frame, window + n_frames), value, weight, tied_nodes)
        residual = np.linalg.norm(value - solution[frame] + solution[window + n_frames], axis=1)
        spread = max(scale_px, 1.4826 * float(np.median(residual)))
        new = trust * np.clip(1 - (residual / (4.685 * spread)) ** 2, 1e-4, None) ** 2
        if np.allclose(new, weight, rtol=1e-3, atol=1e-6):
            break
        weight = new
    shift[tied] = solution[:n_frames][tied]
    square = np.bincount(frame, weights=residual**2 * trust, minlength=n_frames)
    total = np.bincount(frame, weights=trust, minlength=n_frames)
    return shift, np.sqrt(square / np.maximum(total, 1e-12)), tied


def _largest_set(
    frame: Indices, window: Indices, n_frames: int, n_windows: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which nodes (frames, then windows) and which frames belong to the largest connected set."""
    size = n_frames + n_windows
    graph = sparse.coo_matrix((np.ones(len(frame)), (frame, window + n_frames)), shape=(size, size))
    _, label = csgraph.connected_components(graph, directed=False)
    seen = np.zeros(size, dtype=bool)
    seen[frame] = True
    count = np.bincount(label[:n_frames][seen[:n_frames]], minlength=label.max() + 1)
    nodes = label == int(np.argmax(count))
    return nodes, nodes[:n_frames] & seen[:n_frames]


def _least_squares(ends: tuple[Indices, Indices], value: Floats, weight: Floats, nodes: NDArray[np.bool_]) -> Floats:
    """Return node values x with x[ends[0]] - x[ends[1]] = value as well as possible; the first tied node is 0."""
    index = np.full(len(nodes), -1)
    chosen = np.flatnonzero(nodes)
    index[chosen] = np.arange(len(chosen))
    a, b = index[ends[0]], index[ends[1]]
    n = len(chosen)
    rows = np.concatenate([a, b, a, b])
    columns = np.concatenate([a, b, b, a])
    entries = np.concatenate([weight, weight, -weight, -weight])
    matrix = sparse.coo_matrix((entries, (rows, columns)), shape=(n, n)).tocsc()
    matrix = matrix + sparse.identity(n, format="csc") * (1e-9 * float(weight.max()))
    right = np.zeros((n, 3))
    np.add.at(right, a, weight[:, None] * value)
    np.add.at(right, b, -weight[:, None] * value)
    out = np.zeros((len(nodes), 3))
    out[chosen] = splu(matrix).solve(right)
    return out


def fill(shift: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return the shifts with unknown frames interpolated in time, held constant at the ends; 0 if none is known."""
    out = np.zeros_like(shift)
    at = np.flatnonzero(known)
    if len(at) == 0:
        return out
    frames = np.arange(len(shift))
    for axis in range(shift.shape[1]):
        out[:, axis] = np.interp(frames, at, shift[at, axis])
    return out


def spanning(first: Indices, second: Indices, value: Floats, height: Floats, n_frames: int) -> Floats:
    """Return shifts along the tree of the surest pairs; NaN for frames that it does not reach.

    Parameters
    ----------
    first, second : array of int, shape (m,)
        Pairs of frames.
    value : array, shape (m, 3)
        Shift of the second against the first.
    height : array, shape (m,)
        How sure a pair is; pairs of 0 are not used.
    n_frames : int
        Number of frames.
    """
    good = height > 0
    shift = np.full((n_frames, 3), np.nan)
    if not good.any():
        return shift
    cost = 1.0 + float(height.max()) - height[good]
    graph = sparse.coo_matrix((cost, (first[good], second[good])), shape=(n_frames, n_frames)).tocsr()
    tree = csgraph.minimum_spanning_tree(graph)
    count, label = csgraph.connected_components(tree, directed=False)
    sizes = np.bincount(label, minlength=count)
    root = int(np.flatnonzero(label == int(np.argmax(sizes)))[0])
    order, parent = csgraph.breadth_first_order(tree, root, directed=False)
    lookup = {(int(a), int(b)): v for a, b, v in zip(first, second, value, strict=True)}
    shift[root] = 0.0
    for node in order[1:]:
        before = int(parent[node])
        step = lookup.get((before, int(node)))
        shift[node] = shift[before] + (step if step is not None else -lookup[int(node), before])
    return shift


def spans(shift: Floats, known: NDArray[np.bool_], shape: Sequence[int], free: Sequence[int]) -> list[list[int]]:
    """Return groups of frames that see enough of the sample in common, each overlapping the one before by half.

    Parameters
    ----------
    shift : array, shape (n, 3)
        First guess, px.
    known : array of bool, shape (n,)
        Frames that take part.
    shape : sequence of int
        Shape of the images (p, y, x).
    free : sequence of int
        Axes along which content shifts.
    """
    frames = np.flatnonzero(known).tolist()
    groups: list[list[int]] = []
    start = 0
    while start < len(frames):
        stop = start + 1
        while stop < len(frames):
            part = shift[frames[start : stop + 1]]
            range_px = part.max(axis=0) - part.min(axis=0)
            if any(shape[a] > 1 and range_px[a] > (1 - COMMON) * shape[a] for a in free):
                break
            stop += 1
        stop = max(stop, min(start + 2, len(frames)))
        groups.append(frames[start:stop])
        if stop >= len(frames):
            break
        start = max(start + 1, (start + stop) // 2)
    return groups
