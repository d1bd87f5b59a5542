"""What `kinocyte drift` and `kinocyte channels` share on the command line: options, and one bar of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kinocyte.cli.console import TaskBar, err
from kinocyte.cli.console import out as console
from kinocyte.core.errors import KinocyteError
from kinocyte.pipeline.plain.movies import FileOptions, PlainMovie
from kinocyte.pipeline.plain.writing import Format, FrameProgress

Out = Annotated[Path, Parameter(name="--out")]
Files = Annotated[FileOptions, Parameter(name="*")]
Form = Annotated[Format, Parameter(name="--format")]


def each(
    movies: Sequence[PlainMovie], title: str, work: Callable[[PlainMovie, FrameProgress], str], *, frames: int = 0
) -> int:
    """Do the work on each movie under one bar of frames; a movie that fails is named, and the others go on.

    Parameters
    ----------
    movies : sequence of PlainMovie
        What is worked on.
    title : str
        What the bar says.
    work : callable
        Takes a movie and the progress, returns the sentence that is printed.
    frames : int
        Frames that are looked at of each movie; all where 0.

    Returns
    -------
    int
        Exit code: 1 if a movie failed.
    """
    lengths = [frames or movie.movie.shape[0] for movie in movies]
    failed = 0
    # where both are one screen, what is said goes above the bar
    said = err if err.is_terminal and console.is_terminal else console
    with TaskBar(title, sum(lengths), "frames") as bar:
        progress = FrameProgress(bar.reached)
        for movie, length in zip(movies, lengths, strict=True):
            try:
                said.print(work(movie, progress), markup=False, soft_wrap=True)
            except KinocyteError as error:
                failed += 1
                err.print(f"failed: {movie.stem}: {error}", style="red", markup=False, soft_wrap=True)
            progress.end(length)
    return 1 if failed else 0
