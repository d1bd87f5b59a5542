"""A review: what is least certain comes first, notes change no result, and the error rate is that of the sample."""

from __future__ import annotations

from collections.abc import Callable
from math import erfc, sqrt
from typing import Any

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import EVENTS, LINKS, OBJECTS, TRACKS, empty
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.review import DOUBTS, KINDS, Review, doubts, draw_sample, judged_so, samples
from kinocyte.pipeline.run import run
from kinocyte.tracking import build_tracks
from tests.pipeline.conftest import PIPELINE, blobs

Maker = Callable[..., Experiment]


def scene() -> dict[str, Any]:
    """Return one cell that divides and one that does not, in three frames."""
    rows = [(1, 0, 5.0), (2, 0, 20.0), (3, 1, 5.0), (4, 1, 9.0), (5, 1, 20.0), (6, 2, 20.5)]
    objects = pl.DataFrame(
        {
            "object_id": [r[0] for r in rows],
            "frame": [r[1] for r in rows],
            "label": [r[0] for r in rows],
            "time_min": [2.0 * r[1] for r in rows],
            "x_um": [r[2] for r in rows],
            "y_um": [1.0] * 6,
            "z_um": [0.0] * 6,
            "area_um2": [10.0, 11.0, 12.0, 9.0, 10.0, 100.0],
        }
    )
    links = pl.DataFrame(
        {
            "source_id": [1, 1, 2, 5],
            "target_id": [3, 4, 5, 6],
            "cost": [1.0, 1.0, 0.2, None],
            "frame_gap": [1, 1, 1, 1],
            "confidence": [0.5, 0.2, 0.9, 1.0],
        }
    )
    tracks, members = build_tracks(objects, links)
    objects = objects.join(members, on="object_id", how="left", maintain_order="left")
    events = pl.DataFrame(
        {
            "track_id": [1, 2],
            "event": ["death", "death"],
            "class": ["none", "event"],
            "time_min": [None, 2.2],
            "time_se_min": [None, 0.4],
            "confidence": [0.7, 0.3],
        },
        schema={n: c.dtype for n, c in EVENTS.items()},
    )
    return {"objects": objects, "links": links, "tracks": tracks, "events": events}


def test_the_least_certain_comes_first() -> None:
    found = doubts(**scene())
    assert dict(found.schema) == dict(DOUBTS)
    assert found["confidence"].to_list() == sorted(found["confidence"].to_list())
    links = found.filter(kind="link")
    assert links["key"].to_list() == ["link:1:4", "link:1:3", "link:2:5", "link:5:6"]
    assert links["by_hand"].to_list() == [False, False, False, True]
    assert links.row(0, named=True)["object_ids"] == [1, 4]
    division = found.filter(kind="division").row(0, named=True)
    assert division["key"] == "division:1:3:4"
    assert division["confidence"] == pytest.approx(max(0.0, 2 * 0.75 * 0.6 - 1))
    event = found.filter(kind="event").row(0, named=True)
    assert (event["key"], event["frame"], event["x_um"]) == ("event:death:2:event:2.2", 1, 20.0)
    assert event["says"] == "track 2: death is event at 2.2 min"


def test_labels_are_doubted_by_quality_or_by_size() -> None:
    tables = scene()
    by_size = doubts(**tables, kinds=["label"])
    assert by_size["key"][0] == "label:6"
    logs = np.log(tables["objects"]["area_um2"].to_numpy())
    spread = 1.4826 * np.median(np.abs(logs - np.median(logs)))
    z = abs(logs[3] - np.median(logs)) / spread
    assert by_size.filter(key="label:4")["confidence"].item() == pytest.approx(erfc(z / sqrt(2)))
    assert by_size["says"][0] == "object 6 by its size"
    tables["objects"] = tables["objects"].with_columns(quality=pl.Series([0.9, 0.1, 0.8, None, 0.5, 0.6]))
    by_quality = doubts(**tables, kinds=["label"])
    assert by_quality["key"].to_list()[:2] == ["label:2", "label:5"]
    assert by_quality.height == 5


def test_nothing_is_doubted_of_nothing() -> None:
    nothing = empty(OBJECTS).with_columns(pl.lit(None, pl.Int64).alias("track_id"))
    found = doubts(nothing, empty(LINKS), empty(TRACKS), empty(EVENTS))
    assert found.is_empty()
    assert dict(found.schema) == dict(DOUBTS)
    with pytest.raises(ParameterError, match="did you mean 'link'"):
        doubts(nothing, empty(LINKS), empty(TRACKS), empty(EVENTS), kinds=["lnk"])  # type: ignore[list-item]


def tables_of(experiment: Experiment) -> dict[str, pl.DataFrame]:
    found = {}
    for name, p in kinocyte.open(experiment.url).positions.items():
        found[name] = doubts(p.objects("nuclei"), p.links("nuclei"), p.tracks("nuclei"), p.events("nuclei"))
    return found


@pytest.fixture
def done(make_experiment: Maker) -> Experiment:
    experiment = make_experiment({"A1": blobs(4, 1), "A2": blobs(4, 2)})
    result = run(parse_pipeline(PIPELINE), experiment, where=Workers(workers=0))
    assert result.ok
    return experiment


def test_a_review_is_kept_in_the_store_and_changes_no_result(done: Experiment) -> None:
    tables = tables_of(done)
    position = kinocyte.open(done.url).position("A1/1")
    review, table = Review(position, "nuclei"), tables["A1/1"]
    before = position.tracks("nuclei")
    assert review.status(table)["status"].unique().to_list() == ["open"]
    first = table["key"][0]
    review.accept([first])
    entry = review.accept_rest(["link"], 0.0)
    status = Review(kinocyte.open(done.url).position("A1/1"), "nuclei").status(table)
    assert status.filter(key=first)["status"].item() == "accepted"
    rest = status.filter(pl.col("key") != first)
    assert set(rest.filter(kind="link")["status"]) == {"in_bulk"}
    assert set(rest.filter(kind="label")["status"]) == {"open"}
    position.journal.undo()
    assert set(review.status(table).filter(pl.col("key") != first)["status"]) == {"open"}
    assert entry.is_note
    assert position.tracks("nuclei").equals(before)
    other = PIPELINE.replace('channel = "dna"', 'channel = "dna"\nthreshold = "fixed"\nlow = 400.0')
    assert run(parse_pipeline(other), done, where=Workers(workers=0)).ok
    again = Review(kinocyte.open(done.url).position("A1/1"), "nuclei")
    assert set(again.status(tables_of(done)["A1/1"])["status"]) == {"open"}, "other cells were not looked at"
    for message, call in {
        "Nothing was named": lambda: review.accept([]),
        "from 0 to 1": lambda: review.accept_rest(["link"], 2.0),
        "Name kinds": lambda: review.accept_rest([]),
    }.items():
        with pytest.raises(ParameterError, match=message):
            call()


def test_the_error_rate_is_that_of_a_random_sample_over_positions(done: Experiment) -> None:
    tables, positions = tables_of(done), kinocyte.open(done.url).positions
    n_links = sum(t.filter(kind="link").height for t in tables.values())
    assert n_links == 30
    sample = draw_sample(tables, positions, "nuclei", "link", 12, seed=4)
    assert (sample.n, sample.of, sample.looked_at) == (12, 30, 0)
    assert set(sample.keys) == {"A1/1", "A2/1"}
    assert sample.error_rate().high == 1.0
    drawn = [(p, k) for p, keys in sample.keys.items() for k in keys]
    for number, (name, key) in enumerate(drawn):
        Review(positions[name], "nuclei").judge(sample, key, right=number != 3)
    fresh = kinocyte.open(done.url).positions
    (found,) = samples(fresh.values(), "nuclei").values()
    assert (found.right, found.wrong, found.kind) == (11, 1, "link")
    rate = found.error_rate()
    assert rate.value == 1 / 12
    assert 0 < rate.low < 1 / 12 < rate.high < 0.4
    exact = found.error_rate(method="clopper_pearson")
    assert exact.high > rate.high
    wrong = drawn[3]
    assert judged_so(fresh.values(), "nuclei", found)[wrong] is False
    status = Review(fresh[wrong[0]], "nuclei").status(tables[wrong[0]])
    assert status.filter(key=wrong[1])["status"].item() == "wrong"
    Review(fresh[wrong[0]], "nuclei").judge(found, wrong[1], right=True)
    (later,) = samples(fresh.values(), "nuclei").values()
    assert later.wrong == 0
    twice = draw_sample(tables, positions, "nuclei", "link", 12, seed=4)
    assert twice.keys == sample.keys, "the same seed draws the same"
    assert list(samples(fresh.values(), "nuclei")) == [sample.sample_id, twice.sample_id]
    with pytest.raises(ParameterError, match="is not part of the sample"):
        Review(fresh["A1/1"], "nuclei").judge(found, "link:0:0", right=True)
    with pytest.raises(ParameterError, match="no division to draw"):
        draw_sample(tables, positions, "nuclei", "division", 5)


def test_every_kind_is_named() -> None:
    assert KINDS == ("link", "division", "event", "label")
