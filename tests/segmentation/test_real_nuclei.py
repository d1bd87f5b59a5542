"""Default parameters on real fluorescent nuclei."""

import numpy as np
import tifffile

from kinocyte.core.scale import Scale
from kinocyte.segmentation.label_algebra import overlaps, relabel
from kinocyte.segmentation.threshold import Threshold

SCALE = Scale.isotropic(0.5)


def counts(truth, labels):
    """Return true positives at an intersection over union above one half, found objects and true objects."""
    truth = relabel(truth)
    return int((overlaps(truth, labels).iou > 0.5).sum()), int(labels.max()), int(truth.max())


def test_dsb2018_with_defaults(data):
    """Every fifth of the 50 test images of the StarDist selection; the 50 together give F1 0.775."""
    folder = data / "dsb2018" / "test"
    total = np.zeros(3)
    for file in sorted((folder / "images").glob("*.tif"))[::5]:
        image, truth = tifffile.imread(file), tifffile.imread(folder / "masks" / file.name)
        total += counts(truth, Threshold(channel="dna").segment(image, SCALE))
    assert 2 * total[0] / (total[1] + total[2]) > 0.7


def test_a_movie_keeps_its_count_from_frame_to_frame(data):
    movie = tifffile.imread(data / "cancer_cell_nuclei_48f" / "cancer_cell_migration_crop.tif")
    automatic = tifffile.imread(data / "cancer_cell_nuclei_48f" / "voronoi_otsu_labels_crop.tif")
    found = [int(Threshold(channel="dna").segment(frame, SCALE).max()) for frame in movie[::4]]
    known = [len(np.unique(frame)) - 1 for frame in automatic[::4]]
    assert np.abs(np.array(found) - known).max() <= 3
    assert np.abs(np.diff(found)).max() <= 4


def test_empty_patches_of_real_images(data):
    """Background of real cameras, halos of distant cells included: the guard empties most of it, plain Otsu none."""
    folder = data / "dsb2018" / "test"
    guarded = plain = patches = 0
    for file in sorted((folder / "images").glob("*.tif")):
        image, truth = tifffile.imread(file), tifffile.imread(folder / "masks" / file.name)
        for y in range(0, truth.shape[0] - 80, 80):
            for x in range(0, truth.shape[1] - 80, 80):
                if truth[max(y - 25, 0) : y + 105, max(x - 25, 0) : x + 105].any():
                    continue
                patch = image[y : y + 80, x : x + 80]
                patches += 1
                guarded += int(Threshold(channel="dna").segment(patch, SCALE).any())
                plain += int(Threshold(channel="dna", min_contrast=0).segment(patch, SCALE).any())
    assert patches > 20
    assert plain > 0.9 * patches
    assert guarded < 0.2 * patches
