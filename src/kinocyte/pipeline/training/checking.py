"""Two folders of images and targets, checked before a network learns from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kinocyte.core.errors import ParameterError

if TYPE_CHECKING:
    from kinocyte.interop.pair_folders import NamedPairs
    from kinocyte.learning.data.checks import DataReport, Finding
    from kinocyte.learning.data.pairs import Pair
    from kinocyte.learning.tasks.base import Task

Target = Literal["labels", "classes", "image", "none"]


@dataclass(frozen=True, eq=False)
class FolderReport:
    """What is wrong with two folders.

    Parameters
    ----------
    findings : tuple of Finding
        The gravest first; files without a partner before all others.
    facts : DataReport
        The facts of every pair.
    target : {"labels", "classes", "image", "none"}
        What targets hold.
    guessed : bool
        Whether nobody said what they hold.
    """

    findings: tuple[Finding, ...]
    facts: DataReport
    target: Target
    guessed: bool

    @property
    def ok(self) -> bool:
        """Tell whether no error was found."""
        return not any(f.severity == "error" for f in self.findings)


def check_folders(
    inputs: Path,
    targets: Path | None = None,
    *,
    task: Task | None = None,
    target: Target | None = None,
    held_out_inputs: Path | None = None,
    held_out_targets: Path | None = None,
    patch_px: int | None = None,
    axes: str | None = None,
    group: str | None = None,
) -> FolderReport:
    """Check pairs, shapes, labels, grey values, doubles, leakage and sizes. Nothing is changed.

    Parameters
    ----------
    inputs, targets : Path
        Folders of images and of what should come out of them, or a BioImage.IO data set; no targets: images alone.
    task : Task, optional
        What is to be learnt: what targets hold, and how far the network sees.
    target : {"labels", "classes", "image"}, optional
        What targets hold, where no task says it; guessed from the first pair when left out.
    held_out_inputs, held_out_targets : Path, optional
        Images that a model will be judged by, of which none may be learnt from.
    patch_px : int, optional
        Side of the patches to train with.
    axes : str, optional
        What the axes of the files are, such as ``tyx``.
    group : str, optional
        Regular expression that finds in a name the image or movie a file is of.

    Raises
    ------
    ParameterError
        If no file has a partner.
    InputFileError
        If a folder or file cannot be read.
    """
    from kinocyte.interop.bioimageio_dataset import is_described, read_dataset
    from kinocyte.learning.data.checks import Finding, check_pairs, guess_target
    from kinocyte.pipeline.pairs import read_pairs

    if targets is None and is_described(inputs):
        described = read_dataset(inputs)
        inputs, targets = described.inputs, described.targets
    kind: Target = task.target if task is not None else target or "image"
    if targets is None:
        kind = "none"
    bare = task is not None and task.target_optional  # images without a target teach something too
    alone = [] if targets is None else lonely(inputs, targets, unlabelled=bare)
    if held_out_targets is not None and held_out_inputs is not None:
        alone += lonely(held_out_inputs, held_out_targets)
    broken: dict[str, str] = {}

    def read(images: Path, goals: Path | None, kind: Target) -> list[Pair]:
        return read_pairs(
            images, goals, target=kind, axes=axes, group=group, partial=True, keep_unlabelled=bare, broken=broken
        )

    guessed = task is None and target is None
    if guessed:
        first = read(inputs, targets, "image")
        kind = guess_target(first[0]) if first else "image"
    # labels come as the one channel of an image here, so that colour masks are found and not refused
    pairs = read(inputs, targets, kind)
    if targets is None and task is not None:  # some tasks make targets of the images
        pairs = list(task.arranged(pairs))
        kind = task.target if all(p.has_target for p in pairs) else kind
    held = read(held_out_inputs, held_out_targets, kind) if held_out_inputs is not None else []
    size = None if patch_px is None else (patch_px, patch_px)
    report = check_pairs(pairs, held, target=kind, task=task, patch_px=size)
    unpaired = [Finding("error", "unpaired", names, sentence) for names, sentence in alone]
    unread = [Finding("error", "unreadable", (name,), sentence) for name, sentence in broken.items()]
    return FolderReport((*unpaired, *unread, *report.findings), report, kind, guessed)


def lonely(inputs: Path, targets: Path, *, unlabelled: bool = False) -> list[tuple[tuple[str, ...], str]]:
    """Return the names of files without a partner, with a sentence about them.

    Parameters
    ----------
    inputs, targets : Path
        Folders of images and of their targets.
    unlabelled : bool
        Whether images may be without a target.

    Raises
    ------
    ParameterError
        If no file has one.
    """
    from kinocyte.interop.pair_folders import match_names, unpaired

    found: NamedPairs = match_names(inputs, targets)
    if unlabelled:
        found = replace(found, only_inputs=())
    alone = [tuple(p.name for p in side) for side in (found.only_inputs, found.only_targets) if side]
    sentences = [s[0].upper() + s[1:] + "; rename it or take it out." for s in unpaired(found)]
    if not found.pairs:
        msg = f"No file of '{inputs}' has a partner in '{targets}': {' '.join(sentences)}"
        raise ParameterError(msg)
    return list(zip(alone, sentences, strict=True))


def named_task(name: str) -> Task:
    """Return a task by its name, with its defaults.

    Raises
    ------
    ParameterError
        If no installed package offers it.
    """
    from kinocyte.core import registry
    from kinocyte.learning.tasks.base import Task

    found = registry.parse("task", {"method": name})
    if not isinstance(found, Task):
        msg = f"'{name}' is no task of deep learning."
        raise ParameterError(msg)
    return found
