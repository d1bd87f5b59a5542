"""Tables that a pipeline makes of measured ones: declared, stored, kept, compared; every number made again by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from tests.pipeline.conftest import PIPELINE, blobs

TABLES = """
[[population.nuclei.event]]
name = "bright"
method = "group"
when = "mean_dna > 300"
[[population.nuclei.event]]
name = "seen"
method = "threshold_transition"
when = "frame >= 2"
[[interaction]]
reference = "nuclei"
neighbour = "nuclei"
method = "radius"
radius_um = 14.0
[[table]]
name = "large"
of = "nuclei"
[[table.step]]
method = "query"
when = "area_um2 > 3"
[[table.step]]
method = "derive"
columns = { total = "area_um2 * mean_dna", log_total = "log10(total)" }
[[table.step]]
method = "calibrate"
column = "total"
factor = 0.001
[[table.step]]
method = "differentiate"
column = "area_um2"
direction = "forward"
[[table.step]]
method = "merge_states"
into = "phase"
states = { bright = "bright_state" }
otherwise = "dim"
[[table]]
name = "per_track"
of = "large"
[[table.step]]
method = "collapse_tracks"
columns = ["total", "area_um2"]
statistics = ["mean", "last"]
state = "phase"
[[table]]
name = "at_event"
of = "large"
[[table.step]]
method = "collapse_tracks"
columns = ["area_um2"]
at = "seen"
[[table]]
name = "per_frame"
of = "nuclei"
[[table.step]]
method = "group_by_frame"
columns = ["area_um2"]
[[table]]
name = "couples"
of = "nuclei_nuclei"
[[table.step]]
method = "collapse_pairs"
columns = ["distance_um"]
statistics = ["min", "count"]
[[table]]
name = "beside"
of = "per_frame"
[[table.step]]
method = "join_populations"
other = "nuclei"
how = "rows"
this = "frames"
[[comparison]]
method = "values"
table = "large"
value = "log_total"
by = "well"
replicate = ""
[[comparison]]
method = "aligned_signal"
table = "large"
signal = "area_um2_per_min"
event = "seen"
by = "well"
replicate = ""
min_cells = 1
"""
LIVES = """
[[table]]
name = "lives"
of = "nuclei"
rows = "tracks"
[[table.step]]
method = "derive"
columns = { duration_min = "last_time_min - first_time_min", observed = "seen_class == 'event'" }
[[comparison]]
title = "of a table"
method = "survival"
table = "lives"
event = "seen"
by = "well"
replicate = ""
[[comparison]]
title = "of tracks"
method = "hazard"
event = "seen"
by = "well"
replicate = ""
"""
IN_PROCESS = Workers(workers=0)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Return two positions after a run that makes six tables."""
    from kinocyte import Scale

    experiment = kinocyte.create(tmp_path_factory.mktemp("tables") / "e.zarr")
    for i, well in enumerate(("A1", "A2")):
        movie = blobs(4, i + 1)
        writer = experiment.new_position(
            well=well, field="1", shape=(4, 1, 1, 64, 64), dtype=movie.dtype, channels=["dna"],
            scale=Scale.isotropic(0.5, frame_interval_min=2.0),
        )  # fmt: skip
        for t in range(4):
            writer.write(t, movie[t][None])
        writer.finish()
    result = run(parse_pipeline(PIPELINE + TABLES + LIVES), kinocyte.open(experiment.url), where=IN_PROCESS)
    assert result.ok, result.failed
    return kinocyte.open(experiment.url)


def test_each_step_does_what_it_says(done: Experiment) -> None:
    objects = done.objects("nuclei").collect().filter(pl.col("area_um2") > 3)
    large = done.scan("large_table").collect()
    assert large.height == objects.height > 20
    assert large["total"].to_list() == pytest.approx((objects["area_um2"] * objects["mean_dna"] / 1000).to_list())
    first = objects.sort("position", "track_id", "frame").filter(pl.len().over("position", "track_id") > 1).head(2)
    rate = large.join(first.head(1), on=["position", "object_id"], how="semi")["area_um2_per_min"].item()
    assert rate == pytest.approx((first["area_um2"][1] - first["area_um2"][0]) / 2.0)
    assert set(large["phase"]) == {"bright", "dim"} & set(large["phase"])
    assert (large["phase"] == "bright").to_list() == (objects["mean_dna"] > 300).to_list()


def test_tables_of_tables_have_one_row_a_track_a_frame_a_pair(done: Experiment) -> None:
    large, per_track = done.scan("large_table").collect(), done.scan("per_track_table").collect()
    key = ["position", "track_id", "phase"]
    again = large.drop_nulls("track_id").group_by(key).agg(pl.col("total").mean())
    both = per_track.join(again, on=key)
    assert both.height == per_track.height == again.height
    assert both["mean_total"].to_list() == pytest.approx(both["total"].to_list())
    at = done.scan("at_event_table").collect()
    assert (at["time_min"] - at["event_min"]).abs().max() <= 1.0  # type: ignore[operator]  # half a frame interval
    frames = done.scan("per_frame_table").collect()
    counted = done.objects("nuclei").collect().group_by("position", "frame").len().sort("position", "frame")
    assert frames["n_objects"].to_list() == counted["len"].to_list()
    pairs = done.scan("nuclei_nuclei_pairs").collect()
    couples = done.scan("couples_table").collect()
    assert couples.height == pairs.select("position", "reference_track_id", "neighbour_track_id").n_unique()
    assert couples["min_distance_um"].min() == pairs["distance_um"].min()
    beside = done.scan("beside_table").collect()
    assert set(beside["population"]) == {"frames", "nuclei"}


def test_comparisons_read_made_tables(done: Experiment) -> None:
    values, signal, lives, hazard = done.comparisons()
    assert lives.frames["groups"]["n_cells"].sum() == done.tracks("nuclei").collect().height
    assert hazard.frames["groups"]["rate"].null_count() == 0
    large = done.scan("large_table").collect().drop_nulls("track_id")
    means = large.group_by("well", "track_id").agg(pl.col("log_total").mean()).group_by("well").agg(
        pl.len(), pl.col("log_total").mean()
    ).sort("well")  # fmt: skip
    groups = values.frames["groups"].sort("group")
    assert groups["n_cells"].to_list() == means["len"].to_list()  # tracks, not rows
    assert groups["mean"].to_list() == pytest.approx(means["log_total"].to_list())
    assert signal.frames["curves"].height > 0


def test_a_table_is_kept_until_something_it_reads_changes(done: Experiment) -> None:
    text = PIPELINE + TABLES + LIVES
    again = run(parse_pipeline(text), done, where=IN_PROCESS)
    assert {o.status for o in again.outcomes} == {"kept"}
    changed = parse_pipeline(text.replace("area_um2 > 3", "area_um2 > 4"))
    redone = {o.task for o in run(changed, done, where=IN_PROCESS).outcomes if o.status == "done"}
    assert {t.partition(":")[2] for t in redone} == {"large.table", "per_track.table", "at_event.table"}
    assert run(parse_pipeline(text), done, where=IN_PROCESS).ok


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('of = "large"\n[[table.step]]\nmethod = "collapse_tracks"\ncolumns = ["total"',
          'of = "lrge"\n[[table.step]]\nmethod = "collapse_tracks"\ncolumns = ["total"'), "did you mean 'large'"),
        (('name = "per_track"', 'name = "large"'), "two tables are called 'large'"),
        (('table = "large"\nvalue', 'table = "huge"\nvalue'), "a comparison names the table 'huge'"),
        (
            ('of = "nuclei_nuclei"', 'of = "nuclei_nuclei"\nrows = "tracks"'),
            "give one of: pairs, pair_tracks, contacts",
        ),
        (('when = "area_um2 > 3"', 'wen = "area_um2 > 3"'), "did you mean 'when'"),
        (('method = "query"', 'method = "qery"'), "there is no table method 'qery'; did you mean 'query'"),
        (('name = "couples"', 'nme = "couples"'), "did you mean 'name'"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused_with_the_nearest_name(change: tuple[str, str], said: str) -> None:
    text = PIPELINE + TABLES
    assert change[0] in text
    with pytest.raises(ParameterError, match=said):
        parse_pipeline(text.replace(*change, 1))


def test_a_missing_column_is_a_sentence_of_that_table(make_experiment: Callable[..., Experiment]) -> None:
    wrong = PIPELINE + '[[table]]\nname = "t"\nof = "nuclei"\n[[table.step]]\nmethod = "query"\nwhen = "aera_um2 > 3"\n'
    result = run(parse_pipeline(wrong), make_experiment({"A1": blobs(2, 1)}), where=IN_PROCESS)
    (failed,) = result.failed
    assert failed.message.startswith("table 't', step 1 (query): ")
    assert "did you mean 'area_um2'" in failed.message


def test_no_cells_make_an_empty_table(make_experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    empty = blobs(4, 1)
    empty[:] = 100
    made = make_experiment({"A1": empty})
    result = run(parse_pipeline((PIPELINE + TABLES).split("[[comparison]]")[0]), made, where=IN_PROCESS)
    assert result.ok, result.failed
    assert made.scan("per_track_table").collect().height == 0
