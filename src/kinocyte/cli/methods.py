"""Commands whose options are the fields of a method, so that no parameter is declared a second time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from pydantic import ValidationError, create_model

from kinocyte.cli._help import JoinedLines
from kinocyte.core import registry
from kinocyte.core.method import Method

#: Takes every word as it is; the words are read again once the method is known.
Words = Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]


def chosen(words: Sequence[str], default: str) -> str:
    """Return the value of ``--method`` among words of the command line."""
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word == "--method":
            return following
        if word.startswith("--method="):
            return word.partition("=")[2]
    return default


def call_with_method(
    name: str, kind: str, words: Sequence[str], make: Callable[[Any, Any], Callable[..., int]], *, default: str
) -> int:
    """Read words of the command line with the options of the method they name, and do the work.

    Parameters
    ----------
    name : str
        Name of the command, for its help.
    kind : str
        Kind of method.
    words : sequence of str
        What was typed after the command.
    make : callable
        ``make(annotation, default)`` returns the command, whose parameter ``method`` has that annotation and default.
    default : str
        Method used when ``--method`` is left out.

    Raises
    ------
    ParameterError
        If the method is unknown.
    """
    cls = _in_words(kind, registry.get(kind, chosen(words, default)))
    try:
        complete: Any = cls()
    except ValidationError:  # a parameter without default: the command line must give it
        complete = None
    command = make(Annotated[cls, Parameter(name="*")], complete)
    inner = App(
        name=f"kinocyte {name}",
        help_format="plaintext",
        help_formatter=JoinedLines(),
        result_action="return_value",
        version_flags=[],
        default_parameter=Parameter(negative_iterable=()),
    )
    inner.default(command)
    inner["--help"].show = False
    result = inner(list(words), exit_on_error=False, print_error=False, result_action="return_value")
    return result if isinstance(result, int) else 0


def _in_words(kind: str, cls: type[Method]) -> type[Method]:
    """Return the method as the command line reads it.

    ``--method`` may be any of its kind, so that the help names them all. A field of one or several names takes several,
    as ``--channel a --channel b``: the command line reads a union as its first member, and would keep the first name.
    """
    fields: dict[str, Any] = {
        n: (tuple[str, ...], f) for n, f in cls.model_fields.items() if f.annotation == str | tuple[str, ...]
    }
    fields["method"] = (Literal[tuple(registry.names(kind))], cls.model_fields["method"].default)
    return create_model(cls.__name__, __base__=cls, __doc__=cls.__doc__, **fields)
