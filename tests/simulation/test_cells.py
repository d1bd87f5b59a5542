"""Simulated movies: the truth must be exact, the pixels must be what was asked for."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage, stats

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import EVENTS, LINKS, MEMBERS, OBJECTS, TRACKS, conform
from kinocyte.simulation.cells import CellMovie, SimulatedMovie, simulate_cells

BUSY = CellMovie(
    frames=40, height_px=256, width_px=256, cells=20, division_rate_per_h=0.6, shortest_cycle_min=40,
    death_rate_per_h=0.15, gap_rate=0.1, longest_gap_frames=2, death_dye=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def busy() -> SimulatedMovie:
    """Return a movie in which everything happens."""
    return simulate_cells(BUSY, seed=3)


def _steps(movie: SimulatedMovie) -> pl.DataFrame:
    o = movie.objects
    source = o.select(pl.all().name.prefix("source_"))
    target = o.select(pl.all().name.prefix("target_"))
    joined = movie.links.join(source, left_on="source_id", right_on="source_object_id")
    return joined.join(target, left_on="target_id", right_on="target_object_id")


def test_tables_have_the_house_schemas(busy: SimulatedMovie) -> None:
    for frame, schema in (
        (busy.objects, OBJECTS), (busy.links, LINKS), (busy.tracks, TRACKS),
        (busy.members, MEMBERS), (busy.events, EVENTS),
    ):  # fmt: skip
        assert len(frame) > 0
        assert conform(frame, schema, table="t").equals(frame)
    assert busy.objects["object_id"].to_list() == list(range(1, len(busy.objects) + 1))
    assert busy.links.select("source_id", "target_id").rows() == sorted(
        busy.links.select("source_id", "target_id").rows()
    )


def test_labels_hold_exactly_the_objects(busy: SimulatedMovie) -> None:
    for t in range(BUSY.frames):
        image = busy.labels(t)
        assert image.dtype == np.uint32
        assert image.shape == (256, 256)
        seen = np.unique(image[image > 0])
        assert seen.tolist() == sorted(busy.objects.filter(frame=t)["label"].to_list())


def test_centroids_of_lone_cells_are_their_positions() -> None:
    movie = simulate_cells(CellMovie(frames=2, cells=15, spacing=2.0, diameter_um=14), seed=1)
    image = movie.labels(1)
    for row in movie.objects.filter(frame=1).iter_rows(named=True):
        y, x = ndimage.center_of_mass(image == row["label"])
        assert np.hypot(y * 0.65 - row["y_um"], x * 0.65 - row["x_um"]) < 0.15


def test_area_is_that_of_the_radius() -> None:
    movie = simulate_cells(CellMovie(frames=1, cells=30, spacing=1.6), seed=5)
    areas = ndimage.sum_labels(np.ones((512, 512)), movie.labels(0), movie.objects["label"].to_numpy())
    expected = np.pi * movie.objects["radius_um"].to_numpy() ** 2 / 0.65**2
    assert np.median(np.abs(areas / expected - 1)) < 0.05


def test_lineage_is_consistent(busy: SimulatedMovie) -> None:
    tracks = busy.tracks
    assert tracks["generation"].max() >= 2
    child = tracks.filter(pl.col("parent_id").is_not_null()).join(
        tracks, left_on="parent_id", right_on="track_id", suffix="_mother"
    )
    assert (child["first_frame"] == child["last_frame_mother"] + 1).all()
    assert (child["generation"] == child["generation_mother"] + 1).all()
    assert (child["root_id"] == child["root_id_mother"]).all()
    assert set(child.group_by("parent_id").len()["len"]) == {2}
    divided = busy.events.filter(pl.col("event") == "division", pl.col("class") == "event")
    assert sorted(divided["track_id"]) == sorted(child["parent_id"].unique())
    lengths = busy.members.group_by("track_id").len()
    assert lengths.join(tracks, on="track_id")["len"].sum() == len(busy.objects)


def test_links_follow_tracks_and_divisions(busy: SimulatedMovie) -> None:
    steps = _steps(busy)
    assert (steps["frame_gap"] == steps["target_frame"] - steps["source_frame"]).all()
    within = steps.filter(pl.col("source_label") == pl.col("target_label"))
    n_daughters = busy.tracks["parent_id"].is_not_null().sum()
    assert len(within) == len(busy.objects) - len(busy.tracks)
    assert len(steps) == len(within) + n_daughters
    assert within["frame_gap"].max() == 3  # two frames missed
    assert (steps.filter(pl.col("source_label") != pl.col("target_label"))["frame_gap"] == 1).all()


def test_events_lie_where_the_lineage_ends(busy: SimulatedMovie) -> None:
    events = busy.events.filter(pl.col("class") == "event").join(busy.tracks, on="track_id")
    division = events.filter(event="division")
    last = division["last_frame"] * 5.0
    assert ((division["time_min"] >= last) & (division["time_min"] <= last + 5)).all()
    death = events.filter(event="death")
    assert len(death) > 3
    gone = death.filter(pl.col("last_frame") < BUSY.frames - 1)
    assert ((gone["last_frame"] * 5.0 - gone["time_min"]).is_between(20, 30)).all()


def test_gap_rate_is_met() -> None:
    knobs = {
        "cells": 300,
        "frames": 60,
        "height_px": 2048,
        "width_px": 2048,
        "division_rate_per_h": 0,
        "death_rate_per_h": 0,
    }
    movie = simulate_cells(CellMovie(**knobs, gap_rate=0.1, longest_gap_frames=5), seed=2)
    missed = 1 - len(movie.objects) / (300 * 60)
    assert missed == pytest.approx(0.1 * 58 / 60, abs=0.01)
    assert len(simulate_cells(CellMovie(**knobs), seed=2).objects) == 300 * 60
    short = simulate_cells(CellMovie(**knobs, gap_rate=0.5), seed=2)
    assert short.links["frame_gap"].max() == 2


@pytest.mark.parametrize("planes", [None, 40])
def test_speed_of_free_cells_is_the_knob(planes: int | None) -> None:
    settings_ = CellMovie(
        frames=60, cells=150, height_px=3000, width_px=3000, planes=planes, plane_distance_um=40, speed_um_per_min=0.5,
        division_rate_per_h=0, death_rate_per_h=0, spacing=0.3,
    )  # fmt: skip
    steps = _steps(simulate_cells(settings_, seed=8))
    moved = [steps[f"target_{a}_um"] - steps[f"source_{a}_um"] for a in "xyz"]
    speed = np.sqrt(sum(m.to_numpy() ** 2 for m in moved)) / 5.0
    assert speed.mean() == pytest.approx(0.5, rel=0.03)


def test_persistence_is_that_of_the_ornstein_uhlenbeck_process() -> None:
    movie = simulate_cells(
        CellMovie(frames=80, cells=300, height_px=6000, width_px=6000, division_rate_per_h=0, death_rate_per_h=0,
                  spacing=0.3, persistence_min=20), seed=4)  # fmt: skip
    x = movie.objects.sort("label", "frame")["x_um"].to_numpy().reshape(300, 80)
    v = np.diff(x, axis=1)
    assert (v[:, 1:] * v[:, :-1]).mean() / (v**2).mean() == pytest.approx(np.exp(-5 / 20), abs=0.02)


def test_rates_of_division_and_death_are_the_knobs() -> None:
    alive = CellMovie(cells=400, frames=100, height_px=3000, width_px=3000, division_rate_per_h=0.02,
                      shortest_cycle_min=1e5, death_rate_per_h=0.03)  # fmt: skip
    events = simulate_cells(alive, seed=6).events.filter(pl.col("class") == "event")
    hours = 99 * 5 / 60
    for event, rate, other in (("division", 0.02, 0.03), ("death", 0.03, 0.02)):
        first = rate / (rate + other) * (1 - np.exp(-(rate + other) * hours)) * 400
        count = len(events.filter(event=event))
        assert abs(count - first) < 5 * np.sqrt(first) + (40 if event == "death" else 0)  # daughters may die too


def test_cells_keep_their_distance() -> None:
    movie = simulate_cells(CellMovie(cells=400, height_px=512, width_px=512, frames=10, diameter_um=12), seed=0)
    for t in (0, 9):
        o = movie.objects.filter(frame=t)
        xy, r = o.select("x_um", "y_um").to_numpy(), o["radius_um"].to_numpy()
        distance = np.linalg.norm(xy[:, None] - xy[None], axis=2) + np.eye(len(xy)) * 1e3
        assert (distance / (0.95 * (r[:, None] + r[None]))).min() > 0.85


def test_frames_do_not_depend_on_the_order_they_are_asked_for(busy: SimulatedMovie) -> None:
    other = simulate_cells(BUSY, seed=3)
    backwards = {t: other.frame(t) for t in (30, 7, 0, 7)}
    for t, pixels in backwards.items():
        np.testing.assert_array_equal(busy.frame(t), pixels)
    assert not np.array_equal(simulate_cells(BUSY, seed=4).frame(0), busy.frame(0))
    assert other.objects.equals(busy.objects)


def test_noise_is_that_of_photons_and_camera() -> None:
    dark = CellMovie(frames=1, cells=0, background_photons=7.5, read_noise_photons=2, gain_per_photon=4, offset=200)
    grey = simulate_cells(dark, seed=1).frame(0).astype(float)
    assert grey.mean() == pytest.approx(200 + 4 * 7.5, rel=2e-3)
    assert grey.var() == pytest.approx(16 * (7.5 + 4) + 1 / 12, rel=0.02)
    photons = simulate_cells(dark.replace(read_noise_photons=0, gain_per_photon=1, offset=0), seed=1).frame(0).ravel()
    counts = np.bincount(photons, minlength=25)[:25]
    expected = stats.poisson(7.5).pmf(np.arange(25)) * photons.size
    enough = expected > 20
    chi2 = ((counts - expected) ** 2 / expected)[enough].sum()
    assert stats.chi2(enough.sum() - 1).sf(chi2) > 1e-3


@pytest.mark.parametrize(
    ("background", "read_noise", "gain", "offset"),
    [(0, 0, 1, 0), (0, 2, 1, 3), (300, 0, 0.3, 50), (9000, 5, 2, 100), (4, 1.6, 200, 100), (20, 3, 0.01, 10)],
)
def test_camera_of_any_kind(background: float, read_noise: float, gain: float, offset: float) -> None:
    knobs = {
        "background_photons": background,
        "read_noise_photons": read_noise,
        "gain_per_photon": gain,
        "offset": offset,
    }
    grey = simulate_cells(CellMovie(frames=1, cells=0, **knobs), seed=2).frame(0).ravel()
    rng = np.random.default_rng(0)
    there = offset + gain * (rng.poisson(background, grey.size) + rng.normal(0, read_noise, grey.size))
    expected = np.clip(np.floor(there + 0.5), 0, 65535)
    spread = expected.std() / np.sqrt(grey.size)
    assert abs(grey.mean() - expected.mean()) <= 6 * spread + 1e-4
    assert grey.std() == pytest.approx(expected.std(), rel=0.02, abs=0.01)
    for q in (0.001, 0.1, 0.5, 0.9, 0.999):
        assert abs(np.quantile(grey, q) - np.quantile(expected, q)) <= max(1, 0.15 * expected.std())


def test_snr_is_signal_over_noise() -> None:
    movie = simulate_cells(CellMovie(frames=1, cells=60, snr=6, texture=0, brightness_cv=0, elongation=1), seed=2)
    inside = ndimage.distance_transform_edt(movie.labels(0) > 0) > 5
    noisy, clean = movie.frame(0)[0].astype(float), movie.clean(0)[0]
    background = clean.min()
    assert background == 110
    assert (clean[inside].mean() - background) / (noisy - clean)[inside].std() == pytest.approx(6, rel=0.05)
    assert (noisy - clean).mean() == pytest.approx(0, abs=0.05)


def test_three_dimensions() -> None:
    s = CellMovie(frames=3, cells=12, planes=12, height_px=128, width_px=160, plane_distance_um=1.5)
    movie = simulate_cells(s, seed=1)
    assert movie.shape == (3, 1, 12, 128, 160)
    assert movie.frame(2).shape == (1, 12, 128, 160)
    labels = movie.labels(2)
    assert labels.shape == (12, 128, 160)
    z = [ndimage.center_of_mass(labels == n)[0] * 1.5 for n in movie.objects.filter(frame=2)["label"]]
    assert np.median(np.abs(np.array(z) - movie.objects.filter(frame=2)["z_um"].to_numpy())) < 0.7
    assert movie.scale.z_um == 1.5


def test_dead_cells_light_up_in_the_dye(busy: SimulatedMovie) -> None:
    t = 30
    dead = busy.events.filter((pl.col("event") == "death") & (pl.col("time_min") <= t * 5 - 10))["track_id"]
    now = busy.members.join(busy.objects.filter(frame=t), on="object_id", how="semi")["track_id"]
    image, dye = busy.labels(t), busy.clean(t)[1]
    for track in now:
        brightest = dye[image == track].max() - 110
        if track in set(dead):
            assert brightest > 30
    assert set(now) & set(dead)
    assert busy.channels == ("nuclei", "death_dye")


@pytest.mark.parametrize(
    ("knobs", "says"),
    [({"cells": 5000}, "do not fit"), ({"density_per_mm2": 50_000}, "do not fit")],
)
def test_what_does_not_fit_is_refused(knobs: dict[str, float], says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        simulate_cells(CellMovie(frames=1, **knobs), seed=0)


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValidationError, match="either cells or density"):
        CellMovie(cells=3, density_per_mm2=10)
    movie = simulate_cells(CellMovie(frames=2, cells=1), seed=0)
    for t in (-1, 2):
        with pytest.raises(ParameterError, match="frames 0 to 1"):
            movie.frame(t)
    with pytest.raises(ParameterError, match="seed"):
        simulate_cells(CellMovie(), seed=-1)


def test_density_counts_cells_by_area() -> None:
    s = CellMovie(frames=1, density_per_mm2=450)
    assert s.initial_cells == 50
    assert len(simulate_cells(s, 0).objects) == 50


def test_an_empty_dish_and_cells_smaller_than_a_pixel() -> None:
    empty = simulate_cells(CellMovie(frames=2, cells=0), seed=0)
    assert empty.labels(1).max() == 0
    assert empty.objects.is_empty()
    assert empty.links.is_empty()
    assert empty.tracks.is_empty()
    assert empty.events.is_empty()
    tiny = simulate_cells(
        CellMovie(frames=2, cells=60, height_px=16, width_px=16, diameter_um=0.5, spacing=0.3), seed=0
    )
    assert len(np.unique(tiny.labels(1))) - 1 == len(tiny.objects.filter(frame=1))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**63), cells=st.integers(0, 12), gap_rate=st.floats(0, 0.9), speed=st.floats(0, 20),
    death=st.floats(0, 20), division=st.floats(0, 20), duration=st.floats(0, 60), cycle=st.floats(0, 60),
)  # fmt: skip
def test_any_knobs_give_exact_truth(seed, cells, gap_rate, speed, death, division, duration, cycle) -> None:  # type: ignore[no-untyped-def]
    movie = simulate_cells(
        CellMovie(
            frames=8, height_px=96, width_px=96, cells=cells, gap_rate=gap_rate, speed_um_per_min=speed,
            death_rate_per_h=death, division_rate_per_h=division, death_duration_min=duration, shortest_cycle_min=cycle,
        ), seed,
    )  # fmt: skip
    for t in range(8):
        image = movie.labels(t)
        assert np.unique(image[image > 0]).tolist() == movie.objects.filter(frame=t)["label"].to_list()
        inside = movie.objects.filter(frame=t)
        assert inside["x_um"].is_between(0, 95 * 0.65).all()
    n_daughters = movie.tracks["parent_id"].is_not_null().sum()
    assert len(movie.links) == len(movie.objects) - len(movie.tracks) + n_daughters
    assert movie.ctc_tracks["label"].to_list() == movie.tracks["track_id"].to_list()
