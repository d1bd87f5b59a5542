"""Several restorers in one pass: order, rounding, memory, states on disk."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from kinocyte.restoration import (
    Bilateral,
    Bleaching,
    ChannelOffset,
    FlatField,
    Gaussian,
    Illumination,
    MediaChange,
    Median,
    ModelFit,
    ModelFree,
    NonLocalMeans,
    Restorer,
    RollingBall,
    State,
    TopHat,
    TotalVariation,
    Wavelet,
    fit_chain,
)
from kinocyte.restoration.base import as_output
from tests.restoration.scenes import SCALE, cells, plane, vignette

EVERY: list[Restorer] = [
    ModelFit(), ModelFree(), RollingBall(), TopHat(), FlatField(), Illumination(), Bleaching(), MediaChange(),
    ChannelOffset(dx_px=0.5), Median(), Gaussian(), Bilateral(), NonLocalMeans(), Wavelet(), TotalVariation(),
]  # fmt: skip


class Counting:
    """A lazy movie that counts how often its frames are read."""

    def __init__(self, frames: Any) -> None:
        self.frames, self.reads = frames, 0

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, frame: int) -> Any:
        self.reads += 1
        return self.frames[frame]


def movie(n: int = 6) -> Any:
    rng = np.random.default_rng(0)
    frames = [(plane((40, 44)) + cells(rng, (40, 44), 5)) * 0.97**t + rng.normal(0, 2, (40, 44)) for t in range(n)]
    return np.rint(np.clip(frames, 1, None)).astype(np.uint16)


@pytest.mark.parametrize("restorer", EVERY, ids=lambda r: r.method)
def test_every_method_keeps_its_promises(restorer: Restorer) -> None:
    frames = movie()
    given = {"flat": [vignette((40, 44)) * 1000]} if restorer.reads == "references" else None
    before = frames.copy()
    state = restorer.fit(frames, SCALE, references=given)
    out = restorer.apply(frames[3], 3, state)
    assert (frames == before).all()
    assert out.dtype == frames.dtype
    assert out.shape == frames[3].shape
    again = State.from_bytes(state.to_bytes())
    np.testing.assert_array_equal(restorer.apply(frames[3], 3, again), out)
    chain = fit_chain([restorer], frames, SCALE, references=given)
    np.testing.assert_array_equal(chain.movie(frames)[3], out)
    assert registry.get("restoration", restorer.name()) is type(restorer)
    assert restorer.replace(output="float32").apply(frames[3], 3, state).dtype == np.float32
    with pytest.raises(ParameterError, match="fit it anew"):
        restorer.apply(frames[3], 3, State("another"))


def test_a_chain_equals_its_parts_without_rounding_in_between() -> None:
    frames = movie()
    parts: list[Restorer] = [Gaussian(), ModelFit(surface="plane"), Bleaching(model="ratio")]
    chain = fit_chain(parts, frames, SCALE)
    image = frames.astype(np.float64)
    for part in parts:
        state = part.fit(image, SCALE)
        image = np.stack([part.correct(f, t, state) for t, f in enumerate(image)])
    for t, out in enumerate(chain.movie(frames)):
        np.testing.assert_array_equal(out, as_output(image[t], np.uint16, "same"))


def test_frames_are_read_once_in_the_pass() -> None:
    frames = Counting(movie(20))
    chain = fit_chain([Median(), ModelFit(), Gaussian()], frames, SCALE)
    assert frames.reads == 0
    restored = chain.movie(frames)
    assert len(list(restored)) == 20
    assert frames.reads == 20
    np.testing.assert_array_equal(restored[-1], restored[19])
    with pytest.raises(IndexError, match="20"):
        _ = restored[20]


def test_an_empty_chain_and_an_empty_movie() -> None:
    frames = movie()
    assert (fit_chain([], frames, SCALE).restore(frames[0], 0) == frames[0]).all()
    with pytest.raises(ParameterError, match="no frames"):
        fit_chain([Gaussian()], frames[:0], SCALE)
    with pytest.raises(ParameterError, match="real numbers"):
        Gaussian().apply(np.zeros(5), 0, Gaussian().fit(frames, SCALE))


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, (3, 4), elements=st.floats(-1e30, 1e30)),
    st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.uint64, np.int64]),
)
def test_whole_numbers_never_wrap_around(image: Any, dtype: Any) -> None:
    out = as_output(image, dtype, "same").astype(np.float64)
    info = np.iinfo(dtype)
    expected = np.clip(np.rint(image), info.min, info.max)
    np.testing.assert_allclose(out, expected, rtol=1e-15)


def test_missing_values_are_refused_in_whole_numbers() -> None:
    with pytest.raises(ParameterError, match="float32"):
        as_output(np.array([[np.nan]]), np.uint16, "same")
    assert np.isnan(as_output(np.array([[np.nan]]), np.uint16, "float32")).all()


def test_models_import_without_the_image_libraries() -> None:
    code = "import sys, kinocyte.restoration; print([m for m in ('scipy', 'skimage', 'numba') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_a_well_is_seen_as_the_restorers_before_leave_it() -> None:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:48, :56].astype(float)
    pattern = 20 * np.sin(x / 6) * np.cos(y / 5)  # of the well
    light = 1 + 0.004 * (x - 28)  # of the lamp
    movies = {
        name: np.stack([(500 + pattern) * light + rng.normal(0, 1, (48, 56)) for _ in range(4)]) for name in "abc"
    }
    flat = {"flat": (light * 1000)[None]}
    well_method = ModelFree(mode="tiles", keep_level=False, threshold_std=50.0)
    restorers = [FlatField(), well_method]
    chain = fit_chain(restorers, movies["a"], SCALE, references=flat, well=movies)
    np.testing.assert_allclose(chain.states[1].arrays["background"], 500 + pattern, atol=3)
    assert np.abs(chain.restore(movies["a"][2], 2)).mean() < 2
    # the same by hand: every movie of the well without the lamp, then the background of those
    without = {n: np.stack([f / light * light.mean() for f in m]) for n, m in movies.items()}
    alone = fit_chain([well_method], without["a"], SCALE, well=without)
    np.testing.assert_allclose(chain.states[1].arrays["background"], alone.states[0].arrays["background"], rtol=1e-3)
