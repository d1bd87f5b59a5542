"""What is wrong with data before a network learns from it, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from kinocyte.learning.data._pair_facts import Facts, facts_of
from kinocyte.learning.data.pairs import Pair, flat_share
from kinocyte.learning.tasks.base import Task

TargetKind = Literal["labels", "classes", "image", "none"]
Severity = Literal["error", "warning", "note"]

#: pairs that are named in a sentence; the table has all
_NAMED = 4
#: share of pixels at the largest value from which an image counts as saturated
_SATURATED = 0.002
#: correlation of thumbnails above which two images count as alike
_ALIKE = 0.995
#: fewer objects than this teach little
_FEW_OBJECTS = 100


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    severity : {"error", "warning", "note"}
        Errors make training fail or its scores worthless; warnings make the model worse; notes are good to know.
    check : str
        Which check found it.
    pairs : tuple of str
        Names of the pairs it concerns.
    sentence : str
        What is wrong, where, and what to do.
    """

    severity: Severity
    check: str
    pairs: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, eq=False)
class DataReport:
    """What was found, the gravest first, and the facts of every pair."""

    findings: tuple[Finding, ...]
    pairs: pl.DataFrame

    @property
    def ok(self) -> bool:
        """Tell whether no error was found."""
        return not any(f.severity == "error" for f in self.findings)


def guess_target(pair: Pair) -> TargetKind:
    """Return what a target most likely holds: labels if it has whole numbers, one channel, and flat objects."""
    target = pair.target
    if target is None:
        return "none"
    plane = target[0] if target.ndim == pair.image.ndim else target
    if target.ndim == pair.image.ndim and len(target) > 1:
        return "image"
    if plane.dtype.kind == "f" and not (np.isfinite(plane).all() and (plane == np.rint(plane)).all()):
        return "image"
    return "labels" if flat_share(plane) > 0.7 else "image"  # objects are flat inside, pictures are not


def check_pairs(
    pairs: Sequence[Pair],
    held_out: Sequence[Pair] = (),
    *,
    target: TargetKind = "labels",
    task: Task | None = None,
    patch_px: Sequence[int] | None = None,
) -> DataReport:
    """Check data before training. Every pair is read once; memory holds one.

    Parameters
    ----------
    pairs : sequence of Pair
        What a network is to learn from.
    held_out : sequence of Pair
        What it is to be judged by, where that is fixed already.
    target : {"labels", "classes", "image", "none"}
        What targets hold; that of the task where one is given.
    task : Task, optional
        The task, for its enlargement and how far it sees.
    patch_px : sequence of int, optional
        Size of the patches it is to be trained with.
    """
    kind: TargetKind = task.target if task is not None else target
    every = [*pairs, *held_out]
    enlargement, optional = (1, False) if task is None else (task.enlargement, task.target_optional)
    facts = [facts_of(p, kind, enlargement, optional=optional) for p in every]
    n = len(pairs)
    found = [
        *_readable(facts),
        *_amount(pairs),
        *_shapes(facts),
        *_grey_values(facts),
        *_bit_depths(facts),
        *_repeated(facts, n),
        *_calibration(facts),
    ]
    if kind in {"labels", "classes"}:
        found += _empty(facts)
    if kind == "labels":
        found += [*_labels(facts), *_sizes(facts, task, patch_px)]
    if kind == "classes":
        found += _classes(facts)
    rank = {"error": 0, "warning": 1, "note": 2}
    found.sort(key=lambda f: rank[f.severity])
    return DataReport(tuple(found), _table(facts, n))


def _table(facts: Sequence[Facts], n: int) -> pl.DataFrame:
    rows = [f.row() | {"used_for": "training" if i < n else "held out"} for i, f in enumerate(facts)]
    return pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame({"pair": []})


def _names(facts: Sequence[Facts]) -> str:
    shown = ", ".join(f"'{short(f.name)}'" for f in facts[:_NAMED])
    return f"{shown} and {len(facts) - _NAMED} more" if len(facts) > _NAMED else shown


def short(name: str) -> str:
    """Return a name without the middle of what is longer than a person reads."""
    return name if len(name) <= 32 else f"{name[:16]}...{name[-8:]}"


def _about(severity: Severity, check: str, facts: Sequence[Facts], sentence: str) -> list[Finding]:
    """Return a finding about pairs, none where there are none; ``{}`` in the sentence is their names."""
    if not facts:
        return []
    return [Finding(severity, check, tuple(f.name for f in facts), sentence.replace("{}", _names(facts)))]


def _readable(facts: Sequence[Facts]) -> list[Finding]:
    return [Finding("error", "unreadable", (f.name,), f.fault) for f in facts if f.fault]


def _amount(pairs: Sequence[Pair]) -> list[Finding]:
    if not pairs:
        return [Finding("error", "amount", (), "There is no pair; give folders whose files share their names.")]
    groups = {p.group for p in pairs}
    names = tuple(p.name for p in pairs)
    if len(pairs) == 1:
        text = (
            f"There is one image only ('{names[0]}'): none can be held out, so nobody can tell whether a model learns "
            "it by heart; annotate more, from other movies and conditions."
        )
        return [Finding("warning", "amount", names, text)]
    if len(groups) == 1:
        text = (
            f"All {len(pairs)} pairs come from one image or movie ('{pairs[0].group}'), so a model may learn that one "
            "by heart; annotate a second movie, or say with --group which part of a name tells images apart."
        )
        return [Finding("warning", "amount", names, text)]
    return []


def _shapes(facts: Sequence[Facts]) -> list[Finding]:
    found = [Finding("error", "shape", (f.name,), f.misfit) for f in facts if f.misfit]
    read = [f for f in facts if not f.fault]
    counts = {f.n_channels for f in read}
    if len(counts) > 1:
        common = max(counts, key=lambda c: sum(f.n_channels == c for f in read))
        odd = [f for f in read if f.n_channels != common]
        found += _about(
            "error",
            "channels",
            odd,
            f"Most images have {common} channel(s), but not {{}}; a network reads the same channels of every image.",
        )
    if len({f.ndim for f in read}) > 1:
        found += _about(
            "error",
            "axes",
            [f for f in read if f.ndim == 3],
            "Some images are planes, but {} volumes; train on one kind.",
        )
    return found


def _grey_values(facts: Sequence[Facts]) -> list[Finding]:
    return [
        *_about(
            "error",
            "nan",
            [f for f in facts if f.nan_image],
            "The images {} hold NaN or infinite values; mend or leave out.",
        ),
        *_about(
            "error",
            "nan",
            [f for f in facts if f.nan_target],
            "The targets {} hold NaN or infinite values; mend or leave out.",
        ),
        *_about(
            "warning", "constant", [f for f in facts if f.constant], "The images {} have one grey value throughout."
        ),
        *_about(
            "warning",
            "saturated",
            [f for f in facts if f.saturated > _SATURATED],
            "The images {} are saturated: many pixels have the largest value, the signal was cut off; expose less.",
        ),
        *_about(
            "warning",
            "grey_levels",
            [f for f in facts if f.few_levels and not f.constant],
            "The images {} have few grey values; they were converted or are very dark; use the originals.",
        ),
        *_about(
            "error",
            "copy",
            [f for f in facts if f.target_is_image],
            "The targets of {} are the very same pixels as their images.",
        ),
    ]


def _bit_depths(facts: Sequence[Facts]) -> list[Finding]:
    depths: dict[str, list[Facts]] = {}
    for f in facts:
        if not f.fault:
            depths.setdefault(f.depth, []).append(f)
    if len(depths) < 2:
        return []
    common = max(depths, key=lambda d: len(depths[d]))
    return [
        finding
        for depth, odd in depths.items()
        if depth != common
        for finding in _about(
            "warning",
            "bit_depth",
            odd,
            f"Most images are {common}, but {{}} {depth}; percentiles even that out, absolute limits do not.",
        )
    ]


def _repeated(facts: Sequence[Facts], n: int) -> list[Finding]:
    """Find images that stand twice, also turned or mirrored, and those both learnt from and held out."""
    found: list[Finding] = []
    seen: dict[str, int] = {}
    exact: set[tuple[int, int]] = set()
    for i, f in enumerate(facts):
        if f.fault:
            continue
        at = seen.setdefault(f.digest, i)
        if at != i:
            exact.add((at, i))
    pairs = [(i, j, True) for i, j in sorted(exact)]
    pairs += [(i, j, False) for i, j in _alike(facts) if (i, j) not in exact and facts[i].digest != facts[j].digest]
    for i, j, same in pairs:
        a, b = facts[i], facts[j]
        what = "are the same image" if same else "look alike, perhaps turned or mirrored or neighbours in one movie"
        names, first, second = (a.name, b.name), short(a.name), short(b.name)
        if (i < n) != (j < n):
            text = f"'{first}' (training) and '{second}' (held out) {what}: the score would be too good; remove one."
            found.append(Finding("error" if same else "warning", "leakage", names, text))
        elif a.group != b.group or same:
            text = f"'{first}' and '{second}' {what}; if one is held out and the other not, scores are too good."
            found.append(Finding("warning" if same else "note", "duplicate", names, text))
    return found


def _alike(facts: Sequence[Facts]) -> list[tuple[int, int]]:
    """Return pairs of images of different groups whose thumbnails correlate in one of their eight positions."""
    small = {i: f.thumbnail for i, f in enumerate(facts) if f.thumbnail is not None}
    if len(small) < 2:
        return []
    usable, thumbs = list(small), np.stack(list(small.values()))
    flat = thumbs.reshape(len(thumbs), -1)
    turned = [np.rot90(t, k, axes=(1, 2)) for t in (thumbs, thumbs[:, ::-1]) for k in range(4)]
    best = np.max([flat @ t.reshape(len(t), -1).T for t in turned], axis=0)
    rows, columns = np.nonzero(np.triu(best > _ALIKE, 1))
    return [(usable[int(a)], usable[int(b)]) for a, b in zip(rows, columns, strict=True)]


def _calibration(facts: Sequence[Facts]) -> list[Finding]:
    known = {f.pixel_um for f in facts if f.pixel_um is not None}
    if len(known) < 2:
        return []
    sizes = sorted({p[-1] for p in known})
    if sizes[-1] <= 1.05 * sizes[0]:
        return []
    text = (
        f"Pixel sizes differ, from {sizes[0]:g} to {sizes[-1]:g} um; name one pixel size for the model, so that images "
        "are rescaled to it."
    )
    return [Finding("warning", "pixel_size", tuple(f.name for f in facts), text)]


def _empty(facts: Sequence[Facts]) -> list[Finding]:
    looked_at = [f for f in facts if not (f.fault or f.misfit or f.nan_target or f.unlabelled or f.is_picture)]
    empty = [f for f in looked_at if f.n_objects == 0]
    if empty and len(empty) == len(facts):
        return _about("error", "empty", empty, "All targets are empty ({}): there is nothing to learn.")
    return _about(
        "warning",
        "empty",
        empty,
        "The targets of {} are empty; keep them only if there is truly nothing in these images.",
    )


def _labels(facts: Sequence[Facts]) -> list[Finding]:
    masks = [f for f in facts if f.is_mask]
    found = _about(
        "error",
        "mask",
        masks,
        "The targets of {} are masks: separate objects share one number; number each object by itself.",
    )
    found += _about(
        "error",
        "picture",
        [f for f in facts if f.is_picture],
        "The targets of {} are pictures, not labels: neighbouring pixels differ nearly everywhere; give 0 for "
        "background and one number for each object. Were images and targets exchanged?",
    )
    rest = [f for f in facts if not (f.is_mask or f.is_picture)]
    doubled = [f for f in rest if f.repeated]
    which = "; ".join(f"{short(f.name)}: {_few(f.repeated)}" for f in doubled[:_NAMED])
    found += _about(
        "warning",
        "repeated",
        doubled,
        f"In the targets of {{}} one number stands for several objects ({which}); number each by itself.",
    )
    found += _about(
        "warning",
        "pieces",
        [f for f in rest if f.crumbs],
        "In the targets of {} objects have stray pieces apart from them; erase the pieces.",
    )
    found += _about(
        "warning",
        "tiny",
        [f for f in rest if f.tiny],
        "The targets of {} have tiny objects, of a few pixels or far below the usual size: slips of the brush?",
    )
    total = sum(f.n_objects for f in facts)
    if 0 < total < _FEW_OBJECTS:
        text = (
            f"There are {total} objects in all; a network trained from scratch wants hundreds, or start from a model."
        )
        found.append(Finding("note", "amount", tuple(f.name for f in facts), text))
    return found


def _few(labels: Sequence[int]) -> str:
    shown = ", ".join(map(str, labels[:_NAMED]))
    return f"{shown} .." if len(labels) > _NAMED else shown


def _sizes(facts: Sequence[Facts], task: Task | None, patch_px: Sequence[int] | None) -> list[Finding]:
    """Compare objects with what the network sees and with the patches."""
    diameters = np.concatenate([f.diameters_px for f in facts]) if facts else np.zeros(0)
    if diameters.size == 0:
        return []
    typical, largest = float(np.median(diameters)), float(np.quantile(diameters, 0.99))
    ndim = max((f.ndim for f in facts), default=2)
    found = []
    if task is not None:
        reach = min(task.reach(ndim)[-2:])
        if largest > reach:
            text = (
                f"Objects are up to {largest:.0f} pixels wide, but the network sees {reach} pixels around a pixel; "
                "choose a deeper network or a larger pixel size."
            )
            found.append(Finding("warning", "object_size", (), text))
    if patch_px is not None and largest > min(patch_px[-2:]):
        text = f"Objects are up to {largest:.0f} pixels wide, patches {min(patch_px[-2:])}; choose larger patches."
        found.append(Finding("warning", "object_size", (), text))
    if typical < 5:
        text = (
            f"Objects are typically {typical:.1f} pixels wide; shapes so small are hard to learn: take sharper images."
        )
        found.append(Finding("warning", "object_size", (), text))
    return found


def _classes(facts: Sequence[Facts]) -> list[Finding]:
    found = _about(
        "warning",
        "classes",
        [f for f in facts if f.n_objects > 50],
        "The targets of {} hold more than 50 classes; are they labels of single objects?",
    )
    every = frozenset[int]().union(*(f.classes for f in facts))
    gaps = max(every, default=0) - len(every)
    if gaps:
        text = (
            f"The targets hold the classes {_few(sorted(every))}, but not those between 0 and {max(every)} that are "
            "missing here; number classes 1, 2, 3 .. without gaps, 0 for background."
        )
        severity: Severity = "error" if gaps > len(every) else "warning"
        found.append(Finding(severity, "classes", tuple(f.name for f in facts if f.classes), text))
    return found
