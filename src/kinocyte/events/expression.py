"""A small language of conditions and formulas on the columns of a table; nothing in it is ever executed as Python.

``mean_pi > 200 and area_um2 < 80`` is read into a syntax tree, every node of the tree is looked up in a short list of
what is allowed, and the result is a polars expression. Names are columns, never variables or functions of Python.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from kinocyte.core.errors import ParameterError, TableError, nearest

#: what a hostile or broken file may not exceed
MAX_CHARACTERS = 4000
MAX_DEPTH = 60

_TOKEN = re.compile(
    r"""(?P<text>'[^'\\\n]*'|"[^"\\\n]*")|`(?P<quoted>[^`\n]+)`|(?P<name>[^\W\d]\w*)|(?P<op>&&|\|\||!=|[&|!~])"""
    r"""|(?P<number>\d[\d_.]*(?:[eE][+-]?\d+)?)|(?P<rest>[-+*/%()<>=,.\[\]\s])|(?P<unknown>.)""",
    re.DOTALL | re.VERBOSE,
)
_WORDS = MappingProxyType({"and": "and", "or": "or", "not": "not", "true": "True", "false": "False", "in": "in"})
_SIGNS = MappingProxyType({"&": " and ", "&&": " and ", "|": " or ", "||": " or ", "!": " not ", "~": " not "})


@dataclass(frozen=True, slots=True)
class Expression:
    """A formula that was read and found to hold only what is allowed.

    ``columns`` are the columns it names, in order of appearance; ``needs_time`` tells whether it looks along tracks.
    """

    text: str
    tree: ast.expr = field(repr=False, compare=False)
    columns: tuple[str, ...]
    needs_time: bool
    #: what stands in the tree for each column
    _names: Mapping[str, str] = field(repr=False, compare=False)

    def column_of(self, name: str) -> str:
        """Return the column that a name of the tree means."""
        return self._names[name]


def columns_of(text: str) -> tuple[str, ...]:
    """Return the columns an expression names, in order of appearance.

    Raises
    ------
    ParameterError
        If the expression cannot be read.
    """
    return parse(text).columns


@lru_cache(maxsize=256)
def parse(text: str) -> Expression:
    """Read an expression.

    Parameters
    ----------
    text : str
        Columns (in backticks where the name is no plain word), numbers, ``'text'``, ``true``, ``false``;
        ``+ - * / // % **``; ``< <= > >= == !=``, also in chains (``10 < area_um2 < 80``); ``in ('a', 'b')``; ``and or
        not`` in either case or ``& | !``, which bind as loosely as the words; parentheses; the functions of
        `kinocyte.events.functions`; the word ``auto`` on one side of a comparison stands for a threshold found in
        the data by `kinocyte.events.suggest_threshold`.

    Raises
    ------
    ParameterError
        If it is empty, longer than 4000 characters, nested deeper than 60 levels, or holds anything else.
    """
    if not text.strip():
        msg = "The expression is empty; write a condition such as 'mean_pi > 200'."
        raise ParameterError(msg)
    if len(text) > MAX_CHARACTERS:
        msg = f"The expression has {len(text)} characters; at most {MAX_CHARACTERS} are read."
        raise ParameterError(msg)
    source, names = _translate(text)
    _limit_brackets(source, text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or "it is nested too deeply"
        raise refuse(text, f"it cannot be read ({reason})") from error
    used, needs_time = _check(tree, names, text)
    return Expression(text=text.strip(), tree=tree, columns=used, needs_time=needs_time, _names=names)


def refuse(text: str, why: str) -> ParameterError:
    """Return the error for an expression that is not accepted."""
    shown = text if len(text) <= 120 else f"{text[:117]}..."
    return ParameterError(f"The expression {shown!r} is refused: {why}; write a condition such as 'mean_pi > 200'.")


def _translate(text: str) -> tuple[str, dict[str, str]]:
    """Return Python spelling of the text, and the column of each name in it."""
    parts: list[str] = []
    names: dict[str, str] = {}
    place: dict[str, str] = {}
    for token in _TOKEN.finditer(text):
        kind, value = str(token.lastgroup), token[0]
        if kind == "unknown":
            raise refuse(text, f"it holds the character {value!r}")
        if kind == "op" and value != "!=":
            value = _SIGNS[value]
        elif kind == "rest" and value.isspace():
            value = " "
        elif kind == "name" and value.lower() in _WORDS:
            value = _WORDS[value.lower()]
        elif kind in {"name", "quoted"}:
            # names of our own: a column may be called as a keyword of Python, and Python would rewrite some letters
            column = token["quoted"] or value
            value = place.setdefault(column, f"c{len(place)}")
            names[value] = column
        parts.append(value)
    source = "".join(parts)
    if re.search(r"(?<![<>=!])=(?!=)", _outside_text(source)):
        raise refuse(text, "it holds a single '='; equality is written '=='")
    return source, names


def _outside_text(source: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", "''", source)


def _limit_brackets(source: str, text: str) -> None:
    depth = 0
    for sign in _outside_text(source):
        depth += (sign in "([") - (sign in ")]")
        if depth > MAX_DEPTH:
            raise refuse(text, f"its brackets are nested deeper than {MAX_DEPTH} levels")


_ALLOWED = (
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub, ast.Mult,
    ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.Compare, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.In,
    ast.NotIn, ast.Tuple, ast.List, ast.Call, ast.Name, ast.Constant, ast.Load,
)  # fmt: skip


def _check(tree: ast.expr, names: Mapping[str, str], text: str) -> tuple[tuple[str, ...], bool]:
    """Return the columns in the tree and whether it looks along tracks; refuse what is not on the list."""
    from kinocyte.events.functions import FUNCTIONS, TIME, along_track

    used: dict[str, None] = {}
    needs_time = False
    waiting: list[tuple[ast.AST, int]] = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop(0)
        if depth > MAX_DEPTH:
            raise refuse(text, f"it is nested deeper than {MAX_DEPTH} levels")
        if not isinstance(node, _ALLOWED):
            raise refuse(text, f"{type(node).__name__.lower()} is not part of the language")
        children: list[ast.AST] = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.keywords:
                raise refuse(text, "a function is written with its name and plain arguments, such as log(area_um2)")
            name = names[node.func.id]
            if name not in FUNCTIONS:
                raise refuse(text, f"there is no function '{name}'; {nearest(name, FUNCTIONS)}")
            if along_track(name):
                needs_time = True
            if name in TIME:
                used["time_min"] = None
            children.remove(node.func)
        elif isinstance(node, ast.Name) and names[node.id] != "auto":
            used[names[node.id]] = None
        elif isinstance(node, ast.Constant):
            _check_constant(node.value, text)
        waiting += [(child, depth + 1) for child in children]
    return tuple(used), needs_time


def _check_constant(value: object, text: str) -> None:
    if isinstance(value, bool | str) or (isinstance(value, int | float) and math.isfinite(float(_small(value)))):
        return
    raise refuse(text, f"{str(value)[:30]} is no number that can be computed with")


def _small(value: float) -> float:
    """Return the number, infinite where it has no place in 64 bits."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def missing_column(name: str, columns: list[str], text: str) -> TableError:
    """Return the error for a column that a table lacks."""
    hint = nearest(name, columns)
    return TableError(f"The expression {text!r} names the column '{name}', which the table lacks; {hint}.")
