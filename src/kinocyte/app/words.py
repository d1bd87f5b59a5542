"""Names and refusals in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UNITS = ("_um2", "_um3", "_um", "_min", "_px", "_deg")
_SHORT = {"sd": "SD", "iou": "IoU", "bic": "BIC", "n": "number of", "snr": "signal to noise"}


def label_of(key: str, unit: str | None = None) -> str:
    """Return the label of a field: ``min_area_um2`` becomes ``Min area``; the unit stands behind the number."""
    text = key
    if unit:
        for ending in _UNITS:
            text = text.removesuffix(ending) if unit == ending[1:] else text
    text = text.replace("_", " ").strip() or key
    text = " ".join(_SHORT.get(word, word) for word in text.split())
    return text[0].upper() + text[1:]


_BOUNDS = {
    "greater_than": ("gt", "must be above"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be below"),
    "less_than_equal": ("le", "must be at most"),
}
_PLAIN = {
    "missing": "is needed",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "finite_number": "must be a finite number",
    "string_type": "must be a text",
    "string_pattern_mismatch": "must begin with a letter and hold only letters, digits and _",
    "bool_parsing": "must be true or false",
}


def explain(error: Mapping[str, Any]) -> str:
    """Return why pydantic refuses a value, in words for a person."""
    kind = str(error["type"])
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{words} {error.get('ctx', {}).get(key):g}"
    if kind in _PLAIN:
        return _PLAIN[kind]
    text = str(error["msg"]).removeprefix("Value error, ").removesuffix(".")
    return text[:1].lower() + text[1:] if not text[:2].isupper() else text


def counted(number: int, one: str) -> str:
    """Return a number with its noun: 1 track, 2 tracks."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"
