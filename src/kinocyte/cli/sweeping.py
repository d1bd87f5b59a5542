"""`kinocyte sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from kinocyte.cli.console import TaskBar, err, out, table
from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.execute import Workers

if TYPE_CHECKING:
    from kinocyte.pipeline.sweep import SweepResult

_SHOWN = 10


def sweep(
    pipeline: Path,
    experiment: str,
    /,
    *,
    over: Annotated[tuple[str, ...], Parameter(name="--over", allow_leading_hyphen=False)],
    out_folder: Annotated[Path, Parameter(name="--out")],
    truth: tuple[str, ...] = (),
    search: Literal["grid", "random", "bayes"] = "grid",
    trials: int = 100,
    minutes: float | None = None,
    metric: str | None = None,
    population: str | None = None,
    positions: tuple[str, ...] = (),
    partial: bool | None = None,
    match_distance_um: float | None = None,
    seed: int = 1,
    where: Annotated[Workers, Parameter(name="*")] = Workers(),  # noqa: B008 - frozen
    keep_scratch: bool = False,
) -> int:
    """Search the parameters of a pipeline that fit a truth best; the same command goes on after a stop.

    Parameters
    ----------
    pipeline : Path
        The pipeline file (TOML).
    experiment : str
        The experiment; it is only read.
    over : tuple of str
        KEY=5,10,15 (values), KEY=5..20:4 (four even steps), KEY=5..20 (a range to draw from; "5..200 log" evenly in
        ratios). KEY is dotted, as population.nuclei.tracking.max_distance_um; "none" leaves a key out. Give --over
        once a key.
    out_folder : Path
        Folder for the table, the figures and winner.toml.
    truth : tuple of str
        Folder of the Cell Tracking Challenge, folder or stack of label images, or CSV of links, of objects, or of some
        annotated tracks (track, frame, x_um, y_um); POSITION=PATH, once each, where there are several positions.
        Left out: consistency scores, which are no accuracy.
    search : {"grid", "random", "bayes"}
        Every combination, by chance, or by what did well so far.
    trials : int
        Most trials of random and bayes.
    minutes : float
        No trial is begun after that time.
    metric : str
        Score that decides; by default TRA or LNK (tracks), seg_ap (label images), consistency (no truth).
    population : str
        Whose cells are scored, where the keys do not tell.
    positions : tuple of str
        Positions to score; all with a truth when left out.
    partial : bool
        The truth names only some of the cells; so it is taken for annotated tracks unless --no-partial is given.
    match_distance_um : float
        Match a truth of positions by distance instead of by the object that covers them.
    seed : int
        Fixes what is drawn.
    where : Workers
        Who does the trials; workers of a Dask scheduler or of Slurm must reach experiment and --out under the same
        names.
    keep_scratch : bool
        Keep the cells that were found, for a later sweep with more values.
    """
    from kinocyte.pipeline.sweep import sweep as search_best

    with TaskBar("Trials", 1, "trials") as bar:
        result = search_best(
            pipeline, experiment, over, out=out_folder, truth=_truth(truth), search=search, trials=trials,
            minutes=minutes, metric=metric, population=population, positions=positions or None, partial=partial,
            match_distance_um=match_distance_um, seed=seed, where=where, keep_scratch=keep_scratch,
            on_trial=lambda done, total, _: bar.reached(done, total),
        )  # fmt: skip
    return _show(result, out_folder)


def _truth(given: tuple[str, ...]) -> str | dict[str, str] | None:
    """Return one path, or paths by position."""
    if not given:
        return None
    if len(given) == 1 and (Path(given[0]).exists() or "=" not in given[0]):
        return given[0]
    by_position: dict[str, str] = {}
    for text in given:
        position, equals, path = text.partition("=")
        if not equals or position in by_position:
            msg = f"--truth {text}: with several truths each is POSITION=PATH, such as A1/1={path or text}, once each."
            raise ParameterError(msg)
        by_position[position] = path
    return by_position


def _show(result: SweepResult, folder: Path) -> int:
    failed = [t for t in result.trials if t.error]
    if result.best is None:
        for trial in failed[:_SHOWN]:
            err.print(f"failed: {trial.error}", style="red", markup=False, soft_wrap=True)
        reason = "no trial gave the score" if result.trials else "the time was up before a trial was done"
        err.print(f"No winner: {reason} {result.metric}; see {folder}/trials.csv", markup=False, soft_wrap=True)
        return 1
    kind = "against the truth" if result.has_truth else "consistency with itself, which is no accuracy"
    rows = [
        (m, best.scores[m], ", ".join(_setting(k, v) for k, v in best.settings.items()))
        for m in result.metrics
        if (best := result.best_by(m)) is not None
    ]
    table(f"Best of {len(result.trials)} trials ({kind})", ("score", "value", "settings"), rows)
    if failed:
        err.print(
            f"warning: {len(failed)} trials failed, the first: {failed[0].error}", style="yellow", markup=False,
            soft_wrap=True,
        )  # fmt: skip
    for key, values in result.as_good().items():
        others = ", ".join("left out" if v is None else str(v) for v in values)
        chosen = _setting(key, result.best.settings[key])
        err.print(
            f"note: {result.metric} does not choose {chosen}; just as good: {others}.", style="yellow", markup=False,
            soft_wrap=True,
        )  # fmt: skip
    if not result.complete:
        err.print("note: the time was up; the same command goes on from here.", style="yellow", markup=False)
    out.print(f"Best by {result.metric}: {folder / 'winner.toml'}", markup=False, soft_wrap=True)
    return 0


def _setting(key: str, value: object) -> str:
    return f"{key.rpartition('.')[2]} = {'left out' if value is None else value}"
