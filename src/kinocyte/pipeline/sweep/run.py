"""The search for the parameters that fit a movie best."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.experiment import open as open_experiment
from kinocyte.experiment.lock import ExperimentLock
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.execute import Watch, cores
from kinocyte.pipeline.execute import Workers as Place
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.parse import load_pipeline
from kinocyte.pipeline.sweep.axes import Axis, check_axes, parse_axis, settled_pipeline
from kinocyte.pipeline.sweep.ledger import Ledger, mark_of
from kinocyte.pipeline.sweep.pool import Request, Workers
from kinocyte.pipeline.sweep.search import Proposals, Search
from kinocyte.pipeline.sweep.stages import Study, Trial, detection_key, trial_key
from kinocyte.pipeline.sweep.truth import LOWER_IS_BETTER, Truth, check_fits, score_names, truth_at
from kinocyte.pipeline.workers.clusters import running_scheduler
from kinocyte.pipeline.workers.slurm import slurm_cluster

SEARCHES = ("grid", "random", "bayes")
#: Told of the number of trials that are done, of how many there will be, and of the newest.
OnTrial = Callable[[int, int, Trial], None]


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Parameters
    ----------
    trials : tuple of Trial
        In order of proposal.
    axes : tuple of Axis
        What was varied.
    metric : str
        What decided.
    best : Trial or None
        None where no trial has that score.
    text : str
        The pipeline file that was varied.
    has_truth : bool
        Whether scores are accuracies; else they are consistencies.
    complete : bool
        Whether every proposed trial was done; False where time ran out.
    """

    trials: tuple[Trial, ...]
    axes: tuple[Axis, ...]
    metric: str
    best: Trial | None
    text: str
    has_truth: bool
    complete: bool

    @property
    def metrics(self) -> list[str]:
        """Return the names of the scores that any trial has."""
        return list(dict.fromkeys(n for t in self.trials for n in t.scores))

    def best_by(self, metric: str) -> Trial | None:
        """Return the trial that is best by a score; the first of equals."""
        return best_of(self.trials, metric)

    def as_good(self) -> dict[str, list[Any]]:
        """Return for each key the other values that, all else being as in the best trial, did exactly as well."""
        best = self.best
        if best is None:
            return {}
        equal = [t.settings for t in self.trials if t is not best and gain(t, self.metric) == gain(best, self.metric)]
        changed = [[k for k in s if s[k] != best.settings.get(k)] for s in equal]
        return {
            axis.key: values
            for axis in self.axes
            if (values := [s[axis.key] for s, keys in zip(equal, changed, strict=True) if keys == [axis.key]])
        }

    def table(self) -> pl.DataFrame:
        """Return one row a trial: ``trial``, the varied keys, scores, seconds and the reason of a failure."""
        rows = [
            {"trial": n, **{a.key: _cell(t.settings.get(a.key)) for a in self.axes},
             **{m: t.scores.get(m) for m in self.metrics},
             "detection_s": t.detection_s, "linking_s": t.linking_s, "error": t.error}
            for n, t in enumerate(self.trials, start=1)
        ]  # fmt: skip
        mixed = [a.key for a in self.axes if len({type(r[a.key]) for r in rows} - {type(None)}) > 1]
        for row in rows:
            row |= {k: None if row[k] is None else str(row[k]) for k in mixed}
        return pl.DataFrame(rows, infer_schema_length=None)


def _cell(value: Any) -> Any:
    return str(value) if isinstance(value, (list, tuple, dict)) else value


def best_of(trials: Sequence[Trial], metric: str) -> Trial | None:
    """Return the first trial with the best value of a score, None where none has it."""
    judged = [(t, g) for t in trials if (g := gain(t, metric)) is not None]
    return max(judged, key=lambda pair: pair[1])[0] if judged else None


def gain(trial: Trial, metric: str) -> float | None:
    """Return a score with the sign that makes more better."""
    value = trial.scores.get(metric)
    return None if value is None else -value if metric in LOWER_IS_BETTER else value


def sweep(
    pipeline: str | Path,
    experiment: str | Path | Experiment,
    over: Sequence[str | Axis],
    *,
    out: str | Path,
    truth: str | Path | Truth | Mapping[str, str | Path | Truth] | None = None,
    search: Search = "grid",
    trials: int = 100,
    minutes: float | None = None,
    metric: str | None = None,
    population: str | None = None,
    positions: Sequence[str] | None = None,
    partial: bool | None = None,
    match_distance_um: float | None = None,
    seed: int = 1,
    workers: int | None = None,
    where: Place | None = None,
    keep_scratch: bool = False,
    on_trial: OnTrial | None = None,
) -> SweepResult:
    """Search for the parameters of a pipeline that fit a truth best, and write what was found.

    Nothing is written into the experiment: cells are found in a scratch folder beside ``out``, once for all trials that
    find them alike. A sweep that was stopped goes on where it was when it is called again with the same ``out``; keys,
    values and trials may be added.

    Parameters
    ----------
    pipeline : str or Path
        Pipeline file.
    experiment : str, Path or Experiment
        The experiment.
    over : sequence of str or Axis
        What is varied; see `kinocyte.pipeline.sweep.parse_axis`.
    out : str or Path
        Folder for the tables, figures and the winning pipeline.
    truth : path, Truth or mapping, optional
        See `kinocyte.pipeline.sweep.truth_at`; by id of the position where there are several. Left out, trials are
        compared by how consistent they are with themselves, which is no accuracy.
    search : {"grid", "random", "bayes"}
        Every combination, or drawn by chance, or by what did well (tree-structured Parzen estimator).
    trials : int
        Most trials of random and Bayesian search.
    minutes : float, optional
        No trial is begun after that time; those under way are finished.
    metric : str, optional
        Score that decides: TRA with tracks as truth (LNK where only the tracking is varied), seg_ap with label images,
        consistency without truth.
    population : str, optional
        Whose cells are scored.
    positions : sequence of str, optional
        Ids of positions; by default those that have a truth, or all.
    partial, match_distance_um
        As in `truth_at`.
    seed : int
        Fixes what is drawn. The same seed gives the same trials with any number of workers.
    workers : int, optional
        Processes; one a core when left out.
    where : kinocyte.pipeline.execute.Workers, optional
        A Dask scheduler or Slurm, whose workers do the trials; they must reach the experiment and ``out`` under the
        same names. Instead of ``workers``.
    keep_scratch : bool
        Leave the scratch folder, for a later sweep with more values.
    on_trial : callable, optional
        Told of each finished trial.

    Raises
    ------
    ParameterError, InputFileError, TableError
        If pipeline, keys, values, truth and experiment do not fit together; nothing has been written then.
    StoreError, BusyError
        If ``out`` holds something else, or is being written.
    """
    load_pipeline(pipeline)
    text = Path(pipeline).read_text(encoding="utf-8")
    opened = experiment if isinstance(experiment, Experiment) else open_experiment(experiment)
    axes, chosen = check_axes(text, _axes(over), population)
    place = Place(workers=workers) if where is None else where
    _check_search(search, trials, minutes, workers)
    place.check()
    truths = _truths(opened, truth, positions, partial, match_distance_um)
    _check_truth(truths, axes, text, chosen)
    folder = Path(out).absolute()
    scratch = folder.with_name(f".{folder.name}.scratch")
    local = Storage(opened.url).is_local
    study = Study(text, str(Path(opened.url).absolute()) if local else opened.url, str(scratch), chosen, truths)
    identity = {
        "experiment": study.source, "population": chosen, "truth": {p: mark_of(t) for p, t in truths.items()},
    }  # fmt: skip
    proposals = Proposals(axes, search, trials, seed)
    decides = metric or _default_metric(truths, axes)
    _check_scores(decides, truths, opened)
    limit = None if minutes is None else time.monotonic() + 60 * minutes
    with _writing(folder):
        ledger = Ledger(folder, identity)
        scratch.mkdir(parents=True, exist_ok=True)
        done, complete = _searched(
            study,
            proposals,
            ledger,
            metric=decides,
            limit=limit,
            hands=_hands(study, place, opened),
            on_trial=on_trial,
        )
        result = SweepResult(
            tuple(done), tuple(axes), decides, best_of(done, decides), text, any(truths.values()), complete
        )
        from kinocyte.pipeline.sweep.outputs import write_outputs

        write_outputs(result, folder, Path(pipeline).absolute().parent)
        if complete and not keep_scratch:
            shutil.rmtree(scratch, ignore_errors=True)
    return result


def _axes(over: Sequence[str | Axis]) -> list[Axis]:
    if not over:
        msg = "Say what is varied: --over population.NAME.tracking.max_distance_um=5,10,15"
        raise ParameterError(msg)
    return [a if isinstance(a, Axis) else parse_axis(a) for a in over]


def _check_search(search: str, trials: int, minutes: float | None, workers: int | None) -> None:
    if search not in SEARCHES:
        msg = f"There is no search '{search}'; {nearest(search, SEARCHES)}."
        raise ParameterError(msg)
    if trials < 1:
        msg = f"--trials is {trials}; give 1 or more."
        raise ParameterError(msg)
    if minutes is not None and not 0 < minutes < float("inf"):
        msg = f"--minutes is {minutes}; give a time above 0."
        raise ParameterError(msg)
    if workers is not None and workers < 0:
        msg = f"--workers is {workers}; give 0 or more."
        raise ParameterError(msg)


def _truths(
    experiment: Experiment,
    given: str | Path | Truth | Mapping[str, str | Path | Truth] | None,
    positions: Sequence[str] | None,
    partial: bool | None,
    distance: float | None,
) -> dict[str, Truth | None]:
    """Return the truth of each position that is scored, None without truth."""
    wanted = None if positions is None else [experiment.position(p).id for p in positions]
    if given is None:
        chosen = wanted or list(experiment.positions)
        if not chosen:
            msg = f"{experiment.url} holds no position; add some with: kinocyte import FILES {experiment.url}"
            raise ParameterError(msg)
        return dict.fromkeys(chosen)
    if not isinstance(given, Mapping):
        chosen = wanted or list(experiment.positions)
        if len(chosen) != 1:
            msg = (
                f"{experiment.url} has {len(chosen)} positions; say which one the truth belongs to: "
                f"--truth {chosen[0] if chosen else 'A1/1'}={given.path if isinstance(given, Truth) else given}"
            )
            raise ParameterError(msg)
        given = {chosen[0]: given}
    opened: dict[str, Truth | None] = {}
    for name, value in given.items():
        position = experiment.position(name).id
        if wanted is None or position in wanted:
            opened[position] = (
                value if isinstance(value, Truth) else truth_at(value, partial=partial, match_distance_um=distance)
            )
    lost = next((p for p in wanted or () if p not in opened), None)
    if lost is not None:
        msg = f"Position {lost} has no truth; give --truth {lost}=PATH."
        raise ParameterError(msg)
    return opened


def _check_truth(truths: Mapping[str, Truth | None], axes: Sequence[Axis], text: str, population: str) -> None:
    base: Pipeline = settled_pipeline(text, {})
    tracked = base.population[population].tracking is not None
    for truth in truths.values():
        needed = truth is None or truth.scores_tracks
        if needed and not tracked and not any(a.path[2:] == ("tracking", "method") for a in axes):
            msg = f"population.{population} has no tracking to score; add [population.{population}.tracking]."
            raise ParameterError(msg)
        if truth is not None and truth.kind == "links" and any(_finds(a) for a in axes):
            moved = next(a.key for a in axes if _finds(a))
            msg = (
                f"'{truth.path}' names objects by number, but '{moved}' changes which objects are found; give a truth "
                "with positions or masks."
            )
            raise ParameterError(msg)


def _check_scores(metric: str, truths: Mapping[str, Truth | None], experiment: Experiment) -> None:
    """Check before any work that the score exists and that each truth is of the size of its movie."""
    known = score_names(truths.values())
    if metric not in known:
        msg = f"There is no score '{metric}' here; {nearest(metric, known)}."
        raise ParameterError(msg)
    for name, truth in truths.items():
        if truth is not None:
            image = experiment.position(name).image("raw")
            check_fits(truth, image.n_frames, tuple(image.frame_shape))


def _finds(axis: Axis) -> bool:
    """Tell whether an axis can change which objects are found."""
    return axis.path[0] != "population" or axis.path[2] in {"segmentation", "filter", "track_filter"}


def _default_metric(truths: Mapping[str, Truth | None], axes: Sequence[Axis]) -> str:
    given = [t for t in truths.values() if t is not None]
    if not given:
        return "consistency"
    if not any(t.scores_tracks for t in given):
        return "seg_ap"
    return "TRA" if any(_finds(a) for a in axes) else "LNK"


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make the folder and hold the right to write into it; leave nothing where nothing was begun."""
    made = not folder.exists()
    if not made and not folder.is_dir():
        msg = f"{folder} is a file; name a folder with --out."
        raise ParameterError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with ExperimentLock(Storage(folder)):
            yield
    finally:
        for left in folder.glob(".kinocyte.lock*"):
            left.unlink(missing_ok=True)
        if made and not any(not p.name.startswith(".kinocyte.lock") for p in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)


def _searched(
    study: Study,
    proposals: Proposals,
    ledger: Ledger,
    *,
    metric: str,
    limit: float | None,
    hands: Workers,
    on_trial: OnTrial | None,
) -> tuple[list[Trial], bool]:
    """Return the trials in order of proposal, and whether none was left undone."""
    order: list[tuple[Mapping[str, Any], Trial]] = []
    pool = hands
    try:
        while True:
            proposed = proposals.next_round([(s, gain(t, metric)) for s, t in order])
            if not proposed:
                return [t for _, t in order], True
            keyed = [(s, *_keys(study, s)) for s in proposed]
            fresh = {key: (s, key, cells) for s, key, cells in keyed if key not in ledger.done}
            missing = set(fresh)
            requests: list[Request] = list(fresh.values())
            count = len(order) + len(proposed) - len(missing)
            for trial in pool.perform(requests, go_on=lambda: limit is None or time.monotonic() < limit):
                ledger.add(trial)
                missing.discard(trial.key)
                count += 1
                if on_trial is not None:
                    on_trial(count, proposals.total, trial)
            order += [(s, _as_asked(ledger.done[key], s)) for s, key, _ in keyed if key in ledger.done]
            if missing:
                return [t for _, t in order], False
    finally:
        pool.close()


def _hands(study: Study, place: Place, experiment: Experiment) -> Workers:
    """Return who does the trials."""
    if place.is_local:
        return Workers(study, cores() if place.workers is None else place.workers)
    if place.scheduler is not None:
        place.check_secrets(Storage(experiment.url).options)
        return Workers(study, 0, running_scheduler(place, Watch()))
    from kinocyte.pipeline.plan import plan_run

    bare = settled_pipeline(study.text, {}).model_copy(update={"comparison": ()})
    tasks = plan_run(bare, experiment, list(study.truths), whole=False).tasks
    return Workers(study, 0, slurm_cluster(place, tasks, Watch(), most_useful=place.max_jobs))


def _as_asked(trial: Trial, settings: Mapping[str, Any]) -> Trial:
    """Return a trial under the settings that asked for it: two may mean the same."""
    return Trial(settings, trial.key, trial.scores, trial.positions, trial.detection_s, trial.linking_s, trial.error)


def _keys(study: Study, settings: Mapping[str, Any]) -> tuple[str, str]:
    """Return the fingerprints of a trial and of how its cells are found; refused settings have their own."""
    from kinocyte.experiment.records import fingerprint

    try:
        pipeline = settled_pipeline(study.text, settings)
    except ParameterError:
        refused = fingerprint({"refused": {k: repr(v) for k, v in settings.items()}, "text": study.text})
        return refused, refused
    return trial_key(study, pipeline), detection_key(study, pipeline)
