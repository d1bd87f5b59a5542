"""Gates drawn on two columns, as conditions that a pipeline file, a query and a table understand."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kinocyte.core.errors import ParameterError

Vertex = Sequence[float]


def rectangle_gate(x: str, y: str, corner: Vertex, opposite: Vertex) -> str:
    """Return the condition of a rectangle on two columns, such as ``10 <= area_um2 <= 80 and 1 <= mean_pi <= 9``.

    Parameters
    ----------
    x, y : str
        Columns.
    corner, opposite : (float, float)
        Two corners that face each other; the border belongs to the gate.

    Raises
    ------
    ParameterError
        If a number is not finite or the rectangle has no area.
    """
    points = _checked([corner, opposite])
    (x0, y0), (x1, y1) = points
    if x0 == x1 or y0 == y1:
        msg = "A gate needs a width and a height; draw it again."
        raise ParameterError(msg)
    sides = [
        f"{_number(min(a, b))} <= {column_text(c)} <= {_number(max(a, b))}" for c, a, b in ((x, x0, x1), (y, y0, y1))
    ]
    return " and ".join(sides)


def polygon_gate(x: str, y: str, vertices: Sequence[Vertex]) -> str:
    """Return the condition of a polygon on two columns.

    A convex polygon is one half-plane a side. Any other that does not cross itself is cut into triangles, of which one
    must hold; triangles that together are convex stay together.

    Parameters
    ----------
    x, y : str
        Columns.
    vertices : sequence of (float, float)
        At least three corners in order; the border belongs to the gate.

    Raises
    ------
    ParameterError
        If there are fewer than three corners, more than 60, the polygon crosses itself or has no area.
    """
    points = _checked(vertices)
    if len(points) > 60:
        msg = f"The gate has {len(points)} corners; draw it with at most 60."
        raise ParameterError(msg)
    area = _area(points)
    if len(points) < 3 or area == 0 or not math.isfinite(area):
        msg = "A gate needs at least three corners that enclose an area; draw it again."
        raise ParameterError(msg)
    if _crosses_itself(points):
        msg = "The outline of the gate crosses itself; draw it again."
        raise ParameterError(msg)
    if area < 0:
        points = points[::-1]
    parts = _joined(_ears(points))
    texts = [_convex(x, y, part) for part in parts]
    return texts[0] if len(texts) == 1 else " or ".join(f"({t})" for t in texts)


def column_text(name: str) -> str:
    """Return a column as it stands in an expression: in backticks where it is no plain word."""
    return name if name.isidentifier() else f"`{name}`"


def _checked(vertices: Sequence[Vertex]) -> list[tuple[float, float]]:
    points = [(float(p[0]), float(p[1])) for p in vertices]
    if not all(math.isfinite(v) for p in points for v in p):
        msg = "A corner of the gate is not finite; draw it again."
        raise ParameterError(msg)
    kept = [p for i, p in enumerate(points) if p != points[i - 1] or len(points) == 1]
    return kept or points[:1]


def _number(value: float) -> str:
    return repr(float(f"{value:.9g}"))


def _area(points: Sequence[tuple[float, float]]) -> float:
    """Return twice the signed area; positive where the corners run counter-clockwise."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, [*points[1:], points[0]], strict=True))


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _crosses_itself(points: list[tuple[float, float]]) -> bool:
    n = len(points)
    sides = [(points[i], points[(i + 1) % n]) for i in range(n)]
    for i in range(n):
        for j in range(i + 2, n):
            if i == 0 and j == n - 1:
                continue
            (a, b), (c, d) = sides[i], sides[j]
            if _turn(a, b, c) * _turn(a, b, d) <= 0 and _turn(c, d, a) * _turn(c, d, b) <= 0 and _near(a, b, c, d):
                return True
    return False


def _near(*points: tuple[float, float]) -> bool:
    """Tell whether the boxes of two sides overlap, for sides on one line."""
    a, b, c, d = points
    return all(
        max(min(a[k], b[k]), min(c[k], d[k])) <= min(max(a[k], b[k]), max(c[k], d[k])) for k in (0, 1)
    )  # fmt: skip


Part = list[tuple[float, float]]


def _ears(points: Part) -> list[Part]:
    """Return triangles that fill a simple polygon whose corners run counter-clockwise (ear clipping)."""
    left, triangles = list(points), []
    while len(left) > 3:
        n = len(left)
        for i in range(n):
            a, b, c = left[i - 1], left[i], left[(i + 1) % n]
            others = (p for k, p in enumerate(left) if k not in {(i - 1) % n, i, (i + 1) % n})
            if _turn(a, b, c) > 0 and not any(_in_triangle(p, a, b, c) for p in others):
                triangles.append([a, b, c])
                del left[i]
                break
        else:  # what is left are corners on one line, which enclose nothing
            flat = next((i for i in range(n) if _turn(left[i - 1], left[i], left[(i + 1) % n]) == 0), None)
            if flat is None:
                msg = "The outline of the gate touches itself; draw it again."
                raise ParameterError(msg)
            del left[flat]
    if _turn(*left) > 0:
        triangles.append(left)
    return triangles


def _in_triangle(p: tuple[float, float], *corners: tuple[float, float]) -> bool:
    a, b, c = corners
    return _turn(a, b, p) >= 0 and _turn(b, c, p) >= 0 and _turn(c, a, p) >= 0


def _joined(parts: list[Part]) -> list[Part]:
    """Return parts joined along common sides while the result is convex (Hertel and Mehlhorn 1983)."""
    parts = [list(p) for p in parts]
    joined = True
    while joined:
        joined = False
        for i in range(len(parts)):
            for j in range(i + 1, len(parts)):
                whole = _along_common_side(parts[i], parts[j])
                if whole is not None and _is_convex(whole):
                    parts[i] = whole
                    del parts[j]
                    joined = True
                    break
            if joined:
                break
    return parts


def _along_common_side(first: Part, second: Part) -> Part | None:
    for i, a in enumerate(first):
        b = first[(i + 1) % len(first)]
        for j, c in enumerate(second):
            if c == b and second[(j + 1) % len(second)] == a:
                begin = [*first[i + 1 :], *first[: i + 1]]  # from b round to a
                rest = [second[(j + 2 + k) % len(second)] for k in range(len(second) - 2)]
                return [*begin, *rest]
    return None


def _is_convex(points: Part) -> bool:
    n = len(points)
    return all(_turn(points[i - 1], points[i], points[(i + 1) % n]) >= 0 for i in range(n))


def _convex(x: str, y: str, points: Part) -> str:
    """Return one half-plane a side; sides along an axis are plain limits."""
    tests = []
    for a, b in zip(points, [*points[1:], points[0]], strict=True):
        dx, dy = b[0] - a[0], b[1] - a[1]
        if dx == 0:
            tests.append(f"{column_text(x)} {'<=' if dy > 0 else '>='} {_number(a[0])}")
        elif dy == 0:
            tests.append(f"{column_text(y)} {'>=' if dx > 0 else '<='} {_number(a[1])}")
        else:
            slope = dy / dx
            sign = ">=" if dx > 0 else "<="
            turn, steep = ("-", slope) if slope > 0 else ("+", -slope)
            side = f"{column_text(y)} {turn} {_number(steep)} * {column_text(x)}"
            tests.append(f"{side} {sign} {_number(a[1] - slope * a[0])}")
    return " and ".join(tests)
