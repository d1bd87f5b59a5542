"""One question asked at once: the answer that a pipeline with this comparison would write, without writing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import TypeAdapter, ValidationError

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from kinocyte.experiment.experiment import Experiment
from kinocyte.pipeline.comparing import _Cells, _Tables, title_of
from kinocyte.pipeline.model import AnyComparison, ComparisonPlace, Pipeline
from kinocyte.statistics.base import Comparer


@dataclass(frozen=True, eq=False)
class Answer:
    """What differs between groups.

    Attributes
    ----------
    title, method : str
        Heading and name of the method.
    parameters : mapping
        Of the method, for the labels of a figure.
    frames : mapping of str to polars.DataFrame
        ``groups curves points tests effects``; see `kinocyte.statistics.base.Comparison`.
    sentences, notes : tuple of str
        What each test found; what a reader needs to know.
    positions : tuple of str
        What it rests on.
    """

    title: str
    method: str
    parameters: Mapping[str, Any]
    frames: Mapping[str, pl.DataFrame]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    positions: tuple[str, ...]


def question(document: Mapping[str, Any]) -> ComparisonPlace:
    """Return the comparison that a table of a pipeline file describes.

    Raises
    ------
    ParameterError
        If a key or value is refused.
    """
    try:
        asked: ComparisonPlace = TypeAdapter[Any](AnyComparison).validate_python(dict(document))
    except ValidationError as error:
        name = str(document.get("method"))
        if name not in registry.names("comparison"):
            registry.get("comparison", name)  # says which there are
        raise ParameterError("; ".join(registry.explain(registry.get("comparison", name), error)) + ".") from error
    return asked


def ask(pipeline: Pipeline, experiment: Experiment, asked: ComparisonPlace) -> Answer:
    """Answer one question from what stands in the store.

    Parameters
    ----------
    pipeline : Pipeline
        Which made the results; tells whose event is meant.
    experiment : Experiment
        Whose positions are done.
    asked : ComparisonPlace
        The question.

    Raises
    ------
    TableError, ParameterError
        If no position is up to date, or a column is missing.
    """
    method = asked.bare
    if not isinstance(method, Comparer):
        msg = f"{type(method).__qualname__} is not a comparison method."
        raise TypeError(msg)
    cells = _Cells(pipeline, experiment.at_once(), asked, _Tables())
    found = method.compare(cells.table(method))
    missing = len(experiment.positions) - len(cells.positions)
    late = f"{missing} of {len(experiment.positions)} positions are left out: they failed or are not up to date."
    return Answer(
        title_of(asked),
        found.method,
        asked.model_dump(mode="json"),
        found.frames,
        tuple(found.tests["sentence"].to_list()) if "sentence" in found.tests.columns else (),
        (*found.notes, *([late] if missing else [])),
        tuple(p.id for p in cells.positions),
    )
