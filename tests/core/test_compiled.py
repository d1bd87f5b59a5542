"""Compiled kernels on disk, written by several processes at once."""

import os
import subprocess
import sys
import textwrap

import pytest

KERNEL = """
from kinocyte.core.compiled import kernel

@kernel
def total(values):
    out = values[0]
    for i in range(1, values.size):
        out += values[i]
    return out
"""

USE = "import numpy, summing as s; print(s.total(numpy.array([1, 2])), sum(s.total.stats.cache_hits.values()))"


@pytest.fixture
def package(tmp_path):
    (tmp_path / "summing.py").write_text(KERNEL)
    return tmp_path


def python(package, code, **kwargs):
    script = f"import sys; sys.path.insert(0, {str(package)!r})\n" + textwrap.dedent(code)
    kwargs.setdefault("env", {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"})
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, **kwargs).stdout


def test_two_variants_saved_in_the_same_moment_do_not_take_each_others_place(package):
    """The order of writes that makes numba's own files disagree: both read the index before either writes it."""
    python(
        package,
        """
        import numpy as np, summing
        file = summing.total._cache._cache_file
        held = []
        file_save = type(file).save
        type(file).save = lambda self, key, data: held.append((key, data))
        summing.total(np.array([1, 2], np.int64))
        summing.total(np.array([0.5, 0.25], np.float32))
        type(file).save = file_save
        summing.total._cache._impl.locator.ensure_cache_path()
        for key, data in held:
            file._load_index = dict  # what the other process saw: nothing saved yet
            file.save(key, data)
        """,
    )
    out = python(
        package,
        """
        import numpy as np, summing
        print(summing.total(np.array([1, 2], np.int64)), summing.total(np.array([0.5, 0.25], np.float32)))
        print(sum(summing.total.stats.cache_hits.values()), sum(summing.total.stats.cache_misses.values()))
        """,
    )
    assert out.split() == ["3", "0.75", "2", "0"]


def test_a_changed_source_is_compiled_anew(package):
    assert python(package, USE).split() == ["3", "0"]
    assert python(package, USE).split() == ["3", "1"]
    (package / "summing.py").write_text(KERNEL.replace("+=", "-="))
    assert python(package, USE).split() == ["-1", "0"]


def test_a_file_cut_short_is_compiled_anew(package):
    python(package, USE)
    (stored,) = package.rglob("*.nbc")
    stored.write_bytes(stored.read_bytes()[:10])
    assert python(package, USE).split() == ["3", "0"]


def test_without_compilation_the_function_is_plain_python(package):
    out = python(
        package,
        "import numpy as np, summing; print(summing.total(np.array([1, 2])))",
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    assert out.split() == ["3"]
