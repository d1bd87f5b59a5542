"""How help is laid out: sentences fill the width of the terminal, wherever their source breaks a line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cyclopts.help import DefaultFormatter

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions


def joined(words: str) -> str:
    """Return text whose lines are joined, with its paragraphs and its lists kept.

    Parameters
    ----------
    words : str
        Text of a docstring. An empty line ends a paragraph; a line that begins with a dash or a space stands by itself.
    """
    return re.sub(r"(?<=\S)[ \t]*\n(?=[^\s\-])", " ", words)


class JoinedLines(DefaultFormatter):
    """Layout of a command's help: as the library of the command line draws it, with texts that fill their lines."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: Any) -> None:
        """Print one box, a `cyclopts.help.HelpPanel`, whose texts are joined in place."""
        for entry in panel.entries:
            _join(entry.description)
        super().__call__(console, options, panel)

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the command does."""
        _join(description)
        super().render_description(console, options, description)


def _join(inline: Any) -> None:
    """Join the lines of a text that is followed by choices and defaults."""
    from rich.text import Text

    text = getattr(inline, "primary_renderable", None)
    if isinstance(text, Text):
        inline.primary_renderable = Text(joined(text.plain), end=text.end)
