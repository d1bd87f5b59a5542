"""A wrong pipeline file is refused with the line, what was expected and the nearest right name."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.pipeline.locate import key_lines, line_of
from kinocyte.pipeline.model import json_schema
from kinocyte.pipeline.parse import load_pipeline, parse_pipeline
from kinocyte.pipeline.sweep.outputs import _anchored

GOOD = """\
name = "ADCC killing assay"
seed = 7

[population.targets]
measure = ["shape", { method = "intensity" }]

[population.targets.segmentation]
method = "threshold"
channel = "hoechst"

[population.targets.tracking]
method = "lap"
max_distance_um = 10.0
max_frame_gap = 3
"""


def test_a_good_file_is_read_with_all_its_parts() -> None:
    pipeline = parse_pipeline(GOOD)
    targets = pipeline.population["targets"]
    assert (pipeline.name, pipeline.seed) == ("ADCC killing assay", 7)
    assert targets.segmentation is not None
    assert targets.segmentation.model_dump()["channel"] == "hoechst"
    assert [m.name() for m in targets.measure] == ["shape", "intensity"]
    assert targets.tracking is not None
    assert targets.tracking.model_dump()["max_distance_um"] == 10.0


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("max_distance_um = 10.0", "max_distance = 10.0", 13, "did you mean 'max_distance_um'"),
        ("max_distance_um = 10.0", 'max_distance_um = "far"', 13, "max_distance_um = 'far' is refused"),
        ("max_distance_um = 10.0", "max_distance_um = -1.0", 13, "greater than"),
        ("max_distance_um = 10.0", "max_distance_um = nan", 13, "finite"),
        ('method = "lap"', 'method = "lapp"', 12, "did you mean 'lap'"),
        ('method = "threshold"', "", 7, "needs the key 'method'"),
        ('channel = "hoechst"', "", 7, "'population.targets.segmentation.channel' is needed but missing"),
        ("seed = 7", "sede = 7", 2, "did you mean 'seed'"),
        ("seed = 7", "seed = -1", 2, "greater than or equal to 0"),
        ('measure = ["shape"', 'measure = ["shap"', 5, "did you mean 'shape'"),
        ("[population.targets.tracking]", "[population.targets.trakcing]", 11, "did you mean 'tracking'"),
        ("[population.targets]", "[population.targets]\ncolour = 1", 5, "there is no key 'population.targets.colour'"),
    ],
)
def test_a_wrong_file_names_line_and_remedy(old: str, new: str, line: int, said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_pipeline(GOOD.replace(old, new), place="assay.toml")
    assert f"assay.toml, line {line}:" in str(caught.value)
    assert said in str(caught.value)


def test_every_mistake_is_named_at_once() -> None:
    text = GOOD.replace("seed = 7", "sede = 7").replace("max_frame_gap = 3", "max_frame_gap = 0")
    with pytest.raises(ParameterError) as caught:
        parse_pipeline(text)
    assert len(str(caught.value).splitlines()) == 2


def test_what_is_not_toml_is_refused_by_place() -> None:
    with pytest.raises(ParameterError, match="line 1"):
        parse_pipeline("name = = 3")


def test_files_that_are_no_pipeline_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="Cannot read the pipeline file"):
        load_pipeline(tmp_path / "none.toml")
    (tmp_path / "movie.toml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputFileError, match="not a text file"):
        load_pipeline(tmp_path / "movie.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(InputFileError, match="larger than 1 MB"):
        load_pipeline(tmp_path / "big.toml")
    with pytest.raises(InputFileError, match="Cannot read"):
        load_pipeline(tmp_path)


@pytest.mark.parametrize("name", ["../x", "a b", "", "1x", "é"])
def test_names_of_populations_cannot_become_paths(name: str) -> None:
    text = GOOD.replace("population.targets", f'population."{name}"')
    with pytest.raises(ParameterError, match="cannot name a population"):
        parse_pipeline(text)


def test_lines_are_found_through_arrays_of_tables_and_comments() -> None:
    text = '# a\n[a]\nb = 1 # x\n[[c.d]]\ne = 1\n[[c.d]]\n"e f" = 2\n[c.d.g]\nh.i = 3\n'
    lines = key_lines(text)
    assert tomllib.loads(text)["c"]["d"][1]["e f"] == 2
    assert lines["a", "b"] == 3
    assert lines["c", "d", 1, "e f"] == 7
    assert lines["c", "d", 1, "g", "h", "i"] == 9
    assert line_of(lines, ("c", "d", 1, "nothing", "deeper")) == 6


@given(st.text())
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    try:
        parse_pipeline(text)
    except ParameterError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


def test_schema_of_a_pipeline_carries_units_bounds_and_help() -> None:
    schema = json_schema()
    lap = schema["$defs"]["LAP"]["properties"]["max_distance_um"]
    assert lap["unit"] == "um"
    assert lap["description"]
    assert {"name", "seed", "population", "report"} <= set(schema["properties"])


def test_a_broken_package_stops_only_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from kinocyte.core import registry

    faulty = EntryPoint("broken", "no_such_package.module:Thing", registry.GROUP)
    known = registry._entries()
    changed = {**known, "tracking": {**known["tracking"], "broken": faulty}}
    monkeypatch.setattr(registry, "_entries", lambda: changed)
    registry.broken.cache_clear()
    try:
        assert "broken" not in registry.methods("tracking")
        assert "no_such_package" in registry.broken("tracking")["broken"]
        assert parse_pipeline(GOOD).population
        with pytest.raises(ParameterError, match="cannot be imported"):
            parse_pipeline(GOOD.replace('"lap"', '"broken"'))
    finally:
        registry.broken.cache_clear()
        registry.get.cache_clear()


def test_models_beside_the_pipeline_file_are_found_from_anywhere(tmp_path: Path) -> None:
    for folder in ("mine", "rigid"):
        (tmp_path / folder).mkdir()
    file = tmp_path / "p.toml"
    file.write_text(
        """
        name = "models of one's own"
        [registration]
        method = "phase_correlation"
        channel = "a"
        model = "rigid"
        [restoration.a]
        method = "deep"
        model = "mine"
        [stain.b]
        method = "virtual_stain"
        channel = "a"
        model = "mine"
        [population.cells.segmentation]
        method = "stardist"
        channel = "a"
        model = "mine"
        [population.cells.tracking]
        method = "lap"
        max_distance_um = 8
        [[population.cells.event]]
        method = "deep"
        name = "death"
        model = "mine"
        signals = ["area_um2"]
        """
    )
    pipeline = load_pipeline(file)
    cells = pipeline.population["cells"]
    users = [pipeline.restoration["a"], pipeline.stain["b"], cells.segmentation, cells.event[0]]
    assert [getattr(user, "model", None) for user in users] == [str(tmp_path / "mine")] * 4
    assert getattr(pipeline.registration, "model", None) == "rigid", "a kind of motion, not the folder of that name"
    again = parse_pipeline(_anchored(file.read_text(), tmp_path))
    assert again == pipeline, "the winner of a sweep, which is written elsewhere, finds them too"
