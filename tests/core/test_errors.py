"""Errors that say what to do."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinocyte.core import errors
from kinocyte.core.errors import InputFileError, KinocyteError, nearest


def test_the_closest_choice_is_named_first() -> None:
    assert nearest("otsuu", ["li", "otsu", "triangle"]) == "did you mean 'otsu'? valid: li, otsu, triangle"


def test_nothing_close_lists_all_choices() -> None:
    assert nearest("zzz", ["li", "otsu"]) == "valid: li, otsu"


def test_no_choice_is_said() -> None:
    assert nearest("otsu", []) == "valid: none"


@given(st.text(), st.lists(st.text(min_size=1), max_size=8))
def test_every_choice_is_listed_and_the_hint_is_one_of_them(name: str, choices: list[str]) -> None:
    hint = nearest(name, choices)
    listed = ", ".join(sorted(set(choices))) if choices else "none"
    assert hint.endswith(f"valid: {listed}")
    if hint.startswith("did you mean"):
        assert any(hint.startswith(f"did you mean '{c}'? ") for c in choices)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8), st.data())
def test_a_name_that_is_right_is_its_own_hint(choices: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(choices))
    assert nearest(name, choices).startswith(f"did you mean '{name}'? ")


def all_errors() -> list[type[KinocyteError]]:
    found = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, KinocyteError)]
    assert len(found) > 5
    return found


@pytest.mark.parametrize("cls", all_errors(), ids=lambda c: c.__name__)
def test_each_error_prints_its_sentence_alone(cls: type[KinocyteError]) -> None:
    sentence = "movie.tif: page 3 is cut short; copy the file again."
    assert str(cls(sentence)) == sentence
    assert cls.__doc__


def test_errors_are_caught_by_the_builtin_they_resemble() -> None:
    assert issubclass(errors.ParameterError, ValueError)
    assert issubclass(errors.CalibrationError, ValueError)
    assert issubclass(errors.TableError, ValueError)
    assert issubclass(InputFileError, OSError)
    assert issubclass(errors.MissingExtraError, ImportError)
    assert issubclass(errors.BusyError, errors.StoreError)


def test_a_file_error_without_words_is_empty() -> None:
    assert str(InputFileError()) == ""
