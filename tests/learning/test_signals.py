"""Signals as networks read them, networks on numpy and torch, training, and quality."""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import InputFileError, MissingExtraError, ParameterError
from kinocyte.learning.signals.fit import fit, score
from kinocyte.learning.signals.model import SignalModel, load_model, read_joint
from kinocyte.learning.signals.networks import run, start_weights
from kinocyte.learning.signals.operations import NumpyOperations
from kinocyte.learning.signals.quality import calibration_error, confusion, reliability
from kinocyte.learning.signals.series import SignalSet, batch, prepare, resized
from kinocyte.learning.signals.training import Labelled, SignalTraining, examples, split_by_movie

OPS = NumpyOperations()


def one(values: list[float], times: list[float] | None = None) -> SignalSet:
    time = np.arange(len(values), dtype=float) if times is None else np.array(times, float)
    return SignalSet(np.array(values, float)[:, None], time, np.array([0, len(values)]), np.zeros(1, np.int64))


def steps(n_movies: int, *, cells: int = 12, frames: int = 24, seed: int = 0) -> Labelled:
    """Return tracks that step from 0 to 1 at a random time (half), never, or before the start."""
    rng = np.random.default_rng(seed)
    n = n_movies * cells
    kind = rng.choice(3, n, p=[0.5, 0.25, 0.25])
    at = np.where(kind == 0, rng.uniform(2, frames - 3, n), np.nan)
    when = np.select([kind == 0, kind == 1], [at, 1e9], -1e9)
    value = (np.arange(frames) > when[:, None]) + rng.normal(0, 0.1, (n, frames))
    time = np.tile(np.arange(frames, dtype=float), n)
    start = np.arange(n + 1) * frames
    signals = SignalSet(value.reshape(-1, 1), time, start, np.repeat(np.arange(n_movies), cells))
    return Labelled(signals, kind, at)


def test_frames_that_are_missing_are_put_in_and_not_seen() -> None:
    track = prepare(one([0, 1, 2, 5, 6], [0, 10, 20, 50, 60]))[0]
    assert track is not None
    np.testing.assert_array_equal(track.seen[:, 0], [True, True, True, False, False, True, True])
    np.testing.assert_allclose(track.time_min, [0, 10, 20, 30, 40, 50, 60])
    np.testing.assert_allclose(np.diff(track.value[:, 0]), np.diff(track.value[:, 0])[0], rtol=1e-5)


def test_a_gap_of_years_does_not_fill_the_memory() -> None:
    track = prepare(one([0, 1, 2, 3, 4], [0, 1, 2, 1e12, 1e12 + 1]))[0]
    assert track is not None
    assert track.time_min.size == 5 + 15


def test_a_track_without_a_value_is_none_and_a_value_that_is_nan_is_not_seen() -> None:
    assert prepare(one([np.nan, np.nan])) == [None]
    track = prepare(one([1.0, np.nan, 3.0]))[0]
    assert track is not None
    np.testing.assert_array_equal(track.seen[:, 0], [True, False, True])


@given(st.integers(2, 60), st.integers(0, 200), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_padding_changes_nothing(frames: int, more: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracks = [t for t in prepare(one(list(rng.normal(0, 1, frames)))) if t is not None]
    weights = start_weights("joint", 6, seed=seed)
    plain = run("joint", OPS, weights, batch(tracks))
    padded = run("joint", OPS, weights, batch(tracks, length=frames + more))
    np.testing.assert_allclose(padded[:, :, :frames], plain, atol=2e-4)
    assert (padded[:, 0, frames:] < -1e8).all(), "no event is outside the track"


@given(st.floats(0.01, 1e4), st.floats(-1e4, 1e4), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_the_unit_of_a_signal_changes_nothing(factor: float, offset: float, seed: int) -> None:
    value = np.random.default_rng(seed).normal(0, 1, 20) + (np.arange(20) > 9) * 4
    a, b = (prepare(one(list(v)))[0] for v in (value, value * factor + offset))
    assert a is not None
    assert b is not None
    np.testing.assert_allclose(a.value, b.value, atol=1e-3)
    np.testing.assert_allclose(a.noise, b.noise, atol=1e-3)


@pytest.mark.parametrize("kind", ["joint", "classifier", "regressor"])
def test_numpy_and_torch_compute_the_same(kind: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'deep')")
    from kinocyte.learning.signals._torch_operations import module

    rng = np.random.default_rng(3)
    tracks = [t for t in prepare(steps(1, seed=1).signals) if t is not None]
    x = batch(tracks) if kind == "joint" else resized(tracks, length=128)
    weights = start_weights(kind, x.shape[1], seed=5)  # type: ignore[arg-type]
    weights = {n: (a + np.abs(rng.normal(0, 0.1, a.shape))).astype(np.float32) for n, a in weights.items()}
    net = module(kind, x.shape[1])
    net.load_state_dict({n: torch.from_numpy(a) for n, a in weights.items()})
    with torch.no_grad():
        wanted = net(torch.from_numpy(x)).numpy()
    found = run(kind, OPS, weights, x)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3)


def test_the_joint_output_is_read_as_probabilities_and_a_time_between_frames() -> None:
    logits = np.full((2, 3, 10), -50, np.float32)
    logits[0, 0, [3, 4]] = np.log([0.7, 0.3])
    logits[1, 2, :] = 5
    p, at, error = read_joint(logits, temperature=1.0, error_factor=1.0)
    np.testing.assert_allclose(p, [[1, 0, 0], [0, 0, 1]], atol=1e-6)
    assert at[0] == pytest.approx(3.3)
    assert 0 < error[0] < 1


def test_movies_are_held_out_never_cells() -> None:
    movie = np.repeat(np.arange(10), 7)
    own, out = split_by_movie(movie, 0.2, seed=4)
    assert not set(movie[own]) & set(movie[out])
    assert own.size + out.size == movie.size
    assert np.unique(movie[out]).size == 2
    with pytest.raises(ParameterError, match="come from one movie"):
        split_by_movie(np.zeros(5, int), 0.2, seed=1)


def test_an_event_outside_its_track_is_refused_and_cells_without_a_label_are_not_learnt() -> None:
    signals = one([0, 0, 1, 1])
    with pytest.raises(ParameterError, match="outside its track"):
        examples(Labelled(signals, np.array([0]), np.array([9.0])))
    assert examples(Labelled(signals, np.array([-1]), np.array([np.nan]))) == []
    assert examples(Labelled(signals, np.array([0]), np.array([1.5])))[0].at == 1.5


def test_training_without_torch_says_what_to_install() -> None:
    try:
        import torch  # noqa: F401 - only whether it is there
    except ImportError:
        with pytest.raises(MissingExtraError, match=r"pip install 'kinocyte\[deep\]'"):
            fit(steps(3), ("x",), SignalTraining(epochs=1), seed=1)
    else:
        pytest.skip("torch is installed")


@pytest.mark.parametrize("networks", ["joint", "paper"])
def test_training_gives_the_same_model_again_and_it_is_kept_whole(tmp_path: Path, networks: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'deep')")
    how = SignalTraining(networks=networks, epochs=2, batch_size=32, device="cpu")  # type: ignore[arg-type]
    a, b = (fit(steps(5), ("x",), how, seed=7, card={"name": "steps"}) for _ in range(2))
    for kind, weights in a.networks.items():
        for name, array in weights.items():
            np.testing.assert_array_equal(array, b.networks[kind][name])
    a.save(tmp_path / "m.zip")
    again = load_model(tmp_path / "m.zip")
    want, found = a.predict(steps(1, seed=9).signals), again.predict(steps(1, seed=9).signals)
    np.testing.assert_array_equal(want.probability, found.probability)
    np.testing.assert_array_equal(want.time_min, found.time_min)
    assert again.card["name"] == "steps"


def test_a_few_passes_learn_a_plain_step() -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'deep')")
    how = SignalTraining(epochs=12, batch_size=16, learning_rate=5e-3, device="cpu", cut=0.2)
    model = fit(steps(20), ("x",), how, seed=1)
    found = score(model, steps(10, seed=99))
    assert found["accuracy"] > 0.9
    assert found["mean_absolute_error"] < 1.0


def plain_model() -> SignalModel:
    return SignalModel(("x",), {"joint": start_weights("joint", 6, seed=1)}, card={"name": "untrained"})


def test_a_package_whose_weights_do_not_fit_is_refused(tmp_path: Path) -> None:
    plain_model().save(tmp_path / "m")
    assert load_model(tmp_path / "m").signals == ("x",)
    text = (tmp_path / "m" / "rdf.yaml").read_text()
    (tmp_path / "m" / "rdf.yaml").write_text(text.replace("    - x\n", "    - x\n    - y\n"))
    with pytest.raises(InputFileError, match="does not hold the weights"):
        load_model(tmp_path / "m")
    (tmp_path / "m" / "rdf.yaml").write_text(text.replace("temperature: 1.0", "temperature: hot"))
    with pytest.raises(InputFileError, match="no model of events"):
        load_model(tmp_path / "m")


def test_a_package_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    model = plain_model()
    model.save(tmp_path / "a")
    other = dataclasses.replace(model, networks={"joint": start_weights("joint", 6, seed=2)})
    other.save(tmp_path / "b")
    rdf = (tmp_path / "b" / "rdf.yaml").read_text()
    wrong = (tmp_path / "a" / "test_output.npy").read_bytes()
    from kinocyte.learning.package import described

    right = described("test_output.npy", (tmp_path / "b" / "test_output.npy").read_bytes())["sha256"]
    (tmp_path / "b" / "test_output.npy").write_bytes(wrong)
    with pytest.raises(InputFileError, match="is not the described one"):
        load_model(tmp_path / "b")
    (tmp_path / "b" / "rdf.yaml").write_text(rdf.replace(right, described("test_output.npy", wrong)["sha256"]))
    with pytest.raises(InputFileError, match="does not give the test output"):
        load_model(tmp_path / "b")


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # bioimageio.spec leaves files open
def test_a_model_is_a_valid_bioimageio_package(tmp_path: Path) -> None:
    spec = pytest.importorskip("bioimageio.spec", reason="bioimageio.spec is not installed (extra 'deep')")
    plain_model().save(tmp_path / "m")
    status = spec.load_description_and_validate_format_only(tmp_path / "m" / "rdf.yaml").status
    gc.collect()  # what was left open is closed here, and not in the middle of another test
    assert status in {"passed", "valid-format"}


def test_a_model_refuses_another_number_of_signals_and_times_that_do_not_rise() -> None:
    two = SignalSet(np.zeros((4, 2)), np.arange(4.0), np.array([0, 4]), np.zeros(1, int))
    with pytest.raises(ParameterError, match="reads 1 signals"):
        plain_model().predict(two)
    with pytest.raises(ParameterError, match="do not rise"):
        plain_model().predict(one([1, 2, 3], [0, 2, 1]))


def test_scores_by_hand() -> None:
    table = confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]))
    np.testing.assert_array_equal(table, [[1, 1, 0], [0, 1, 0], [1, 0, 0]])
    rows = reliability(np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, True, True, False]))
    assert [r["n"] for r in rows] == [2, 2]
    assert calibration_error(rows) == pytest.approx((2 * 0.05 + 2 * 0.05) / 4)
