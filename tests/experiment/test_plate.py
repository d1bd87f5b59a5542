"""Wells, positions, conditions and the tables over all of them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinocyte
from kinocyte import Scale
from kinocyte.core.errors import ParameterError, StoreError, TableError
from kinocyte.experiment.names import field_name, item_name, well_name, well_order
from kinocyte.experiment.records import Record


def test_plate_is_valid_ome_zarr_05(tmp_path: Path, fill, objects) -> None:  # type: ignore[no-untyped-def]
    import numpy as np
    import yaozarrs

    experiment = fill(tmp_path / "e.zarr", wells=("B2", "B10", "A1"), shape=(2, 2, 3, 8, 9))
    with experiment.position("B2/1").write_labels("nuclei") as writer:
        for t in range(2):
            writer.write(t, np.zeros((3, 8, 9), np.uint32))
    experiment.position("B2/1").write_table("nuclei_objects", objects)
    for path in ("", "/B/2", "/B/2/1", "/B/2/1/labels", "/B/2/1/labels/nuclei"):
        yaozarrs.validate_zarr_store(f"{tmp_path}/e.zarr{path}")
    assert list(experiment.wells) == ["A1", "B2", "B10"]


@pytest.mark.filterwarnings("ignore")
def test_ngio_reads_what_we_wrote(tmp_path: Path, fill, objects) -> None:  # type: ignore[no-untyped-def]
    ngio = pytest.importorskip("ngio")
    experiment = fill(tmp_path / "e.zarr")
    experiment.position("B2/1").write_table("nuclei_objects", objects)
    experiment.set_conditions(pl.DataFrame({"well": ["b02"], "drug": ["x"]}))
    plate = ngio.open_ome_zarr_plate(str(tmp_path / "e.zarr"))
    image = plate.get_image("B", "2", "1")
    assert image.channel_labels == ["c0", "c1"]
    assert image.get_image().pixel_size.x == pytest.approx(0.25)
    assert image.get_table("nuclei_objects").dataframe["x_um"].tolist() == [1.0, 2.0, 3.0]
    assert plate.get_table("conditions").dataframe["drug"].tolist() == ["x"]


def test_one_table_over_all_positions_carries_the_conditions(tmp_path: Path, fill, objects) -> None:  # type: ignore[no-untyped-def]
    experiment = fill(tmp_path / "e.zarr", wells=("A1", "A2", "A3"))
    for well in ("A1", "A2"):
        experiment.position(f"{well}/1").write_table("nuclei_objects", objects)
    experiment.set_conditions(pl.DataFrame({"well": ["A01", "A2", "H12"], "dose_nM": [0.0, 5.0, 9.0]}))
    table = kinocyte.open(tmp_path / "e.zarr").objects("nuclei").collect()
    assert table.height == 6
    assert table.group_by("well", maintain_order=True).agg(pl.col("dose_nM").first()).rows() == [
        ("A1", 0.0),
        ("A2", 5.0),
    ]
    assert table["position"].unique(maintain_order=True).to_list() == ["A1/1", "A2/1"]
    with pytest.raises(StoreError, match="did you mean 'nuclei_objects'"):
        experiment.scan("nuclei_object")


def test_conditions_are_checked(tmp_path: Path, fill) -> None:  # type: ignore[no-untyped-def]
    experiment = fill(tmp_path / "e.zarr")
    for bad, said in (
        (pl.DataFrame({"wel": ["A1"]}), "did you mean 'wel'"),
        (pl.DataFrame({"well": ["A1", "A01"]}), "names well A1 twice"),
        (pl.DataFrame({"well": ["A1"], "frame": [1]}), "uses the column name 'frame'"),
    ):
        with pytest.raises(TableError, match=said):
            experiment.set_conditions(bad)
    assert experiment.conditions.columns == ["well"]


def test_a_table_counts_only_while_what_it_was_made_from_stands(tmp_path: Path, fill, objects) -> None:  # type: ignore[no-untyped-def]
    position = fill(tmp_path / "e.zarr").position("B2/1")
    position.write_table("n_objects", objects, step="n.segmentation")
    position.records.put(Record(step="segmentation", population="n", fingerprint="s1"))
    features = pl.DataFrame({"object_id": [1, 2, 3], "area_um2": [1.0, 2.0, 3.0]})
    position.write_table("n_features", features, step="n.measurement")
    made = Record(step="measurement", population="n", fingerprint="m1", inputs={"step:n.segmentation": "s1"})
    assert "area_um2" not in position.objects("n").columns, "the record is not written yet"
    position.records.put(made)
    assert position.objects("n")["area_um2"].to_list() == [1.0, 2.0, 3.0]
    position.records.put(Record(step="segmentation", population="n", fingerprint="s2"))
    assert "area_um2" not in position.objects("n").columns, "segmentation ran again"
    with pytest.raises(StoreError, match="bring it up to date"):
        position.scan_standing("n_features")


def test_nothing_of_a_user_is_overwritten(tmp_path: Path, fill) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.doc").write_text("years")
    with pytest.raises(StoreError, match="not an experiment"):
        kinocyte.create(folder)
    fill(tmp_path / "e.zarr")
    with pytest.raises(StoreError, match="exists already"):
        kinocyte.create(tmp_path / "e.zarr")
    with pytest.raises(StoreError, match="already holds position B2/1"):
        kinocyte.open(tmp_path / "e.zarr").new_position(
            well="B2", field="1", shape=(1, 1, 1, 2, 2), dtype="u1", channels=["a"], scale=Scale.isotropic(1.0)
        )
    assert (folder / "thesis.doc").read_text() == "years"


def test_absent_and_foreign_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="kinocyte import"):
        kinocyte.open(tmp_path / "none.zarr")
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr/zarr.json").write_text("{ broken")
    with pytest.raises(StoreError, match=r"zarr\.json is not valid JSON"):
        kinocyte.open(tmp_path / "x.zarr")


@pytest.mark.parametrize("path", ["../../etc", "B/../..", "/B/2", "B/2/3", "B"])
def test_paths_in_metadata_cannot_leave_the_store(tmp_path: Path, fill, path: str) -> None:  # type: ignore[no-untyped-def]
    fill(tmp_path / "e.zarr")
    meta = json.loads((tmp_path / "e.zarr/zarr.json").read_text())
    meta["attributes"]["ome"]["plate"]["wells"][0]["path"] = path
    (tmp_path / "e.zarr/zarr.json").write_text(json.dumps(meta))
    with pytest.raises(StoreError, match="metadata is damaged"):
        kinocyte.open(tmp_path / "e.zarr").positions  # noqa: B018 - reading it is the test


@given(st.text())
def test_names_that_become_paths_hold_nothing_but_letters_and_digits(name: str) -> None:
    for check in (field_name, lambda n: item_name(n, "population"), well_name):
        try:
            accepted = check(name)
        except ParameterError as error:
            assert str(error).strip()  # noqa: PT017 - either outcome is right, a silent one is not
        else:
            assert accepted.replace("_", "").isascii()
            assert accepted.replace("_", "").isalnum()


def test_wells_are_in_the_order_of_a_plate() -> None:
    assert sorted(["B10", "AA1", "B2", "A12"], key=well_order) == ["A12", "B2", "B10", "AA1"]
    assert well_name(" b02 ") == "B2"


def test_any_ome_zarr_of_version_04_opens_and_is_left_as_it_is(tmp_path: Path) -> None:
    import numpy as np
    import zarr

    group = zarr.open_group(str(tmp_path / "i.zarr"), mode="w", zarr_format=2)
    pixels = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    group.create_array("s0", data=pixels)
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [
                {"name": "t", "type": "time", "unit": "second"},
                {"name": "z", "type": "space", "unit": "nanometer"},
                {"name": "y", "type": "space", "unit": "micrometer"},
                {"name": "x", "type": "space", "unit": "micrometer"},
            ],
            "datasets": [
                {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [30.0, 500.0, 0.2, 0.2]}]}
            ],
        }
    ]
    experiment = kinocyte.open(tmp_path / "i.zarr")
    position = experiment.position("A1/0")
    np.testing.assert_array_equal(position.image().frame(1, 0), pixels[1])
    assert position.scale == Scale(y_um=0.2, x_um=0.2, z_um=0.5, frame_interval_min=0.5)
    with pytest.raises(StoreError, match="made by another program"):
        experiment.check_writable()


def test_pixels_may_stay_where_they_are(tmp_path: Path, fill) -> None:  # type: ignore[no-untyped-def]
    import numpy as np

    source = fill(tmp_path / "source.zarr").position("B2/1")
    ours = kinocyte.create(tmp_path / "ours.zarr")
    ours.link_position(
        well="C3", field="1", image=source.image(), url=str(tmp_path / "source.zarr"), path="B/2/1", name="linked"
    )
    position = kinocyte.open(tmp_path / "ours.zarr").position("C3/1")
    np.testing.assert_array_equal(position.image().frame(2, "c1"), source.image().frame(2, "c1"))
    assert position.scale == source.scale
    assert position.is_linked
    with position.write_labels("nuclei") as writer:
        for t in range(3):
            writer.write(t, np.ones((20, 30), np.uint32))
    assert position.populations == ["nuclei"]
    assert not (tmp_path / "source.zarr/B/2/1/labels").exists()
