"""Curation by exception: the least certain first, the rest accepted in bulk, and how wrong a result is by a sample.

What a review finds is noted in the journal of the position (`kinocyte.experiment.journal.NOTES`). Notes change no
result. They hold for what they were said of: a link between two objects of one segmentation, an event of one class and
time; after another segmentation the same cells are open again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.experiment.journal import Entry
from kinocyte.experiment.position import Position
from kinocyte.experiment.records import fingerprint
from kinocyte.statistics.proportions import Share, share_interval

Kind = Literal["link", "division", "event", "label"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: One row a thing that may be wrong.
DOUBTS: Mapping[str, Any] = {
    "kind": pl.String,
    "key": pl.String,
    "confidence": pl.Float64,
    "frame": pl.Int32,
    "x_um": pl.Float64,
    "y_um": pl.Float64,
    "object_ids": pl.List(pl.Int64),
    "track_ids": pl.List(pl.Int64),
    "says": pl.String,
    "by_hand": pl.Boolean,
}


def doubts(
    objects: pl.DataFrame,
    links: pl.DataFrame,
    tracks: pl.DataFrame,
    events: pl.DataFrame,
    *,
    kinds: Sequence[Kind] = KINDS,
) -> pl.DataFrame:
    """Return everything that may be wrong in a result, the least certain first.

    Parameters
    ----------
    objects : polars.DataFrame
        `kinocyte.core.schema.OBJECTS` with ``track_id``.
    links, tracks, events : polars.DataFrame
        `kinocyte.core.schema.LINKS`, ``TRACKS``, ``EVENTS``; may be empty.
    kinds : sequence of {"link", "division", "event", "label"}
        What is looked at. The confidence of a label is the ``quality`` of its segmentation; where that gives none, how
        usual its area is: the part of a normal distribution that is farther from the middle than the logarithm of the
        area is from its median, in units of 1.4826 times the median absolute deviation.

    Returns
    -------
    polars.DataFrame
        Columns `DOUBTS`, sorted by confidence (unknown ones first), then frame and key. ``by_hand`` tells what a person
        made. ``frame x_um y_um`` is where to look.

    Raises
    ------
    ParameterError
        If a kind is unknown.
    """
    unknown = next((k for k in kinds if k not in KINDS), None)
    if unknown is not None:
        msg = f"There is no kind of doubt '{unknown}'; {nearest(unknown, KINDS)}."
        raise ParameterError(msg)
    make = {
        "link": lambda: _links(objects, links),
        "division": lambda: _divisions(objects, links, tracks),
        "event": lambda: _events(objects, events),
        "label": lambda: _labels(objects),
    }
    found = [make[k]().select(pl.col(n).cast(d) for n, d in DOUBTS.items()) for k in dict.fromkeys(kinds)]
    return pl.concat([pl.DataFrame(schema=dict(DOUBTS)), *found]).sort("confidence", "frame", "key", nulls_last=False)


def _places(objects: pl.DataFrame, *more: str) -> pl.DataFrame:
    return objects.select("object_id", "frame", "x_um", "y_um", "track_id", *more)


def _text(*parts: Any) -> pl.Expr:
    return pl.concat_str([pl.lit(p) if isinstance(p, str) else p.cast(pl.String) for p in parts])


def _links(objects: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    at = _places(objects)
    source = at.select("object_id", "frame", "x_um", "y_um", pl.col("track_id").alias("from_track"))
    target = at.select(pl.col("object_id").alias("target_id"), pl.col("track_id").alias("to_track"))
    rows = links.join(source, left_on="source_id", right_on="object_id").join(target, on="target_id")
    return rows.with_columns(
        pl.lit("link").alias("kind"),
        _text("link:", pl.col("source_id"), ":", pl.col("target_id")).alias("key"),
        pl.concat_list("source_id", "target_id").alias("object_ids"),
        pl.concat_list("from_track", "to_track").list.drop_nulls().list.unique(maintain_order=True).alias("track_ids"),
        _text("object ", pl.col("source_id"), " goes on as ", pl.col("target_id")).alias("says"),
        (pl.col("cost").is_null() & (pl.col("confidence") == 1.0)).fill_null(value=False).alias("by_hand"),
    )


def _divisions(objects: pl.DataFrame, links: pl.DataFrame, tracks: pl.DataFrame) -> pl.DataFrame:
    at = _places(objects)
    several = links.filter(pl.len().over("source_id") > 1)
    by_hand = (pl.col("cost").is_null() & (pl.col("confidence") == 1.0)).fill_null(value=False)
    rows = several.group_by("source_id").agg(
        pl.col("target_id").sort().alias("daughters"), by_hand.all().alias("by_hand")
    )
    rows = rows.join(at, left_on="source_id", right_on="object_id")
    wanted = "division_confidence"
    known = tracks.select("track_id", wanted) if wanted in tracks.columns else tracks.select("track_id")
    rows = rows.join(known, on="track_id", how="left")
    sure = pl.col(wanted) if wanted in rows.columns else pl.lit(None, pl.Float64)
    names = pl.col("daughters").cast(pl.List(pl.String))
    return rows.with_columns(
        pl.lit("division").alias("kind"),
        _text("division:", pl.col("source_id"), ":", names.list.join(":")).alias("key"),
        sure.alias("confidence"),
        pl.concat_list("source_id", "daughters").alias("object_ids"),
        pl.concat_list("track_id").list.drop_nulls().alias("track_ids"),
        _text("object ", pl.col("source_id"), " divides into ", names.list.join(", ")).alias("says"),
    )


def _events(objects: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    seen = _places(objects, "time_min").filter(pl.col("track_id").is_not_null()).sort("track_id", "frame")
    ends = seen.group_by("track_id", maintain_order=True).agg(pl.col("object_id").first().alias("first_id"))
    rows = events.join(ends, on="track_id").with_row_index("row")
    # where to look: the object nearest to the time, without a time the last one
    near = rows.select("row", "track_id", pl.col("time_min").alias("at_min")).join(seen, on="track_id")
    away = (
        pl.when(pl.col("at_min").is_null())
        .then(-pl.col("frame"))
        .otherwise((pl.col("time_min") - pl.col("at_min")).abs())
    )
    near = near.with_columns(away.alias("away")).sort("row", "away").unique("row", keep="first", maintain_order=True)
    rows = rows.join(near.select("row", "object_id", "frame", "x_um", "y_um"), on="row")
    time = pl.col("time_min").round(3).cast(pl.String).fill_null("-")
    at = pl.when(pl.col("time_min").is_null()).then(pl.lit("")).otherwise(_text(" at ", time, " min"))
    set_by_hand = (pl.col("confidence") == 1.0) & ((pl.col("time_se_min") == 0.0) | pl.col("time_min").is_null())
    return rows.with_columns(
        pl.lit("event").alias("kind"),
        _text("event:", pl.col("event"), ":", pl.col("first_id"), ":", pl.col("class"), ":", time).alias("key"),
        pl.concat_list("object_id").alias("object_ids"),
        pl.concat_list("track_id").alias("track_ids"),
        _text("track ", pl.col("track_id"), ": ", pl.col("event"), " is ", pl.col("class"), at).alias("says"),
        set_by_hand.fill_null(value=False).alias("by_hand"),
    )


def _labels(objects: pl.DataFrame) -> pl.DataFrame:
    if "quality" in objects.columns and objects["quality"].is_not_null().any():
        sure: Any = objects["quality"].cast(pl.Float64)
        reason = "quality"
    elif "area_um2" in objects.columns and objects.height:
        sure, reason = _usual(objects["area_um2"].cast(pl.Float64)), "size"
    else:
        return pl.DataFrame(schema=dict(DOUBTS))
    rows = _places(objects).with_columns(pl.Series("confidence", sure, dtype=pl.Float64))
    rows = rows.filter(pl.col("confidence").is_not_null())
    return rows.with_columns(
        pl.lit("label").alias("kind"),
        _text("label:", pl.col("object_id")).alias("key"),
        pl.concat_list("object_id").alias("object_ids"),
        pl.concat_list("track_id").list.drop_nulls().alias("track_ids"),
        _text("object ", pl.col("object_id"), f" by its {reason}").alias("says"),
        (pl.col("object_id") >= 1_000_000_000).alias("by_hand"),
    )


def _usual(area: pl.Series) -> pl.Series:
    """Return how usual each area is: 1 at the median, 0.05 at two standard deviations."""
    from math import erfc, sqrt

    log = area.log()
    middle = log.median()
    spread = 1.4826 * float((log - middle).abs().median() or 0.0)  # type: ignore[arg-type]  # of floats
    if not spread > 0:
        return area * 0.0 + 1.0
    distance = ((log - middle).abs() / spread).to_list()
    return pl.Series([None if d is None else erfc(d / sqrt(2)) for d in distance], dtype=pl.Float64)


# ---------------------------------------------------------------- notes of a review
@dataclass(frozen=True)
class Sample:
    """A random sample that is looked at to tell how wrong a result is.

    Attributes
    ----------
    sample_id, kind : str
        Its name and what it holds.
    keys : mapping of str to tuple of str
        The keys of every position in it.
    n, of : int
        How many were drawn, of how many.
    right, wrong : int
        How many were found so.
    """

    sample_id: str
    kind: str
    keys: Mapping[str, tuple[str, ...]]
    n: int
    of: int
    right: int
    wrong: int
    judged: frozenset[tuple[str, str]]

    @property
    def looked_at(self) -> int:
        """Return how many have been judged."""
        return self.right + self.wrong

    def error_rate(self, *, confidence: float = 0.95, method: Literal["wilson", "clopper_pearson"] = "wilson") -> Share:
        """Return which part of the result is wrong, with its interval; see `kinocyte.statistics.proportions`."""
        return share_interval(self.wrong, self.looked_at, confidence=confidence, method=method, of=self.of)


class Review:
    """The review of one population of one position.

    Parameters
    ----------
    position : Position
        Where; its journal keeps the notes.
    population : str
        Whose cells.
    """

    def __init__(self, position: Position, population: str) -> None:
        self.position, self.population = position, population

    def made(self) -> dict[str, str]:
        """Return what tells one result from another: how cells were found, followed, and events looked for."""
        records = self.position.records
        found = {s: records.get(s, self.population) for s in ("segmentation", "tracking")}
        marks = {s: "" if r is None else r.fingerprint for s, r in found.items()}
        events = [records.get(s, self.population) for s in ("events", "neighbour_events")]
        said = {r.step: r.method for r in events if r is not None}
        return {**marks, "events": fingerprint(said) if said else ""}

    def accept(self, keys: Sequence[str]) -> Entry:
        """Note that these were looked at and found right, or were put right."""
        if not keys:
            msg = "Nothing was named to accept."
            raise ParameterError(msg)
        return self._note("review_accept", keys=list(keys))

    def accept_rest(self, kinds: Sequence[Kind], least_confidence: float = 0.0) -> Entry:
        """Note that everything of these kinds that is still open is accepted unseen.

        Parameters
        ----------
        kinds : sequence of str
            Which.
        least_confidence : float
            Only from this confidence on. The note holds while segmentation, tracking and events stay as they are.
        """
        if not kinds or not 0 <= least_confidence <= 1:
            msg = f"Name kinds to accept and a confidence from 0 to 1, not {list(kinds)} from {least_confidence:g} on."
            raise ParameterError(msg)
        return self._note("review_accept", rest=list(kinds), least_confidence=float(least_confidence))

    def judge(self, sample: Sample, key: str, *, right: bool) -> Entry:
        """Note what was found of one thing of a sample; a later word on it replaces an earlier one."""
        if key not in sample.keys.get(self.position.id, ()):
            msg = f"'{key}' is not part of the sample of position {self.position.id}."
            raise ParameterError(msg)
        return self._note("review_judgement", sample=sample.sample_id, key=key, right=bool(right))

    def _note(self, action: str, **payload: Any) -> Entry:
        return self.position.journal.append(action, {**payload, "made": self.made()}, self.population)

    def status(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return `doubts` with the column ``status``.

        ``by_hand``: made by a person; ``accepted``: looked at; ``in_bulk``: accepted unseen; ``wrong``: found wrong in
        a sample and not changed since; ``open``: still to be looked at.
        """
        made, looked, wrong, rules = self.made(), set[str](), set[str](), []
        for entry in self.position.journal.notes_of(self.population):
            payload = entry.payload
            if payload.get("made", {}).get("segmentation") != made["segmentation"]:
                continue
            if entry.action == "review_judgement":
                (looked if payload["right"] else wrong).add(str(payload["key"]))
                (wrong if payload["right"] else looked).discard(str(payload["key"]))
            elif "rest" in payload and payload["made"] == made:
                rules.append(payload)
            elif "keys" in payload and entry.action == "review_accept":
                looked.update(map(str, payload["keys"]))
                wrong.difference_update(map(str, payload["keys"]))
        bulk = pl.any_horizontal(
            pl.lit(value=False),
            *(
                pl.col("kind").is_in(r["rest"]) & (pl.col("confidence").fill_null(1.0) >= r["least_confidence"])
                for r in rules
            ),
        )
        key = pl.col("key")
        status = (
            pl.when(key.is_in(list(wrong))).then(pl.lit("wrong"))
            .when("by_hand").then(pl.lit("by_hand"))
            .when(key.is_in(list(looked))).then(pl.lit("accepted"))
            .when(bulk).then(pl.lit("in_bulk"))
            .otherwise(pl.lit("open"))
        )  # fmt: skip
        return table.with_columns(status.alias("status"))


def draw_sample(
    tables: Mapping[str, pl.DataFrame], positions: Mapping[str, Position], population: str, kind: Kind, n: int,
    *, seed: int = 0,
) -> Sample:  # fmt: skip
    """Draw a sample of one kind over positions, all with the same chance, and note it in their journals.

    Parameters
    ----------
    tables : mapping of str to polars.DataFrame
        `doubts` of every position. What a person made is left out: the rate is that of the computed result.
    positions : mapping of str to Position
        The positions by id.
    population : str
        Whose cells.
    kind : str
        What is drawn.
    n : int
        How many; all where there are fewer.
    seed : int
        Makes the draw repeatable.

    Raises
    ------
    ParameterError
        If there is nothing to draw from.
    """
    rows = [(p, k) for p, t in sorted(tables.items()) for k in t.filter(kind=kind, by_hand=False)["key"].sort()]
    if not rows or n < 1:
        msg = f"There is no {kind} to draw a sample of {n} from; run the step that makes them first."
        raise ParameterError(msg)
    chosen = np.random.default_rng(seed).choice(len(rows), min(n, len(rows)), replace=False)
    keys: dict[str, list[str]] = {}
    for i in chosen:
        position, key = rows[int(i)]
        keys.setdefault(position, []).append(key)
    name = uuid.uuid4().hex[:12]
    for position, mine in keys.items():
        payload = {"sample": name, "kind": kind, "keys": mine, "of": len(rows), "n": len(chosen), "seed": seed}
        Review(positions[position], population)._note("review_sample", **payload)
    return samples(positions.values(), population)[name]


def samples(positions: Iterable[Position], population: str) -> dict[str, Sample]:
    """Return the samples that were drawn, oldest first, with what was found so far."""
    drawn: dict[str, dict[str, Any]] = {}
    keys: dict[str, dict[str, tuple[str, ...]]] = {}
    judged: dict[str, dict[tuple[str, str], bool]] = {}
    for position in positions:
        for entry in position.journal.notes_of(population):
            payload = entry.payload
            if entry.action == "review_sample":
                name = str(payload["sample"])
                drawn.setdefault(name, {**payload, "time": entry.time})
                keys.setdefault(name, {})[position.id] = tuple(payload["keys"])
            elif entry.action == "review_judgement":
                judged.setdefault(str(payload["sample"]), {})[position.id, str(payload["key"])] = bool(payload["right"])
    out = {}
    for name, one in sorted(drawn.items(), key=lambda d: d[1]["time"]):
        said = judged.get(name, {})
        right = sum(said.values())
        out[name] = Sample(
            name, str(one["kind"]), keys[name], sum(len(k) for k in keys[name].values()), int(one["of"]), right,
            len(said) - right, frozenset(said),
        )  # fmt: skip
    return out


def judged_so(positions: Iterable[Position], population: str, sample: Sample) -> dict[tuple[str, str], bool]:
    """Return what was found of each thing of a sample, by position and key: True for right."""
    found: dict[tuple[str, str], bool] = {}
    for position in positions:
        for entry in position.journal.notes_of(population):
            if entry.action == "review_judgement" and entry.payload["sample"] == sample.sample_id:
                found[position.id, str(entry.payload["key"])] = bool(entry.payload["right"])
    return found
