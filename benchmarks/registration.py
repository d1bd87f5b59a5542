"""Drift correction: ours against pystackreg, scikit-image and NanoPyx, in one run, one thread.

    OMP_NUM_THREADS=1 python benchmarks/registration.py [--part noise scenes protocol size] [--data shared/data]
        [--json registration.json] [--levels 0 5000 15000 40000] [--scratch FOLDER]

noise     60 frames of 512 x 512 px, random walk, Gaussian noise of 0.02 to 3 times the signal's deviation
scenes    crawling cells, signal that moves between channels, fixed pattern, blank frames, jumps in noise
protocol  the drift and the noise series of the Fast4DReg paper (Table 7 of the thesis) on a stack made from real nuclei
          (Fluo-N3DH-CHO, one frame, interpolated along z; the paper's own stack is not public); drift is estimated
          on the noisy movie and applied to the clean one
size      200 x 24 x 488 x 488, 16 bit, memory-mapped: estimate, apply, write; time and peak memory, two threads

Errors are root mean squares per axis after each side's common offset is removed. NRMSE is a true one,
``rms(a - b) / (max(b) - min(b))``. Peers that are not installed are left out
(``pip install pystackreg nanopyx scikit-image``).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tifffile
from scipy import fft, ndimage
from skimage.metrics import structural_similarity
from skimage.registration import phase_cross_correlation

from kinocyte.registration import PhaseCorrelation, apply_drift
from kinocyte.simulation.drift import Crawl, DriftMovie, drift_table, jumps, published_drift, random_walk, steady

Array = np.ndarray[Any, Any]
PARTS = ("noise", "scenes", "protocol", "size")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", type=Path, default=Path("shared/data"))
    parser.add_argument("--levels", nargs="+", type=float, default=[0, 5e3, 1e4, 1.5e4, 2e4, 3e4, 4e4, 6e4])
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    work: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "noise": noise,
        "scenes": scenes,
        "protocol": lambda: protocol(options.data, options.levels),
        "size": lambda: size(options.scratch),
    }
    PhaseCorrelation().estimate(np.random.default_rng(0).random((4, 64, 64)))  # compiled before anything is timed
    out: dict[str, list[dict[str, Any]]] = {}
    for part in options.part:
        out[part] = work[part]()
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=4, tbl_hide_dataframe_shape=True):
            print(part, pl.DataFrame(out[part], infer_schema_length=None), sep="\n", flush=True)
        if options.json:
            options.json.write_text(json.dumps(out, indent=1))


def peers() -> dict[str, Callable[[Array], Array]]:
    """Return functions from a movie to the shift (dy, dx) of its content."""
    out: dict[str, Callable[[Array], Array]] = {
        "scikit-image": lambda m: (
            -np.array([phase_cross_correlation(m[0], f, upsample_factor=100, normalization=None)[0] for f in m])
        ),
        "scikit-image phase": lambda m: (
            -np.array([phase_cross_correlation(m[0], f, upsample_factor=100)[0] for f in m])
        ),
    }
    if find_spec("pystackreg"):
        from pystackreg import StackReg

        for reference in ("first", "previous"):
            out[f"pystackreg {reference}"] = lambda m, r=reference: StackReg(StackReg.TRANSLATION).register_stack(
                m, reference=r
            )[:, [1, 0], 2]
    if find_spec("nanopyx"):
        for name, option in (("first", 0), ("previous", 1)):
            out[f"NanoPyx {name}"] = lambda m, o=option: nanopyx_shift(m, o)
    return out


def nanopyx_shift(movie: Array, option: int) -> Array:
    from nanopyx.methods.drift_alignment import DriftEstimator

    with contextlib.redirect_stdout(io.StringIO()):
        estimator = DriftEstimator(verbose=False)
        estimator.estimate(
            movie, time_averaging=1, max_expected_drift=movie.shape[1] // 2, ref_option=option, apply=False
        )
    table = np.asarray(estimator.estimator_table.drift_table)
    return -table[:, [2, 1]]


def ours(movie: Any) -> Array:
    return PhaseCorrelation().estimate(movie).select("dy_px", "dx_px").to_numpy()


def rms(found: Array, truth: Array, leave: tuple[int, ...] = ()) -> float:
    error = np.delete(found - truth, list(leave), axis=0)
    return float(np.sqrt(((error - error.mean(axis=0)) ** 2).mean()))


def compared(
    name: str, movie: Array, truth: Array, leave: tuple[int, ...] = (), own: Any = None
) -> list[dict[str, Any]]:
    """Return a row a method: error and time."""
    rows = []
    for who, work in {"kinocyte": ours, **peers()}.items():
        begin = time.perf_counter()
        try:
            error = rms(work(movie if who != "kinocyte" or own is None else own), truth, leave)
        except Exception as problem:  # a peer that gives up is a result
            rows.append({"case": name, "method": who, "rms_px": None, "seconds": None, "note": repr(problem)[:60]})
            continue
        rows.append({"case": name, "method": who, "rms_px": error, "seconds": time.perf_counter() - begin, "note": ""})
    return rows


def read(movie: DriftMovie) -> Array:
    return np.stack([np.asarray(movie[t], dtype=np.float32) for t in range(len(movie))])


def yx(truth: pl.DataFrame) -> Array:
    return truth.select("dy_px", "dx_px").to_numpy()


def noise() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(rng.random((640, 640)), 3)
    scene = (scene - scene.mean()) / scene.std()
    truth = random_walk(60, step_px=1.0, seed=1)
    clean = read(DriftMovie(scene, truth, (64, 64), order=5))
    rows = []
    for level in (0.02, 0.1, 0.3, 1.0, 3.0):
        noisy = clean + rng.normal(0, level, clean.shape).astype(np.float32)
        rows += compared(f"noise {level}", noisy, yx(truth))
    return rows


def nuclei(side: int, n: int, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    image, labels = np.zeros((side, side)), np.zeros((side, side), np.int32)
    y, x = np.mgrid[:side, :side]
    for label in range(1, n + 1):
        cy, cx = rng.uniform(10, side - 10, 2)
        a, b = rng.uniform(6, 11, 2)
        inside = (((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1) & (labels == 0)
        image[inside] = rng.uniform(400, 1200) * (1 + 0.3 * rng.normal(size=int(inside.sum())))
        labels[inside] = label
    return ndimage.gaussian_filter(image, 1.2) + 100, labels


def scenes() -> list[dict[str, Any]]:
    scene, labels = nuclei(480, 110, 0)
    margin, n = (48, 48), 30
    walk, slow = random_walk(n, step_px=1.5, seed=3), steady(n, step_px=(0.5, 0.3, 0.0))
    dirt = 1.5 * nuclei(384, 50, 9)[0]
    phase = np.arange(n)[:, None] / 20 + np.random.default_rng(0).random(int(labels.max()) + 1)
    share = 0.5 + 0.5 * np.cos(2 * np.pi * phase)
    blank = (4, 13, 21)
    leap = jumps(n, size_px=5, probability=0.3, seed=4)

    def movie(truth: pl.DataFrame, **options: Any) -> Array:
        return read(DriftMovie(scene, truth, margin, **{"noise_sd": 50, **options}))

    rows = compared("half of the nuclei crawl", movie(walk, crawl=Crawl(labels, 1.5, 0.5)), yx(walk))
    red = movie(walk, crawl=Crawl(labels, 0, 0), amplitude=share)
    green = movie(walk, crawl=Crawl(labels, 0, 0), amplitude=1 - share, seed=1)
    rows += compared("one FUCCI channel", red, yx(walk))
    rows += compared("red and green (peers: their sum)", red + green, yx(walk), own=[red, green])
    rows += compared("fixed pattern, walk", movie(walk, fixed_pattern=dirt), yx(walk))
    rows += compared("fixed pattern, slow", movie(slow, fixed_pattern=dirt), yx(slow))
    rows += compared("10 % blank (not scored)", movie(walk, blank=blank), yx(walk), blank)
    rows += compared("5 px jumps, noise 300", movie(leap, noise_sd=300), yx(leap))
    rows += compared("bleaching and flicker", movie(walk, bleach_frames=15, flicker=0.3), yx(walk))
    return rows


class Noisy:
    """Frames with noise added when they are read, clipped to 16 bit."""

    def __init__(self, clean: Array, sd: float) -> None:
        self.clean, self.sd = clean, sd
        self.shape, self.ndim, self.dtype = clean.shape, clean.ndim, clean.dtype

    def __getitem__(self, t: int) -> Array:
        if self.sd == 0:
            return self.clean[t]
        draw = np.random.default_rng([7, t]).standard_normal(self.clean.shape[1:], dtype=np.float32)
        return np.clip(self.clean[t] + self.sd * draw, 0, 65535).astype(np.uint16)


def protocol(data: Path, levels: list[float]) -> list[dict[str, Any]]:
    stack = tifffile.imread(data / "ctc_fluo_n3dh_cho_02_3dt" / "Fluo-N3DH-CHO_02_img.tif")[0].astype(np.float32)
    stack = ndimage.zoom(stack, (9, 1, 1), order=1)
    stack = np.pad(stack, ((27, 27), (56, 56), (0, 0)), mode="reflect")
    stack = np.clip((stack - np.percentile(stack, 5)) / np.percentile(stack, 99.5), 0, 1) * 20000 + 500
    truth = published_drift()
    clean = moved_exactly(stack, truth, (15, 140, 64))
    wanted = truth.select("dz_px", "dy_px", "dx_px").to_numpy()
    rows = []
    for level in levels:
        for projection in ("mean", "max"):
            begin = time.perf_counter()
            drift = PhaseCorrelation(projection=projection).estimate(Noisy(clean, level))
            seconds = time.perf_counter() - begin
            error = drift.select("dz_px", "dy_px", "dx_px").to_numpy() - wanted
            z, y, x = np.sqrt(((error - error.mean(axis=0)) ** 2).mean(axis=0))
            rows.append(
                {"noise_sd": level, "projection": projection, "x_px": x, "y_px": y, "z_px": z, "seconds": seconds,
                 "quality_0": int((drift["quality"] == 0).sum()), **similarity(clean, drift)}
            )  # fmt: skip
    return rows


def moved_exactly(stack: Array, truth: pl.DataFrame, margin: tuple[int, int, int]) -> Array:
    """Return the stack moved by the phase of its spectrum; margins hold the drift, 15, 138 and 63 px, and the seam."""
    spectrum = fft.rfftn(stack, workers=2)
    k = [fft.fftfreq(n).astype(np.float32) for n in stack.shape[:2]] + [fft.rfftfreq(stack.shape[2]).astype(np.float32)]
    inner = tuple(slice(m, n - m) for m, n in zip(margin, stack.shape, strict=True))
    frames = []
    for shift in truth.select("dz_px", "dy_px", "dx_px").to_numpy():
        z, y, x = (np.exp(-2j * np.pi * f * d).astype(np.complex64) for f, d in zip(k, shift, strict=True))
        moved = fft.irfftn(spectrum * (z[:, None, None] * (y[:, None] * x)), s=stack.shape, workers=2)
        frames.append(np.clip(np.rint(moved[inner]), 0, 65535).astype(np.uint16))
    return np.stack(frames)


def similarity(clean: Array, drift: pl.DataFrame) -> dict[str, float]:
    """Return the four metrics of the middle slice against frame 0, and the deviation over time, after correction."""
    corrected = apply_drift(clean, drift, canvas="crop", keep_dtype=False)
    middle = corrected.shape[1] // 2
    plane = np.stack([corrected[t][middle] for t in range(len(corrected))])
    first = plane[0]
    span = float(np.ptp(first))
    error = np.sqrt(((plane[1:] - first) ** 2).mean(axis=(1, 2)))
    return {
        "pcc": float(np.mean([np.corrcoef(p.ravel(), first.ravel())[0, 1] for p in plane[1:]])),
        "mssim": float(np.mean([structural_similarity(p, first, data_range=span) for p in plane[1:]])),
        "psnr": float(np.mean(20 * np.log10(span / np.maximum(error, 1e-9)))),
        "nrmse": float(np.mean(error / span)),
        "sd_time": float(plane.std(axis=0).mean()),
    }


class Peak:
    """Watches the memory of the process that no file backs (pages of mapped files come and go as the system likes)."""

    def __init__(self) -> None:
        self._most, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            status = Path("/proc/self/status").read_text()
            anonymous = next(line for line in status.splitlines() if line.startswith("RssAnon"))
            self._most = max(self._most, int(anonymous.split()[1]) / 1024)

    def stop(self) -> float:
        self._done.set()
        self._thread.join()
        return self._most


def size(scratch: Path | None) -> list[dict[str, Any]]:
    shape = (200, 24, 488, 488)
    rows = []
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        source = np.lib.format.open_memmap(Path(folder) / "movie.npy", "w+", np.uint16, shape)
        truth = random_walk(200, step_px=0.8, axial_step_px=0.15, seed=2)
        whole = np.rint(truth.select("dz_px", "dy_px", "dx_px").to_numpy()).astype(int)
        rng = np.random.default_rng(0)
        flat, _ = nuclei(700, 200, 1)
        depth = 1 + 0.8 * np.cos(np.arange(60)[:, None, None] / 4)
        scene = (flat * depth).astype(np.float32)
        grain = rng.integers(0, 60, (40, *shape[1:]), dtype=np.uint16)
        for t, (dz, dy, dx) in enumerate(whole):
            part = scene[18 - dz : 42 - dz, 106 - dy : 594 - dy, 106 - dx : 594 - dx]
            source[t] = part.astype(np.uint16) + grain[t % 40]
        source.flush()
        target = np.lib.format.open_memmap(Path(folder) / "corrected.npy", "w+", np.uint16, shape)
        del grain, scene
        peak = Peak()
        begin = time.perf_counter()
        drift = PhaseCorrelation().estimate(source)
        estimated = time.perf_counter()
        corrected = apply_drift(source, drift)

        def write(t: int) -> None:
            target[t] = corrected[t]

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, range(shape[0])))
        target.flush()
        end = time.perf_counter()
        known = drift_table(np.stack([whole[:, 2], whole[:, 1], whole[:, 0]], axis=1).astype(float))
        error = drift.select("dx_px", "dy_px", "dz_px").to_numpy() - known.select("dx_px", "dy_px", "dz_px").to_numpy()
        x, y, z = np.sqrt(((error - error.mean(axis=0)) ** 2).mean(axis=0))
        rows.append(
            {"shape": "x".join(map(str, shape)), "estimate_s": estimated - begin, "apply_write_s": end - estimated,
             "total_s": end - begin, "x_px": x, "y_px": y, "z_px": z,
             "peak_mb": peak.stop()}
        )  # fmt: skip
        for n in (50, 100, 200):
            begin = time.perf_counter()
            PhaseCorrelation(axial=False).estimate(source[:n])
            rows.append({"shape": f"{n} frames, lateral only", "estimate_s": time.perf_counter() - begin})
    return rows


if __name__ == "__main__":
    main()
