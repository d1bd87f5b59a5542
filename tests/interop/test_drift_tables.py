"""Drift tables of Fast4DReg, NanoJ and NanoPyx: read as those programs write them, written as they read them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import InputFileError, KinocyteError, ParameterError
from kinocyte.core.schema import DRIFT
from kinocyte.interop import drift_tables
from kinocyte.interop.drift_tables import Foreign, find_tables, foreign_tables, read_drift, read_shifts, table_name

#: written by NanoPyx 2.1.5 (reference: first frame) for a texture moved by CONTENT
NANOPYX = """lib_version;2.1.5
date;2026-11-22 00:27:32.780004
apply;False
do_batch;False
ref_option;0
time_averaging;1
max_expected_drift;0
normalize;True
shift_calc_method;Max Fitting
use_roi;False
roi;None
show_ccm;True
show_drift_plot;True
show_drift_table;True
comments;None
Drift Table
XY;X;Y
0.0;0.0;0.0
3.524361;1.936;-2.945
5.01634;-0.932;-4.929
7.147868;-5.95;3.961
"""
#: dx, dy of the content
CONTENT = [(0, 0), (-2, 3), (1, 5), (6, -4)]

NJT = (
    "#-C:timeAveraging:1\n#-C:CreationDate:2022-08-22 10:00\n#a remark\n"
    "XY-Drift (pixels)\t0.0\t5.0\t1.0E-4\nX-Drift (pixels)\t0.0\t-3.0\t1.0E-4\nY-Drift (pixels)\t0.0\t4.0\t-0.0\n"
)


def njt(path: Path, text: str = NJT, name: str = "data.txt") -> Path:
    """Write a table as NanoJ's Java does: one deflated entry, each line a column."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return path


def test_a_table_of_nanopyx_is_read_with_its_sign(tmp_path: Path) -> None:
    path = tmp_path / "_drift_table.csv"
    path.write_text(NANOPYX)
    drift = read_drift(path)
    assert drift.columns == list(DRIFT)
    # NanoPyx itself is off by 0.07 px there
    np.testing.assert_allclose(drift.select("dx_px", "dy_px").to_numpy(), CONTENT, atol=0.08)
    assert drift["quality"].to_list() == [1.0] * 4
    path.write_bytes(NANOPYX.replace("\n", "\r\n").encode())
    assert read_drift(path).equals(drift), "written on Windows"


def test_an_njt_holds_columns_and_the_translation_to_apply(tmp_path: Path) -> None:
    drift = read_drift(njt(tmp_path / "movie-Max Intensity_xy_DriftTable.njt"))
    assert drift["dx_px"].to_list() == [0.0, 3.0, -1e-4]
    assert drift["dy_px"].to_list() == [0.0, -4.0, 0.0]
    assert drift["dz_px"].to_list() == [0.0] * 3


def test_drift_along_z_is_y_of_a_second_table(tmp_path: Path) -> None:
    lateral = njt(tmp_path / "movie-Max Intensity_xy_DriftTable.njt")
    axial = njt(
        tmp_path / "movie-Max Intensity-Top_z_DriftTable.njt",
        "X-Drift (pixels)\t0.0\t0.0\t0.0\nXY-Drift (pixels)\t0.0\t0.0\t0.0\nY-Drift (pixels)\t0.0\t-1.5\t2.0\n",
    )
    both = read_shifts(lateral, axial)
    np.testing.assert_array_equal(both, [[0, 0, 0], [3, -4, 1.5], [-1e-4, 0, -2]])
    np.testing.assert_array_equal(read_shifts(axial)[:, :2], 0)
    assert find_tables(tmp_path, "movie") == (lateral, axial)
    with pytest.raises(ParameterError, match="both tables of the drift along z"):
        read_shifts(axial, axial)
    with pytest.raises(ParameterError, match="estimate first"):
        find_tables(tmp_path, "mov")
    njt(tmp_path / "movie_xy_DriftTable.njt")
    with pytest.raises(ParameterError, match="two drift tables of 'movie'"):
        find_tables(tmp_path, "movie")


@pytest.mark.parametrize(
    "text",
    [
        " ,XY-Drift (pixels),X-Drift (pixels),Y-Drift (pixels)\n1,5,-3,4\n2,0,0,0\n",
        "XY-Drift (pixels),X-Drift (pixels),Y-Drift (pixels)\r\n5,-3,4\r\n0,0,0\r\n",
        " \tXY-Drift (pixels)\tX-Drift (pixels)\tY-Drift (pixels)\n1\t5\t-3\t4\n2\t0\t0\t0\n",
    ],
)
def test_a_table_of_results_as_fiji_saves_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    np.testing.assert_array_equal(read_shifts(path), [[3, -4, 0], [0, 0, 0]])


def test_names_of_tables() -> None:
    assert table_name(Path("a/B_1-Average Intensity_xy_DriftTable.njt")) == ("B_1", "xy")
    assert table_name(Path("B_1-Max Intensity-Left_z_DriftTable.njt")) == ("B_1", "z")
    assert table_name(Path("B_1_drift.csv")) == ("B_1", "xy")
    assert table_name(Path("B_1_z_drift_table.csv")) == ("B_1", "z")


finite = st.floats(-1e4, 1e4, allow_nan=False)


@pytest.mark.parametrize("form", ["njt", "nanoj", "nanopyx"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=20))
def test_what_is_written_is_read_again(tmp_path: Path, form: Foreign, rows: list[tuple[float, float, float]]) -> None:
    shift = np.array(rows)
    folder = tmp_path / str(abs(hash((form, tuple(rows)))))
    folder.mkdir(exist_ok=True)
    files = foreign_tables(shift, "m", form)
    assert files == foreign_tables(shift, "m", form), "the same table makes the same bytes"
    for name, content in files.items():
        (folder / name).write_bytes(content)
    found = read_shifts(*find_tables(folder, "m"))
    np.testing.assert_array_equal(found, shift)


def test_an_njt_is_laid_out_as_nanoj_reads_it() -> None:
    files = foreign_tables(np.array([[0.0, 0.0, 0.0], [3.0, -4.0, 0.0]]), "m", "njt")
    assert list(files) == ["m_xy_DriftTable.njt"], "nothing moves along z"
    with zipfile.ZipFile(io.BytesIO(files["m_xy_DriftTable.njt"])) as archive:
        assert archive.namelist() == ["data.txt"]
        lines = archive.read("data.txt").decode().splitlines()
    assert lines[0].startswith("#-C:Software:")
    assert lines[1:] == [
        "XY-Drift (pixels)\t0.0\t5.0",
        "X-Drift (pixels)\t0.0\t-3.0",
        "Y-Drift (pixels)\t0.0\t4.0",
    ]


def test_nanopyx_csv_is_laid_out_as_nanopyx_reads_it() -> None:
    (text,) = foreign_tables(np.array([[0.0, 0.0, 0.0], [3.0, -4.0, 0.0]]), "m", "nanopyx").values()
    lines = text.decode().splitlines()
    assert "roi;None" in lines
    assert lines[-4:] == ["Drift Table", "XY;X;Y", "0.0;0.0;0.0", "5.0;-3.0;4.0"]
    assert all(line.count(";") == 1 for line in lines[: lines.index("Drift Table")])


BAD = {
    "no zip": b"PK\x03\x04 not a zip",
    "empty": b"",
    "binary": bytes(range(256)) * 4,
    "other csv": b"a,b\n1,2\n",
    "word": b"X-Drift (pixels),Y-Drift (pixels)\n1,two\n",
    "nan": b"X-Drift (pixels),Y-Drift (pixels)\n1,NaN\n",
    "infinite": b"X-Drift (pixels),Y-Drift (pixels)\n1,1e999\n",
    "underscore": b"X-Drift (pixels),Y-Drift (pixels)\n1,1_000\n",
    "short row": b"X-Drift (pixels),Y-Drift (pixels)\n1\n",
    "no rows": b"X-Drift (pixels),Y-Drift (pixels)\n",
    "nanopyx without rows": b"roi;None\nDrift Table\n",
    "nanopyx short": b"Drift Table\nXY;X;Y\n1;2\n",
}


@pytest.mark.parametrize("name", list(BAD))
def test_hostile_files_are_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(BAD[name])
    with pytest.raises(KinocyteError) as caught:
        read_drift(path)
    said = str(caught.value)
    assert str(path) in said
    assert "\n" not in said


def test_hostile_archives_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputFileError, match=r"without data\.txt"):
        read_drift(njt(tmp_path / "a.njt", name="other.txt"))
    with pytest.raises(InputFileError, match=r"3 numbers along x and 2 along y"):
        read_drift(njt(tmp_path / "b.njt", NJT.replace("\t-0.0\n", "\n")))
    with pytest.raises(InputFileError, match="holds neither our columns"):
        read_drift(njt(tmp_path / "c.njt", "#-C:x:1\n"))
    whole = njt(tmp_path / "d.njt").read_bytes()
    (tmp_path / "d.njt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputFileError, match="cannot be read as a table"):
        read_drift(tmp_path / "d.njt")
    flipped = bytearray(whole)
    flipped[60] ^= 0xFF
    (tmp_path / "e.njt").write_bytes(flipped)
    with pytest.raises(InputFileError, match="cannot be read as a table"):
        read_drift(tmp_path / "e.njt")
    with pytest.raises(InputFileError, match="cannot be read as a table of drift"):
        read_drift(tmp_path / "no.njt")
    with pytest.raises(InputFileError, match="cannot be read as a table of drift"):
        read_drift(tmp_path)
    monkeypatch.setattr(drift_tables, "MOST_BYTES", 4096)
    bomb = njt(tmp_path / "bomb.njt", "#" * 100_000)
    assert bomb.stat().st_size < 4096
    with pytest.raises(InputFileError, match="unpacks to more than"):
        read_drift(bomb)


def test_two_tables_must_belong_together(tmp_path: Path) -> None:
    ours = tmp_path / "m_drift.csv"
    columns = {"frame": [0, 1], "dx_px": [0.0, 1.0], "dy_px": [0.0, 1.0], "dz_px": [0.0, 1.0]}
    pl.DataFrame(columns).with_columns(angle_deg=0.0, quality=1.0).write_csv(ours)
    with pytest.raises(ParameterError, match="along z already"):
        read_drift(ours, njt(tmp_path / "z.njt"))
    short = njt(tmp_path / "m_z_DriftTable.njt", "X-Drift (pixels)\t0\nY-Drift (pixels)\t1\n")
    with pytest.raises(ParameterError, match=r"holds 3 rows and .* 1"):
        read_drift(njt(tmp_path / "xy.njt"), short)
    assert read_drift(ours).height == 2
