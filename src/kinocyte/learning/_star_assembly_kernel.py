"""Kernels that choose among star-convex candidates and draw the chosen ones.

Shapes are compared along parallel lines: a shape is crossed by a line where it enters and leaves it, and the length
that two shapes share on a line follows from their sorted crossings. In the plane the lines are rows; in a volume they
run along x through a lattice of z and y. One code serves both: a plane is a volume whose lattice has one z.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel

#: moves lattice lines off the corners of volumes, some of which lie exactly on pixel centres
OFF_Z, OFF_Y = 0.5698e-5, 0.7549e-5

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]


@kernel
def gather(distances: Singles, index: Ints, most: float, chosen: Singles) -> None:
    """Fill ``chosen`` (candidates, rays) from flat maps (rays, pixels); lengths lie within 0.001 and ``most``."""
    block = 1024
    for begin in range(0, index.size, block):
        end = min(begin + block, index.size)
        for k in range(distances.shape[0]):
            for i in range(begin, end):
                d = distances[k, index[i]]
                if not d > 1e-3:  # also where it is no number
                    d = np.float32(1e-3)
                chosen[i, k] = min(d, np.float32(most))


@kernel
def refine(  # noqa: PLR0917 - numba
    centres: Doubles, directions: Doubles, steps: Ints, probability: Singles, distances: Singles, at: Doubles,
    within: float, most: float, lengths: Singles,
) -> None:  # fmt: skip
    """Replace each length by the mean of what the centre and pixels along the ray say of where the edge is.

    ``probability`` (z, y, x) and ``distances`` (rays, pixels) are maps with a pixel every ``steps``; ``at`` are shares
    of the length, and a pixel is asked if its probability exceeds ``within``.
    """
    nz, ny, nx = probability.shape
    for i in range(lengths.shape[0]):
        for k in range(directions.shape[0]):
            length, total, said = lengths[i, k], float(lengths[i, k]), 1
            for share in at:
                reach = share * length
                z = int(np.floor((centres[i, 0] + reach * directions[k, 0]) / steps[0] + 0.5))
                y = int(np.floor((centres[i, 1] + reach * directions[k, 1]) / steps[1] + 0.5))
                x = int(np.floor((centres[i, 2] + reach * directions[k, 2]) / steps[2] + 0.5))
                if min(z, y, x) < 0 or z >= nz or y >= ny or x >= nx or not probability[z, y, x] > within:
                    continue
                rest = distances[k, (z * ny + y) * nx + x]
                if not rest > 1e-3:  # also where it is no number
                    continue
                along = (z * steps[0] - centres[i, 0]) * directions[k, 0]
                along += (y * steps[1] - centres[i, 1]) * directions[k, 1]
                along += (x * steps[2] - centres[i, 2]) * directions[k, 2]
                total += along + rest
                said += 1
            lengths[i, k] = min(max(total / said, 1e-3), most)


@kernel
def polygon_sizes(  # noqa: PLR0917 - numba
    lengths: Singles, directions: Doubles, sizes: Doubles, outer: Doubles, inner: Doubles, middles: Doubles
) -> None:
    """Fill the area of each polygon, the radius that encloses it, and its middle with a radius that lies within it.

    The enclosing disc lies about the centre of the rays, the one within about the centre of mass (``middles``, from the
    centre of the rays), since rays often begin near an edge. Its radius is 0 where not all corners are seen from there.
    """
    n = directions.shape[0]
    ys, xs = np.empty(n + 1), np.empty(n + 1)
    for i in range(lengths.shape[0]):
        area, most, sum_y, sum_x = 0.0, 0.0, 0.0, 0.0
        for k in range(n):
            ys[k], xs[k] = lengths[i, k] * directions[k, 1], lengths[i, k] * directions[k, 2]
            most = max(most, ys[k] * ys[k] + xs[k] * xs[k])
        ys[n], xs[n] = ys[0], xs[0]
        for k in range(n):
            cross = abs(ys[k] * xs[k + 1] - ys[k + 1] * xs[k])
            area += cross
            sum_y += cross * (ys[k] + ys[k + 1])
            sum_x += cross * (xs[k] + xs[k + 1])
        sizes[i] = 0.5 * area
        outer[i] = np.sqrt(most)
        y, x = (sum_y / (3.0 * area), sum_x / (3.0 * area)) if area > 0.0 else (0.0, 0.0)
        middles[i, 0], middles[i, 1] = y, x
        inner[i] = _room(ys, xs, y, x)


@kernel
def _room(ys: Doubles, xs: Doubles, y: float, x: float) -> Any:
    """Return how far the nearest edge of a closed polygon lies from a place within; 0 if edges turn away from it."""
    least = np.inf
    for k in range(ys.size - 1):
        y0, x0, y1, x1 = ys[k] - y, xs[k] - x, ys[k + 1] - y, xs[k + 1] - x
        cross = y1 * x0 - y0 * x1
        if cross <= 0.0:
            return 0.0
        side = (y1 - y0) ** 2 + (x1 - x0) ** 2
        if cross * cross > least * side:  # no division where it cannot matter
            continue
        along = -(y0 * (y1 - y0) + x0 * (x1 - x0))
        if along <= 0.0:
            near = y0 * y0 + x0 * x0
        elif along >= side:
            near = y1 * y1 + x1 * x1
        else:
            near = cross * cross / side
        least = min(least, near)
    return np.sqrt(least)


@kernel
def polyhedron_sizes(  # noqa: PLR0917 - numba
    lengths: Singles,
    directions: Doubles,
    faces: Any,
    sizes: Doubles,
    outer: Doubles,
    inner: Doubles,
) -> None:
    """Fill the volume of each polyhedron and the radius that encloses it; no radius within it is known (0)."""
    corner = np.zeros((3, 3))
    for i in range(lengths.shape[0]):
        volume, most = 0.0, 0.0
        for f in range(faces.shape[0]):
            for c in range(3):
                k = faces[f, c]
                for d in range(3):
                    corner[c, d] = lengths[i, k] * directions[k, d]
                most = max(most, corner[c, 0] ** 2 + corner[c, 1] ** 2 + corner[c, 2] ** 2)
            volume += abs(
                corner[0, 0] * (corner[1, 1] * corner[2, 2] - corner[1, 2] * corner[2, 1])
                - corner[0, 1] * (corner[1, 0] * corner[2, 2] - corner[1, 2] * corner[2, 0])
                + corner[0, 2] * (corner[1, 0] * corner[2, 1] - corner[1, 1] * corner[2, 0])
            )
        sizes[i] = volume / 6.0
        outer[i] = np.sqrt(most)
        inner[i] = 0.0


@kernel
def _polygon_crossings(  # noqa: PLR0917 - numba
    centre: Doubles, lengths: Singles, directions: Doubles, lattice: Doubles, xs: Doubles, counts: Ints
) -> None:
    """Fill where the rows of a lattice cross a polygon; see `crossings`."""
    n, rows, low, step = directions.shape[0], int(lattice[5]), lattice[3], lattice[4]
    y_next, x_next = centre[1] + lengths[0] * directions[0, 1], centre[2] + lengths[0] * directions[0, 2]
    row_next = int(np.ceil((y_next - low) / step))
    for k in range(n):
        m = (k + 1) % n
        y0, x0, first = y_next, x_next, row_next
        y1, x1 = centre[1] + lengths[m] * directions[m, 1], centre[2] + lengths[m] * directions[m, 2]
        last = int(np.ceil((y1 - low) / step))
        y_next, x_next, row_next = y1, x1, last
        if y0 > y1:
            y0, x0, first, y1, x1, last = y1, x1, last, y0, x0, first
        first, last = max(first, 0), min(last, rows)
        if first >= last:
            continue
        slope = (x1 - x0) / (y1 - y0)
        for r in range(first, last):
            x = x0 + (low + r * step - y0) * slope
            at = counts[r]
            while at > 0 and xs[r, at - 1] > x:
                xs[r, at] = xs[r, at - 1]
                at -= 1
            xs[r, at] = x
            counts[r] += 1


@kernel
def _polyhedron_crossings(  # noqa: PLR0917 - numba
    centre: Doubles, lengths: Singles, directions: Doubles, faces: Ints, lattice: Doubles, xs: Doubles,
    counts: Ints,
) -> None:  # fmt: skip
    """Fill where the lines of a lattice cross a polyhedron; see `crossings`."""
    planes, rows = int(lattice[2]), int(lattice[5])
    p = np.zeros((3, 3))
    for f in range(faces.shape[0]):
        for c in range(3):
            k = faces[f, c]
            for d in range(3):
                p[c, d] = centre[d] + lengths[k] * directions[k, d]
        twice = (p[1, 0] - p[0, 0]) * (p[2, 1] - p[0, 1]) - (p[2, 0] - p[0, 0]) * (p[1, 1] - p[0, 1])
        if abs(twice) < 1e-12:  # seen edge on
            continue
        z0, z1 = min(p[0, 0], p[1, 0], p[2, 0]), max(p[0, 0], p[1, 0], p[2, 0])
        y0, y1 = min(p[0, 1], p[1, 1], p[2, 1]), max(p[0, 1], p[1, 1], p[2, 1])
        for q in range(max(int(np.ceil((z0 - lattice[0]) / lattice[1])), 0), planes):
            z = lattice[0] + q * lattice[1]
            if z > z1:
                break
            for r in range(max(int(np.ceil((y0 - lattice[3]) / lattice[4])), 0), rows):
                y = lattice[3] + r * lattice[4]
                if y > y1:
                    break
                u = ((z - p[0, 0]) * (p[2, 1] - p[0, 1]) - (p[2, 0] - p[0, 0]) * (y - p[0, 1])) / twice
                v = ((p[1, 0] - p[0, 0]) * (y - p[0, 1]) - (z - p[0, 0]) * (p[1, 1] - p[0, 1])) / twice
                line = q * rows + r
                at = counts[line]
                if u < 0.0 or v < 0.0 or u + v > 1.0 or at == xs.shape[1]:
                    continue
                x = p[0, 2] + u * (p[1, 2] - p[0, 2]) + v * (p[2, 2] - p[0, 2])
                while at > 0 and xs[line, at - 1] > x:
                    xs[line, at] = xs[line, at - 1]
                    at -= 1
                xs[line, at] = x
                counts[line] += 1


@kernel
def crossings(  # noqa: PLR0917 - numba
    centre: Doubles, lengths: Singles, directions: Doubles, faces: Any, lattice: Doubles, xs: Doubles,
    counts: Ints,
) -> None:  # fmt: skip
    """Fill the sorted x at which each line of a lattice enters and leaves a shape, and how many they are.

    ``lattice`` is (first z, step, planes, first y, step, rows); line ``z * rows + y``. No faces (None): a polygon; each
    case is compiled when it is first met.
    """
    lines = int(lattice[2]) * int(lattice[5])
    for line in range(lines):
        counts[line] = 0
    if faces is None:
        _polygon_crossings(centre, lengths, directions, lattice, xs, counts)
    else:
        _polyhedron_crossings(centre, lengths, directions, faces, lattice, xs, counts)


@kernel
def _most_crossings(directions: Doubles, faces: Any) -> Any:
    """Return how often a line can cross a shape: no polygon edge twice, and few faces lie behind a line."""
    if faces is None:
        return directions.shape[0] + 2
    return 4 * int(np.sqrt(faces.shape[0])) + 20


@kernel
def _share(  # noqa: PLR0917 - numba
    xs: Doubles, counts: Ints, other: Doubles, other_counts: Ints, lattice: Doubles, enough: float
) -> Any:
    """Tell whether two shapes share more than enough: the length of all lines in both, times their spacing."""
    lines, row, plane = int(lattice[2] * lattice[5]), lattice[4], lattice[1]
    total = 0.0
    for line in range(lines):
        a, b = 0, 0
        while a + 1 < counts[line] and b + 1 < other_counts[line]:
            low, high = max(xs[line, a], other[line, b]), min(xs[line, a + 1], other[line, b + 1])
            if high > low:
                total += high - low
            if xs[line, a + 1] < other[line, b + 1]:
                a += 2
            else:
                b += 2
        if total * row * plane > enough:  # it only grows
            return True
    return False


@kernel
def _lens(r: float, s: float, d: float) -> Any:
    """Return the area that two discs share whose centres lie d apart."""
    if d >= r + s:
        return 0.0
    if d <= abs(r - s):
        return np.pi * min(r, s) ** 2
    a = np.arccos(min(max((d * d + r * r - s * s) / (2 * d * r), -1.0), 1.0))
    b = np.arccos(min(max((d * d + s * s - r * r) / (2 * d * s), -1.0), 1.0))
    return r * r * (a - np.sin(a) * np.cos(a)) + s * s * (b - np.sin(b) * np.cos(b))


@kernel
def _laid(  # noqa: PLR0917 - numba
    centre: Doubles, lengths: Singles, directions: Doubles, least: int, most: int, lattice: Doubles
) -> None:
    """Fill the lattice that covers a shape: lines a pixel apart, at least and at most so many along each axis."""
    low0, high0, low1, high1 = np.inf, -np.inf, np.inf, -np.inf
    for k in range(directions.shape[0]):
        z, y = centre[0] + lengths[k] * directions[k, 0], centre[1] + lengths[k] * directions[k, 1]
        low0, high0 = min(low0, z), max(high0, z)
        low1, high1 = min(low1, y), max(high1, y)
    rows = min(max(int(np.ceil(high1 - low1)), least), most)
    lattice[4] = max((high1 - low1) / rows, 1e-9)
    lattice[3] = low1 + 0.5 * lattice[4] + OFF_Y
    lattice[5] = rows
    if high0 > low0:
        planes = min(max(int(np.ceil(high0 - low0)), least), most)
        lattice[1] = (high0 - low0) / planes
        lattice[0] = low0 + 0.5 * lattice[1] + OFF_Z
        lattice[2] = planes
    else:
        lattice[0], lattice[1], lattice[2] = low0, 1.0, 1


@kernel
def _near(  # noqa: PLR0917 - numba
    i: int, centres: Doubles, outer: Doubles, cells: Ints, cell_of: Ints, cell_reach: Doubles, box_px: float,
    farthest: float, grid: Ints, gone: NDArray[np.bool_], found: Ints,
) -> int:  # fmt: skip
    """Fill the candidates still there whose discs about their centres meet that of candidate i; return how many."""
    low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for d in range(3):
        low[d] = max(int(np.floor((centres[i, d] - outer[i] - farthest) / box_px)), 0)
        high[d] = min(int(np.floor((centres[i, d] + outer[i] + farthest) / box_px)), grid[d] - 1)
    n = 0
    for q in range(low[0], high[0] + 1):
        off_q = max(q * box_px - centres[i, 0], centres[i, 0] - (q + 1) * box_px, 0.0)
        for r in range(low[1], high[1] + 1):
            off_r = max(r * box_px - centres[i, 1], centres[i, 1] - (r + 1) * box_px, 0.0)
            for s in range(low[2], high[2] + 1):
                box = (q * grid[1] + r) * grid[2] + s
                off_s = max(s * box_px - centres[i, 2], centres[i, 2] - (s + 1) * box_px, 0.0)
                if off_q * off_q + off_r * off_r + off_s * off_s > (outer[i] + cell_reach[box]) ** 2:
                    continue
                for c in range(cell_of[box], cell_of[box + 1]):
                    j = cells[c]
                    if gone[j]:
                        continue
                    z, y, x = (
                        centres[i, 0] - centres[j, 0],
                        centres[i, 1] - centres[j, 1],
                        centres[i, 2] - centres[j, 2],
                    )
                    if z * z + y * y + x * x < (outer[i] + outer[j]) ** 2:
                        found[n] = j
                        n += 1
    return n


@kernel
def suppress(  # noqa: PLR0917 - numba
    order: Ints, centres: Doubles, lengths: Singles, directions: Doubles, faces: Any, sizes: Doubles,
    outer: Doubles, inner: Doubles, cells: Ints, cell_of: Ints, cell_reach: Doubles, box_px: float, grid: Ints,
    threshold: float, lines: Ints, kept: NDArray[np.bool_], middles: Doubles,
) -> None:  # fmt: skip
    """Mark the candidates that stay: each, in ``order``, takes away those it overlaps by more than ``threshold``.

    The overlap is what both share over the smaller one (Schmidt et al. 2018). ``cells`` lists candidates by boxes of a
    coarse grid (``cell_of[b]`` to ``cell_of[b + 1]``), ``cell_reach`` is the largest outer radius in a box. In the
    plane two discs within and around the shapes settle most pairs before their lines are looked at; those within lie
    about ``middles`` (y, x from the centres).
    """
    flat = faces is None
    deepest = _most_crossings(directions, faces)
    n_lines = lines[1] if flat else lines[1] * lines[1]
    xs, counts = np.empty((2, n_lines, deepest)), np.zeros((2, n_lines), np.int64)
    lattice = np.zeros(6)
    gone = np.zeros(order.size, np.bool_)
    found = np.empty(order.size, np.int64)
    farthest = cell_reach.max()
    for i in order:
        if gone[i]:
            continue
        kept[i] = True
        gone[i] = True
        n = _near(i, centres, outer, cells, cell_of, cell_reach, box_px, farthest, grid, gone, found)
        drawn = False
        at = 0
        while at < n:
            j = found[at]
            if flat:
                apart = np.sqrt((centres[i, 1] - centres[j, 1]) ** 2 + (centres[i, 2] - centres[j, 2]) ** 2)
                enough = threshold * min(sizes[i], sizes[j])
                box = 2 * min(outer[i], outer[j]) * (outer[i] + outer[j] - apart)  # holds what the outer discs share
                if box <= enough:
                    at += 1
                    continue
                off_y = centres[i, 1] + middles[i, 0] - centres[j, 1] - middles[j, 0]
                off_x = centres[i, 2] + middles[i, 1] - centres[j, 2] - middles[j, 1]
                within = _lens(inner[i], inner[j], np.sqrt(off_y * off_y + off_x * off_x))
                gone[j] = within > 1.02 * enough  # lines measure to a percent
                if gone[j] or _lens(outer[i], outer[j], apart) <= enough:
                    at += 1
                    continue
            if not drawn:
                _laid(centres[i], lengths[i], directions, lines[0], lines[1], lattice)
            who, side = (j, 1) if drawn else (i, 0)
            crossings(centres[who], lengths[who], directions, faces, lattice, xs[side], counts[side])
            if drawn:
                enough = threshold * min(sizes[i], sizes[j])
                gone[j] = _share(xs[0], counts[0], xs[1], counts[1], lattice, enough)
                at += 1
            drawn = True


@kernel
def draw(centres: Doubles, lengths: Singles, directions: Doubles, faces: Any, labels: NDArray[np.uint32]) -> None:
    """Draw shapes 1..n into (z, y, x); a pixel belongs to the first shape that holds its centre."""
    nz, ny, nx = labels.shape
    flat = faces is None
    deepest = _most_crossings(directions, faces)
    lattice = np.zeros(6)
    xs, counts = np.empty((1, deepest)), np.zeros(1, np.int64)
    for i in range(lengths.shape[0]):
        z0, z1, y0, y1 = np.inf, -np.inf, np.inf, -np.inf
        for k in range(directions.shape[0]):
            z, y = centres[i, 0] + lengths[i, k] * directions[k, 0], centres[i, 1] + lengths[i, k] * directions[k, 1]
            z0, z1, y0, y1 = min(z0, z), max(z1, z), min(y0, y), max(y1, y)
        first_z, last_z = max(int(np.ceil(z0)), 0), min(int(np.floor(z1)), nz - 1)
        first_y, last_y = max(int(np.ceil(y0)), 0), min(int(np.floor(y1)), ny - 1)
        planes, rows = last_z - first_z + 1, last_y - first_y + 1
        if planes <= 0 or rows <= 0:
            continue
        if planes * rows > counts.size:
            xs, counts = np.empty((planes * rows, deepest)), np.zeros(planes * rows, np.int64)
        off_z, off_y = (0.0, 0.0) if flat else (OFF_Z, OFF_Y)
        lattice[0], lattice[1], lattice[2] = first_z + off_z, 1.0, planes
        lattice[3], lattice[4], lattice[5] = first_y + off_y, 1.0, rows
        crossings(centres[i], lengths[i], directions, faces, lattice, xs, counts)
        for line in range(planes * rows):
            z, y = first_z + line // rows, first_y + line % rows
            for a in range(0, counts[line] - 1, 2):
                begin, end = max(int(np.ceil(xs[line, a])), 0), min(int(np.ceil(xs[line, a + 1])), nx)
                for x in range(begin, end):
                    if labels[z, y, x] == 0:
                        labels[z, y, x] = i + 1
