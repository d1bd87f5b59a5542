"""What a step will need of a worker, estimated before it runs: memory and a GPU.

Steps go frame by frame, so memory grows with the size of a frame and hardly with the length of the movie. The factors
are meant to be generous: `benchmarks/engine.py memory` compares them with the peak of a process that does one step. At
2048 x 2048 pixels and two channels registration, correction and segmentation took 0.65, 0.44 and 0.52 GB where the
estimates are 1.00, 0.94 and 1.07 GB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from kinocyte.core.method import Method
from kinocyte.pipeline.steps.base import Step
from kinocyte.pipeline.steps.segmentation import Segmentation, in_tiles
from kinocyte.segmentation.base import Segmenter

#: A process that has loaded the libraries and compiled its kernels.
BASE_BYTES = 600_000_000
#: One that also runs a deep model: torch, the weights, the tiles.
DEEP_BASE_BYTES = 2_000_000_000
#: Frames, of 64-bit numbers, that a step holds at once.
FRAMES_HELD = {
    "registration": 10.0,
    "correction": 8.0,
    "segmentation": 12.0,
    "combination": 8.0,
    "objects": 4.0,
    "measurement": 8.0,
    "compartments": 8.0,
    "replay": 6.0,
}
#: A frame that is segmented in tiles: its labels, and 6 bytes a pixel beside the image at 4096 x 4096 (37 as a whole).
_TILED_HELD = 2.0
#: Steps that read tables: rows of cells, not pixels.
_OTHERS_HELD = 2.0
_BYTES_A_NUMBER = 8


def memory_bytes(step: Step, shape: Sequence[int]) -> int:
    """Return the memory in bytes that a step needs on a movie.

    Parameters
    ----------
    step : Step
        What is done.
    shape : sequence of int
        Shape of the raw image, time first, channels second.
    """
    frame = prod(shape[2:]) * _BYTES_A_NUMBER
    channels = max(1, int(shape[1]) if len(shape) > 1 else 1)
    base = DEEP_BASE_BYTES if wants_gpu(step) else BASE_BYTES
    held = FRAMES_HELD.get(step.name, _OTHERS_HELD)
    if isinstance(step, Segmentation) and isinstance(step.method, Segmenter) and in_tiles(step.method, prod(shape[2:])):
        held = _TILED_HELD
    return int(base + held * frame + channels * frame)


def wants_gpu(step: Step) -> bool:
    """Tell whether any method of a step says that it runs much faster on a GPU."""
    return any(getattr(m, "wants_gpu", False) for m in _methods(dict(step)))


def _methods(value: Any) -> Iterator[Any]:
    """Find the methods in the fields of a step, those in lists and in places of a pipeline included."""
    if isinstance(value, Method):
        yield value
        bare = getattr(value, "bare", value)
        if bare is not value:
            yield bare
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _methods(inner)
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from _methods(inner)
