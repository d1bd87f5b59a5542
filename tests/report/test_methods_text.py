"""What was done, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.records import Record
from kinocyte.report.methods_text import methods_in, methods_text, parameters, steps
from tests.report.conftest import add_position


def test_one_sentence_a_step_with_parameters_and_references(experiment: Experiment) -> None:
    done = steps(experiment)
    assert [s.title for s in done] == ["segmentation of cells", "tracking of cells", "measurement of cells"]
    assert all(len(s.positions) == 8 for s in done)
    assert done[0].seconds == 12.0
    text = methods_text(experiment, done)
    paragraph = " ".join(text.sentences)
    assert paragraph.startswith(
        "8 movies from 4 wells (12 frames of 128 x 128 pixels, 0.5 µm per pixel, channel dye, "
        "one frame every 10 min) were analysed."
    )
    assert "Objects of the population cells were tracked with the method “lap” (max distance 10 µm" in paragraph
    assert "“shape” [" in paragraph
    assert "Kinocyte 0.1.0 (numpy 2.1.0, scikit-image 0.25.0)" in paragraph
    assert any("Jaqaman" in r for r in text.references)
    assert len(text.references) == len(set(text.references))


def test_all_parameters_are_listed_with_units_defaults_included() -> None:
    listed = dict(parameters("tracking", {"method": "lap", "max_distance_um": 10.0}))
    assert listed["max_distance_um"] == "10 µm"
    assert len(listed) > 1
    assert list(dict(parameters("tracking", {"method": "lap", "max_distance_um": 10.0}, changed_only=True))) == [
        "max_distance_um"
    ]


def test_a_method_that_is_no_longer_installed_is_still_named() -> None:
    assert parameters("segmentation", {"method": "theirs", "x": 1, "y": None, "z": True}) == [
        ("x", "1"),
        ("y", "not set"),
        ("z", "yes"),
    ]


def test_methods_are_found_wherever_a_record_holds_them() -> None:
    def found(document: Any) -> list[Any]:
        return list(methods_in(document))

    assert found({"method": "a", "x": {"method": "inner"}}) == [{"method": "a", "x": {"method": "inner"}}]
    assert found({"f": [{"method": "a"}, {"method": "b"}]}) == [{"method": "a"}, {"method": "b"}]
    assert found({"settings": 3}) == [{"settings": 3}]
    assert found({}) == []


def test_positions_with_other_parameters_and_corrections_are_told_apart(
    new_experiment: Callable[..., Experiment],
) -> None:
    made = new_experiment("Übung")
    one = add_position(made, "A1", "1", n_frames=1)
    two = add_position(made, "A1", "2", n_frames=1)
    two.records.put(
        Record(
            step="segmentation", population="cells", fingerprint="g", method={"method": "threshold", "channel": "other"}
        )
    )
    one.journal.append("delete", {"object_id": 1}, "cells")
    done = steps(made)
    assert [s.positions for s in done if s.step == "segmentation"] == [("A1/1",), ("A1/2",)]
    paragraph = " ".join(methods_text(made, done).sentences)
    assert "in 1 of 2 positions" in paragraph
    assert "1 correction was made by hand in 1 position;" in paragraph
    assert "2 movies from 1 well (1 frame of 128 x 128 pixels" in paragraph


def test_nothing_was_done(new_experiment: Callable[..., Experiment]) -> None:
    made = new_experiment()
    assert steps(made) == []
    assert methods_text(made, []).sentences == ()
