"""Drift correction: ours against pystackreg, scikit-image and NanoPyx, in one run.

    OMP_NUM_THREADS=1 python benchmarks/registration.py [--part peers hard protocol huvec] [--data shared/data]
        [--quick] [--json registration.json] [--levels 0 5000 15000 40000] [--scratch FOLDER]

--quick takes a few levels and a shorter movie, to see that each part runs; results that are reported need the whole.

peers     60 frames of 512 x 512 px, random walk, Gaussian noise of 0.02 to 3 times the signal's deviation; one thread
hard      crawling cells, signal that moves between channels, fixed pattern, blank frames, jumps in noise
protocol  the drift and the noise series of the Fast4DReg paper (Table 7 of the thesis) on a stack made from real nuclei
          (Fluo-N3DH-CHO, one frame, interpolated along z; the paper's own stack is not public); drift is estimated
          on the noisy movie and applied to the clean one. Peers see the same projections, then sections along y of
          the stacks that they laid on each other to a pixel
huvec     200 x 24 x 488 x 488, 16 bit, memory-mapped: estimate, apply, write; time, processor time and peak memory, two
          threads; a bare OpenCV loop without the axial part beside it; time against number of frames and frame size

Errors are root mean squares per axis after each side's common offset is removed. NRMSE is a true one,
``rms(a - b) / (max(b) - min(b))``. Peers that are not installed are left out
(``pip install pystackreg nanopyx scikit-image opencv-python-headless``).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
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
import polars.selectors as cs
import tifffile
from scipy import fft, ndimage
from skimage.metrics import structural_similarity
from skimage.registration import phase_cross_correlation

from kinocyte.core.errors import ParameterError
from kinocyte.registration import PhaseCorrelation, apply_drift
from kinocyte.simulation.drift import (
    PUBLISHED_NOISE_SD,
    Crawl,
    DriftMovie,
    drift_table,
    jumps,
    published_drift,
    random_walk,
    steady,
)

Array = np.ndarray[Any, Any]
PARTS = ("peers", "hard", "protocol", "huvec")
#: Standard deviations of the noise, in those of the signal.
NOISE = (0.02, 0.1, 0.3, 1.0, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", type=Path, default=Path("shared/data"))
    parser.add_argument("--levels", nargs="+", type=float, default=None)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    levels = options.levels or ([0, 15000] if options.quick else list(PUBLISHED_NOISE_SD))
    work: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "peers": lambda: noise((0.1, 1.0) if options.quick else NOISE),
        "hard": scenes,
        "protocol": lambda: protocol(options.data, levels),
        "huvec": lambda: size(options.scratch, 40 if options.quick else 200),
    }
    warm_up()
    out: dict[str, list[dict[str, Any]]] = {}
    for part in options.part:
        out[part] = work[part]()
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=4, tbl_hide_dataframe_shape=True):
            print(
                part, pl.DataFrame(out[part], infer_schema_length=None).drop(cs.by_dtype(pl.Null)), sep="\n", flush=True
            )
        if options.json:
            options.json.write_text(json.dumps(out, indent=1))


def warm_up() -> None:
    """Compile what is used before anything is timed."""
    rng = np.random.default_rng(0)
    PhaseCorrelation().estimate(rng.random((4, 64, 64)))
    stack = rng.integers(0, 999, (5, 6, 96, 96)).astype(np.uint16)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, stack)
        file.flush()
        for movie in (stack, np.load(file.name, mmap_mode="r"), np.load(file.name, mmap_mode="r+")):
            drift = PhaseCorrelation().estimate(movie)
            np.asarray(apply_drift(movie, drift)[1]), np.asarray(apply_drift(movie, drift, keep_dtype=False)[1])


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


def ours(movie: Any) -> tuple[Array, str]:
    """Return the shifts, and what the table says of frames that are not to be trusted."""
    drift = PhaseCorrelation().estimate(movie)
    said = [f"fixed pattern {drift['fixed_pattern'][0]}"] if drift["fixed_pattern"][0] != "none" else []
    said += [f"{n} frames interpolated" for n in [int(drift["interpolated"].sum())] if n]
    return drift.select("dy_px", "dx_px").to_numpy(), ", ".join(said)


def rms(found: Array, truth: Array, leave: tuple[int, ...] = ()) -> float:
    error = np.delete(found - truth, list(leave), axis=0)
    return float(np.sqrt(((error - error.mean(axis=0)) ** 2).mean()))


def compared(
    name: str, movie: Array, truth: Array, leave: tuple[int, ...] = (), own: Any = None
) -> list[dict[str, Any]]:
    """Return a row a method: error and time."""
    rows = []
    every: dict[str, Callable[[Any], Any]] = {"kinocyte": ours, **peers()}
    for who, work in every.items():
        begin = time.perf_counter()
        try:
            found = work(movie if who != "kinocyte" or own is None else own)
            seconds = time.perf_counter() - begin
        except Exception as problem:  # a peer that gives up is a result
            rows.append({"case": name, "method": who, "rms_px": None, "seconds": None, "note": repr(problem)[:60]})
            continue
        shift, note = found if isinstance(found, tuple) else (found, "")
        rows.append({"case": name, "method": who, "rms_px": rms(shift, truth, leave), "seconds": seconds, "note": note})
    return rows


def read(movie: DriftMovie) -> Array:
    return np.stack([np.asarray(movie[t], dtype=np.float32) for t in range(len(movie))])


def yx(truth: pl.DataFrame) -> Array:
    return truth.select("dy_px", "dx_px").to_numpy()


def noise(levels: tuple[float, ...]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(rng.random((640, 640)), 3)
    scene = (scene - scene.mean()) / scene.std()
    truth = random_walk(60, step_px=1.0, seed=1)
    clean = read(DriftMovie(scene, truth, (64, 64), order=5))
    rows = []
    for level in levels:
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
    few = nuclei(480, 10, 2)[0]
    hidden = read(DriftMovie(few, walk, margin, noise_sd=50, fixed_pattern=dirt))
    rows += compared("ten nuclei under a pattern", hidden, yx(walk))
    rows += compared("10 % blank (not scored)", movie(walk, blank=blank), yx(walk), blank)
    other = read(DriftMovie(nuclei(480, 110, 5)[0], walk, margin, noise_sd=50))
    away = movie(walk)
    away[12:16] = other[12:16]
    rows += compared("4 frames of another place (not scored)", away, yx(walk), (12, 13, 14, 15))
    rows += compared("5 px jumps, noise 300", movie(leap, noise_sd=300), yx(leap))
    rows += compared("bleaching and flicker", movie(walk, bleach_frames=15, flicker=0.3), yx(walk))
    return rows


def noisy(clean: Array, sd: float) -> Array:
    """Return the movie with noise added, clipped to 16 bit."""
    if sd == 0:
        return clean
    out = np.empty_like(clean)
    for t, frame in enumerate(clean):
        draw = np.random.default_rng([7, t]).standard_normal(frame.shape, dtype=np.float32)
        out[t] = np.clip(frame + sd * draw, 0, 65535)
    return out


def by_peer(work: Callable[[Array], Array], movie: Array, projection: str) -> Array:
    """Return dz, dy, dx of a peer: lateral from projections along z, axial from sections of what it laid together."""
    flat = movie.mean(axis=1, dtype=np.float32) if projection == "mean" else movie.max(axis=1).astype(np.float32)
    lateral = work(flat)
    whole = np.rint(lateral - lateral[0]).astype(int)
    limit = np.array(movie.shape[2:]) // 2
    whole = np.clip(whole, -limit, limit)
    sections = []
    for stack, (dy, dx) in zip(movie, whole, strict=True):
        laid = np.roll(stack, (-dy, -dx), axis=(1, 2))
        sections.append(laid.mean(axis=1, dtype=np.float32) if projection == "mean" else laid.max(axis=1))
    axial = work(np.stack(sections).astype(np.float32))
    return np.column_stack([axial[:, 0], lateral])


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
        movie = noisy(clean, level)
        for projection in ("mean", "max"):
            begin = time.perf_counter()
            drift = PhaseCorrelation(projection=projection).estimate(movie)
            seconds = time.perf_counter() - begin
            row = {"noise_sd": level, "projection": projection, "method": "kinocyte"}
            found = drift.select("dz_px", "dy_px", "dx_px").to_numpy()
            rows.append({**row, **per_axis(found, wanted), "seconds": seconds,
                         "quality_0": int((drift["quality"] == 0).sum()), **similarity(clean, drift)})  # fmt: skip
            for who, work in peers().items():
                begin = time.perf_counter()
                try:
                    found = by_peer(work, movie, projection)
                except Exception as problem:  # a peer that gives up is a result
                    rows.append({**row, "method": who, "note": repr(problem)[:60]})
                    continue
                seconds = time.perf_counter() - begin
                theirs = drift_table((found - found[0])[:, ::-1])
                rows.append({**row, "method": who, **per_axis(found, wanted), "seconds": seconds,
                             **similarity(clean, theirs)})  # fmt: skip
    return rows


def per_axis(found: Array, wanted: Array) -> dict[str, float]:
    error = found - wanted
    z, y, x = np.sqrt(((error - error.mean(axis=0)) ** 2).mean(axis=0))
    return {"x_px": x, "y_px": y, "z_px": z}


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
    try:
        corrected = apply_drift(clean, drift, canvas="crop", keep_dtype=False)
    except ParameterError:
        return {}  # shifts so wrong that nothing is left in common
    middle = corrected.shape[1] // 2
    if min(corrected.shape[2:]) < 7:
        return {}
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


def timed(work: Callable[[], Any]) -> dict[str, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - wall, "processor_s": time.process_time() - processor}


def lateral(movie: Any) -> pl.DataFrame:
    return PhaseCorrelation(axial=False).estimate(movie)


class Part:
    """A movie cut to its first rows and columns."""

    def __init__(self, movie: Array, side: int) -> None:
        self.movie, self.side = movie, side
        self.shape, self.ndim, self.dtype = (*movie.shape[:2], side, side), 4, movie.dtype

    def __getitem__(self, t: int) -> Array:
        return np.ascontiguousarray(self.movie[t][:, : self.side, : self.side])


def whole_job(source: Array, target: Array, whole: Array) -> dict[str, Any]:
    """Return time, memory and error of estimate, apply and write, on two threads."""
    os.environ["OMP_NUM_THREADS"] = "2"
    peak = Peak()
    found: list[pl.DataFrame] = []
    estimate = timed(lambda: found.append(PhaseCorrelation().estimate(source)))
    corrected = apply_drift(source, found[0])

    def write(t: int) -> None:
        target[t] = corrected[t]

    def apply() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, range(len(source))))

    applied = timed(apply)
    flush = timed(target.flush)
    return {
        "job": "x".join(map(str, source.shape)), "estimate_s": estimate["seconds"],
        "apply_write_s": applied["seconds"], "to_disk_s": flush["seconds"],
        "seconds": estimate["seconds"] + applied["seconds"] + flush["seconds"],
        "processor_s": estimate["processor_s"] + applied["processor_s"] + flush["processor_s"],
        **per_axis(found[0].select("dz_px", "dy_px", "dx_px").to_numpy(), whole), "peak_mb": peak.stop(),
    }  # fmt: skip


def opencv_loop(source: Array, target: Array) -> list[dict[str, Any]]:
    """Return the time of a plain loop: phase correlation of projections with the first, and a warp of each plane."""
    if not find_spec("cv2"):
        return []
    import cv2

    cv2.setNumThreads(2)

    def loop() -> None:
        first = source[0].mean(axis=0, dtype=np.float32)
        for t, stack in enumerate(source):
            (dx, dy), _ = cv2.phaseCorrelate(first, stack.mean(axis=0, dtype=np.float32))
            back = np.array([[1, 0, -dx], [0, 1, -dy]])
            for z, plane in enumerate(stack):
                target[t, z] = cv2.warpAffine(np.asarray(plane), back, plane.shape[::-1])
        target.flush()

    return [{"job": "OpenCV loop, lateral only", **timed(loop)}]


def size(scratch: Path | None, n_frames: int) -> list[dict[str, Any]]:
    shape = (n_frames, 24, 488, 488)
    rows = []
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        source = np.lib.format.open_memmap(Path(folder) / "movie.npy", "w+", np.uint16, shape)
        truth = random_walk(n_frames, step_px=0.8, axial_step_px=0.15, seed=2)
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
        rows += [whole_job(source, target, whole), *opencv_loop(source, target)]
        del target
        for n in (n_frames // 4, n_frames // 2, n_frames):
            rows.append({"job": f"{n} frames, lateral only", **timed(lambda n=n: lateral(source[:n]))})
        for side in (122, 244, 488):
            part = Part(source, side)
            rows.append({"job": f"{side} x {side} px, lateral only", **timed(lambda part=part: lateral(part))})
    return rows


if __name__ == "__main__":
    main()
