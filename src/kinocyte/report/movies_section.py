"""The movies of the report: which positions are shown, and what stands beside each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from kinocyte.core.errors import KinocyteError
from kinocyte.experiment.position import Position
from kinocyte.report.cells import times_or_frames
from kinocyte.report.gallery import Strip, strips
from kinocyte.report.material import Material, data_uri, still
from kinocyte.report.movie import MovieMaker, movie_maker, webp
from kinocyte.report.overlay import time_text

#: Most positions with a movie, most frames in one, and bytes for all movies together.
MOST_MOVIES, MOST_FRAMES, BYTES = 12, 40, 8_000_000


def chosen(material: Material) -> list[Position]:
    """Return the positions with movies: the first of every condition, then the second of every condition, and so on."""
    queues: dict[str, list[Position]] = {label: [] for label in material.grouping.labels}
    for position in material.positions:
        if position.id not in material.examination.unreadable:
            queues[material.grouping.of_well[position.well]].append(position)
    out: list[Position] = []
    depth = max((len(q) for q in queues.values()), default=0)
    for turn in range(depth):
        out += [q[turn] for q in queues.values() if turn < len(q)]
    picked = {p.id for p in out[:MOST_MOVIES]}
    return [p for p in material.positions if p.id in picked]


def movies(material: Material) -> dict[str, Any]:
    """Return a movie and a track gallery of the chosen positions, and the names of the positions without one."""
    cards, used, failed = [], 0, {}
    for position in chosen(material):
        if used > BYTES:
            break
        try:
            card = _card(material, position, min(BYTES // MOST_MOVIES, BYTES - used))
        except (KinocyteError, OSError) as error:
            failed[position.id] = str(error)
            continue
        used += len(card["movie"])
        cards.append(card)
    shown = {c["id"] for c in cards}
    rest = [p.id for p in material.positions if p.id not in shown]
    return {"cards": cards, "rest": rest, "failed": failed, "tail_frames": 12}


def _card(material: Material, position: Position, most_bytes: int) -> dict[str, Any]:
    height, width = position.image().frame_shape[-2:]
    maker = movie_maker(position, longest_px=420 if height > width else 320)
    frames = maker.frames_of(MOST_FRAMES)
    pictures = [maker.picture(t) for t in frames]
    per_second = max(3.0, min(12.0, len(frames) / 4))
    content = webp(pictures, per_second)
    for quality in (35, 15):
        if len(content) > most_bytes:
            content = webp(pictures, per_second, quality)
    if len(content) > most_bytes:
        frames, pictures = frames[::3], pictures[::3]
        content = webp(pictures, per_second, 15)
    step = frames[1] - frames[0] if len(frames) > 1 else 1
    return {
        "id": position.id,
        "name": position.name,
        "condition": material.grouping.of_well[position.well],
        "movie": data_uri(content, "image/webp"),
        "still": data_uri(still(pictures[0]), "image/webp") if len(pictures) > 1 else None,
        "width": pictures[0].width,
        "height": pictures[0].height,
        "channel": maker.channel,
        "channels": position.channels,
        "is_3d": position.image().is_3d,
        "n_frames": position.n_frames,
        "every": step,
        "populations": [_population(material, maker, p) for p in maker.populations],
    }


def _population(material: Material, maker: MovieMaker, population: str) -> dict[str, Any]:
    position = maker.position
    counts = material.counts[population].filter(pl.col("position") == position.id)["n_cells"]
    n_tracks = position.tracks(population).height if f"{population}_tracks" in position.tables else None
    return {
        "name": population,
        "least": counts.min(),
        "most": counts.max(),
        "tracks": n_tracks,
        "strips": [strip_shown(position, s) for s in strips(maker, population)],
    }


def strip_shown(position: Position, strip: Strip) -> dict[str, Any]:
    """Return crops of one cell as the page shows them."""
    times, known = times_or_frames(position)
    moments: Sequence[str] = [time_text(times[t]) if known else f"frame {t}" for t in strip.frames]
    return {
        "track": strip.track_id,
        "colour": strip.colour,
        "n_frames": strip.n_frames,
        "channel": strip.channel,
        "picture": data_uri(still(strip.picture), "image/webp"),
        "width": strip.picture.width,
        "height": strip.picture.height,
        "moments": ", ".join(moments),
    }
