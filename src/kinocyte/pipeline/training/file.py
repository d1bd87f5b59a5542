"""The training file of tasks on images: what to learn, from what, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.method import param
from kinocyte.learning.data.augment import Augmentation
from kinocyte.learning.model import InputChannel
from kinocyte.learning.training.settings import TrainingSettings

if TYPE_CHECKING:
    from kinocyte.interop.bioimageio_dataset import Dataset
    from kinocyte.learning.data.pairs import Pair
    from kinocyte.learning.model import ImageModel
    from kinocyte.learning.tasks.base import Task
    from kinocyte.learning.training.fit import Lesson


#: what a file says of the model, which changes nothing in it
_WORDS = ("name", "description", "about", "authors", "license", "cite")
#: more classes than a package holds are labels of single objects
_LARGEST_CLASS = 255


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageData(_Table):
    """Where the images are: in two folders, in a described data set, in an experiment, or simulated."""

    inputs: str | None = param(None, help="Folder of images.")
    targets: str | None = param(None, help="Folder of what should come out of them, by the same names.")
    experiment: str | None = param(None, help="Experiment whose labels, with their corrections, are learnt.")
    population: str | None = param(None, help="Population of the experiment.")
    dataset: str | None = param(None, help="BioImage.IO data set: a folder with rdf.yaml and the images it describes.")
    channels: tuple[str, ...] = param(
        (),
        help="Channels to learn from, by name or by number from 1; left out: those of the model to start from where "
        "they are there, else those that the population was segmented by, else all.",
    )
    corrected_only: bool = param(False, help="Only frames of the experiment in which a person corrected labels.")
    every: int = param(1, ge=1, help="Take every n-th frame of the experiment; neighbours are nearly alike.")
    simulated_images: int | None = param(None, ge=2, help="Number of simulated images to learn to denoise from.")
    simulated_seed: int = param(1, help="Seed of the simulated images.")
    axes: str | None = param(None, help="What the axes of the files are, such as 'tyx', where the files do not say.")
    group: str | None = param(
        None, help="Regular expression that tells from a file name which image or movie it is a part of."
    )

    def pairs(self, folder: Path, task: Task, names: Sequence[str] = ()) -> list[Pair]:
        """Return the pairs; relative paths start from a folder.

        Parameters
        ----------
        folder : Path
            Where relative paths start from.
        task : Task
            What targets hold.
        names : sequence of str
            Channels that the model reads, taken where an image has others too.

        Raises
        ------
        ParameterError
            If the table names none or several of the four places, or a channel that is not there.
        InputFileError
            If files lack their partner or cannot be read.
        """
        from kinocyte.pipeline.training.sources import chosen_channels

        named = [n for n in ("inputs", "experiment", "dataset", "simulated_images") if getattr(self, n) is not None]
        if len(named) != 1 or (self.experiment is not None and self.population is None):
            msg = "[data] must name one of: inputs (and targets); dataset; experiment and population; simulated_images."
            raise ParameterError(msg)
        if self.simulated_images is not None:
            return _simulated(self.simulated_images, self.simulated_seed, task)
        if self.experiment is not None:
            return self._experiment_pairs(folder / self.experiment, names)
        return chosen_channels(self._file_pairs(folder, task), self.channels, names)

    def _experiment_pairs(self, path: Path, names: Sequence[str]) -> list[Pair]:
        from kinocyte.pipeline.pairs import experiment_pairs
        from kinocyte.pipeline.training.sources import segmented_channels

        population = self.population or ""
        return experiment_pairs(
            path, population, channels=self.channels or segmented_channels(path, population, names), every=self.every,
            corrected_only=self.corrected_only,
        )  # fmt: skip

    def _file_pairs(self, folder: Path, task: Task) -> list[Pair]:
        from kinocyte.pipeline.pairs import read_pairs

        targets = None if self.targets is None else folder / self.targets
        inputs = None if self.inputs is None else folder / self.inputs
        described = self.described(folder)
        if described is not None:
            inputs, targets = described.inputs, described.targets
            if targets is None and task.target != "none":
                msg = f"The data set '{described.name}' has images only; {task.name()} learns from {task.target}."
                raise ParameterError(msg)
        assert inputs is not None  # noqa: S101 - one of the two is named
        return read_pairs(
            inputs, targets, target=task.target, axes=self.axes, group=self.group, keep_unlabelled=task.target_optional
        )

    def described(self, folder: Path) -> Dataset | None:
        """Return the BioImage.IO data set, where one is named.

        Raises
        ------
        InputFileError
            If it is none, or not what it says.
        """
        from kinocyte.interop.bioimageio_dataset import read_dataset

        return None if self.dataset is None else read_dataset(folder / self.dataset)


def _simulated(n: int, seed: int, task: Task) -> list[Pair]:
    """Return noisy and clean images of simulated cells; without the clean ones where the task needs none."""
    from kinocyte.learning.data.pairs import Pair
    from kinocyte.simulation.exposures import varied_exposures

    if task.target not in {"image", "none"}:
        msg = f"Simulated images are for learning to denoise; {task.name()} learns from {task.target}: name its data."
        raise ParameterError(msg)
    clean_too = task.target == "image"
    return [
        Pair(f"simulated {i}", noisy, clean if clean_too else None, channels=("cells",))
        for i, (_, noisy, clean) in enumerate(varied_exposures(n, seed=seed))
    ]


class Replay(ImageData):
    """Other images to go on learning from, so that they are not forgotten."""

    share: float = param(0.3, gt=0, lt=1, help="Share of the patches that come from these images.")


class ImageTraining(_Table):
    """A training file of a task on images."""

    name: str = param("model", help="Name of the model.")
    description: str = param("", help="One sentence.")
    about: str = param("", help="What it was trained on, what it is good for, and what not.")
    authors: tuple[str, ...] = param(("unknown",), help="Who made it.")
    license: str = param("BSD-3-Clause", help="Licence of the model (SPDX).")
    cite: tuple[str, ...] = param((), help="What to cite, each with its DOI or address at the end.")
    task: dict[str, Any] = param(help="What is learnt: the table of a task.")
    data: ImageData = param(help="Where the images are.")
    replay: Replay | None = param(None, help="Images that a model to start from must not forget.")
    start: str | None = param(None, help="Model to begin with: a shipped one by name, or a folder or zip.")
    input: tuple[InputChannel, ...] = param((), help="Channels to read, in order of the images.")
    target: tuple[InputChannel, ...] = param((), help="Channels of target images, or the names of classes.")
    pixel_um: tuple[float, ...] | None = param(
        None,
        help="Pixel size of the model; images that say another are rescaled to it. Left out: that of the model to "
        "start from, else that of the images where all say the same.",
    )
    training: TrainingSettings = param(TrainingSettings(), help="How to train.")
    augmentation: Augmentation = param(Augmentation(), help="How patches are varied.")

    def card(self) -> dict[str, Any]:
        """Return what the model says of itself."""
        return self.model_dump(mode="json", include=set(_WORDS))

    def asked(self) -> dict[str, Any]:
        """Return all that decides the result, as plain values; words about the model may change meanwhile."""
        return self.model_dump(mode="json", exclude=set(_WORDS))

    def lesson(self, folder: Path) -> tuple[Lesson, Task]:
        """Return what is learnt from, and the task.

        Raises
        ------
        ParameterError
            If the data do not fit the file.
        """
        from kinocyte.learning.training.fit import Lesson
        from kinocyte.pipeline.training.sources import at_one_size

        start = None if self.start is None else _start(self.start, folder)
        task = self._task(start)
        names = [c.name for c in (self.input or (() if start is None else start.inputs))]
        pairs = task.arranged(self.data.pairs(folder, task, names))
        replayed = [] if self.replay is None else task.arranged(self.replay.pairs(folder, task, names))
        inputs = self.input or (start.inputs if start is not None else _channels(pairs))
        _need_channels(pairs[0], inputs)
        targets = self.target or (start.targets if start is not None else _goals(pairs, task))
        size = self.pixel_um or (None if start is None else start.pixel_um) or _pixel_um(pairs)
        fitted = size if task.enlargement == 1 else None  # a target of finer pixels stays on the grid of its image
        described = self.data.described(folder)
        return Lesson(
            at_one_size(pairs, fitted), inputs, targets, self.augmentation, size,
            replayed=at_one_size(replayed, fitted), replay_share=0.0 if self.replay is None else self.replay.share,
            start=start, card=self.card() if described is None else {**self.card(), "data": _told(described)},
        ), task  # fmt: skip

    def chosen_task(self, folder: Path) -> Task:
        """Return the task alone; no image is opened.

        Raises
        ------
        ParameterError
            If the model to start from does another task.
        """
        return self._task(None if self.start is None else _start(self.start, folder))

    def _task(self, start: Any) -> Task:
        """Return the task; what the file leaves out is as in the model to start from."""
        if start is None:
            return registry.parse("task", self.task)  # type: ignore[return-value]  # methods of the kind are tasks
        if not start.weights:
            msg = (
                f"The model '{self.start}' of another program is a network as a whole (TorchScript or ONNX), which "
                "can be applied but not trained on; begin with a model of Kinocyte, or weights of StarDist or Cellpose."
            )
            raise ParameterError(msg)
        if self.task.get("method", start.task.name()) != start.task.name():
            msg = f"The model '{self.start}' does {start.task.name()}, not {self.task['method']}; start from another."
            raise ParameterError(msg)
        given = start.task.model_dump(exclude_unset=False)
        return registry.parse("task", {**given, **self.task})  # type: ignore[return-value]  # as above


def _start(start: str, folder: Path) -> ImageModel:
    """Return the model to begin with: a package or run, weights of another program, or one that has a name."""
    from kinocyte.learning.foreign.convert import converted, kind_of, name_of
    from kinocyte.learning.model import load_image_model

    beside = folder / start
    if beside.is_file() and (kind := kind_of(beside)) != "package":
        return converted(beside, kind, name=name_of(beside))
    return load_image_model(str(beside) if beside.exists() else start)


def _told(dataset: Dataset) -> dict[str, Any]:
    """Return what the card of a model says of the data set that it learnt from."""
    return {"name": dataset.name, "license": dataset.license, "cite": list(dataset.cite)}


def _channels(pairs: Sequence[Pair]) -> tuple[InputChannel, ...]:
    first = pairs[0]
    names = first.channels or [f"channel_{i + 1}" for i in range(len(first.image))]  # as an import names them
    return tuple(InputChannel(name=n) for n in names)


def _need_channels(pair: Pair, inputs: Sequence[InputChannel]) -> None:
    n = len(pair.image)
    if n != len(inputs):
        names = ", ".join(c.name for c in inputs)
        msg = (
            f"'{pair.name}' has {n} channel(s), the model reads {len(inputs)} ({names}); say by channels in [data] "
            "which to learn from."
        )
        raise ParameterError(msg)


def _goals(pairs: Sequence[Pair], task: Task) -> tuple[InputChannel, ...]:
    """Return the channels of the targets, or the classes that the first images hold."""
    if task.target == "none":
        return _channels(pairs)
    target = pairs[0].target
    if task.target == "labels" and (target is not None or task.target_optional):
        return (InputChannel(name="objects"),)
    if target is None:
        msg = f"'{pairs[0].name}' has no target, which {task.name()} learns from; name the folder of targets."
        raise ParameterError(msg)
    if task.target == "image":
        return tuple(InputChannel(name=f"target {i + 1}") for i in range(len(target)))
    largest, where = max((float(t.max()), p.name) for p in pairs if (t := p.target) is not None and t.size)
    if not largest <= _LARGEST_CLASS:
        msg = (
            f"The target of '{where}' holds the class {largest:g}; classes are numbered 0, 1, 2 .. up to "
            f"{_LARGEST_CLASS}. If each object has a number of its own, learn stardist, flows or boundary."
        )
        raise ParameterError(msg)
    return tuple(InputChannel(name="background" if i == 0 else f"class {i}") for i in range(int(largest) + 1))


def _pixel_um(pairs: Sequence[Pair]) -> tuple[float, ...] | None:
    """Return the pixel size where all files say the same."""
    sizes = {p.pixel_um for p in pairs}
    return next(iter(sizes)) if len(sizes) == 1 else None


def parse_image_training(table: Mapping[str, Any], place: str) -> ImageTraining:
    """Return the training file that a table holds.

    Raises
    ------
    ParameterError
        If a key or value is refused.
    """
    try:
        wanted = ImageTraining.model_validate(table)
    except ValidationError as error:
        raise ParameterError(f"{place}: {refusal(error, ImageTraining, _PLACES)}.") from error
    if wanted.start is None or "method" in wanted.task:
        try:
            registry.parse("task", wanted.task)  # a wrong key is refused before anything is read
        except ParameterError as error:
            raise ParameterError(f"{place}: {error}") from error
    return wanted


_PLACES: Mapping[str, type[BaseModel]] = {
    "data": ImageData, "training": TrainingSettings, "augmentation": Augmentation, "replay": Replay,
    "input": InputChannel, "target": InputChannel,
}  # fmt: skip


def refusal(error: ValidationError, root: type[BaseModel], places: Mapping[str, type[BaseModel]]) -> str:
    """Return what is wrong with the tables of a file, without a full stop.

    Parameters
    ----------
    error : ValidationError
        Of the file as a whole.
    root : type
        Model of the file.
    places : mapping of str to type
        Models of the tables in it, by their keys.
    """
    return "; ".join(_clause(item, root, places) for item in error.errors(include_url=False))


def _clause(item: Any, root: type[BaseModel], places: Mapping[str, type[BaseModel]]) -> str:
    where = ".".join(str(p) for p in item["loc"])
    if item["type"] == "extra_forbidden":
        model = places.get(str(item["loc"][0]), root) if len(item["loc"]) > 1 else root
        return f"there is no key '{where}'; {nearest(str(item['loc'][-1]), model.model_fields)}"
    return f"'{where}' is missing" if item["type"] == "missing" else f"{where} = {item.get('input')!r}: {item['msg']}"
