"""Forms: every field of every method is there, and any value that a method takes is shown and given back."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("qtpy")
pytest.importorskip("napari")

from kinocyte.core import registry
from kinocyte.core.method import Method

METHODS = [(kind, name) for kind in registry.kinds() for name in registry.methods(kind)]


@pytest.fixture(scope="module", autouse=True)
def application() -> Any:
    """Return the application of Qt."""
    from qtpy.QtWidgets import QApplication

    return QApplication.instance() or QApplication([])


def required_values(model: type[Method]) -> dict[str, Any]:
    """Return a value for each field that has no default."""
    known: dict[str, Any] = {
        "when": "mean_dapi > 3",
        "signals": ["mean_dapi"],
        "columns": {"ratio": "mean_a / mean_b"},
        "states": {"both": "a_state"},
        "of": [{"method": "threshold", "channel": "dapi", "low": None}],
        "populations": ["red", "green"],
        "statistics": ["mean"],
    }
    found = {}
    for key, info in model.model_fields.items():
        if info.is_required():
            found[key] = known.get(key, "dapi" if info.annotation is str else 1.0)
    if "of" in found:
        found["of"] = [{"method": "threshold", "channel": "dapi", "filters": []}]
    return found


@pytest.mark.parametrize(("kind", "name"), METHODS, ids=[f"{k}.{n}" for k, n in METHODS])
def test_a_form_has_every_field_and_shows_the_defaults(kind: str, name: str) -> None:
    from kinocyte.app.form import ModelForm
    from kinocyte.app.form_fields import Choices
    from kinocyte.app.form_models import model_fields, plain

    model = registry.get(kind, name)
    form = ModelForm(model, Choices(channels=("dapi",)))
    assert set(form.editors) == set(model_fields(model)) - {"method"}
    shown = form.values(everything=True)
    for key, info in model_fields(model).items():
        if key != "method" and not info.is_required():
            assert plain(shown[key]) == plain(info.get_default(call_default_factory=True)), key
    assert not set(form.values()) - {k for k, i in model_fields(model).items() if i.is_required()}
    for key, info in model_fields(model).items():
        if key != "method":  # help of the model is the help of the form
            assert str(info.description).split("<")[0][:40] in form.editors[key].toolTip()


def test_the_tables_of_a_training_have_every_field_and_give_back_what_they_show() -> None:
    from kinocyte.app.form import ModelForm
    from kinocyte.app.form_fields import Choices
    from kinocyte.app.form_models import model_fields, plain
    from kinocyte.learning.data.augment import Augmentation
    from kinocyte.learning.training.settings import TrainingSettings

    for model in (TrainingSettings, Augmentation):
        form = ModelForm(model, Choices())
        assert set(form.editors) == set(model_fields(model))
        assert form.values() == {}
        found = form.check()
        assert found is not None
        assert plain(found) == plain(model())
    form = ModelForm(TrainingSettings, Choices())
    for patch in (64, [16, 64, 64]):  # one number for all axes, or one for each
        form.set_values({"patch_px": patch})
        assert form.values() == {"patch_px": patch}


@pytest.mark.parametrize(("kind", "name"), METHODS, ids=[f"{k}.{n}" for k, n in METHODS])
def test_a_form_gives_the_method_that_the_table_gives(kind: str, name: str) -> None:
    from kinocyte.app.form import ModelForm
    from kinocyte.app.form_fields import Choices
    from kinocyte.app.form_models import plain

    model = registry.get(kind, name)
    try:
        wanted = model.model_validate(required_values(model))
    except ValueError as error:
        pytest.skip(f"this test knows no values for it: {error}")
    form = ModelForm(model, Choices())
    form.set_values(plain(wanted))
    assert form.check() == wanted


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("segmentation", "threshold", {"channel": "a b", "threshold": "fixed", "low": 1e-7, "high": 0.1 + 0.2}),
    (
        "segmentation",
        "threshold",
        {
            "channel": "dapi",
            "filters": [{"filter": "median", "radius_um": 1.5}, {"filter": "dog"}, {"filter": "invert", "value": None}],
            "keep": [{"feature": "solidity", "min": 0.8}, {"feature": "mean", "max": 900.0}],
        },
    ),
    ("segmentation", "union", {"of": [{"channel": "a"}, {"channel": "b", "filters": [{"filter": "gaussian"}]}]}),
    ("segmentation", "combined", {"populations": ["red, dim", "green"]}),
    ("measurement", "contour_bands", {"bands_um": [[0, 1.25], [-3, 0]], "operations": ["mean", "std"]}),
    ("measurement", "intensity", {"percentiles": [1, 99.9], "channels": ['odd "name"', "b"]}),
    ("registration", "phase_correlation", {"channel": ["a"], "lags": [1, 3], "region_px": [0, 10, 0, 20]}),
    ("registration", "phase_correlation", {"channel": "a", "region_px": None}),
    ("tracking", "lap", {"feature_penalties": {"mean_a": 1.0}, "gap_feature_penalties": None}),
    ("tracking", "lap", {"gap_feature_penalties": {}}),
    ("tracking", "manual", {"pairs": [[1, 2], [3, 4]]}),
    ("event", "group", {"when": {"a": "x > 1", "b": "x < 1"}}),
    ("event", "group", {"when": "x > 1"}),
    ("comparison", "survival", {"event": "death", "by": "dose", "reference": 10.0, "replicate": ""}),
    ("comparison", "survival", {"event": "death", "by": "dose", "reference": "10", "replicate": None}),
    ("table", "derive", {"columns": {"r": "a / b", "s": "a + b"}}),
]


@pytest.mark.parametrize(("kind", "name", "values"), CASES)
def test_any_value_survives_the_form(kind: str, name: str, values: dict[str, Any]) -> None:
    from kinocyte.app.form import ModelForm
    from kinocyte.app.form_fields import Choices
    from kinocyte.app.form_models import plain

    model = registry.get(kind, name)
    wanted = model.model_validate(values)
    form = ModelForm(model, Choices())
    form.set_values(plain(wanted))
    found = form.check()
    assert found is not None, {k: e.text() for k, e in form._errors.items() if e.text()}
    assert plain(found) == plain(wanted)


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("min_area_um2", "-1", "must be at least 0"),
        ("level_factor", "11", "must be at most 10"),
        ("background_sd", "many", "number"),
        ("channel", "", "is needed"),
    ],
)
def test_a_refusal_stands_beside_its_field_in_plain_words(key: str, text: str, says: str) -> None:
    from kinocyte.app.form import ModelForm
    from kinocyte.app.form_fields import Choices

    form = ModelForm(registry.get("segmentation", "threshold"), Choices())
    form.set_values({"channel": "dapi"})
    assert form.check() is not None
    editor: Any = form.editors[key]
    (editor.line.setText if hasattr(editor, "line") else editor.box.setCurrentText)(text)
    assert form.check() is None
    assert says in form._errors[key].text()
    assert [k for k, label in form._errors.items() if label.text()] == [key]


def test_a_nested_refusal_stands_in_the_table_it_is_about() -> None:
    from kinocyte.app.form import ModelForm
    from kinocyte.app.form_fields import Choices

    form = ModelForm(registry.get("segmentation", "threshold"), Choices())
    form.set_values({"channel": "dapi", "filters": [{"filter": "gaussian", "sigma_um": 1.0}, {"filter": "median"}]})
    filters: Any = form.editors["filters"]
    filters.entries[0][1].form.editors["sigma_um"].line.setText("0")
    assert form.check() is None
    assert "must be above 0" in filters.entries[0][1].form._errors["sigma_um"].text()
    assert filters.entries[0][2].button.isChecked(), "the fold with the mistake opens"


def test_arrow_keys_step_a_number_and_the_wheel_does_not() -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    from kinocyte.app.form import ModelForm
    from kinocyte.app.form_fields import Choices

    form = ModelForm(registry.get("tracking", "lap"), Choices())
    form.show()
    told: list[int] = []
    form.changed.connect(lambda: told.append(1))
    line: Any = form.editors["max_distance_um"].line  # type: ignore[attr-defined]
    line.setText("15")
    QTest.keyClick(line, Qt.Key.Key_Up)
    assert line.text() == "16"
    assert told
    form.close()


def test_places_and_their_methods_are_one_form() -> None:
    from kinocyte.app.form import MethodEdit
    from kinocyte.app.form_fields import Choices
    from kinocyte.pipeline.model import EventPlace

    editor = MethodEdit("event", Choices(), "step", place=EventPlace)
    editor.set_value({"method": "threshold_transition", "name": "death", "when": "mean_pi > 200"})
    assert editor.value() == {"method": "threshold_transition", "name": "death", "when": "mean_pi > 200"}
    assert editor.form is not None
    assert editor.form.check() is not None
