"""What is varied: a key of the pipeline file and the values it takes."""

from __future__ import annotations

import itertools
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.pipeline.beside import Keys
from kinocyte.pipeline.model import Pipeline, Population
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.sweep.toml_text import split_key, with_values

_RANGE = re.compile(r"^(?P<low>[-+.\de]+)\.\.(?P<high>[-+.\de]+)(?::(?P<count>\d+))?(?P<log>\s+log)?$", re.IGNORECASE)
_LEFT_OUT = ("none", "off")
#: sections of a pipeline whose parameters can change what is scored
_SCORED = ("segmentation", "filter", "tracking", "mending", "track_filter", "measure")
_MOST_COMBINATIONS = 100_000


@dataclass(frozen=True)
class Axis:
    """One key of the pipeline file that is varied.

    Parameters
    ----------
    key : str
        Dotted, such as ``population.nuclei.tracking.max_distance_um``.
    values : tuple
        What it takes; None leaves the key out. Empty for a range.
    low, high : float, optional
        Ends of a range, from which random and Bayesian search draw.
    log : bool
        Whether the range is even in ratios instead of differences.
    whole : bool
        Whether only whole numbers are drawn.
    """

    key: str
    values: tuple[Any, ...] = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    whole: bool = False

    @property
    def is_range(self) -> bool:
        """Tell whether any value between two ends may be drawn."""
        return not self.values

    @property
    def path(self) -> Keys:
        """Return the parts of the key."""
        return split_key(self.key)

    @property
    def is_method(self) -> bool:
        """Tell whether the axis chooses between methods, which have different parameters."""
        return self.path[-1] == "method"

    def at(self, share: float) -> Any:
        """Return the value at a share of the way through the axis, 0 to 1."""
        if not self.is_range:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        value = min(max(value, self.low), self.high)
        return round(value) if self.whole else float(f"{value:.5g}")

    def samples(self) -> tuple[Any, ...]:
        """Return all values, or both ends of a range."""
        return self.values or (self.at(0.0), self.at(1.0))


def parse_axis(text: str) -> Axis:
    """Return the axis that ``KEY=VALUES`` names.

    Parameters
    ----------
    text : str
        ``KEY=5,10,15`` for values (numbers, words, ``true``, ``none`` to leave the key out, or a TOML array),
        ``KEY=5..20:4`` for four even steps, ``KEY=5..20`` for a range to draw from; `` log`` behind makes it even in
        ratios.

    Raises
    ------
    ParameterError
        If it is not understood.
    """
    key, equals, rest = text.partition("=")
    key, rest = key.strip(), rest.strip()
    if not equals or not key or not rest:
        msg = f"--over '{text}' is not KEY=VALUES; write for example population.nuclei.tracking.max_distance_um=5,10,15"
        raise ParameterError(msg)
    found = _RANGE.match(rest)
    if found is not None:
        return _range(key, text, found)
    values = _array(rest, text) if rest.startswith("[") else tuple(_literal(v.strip()) for v in rest.split(","))
    return Axis(key, tuple(dict.fromkeys(values)) if all(_hashable(v) for v in values) else values)


def _hashable(value: Any) -> bool:
    return not isinstance(value, (list, dict)) and value is not True and value is not False


def _range(key: str, text: str, found: re.Match[str]) -> Axis:
    try:
        low, high = float(found["low"]), float(found["high"])
    except ValueError as error:
        msg = f"--over '{text}' names no range; write LOW..HIGH, such as {key}=5..20"
        raise ParameterError(msg) from error
    log = found["log"] is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not log)):
        need = "0 < LOW < HIGH" if log else "LOW < HIGH"
        msg = f"--over '{text}': a range needs {need}."
        raise ParameterError(msg)
    whole = all(re.fullmatch(r"[-+]?\d+", found[end]) for end in ("low", "high"))
    axis = Axis(key, (), low, high, log, whole)
    if found["count"] is None:
        return axis
    count = int(found["count"])
    if not 1 < count <= 1000:
        msg = f"--over '{text}': take 2 to 1000 steps, not {count}."
        raise ParameterError(msg)
    steps = [replace(axis, whole=False).at(i / (count - 1)) for i in range(count)]
    even = whole and all(s == round(s) for s in steps)
    return Axis(key, tuple(int(s) if even else s for s in steps))


def _array(rest: str, text: str) -> tuple[Any, ...]:
    try:
        values = tomllib.loads(f"v = {rest}")["v"]
    except tomllib.TOMLDecodeError as error:
        msg = f"--over '{text}' holds no TOML array: {error}."
        raise ParameterError(msg) from error
    if not values:
        msg = f"--over '{text}' names no value."
        raise ParameterError(msg)
    return tuple(values)


def _literal(word: str) -> Any:
    if word.lower() in _LEFT_OUT:
        return None
    try:
        return tomllib.loads(f"v = {word}")["v"]
    except tomllib.TOMLDecodeError:
        return word


def combinations(axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Return every combination of values, the last axis fastest.

    Raises
    ------
    ParameterError
        If an axis is a range, or there are too many.
    """
    wide = next((a for a in axes if a.is_range), None)
    if wide is not None:
        msg = (
            f"A grid needs values for '{wide.key}': give a number of steps ({wide.low:g}..{wide.high:g}:5), or choose "
            "--search random or bayes."
        )
        raise ParameterError(msg)
    count = math.prod(len(a.values) for a in axes)
    if count > _MOST_COMBINATIONS:
        msg = f"The grid has {count} combinations; give fewer values, or --search random --trials 100."
        raise ParameterError(msg)
    return (dict(zip((a.key for a in axes), v, strict=True)) for v in itertools.product(*(a.values for a in axes)))


def settled_pipeline(text: str, values: Mapping[str, Any]) -> Pipeline:
    """Return the pipeline with values put in.

    Raises
    ------
    ParameterError
        If a key or value is refused; the nearest name is suggested.
    """
    named = ", ".join(f"{k} = {v}" for k, v in values.items())
    return parse_pipeline(with_values(text, values), place=f"pipeline with {named}" if named else "pipeline")


def check_axes(text: str, axes: Sequence[Axis], population: str | None) -> tuple[list[Axis], str]:
    """Check that every value of every axis is accepted, and find the population that is scored.

    Parameters
    ----------
    text : str
        The pipeline file.
    axes : sequence of Axis
        What is varied.
    population : str, optional
        Whose cells are scored; by default the one the keys name, or the only one.

    Returns
    -------
    list of Axis, str
        The axes, ranges of whole numbers recognised, and the population.

    Raises
    ------
    ParameterError
        If a key or value is refused, or has no influence on what is scored.
    """
    base = parse_pipeline(text)
    keys = [a.key for a in axes]
    twice = next((k for k in keys if keys.count(k) > 1), None)
    if twice is not None:
        msg = f"--over names '{twice}' twice; give all its values once."
        raise ParameterError(msg)
    methods = [a for a in axes if a.is_method]
    for axis in axes:
        _check_place(axis, base)
        for value in axis.samples():
            _accepted(text, axis, value, methods)
    chosen = _population(base, axes, population)
    for axis in axes:
        path = axis.path
        if path[0] == "population" and path[1] != chosen:
            msg = f"'{axis.key}' does not change the population '{chosen}' that is scored; take it out."
            raise ParameterError(msg)
    return [_drawn(text, a, methods) for a in axes], chosen


def _check_place(axis: Axis, base: Pipeline) -> None:
    path = axis.path
    known = list(base.population)
    if path[0] == "population":
        if len(path) > 1 and path[1] not in known:
            msg = f"--over {axis.key}: the pipeline has no population '{path[1]}'; {nearest(str(path[1]), known)}."
            raise ParameterError(msg)
        section = str(path[2]) if len(path) > 2 else ""
        if len(path) < 4 or section not in _SCORED:
            hint = (
                "events and names do not change what is scored"
                if section in Population.model_fields and section not in _SCORED
                else nearest(section, _SCORED)
            )
            place = f"population.{path[1]}" if len(path) > 1 else "population.NAME"
            sections = f"{place}.segmentation, .filter, .tracking, .mending or .measure"
            msg = f"--over {axis.key}: vary keys of {sections}; {hint}."
            raise ParameterError(msg)
    elif path[0] not in {"restoration", "registration", "corrected"} or len(path) < 2:
        known = ["population", "restoration", "registration", "corrected"]
        msg = f"--over {axis.key}: '{path[0]}' does not change what is scored; {nearest(str(path[0]), known)}."
        raise ParameterError(msg)


def _accepted(text: str, axis: Axis, value: Any, methods: Sequence[Axis]) -> None:
    """Raise the refusal of a value unless some combination of methods takes it."""
    others = [m for m in methods if m.key != axis.key]
    refusal: ParameterError | None = None
    try:
        settled_pipeline(text, {axis.key: value})
    except ParameterError as error:
        refusal = error
    else:
        return
    if axis.is_method:  # keys in the file may belong to another method; each trial tells
        raise refusal
    for chosen in combinations(others) if others else ():
        try:
            settled_pipeline(text, {**chosen, axis.key: value})
        except ParameterError:
            continue
        return
    raise refusal


def _drawn(text: str, axis: Axis, methods: Sequence[Axis]) -> Axis:
    """Return a range that draws fractions unless the parameter takes whole numbers only."""
    if not axis.is_range or not axis.whole:
        return axis
    try:
        _accepted(text, axis, axis.low + 0.5, methods)
    except ParameterError:
        return axis
    return replace(axis, whole=False)


def _population(base: Pipeline, axes: Sequence[Axis], asked: str | None) -> str:
    known = list(base.population)
    if asked is not None:
        if asked not in known:
            msg = f"The pipeline has no population '{asked}'; {nearest(asked, known)}."
            raise ParameterError(msg)
        return asked
    named = list(dict.fromkeys(str(a.path[1]) for a in axes if a.path[0] == "population"))
    choices = named or known
    if len(choices) != 1:
        msg = f"Say whose cells are scored with --population; {nearest('', choices)}."
        raise ParameterError(msg)
    return choices[0]
