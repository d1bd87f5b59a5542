"""Real images for ``learning.py``, what is done to them, and what needs no learning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from skimage import filters, measure, morphology, registration, restoration, segmentation, transform

from kinocyte.learning.data.pairs import Pair
from kinocyte.learning.tasks.frame_interpolation import neighbours_and_between

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
Array = NDArray[Any]
Recipe = Callable[[Array], Array]
REDRAWN = "no two exposures of a field are at hand: noise fitted on training fields is drawn twice on the mean of 400 \
exposures for training; the test is on real exposures"


@dataclass(frozen=True, eq=False)
class Data:
    """Pairs to learn from and pairs to be tested on, and what they are in words."""

    words: str
    training: Sequence[Pair]
    test: Sequence[Pair]
    inputs: Sequence[str]
    targets: Sequence[str]
    #: share of the training images that tells which weights are the best
    held_out: float = 0.2
    further: Callable[[Any, Any], dict[str, Any]] = lambda _model, _applied: {}

    def more(self, model: Any, applied: Any) -> dict[str, Any]:
        """Return further numbers about a model."""
        return self.further(model, applied)


# --- one exposure and the mean of 400 -----------------------------------------------------------------------------


@cache
def _fields() -> dict[str, tuple[Array, Array]]:
    folder = DATA / "denoising_pairs"
    names = sorted(p.stem for p in (folder / "noisy").glob("*.tif"))
    return {n: tuple(tifffile.imread(folder / kind / f"{n}.tif")[None] for kind in ("noisy", "clean")) for n in names}


_TEST_FIELDS = ("017", "021")


def exposures(*, targets: bool = True) -> Data:
    pairs = {n: Pair(n, a, b, group=n.split("_")[0]) for n, (a, b) in _fields().items()}
    test = [p for p in pairs.values() if p.group in _TEST_FIELDS]
    training = [p for p in pairs.values() if p.group not in _TEST_FIELDS]
    if not targets:
        training = [p.replace(target=None) for p in training]
    words = (
        "W2S wide-field, one exposure against the mean of 400; 4 fields x 3 channels to learn from, 2 x 3 for the test"
    )
    return Data(words, training, test, ["signal"], ["signal"], held_out=0.25, further=_calibration)


def redrawn_exposures() -> Data:
    """Two drawings of the noise of each training image, on its mean of 400 exposures in the grey values of the one.

    Every image of the set was stretched to 8 bit by itself: an exposure shows its field with less contrast than the
    mean does, each with another. Its noise is fitted as variance = a + b * grey value after that.
    """
    plain, rng = exposures(), np.random.default_rng(7)

    def redrawn(pair: Pair) -> Pair:
        noisy, clean = np.asarray(pair.image, float), np.asarray(pair.target, float)
        gain, offset = np.polyfit(clean.ravel(), noisy.ravel(), 1)
        shown = gain * clean + offset
        cuts = np.quantile(shown, np.linspace(0, 0.99, 21))
        bins = [(shown >= low) & (shown < high) for low, high in pairwise(cuts) if high > low]
        level, spread = [shown[b].mean() for b in bins], [np.var(noisy[b] - shown[b]) for b in bins]
        slope, floor = np.polyfit(level, spread, 1)
        sd = np.sqrt(np.maximum(floor + slope * shown, 0.25))

        def drawn() -> Array:
            return np.clip(np.rint(shown + sd * rng.normal(size=shown.shape)), 0, 255).astype(np.uint8)

        return Pair(pair.name, drawn(), drawn(), group=pair.group)

    training = [redrawn(p) for p in plain.training]
    return Data(plain.words, training, plain.test, ["signal"], ["signal"], held_out=0.25)


def _calibration(model: Any, applied: Any) -> dict[str, Any]:
    """Return how many errors lie within the Laplace interval of 90 % of a probabilistic model."""
    if not getattr(model.task, "probabilistic", False):
        return {}
    inside = []
    for pair in model.task.arranged(exposures().test):
        read, scale = applied(model, np.asarray(pair.image)), model.inputs[0].normalisation
        truth = scale.apply(np.asarray(pair.target)[0], scale.limits(np.asarray(pair.image)[0]))
        off = np.abs(read.image[0] - truth)
        inside.append(np.mean(off <= -np.log(0.1) * read.maps["uncertainty"][0]))
    return {"within_90_percent_interval": float(np.mean(inside))}


@cache
def denoisers() -> dict[str, Recipe]:
    """Return filters whose parameter does best on the training images (which the learnt ones without targets lack)."""
    shown = [(np.asarray(p.image, float), t) for p, t in zip(exposures().training, _clean_training(), strict=True)][::3]

    def chosen(made: Callable[[float], Recipe], values: Sequence[float]) -> Recipe:
        def off(value: float) -> float:
            return float(np.mean([_misfit(made(value)(image), clean) for image, clean in shown]))

        return made(min(values, key=off))

    def means(value: float) -> Recipe:
        def work(image: Array) -> Array:
            plane = image[0].astype(np.float32)
            sigma = _noise(plane)
            return restoration.denoise_nl_means(
                plane, h=value * sigma, sigma=sigma, patch_size=5, patch_distance=6, fast_mode=True
            )[None]

        return work

    return {
        "gaussian": chosen(
            lambda s: lambda x: ndimage.gaussian_filter(x.astype(float), (0, s, s)), (0.7, 1, 1.4, 2, 2.8)
        ),
        "median": chosen(lambda s: lambda x: ndimage.median_filter(x.astype(float), (1, int(s), int(s))), (3, 5, 7)),
        "non_local_means": chosen(means, (0.6, 0.8, 1.0, 1.3)),
        "as it is": lambda x: x,
    }


def _noise(plane: Array) -> float:
    """Return the standard deviation of noise (Immerkaer 1996, doi:10.1006/cviu.1996.0060)."""
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.sqrt(np.pi / 2) * np.abs(ndimage.convolve(plane, mask)).mean() / 6)


def _clean_training() -> list[Array]:
    return [np.asarray(p.target, float) for p in exposures().training]


def _misfit(made: Array, clean: Array) -> float:
    gain, offset = np.polyfit(made.ravel(), clean.ravel(), 1)
    return float(np.mean((gain * made + offset - clean) ** 2) / np.var(clean))


# --- phase contrast and fluorescence ------------------------------------------------------------------------------


@cache
def phase() -> Data:
    folder = DATA / "phase_to_fluorescence"
    planes = tifffile.imread(folder / "phase_z3_6_9.tif")
    dapi = tifffile.imread(folder / "fluorescence_NFH_DAPI_MAP2.tif")[1:2]
    strips = [slice(0, 180), slice(180, 360), slice(360, 540), slice(540, 720)]
    training = [Pair(f"rows {s.start}", planes[:, s], dapi[:, s]) for s in strips]
    # 48 rows between are left out, so that no pixel of the test lies near one that was learnt from
    test = [Pair(f"rows {a}", planes[:, a : a + 128], dapi[:, a : a + 128]) for a in (768, 896)]
    words = (
        "phase contrast (3 planes) to DAPI, human neurons; rows 0-719 of the one field to learn from, 768-1023 tested"
    )
    return Data(words, training, test, ["phase 3", "phase 6", "phase 9"], ["DAPI"], held_out=0.25, further=_looks)


def _looks(model: Any, applied: Any) -> dict[str, Any]:
    """Return the perceptual distance ST-LPIPS to the truth (0 is best) after mean and spread were made alike."""
    from kinocyte.learning.quality.perceptual import perceptual_distance

    seen, data = perceptual_distance(), phase()
    made = {
        "ours": lambda image: applied(model, image).image,
        "linear mixture of filters": phase_baselines(data)["linear mixture of filters"],
    }

    def off(image: Array, truth: Array) -> float:
        alike = (image - image.mean()) / max(float(image.std()), 1e-9) * truth.std() + truth.mean()
        return float(seen.distance(truth[0], alike[0], data_range=float(np.ptp(truth))))

    pairs = [(np.asarray(p.image), np.asarray(p.target, float)) for p in data.test]
    return {"st_lpips": {n: float(np.mean([off(f(image), truth) for image, truth in pairs])) for n, f in made.items()}}


def phase_baselines(data: Data) -> dict[str, Recipe]:
    """Return the best linear mixtures of planes, of planes smoothed, and of local contrast."""

    def features(image: Array, *, many: bool) -> Array:
        planes = image.astype(np.float32) / 65535
        if not many:
            return planes
        smooth = [ndimage.gaussian_filter(planes, (0, s, s)) for s in (1, 2, 4, 8)]
        spread = [np.sqrt(ndimage.gaussian_filter((planes - g) ** 2, (0, 4, 4))) for g in smooth[1:3]]
        return np.concatenate([planes, *smooth, *spread])

    def mixture(*, many: bool) -> Recipe:
        columns = [np.concatenate([features(np.asarray(p.image), many=many)], 0) for p in data.training]
        x = np.concatenate([c.reshape(len(c), -1) for c in columns], axis=1)
        y = np.concatenate([np.asarray(p.target, np.float32).ravel() for p in data.training])
        design = np.vstack([x, np.ones((1, x.shape[1]), np.float32)])
        weights = np.linalg.lstsq(design.T.astype(float), y.astype(float), rcond=None)[0]
        return lambda image: np.tensordot(weights[:-1], features(image, many=many), 1)[None] + weights[-1]

    return {
        "linear mixture of planes": mixture(many=False),
        "linear mixture of filters": mixture(many=True),
        "inverted phase": lambda image: -image[1:2].astype(float),
    }


# --- coarse and fine pixels ---------------------------------------------------------------------------------------


def nuclei(part: str, n: int | None = None) -> list[tuple[str, Array, Array]]:
    """Return name, image (1, y, x) and labels of DSB2018, every other one of each where there are to be fewer."""
    names = sorted(p.name for p in (DATA / "dsb2018" / part / "images").glob("*.tif"))
    if n is not None:
        names = [names[i] for i in np.linspace(0, len(names) - 1, n).astype(int)]
    folder = DATA / "dsb2018" / part
    return [
        (name, tifffile.imread(folder / "images" / name)[None], tifffile.imread(folder / "masks" / name))
        for name in names
    ]


def binned(factor: int) -> Data:
    def pair(name: str, image: Array) -> Pair:
        y, x = (n // factor * factor for n in image.shape[1:])
        fine = image[:, :y, :x].astype(np.float32)
        coarse = fine.reshape(1, y // factor, factor, x // factor, factor).mean((2, 4))
        return Pair(name, coarse, fine)

    training = [pair(name, image) for name, image, _ in nuclei("train", 120)]
    test = [pair(name, image) for name, image, _ in nuclei("test")]
    words = f"DSB2018 nuclei, means of {factor} x {factor} pixels against the pixels; the 50 test images"
    return Data(words, training, test, ["nuclei"], ["nuclei"], held_out=0.1)


def enlargements(factor: int) -> dict[str, Recipe]:
    def enlarged(order: int) -> Recipe:
        def work(image: Array) -> Array:
            shape = [n * factor for n in image.shape[1:]]
            return transform.resize(image[0], shape, order=order, mode="reflect", anti_aliasing=False)[None]

        return work

    return {"nearest": enlarged(0), "bilinear": enlarged(1), "bicubic": enlarged(3), "spline of order 5": enlarged(5)}


# --- movies -------------------------------------------------------------------------------------------------------


def movies() -> Data:
    """Return frames of two movies of nuclei: the first two thirds to learn from, the last frames for the test."""
    files = sorted((DATA / "mitocheck_movie_30f").glob("*.tif"))
    mitocheck = np.stack([tifffile.imread(f) for f in files])[:, None]
    cancer = tifffile.imread(DATA / "cancer_cell_nuclei_48f" / "cancer_cell_migration_crop.tif")[:, None]
    training, test = [], []
    for name, movie in (("mitocheck", mitocheck), ("cancer", cancer)):
        end = 2 * len(movie) // 3
        for t, around, between in neighbours_and_between(movie[:end]):
            training.append(Pair(f"{name} {t}", around, between, group=f"{name} {t // 6}"))
        for t, around, between in neighbours_and_between(movie[end:]):
            test.append(Pair(f"{name} {end + t}", around, between))
    words = "nuclei of two movies (30 and 48 frames), a frame from its neighbours; the last third of each tested"
    return Data(words, training, test, ["before", "after"], ["between"], held_out=0.15)


def interpolations() -> dict[str, Recipe]:
    def flow(image: Array) -> Array:
        before, after = image.astype(np.float32) / max(float(image.max()), 1)
        v, u = registration.optical_flow_tvl1(before, after)
        y, x = np.mgrid[: before.shape[0], : before.shape[1]]
        half = [
            ndimage.map_coordinates(f, [y + s * v / 2, x + s * u / 2], order=1, mode="nearest")
            for f, s in ((before, -1), (after, 1))
        ]
        return (sum(half) / 2)[None]

    return {
        "mean of both": lambda image: image.astype(float).mean(0, keepdims=True),
        "frame before": lambda image: image[:1].astype(float),
        "optical flow (TV-L1)": flow,
    }


# --- nuclei -------------------------------------------------------------------------------------------------------


def labelled_nuclei() -> Data:
    training = [Pair(name, image, labels) for name, image, labels in nuclei("train", 120)]
    test = [Pair(name, image, labels) for name, image, labels in nuclei("test")]
    words = "DSB2018 nuclei; 120 of the training images; the 50 test images"
    return Data(words, training, test, ["nuclei"], ["nuclei"], held_out=0.15)


def foreground() -> Data:
    """Return nuclei with one class for all of them."""
    plain = labelled_nuclei()

    def flat(pair: Pair) -> Pair:
        return pair.replace(target=(np.asarray(pair.target) > 0).astype(np.uint8))

    words = f"{plain.words}; nucleus or background of each pixel"
    return Data(words, [*map(flat, plain.training)], [*map(flat, plain.test)], ["nuclei"], ["background", "nucleus"])


def foreground_thresholds() -> dict[str, Recipe]:
    def above(threshold: Callable[[Array], float]) -> Recipe:
        def work(image: Array) -> Array:
            smooth = ndimage.gaussian_filter(image[0].astype(float), 1)
            return smooth > threshold(smooth)

        return work

    return {"Gaussian + Otsu": above(filters.threshold_otsu), "Gaussian + Li": above(filters.threshold_li)}


# --- noisy nuclei with few labels ---------------------------------------------------------------------------------

_NOISE_SD = 20.0


def noisy_nuclei() -> Data:
    """Return DSB2018 with noise of 20 grey values; one training image in four has labels."""
    rng = np.random.default_rng(11)

    def noisy(image: Array) -> Array:
        return (image + rng.normal(0, _NOISE_SD, image.shape)).astype(np.float32)

    training = [
        Pair(name, noisy(image), labels if i % 4 == 0 else None)
        for i, (name, image, labels) in enumerate(nuclei("train", 80))
    ]
    test = [Pair(name, noisy(image), labels) for name, image, labels in nuclei("test")]
    words = (
        "DSB2018 nuclei with Gaussian noise of 20 grey values; 80 images, 20 of them with labels; the 50 test images"
    )
    return Data(words, training, test, ["nuclei"], ["nuclei"], held_out=0.2)


def thresholds() -> dict[str, Recipe]:
    def otsu(*, split: bool) -> Recipe:
        def work(image: Array) -> Array:
            smooth = ndimage.gaussian_filter(image[0].astype(float), 2)
            inside = morphology.remove_small_objects(smooth > filters.threshold_otsu(smooth), max_size=20)
            if not split:
                return measure.label(inside).astype(np.uint32)
            depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), 1)
            peaks = morphology.h_maxima(depth, 0.7)
            return segmentation.watershed(-depth, measure.label(peaks), mask=inside).astype(np.uint32)

        return work

    return {"Gaussian + Otsu": otsu(split=False), "Gaussian + Otsu + watershed": otsu(split=True)}
