"""Objects of a pipeline are where the method puts them; large frames are segmented in tiles with the same result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinocyte import Experiment
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from kinocyte.pipeline.steps import segmentation as step_module
from kinocyte.segmentation import tiled as tiled_module
from tests.pipeline.conftest import blobs

Maker = Callable[..., Experiment]
CENTRES_PX = np.array([[20.3, 18.7], [22.6, 44.2], [45.1, 25.9]])


def spots() -> NDArray[np.uint16]:
    """Return two frames of Gaussian spots between pixels, 3 px in radius."""
    y, x = np.mgrid[:64, :64]
    frames = np.full((2, 64, 64), 200.0)
    for t in range(2):
        for cy, cx in CENTRES_PX + 0.25 * t:
            frames[t] += 5000 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 1.8**2))
    return frames.astype(np.uint16)


def pipeline(method: str, more: str = "") -> Any:
    return parse_pipeline(f'[population.nuclei.segmentation]\nmethod = "{method}"\nchannel = "dna"\n{more}\n')


def test_spots_keep_their_place_between_pixels_and_their_quality(make_experiment: Maker) -> None:
    experiment = make_experiment({"A1": spots()})
    assert run(pipeline("log", "radius_um = 1.3"), experiment, where=Workers(workers=0)).ok
    objects = experiment.position("A1/1").objects("nuclei")
    for t in range(2):
        rows = objects.filter(frame=t).sort("label")
        found = rows.select("y_um", "x_um").to_numpy() / 0.5
        np.testing.assert_allclose(found, CENTRES_PX + 0.25 * t, atol=0.06)
        assert (rows["quality"] > 100).all()


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("threshold", ""),
        ("threshold", 'threshold = "adaptive"'),
        ("threshold", 'filters = [{ filter = "clahe" }]'),
        ("dog", "radius_um = 2.0"),
    ],
)
def test_large_frames_give_the_same_in_tiles(
    make_experiment: Maker, monkeypatch: pytest.MonkeyPatch, method: str, more: str
) -> None:
    declared = pipeline(method, more)
    whole = make_experiment({"A1": blobs(2, 1)}, name="whole.zarr")
    assert run(declared, whole, where=Workers(workers=0)).ok
    monkeypatch.setattr(step_module, "LARGE_FRAME_PX", 100)
    calls: list[int] = []
    drawn = tiled_module.find_tiled

    def counted(method: Any, pixels: Any, scale: Any) -> Any:
        calls.append(1)
        return drawn(method, pixels, scale, tile_px=20)

    monkeypatch.setattr(tiled_module, "find_tiled", counted)
    tiles = make_experiment({"A1": blobs(2, 1)}, name="tiles.zarr")
    assert run(declared, tiles, where=Workers(workers=0)).ok
    a, b = whole.position("A1/1"), tiles.position("A1/1")
    assert len(calls) == (0 if "clahe" in more else 2)
    for t in range(2):
        np.testing.assert_array_equal(a.labels("nuclei").frame(t), b.labels("nuclei").frame(t))
    x, y = a.table("nuclei_objects"), b.table("nuclei_objects")
    assert x.select("object_id", "frame", "label").equals(y.select("object_id", "frame", "label"))
    np.testing.assert_allclose(x.select("x_um", "y_um").to_numpy(), y.select("x_um", "y_um").to_numpy(), atol=1e-9)
