"""Neighbourhoods, contacts and pairs: ours against scipy with Python loops, in one run, one thread.

    OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python benchmarks/interactions.py [--repeats 5] [--json interactions.json]

Every peer computes the same numbers as we do; its output is compared with ours before its time counts. Times are
medians, in seconds of the processor, which count what else runs on the machine less. Ours include all that a call does,
the checks of the tables and the making of the result.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import ndimage
from scipy.spatial import Delaunay as SciPyDelaunay
from scipy.spatial import cKDTree

from kinocyte.core.scale import Scale
from kinocyte.interactions import (
    Contact,
    Delaunay,
    Nearest,
    Radius,
    cumulated_presence,
    neighbour_counts,
    pair_signals,
)

MINUTES = 3.0
SCALE = Scale.isotropic(0.5, MINUTES)
RADIUS_UM = 32.0


def population(n: int, frames: int, size_um: float, seed: int) -> pl.DataFrame:
    """Return cells that take normal steps of 2 um a frame."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 2, (frames, n, 2))
    steps[0] = rng.uniform(0, size_um, (n, 2))
    place = np.cumsum(steps, axis=0).reshape(-1, 2)
    frame = np.repeat(np.arange(frames), n)
    return pl.DataFrame(
        {
            "object_id": np.arange(1, len(place) + 1),
            "track_id": np.tile(np.arange(1, n + 1), frames),
            "frame": frame.astype(np.int32),
            "time_min": frame * MINUTES,
            "x_um": place[:, 0],
            "y_um": place[:, 1],
        }
    )


def ours_neighbourhood(a: pl.DataFrame, b: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    pairs = Radius(radius_um=RADIUS_UM).pairs(a, b, SCALE)
    return neighbour_counts(pairs, a, b), cumulated_presence(pairs, (a, b))


def per_frame(table: pl.DataFrame) -> list[dict[str, np.ndarray]]:
    """Return the columns of every frame; made before the clock of a peer runs."""
    return [
        {n: rows[n].to_numpy() for n in ("object_id", "track_id")} | {"xy": rows.select("x_um", "y_um").to_numpy()}
        for _, rows in table.group_by("frame", maintain_order=True)
    ]


def peer_neighbourhood(
    a: list[dict[str, Any]], b: list[dict[str, Any]]
) -> tuple[dict[int, tuple[float, ...]], dict[Any, float]]:
    """Return counts of each reference, and minutes together of each pair in each frame."""
    counts: dict[int, tuple[float, ...]] = {}
    presence: dict[Any, float] = {}
    together: defaultdict[Any, float] = defaultdict(float)
    for frame, (first, second) in enumerate(zip(a, b, strict=True)):
        near = cKDTree(first["xy"]).query_ball_point(second["xy"], RADIUS_UM)
        inclusive, exclusive, weighted = (np.zeros(len(first["xy"])) for _ in range(3))
        for j, whose in enumerate(near):
            if not whose:
                continue
            away = np.linalg.norm(first["xy"][whose] - second["xy"][j], axis=1)
            exclusive[whose[int(np.argmin(away))]] += 1
            for i in whose:
                inclusive[i] += 1
                weighted[i] += 1 / len(whose)
                pair = (first["track_id"][i], second["track_id"][j])
                together[pair] += MINUTES
                presence[frame, pair] = together[pair]
        for k, who in enumerate(first["object_id"]):
            counts[int(who)] = (inclusive[k], exclusive[k], weighted[k])
    return counts, presence


def check_neighbourhood(ours: tuple[pl.DataFrame, pl.DataFrame], peer: tuple[dict[int, Any], dict[Any, float]]) -> None:
    for who, *values in ours[0].select("object_id", "n_inclusive", "n_exclusive", "n_weighted").iter_rows():
        assert np.allclose(values, peer[0][who])
    found = ours[1].select("frame", "reference_track_id", "neighbour_track_id", "presence_min").iter_rows()
    assert {(f, (i, j)): m for f, i, j, m in found} == peer[1]


def peer_nearest(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> set[tuple[int, int]]:
    out = set()
    for first, second in zip(a, b, strict=True):
        _, near = cKDTree(second["xy"]).query(first["xy"], k=3)
        for who, row in zip(first["object_id"].tolist(), near.tolist(), strict=True):
            out |= {(who, int(second["object_id"][j])) for j in row}
    return out


def peer_delaunay(a: list[dict[str, Any]]) -> set[tuple[int, int]]:
    out = set()
    for cells in a:
        ids = cells["object_id"].tolist()
        for simplex in SciPyDelaunay(cells["xy"]).simplices.tolist():
            out |= {(ids[i], ids[j]) for i in simplex for j in simplex if i != j}
    return out


def tissue(size: int, n: int, seed: int) -> np.ndarray:
    """Return cells that fill most of an image and touch each other."""
    rng = np.random.default_rng(seed)
    tree = cKDTree(rng.uniform(0, size, (n, 2)))
    away, label = tree.query(np.stack(np.mgrid[:size, :size], axis=-1).reshape(-1, 2))
    return np.where(away < 0.72 * size / math.sqrt(n), label + 1, 0).reshape(size, size).astype(np.uint32)


def masks_table(labels: np.ndarray) -> pl.DataFrame:
    values = np.unique(labels[labels > 0])
    centre = np.array(ndimage.center_of_mass(labels > 0, labels, values)) * SCALE.y_um
    return pl.DataFrame(
        {
            "object_id": values.astype(np.int64), "frame": np.zeros(len(values), np.int32), "label": values,
            "time_min": np.zeros(len(values)), "x_um": centre[:, 1], "y_um": centre[:, 0],
        }
    )  # fmt: skip


def peer_contact(labels: np.ndarray, tolerance_um: float) -> set[tuple[int, int]]:
    """Return the labels met when each mask is dilated by itself; a pixel is a box, as for us."""
    reach = int(tolerance_um / SCALE.y_um) + 1
    step = np.abs(np.mgrid[-reach : reach + 1, -reach : reach + 1])
    gap = np.maximum(step - 1, 0) * SCALE.y_um
    element = (gap**2).sum(axis=0) <= tolerance_um**2 + 1e-9
    out = set()
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        crop = labels[tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in box)]
        met = np.unique(crop[ndimage.binary_dilation(crop == value, element)])
        out |= {(value, int(m)) for m in met if m not in {0, value}}
    return out


def peer_pairs(a: pl.DataFrame, b: pl.DataFrame, met: pl.DataFrame) -> dict[tuple[int, int], np.ndarray]:
    """Return distance and its rate of each pair, one pair after the other."""
    out = {}
    tracks = [
        {k: t.sort("frame").select("x_um", "y_um").to_numpy() for (k,), t in p.group_by("track_id")} for p in (a, b)
    ]
    for i, j in met.iter_rows():
        distance = np.linalg.norm(tracks[1][j] - tracks[0][i], axis=1)
        out[i, j] = np.stack([distance, np.gradient(distance, MINUTES)], axis=1)
    return out


def check_pairs(ours: pl.DataFrame, peer: dict[tuple[int, int], np.ndarray]) -> None:
    keys = ["reference_track_id", "neighbour_track_id"]
    for (i, j), rows in ours.group_by(keys):
        values = rows.sort("frame").select("distance_um", "relative_velocity_um_per_min").to_numpy()
        assert np.allclose(values, peer[i, j])
    assert ours.select(keys).n_unique() == len(peer)


def timed(work: Callable[[], object], repeats: int) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))


def ids(pairs: pl.DataFrame) -> set[tuple[int, int]]:
    return set(pairs.select("reference_id", "neighbour_id").iter_rows())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    a, b = population(300, 60, 640, 0), population(600, 60, 640, 1)
    frames_a, frames_b = per_frame(a), per_frame(b)
    labels = tissue(1500, 1000, 2)
    table = masks_table(labels)
    met = Radius(radius_um=RADIUS_UM).pairs(a, b, SCALE)
    tracks = met.select("reference_track_id", "neighbour_track_id").unique()
    jobs: list[tuple[str, Callable[[], Any], Callable[[], Any], Callable[[Any, Any], None]]] = [
        (
            "300 x 600 cells x 60 frames, counts, presence",
            lambda: ours_neighbourhood(a, b), lambda: peer_neighbourhood(frames_a, frames_b), check_neighbourhood,
        ),
        (
            "the same cells, 3 nearest",
            lambda: Nearest(k=3).pairs(a, b, SCALE), lambda: peer_nearest(frames_a, frames_b), same_ids,
        ),
        (
            "600 cells x 60 frames, Delaunay",
            lambda: Delaunay().pairs(b, None, SCALE), lambda: peer_delaunay(frames_b), same_ids,
        ),
        *(
            (
                f"1000 masks in 1500 x 1500 pixels, contact {um} um",
                lambda um=um: Contact(tolerance_um=um).pairs(table, None, SCALE, lambda _: labels),
                lambda um=um: peer_contact(labels, um), same_ids,
            )
            for um in (0.0, 2.0)
        ),
        (
            f"signals of {tracks.height} pairs of tracks x 60 frames",
            lambda: pair_signals(met, a, b), lambda: peer_pairs(a, b, tracks), check_pairs,
        ),
    ]  # fmt: skip
    record = []
    print(f"{'':52}{'ours, s':>9}{'loops, s':>10}{'ratio':>8}")
    for name, ours, peer, check in jobs:
        check(ours(), peer())
        seconds, theirs = timed(ours, options.repeats), timed(peer, 1)
        record.append({"what": name, "seconds": seconds, "peer_seconds": theirs, "ratio": theirs / seconds})
        print(f"{name:52}{seconds:>9.3f}{theirs:>10.3f}{theirs / seconds:>8.1f}")
    if options.json:
        options.json.write_text(json.dumps({"results": record}, indent=2) + "\n")


def same_ids(ours: pl.DataFrame, peer: set[tuple[int, int]]) -> None:
    assert ids(ours) == peer


if __name__ == "__main__":
    main()
