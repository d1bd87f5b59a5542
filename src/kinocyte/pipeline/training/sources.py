"""What a model is to learn from, brought into the form it reads: channels by name, one pixel size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinocyte.core.errors import CalibrationError, ParameterError, nearest
from kinocyte.learning.data.pairs import Pair

if TYPE_CHECKING:
    from kinocyte.experiment.experiment import Experiment

#: as in inference: images are not brought to pixels that differ more from their own
_MOST_RESCALING = 8.0


def chosen_channels(pairs: Sequence[Pair], asked: Sequence[str], names: Sequence[str]) -> list[Pair]:
    """Return pairs with the channels to learn from, in order.

    Parameters
    ----------
    pairs : sequence of Pair
        As they were read.
    asked : sequence of str
        Channels by name, or by number from 1; nothing leaves the choice to the names.
    names : sequence of str
        Channels that the model reads; taken where an image has channels of these names, else nothing is left out.

    Raises
    ------
    ParameterError
        If a channel that was asked for is not there.
    """
    found = []
    for pair in pairs:
        if asked:
            found.append(pair.with_channels([channel_number(pair, c) for c in asked]))
        elif names and pair.channels and tuple(names) != pair.channels and all(n in pair.channels for n in names):
            found.append(pair.with_channels([pair.channels.index(n) for n in names]))
        else:
            found.append(pair)
    return found


def channel_number(pair: Pair, channel: str) -> int:
    """Return which channel of an image a name, or a number from 1, means.

    Raises
    ------
    ParameterError
        If there is none of that name.
    """
    if channel in pair.channels:
        return pair.channels.index(channel)
    if channel.isdigit() and int(channel) > 0:
        return int(channel) - 1
    msg = f"'{pair.name}' has no channel '{channel}'; {nearest(channel, pair.channels)}, or numbers from 1."
    raise ParameterError(msg)


def segmented_channels(path: Path, population: str, names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the channels of an experiment to learn the labels of a population from.

    Those of the names that the model reads, where the experiment has them all; else those that the population was
    segmented by; all, where its labels were imported.

    Raises
    ------
    StoreError
        If this is no experiment.
    """
    import kinocyte

    experiment = kinocyte.open(path)
    first = next(iter(experiment.positions.values()), None)
    known = () if first is None else first.channels
    if names and all(n in known for n in names):
        return tuple(names)
    read = _read_by_segmentation(experiment, population)
    return read if all(c in known for c in read) else ()


def _read_by_segmentation(experiment: Experiment, population: str) -> tuple[str, ...]:
    for position in experiment.positions.values():
        record = position.records.get("segmentation", population)
        method: Any = {} if record is None else record.method.get("method")
        channel = method.get("channel") if isinstance(method, dict) else None
        if channel:
            return (channel,) if isinstance(channel, str) else tuple(str(c) for c in channel)
    return ()


def at_one_size(pairs: Sequence[Pair], pixel_um: Sequence[float] | None) -> list[Pair]:
    """Return pairs at one pixel size; those that do not say theirs are taken to have it.

    Raises
    ------
    CalibrationError
        If the pixels of an image are more than eight times larger or smaller.
    """
    from kinocyte.learning.data.rescaling import rescaled

    if pixel_um is None:
        return list(pairs)
    found = []
    for pair in pairs:
        if pair.pixel_um is None or len(pair.pixel_um) != len(pixel_um):
            found.append(pair)
            continue
        worst = max(max(a / b, b / a) for a, b in zip(pair.pixel_um, pixel_um, strict=True))
        if worst > _MOST_RESCALING:
            own, wanted = (" x ".join(f"{s:.4g}" for s in sizes) for sizes in (pair.pixel_um, pixel_um))
            msg = (
                f"'{pair.name}' has pixels of {own} um, the model has {wanted} um; correct the pixel size in the file, "
                "or set pixel_um in the training file."
            )
            raise CalibrationError(msg)
        found.append(rescaled(pair, pixel_um))
    return found
