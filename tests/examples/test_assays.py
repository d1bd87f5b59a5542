"""The assays as pipeline files, from pixels to the answer: what comes out is what went in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tifffile

import kinocyte
from kinocyte import Experiment
from kinocyte.core.scale import Scale
from kinocyte.evaluation.segmentation import score_segmentation
from kinocyte.experiment.comparisons import StoredComparison, read_comparisons
from kinocyte.interactions import KillerRanking, pair_signals
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from kinocyte.segmentation.threshold import Threshold
from kinocyte.simulation.assays.movie import AssayMovie
from kinocyte.simulation.assays.plates import ASSAYS, simulated_plate

#: a plate that takes seconds: settings of the assay, replicates, and the conditions that are kept
SMALL: Mapping[str, tuple[dict[str, Any], int, tuple[Any, ...]]] = {
    "adcc": ({"height_px": 200, "width_px": 200, "targets": 14, "effectors": 22, "frames": 30,
              "frame_interval_min": 4.0, "dead_at_start": 0.0}, 2, (0.0, 100.0)),
    "ricm": ({"height_px": 200, "width_px": 200, "cells": 9, "frames": 34}, 1, (0.0, 300.0)),
    "fucci": ({"height_px": 256, "width_px": 256, "cells": 12, "frames": 34, "drift_um_per_h": 0.3}, 1,
              ("control", "inhibitor")),
    "erk": ({"height_px": 240, "width_px": 240, "cells": 14, "frames": 32}, 1, ("none", "growth factor")),
    "flow": ({"frames_per_flow": 26, "height_px": 220, "width_px": 300}, 1, ("AsPC1", "Panc10")),
}  # fmt: skip
CONDITION = {"adcc": "dose_pm", "ricm": "dose_pm", "fucci": "drug", "erk": "stimulus", "flow": "cell_line"}
MAIN = {"adcc": "targets", "ricm": "cells", "fucci": "nuclei", "erk": "nuclei", "flow": "cells"}


@dataclass(frozen=True)
class Done:
    """An experiment after its run, and the movies it was made from."""

    experiment: Experiment
    movies: Mapping[str, AssayMovie]
    groups: Mapping[str, Any]
    answers: Mapping[str, StoredComparison]

    def truth(self, table: str, group: Any = None) -> pl.DataFrame:
        """Return a table of the truth of all positions, or of those of one condition."""
        chosen = [n for n in self.movies if group is None or self.groups[n] == group]
        return pl.concat([self.movies[n].truth[table].with_columns(pl.lit(n).alias("position")) for n in chosen])

    def events(self, population: str, event: str, group: Any = None) -> pl.DataFrame:
        """Return the events that were found."""
        chosen = [n for n in self.movies if group is None or self.groups[n] == group]
        found = [self.experiment.position(n).events(population) for n in chosen]
        return pl.concat(found, how="diagonal_relaxed").filter(pl.col("event") == event)

    def row(self, title: str, group: Any) -> dict[str, Any]:
        """Return what a comparison says of a group."""
        return self.answers[title].frames["groups"].row(by_predicate=pl.col("group") == group, named=True)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Done]:
    known: dict[str, Done] = {}

    def get(assay: str) -> Done:
        if assay not in known:
            known[assay] = analysed(assay, tmp_path_factory.mktemp(assay) / f"{assay}.zarr")
        return known[assay]

    return get


def analysed(assay: str, store: Path) -> Done:
    """Simulate a small plate and run the assay's own pipeline file on it."""
    changes, replicates, kept = SMALL[assay]
    experiment = kinocyte.create(store)
    movies, groups, wells = {}, {}, []
    for item in simulated_plate(assay, replicates=replicates, changes=changes):
        group = item.conditions[CONDITION[assay]]
        if group not in kept:
            continue
        movie = item.movie()
        shape = (movie.n_frames, len(movie.channels), 1, *movie.frame(0).shape[1:])
        writer = experiment.new_position(
            well=item.well, field="1", shape=shape, dtype="uint16", channels=movie.channels, scale=movie.scale
        )
        for t in range(movie.n_frames):
            writer.write(t, movie.frame(t))
        writer.finish()
        movies[f"{item.well}/1"], groups[f"{item.well}/1"] = movie, group
        wells.append({"well": item.well, **item.conditions})
    experiment.set_conditions(pl.DataFrame(wells))
    pipeline = files("kinocyte").joinpath("data", "examples", assay, "pipeline.toml").read_text(encoding="utf-8")
    result = run(parse_pipeline(pipeline), experiment, where=Workers(workers=0))
    assert result.ok, result.failed
    answers = {c.document["title"]: c for c in read_comparisons(experiment.storage)}
    return Done(kinocyte.open(experiment.url), movies, groups, answers)


def times(events: pl.DataFrame) -> pl.Series:
    return events.filter(pl.col("class") == "event")["time_min"]


def test_real_nuclei_and_a_real_spreading_cell_are_found(data: Path) -> None:
    """The images of the paper's software: 48 nuclei of targets, and one cell on a surface in six frames."""
    folder = data / "celldetective_adcc_and_ricm"
    image, truth = tifffile.imread(folder / "sample.tif"), tifffile.imread(folder / "sample_labelled.tif")
    nuclei = segmented("adcc", "targets", "hoechst", image[3], 0.31)
    scores = score_segmentation(truth, nuclei)
    assert scores.detection_accuracy >= 0.85
    assert scores.segmentation_quality >= 0.75
    spreading = tifffile.imread(folder / "ricm_demo/W1/100/movie/stack.tif")
    for t, frame in enumerate(spreading):
        cell = tifffile.imread(folder / f"ricm_demo/W1/100/labels_effectors/{t:04}.tif")
        assert score_segmentation(cell, segmented("ricm", "cells", "ricm", frame, 0.2)).segmentation_quality >= 0.8


def segmented(assay: str, population: str, channel: str, frame: Any, pixel_um: float) -> Any:
    """Segment a frame as the assay's pipeline file says."""
    text = files("kinocyte").joinpath("data", "examples", assay, "pipeline.toml").read_text(encoding="utf-8")
    method = parse_pipeline(text).population[population].segmentation
    assert isinstance(method, Threshold)
    return method.segment({channel: frame}, Scale.isotropic(pixel_um, 1.0))


@pytest.mark.parametrize("assay", ASSAYS)
def test_every_assay_has_a_pipeline_file_that_can_be_read(assay: str) -> None:
    text = files("kinocyte").joinpath("data", "examples", assay, "pipeline.toml").read_text(encoding="utf-8")
    pipeline = parse_pipeline(text)
    assert pipeline.comparison
    assert MAIN[assay] in pipeline.population


@pytest.mark.parametrize("assay", ASSAYS)
def test_as_many_cells_are_found_as_there_were(done: Callable[[str], Done], assay: str) -> None:
    assays = done(assay)
    found = sum(assays.experiment.position(n).objects(MAIN[assay]).height for n in assays.movies)
    assert found == pytest.approx(assays.truth(f"{MAIN[assay]}_objects").height, rel=0.03)


@pytest.mark.parametrize(
    ("assay", "event", "frame_min"),
    [("adcc", "death", 4.0), ("ricm", "contact", 0.3), ("ricm", "spreading", 0.3), ("erk", "response", 2.0),
     ("flow", "arrest", 1 / 1500)],
)  # fmt: skip
def test_events_are_found_within_a_frame(done: Callable[[str], Done], assay: str, event: str, frame_min: float) -> None:
    """Each true event is looked for among those found in the same movie; the median error is below a frame."""
    assays = done(assay)
    errors, true_events, found_events = [], 0, 0
    for name, movie in assays.movies.items():
        true = times(movie.truth[f"{MAIN[assay]}_events"].filter(pl.col("event") == event)).sort().to_list()
        found = times(assays.experiment.position(name).events(MAIN[assay]).filter(pl.col("event") == event)).to_list()
        true_events, found_events = true_events + len(true), found_events + len(found)
        errors += [min(abs(t - f) for f in found) for t in true if found]
    assert true_events >= 3
    assert found_events == pytest.approx(true_events, abs=max(2, 0.25 * true_events))
    assert pl.Series(errors).median() <= frame_min


def test_antibody_shortens_the_life_of_targets(done: Callable[[str], Done]) -> None:
    adcc = done("adcc")
    without, much = (adcc.row("Survival of targets", dose) for dose in (0.0, 100.0))
    assert much["restricted_mean"] < 0.75 * without["restricted_mean"]
    for dose, row in ((0.0, without), (100.0, much)):
        end = row["restricted_to"]
        lived = adcc.truth("targets_events", dose).select(pl.col("time_min").fill_null(end).clip(upper_bound=end))
        assert row["restricted_mean"] == pytest.approx(lived["time_min"].mean(), abs=4.0)
        assert row["restricted_mean_low"] <= lived["time_min"].mean() <= row["restricted_mean_high"]


def test_effectors_in_contact_are_slower(done: Callable[[str], Done]) -> None:
    adcc = done("adcc")
    free, holding = (adcc.row("Speed of effectors by contact", c) for c in ("none", "censored_left"))
    assert holding["mean"] < free["mean"]


def test_killers_are_among_the_first_suspects(done: Callable[[str], Done]) -> None:
    """The effector ranked first stands where the true killer stands, far more often than one drawn at random."""
    adcc = done("adcc")
    right, kills, chance = 0, 0, 0.0
    for name, movie in adcc.movies.items():
        position = adcc.experiment.position(name)
        targets, effectors = position.objects("targets"), position.objects("effectors")
        signals = pair_signals(position.pairs("targets", "effectors"), targets, effectors, signals=["mean_lamp1"])
        deaths = position.events("targets").filter(pl.col("event") == "death")
        ranked = KillerRanking(marker="mean_lamp1").rank(deaths, signals)
        members = movie.truth["effectors_objects"].join(movie.truth["effectors_members"], on="object_id")
        victims = movie.truth["targets_objects"].join(movie.truth["targets_members"], on="object_id")
        for kill in movie.truth["kills"].iter_rows(named=True):
            frame = int(kill["death_min"] // movie.scale.frame_interval_min)
            victim = victims.filter((pl.col("track_id") == kill["target_track_id"]) & (pl.col("frame") == frame))
            killer = members.filter((pl.col("track_id") == kill["effector_track_id"]) & (pl.col("frame") == frame))
            target = nearest(targets.filter(pl.col("frame") == frame), victim)
            suspects = ranked.filter((pl.col("reference_track_id") == target) & (pl.col("contact_min") > 0))
            if suspects.is_empty():
                continue
            kills += 1
            chance += 1 / suspects.height
            first = suspects.filter(pl.col("rank") == 1)["neighbour_track_id"].to_list()
            right += first == [nearest(effectors.filter(pl.col("frame") == frame), killer)]
    assert kills > 5
    assert right >= 0.5 * kills
    assert right >= 2 * chance, (right, kills, chance)


def nearest(cells: pl.DataFrame, one: pl.DataFrame) -> int:
    """Return the track of the cell nearest to a place."""
    away = (cells["x_um"] - one["x_um"][0]) ** 2 + (cells["y_um"] - one["y_um"][0]) ** 2
    return int(cells["track_id"][int(away.arg_min() or 0)] or 0)


def test_antibody_shortens_hovering(done: Callable[[str], Done]) -> None:
    ricm = done("ricm")
    without, much = (ricm.row("Hovering", dose) for dose in (0.0, 300.0))
    assert much["restricted_mean"] < 0.6 * without["restricted_mean"]
    for dose, row in ((0.0, without), (300.0, much)):
        hovered = ricm.truth("lives", dose)["hovering_min"].clip(upper_bound=row["restricted_to"])
        assert abs(row["restricted_mean"] - hovered.mean()) < 0.25 * hovered.mean() + 0.3


def test_spread_cells_grow(done: Callable[[str], Done]) -> None:
    """The area around the moment of spreading rises as fast as the cells were made to grow."""
    ricm = done("ricm")
    curve = ricm.answers["Area around the moment of spreading"].frames["curves"].filter(pl.col("group") == 300.0)
    time = next(c for c in curve.columns if c.startswith("time"))
    value = next(c for c in ("value", "mean", "signal") if c in curve.columns)
    after = curve.filter(pl.col(time).is_between(0.6, 2.4))
    slope = after.select(pl.cov(time, value) / pl.col(time).var()).item()
    true = ricm.truth("lives", 300.0)["spreading_um2_per_min"].mean()
    assert slope == pytest.approx(true, rel=0.3)
    assert ricm.row("Rate of spreading", 300.0)["mean"] == pytest.approx(true, rel=0.2)


def test_the_drug_lengthens_g1_and_the_cycle(done: Callable[[str], Done]) -> None:
    fucci = done("fucci")
    for drug, g1_h, cycle_h in (("control", 12.0, 26.0), ("inhibitor", 18.0, 32.0)):
        assert fucci.row("G1 of cells whose birth was seen", drug)["median"] / 60 == pytest.approx(g1_h, abs=2.0)
        assert fucci.row("Length of the cycle", drug)["median"] / 60 == pytest.approx(cycle_h, abs=2.5)
    widths = [fucci.row("Width of red peaks", drug)["mean"] / 60 for drug in ("control", "inhibitor")]
    # red builds up through G1 and stands above half of its height for about 60 % of it
    assert widths[1] - widths[0] == pytest.approx(0.6 * 6.0, abs=2.0)


def test_drift_is_what_the_plate_drifted(done: Callable[[str], Done]) -> None:
    """Cells move on their own and hold the picture only together, so a few micrometres remain."""
    fucci = done("fucci")
    hours = 33 * 2.0
    for name in fucci.movies:
        last = fucci.experiment.position(name).table("drift").row(-1, named=True)
        assert last["dx_px"] * 1.24 == pytest.approx(-0.8 * 0.3 * hours, abs=8.0)
        assert last["dy_px"] * 1.24 == pytest.approx(0.6 * 0.3 * hours, abs=8.0)


def test_only_stimulated_cells_respond(done: Callable[[str], Done]) -> None:
    erk = done("erk")
    responded = {g: times(erk.events("nuclei", "response", g)).len() for g in ("none", "growth factor")}
    assert responded["growth factor"] >= 13
    assert responded["none"] <= 3
    for group in responded:
        found = erk.row("Mean ratio of cytoplasm to nucleus", group)["mean"]
        assert found == pytest.approx(erk.truth("signals", group)["ratio"].mean(), abs=0.05)


def test_adhering_cells_are_counted(done: Callable[[str], Done]) -> None:
    flow = done("flow")
    for name, movie in flow.movies.items():
        objects = flow.experiment.position(name).objects("cells").filter(pl.col("arrest_state"))
        counted = objects.group_by("frame").len(name="found")
        both = movie.truth["adhering"].join(counted, on="frame", how="left").with_columns(pl.col("found").fill_null(0))
        # no track shows its motion after its last frame
        assert both.filter(pl.col("frame") < movie.n_frames - 2).select(
            (pl.col("found").cast(pl.Int64) - pl.col("adhering")).abs().mean()
        ).item() < 1.0  # fmt: skip
    sticky, loose = (flow.truth("adhering", line)["adhering"].max() for line in ("AsPC1", "Panc10"))
    assert sticky > loose
    assert flow.row("Junctions under cells", "event")["mean"] > flow.row("Junctions under cells", "none")["mean"]
