"""Kernels of flow fields: heat that spreads in objects, and pixels that walk along a field."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]


@kernel
def _spread(heat: Doubles, inside: NDArray[np.bool_], middle: Ints, rounds: int) -> None:
    """Feed heat into the middle of an object and spread it over neighbours so many times; outside it is cold."""
    nz, ny, nx = heat.shape
    once, twice = np.zeros_like(heat), np.zeros_like(heat)
    share = 1.0 / (9.0 if nz == 1 else 27.0)
    for _ in range(rounds):
        heat[middle[0], middle[1], middle[2]] += 1.0
        for z in range(nz):
            for y in range(ny):
                for x in range(1, nx - 1):
                    once[z, y, x] = heat[z, y, x - 1] + heat[z, y, x] + heat[z, y, x + 1]
        for z in range(nz):
            for y in range(1, ny - 1):
                for x in range(1, nx - 1):
                    twice[z, y, x] = once[z, y - 1, x] + once[z, y, x] + once[z, y + 1, x]
        for z in range(nz):
            for y in range(1, ny - 1):
                for x in range(1, nx - 1):
                    if inside[z, y, x]:
                        total = twice[z, y, x]
                        if nz > 1:
                            total += twice[z - 1, y, x] + twice[z + 1, y, x]
                        heat[z, y, x] = total * share


@kernel
def heat_flows(labels: NDArray[Any], boxes: Ints, middles: Ints, flow: Singles) -> None:
    """Fill ``flow`` (3, z, y, x) with unit vectors up the logarithm of the heat of each object.

    ``labels`` has a frame of background, in z only where there is more than one plane; ``boxes`` (n, 6) are low and
    high of each object in it, ``middles`` (n, 3) where its heat comes from.
    """
    flat = labels.shape[0] == 1
    step = np.zeros(3)
    for i in range(boxes.shape[0]):
        z0, z1 = (0, 1) if flat else (boxes[i, 0] - 1, boxes[i, 1] + 1)
        y0, y1, x0, x1 = boxes[i, 2] - 1, boxes[i, 3] + 1, boxes[i, 4] - 1, boxes[i, 5] + 1
        inside = labels[z0:z1, y0:y1, x0:x1] == labels[middles[i, 0], middles[i, 1], middles[i, 2]]
        heat = np.zeros(inside.shape)
        rounds = 2 * (boxes[i, 1] - boxes[i, 0] + boxes[i, 3] - boxes[i, 2] + boxes[i, 5] - boxes[i, 4])
        _spread(heat, inside, middles[i] - np.array([z0, y0, x0]), rounds)
        for z in range(inside.shape[0]):
            for y in range(inside.shape[1]):
                for x in range(inside.shape[2]):
                    heat[z, y, x] = np.log1p(heat[z, y, x])
        for z in range(inside.shape[0]):
            for y in range(1, inside.shape[1] - 1):
                for x in range(1, inside.shape[2] - 1):
                    if not inside[z, y, x]:
                        continue
                    step[0] = 0.0 if flat else heat[z + 1, y, x] - heat[z - 1, y, x]
                    step[1] = heat[z, y + 1, x] - heat[z, y - 1, x]
                    step[2] = heat[z, y, x + 1] - heat[z, y, x - 1]
                    length = np.sqrt(step[0] * step[0] + step[1] * step[1] + step[2] * step[2])
                    if length > 0.0:
                        for d in range(3):
                            flow[d, z0 + z, y0 + y, x0 + x] = step[d] / length


@kernel
def walk(flow: Singles, starts: NDArray[np.int32], rounds: int, ends: Singles) -> None:
    """Fill where pixels end that walk ``rounds`` steps along a field (3, z, y, x), read between pixels linearly.

    Who stands still (moves less than a hundredth of a pixel) has arrived.
    """
    nz, ny, nx = flow.shape[1:]
    for i in range(starts.shape[0]):
        pz, py, px = float(starts[i, 0]), float(starts[i, 1]), float(starts[i, 2])
        for _ in range(rounds):
            z, y, x = min(int(pz), max(nz - 2, 0)), min(int(py), max(ny - 2, 0)), min(int(px), max(nx - 2, 0))
            z2, y2, x2 = min(z + 1, nz - 1), min(y + 1, ny - 1), min(x + 1, nx - 1)
            fz, fy, fx = pz - z, py - y, px - x
            a, b, c, d = (1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx
            sy = a * flow[1, z, y, x] + b * flow[1, z, y, x2] + c * flow[1, z, y2, x] + d * flow[1, z, y2, x2]
            sx = a * flow[2, z, y, x] + b * flow[2, z, y, x2] + c * flow[2, z, y2, x] + d * flow[2, z, y2, x2]
            sz = 0.0
            if nz > 1:
                sz = a * flow[0, z, y, x] + b * flow[0, z, y, x2] + c * flow[0, z, y2, x] + d * flow[0, z, y2, x2]
                tz = a * flow[0, z2, y, x] + b * flow[0, z2, y, x2] + c * flow[0, z2, y2, x] + d * flow[0, z2, y2, x2]
                ty = a * flow[1, z2, y, x] + b * flow[1, z2, y, x2] + c * flow[1, z2, y2, x] + d * flow[1, z2, y2, x2]
                tx = a * flow[2, z2, y, x] + b * flow[2, z2, y, x2] + c * flow[2, z2, y2, x] + d * flow[2, z2, y2, x2]
                sz, sy, sx = (1 - fz) * sz + fz * tz, (1 - fz) * sy + fz * ty, (1 - fz) * sx + fz * tx
            pz = min(max(pz + sz, 0.0), nz - 1.0)
            py = min(max(py + sy, 0.0), ny - 1.0)
            px = min(max(px + sx, 0.0), nx - 1.0)
            if sz * sz + sy * sy + sx * sx < 1e-4:
                break
        ends[i, 0], ends[i, 1], ends[i, 2] = pz, py, px


@kernel
def grow_seeds(arrived: NDArray[np.int32], seeds: Ints, reach: int, least: int, basin: NDArray[np.uint32]) -> None:
    """Fill ``basin`` with the number of the seed whose crowd a pixel belongs to.

    Seeds come in order, each takes the pixels around it, at most ``reach`` away along each axis, that it reaches over
    pixels where more than ``least`` arrived and no earlier seed has taken. Arrays are (z, y, x).
    """
    nz, ny, nx = arrived.shape
    queue = np.empty(((2 * reach + 1) ** 3, 3), np.int64)
    for i in range(seeds.shape[0]):
        if basin[seeds[i, 0], seeds[i, 1], seeds[i, 2]] != 0:
            continue
        queue[0] = seeds[i]
        basin[seeds[i, 0], seeds[i, 1], seeds[i, 2]] = i + 1
        first, last = 0, 1
        while first < last:
            for dz in range(-1, 2):
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        z, y, x = queue[first, 0] + dz, queue[first, 1] + dy, queue[first, 2] + dx
                        if z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx:
                            continue
                        far = max(abs(z - seeds[i, 0]), abs(y - seeds[i, 1]), abs(x - seeds[i, 2]))
                        if far <= reach and basin[z, y, x] == 0 and arrived[z, y, x] > least:
                            basin[z, y, x] = i + 1
                            queue[last, 0], queue[last, 1], queue[last, 2] = z, y, x
                            last += 1
            first += 1
