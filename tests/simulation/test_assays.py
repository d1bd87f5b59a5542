"""Simulated assays: what is drawn is what the tables say, and the rates are those that were asked for."""

import numpy as np
import polars as pl
import pytest

from kinocyte.core.errors import ParameterError
from kinocyte.simulation.assays.adcc import KillingAssay, simulate_killing
from kinocyte.simulation.assays.erk import TranslocationAssay, simulate_translocation
from kinocyte.simulation.assays.flow import AdhesionAssay, simulate_adhesion
from kinocyte.simulation.assays.fucci import CycleAssay, simulate_cycle
from kinocyte.simulation.assays.plates import ASSAYS, simulated_plate
from kinocyte.simulation.assays.ricm import SpreadingAssay, simulate_spreading

MAIN = {"adcc": "targets", "ricm": "cells", "fucci": "nuclei", "erk": "nuclei", "flow": "cells"}


@pytest.mark.parametrize("assay", ASSAYS)
def test_a_movie_depends_on_its_seed_alone(assay):
    first, again, other = (simulated_plate(assay, replicates=1, seed=s)[0].movie() for s in (1, 1, 2))
    assert first.truth.keys() == again.truth.keys()
    for name, table in first.truth.items():
        assert table.equals(again.truth[name]), name
    late, early = again.frame(5), again.frame(2)
    np.testing.assert_array_equal(first.frame(2), early)
    np.testing.assert_array_equal(first.frame(5), late)
    assert (other.frame(2) != early).any()


@pytest.mark.parametrize("assay", ASSAYS)
def test_labels_lie_where_the_objects_are(assay):
    movie = simulated_plate(assay, replicates=1, seed=3)[0].movie()
    population = MAIN[assay]
    members = movie.truth[f"{population}_members"]
    objects = movie.truth[f"{population}_objects"].join(members, on="object_id")
    for t in (0, movie.n_frames // 2, movie.n_frames - 1):
        labels = movie.labels(population, t)
        listed = objects.filter(pl.col("frame") == t)
        seen = set(np.unique(labels)) - {0}
        assert seen <= set(listed["label"])
        assert len(seen) >= 0.9 * listed.height
        for row in listed.filter(pl.col("label").is_in(list(seen))).iter_rows(named=True):
            ys, xs = np.nonzero(labels == row["label"])
            assert abs(ys * movie.scale.y_um - row["y_um"]).min() < 3 * movie.scale.y_um
            assert abs(xs * movie.scale.x_um - row["x_um"]).min() < 3 * movie.scale.x_um


def test_targets_die_at_the_rate_of_contact_that_was_asked_for():
    """Deaths over the minutes of contact of living targets estimate the hazard of a bound effector."""
    for dose, seeds in ((0.0, range(6)), (30.0, range(3))):
        settings = KillingAssay(dose_pm=dose, spontaneous_death_per_h=0.0, dead_at_start=0.0)
        deaths, hours = 0, 0.0
        for seed in seeds:
            truth = simulate_killing(settings, seed).truth
            times = truth["targets_events"].select("track_id", death_min="time_min")
            held = truth["contacts"].join(times, left_on="target_track_id", right_on="track_id")
            living = held.filter(pl.col("death_min").is_null() | (pl.col("time_min") < pl.col("death_min")))
            hours += living.height * settings.frame_interval_min / 60
            deaths += truth["kills"].height
        assert deaths / hours == pytest.approx(settings.killing_per_h, abs=3.5 * np.sqrt(deaths) / hours)


def test_killers_touched_their_victims_before_they_died():
    truth = simulate_killing(KillingAssay(), 5).truth
    kills = truth["kills"]
    assert kills.height > 10
    assert (kills["contact_min"] <= kills["death_min"]).all()
    assert kills["target_track_id"].is_unique().all()
    died = truth["targets_events"].filter(pl.col("class") == "event")
    assert set(kills["target_track_id"]) <= set(died["track_id"])


def test_the_dye_enters_when_the_target_dies():
    movie = simulate_killing(KillingAssay(snr=20), 2)
    died = (
        movie.truth["targets_events"]
        .filter((pl.col("class") == "event") & pl.col("time_min").is_between(30, 120))
        .head(5)
    )
    for track, time in died.select("track_id", "time_min").iter_rows():
        before, after = int(time // 3) - 1, int(time // 3) + 4
        dye = [movie.frame(t)[1][movie.labels("targets", t) == track].mean() for t in (before, after)]
        assert dye[1] > dye[0] + 50


@pytest.mark.parametrize("dose", [0.0, 300.0])
def test_hovering_lasts_as_long_as_the_dose_says(dose):
    settings = SpreadingAssay(dose_pm=dose, cells=30, height_px=500, width_px=500)
    hovering = np.concatenate([simulate_spreading(settings, s).truth["lives"]["hovering_min"] for s in range(12)])
    assert hovering.mean() == pytest.approx(settings.hovering_min, rel=0.2)
    assert hovering.min() >= settings.least_hovering_min


def test_hovering_cells_are_bright_and_spread_cells_dark():
    movie = simulate_spreading(SpreadingAssay(unevenness=0.0), 1)
    for row in movie.truth["lives"].iter_rows(named=True):
        for t in (10, 25, 39):
            now, inside = t * 0.3, movie.labels("cells", t) == row["track_id"]
            if inside.sum() < 50 or abs(now - row["spreading_min"]) < 0.5:
                continue
            grey = movie.frame(t)[0][inside].mean() / 1000
            assert (grey < 0.9) == (now > row["spreading_min"])
            assert (grey > 1.05) == (now < row["spreading_min"])


@pytest.mark.parametrize("delay", [0.0, 6.0])
def test_cycles_last_as_long_as_asked_and_the_drug_lengthens_g1(delay):
    truth = simulate_cycle(CycleAssay(g1_delay_h=delay, cells=20), 1).truth
    cycles = truth["cycles"]
    assert cycles["g1_h"].mean() == pytest.approx(12 + delay, rel=0.06)
    assert (cycles["cycle_h"] - cycles["g1_h"]).mean() == pytest.approx(14, rel=0.06)
    tracks = truth["nuclei_tracks"].filter(pl.col("parent_id").is_not_null())
    assert tracks.height > 20
    assert tracks.group_by("parent_id").len()["len"].unique().to_list() in ([2], [1, 2])


def test_red_falls_and_green_rises_at_the_end_of_g1():
    movie = simulate_cycle(CycleAssay(), 4)
    cycle = movie.truth["cycles"].filter(pl.col("generation") == 1).row(0, named=True)
    end = cycle["born_min"] + 60 * cycle["g1_h"]
    before, after = int(end // 120), int(end // 120) + 4
    light = [movie.frame(t)[:, movie.labels("nuclei", t) == cycle["track_id"]].mean(axis=1) for t in (before, after)]
    assert light[0][0] > light[1][0] + 20
    assert light[0][1] < light[1][1] - 20


def test_the_ratio_of_cytoplasm_to_nucleus_is_the_true_one():
    movie = simulate_translocation(TranslocationAssay(snr=30, height_px=384, width_px=384, cells=36), 2)
    for t in (5, 22, 50):
        grey = movie.frame(t)[1].astype(float) - 120
        nuclei, cells = movie.labels("nuclei", t), movie.labels("cells", t)
        true = movie.truth["signals"].filter(pl.col("time_min") == 2.0 * t).sort("track_id")["ratio"].to_numpy()
        ids = range(1, len(true) + 1)
        found = [np.median(grey[(cells == k) & (nuclei == 0)]) / np.median(grey[nuclei == k]) for k in ids]
        assert np.corrcoef(found, true)[0, 1] > 0.9
        assert np.median(np.array(found) - true) == pytest.approx(0, abs=0.15)


def test_cells_arrest_near_junctions_and_at_low_flow():
    landings = pl.concat([simulate_adhesion(AdhesionAssay(), s).truth["landings"] for s in range(6)])
    landings = landings.filter(pl.col("arrest_frame") > 0)
    by_flow = dict(landings.group_by("flow_um_per_s").len().iter_rows())
    assert by_flow[100.0] > by_flow[200.0] > by_flow.get(400.0, 0)
    assert landings["junction_distance_um"].mean() < 5


def test_arrested_cells_stay_and_the_count_says_so():
    truth = simulate_adhesion(AdhesionAssay(), 1).truth
    adhering = truth["adhering"]
    assert adhering["adhering"][0] == 3
    wash = adhering.filter(pl.col("frame") < 3 * AdhesionAssay().frames_per_flow)["adhering"]
    assert (wash.diff().drop_nulls() >= 0).all()


def test_a_plate_has_conditions_and_replicates():
    plate = simulated_plate("adcc", replicates=2, fields=2)
    assert [m.name for m in plate][:4] == ["B2_1", "B2_2", "C2_1", "C2_2"]
    assert {m.conditions["dose_pm"] for m in plate} == {0.0, 10.0, 100.0}
    assert {m.conditions["replicate"] for m in plate} == {1, 2}


def test_frames_are_shared_out_among_the_stretches_of_flow():
    assert simulated_plate("flow", replicates=1, changes={"frames": 42})[0].movie().n_frames == 40


def test_wrong_names_are_refused():
    with pytest.raises(ParameterError, match="adcc"):
        simulated_plate("adc")
    with pytest.raises(ParameterError, match="replicates"):
        simulated_plate("adcc", replicates=0)
    movie = simulate_killing(KillingAssay(frames=2))
    with pytest.raises(ParameterError, match="targets"):
        movie.labels("target", 0)
    with pytest.raises(ParameterError, match="frames 0 to 1"):
        movie.frame(2)
