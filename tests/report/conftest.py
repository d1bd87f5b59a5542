"""A small experiment with moving cells, written through the experiment's own interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte.core.scale import Scale
from kinocyte.core.schema import LINKS, MEMBERS, OBJECTS, TRACKS, conform
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.position import Position
from kinocyte.experiment.records import Record

SIZE = 128
PIXEL_UM = 0.5
INTERVAL_MIN = 10.0


def blobs(
    n_frames: int, n_cells: int, random: np.random.Generator, speed: float, radius: float = 6.0
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return pixels (t, y, x) uint16, labels (t, y, x) uint32 and centres (t, n, 2) of wandering discs."""
    start = random.uniform(12, SIZE - 12, (n_cells, 2))
    steps = random.normal(0, speed, (n_frames, n_cells, 2))
    steps[0] = 0
    centres = np.clip(start + np.cumsum(steps, axis=0), 4, SIZE - 5)
    y, x = np.mgrid[:SIZE, :SIZE]
    pixels = np.empty((n_frames, SIZE, SIZE), np.uint16)
    labels = np.zeros((n_frames, SIZE, SIZE), np.uint32)
    for t in range(n_frames):
        light = np.full((SIZE, SIZE), 200.0)
        for i, (cy, cx) in enumerate(centres[t]):
            distance = np.hypot(y - cy, x - cx)
            texture = 1 + 0.3 * np.sin((y - cy) * 1.1) * np.cos((x - cx) * 0.9)
            light += 900 * texture * np.clip((radius - distance) / 2 + 0.5, 0, 1)
            labels[t][distance <= radius] = i + 1
        pixels[t] = np.clip(light + random.normal(0, 12, light.shape), 0, 65535).astype(np.uint16)
    return pixels, labels, centres


def write_tables(
    position: Position, population: str, labels: np.ndarray[Any, Any], pixels: np.ndarray[Any, Any]
) -> None:
    """Write objects, features, links, tracks and members: a label keeps its value, so it is the track."""
    rows = []
    for t in range(len(labels)):
        for label in np.unique(labels[t])[1:]:
            y, x = np.nonzero(labels[t] == label)
            rows.append(
                (
                    t,
                    int(label),
                    x.mean() * PIXEL_UM,
                    y.mean() * PIXEL_UM,
                    len(x) * PIXEL_UM**2,
                    float(pixels[t][y, x].mean()),
                )
            )
    objects = (
        pl.DataFrame(
            rows, schema=["frame", "label", "x_um", "y_um", "area_um2", "mean_dye"], orient="row"
        ).with_columns(
            pl.int_range(1, pl.len() + 1).alias("object_id"),
            time_min=pl.col("frame") * INTERVAL_MIN,
            z_um=pl.lit(0.0),
        )
        if rows
        else pl.DataFrame(schema={n: c.dtype for n, c in OBJECTS.items() if c.required})
    )
    ids = objects.select("object_id", track_id=pl.col("label").cast(pl.Int64))
    features = objects.select(["object_id", *[c for c in ("area_um2", "mean_dye") if c in objects.columns]])
    position.write_table(
        f"{population}_objects", conform(objects.drop("area_um2", "mean_dye", strict=False), OBJECTS, table="objects")
    )
    position.write_table(f"{population}_features", features)
    position.write_table(f"{population}_members", conform(ids, MEMBERS, table="members"))
    joined = objects.join(ids, on="object_id").sort("track_id", "frame")
    links = joined.select(
        source_id=pl.col("object_id"), target_id=pl.col("object_id").shift(-1).over("track_id"),
        cost=pl.lit(1.0),
        frame_gap=pl.col("frame").shift(-1).over("track_id") - pl.col("frame"), confidence=pl.lit(0.9),
    ).drop_nulls()  # fmt: skip
    position.write_table(f"{population}_links", conform(links, LINKS, table="links"))
    step = ((pl.col("x_um").diff() ** 2 + pl.col("y_um").diff() ** 2).sqrt() / INTERVAL_MIN).mean()
    tracks = joined.group_by("track_id", maintain_order=True).agg(
        parent_id=pl.lit(None, dtype=pl.Int64), root_id=pl.col("track_id").first().alias("root"), generation=pl.lit(0),
        first_frame=pl.col("frame").min(), last_frame=pl.col("frame").max(), mean_speed_um_per_min=step,
    )  # fmt: skip
    position.write_table(f"{population}_tracks", conform(tracks, TRACKS, table="tracks"))


def records(position: Position, population: str, channel: str) -> None:
    """Write what a run would have recorded."""
    versions = {"kinocyte": "0.1.0", "numpy": "2.1.0", "scikit-image": "0.25.0"}
    listed: list[tuple[str, str | None, dict[str, Any], tuple[str, ...]]] = [
        ("segmentation", population, {"method": "threshold", "channel": channel}, ()),
        ("tracking", population, {"method": "lap", "max_distance_um": 10.0}, ("3 objects have no link.",)),
        ("measurement", population, {"0": {"method": "shape"}, "1": {"method": "intensity"}}, ()),
    ]
    for step, owner, method, warnings in listed:
        position.records.put(
            Record(
                step=step,
                population=owner,
                fingerprint="f",
                method=method,
                versions=versions,
                seconds=1.5,
                warnings=warnings,
            )
        )


def add_position(
    experiment: Experiment,
    well: str,
    field: str,
    *,
    n_frames: int = 12,
    n_cells: int = 9,
    speed: float = 1.5,
    seed: int = 0,
    channels: Sequence[str] = ("dye",),
    planes: int = 1,
    name: str = "",
    change: Callable[[np.ndarray[Any, Any]], None] | None = None,
    population: str | None = "cells",
) -> Position:
    """Add one movie; ``change`` may spoil its pixels (t, y, x) in place."""
    random = np.random.default_rng(seed)
    pixels, labels, _ = blobs(n_frames, n_cells, random, speed)
    if change is not None:
        change(pixels)
    scale = Scale(y_um=PIXEL_UM, x_um=PIXEL_UM, z_um=2.0 if planes > 1 else None, frame_interval_min=INTERVAL_MIN)
    writer = experiment.new_position(
        well=well, field=field, shape=(n_frames, len(channels), planes, SIZE, SIZE), dtype=np.uint16,
        channels=channels, scale=scale, name=name,
    )  # fmt: skip
    for t in range(n_frames):
        one = (
            np.broadcast_to(pixels[t], (len(channels), planes, SIZE, SIZE))
            if planes > 1
            else np.broadcast_to(pixels[t], (len(channels), SIZE, SIZE))
        )
        writer.write(t, np.ascontiguousarray(one))
    position: Position = writer.finish()
    if population is not None:
        with position.write_labels(population) as target:
            for t in range(n_frames):
                target.write(t, np.stack([labels[t]] * planes) if planes > 1 else labels[t])
        write_tables(position, population, labels, pixels)
        records(position, population, channels[0])
    return position


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Return 2 conditions x 2 wells x 2 fields, with one frame out of focus and one blank."""
    from scipy import ndimage

    def blur(pixels: np.ndarray[Any, Any]) -> None:
        pixels[5] = ndimage.gaussian_filter(pixels[5], 4)

    def blank(pixels: np.ndarray[Any, Any]) -> None:
        pixels[7] = 200

    made = kinocyte.create(tmp_path_factory.mktemp("report") / "assay.zarr", name="Migration assay")
    spoil = {"B2/1": blur, "C3/2": blank}
    for i, well in enumerate(("B2", "B3", "C2", "C3")):
        for field in ("1", "2"):
            add_position(
                made, well, field, speed=1.0 if i < 2 else 3.0, seed=10 * i + int(field), n_cells=8 + i,
                change=spoil.get(f"{well}/{field}"), name=f"movie {well} {field}",
            )  # fmt: skip
    made.set_conditions(
        pl.DataFrame(
            {
                "well": ["B2", "B3", "C2", "C3"],
                "drug": ["none", "none", "Compound A", "Compound A"],
                "concentration": [0.0, 0.0, 1.5, 1.5],
                "unit": ["nM"] * 4,
                "replicate": [1, 2, 1, 2],
            }
        )
    )
    return made


@pytest.fixture
def new_experiment(tmp_path: Path) -> Callable[..., Experiment]:
    """Return a function that makes an empty experiment."""
    return lambda name="test": kinocyte.create(tmp_path / "store.zarr", name=name)
