"""`kinocyte train`: a model from annotations, as a training file says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kinocyte.cli.console import err
from kinocyte.cli.console import out as console


def train(file: Path, /, *, out: Annotated[Path, Parameter(name="--out")]) -> int:
    """Train a model as a training file (TOML) says, and write it as a BioImage.IO package.

    The file names the task, the signals, where the annotations are, and how to train. Whole movies are held out, never
    single cells. On a processor the same file gives the same model.

    Parameters
    ----------
    file : Path
        Training file; paths in it are relative to it.
    out : Path
        Folder or .zip to write; it must not exist yet.
    """
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

    rows = zip(found["classes"], found["confusion"], strict=True)
    table("Held-out movies: true class (rows) and called class", ["", *found["classes"]], [(c, *r) for c, r in rows])
    names = ("precision", "recall", "left_censored_called_event", "mean_absolute_error", "covered_95",
             "calibration_error")  # fmt: skip
    table("Scores (times in frames)", ["score", "value"], [(n, found[n]) for n in names])
