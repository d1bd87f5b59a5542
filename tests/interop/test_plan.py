"""What is asked, what contradicts, and where positions go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile

from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.core.method import unit_of
from kinocyte.interop.options import ImportOptions, import_options
from kinocyte.interop.plan import ImportPlan, check_answered, plan_import
from kinocyte.interop.platemap import read_platemap


def movie(path: Path, *, t: int = 3, c: int = 1, **metadata: Any) -> Path:
    """Write an ImageJ hyperstack that states nothing but its axes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.arange(t * c * 72, dtype=np.uint16).reshape(t, c, 8, 9)
    tifffile.imwrite(path, image, imagej=True, metadata={"axes": "TCYX", **metadata})
    return path


def calibrated(path: Path, **options: Any) -> Path:
    image = np.arange(3 * 72, dtype=np.uint16).reshape(3, 8, 9)
    metadata = {"axes": "TYX", "unit": "um", "finterval": 120.0}
    tifffile.imwrite(path, image, imagej=True, resolution=(2, 2), metadata=metadata)
    return path


def plan(*paths: Path, **options: Any) -> ImportPlan:
    return plan_import(paths, import_options(**options))


# ---------------------------------------------------------------- questions
def test_what_is_not_known_is_asked_for_all_at_once(tmp_path: Path) -> None:
    stack = np.zeros((2, 4, 8, 9), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    asked = plan(tmp_path / "a.tif").questions
    assert [next(w for w in q.split() if w.startswith("--")).rstrip(".") for q in asked] == [
        "--pixel-size-um",
        "--z-step-um",
        "--frame-interval-min",
    ]
    with pytest.raises(ParameterError, match="--z-step-um"):
        check_answered(plan(tmp_path / "a.tif"))
    answered = plan(tmp_path / "a.tif", pixel_size_um=0.5, z_step_um=2, frame_interval_min=10)
    assert not answered.questions
    scale = answered.positions[0].scale
    assert scale is not None
    assert (scale.y_um, scale.x_um, scale.z_um, scale.frame_interval_min) == (0.5, 0.5, 2.0, 10.0)


def test_one_question_for_many_positions(tmp_path: Path) -> None:
    for n in range(5):
        movie(tmp_path / f"m{n}" / "movie.tif")
    asked = plan(tmp_path, wells="A1").questions
    assert len(asked) == 2
    assert "(and 4 more positions) does not state its pixel size" in asked[0]


def test_a_still_needs_no_interval(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "still.tif", np.zeros((8, 9), np.uint8))
    result = plan(tmp_path / "still.tif", pixel_size_um=1)
    assert not result.questions
    assert result.positions[0].scale is not None
    assert result.positions[0].scale.frame_interval_min is None


# ---------------------------------------------------------------- contradictions
def test_a_contradiction_is_named(tmp_path: Path) -> None:
    path = calibrated(tmp_path / "a.tif")
    assert not plan(path).questions
    asked = plan(path, pixel_size_um=0.65, frame_interval_min=5).questions
    assert "states a pixel size of 0.5 um (ImageJ metadata of 'a.tif'), --pixel-size-um says 0.65 um" in asked[0]
    assert "states a frame interval of 2 min" in asked[1]
    overridden = plan(path, pixel_size_um=0.65, frame_interval_min=5, override_metadata=True)
    assert not overridden.questions
    assert overridden.positions[0].scale is not None
    assert overridden.positions[0].scale.x_um == 0.65
    assert overridden.positions[0].scale.frame_interval_min == 5
    assert any("was overridden" in n for n in overridden.notes)


def test_a_rounded_option_agrees_and_the_file_stays_exact(data: Path) -> None:
    path = data / "vendor_files/xyt_calibrated_16bit__golgi_bfa_sum_projection.tif"
    result = plan(path, pixel_size_um=0.351, frame_interval_min=1)
    assert not result.questions
    assert result.positions[0].scale is not None
    assert result.positions[0].scale.x_um == pytest.approx(1 / 2.845474, rel=1e-12)


def test_channels(tmp_path: Path) -> None:
    path = movie(tmp_path / "a.tif", c=3)
    known = {"pixel_size_um": 1, "frame_interval_min": 1}
    assert plan(path, **known).positions[0].channels == ("channel_1", "channel_2", "channel_3")
    assert plan(path, channels="phase,green, red", **known).positions[0].channels == ("phase", "green", "red")
    assert "names 2 channels" in plan(path, channels="a,b", **known).questions[0]


def test_channels_that_are_stated_are_renamed_by_name(data: Path) -> None:
    path = data / "scratch_assay_labelled_10f/scratch-assay-labeled-10T-2Ch.tiff"
    known = {"frame_interval_min": 30}
    contradiction = plan(path, channels="nuclei,cyto,H3342,oblique", **known)
    assert "leave --channels out or add --override-metadata" in contradiction.questions[0]
    other = plan(path, channels="dna,phase,n,c", **known)
    assert "--channels 'H3342=dna,oblique=phase,nuclei=n,cyto=c'" in other.questions[0]
    renamed = plan(path, channels="H3342=hoechst", **known)
    assert renamed.positions[0].channels == ("hoechst", "oblique", "nuclei", "cyto")
    assert "did you mean 'H3342'" in plan(path, channels="H342=x", **known).questions[0]
    assert "one name" in plan(path, channels="H3342=cyto", **known).questions[0]


# ---------------------------------------------------------------- wells
def test_one_movie_goes_to_the_first_well(tmp_path: Path) -> None:
    result = plan(calibrated(tmp_path / "a.tif"))
    assert [p.id for p in result.positions] == ["A1/1"]
    assert any("goes to A1" in n for n in result.notes)


def test_several_movies_need_a_plate_map(tmp_path: Path) -> None:
    for name in ("control.tif", "treated.tif"):
        calibrated(tmp_path / name)
    assert "--wells" in plan(tmp_path).questions[0]
    everything = plan(tmp_path, wells="b02")
    assert [p.id for p in everything.positions] == ["B2/1", "B2/2"]
    table = tmp_path / "map.csv"
    table.write_text("\ufefffile;well;drug;dose\ncontrol.tif;B2;none;0\ntreated;B3;taxol;1.5\n", encoding="utf-8")
    mapped = plan(tmp_path, wells=str(table))
    assert not mapped.questions
    assert [(p.id, p.name) for p in mapped.positions] == [("B2/1", "control"), ("B3/1", "treated")]
    assert mapped.conditions is not None
    assert mapped.conditions.to_dicts() == [
        {"well": "B2", "drug": "none", "dose": 0.0},
        {"well": "B3", "drug": "taxol", "dose": 1.5},
    ]


def test_a_plate_map_as_toml(tmp_path: Path) -> None:
    for name in ("a1.tif", "a2.tif", "b.tif"):
        calibrated(tmp_path / name)
    table = tmp_path / "map.toml"
    table.write_text('[wells.C4]\nfiles = ["a*.tif"]\ndrug = "x"\n[wells.C5]\nfiles = ["b.tif"]\ndrug = "y"\n')
    mapped = plan(tmp_path, wells=str(table), axes=None)
    assert [p.id for p in mapped.positions] == ["C4/1", "C4/2", "C5/1"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,drug\na.tif,x\n", "names no well"),
        ("file,well\na.tif,Z\n", "Row 2.*'Z' is not a well"),
        ("file,well\na.tif,B2\na.tif,B3\n", "puts 'a' into B2"),
        ("well,drug\nB2,x\nB2,y\n", "a well has one condition"),
    ],
)
def test_bad_plate_maps_say_why(tmp_path: Path, text: str, why: str) -> None:
    calibrated(tmp_path / "a.tif")
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(ParameterError, match=why):
        plan(tmp_path / "a.tif", wells=str(tmp_path / "map.csv"))


def test_a_name_that_fits_nothing_is_told(tmp_path: Path) -> None:
    calibrated(tmp_path / "control.tif")
    (tmp_path / "map.csv").write_text("file,well\ncontrol.tif,B2\ncontroll2.tif,B3\n")
    asked = plan(tmp_path / "control.tif", wells=str(tmp_path / "map.csv")).questions
    assert "'controll2.tif', which no position is called; did you mean 'control'" in asked[0]


def test_neither_file_nor_well() -> None:
    with pytest.raises(ParameterError, match="neither a file nor a well"):
        read_platemap("nosuch.csv")


def test_a_map_of_conditions_only(data: Path, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("well,cell_line\nB2,MCF10A\nB3,other\n")
    files = sorted((data / "incucyte_mcf_3ch").glob("*h00m.tif"))
    result = plan(*files, wells=str(tmp_path / "map.csv"), pixel_size_um=1.24)
    assert not result.questions
    assert result.positions[0].id == "B2/1"
    assert result.conditions is not None
    assert result.conditions.filter(pl.col("well") == "B2")["cell_line"].to_list() == ["MCF10A"]


def test_a_map_that_contradicts_the_names(data: Path, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("file,well\nHC01501*,C3\n")
    files = sorted((data / "incucyte_mcf_3ch").glob("*h00m.tif"))
    known = {"wells": str(tmp_path / "map.csv"), "pixel_size_um": 1.24}
    assert "states well B2" in plan(*files, **known).questions[0]
    assert plan(*files, override_metadata=True, **known).positions[0].well == "C3"


def test_two_plates_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    for plate in ("one", "two"):
        tifffile.imwrite(tmp_path / f"{plate}_P_B2_1_00d00h00m.tif", np.zeros((8, 9), np.uint8))
    asked = plan(tmp_path, pixel_size_um=1).questions
    assert "both state well B2, field 1" in asked[0]


# ---------------------------------------------------------------- the table, the options
def test_the_table_of_a_dry_run(data: Path) -> None:
    table = plan(data / "vendor_files/3T-4C-3Z-2pos.czi", wells="A1").table()
    assert table["position"].to_list() == ["A1/1", "A1/2"]
    assert table.select("frames", "z", "y", "x", "dtype").rows() == [(3, 3, 32, 32, "uint16")] * 2
    assert table["pixel_size_um"][0] == pytest.approx(0.62048273556827216, rel=1e-9)
    assert table["problems"].null_count() == 2


def test_a_bad_position_is_named_and_the_others_stand(tmp_path: Path) -> None:
    calibrated(tmp_path / "good.tif")
    (tmp_path / "bad.tif").write_bytes(b"")
    result = plan(tmp_path, wells="A1")
    assert not result.questions
    assert len(result.problems) == 1
    assert "bad.tif" in result.problems[0]
    check_answered(result)
    with pytest.raises(InputFileError, match=r"bad\.tif"):
        check_answered(plan(tmp_path / "bad.tif", wells="A1"))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"pixel_size_um": -1}, r"--pixel-size-um = -1 is refused"),
        ({"frame_interval_min": 0}, "--frame-interval-min"),
        ({"axes": "tx"}, "--axes = 'tx' is refused"),
        ({"axes": "ttyx"}, "--axes"),
        ({"pattern": "{tme}"}, "did you mean 'time'"),
        ({"channels": "a,a"}, "--channels"),
        ({"channels": "a=b,c"}, "one kind"),
        ({"missing_frames": "guess"}, "--missing-frames"),
        ({"pixel_size": 1}, "did you mean 'pixel_size_um'"),
        ({"pixel_size_um": float("nan")}, "--pixel-size-um"),
    ],
)
def test_bad_options_say_why(values: dict[str, Any], why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        import_options(**values)


def test_options_are_declared_with_unit_and_help() -> None:
    for name, field in ImportOptions.model_fields.items():
        assert field.description
        assert field.description.endswith(".")
        ends = {"um": "_um", "min": "_min"}
        unit = unit_of(field)
        assert unit is None or name.endswith(ends[unit])


def test_planning_writes_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan(data / "celldetective_adcc_and_ricm/ricm_demo").table()
    assert list(tmp_path.iterdir()) == []


def test_source_notes_stay_small(tmp_path: Path) -> None:
    for t in range(60):
        tifffile.imwrite(tmp_path / f"a_t{t}.tif", np.zeros((8, 9), np.uint8))
    source = plan(tmp_path, pixel_size_um=1, frame_interval_min=1).positions[0].source
    assert source["n_files"] == 60
    assert len(source["files"]) == 20


def test_a_file_that_cannot_be_read_does_not_hide_the_wells_in_the_names_of_the_others(tmp_path: Path) -> None:
    for name in ("B02_s1", "B02_s2", "C03_s1"):
        tifffile.imwrite(
            tmp_path / f"{name}.tif", np.zeros((4, 8, 9), np.uint16), imagej=True, metadata={"axes": "TYX"}
        )
    (tmp_path / "broken.tif").write_bytes(b"II*\0junk")
    plan = plan_import([tmp_path])
    assert {p.name: p.well for p in plan.positions} == {"B02_s1": "B2", "B02_s2": "B2", "C03_s1": "C3", "broken": ""}
    assert not any("well" in q for q in plan.questions)
