"""Editors of plain values: numbers, words, lists and tables of them."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from kinocyte.app import form_fields as fields
from kinocyte.app.form_fields import Editor
from kinocyte.app.form_models import bare_type, unit_shown
from kinocyte.core.method import unit_of


def number_editor(name: str, info: FieldInfo, *, optional: bool, whole: bool) -> Editor:
    """Return the editor of a number, with its unit."""
    editor = fields.Text(
        name,
        lambda text: fields.read_number(text, whole=whole),
        fields.write_number,
        optional=optional,
        unit=unit_shown(unit_of(info)),
        narrow=True,
    )
    editor.line.numeric, editor.line.whole = True, whole
    return editor


def compound_editor(
    kind: Any, name: str, offered: Callable[[], Sequence[str]] | None, *, optional: bool, unit: str
) -> Editor:
    """Return the editor of a list, a table of names, or a value of one of several types."""
    options = set(get_args(kind)) if get_origin(kind) in (Union, types.UnionType) else {kind}
    plain_options = {bare_type(o, ())[0] for o in options}
    if any(get_origin(o) is dict for o in plain_options):
        inner = bare_type(get_args(next(o for o in plain_options if get_origin(o) is dict))[1], ())[0]
        read_one = fields.read_number if inner in (int, float) else str
        return fields.Lines(name, read_one, or_text=str in plain_options, optional=optional)
    if plain_options in ({str, float}, {str, float, bool}):
        read_plain = fields.read_word_or_number if bool not in plain_options else _read_flag_too
        return fields.Text(name, read_plain, fields.write_word_or_number, optional=optional, choices=offered)
    either = str in plain_options
    whole_list = next((o for o in plain_options if get_origin(o) is tuple), None)
    if whole_list is None:
        msg = f"No editor for {kind} of {name}"
        raise TypeError(msg)
    inner = bare_type(get_args(whole_list)[0], ())[0]
    if inner in (int, float) or get_origin(inner) is tuple:
        pairs = get_origin(inner) is tuple
        number = bare_type(get_args(inner)[0], ())[0] if pairs else inner
        alone = bool(plain_options & {int, float})  # one number may stand for a list of them

        def read(text: str) -> Any:
            values = fields.read_numbers(text, whole=number is int, pairs=pairs)
            return values[0] if alone and len(values) == 1 else values

        return fields.Text(
            name,
            read,
            lambda value: fields.write_numbers(value if isinstance(value, list | tuple) else [value]),
            optional=optional,
            unit=unit_shown(unit),
        )
    if get_origin(inner) is Literal:
        words = [str(w) for w in get_args(inner)]
        offered = lambda: words  # noqa: E731 - the one name for both origins
    return fields.Text(
        name,
        (lambda text: _one_or_list(fields.split_list(text))) if either else fields.split_list,
        lambda value: fields.join_list([value] if isinstance(value, str) else value),
        optional=optional,
        choices=offered or tuple,
        several=True,
    )


def _read_flag_too(text: str) -> str | float | bool:
    """Return true or false where the text says so, otherwise a number or a word."""
    return {"true": True, "false": False}.get(text.strip().lower(), fields.read_word_or_number(text))


def _one_or_list(names: list[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else names


def write_word_or_empty(optional: bool) -> Callable[[Any], str]:
    """Return the function that writes a word; an empty one is shown as nothing where it may not be left out."""
    return fields.write_word if optional else lambda value: fields.write_word(value) if value else ""
