"""Channels of a frame by name, for methods that read one or several together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from numpy.typing import NDArray
from pydantic import BeforeValidator

from kinocyte.core.errors import ParameterError, nearest

#: Pixels of one frame: one channel, or several by channel name. Each is (y, x) or (z, y, x).
Pixels = NDArray[Any] | Mapping[str, NDArray[Any]]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


#: A parameter that names channels; one may be given without brackets.
ChannelNames = Annotated[tuple[str, ...], BeforeValidator(_listed)]


def named_channels(pixels: Pixels, names: Sequence[str]) -> list[Any]:
    """Return the channels of a frame by name, in order, without reading them where they lie on disk.

    Parameters
    ----------
    pixels : array or mapping of str to array
        A single array is the one channel, whatever its name.
    names : sequence of str
        Which channels.

    Raises
    ------
    ParameterError
        If one is missing, or a single array is given where several are needed.
    """
    if not isinstance(pixels, Mapping):
        if len(names) != 1:
            msg = f"{len(names)} channels are read together ({', '.join(names)}); give them by name."
            raise ParameterError(msg)
        return [pixels]
    for name in names:
        if name not in pixels:
            msg = f"There is no channel '{name}'; {nearest(name, pixels)}."
            raise ParameterError(msg)
    return [pixels[name] for name in names]


def need_as_many(names: Sequence[str], wanted: Sequence[str], reader: str, key: str = "channel") -> None:
    """Refuse channels that are not as many as a model reads.

    Parameters
    ----------
    names : sequence of str
        Channels that a person named.
    wanted : sequence of str
        What the model calls those that it reads.
    reader : str
        The model in words, such as ``the model 'nuclei'``.
    key : str
        Where the channels were named.

    Raises
    ------
    ParameterError
        If the numbers differ.
    """
    if len(names) != len(wanted):
        given = f"{len(names)} channel" if len(names) == 1 else f"{len(names)} channels"
        msg = f"{key} names {given}, {reader} reads {len(wanted)}: {', '.join(wanted)}."
        raise ParameterError(msg)
