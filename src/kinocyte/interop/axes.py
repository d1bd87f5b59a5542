"""What each axis of an array is: what the file states, what ``--axes`` says, and the question where neither does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: letters a person may write for the axes of a file
AXES = "tczyx"


@dataclass(frozen=True, slots=True)
class AxesAnswer:
    """The axes of an array, or the question that must be answered first."""

    axes: str
    question: str | None = None
    note: str | None = None


def settle_axes(found: str, shape: Sequence[int], *, option: str | None, override: bool, place: str) -> AxesAnswer:
    """Decide what each axis of an array is.

    Parameters
    ----------
    found : str
        One lower-case letter an axis as the file states it, ``?`` where it states nothing, ``s`` for colour.
    shape : sequence of int
        Sizes.
    option : str, optional
        What ``--axes`` says, such as ``tyx``.
    override : bool
        Whether ``--axes`` wins over the file.
    place : str
        File for the message.

    Returns
    -------
    AxesAnswer
        Axes of the same length as ``found``. Axes of size 1 that the file does not name are written ``1``.
    """
    fixed = "".join("1" if n == 1 and a == "?" else a for a, n in zip(found, shape, strict=True))
    open_axes = [i for i, (a, n) in enumerate(zip(fixed, shape, strict=True)) if n > 1 and a not in "yxs"]
    if option is None or not open_axes:
        if "?" not in fixed:
            return AxesAnswer(fixed)
        size = " x ".join(map(str, shape))
        return AxesAnswer(
            fixed,
            question=(
                f"'{place}' is {size} pixels and does not say what its first axis is; "
                f"give --axes, such as --axes {_example(fixed, shape)}."
            ),
        )
    wanted = [a for a in option.lower() if a not in "yxs"]
    if len(wanted) != len(open_axes):
        size = " x ".join(map(str, shape))
        return AxesAnswer(
            fixed, question=f"--axes {option} does not fit '{place}', which is {size} pixels; name each axis once."
        )
    answer = list(fixed)
    differs = False
    for i, letter in zip(open_axes, wanted, strict=True):
        differs |= fixed[i] not in {letter, "?"}
        answer[i] = letter
    if differs and not override:
        return AxesAnswer(
            fixed,
            question=(
                f"'{place}' states the axes {_shown(fixed)}, --axes says {option}; "
                "leave --axes out or add --override-metadata to trust the option."
            ),
        )
    note = f"axes {_shown(fixed)} of '{place}' were read as {option} (--override-metadata)" if differs else None
    return AxesAnswer("".join("1" if a == "?" else a for a in answer), note=note)


def _shown(axes: str) -> str:
    return axes.replace("1", "").replace("?", "") or axes


def _example(fixed: str, shape: Sequence[int]) -> str:
    free = [a for a in "tczs" if a not in fixed]
    return "".join(
        (free.pop(0) if free else "t") if a == "?" else a
        for a, n in zip(fixed, shape, strict=True)
        if n > 1 or a in "yx"
    )


def parse_axes(text: str) -> str:
    """Return ``--axes`` in lower case.

    Raises
    ------
    ValueError
        If a letter is unknown or used twice, or y and x do not end it.
    """
    axes = text.strip().lower()
    if not set(axes) <= set(AXES + "s") or len(set(axes)) != len(axes) or not axes.endswith(("yx", "yxs")):
        msg = (
            f"'{text}' names no axes; write letters of t, c, z, y, x once each with yx at the end, such as tyx or tcyx"
        )
        raise ValueError(msg)
    return axes
