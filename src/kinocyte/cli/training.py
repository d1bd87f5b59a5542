"""`kinocyte train`: a model from annotations, as a training file says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kinocyte.cli.console import err
from kinocyte.cli.console import out as console


def train(
    file: Path | None = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    resume: Annotated[bool, Parameter(name="--resume", negative=())] = False,
    from_experiment: Annotated[Path | None, Parameter(name="--from-experiment")] = None,
    population: Annotated[str | None, Parameter(name="--population")] = None,
    channel: Annotated[tuple[str, ...], Parameter(name="--channel")] = (),
    corrected_only: Annotated[bool, Parameter(name="--corrected-only", negative=())] = False,
    steps: Annotated[int | None, Parameter(name="--steps")] = None,
    start: Annotated[str | None, Parameter(name="--start")] = None,
    compare: Annotated[tuple[Path, ...], Parameter(name="--compare", consume_multiple=True)] = (),
) -> int:
    """Train a model as a training file (TOML) says, and write it as a BioImage.IO package.

    The file names the task, where the annotations are, and how to train. Whole images and movies are held out, never
    single cells or patches. On a processor the same file gives the same model.

    Parameters
    ----------
    file : Path
        Training file; paths in it are relative to it.
    out : Path
        Folder to write; it must not exist yet. For tasks on images it keeps checkpoints and history, and the trained
        model in its folder 'model'; for events it is the model itself, a folder or .zip.
    resume : bool
        Go on with a training on images in the folder of --out that was interrupted.
    from_experiment : Path
        Without a training file: learn from the corrected labels of this experiment.
    population : str
        Whose labels.
    channel : str
        Channels of the experiment to learn from; left out: those of --start where they are there, else those that the
        population was segmented by.
    corrected_only : bool
        Learn only from the frames in which somebody corrected labels.
    steps : int
        Most batches to learn from, 2000 when left out.
    start : str
        Model to begin with: a shipped one by name, or a folder or zip.
    compare : tuple of Path
        Train nothing: show the runs in these folders in one table.
    """
    from kinocyte.core.errors import ParameterError

    if compare:
        from kinocyte.cli._image_runs import compare_runs

        return compare_runs(compare)
    if out is None:
        msg = "Where is the model to be written? Name a new folder by --out."
        raise ParameterError(msg)
    if from_experiment is not None:
        from kinocyte.cli._image_runs import train_from_experiment

        if population is None or file is not None:
            msg = "--from-experiment needs --population, and no training file."
            raise ParameterError(msg)
        return train_from_experiment(
            from_experiment, population, out, resume=resume, start=start, channels=channel, steps=steps,
            corrected_only=corrected_only,
        )  # fmt: skip
    if channel or corrected_only or steps is not None or population is not None:
        msg = "--population, --channel, --corrected-only and --steps belong to --from-experiment; a file has keys."
        raise ParameterError(msg)
    if file is None:
        msg = "Name a training file, or an experiment by --from-experiment."
        raise ParameterError(msg)
    return _from_file(file, out, start=start, resume=resume)


def _from_file(file: Path, out: Path, *, start: str | None, resume: bool) -> int:
    from kinocyte.cli._training_file import for_images, read_table
    from kinocyte.core.errors import ParameterError
    from kinocyte.pipeline.training.file import parse_image_training

    table = read_table(file)
    if for_images(table, file, start=start):
        from kinocyte.cli._image_runs import train_images

        changed = {"task": {}, **table} if start is None else {"task": {}, **table, "start": start}
        return train_images(parse_image_training(changed, str(file)), file.parent, out, resume=resume)
    if resume or start is not None:
        msg = f"{file} is for events, which are trained in one go: leave out --resume and --start."
        raise ParameterError(msg)
    return _train_events(file, out)


def _train_events(file: Path, out: Path) -> int:
    from kinocyte.cli._training_file import read_training_file
    from kinocyte.core.errors import StoreError
    from kinocyte.learning.devices import need_torch
    from kinocyte.learning.signals.fit import fit

    wanted = read_training_file(file)
    if out.exists():
        msg = f"{out} exists already and is left as it is; name a new folder or zip."
        raise StoreError(msg)
    need_torch("Training")
    labelled = wanted.labelled(file.parent)
    err.print(f"{len(labelled.kind)} tracks of {len(set(labelled.signals.movie.tolist()))} movies")
    model = fit(labelled, wanted.signals, wanted.training, seed=wanted.seed, card=wanted.card(), told=_show)
    model.save(out)
    _summary(model.card["held_out"])
    console.print(f"The model is in {out}.", markup=False, soft_wrap=True)
    return 0


def _show(losses: dict[str, Any]) -> None:
    place = f"{losses['network']}, pass {losses['epoch']:.0f}"
    err.print(f"{place}: loss {losses['train']:.4f}, held out {losses['held_out']:.4f}", markup=False)


def _summary(found: dict[str, Any]) -> None:
    from kinocyte.cli.console import table

    if not any(dict(zip(found["classes"], found["confusion"], strict=True))["event"]):
        err.print("warning: no track of the held-out movies has the event, so the scores say nothing of events; "
                  "annotate more movies.", style="yellow", soft_wrap=True)  # fmt: skip
    rows = zip(found["classes"], found["confusion"], strict=True)
    table("Held-out movies: true class (rows) and called class", ["", *found["classes"]], [(c, *r) for c, r in rows])
    names = ("precision", "recall", "left_censored_called_event", "mean_absolute_error", "covered_95",
             "calibration_error")  # fmt: skip
    table("Scores (times in frames)", ["score", "value"], [(n, found[n]) for n in names])
