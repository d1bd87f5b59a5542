"""Trained networks on images: throughput against the bare network, assembly of shapes and flow dynamics against peers.

Run with ``OMP_NUM_THREADS=1 python benchmarks/inference.py [--quick]``; needs torch, and stardist as a peer. Prints
tables and writes ``benchmarks/results/inference.json``. All figures of a row are taken in one run, so that their ratio
holds on a busy machine too; times are of the processor, not of the clock, where a single thread works.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "inference.json"


def seconds(work: Callable[[], Any], rounds: int = 3) -> float:
    """Return the least processor time of some rounds after one that does not count."""
    work()
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def network(side: int) -> dict[str, float]:
    """Return megapixels per second of the bare network, of `apply` without and with tiles, and of other engines."""
    import torch

    from kinocyte.learning.inference.apply import apply, network_output
    from kinocyte.learning.model import ImageModel, InputChannel
    from kinocyte.learning.tasks.stardist import StarDist

    torch.manual_seed(0)
    task = StarDist(width=32, depth=3, grid=2)
    weights = {n: t.numpy() for n, t in task.build(1, 1, 2).state_dict().items()}
    model = ImageModel("bench", task, (InputChannel(name="dna"),), (), "yx", None, weights)
    image = np.random.default_rng(0).integers(0, 4000, (1, side, side)).astype(np.uint16)
    x = model.normalised(image)
    plain = model.network()
    last = model.network().to(memory_format=torch.channels_last)
    tensor = torch.from_numpy(x)[None]
    tensor_last = tensor.to(memory_format=torch.channels_last)

    def bare(net: Any, given: Any) -> None:
        with torch.inference_mode():
            net(given)

    none = {"probability_threshold": 2.0}
    found = {
        "torch, channels first": seconds(lambda: bare(plain, tensor)),
        "torch, channels last (the bare network)": seconds(lambda: bare(last, tensor_last)),
        "network_output": seconds(lambda: network_output(model, x)),
        "apply (normalise, network, read nothing)": seconds(lambda: apply(model, image, settings=none)),
        "apply, tiles of half the side": seconds(lambda: apply(model, image, settings=none, tile_px=side // 2)),
    }
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found["torch, channels last, bf16 (changes numbers)"] = seconds(lambda: last(tensor_last))
    runtime = _onnx(model, tensor)
    if runtime is not None:
        found["ONNX Runtime"] = seconds(runtime)
    return {name: side * side / 1e6 / s for name, s in found.items()}


def _onnx(model: Any, tensor: Any) -> Callable[[], Any] | None:
    try:
        import onnxruntime

        from kinocyte.learning.image_package import describe
    except ImportError:
        return None
    _, files = describe(model, formats=("onnx",))
    if "weights.onnx" not in files:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(files["weights.onnx"], options, providers=["CPUExecutionProvider"])
    name, given = session.get_inputs()[0].name, tensor.numpy()
    return lambda: session.run(None, {name: given})


def assembly(n: int) -> dict[str, Any]:
    """Return seconds for n x n nuclei from 72 candidates each, ours and stardist's."""
    from kinocyte.learning.star_convex import distances, edge_distance, polygons_to_labels, rays_2d

    rng = np.random.default_rng(0)
    rays, labels = rays_2d(32), _nuclei(n, rng)
    far, depth = distances(labels, rays, stride=2), edge_distance(labels, stride=2)
    far = (far * rng.normal(1, 0.05, far.shape)).astype(np.float32)
    depth = np.clip(depth + rng.normal(0, 0.03, depth.shape) * (depth > 0), 0, 1).astype(np.float32)
    least = float(np.quantile(depth, 1 - 72 * n * n / depth.size))
    how = {"probability_threshold": least, "overlap_threshold": 0.4}
    found: dict[str, Any] = {"nuclei": n * n, "candidates": int((depth > least).sum())}
    found["ours_s"] = seconds(lambda: polygons_to_labels(depth, far, rays, stride=2, **how))
    try:
        from stardist.geometry import polygons_to_label
        from stardist.nms import non_maximum_suppression
    except ImportError:
        return found
    last = np.ascontiguousarray(far.transpose(1, 2, 0))

    def theirs() -> None:
        points, score, edge = non_maximum_suppression(
            last, depth, grid=(2, 2), b=None, nms_thresh=0.4, prob_thresh=least
        )
        polygons_to_label(edge, points, labels.shape, prob=score)

    found["stardist_s"] = seconds(theirs, rounds=1)
    found["ratio"] = found["stardist_s"] / found["ours_s"]
    return found


def _nuclei(n: int, rng: np.random.Generator, pitch: int = 30) -> np.ndarray:
    labels = np.zeros((n * pitch, n * pitch), np.int32)
    y, x = np.mgrid[:pitch, :pitch] - (pitch - 1) / 2
    for i in range(n * n):
        a, b, turn = *rng.uniform(9, 13.5, 2), rng.uniform(0, np.pi)
        u, v = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
        at = (slice(i // n * pitch, i // n * pitch + pitch), slice(i % n * pitch, i % n * pitch + pitch))
        labels[at][(u / a) ** 2 + (v / b) ** 2 < 1] = i + 1
    return labels


def dynamics(n: int) -> dict[str, float]:
    """Return seconds for the walk of all pixels of n x n nuclei, ours and pixel by pixel in Python (on a sample)."""
    from kinocyte.learning._flow_kernel import walk
    from kinocyte.learning.flow_fields import flows

    labels = _nuclei(n, np.random.default_rng(0))
    field = flows(labels)
    starts = np.argwhere(labels)
    volume = np.zeros((3, 1, *labels.shape), np.float32)
    volume[1:, 0] = field
    places = np.concatenate([np.zeros((len(starts), 1), int), starts], axis=1).astype(np.int32)
    ends = np.empty(places.shape, np.float32)
    ours = seconds(lambda: walk(volume, places, 200, ends)) / len(starts)
    sample = starts[:: max(len(starts) // 300, 1)]
    theirs = seconds(lambda: _walk(field, sample), rounds=1) / len(sample)
    return {"pixels": len(starts), "ours_us_a_pixel": ours * 1e6, "python_us_a_pixel": theirs * 1e6,
            "ratio": theirs / ours}  # fmt: skip


def _walk(field: np.ndarray, starts: np.ndarray) -> None:
    ny, nx = field.shape[1:]
    for y0, x0 in starts:
        y, x = float(y0), float(x0)
        for _ in range(200):
            i, j = min(int(y), ny - 2), min(int(x), nx - 2)
            fy, fx = y - i, x - j
            dy, dx = (
                (1 - fy) * ((1 - fx) * f[i, j] + fx * f[i, j + 1])
                + fy * ((1 - fx) * f[i + 1, j] + fx * f[i + 1, j + 1])
                for f in field
            )
            y, x = min(max(y + dy, 0.0), ny - 1.0), min(max(x + dx, 0.0), nx - 1.0)
            if dy * dy + dx * dx < 1e-4:
                break


def tiles(side: int) -> dict[str, Any]:
    """Return how far outputs and labels of the shipped model change with the size of the tiles, on simulated nuclei."""
    from kinocyte.learning.inference.apply import apply, network_output
    from kinocyte.learning.model import load_image_model

    model = load_image_model("nuclei-fluo")
    n = side // 30
    image = (100 + 600 * (_nuclei(n, np.random.default_rng(1)) > 0)).astype(np.float64)
    image = np.random.default_rng(2).poisson(image).astype(np.uint16)[None]
    whole, labels = network_output(model, model.normalised(image)), apply(model, image).labels
    found: dict[str, Any] = {"objects": int(labels.max())}
    for tile in (96, 160, 256):
        out = network_output(model, model.normalised(image), tile_px=tile)
        found[f"output_off_{tile}"] = float(np.abs(out - whole).max() / np.abs(whole).max())
        found[f"labels_differ_{tile}"] = int((apply(model, image, tile_px=tile).labels != labels).sum())
    return found


def judged(found: dict[str, Any]) -> dict[str, bool]:
    """Return which of the aims are reached; speed in tiles counts the part that is read twice as well."""
    speed = found["network_mpx_per_s"]
    bare = speed["torch, channels last (the bare network)"]
    return {
        "apply >= 85 % of the bare network": speed["apply (normalise, network, read nothing)"] >= 0.85 * bare,
        "assembly < 2 s": found["assembly"]["ours_s"] < 2,
        "dynamics >= 10 x Python": found["dynamics"]["ratio"] >= 10,
        "tiled equals untiled, output and labels": not any(v for k, v in found["tiles"].items() if k != "objects"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small images, for a first look")
    quick = parser.parse_args().quick
    found: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "quick": quick}
    found["network_mpx_per_s"] = network(512 if quick else 1024)
    found["assembly"] = assembly(30 if quick else 100)
    found["dynamics"] = dynamics(10 if quick else 30)
    found["tiles"] = tiles(480 if quick else 900)
    found["aims"] = judged(found)
    bare = found["network_mpx_per_s"]["torch, channels last (the bare network)"]
    for name, speed in found["network_mpx_per_s"].items():
        print(f"{name:48s} {speed:8.3f} Mpx/s  {speed / bare:6.2f}")
    for part in ("assembly", "dynamics", "tiles"):
        print(part, {k: float(f"{v:.4g}") for k, v in found[part].items()})
    for aim, reached in found["aims"].items():
        print("reached " if reached else "MISSED  ", aim)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
