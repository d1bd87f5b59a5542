"""Truth and result movies on which py-ctcmetrics was run; built the same way for the oracle and for the test.

numpy and the standard library only, because the oracle is made in an environment of its own.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

N_FUZZ = 60


class Case(NamedTuple):
    """Label images and track rows (label begin end parent) of truth and result, and reference masks for SEG."""

    truth: list[np.ndarray]
    truth_tracks: np.ndarray
    result: list[np.ndarray]
    result_tracks: np.ndarray
    masks: dict[int, np.ndarray]


def read_tracks(path: Path) -> np.ndarray:
    return np.loadtxt(path, dtype=np.int64, ndmin=2)


def read_masks(folder: Path) -> list[np.ndarray]:
    return [tifffile.imread(p) for p in sorted(folder.glob("m*.tif"))]


def official_03(data: Path) -> Case:
    """Return sequence 03 of the challenge's own test data; it has no masks, so the markers stand for them."""
    base = data / "ctc_official_evaluation_testset"
    truth, result = read_masks(base / "03_GT" / "TRA"), read_masks(base / "03_RES")
    rows = read_tracks(base / "03_GT" / "TRA" / "man_track.txt"), read_tracks(base / "03_RES" / "res_track.txt")
    return Case(truth, rows[0], result, rows[1], dict(enumerate(truth)))


def hela_01(data: Path) -> Case:
    """Return the real result of a tracker on HeLa nuclei; the truth's positions become discs of 9 pixels."""
    base = data / "ctc_fluo_n2dl_hela_01_gt_tracks_and_res"
    result = read_masks(base / "01_RES")
    truth = [np.zeros(m.shape, np.uint16) for m in result]
    frame_of, label_of = {}, {}
    with (base / "gt_nodes.csv").open() as file:
        for row in csv.DictReader(file):
            t, label = int(row["t"]), int(row["id"].split("_")[0])
            frame_of[row["id"]], label_of[row["id"]] = t, label
            _disc(truth[t], float(row["y"]), float(row["x"]), label)
    parents = {}
    with (base / "gt_edges.csv").open() as file:
        for row in csv.DictReader(file):
            if label_of[row["source"]] != label_of[row["target"]]:
                parents[label_of[row["target"]]] = label_of[row["source"]]
    return Case(truth, rows_of(truth, parents), result, read_tracks(base / "01_RES" / "res_track.txt"), {})


def _disc(image: np.ndarray, y: float, x: float, label: int, radius: float = 4.5) -> None:
    top, left = max(0, round(y) - 5), max(0, round(x) - 5)
    part = image[top : top + 11, left : left + 11]
    rows, columns = np.indices(part.shape)
    part[(rows + top - y) ** 2 + (columns + left - x) ** 2 <= radius**2] = label


def sim_plus_01(data: Path) -> Case:
    """Return the exact truth of a simulated movie of nuclei and a version of it with mistakes."""
    base = data / "ctc_sim_nuclei" / "Fluo-N2DH-SIM+_01_GT_TRA"
    truth, rows = read_masks(base), read_tracks(base / "man_track.txt")
    result, result_rows = spoil(truth, rows, random.Random(11))
    return Case(truth, rows, result, result_rows, {t: truth[t] for t in range(0, len(truth), 7)})


def fuzz(seed: int) -> Case:
    """Return a small made-up movie of dividing squares and a version of it with mistakes."""
    rng = random.Random(seed)
    truth, rows = squares(rng)
    result, result_rows = spoil(truth, rows, rng)
    return Case(truth, rows, result, result_rows, {t: truth[t] for t in range(0, len(truth), 3)})


def squares(rng: random.Random, frames: int = 12, size: int = 56) -> tuple[list[np.ndarray], np.ndarray]:
    """Return squares that walk, divide and vanish; what is drawn later lies on top."""
    images = [np.zeros((size, size), np.uint16) for _ in range(frames)]
    alive = {n + 1: (rng.randrange(size - 8), rng.randrange(size - 8)) for n in range(rng.randrange(2, 7))}
    parents: dict[int, int] = {}
    new = max(alive) + 1
    for image in images:
        following = {}
        for label, (y, x) in alive.items():
            image[y : y + 7, x : x + 7] = label
            step = [min(max(c + rng.randrange(-2, 3), 0), size - 8) for c in (y, x)]
            fate = rng.random()
            if fate < 0.12 and len(following) < 12:
                for k in range(2 if rng.random() < 0.85 else rng.choice([1, 3])):
                    following[new] = (step[0], min(max(step[1] + 9 * k - 4, 0), size - 8))
                    parents[new] = label
                    new += 1
            elif fate < 0.95:
                following[label] = (step[0], step[1])
        if not following:
            following[new] = (rng.randrange(size - 8), rng.randrange(size - 8))
            new += 1
        alive = following
    # hidden squares cut tracks, so that what the images show is told apart anew
    return tidy(images, parents, rng)


def spoil(truth: list[np.ndarray], rows: np.ndarray, rng: random.Random) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the truth with objects missing, moved, merged, split, invented and mixed up from some frame on."""
    labels = [int(v) for v in rows[:, 0]]
    top = max(labels)
    names = {v: v for v in labels}
    parents = {int(r[0]): int(r[3]) for r in rows if r[3] and rng.random() > 0.1}
    images = []
    for frame in truth:
        out = np.zeros_like(frame)
        if rng.random() < 0.4:
            a, b = rng.choice(labels), rng.choice(labels)
            names[a], names[b] = names[b], names[a]
        if rng.random() < 0.3:
            # a track is cut in two, so that a link within it becomes a division
            top += 1
            a = rng.choice(labels)
            parents[top], names[a] = names[a], top
        drawn: list[int] = []
        for label, ys, xs in _objects(frame):
            top = _spoil_object((ys, xs), names[label], (out, drawn), (rng, top))
        if rng.random() < 0.2:
            top += 1
            y, x = rng.randrange(frame.shape[0] - 8), rng.randrange(frame.shape[1] - 8)
            spot = out[y : y + 6, x : x + 6]
            spot[spot == 0] = top
        images.append(out)
    return tidy(images, parents, rng)


def _objects(frame: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return label, rows and columns of every object, by label."""
    ys, xs = np.nonzero(frame)
    order = np.argsort(frame[ys, xs], kind="stable")
    ys, xs = ys[order], xs[order]
    cuts = np.flatnonzero(np.diff(frame[ys, xs])) + 1
    parts = zip(np.split(ys, cuts), np.split(xs, cuts), strict=True)
    return [(int(frame[y[0], x[0]]), y, x) for y, x in parts if len(y)]


def _spoil_object(
    pixels: tuple[np.ndarray, np.ndarray], name: int, canvas: tuple[np.ndarray, list[int]], chance: tuple
) -> int:
    rng, top = chance
    out, drawn = canvas
    ys, xs = pixels
    fate = rng.random()
    if fate < 0.05:
        return top
    if fate < 0.1:
        dy, dx = rng.randrange(-4, 5), rng.randrange(-4, 5)
        out[(ys + dy) % out.shape[0], (xs + dx) % out.shape[1]] = name
    elif fate < 0.14:
        top += 1
        left = xs < np.median(xs)
        out[ys[left], xs[left]], out[ys[~left], xs[~left]] = name, top
    elif fate < 0.2:
        name = rng.choice(drawn) if drawn else name
        out[ys, xs] = name
    else:
        out[ys, xs] = name
    drawn.append(name)
    return top


def tidy(images: list[np.ndarray], parents: dict[int, int], rng: random.Random) -> tuple[list[np.ndarray], np.ndarray]:
    """Return images and rows that are valid: tracks without gaps, parents that end before their daughters begin."""
    present: dict[int, list[int]] = {}
    for t, image in enumerate(images):
        for label in np.unique(image[image > 0]).tolist():
            present.setdefault(label, []).append(t)
    pieces: dict[int, list[tuple[int, int, int]]] = {}
    new, names = 0, [np.zeros(int(image.max()) + 1, image.dtype) for image in images]
    for label, seen in sorted(present.items()):
        for t in seen:
            runs = pieces.setdefault(label, [])
            if runs and runs[-1][2] == t - 1:
                runs[-1] = (runs[-1][0], runs[-1][1], t)
            else:
                new += 1
                runs.append((new, t, t))
            names[t][label] = runs[-1][0]
    rows = []
    for label, runs in pieces.items():
        for k, (name, begin, end) in enumerate(runs):
            before = runs[k - 1] if k and rng.random() < 0.7 else None
            if k == 0 and parents.get(label) in pieces:
                earlier = [r for r in pieces[parents[label]] if r[2] < begin]
                before = earlier[-1] if earlier else None
            rows.append((name, begin, end, before[0] if before else 0))
    out = [table[image] for table, image in zip(names, images, strict=True)]
    return out, np.array(rows, np.int64).reshape(-1, 4)


def rows_of(images: list[np.ndarray], parents: dict[int, int]) -> np.ndarray:
    """Return the track rows of label images whose tracks have no gaps."""
    seen: dict[int, list[int]] = {}
    for t, image in enumerate(images):
        for label in np.unique(image[image > 0]).tolist():
            seen.setdefault(label, []).append(t)
    return np.array([(v, ts[0], ts[-1], parents.get(v, 0)) for v, ts in sorted(seen.items())], np.int64)


def all_cases(data: Path) -> dict[str, object]:
    """Return how to build each case, by name."""
    real = {"official_03": official_03, "hela_01": hela_01, "sim_plus_01": sim_plus_01}
    made = {f"fuzz_{n:02d}": n for n in range(N_FUZZ)}
    return {k: (lambda f=f: f(data)) for k, f in real.items()} | {k: (lambda n=n: fuzz(n)) for k, n in made.items()}
