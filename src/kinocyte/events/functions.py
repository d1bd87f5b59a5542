"""The functions of the expression language, and the compiler from its tree to polars."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import polars as pl

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.events.expression import Expression, missing_column, parse, refuse

Kind = Literal["number", "truth", "text"]

_PLAIN: Mapping[str, Callable[[pl.Expr], pl.Expr]] = MappingProxyType(
    {
        "abs": lambda x: x.abs(),
        "log": lambda x: x.log(),
        "log2": lambda x: x.log(2.0),
        "log10": lambda x: x.log10(),
        "sqrt": lambda x: x.sqrt(),
        "exp": lambda x: x.exp(),
    }
)
_TRACK: Mapping[str, Callable[[pl.Expr], pl.Expr]] = MappingProxyType(
    {
        "first": lambda x: x.drop_nulls().first(),
        "last": lambda x: x.drop_nulls().last(),
        "track_mean": lambda x: x.mean(),
        "track_median": lambda x: x.median(),
        "track_min": lambda x: x.min(),
        "track_max": lambda x: x.max(),
        "track_std": lambda x: x.std(),
    }
)
_ROLLING = ("rolling_mean", "rolling_median", "rolling_min", "rolling_max", "rolling_std")
_DIRECTIONS = ("backward", "forward", "centred")
#: functions that read the time of the rows
TIME = frozenset({"rate"})
#: every function by name, with what it takes
FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(_PLAIN, "x"),
        **dict.fromkeys(("min", "max"), "x, y, ..: the smaller or larger of several values of one row"),
        "is_null": "x: true where there is no value",
        **dict.fromkeys(_TRACK, "x: one value for the whole track"),
        **dict.fromkeys(_ROLLING, "x, n: over n observations of the track, centred"),
        "diff": "x, n = 1, direction = 'backward': change over n observations of the track",
        "rate": "x, n = 1, direction = 'backward': that change per minute",
    }
)


def along_track(name: str) -> bool:
    """Tell whether a function looks at other rows of the same track."""
    return name in _TRACK or name in _ROLLING or name in {"diff", "rate"}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A polars expression, what it yields, and the numbers that columns were compared with."""

    expr: pl.Expr
    kind: Kind
    thresholds: tuple[float, ...]
    text: str
    #: where all of it is one comparison of a measured value with a number: that value, and whether it must be larger
    signal: pl.Expr | None = None
    rising: bool = True

    @property
    def threshold(self) -> float | None:
        """Return the one number that decides, or None where there are several or none."""
        return self.thresholds[0] if len(self.thresholds) == 1 else None


def compile_expression(text: str, frame: pl.DataFrame, *, track: str | None = None) -> Compiled:
    """Return an expression as polars computes it on a table.

    NaN counts as no value, a comparison with no value is unknown, and ``unknown or true`` is true.

    Parameters
    ----------
    text : str
        As `kinocyte.events.expression.parse` reads it.
    frame : polars.DataFrame
        The table it will be evaluated on; rows of a track in order of time where the expression looks along tracks.
    track : str, optional
        Column that tells the tracks apart; needed by functions that look along tracks.

    Raises
    ------
    ParameterError
        If the expression is refused, or looks along tracks where there are none.
    TableError
        If a column is missing or of a type that does not fit.
    """
    parsed = parse(text)
    if parsed.needs_time and track is None:
        raise refuse(text, "it looks along tracks, and the table has no track_id")
    compiler = _Compiler(parsed, frame, track)
    expr, kind = compiler.visit(parsed.tree)
    shown = parsed.text
    for value in compiler.found:
        shown = shown.replace("auto", repr(value), 1)
    signal, rising = compiler.compared(parsed.tree)
    return Compiled(expr, kind, tuple(compiler.thresholds), shown, signal, rising)


def condition(text: str, frame: pl.DataFrame, *, track: str | None = None) -> Compiled:
    """Return `compile_expression` of an expression that must be true or false.

    Raises
    ------
    ParameterError
        If it yields numbers or text.
    """
    compiled = compile_expression(text, frame, track=track)
    if compiled.kind != "truth":
        raise refuse(text, f"it yields a {compiled.kind}, but must be true or false; compare it with something")
    return compiled


def formula(text: str, frame: pl.DataFrame, *, track: str | None = None) -> Compiled:
    """Return `compile_expression` of an expression that must be a number.

    Raises
    ------
    ParameterError
        If it yields text or is true or false.
    """
    compiled = compile_expression(text, frame, track=track)
    if compiled.kind != "number":
        what = "text" if compiled.kind == "text" else "true or false"
        raise ParameterError(f"The expression {text!r} yields {what}, but must be a number; name a column of numbers.")
    return compiled


_COMPARE: Mapping[type[ast.cmpop], Callable[[pl.Expr, pl.Expr], pl.Expr]] = MappingProxyType(
    {
        ast.Lt: lambda a, b: a < b,
        ast.LtE: lambda a, b: a <= b,
        ast.Gt: lambda a, b: a > b,
        ast.GtE: lambda a, b: a >= b,
        ast.Eq: lambda a, b: a == b,
        ast.NotEq: lambda a, b: a != b,
    }
)
_ARITHMETIC: Mapping[type[ast.operator], Callable[[pl.Expr, pl.Expr], pl.Expr]] = MappingProxyType(
    {
        ast.Add: lambda a, b: a + b,
        ast.Sub: lambda a, b: a - b,
        ast.Mult: lambda a, b: a * b,
        ast.Div: lambda a, b: a / b,
        ast.FloorDiv: lambda a, b: a // b,
        ast.Mod: lambda a, b: a % b,
        ast.Pow: lambda a, b: a**b,
    }
)


@dataclass(slots=True)
class _Compiler:
    parsed: Expression
    frame: pl.DataFrame
    track: str | None
    thresholds: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)

    def visit(self, node: ast.expr) -> tuple[pl.Expr, Kind]:
        """Return a node as polars and what it yields."""
        match node:
            case ast.Constant():
                return self._constant(node.value)
            case ast.Name():
                return self._column(self.parsed.column_of(node.id))
            case ast.BoolOp():
                parts = [self._truth(v) for v in node.values]
                both = pl.all_horizontal if isinstance(node.op, ast.And) else pl.any_horizontal
                return both(parts), "truth"
            case ast.UnaryOp(op=ast.Not()):
                return ~self._truth(node.operand), "truth"
            case ast.UnaryOp():
                value = self._number(node.operand)
                return (-value if isinstance(node.op, ast.USub) else value), "number"
            case ast.BinOp():
                value = _ARITHMETIC[type(node.op)](self._number(node.left), self._number(node.right))
                return value.fill_nan(None), "number"
            case ast.Compare():
                return self._compare(node), "truth"
            case ast.Call(func=ast.Name(id=called)):
                return self._call(self.parsed.column_of(called), node.args)
        raise refuse(self.parsed.text, "a list stands only behind 'in'")

    def _constant(self, value: object) -> tuple[pl.Expr, Kind]:
        if isinstance(value, bool):
            return pl.lit(value), "truth"
        if isinstance(value, str):
            return pl.lit(value), "text"
        return pl.lit(float(value), dtype=pl.Float64), "number"  # type: ignore[arg-type]  # the parser lets no other in

    def _column(self, name: str) -> tuple[pl.Expr, Kind]:
        if name not in self.frame.columns:
            if name == "auto":
                raise refuse(self.parsed.text, "'auto' stands alone on one side of a comparison with < or >")
            raise missing_column(name, self.frame.columns, self.parsed.text)
        dtype = self.frame.schema[name]
        if dtype == pl.Boolean:
            return pl.col(name), "truth"
        if dtype in {pl.String, pl.Categorical, pl.Enum}:
            return pl.col(name).cast(pl.String), "text"
        if dtype.is_numeric() or dtype == pl.Null:
            # unsigned integers would wrap around below 0, and NaN would be larger than any number
            return pl.col(name).cast(pl.Float64).fill_nan(None), "number"
        msg = (
            f"The column '{name}' of the expression {self.parsed.text!r} holds {dtype}; use numbers, text or booleans."
        )
        raise TableError(msg)

    def _expect(self, node: ast.expr, kind: Kind) -> pl.Expr:
        expr, got = self.visit(node)
        if got != kind:
            names = {"number": "a number", "truth": "true or false", "text": "text"}
            part = self._shown(node)
            raise refuse(self.parsed.text, f"{part} is {names[got]} where {names[kind]} is needed")
        return expr

    def _shown(self, node: ast.expr) -> str:
        """Return a part of the expression as it was written."""
        if isinstance(node, ast.Name):
            return f"'{self.parsed.column_of(node.id)}'"
        return repr(node.value) if isinstance(node, ast.Constant) else "a part of it"

    def _truth(self, node: ast.expr) -> pl.Expr:
        return self._expect(node, "truth")

    def _number(self, node: ast.expr) -> pl.Expr:
        return self._expect(node, "number")

    def _compare(self, node: ast.Compare) -> pl.Expr:
        sides = [node.left, *node.comparators]
        parts = [self._one(left, op, right) for left, op, right in zip(sides, node.ops, sides[1:], strict=False)]
        return pl.all_horizontal(parts) if len(parts) > 1 else parts[0]

    def _one(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pl.Expr:
        if isinstance(op, ast.In | ast.NotIn):
            return self._member(left, right, negated=isinstance(op, ast.NotIn))
        if self._is_auto(left) != self._is_auto(right):
            return self._against_auto(left, op, right)
        (a, kind), (b, other) = self.visit(left), self.visit(right)
        if kind != other:
            raise refuse(
                self.parsed.text, f"{self._shown(left)} ({kind}) is compared with {self._shown(right)} ({other})"
            )
        if kind != "number" and not isinstance(op, ast.Eq | ast.NotEq):
            raise refuse(self.parsed.text, f"only numbers are larger or smaller, {self._shown(left)} is {kind}")
        self.thresholds += [v for v in map(_fixed, (left, right)) if v is not None]
        return _COMPARE[type(op)](a, b)

    def compared(self, node: ast.expr) -> tuple[pl.Expr | None, bool]:
        """Return what a lone comparison compares with a number, and whether that has to be larger; None for others."""
        if not (isinstance(node, ast.Compare) and len(node.ops) == 1):
            return None, True
        left, op, right = node.left, node.ops[0], node.comparators[0]
        fixed = [_fixed(side) is not None or self._is_auto(side) for side in (left, right)]
        larger = isinstance(op, ast.Gt | ast.GtE)
        if fixed == [True, True] or not any(fixed) or not (larger or isinstance(op, ast.Lt | ast.LtE)):
            return None, True
        return self._number(right if fixed[0] else left), larger != fixed[0]

    def _is_auto(self, node: ast.expr) -> bool:
        name = self.parsed.column_of(node.id) if isinstance(node, ast.Name) else ""
        return name == "auto" and "auto" not in self.frame.columns

    def _against_auto(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pl.Expr:
        from kinocyte.events.thresholds import suggest_threshold

        if isinstance(op, ast.Eq | ast.NotEq):
            raise refuse(self.parsed.text, "'auto' stands alone on one side of a comparison with < or >")
        measured = self._number(right if self._is_auto(left) else left)
        found = suggest_threshold(self.frame.select(measured).to_series().drop_nulls().to_numpy())
        self.thresholds.append(found.threshold)
        self.found.append(found.threshold)
        value = pl.lit(found.threshold)
        return _COMPARE[type(op)](value, measured) if self._is_auto(left) else _COMPARE[type(op)](measured, value)

    def _member(self, left: ast.expr, right: ast.expr, *, negated: bool) -> pl.Expr:
        items = right.elts if isinstance(right, ast.Tuple | ast.List) else [right]
        values = [_fixed(v) if _fixed(v) is not None else getattr(v, "value", None) for v in items]
        expr, kind = self.visit(left)
        fits = {"number": (float,), "text": (str,), "truth": (bool,)}[kind]
        if not values or not all(isinstance(v, fits) for v in values):
            raise refuse(self.parsed.text, f"behind 'in' stands a list of what {self._shown(left)} holds: {kind}s")
        found = pl.any_horizontal([expr == pl.lit(v) for v in values])
        return ~found if negated else found

    def _call(self, name: str, args: list[ast.expr]) -> tuple[pl.Expr, Kind]:
        if name == "is_null" and len(args) == 1:
            return self.visit(args[0])[0].is_null(), "truth"
        if name in {"min", "max"} and len(args) > 1:
            # one missing value makes the answer unknown
            parts = [self._number(a) for a in args]
            best = pl.min_horizontal(parts) if name == "min" else pl.max_horizontal(parts)
            return pl.when(pl.all_horizontal([p.is_not_null() for p in parts])).then(best), "number"
        if name in _PLAIN and len(args) == 1:
            return _PLAIN[name](self._number(args[0])).fill_nan(None), "number"
        if name in _TRACK and len(args) == 1:
            return self._over(_TRACK[name](self._number(args[0]))), "number"
        if name in _ROLLING and len(args) == 2:
            n = self._count(args[1])
            rolled = getattr(self._number(args[0]), name)(n, center=True, min_samples=min(n, 2 if "std" in name else 1))
            return self._over(rolled), "number"
        if name in {"diff", "rate"} and 1 <= len(args) <= 3:
            return self._change(name, args), "number"
        raise refuse(self.parsed.text, f"{name} takes ({FUNCTIONS[name]})")

    def _count(self, node: ast.expr) -> int:
        value = _fixed(node)
        if value is None or value != int(value) or not 1 <= value <= 10_000:
            raise refuse(self.parsed.text, "a number of observations is a whole number from 1 to 10000")
        return int(value)

    def _change(self, name: str, args: list[ast.expr]) -> pl.Expr:
        n = self._count(args[1]) if len(args) > 1 else 1
        direction = getattr(args[2], "value", None) if len(args) > 2 else "backward"
        if direction not in _DIRECTIONS:
            raise refuse(self.parsed.text, f"the direction is one of {', '.join(map(repr, _DIRECTIONS))}")
        change = difference(self._number(args[0]), n, str(direction))
        if name == "rate":
            time = self._column("time_min")[0]
            change = (change / difference(time, n, str(direction))).fill_nan(None)
        return self._over(change)

    def _over(self, expr: pl.Expr) -> pl.Expr:
        return expr.over(str(self.track))


def difference(x: pl.Expr, n: int, direction: str) -> pl.Expr:
    """Return the change of a value over n rows behind, ahead, or on both sides (over 2 n rows)."""
    ahead = x.shift(-n) if direction != "backward" else x
    behind = x.shift(n) if direction != "forward" else x
    return ahead - behind


def _fixed(node: ast.expr) -> float | None:
    """Return the number that stands there, or None."""
    match node:
        case ast.Constant(value=bool()) | ast.Constant(value=str()):
            return None
        case ast.Constant():
            return float(node.value)  # type: ignore[arg-type]  # the parser lets no other in
        case ast.UnaryOp(op=ast.USub()):
            inner = _fixed(node.operand)
            return None if inner is None else -inner
    return None
