"""Tracks to a network, and what it says to events."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, nearest
from kinocyte.events._series import TRACK, Calls, Series, arrange, states, tables
from kinocyte.events.base import EventTables
from kinocyte.events.expression import parse
from kinocyte.events.functions import formula
from kinocyte.learning.signals.model import SignalModel, load_model
from kinocyte.learning.signals.networks import CLASSES
from kinocyte.learning.signals.series import SignalSet

if TYPE_CHECKING:
    from kinocyte.events.deep import Deep


def shipped() -> dict[str, Path]:
    """Return the models that come with Kinocyte, by name."""
    folder = Path(str(files("kinocyte") / "data" / "models"))
    return {p.parent.name: p.parent for p in sorted(folder.glob("*/rdf.yaml"))}


def package_of(model: str) -> Path:
    """Return where a model is; see `kinocyte.events.deep.Deep.package`."""
    path = Path(model)
    if path.exists():
        return path
    ours = shipped()
    if model in ours:
        return ours[model]
    msg = f"There is no model '{model}': no folder or zip of that path, and none of ours; {nearest(model, ours)}."
    raise InputFileError(msg)


def opened(model: str) -> SignalModel:
    """Return the model of a package, read again only when it has changed."""
    path = package_of(model)
    stamp = max((p.stat().st_mtime_ns for p in path.iterdir()), default=0) if path.is_dir() else path.stat().st_mtime_ns
    return _load(str(path.absolute()), stamp)


@lru_cache(maxsize=4)
def _load(path: str, _modified: int) -> SignalModel:
    return load_model(Path(path))


def signal_set(series: Series, formulas: Sequence[str], by: Sequence[str]) -> SignalSet:
    """Return the signals of arranged tracks; those whose keys differ in ``by`` are of different movies.

    Parameters
    ----------
    series : Series
        Tracks in order.
    formulas : sequence of str
        What to read.
    by : sequence of str
        Columns that tell movies apart.
    """
    values = [series.numbers(formula(text, series.rows, track=TRACK).expr) for text in formulas]
    counts = series.time >= series.since[series.track]  # what was before a prerequisite event is not looked at
    start, time = series.only(counts)
    movie = np.zeros(series.keys.height, np.int64)
    if by:
        movie = series.keys.select(pl.struct(by).rank("dense")).to_series().to_numpy().astype(np.int64)
    return SignalSet(np.stack(values, axis=1)[counts], time, start.astype(np.int64), movie)


def arranged(
    cells: pl.DataFrame, formulas: Sequence[str], columns: Sequence[str], *, by: Sequence[str] = (),
    after: str | None = None, earlier: pl.DataFrame | None = None,
) -> Series:  # fmt: skip
    """Return the tracks of a table in order, with what formulas need."""
    along = any(parse(text).needs_time for text in formulas)
    return arrange(cells, columns, by=by, after=after, earlier=earlier, along_track=along)


def detect_with_model(
    method: Deep, cells: pl.DataFrame, name: str, *, earlier: pl.DataFrame | None, by: Sequence[str]
) -> EventTables:
    """Return the tables; see `kinocyte.events.deep.Deep.detect`."""
    model = opened(method.model)
    series = arranged(cells, method.signals, method.columns, by=by, after=method.after, earlier=earlier)
    said = model.predict(signal_set(series, method.signals, by))
    p = said.probability
    kind = _kinds(p, method.min_confidence)
    happened = kind == CLASSES[0]
    chosen = np.select([kind == c for c in CLASSES], list(p.T), np.nan)
    extra: dict[str, pl.Series | NDArray[np.generic]] = {f"p_{c}": p[:, i] for i, c in enumerate(CLASSES)}
    calls = Calls(kind, said.time_min, said.time_se_min, chosen, extra)
    onset = np.select([happened, kind == CLASSES[2]], [said.time_min, -np.inf], np.inf)
    lost = (kind == "excluded") | (series.verdict == "excluded")
    past = (series.time >= onset[series.track]) & ~np.isin(series.verdict, ["none"])[series.track]
    return tables(series, name, calls, states(past, ~lost[series.track]))


def _kinds(p: NDArray[np.float64], least: float) -> NDArray[np.str_]:
    """Return the class of each track."""
    known = np.asarray(np.isfinite(p).all(axis=1))
    safe = np.where(known[:, None], p, 0.0)
    best = safe.argmax(axis=1)
    best = np.where((best == 0) & (safe[:, 0] < least), 1 + safe[:, 1:].argmax(axis=1), best)
    return np.where(known, np.array(CLASSES)[best], "excluded")
