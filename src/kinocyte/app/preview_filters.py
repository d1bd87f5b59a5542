"""What filters keep of the objects, or of the lineages, of the frame on the screen. No Qt."""

from __future__ import annotations

import numpy as np
import polars as pl

from kinocyte.app.previews import Question, Shown
from kinocyte.core.errors import ParameterError
from kinocyte.measurement.filters import FeatureFilter, sift


def kept_shown(asked: Question, rule: FeatureFilter) -> Shown:
    """Return the places of a frame's objects, which of them the filters keep, and how many in all.

    Objects and lineages are those that the last run found, whatever its filters said.

    Raises
    ------
    ParameterError
        If the cells were not found, measured or followed yet.
    """
    position, population = asked.position, asked.population
    wanted = "tracks" if asked.of_tracks else "objects"
    if f"{population}_{wanted}" not in position.tables:
        done = "followed" if asked.of_tracks else "found"
        msg = f"The cells of '{population}' were not {done} yet; run the steps before this one on this position."
        raise ParameterError(msg)
    rules = asked.filters if rule in asked.filters else (rule,)
    places, counts, limits = _of_lineages(asked, rules) if asked.of_tracks else _of_objects(asked, rules)
    places = places.filter(pl.col("frame") == asked.frame)
    things, word = ("lineages", "objects of them") if asked.of_tracks else ("objects of this position", "objects")
    here = int(places["passed"].sum())
    more = f" Otsu's limit here: {', '.join(f'{v:.4g}' for v in limits)}." if limits else ""
    if position.journal.active_of(population):
        more += " Filters see the cells as they were found; what you corrected stays as you corrected it."
    scale, ndim = position.scale, len(position.image().frame_shape)
    axes = ("z_um", "y_um", "x_um")[-ndim:]
    return Shown(
        f"{counts[0]} of {counts[1]} {things} are kept; in this frame {here} of {places.height} {word}.{more}",
        points=places.select(axes).to_numpy() / np.array(scale.spacing_um(ndim)),
        passed=places["passed"].to_numpy(),
    )


_Kept = tuple[pl.DataFrame, tuple[int, int], list[float]]


def _of_objects(asked: Question, rules: tuple[FeatureFilter, ...]) -> _Kept:
    from kinocyte.app.tools.tracking_work import object_table

    table = object_table(asked.position, asked.population)
    passed, account = sift(table, rules)
    return table.with_columns(passed.alias("passed")), (int(passed.sum()), table.height), _limits(account)


def _of_lineages(asked: Question, rules: tuple[FeatureFilter, ...]) -> _Kept:
    from kinocyte.measurement.lineages import lineage_features
    from kinocyte.pipeline.steps.replay import before_track_filters

    objects, links, tracks, members = before_track_filters(asked.position, asked.population)
    wanted = [rule.feature for rule in rules if rule.feature != "mean_quality"]
    table = lineage_features(objects, links, tracks, members, means_of=wanted)
    passed, account = sift(table, rules)
    kept = table.select("root_id", passed.alias("passed"))
    roots = members.join(tracks.select("track_id", "root_id"), on="track_id").join(kept, on="root_id")
    places = objects.select("object_id", "frame", "x_um", "y_um", "z_um").join(roots, on="object_id")
    return places, (int(passed.sum()), table.height), _limits(account)


def _limits(account: pl.DataFrame) -> list[float]:
    """Return the limits that Otsu's rule found."""
    return account["otsu_limit"].drop_nulls().to_list()
