"""File names: patterns, names of microscopes, numbers that carry their meaning."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError
from kinocyte.interop.filename_pattern import (
    NameParts,
    NamePattern,
    known_name,
    number_free,
    parse_well,
    tagged_name,
    time_minutes,
)

word = st.text("abcdefgXYZ0123456789äöé +()", min_size=1, max_size=12)
number = st.integers(0, 10**6).map(str)
SEPARATORS = ["_", "-", "--", " - ", ".", "__"]


@given(
    well=word,
    position=word,
    time=number,
    channel=word,
    separator=st.sampled_from(SEPARATORS),
    suffix=st.sampled_from(["", ".tif", ".png"]),
)
def test_what_was_put_in_comes_out(
    well: str, position: str, time: str, channel: str, separator: str, suffix: str
) -> None:
    parts = (well, position, time, channel)
    assume(all(separator not in p for p in parts))
    assume(not any(p.startswith(separator[0]) or p.endswith(separator[0]) for p in parts))
    name = separator.join(parts) + (suffix or ".tif")
    pattern = NamePattern(separator.join(["{well}", "{position}", "{time}", "{channel}"]) + suffix)
    assert pattern.match(PurePosixPath(name)) == NameParts(well=well, position=position, time=time, channel=channel)


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_refused_with_a_sentence(text: str) -> None:
    try:
        pattern = NamePattern(text)
    except ParameterError as error:
        assert str(error).endswith(".")  # noqa: PT017 - both outcomes are right
    else:
        assert pattern.match(PurePosixPath("nothing like it.tif")) is None or "{" in text


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        (
            "{well}_{position}_{time}_{channel}",
            "B2_1_t010_GFP.tif",
            NameParts(well="B2", position="1", time="t010", channel="GFP"),
        ),
        (
            "{well}_{position}_{time}_{channel}",
            "B2_1_00d01h30m_P.tif",
            NameParts(well="B2", position="1", time="00d01h30m", channel="P"),
        ),
        ("im1ch{channel}t{time}", "im1ch2t09.tif", NameParts(channel="2", time="09")),
        ("C{channel}-MAX{time}mitosis", "C1-MAX14mitosis.tif", NameParts(channel="1", time="14")),
        ("{well}/{*}_s{position}_z{z}", "A3/scan_s4_z007.tif", NameParts(well="A3", position="4", z="007")),
        (
            "{*}--{condition:drug}--{condition:dose}--W{well}--P{position}--T{time}--C{channel}",
            "demo--fsk--0.008--W0001--P001--T0003--C00.tif",
            NameParts(
                well="0001", position="001", time="0003", channel="00", conditions=(("drug", "fsk"), ("dose", "0.008"))
            ),
        ),
        ("a+b({time})", "a+b(3).tif", NameParts(time="3")),
    ],
)
def test_patterns(pattern: str, path: str, expected: NameParts) -> None:
    assert NamePattern(pattern).match(PurePosixPath(path)) == expected


def test_a_pattern_that_does_not_fit() -> None:
    assert NamePattern("{well}_{time}.png").match(PurePosixPath("B2_3.tif")) is None
    assert NamePattern("{well}_t{time}").match(PurePosixPath("B2_x3.tif")) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{wel}_{time}", "did you mean 'well'"),
        ("{time}_{time}", "twice"),
        ("{time", "brace"),
        ("plain", "names nothing"),
        ("{condition:9}", "unknown token"),
    ],
)
def test_bad_patterns_say_why(text: str, why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        NamePattern(text)


def test_incucyte_names() -> None:
    assert known_name("HC01501_P_B2_1_00d01h00m") == ("Incucyte", NameParts("HC01501", "B2", "1", "00d01h00m", "P"))
    assert known_name("My_plate_B12_3_02d03h30m") == ("Incucyte", NameParts("My_plate", "B12", "3", "02d03h30m", ""))
    assert known_name("VID5_green_C7_2_2023y03m29d_06h18m") == (
        "Incucyte",
        NameParts("VID5", "C7", "2", "2023y03m29d_06h18m", "green"),
    )


def test_names_of_other_microscopes() -> None:
    assert known_name("EMBO--empty--W0002--P001--T00027--Z000--C") == (
        "screening",
        NameParts("EMBO--empty", "W0002", "P001", "00027", "", "000"),
    )
    assert known_name("r02c03f04p05-ch1sk12fk1fl1") == ("Operetta", NameParts("", "B3", "04", "12", "1", "05"))
    assert known_name("exp_w2GFP_s3_t14") == ("MetaMorph", NameParts("exp", "", "3", "14", "2GFP"))
    assert known_name("C1-MAX_mitosis_t0") is None


def test_tagged_numbers() -> None:
    assert tagged_name("C1-MAX_mitosis_t10") == ("<channel>-MAX_mitosis_<time>", NameParts(channel="1", time="10"))
    assert tagged_name("im1ch2t02") == ("im1<channel><time>", NameParts(channel="2", time="02"))
    assert tagged_name("pos03_z5") == ("<position>_<z>", NameParts(position="03", z="5"))
    assert tagged_name("MAX10mitosis") is None
    assert tagged_name("t1_t2") is None
    assert tagged_name("man_track001") is None


@pytest.mark.parametrize(
    ("text", "well"),
    [
        ("B2", "B2"),
        ("b02", "B2"),
        ("H12", "H12"),
        ("P24", "P24"),
        ("AF48", "AF48"),
        ("B-2", "B2"),
        ("W0002", None),
        ("Q1", None),
        ("A0", None),
        ("", None),
    ],
)
def test_wells(text: str, well: str | None) -> None:
    assert parse_well(text) == well


@pytest.mark.parametrize(
    ("text", "expected"),
    [("00d00h00m", 0.0), ("01d02h03m", 1563.0), ("00d00h00m30s", 0.5), ("12", None), ("2023y13m01d_00h00m", None)],
)
def test_clock_times(text: str, expected: float | None) -> None:
    assert time_minutes(text) == expected


def test_dates_differ_by_minutes() -> None:
    a, b = time_minutes("2024y02m28d_23h30m"), time_minutes("2024y02m29d_00h15m")
    assert a is not None
    assert b is not None
    assert b - a == 45.0


@given(st.integers(0, 10**9))
def test_names_that_differ_in_numbers_look_alike(n: int) -> None:
    assert number_free(f"a{n}b7") == number_free("a1b2")
