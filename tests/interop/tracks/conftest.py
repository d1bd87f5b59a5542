"""Track data of any shape."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import strategies as st

from kinocyte.core.scale import Scale
from kinocyte.interop.tracks.base import Contours, TrackData, track_data

_PLACES = st.floats(0, 60, allow_nan=False).map(lambda v: round(v, 6) + 0.0)
_FEATURES = st.one_of(st.none(), st.floats(allow_nan=False), st.just(float("inf")), st.just(5e-324), st.just(1e-4))


@st.composite
def movies(draw: st.DrawFn, *, big_ids: bool = False, deep: bool | None = None) -> TrackData:
    """Return random objects on 1 to 5 frames, with links that divide, merge, skip frames and leave objects alone."""
    n_frames = draw(st.integers(1, 5))
    frames = [t for t in range(n_frames) for _ in range(draw(st.integers(0, 4)))]
    n = len(frames)
    low, high = (-(2**62), 2**62) if big_ids else (0, 2**31 - 1)
    ids = draw(st.lists(st.integers(low, high), min_size=n, max_size=n, unique=True))
    is_3d = draw(st.booleans()) if deep is None else deep
    step = draw(st.sampled_from([1.0, 0.5, 5.0, 1 / 3]))
    columns = {
        "object_id": pl.Series(ids, dtype=pl.Int64),
        "frame": pl.Series(frames, dtype=pl.Int32),
        "x_um": pl.Series(draw(st.lists(_PLACES, min_size=n, max_size=n)), dtype=pl.Float64),
        "y_um": pl.Series(draw(st.lists(_PLACES, min_size=n, max_size=n)), dtype=pl.Float64),
        "time_min": pl.Series([t * step for t in frames], dtype=pl.Float64),
        "quality": pl.Series(draw(st.lists(_FEATURES, min_size=n, max_size=n)), dtype=pl.Float64),
        "mean_GFP": pl.Series(draw(st.lists(_FEATURES, min_size=n, max_size=n)), dtype=pl.Float64),
        "area_um2": pl.Series(draw(st.lists(st.floats(0.5, 50), min_size=n, max_size=n)), dtype=pl.Float64),
        "n_spots": pl.Series(
            draw(st.lists(st.one_of(st.none(), st.integers(-9, 2**40)), min_size=n, max_size=n)), dtype=pl.Int64
        ),
    }
    if is_3d:
        columns["z_um"] = pl.Series(draw(st.lists(_PLACES, min_size=n, max_size=n)), dtype=pl.Float64)
    pairs = [(a, b) for a in range(n) for b in range(n) if frames[a] < frames[b] <= frames[a] + 2]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=6)) if pairs else []
    links = pl.DataFrame(
        {
            "source_id": pl.Series([ids[a] for a, _ in chosen], dtype=pl.Int64),
            "target_id": pl.Series([ids[b] for _, b in chosen], dtype=pl.Int64),
            "cost": pl.Series(draw(st.lists(_FEATURES, min_size=len(chosen), max_size=len(chosen))), dtype=pl.Float64),
            "similarity": pl.Series(
                draw(st.lists(_FEATURES, min_size=len(chosen), max_size=len(chosen))), dtype=pl.Float64
            ),
        }
    )
    outlined = draw(st.lists(st.sampled_from(ids), unique=True, max_size=n)) if n else []
    shapes = {i: np.round(np.random.default_rng(k).normal(size=(3 + k % 4, 2)), 3) for k, i in enumerate(outlined)}
    scale = Scale(y_um=0.5, x_um=0.25, z_um=2.0, frame_interval_min=step)
    return track_data(pl.DataFrame(columns), links, name="movie", scale=scale, contours=Contours.of(shapes))


def partition(data: TrackData) -> set[frozenset[tuple[int, float, float]]]:
    """Return the branches as sets of places, which no numbering changes."""
    from kinocyte.interop.tracks.text_writers import tracked

    groups = tracked(data).group_by("track_id").agg("frame", pl.col("x_um").round(3), pl.col("y_um").round(3))
    return {frozenset(zip(f, x, y, strict=True)) for _, f, x, y in groups.iter_rows()}


def edges(data: TrackData) -> list[tuple[int, int]]:
    """Return the links, sorted."""
    return sorted(data.links.select("source_id", "target_id").iter_rows())
