"""The training file: what to learn, from what, and how."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.core.method import param
from kinocyte.learning.signals.training import SignalTraining
from kinocyte.pipeline.training.file import refusal

if TYPE_CHECKING:
    import polars as pl

    from kinocyte.learning.signals.training import Labelled


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(_Table):
    """Where the annotations are: in an experiment, in two tables, or simulated."""

    experiment: str | None = param(None, help="Experiment whose events, with their corrections, are learnt.")
    population: str | None = param(None, help="Population of the experiment.")
    objects: str | None = param(None, help="CSV or Parquet with track_id, time_min and the signals.")
    events: str | None = param(None, help="CSV or Parquet with track_id, class and time_min.")
    event: str | None = param(None, help="Which event, where there are several.")
    movie: tuple[str, ...] = param((), help="Columns of both tables that tell movies apart.")
    simulated_movies: int | None = param(None, ge=2, help="Number of simulated movies to learn from instead.")
    simulated_seed: int = param(1, help="Seed of the simulated movies.")


class TrainingFile(_Table):
    """A training file."""

    task: Literal["events"] = param("events", help="What the model is for.")
    name: str = param(help="Name of the model.")
    description: str = param("", help="One sentence.")
    about: str = param("", help="What it was trained on, what it is good for, and what not.")
    authors: tuple[str, ...] = param(("unknown",), help="Who made it.")
    license: str = param("BSD-3-Clause", help="Licence of the model (SPDX).")
    signals: tuple[str, ...] = param(help="Columns or formulas to read.")
    seed: int = param(1, help="Fixes everything that chance decides.")
    data: Data = param(help="Where the annotations are.")
    training: SignalTraining = param(SignalTraining(), help="How to train.")

    def card(self) -> dict[str, Any]:
        """Return what the model says of itself."""
        told = self.model_dump(mode="json", include={"name", "description", "about", "authors", "license"})
        return {**told, "data": self.data.model_dump(mode="json", exclude_none=True)}

    def labelled(self, folder: Path) -> Labelled:
        """Return the annotated tracks; relative paths start from a folder.

        Raises
        ------
        ParameterError
            If the file names none or several of the three places.
        """
        from kinocyte.events.deep_training import annotated_tracks

        data = self.data
        if data.simulated_movies is not None and data.experiment is None and data.objects is None:
            cells, events = simulated(data.simulated_movies, seed=data.simulated_seed)
            return annotated_tracks(cells, events, self.signals, by=("movie",))
        if data.experiment is not None and data.population is not None and data.objects is None:
            cells, events = _stored(folder / data.experiment, data.population)
            return annotated_tracks(cells, events, self.signals, event=data.event, by=("position",))
        if data.objects is not None and data.events is not None and data.experiment is None:
            from kinocyte.interop.plain_tables import read_table

            cells, events = read_table(folder / data.objects), read_table(folder / data.events)
            return annotated_tracks(cells, events, self.signals, event=data.event, by=data.movie)
        msg = "[data] must name one of: experiment and population; objects and events; simulated_movies."
        raise ParameterError(msg)


def read_table(path: Path) -> dict[str, Any]:
    """Return the table of a training file of any task.

    Raises
    ------
    InputFileError
        If it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}; name a training file."
        raise InputFileError(msg) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f'{path} cannot be read as a training file: {error}; text stands in quotes, as in inputs = "images".'
        raise InputFileError(msg) from error


def for_images(table: dict[str, Any], file: Path, *, start: str | None = None) -> bool:
    """Tell whether a training file is for a task on images; without [task] it does what the model to start from does.

    Raises
    ------
    ParameterError
        If it does not say what to learn.
    """
    task = table.get("task")
    if isinstance(task, str) and task != "events":
        msg = f'{file}: write what to learn as a table: a line [task], below it method = "{task}".'
        raise ParameterError(msg)
    if task is not None or "signals" in table:
        return isinstance(task, dict)
    if start is None and "start" not in table:
        msg = (
            f'{file} does not say what to learn: write a line [task], below it method = "stardist" or another task; '
            "a model of events needs signals."
        )
        raise ParameterError(msg)
    return True


def read_training_file(path: Path) -> TrainingFile:
    """Return a training file.

    Raises
    ------
    InputFileError
        If it cannot be read.
    ParameterError
        If a key or value is refused.
    """
    table = read_table(path)
    try:
        return TrainingFile.model_validate(table)
    except ValidationError as error:
        places: dict[str, type[BaseModel]] = {"data": Data, "training": SignalTraining}
        raise ParameterError(f"{path}: {refusal(error, TrainingFile, places)}.") from error


def simulated(movies: int, *, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the cells and events of simulated movies, with a column ``movie``."""
    import polars as pl

    from kinocyte.simulation.signals import simulate_steps, varied_steps

    made = [simulate_steps(settings, seed=s) for settings, s in varied_steps(movies, seed=seed)]
    cells = [m.cells.with_columns(movie=pl.lit(i)) for i, m in enumerate(made)]
    events = [m.events.with_columns(movie=pl.lit(i)) for i, m in enumerate(made)]
    return pl.concat(cells), pl.concat(events)


def _stored(path: Path, population: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    import polars as pl

    import kinocyte

    positions = kinocyte.open(path).positions
    place = {name: pl.lit(name).alias("position") for name in positions}
    cells = [p.objects(population).with_columns(place[n]) for n, p in positions.items()]
    events = [p.events(population).with_columns(place[n]) for n, p in positions.items()]
    return pl.concat(cells, how="diagonal_relaxed"), pl.concat(events, how="diagonal_relaxed")
