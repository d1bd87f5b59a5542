"""Weights as safetensors: against the format's own library, and against files that lie."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kinocyte.core.errors import InputFileError
from kinocyte.learning.tensors import read_tensors, write_tensors

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((0, 2)), "c": np.array(7)}


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda t: t != "__metadata__"),
        hnp.arrays(st.sampled_from(["<f4", "<f8", "<i4", "|u1", "|b1"]), hnp.array_shapes(max_dims=3, max_side=4)),
        max_size=4,
    )
)
def test_what_is_written_is_read(arrays: dict[str, np.ndarray]) -> None:
    found = read_tensors(write_tensors(arrays), name="x")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_library_of_the_format_reads_ours_and_we_its() -> None:
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed (extra 'deep')")
    theirs = library.load(write_tensors(ARRAYS, notes={"a": "b"}))
    ours = read_tensors(library.save(ARRAYS), name="x")
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(theirs[name], array)
        np.testing.assert_array_equal(ours[name], array)


def broken(header: object, body: bytes = b"\0" * 4) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        b"\xff" * 100,
        write_tensors(ARRAYS)[:-1],
        write_tensors(ARRAYS) + b"\0",
        broken([]),
        broken({"a": 1}),
        broken({"a": {"dtype": "F32", "shape": [1]}}),
        broken({"a": {"dtype": "OBJECT", "shape": [1], "data_offsets": [0, 4]}}),
        broken({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}),
        broken({"a": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 4]}}),
        broken({"a": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}}),
        broken({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}),
    ],
)
def test_a_file_that_lies_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(InputFileError, match=r"model.safetensors is not a whole safetensors file"):
        read_tensors(content, name="model.safetensors")
