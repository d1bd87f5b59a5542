"""Model packages: written and read again, and those of strangers that mean harm."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kinocyte.core.errors import InputFileError, StoreError
from kinocyte.learning.package import described, from_npy, npy, read_package, write_package

RDF = {"type": "model", "format_version": "0.5.4", "name": "x"}


@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_a_package_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    files = {"a.bin": b"\0\1", "README.md": b"words"}
    write_package(tmp_path / name, RDF, files)
    package = read_package(tmp_path / name)
    assert package.rdf == RDF
    assert {n: package.file(n) for n in files} == files
    with pytest.raises(StoreError, match="exists already"):
        write_package(tmp_path / name, RDF, files)
    assert [p.name for p in tmp_path.iterdir()] == [name], "nothing is left over"


def test_a_zip_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_package(tmp_path / name, RDF, {"a": b"1"})
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_file_that_is_missing_or_another_is_refused(tmp_path: Path) -> None:
    write_package(tmp_path / "m", RDF, {"a.bin": b"1"})
    package = read_package(tmp_path / "m")
    assert package.checked(described("a.bin", b"1")) == b"1"
    with pytest.raises(InputFileError, match="is not the described one"):
        package.checked(described("a.bin", b"2"))
    with pytest.raises(InputFileError, match=r"lacks the file 'b.bin'"):
        package.file("b.bin")


def archive(path: Path, *entries: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("rdf.yaml", "type: model\n")
        for name, content in entries:
            made.writestr(name, content, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "C:/evil", "..\\evil", "\\\\host\\evil"])
def test_an_archive_that_leads_out_of_itself_is_not_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputFileError, match="leads out of it; it is not opened"):
        read_package(archive(tmp_path / "m.zip", (name, b"x")))


def test_an_archive_with_a_link_is_not_opened(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(InputFileError, match="holds the link 'link'"):
        read_package(archive(tmp_path / "m.zip", (link, b"/etc/passwd")))


def test_an_archive_that_swells_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="would unpack to more"):
        read_package(archive(tmp_path / "m.zip", ("zeros", bytes(20_000_000))))


def test_an_archive_that_lies_about_its_sizes_is_not_opened(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.zip", ("a.bin", bytes(range(256)) * 40))
    content = path.read_bytes()
    true_size, told = (10240).to_bytes(4, "little"), (100).to_bytes(4, "little")
    assert content.count(true_size) == 2
    path.write_bytes(content.replace(true_size, told))
    with pytest.raises(InputFileError, match=r"m\.zip"):
        read_package(path)


def test_an_archive_with_a_name_twice_is_not_opened(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "m.zip", ("a", b"1"), ("a", b"2"))
    with pytest.raises(InputFileError, match="two files of one name"):
        read_package(path)


def test_an_archive_of_too_many_files_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="1000 files"):
        read_package(archive(tmp_path / "m.zip", *((f"f{i}", b"") for i in range(1001))))


def test_a_folder_with_a_link_is_not_opened(tmp_path: Path) -> None:
    write_package(tmp_path / "m", RDF, {})
    (tmp_path / "m" / "link").symlink_to("/etc/passwd")
    with pytest.raises(InputFileError, match="holds the link link"):
        read_package(tmp_path / "m")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("type: dataset\n", "does not describe a model"),
        ("- 1\n", "does not describe a model"),
        ("a: [", "cannot be read"),
        ("a: !!python/object/apply:os.system ['true']\n", "cannot be read"),
    ],
)
def test_a_description_that_is_none_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "rdf.yaml").write_text(text)
    with pytest.raises(InputFileError, match=words):
        read_package(tmp_path)


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"holds no rdf\.yaml"):
        read_package(tmp_path)
    with pytest.raises(InputFileError, match="There is no model package"):
        read_package(tmp_path / "nothing.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(InputFileError, match="cannot be read as a zip"):
        read_package(tmp_path / "text.zip")


def test_an_array_that_would_run_code_is_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputFileError, match="cannot be read as an array"):
        from_npy(buffer.getvalue(), name="t.npy")
    archive_of_arrays = io.BytesIO()
    np.savez(archive_of_arrays, a=np.arange(3))
    for content in (b"", b"\x93NUMPY", npy(np.arange(3))[:-1], archive_of_arrays.getvalue()):
        with pytest.raises(InputFileError, match="cannot be read as an array"):
            from_npy(content, name="t.npy")
    np.testing.assert_array_equal(from_npy(npy(np.arange(3)), name="t.npy"), np.arange(3))
