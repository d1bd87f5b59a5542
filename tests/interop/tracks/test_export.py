"""Tracks of an experiment for other programs, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from skimage.measure import regionprops

import kinocyte
from kinocyte import Experiment
from kinocyte.cli import run
from kinocyte.interop.export import FORMATS as EXPORTS
from kinocyte.interop.export.track_files import tracks_of
from kinocyte.interop.tracks.formats import FORMATS, read_tracks
from kinocyte.interop.tracks.outlines import with_outlines


@pytest.fixture
def tracked(data: Path, tmp_path: Path, imported: Callable[..., Experiment]) -> Experiment:
    """Return an experiment with the tracked masks of the official test set."""
    source = data / "ctc_official_evaluation_testset"
    import tifffile

    movie = tmp_path / "set"
    (movie / "03").mkdir(parents=True)
    (movie / "03_GT").symlink_to(source / "03_GT")
    for path in sorted((source / "03_GT/TRA").glob("man_track*.tif")):
        number = path.stem.removeprefix("man_track")
        labels = tifffile.imread(path)
        tifffile.imwrite(movie / "03" / f"t{number}.tif", (labels > 0).astype(np.uint8), photometric="minisblack")
    return imported(movie, pixel_size_um=0.5, frame_interval_min=10.0, z_step_um=2.0)


def test_every_format_of_an_experiment_reads_back(tracked: Experiment, tmp_path: Path) -> None:
    names = [n for n in FORMATS if n in EXPORTS and n not in ("napari", "cellphe")]
    assert {"trackmate", "geff", "ctc", "motilitylab", "mastodon", "isbi", "rois", "celltrackr"} <= {*names}
    population = tracked.populations[0]
    arguments = ["export", str(tracked.url), str(tmp_path / "out"), "--populations", population, "--formats", *names]
    assert run(arguments) == 0
    position = next(iter(tracked.positions.values()))
    truth = tracks_of(position, population)
    for name in names:
        found = list((tmp_path / "out").glob(f"*_{name}{FORMATS[name].ending}"))
        assert len(found) == 1, name
        back = read_tracks(found[0])
        assert back.objects.height == truth.objects.height, name
        if name in ("trackmate", "geff", "trackmate-csv", "mastodon", "ctc"):
            assert back.links.height == truth.links.height, name
        if name in ("trackmate", "geff"):
            assert back.scale == truth.scale
            places = [d.objects.sort("object_id").select("x_um", "y_um", "z_um", "time_min") for d in (back, truth)]
            assert places[0].equals(places[1]), name


def test_outlines_follow_the_labels(tracked: Experiment) -> None:
    position = next(iter(tracked.positions.values()))
    truth = tracks_of(position, tracked.populations[0])
    if len(truth.shape or ()) == 4:
        assert len(with_outlines(truth).contours) == 0
        return
    outlined = with_outlines(truth)
    assert len(outlined.contours) == truth.objects.height
    areas = {}
    for i, xy in outlined.contours.items().items():
        x, y = xy.T
        areas[i] = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    assert truth.masks is not None
    for t in truth.objects["frame"].unique():
        rows = truth.objects.filter(pl.col("frame") == t)
        regions = {r.label: r for r in regionprops(np.asarray(truth.masks(t)).astype(np.int64))}
        for i, label in rows.select("object_id", "label").iter_rows():
            region = regions[label]
            if region.euler_number == 1:
                assert areas[i] == pytest.approx((region.area - 0.5) * 0.25, abs=0.25 * 0.5 * 2)


def test_the_experiment_is_left_as_it_was(tracked: Experiment, tmp_path: Path) -> None:
    before = sorted(p for p in Path(str(tracked.url)).rglob("*"))
    assert run(["export", str(tracked.url), str(tmp_path / "x"), "--formats", "geff"]) == 0
    assert sorted(p for p in Path(str(tracked.url)).rglob("*")) == before
    assert kinocyte.open(tracked.url).populations == tracked.populations


def test_an_outline_encloses_the_pixels_but_for_their_corners() -> None:
    rng = np.random.default_rng(5)
    from scipy.ndimage import gaussian_filter, label

    from kinocyte.core.scale import Scale
    from kinocyte.interop.tracks.base import track_data

    image = label(gaussian_filter(rng.normal(size=(90, 110)), 4) > 0.05)[0]
    regions = {r.label: r for r in regionprops(image) if r.euler_number == 1 and r.area > 4}
    assert len(regions) > 5
    rows = [(k, 0, k, r.centroid[1] * 0.5, r.centroid[0] * 0.25) for k, r in regions.items()]
    objects = pl.DataFrame(rows, schema=["object_id", "frame", "label", "x_um", "y_um"], orient="row")
    data = track_data(objects, scale=Scale(y_um=0.25, x_um=0.5), shape=(1, 90, 110), masks=lambda _: image)
    outlines = with_outlines(data).contours.items()
    assert outlines.keys() == regions.keys()
    for k, xy in outlines.items():
        x, y = xy[:, 0] / 0.5, xy[:, 1] / 0.25
        area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
        vertices = len(xy)  # one between each pair of neighbours inside and outside: Pick's theorem
        assert regions[k].area - vertices / 2 <= area <= regions[k].area
