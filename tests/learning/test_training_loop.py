"""The training loop: the same numbers in every run, whatever interrupts it; several processes; its records."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kinocyte.core.errors import InputFileError, ParameterError, StoreError  # noqa: E402 - torch may be missing
from kinocyte.learning.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint  # noqa: E402
from kinocyte.learning.training.comparison import compared, runs_below  # noqa: E402
from kinocyte.learning.training.event_log import crc32c, write_events  # noqa: E402
from kinocyte.learning.training.loop import load_start  # noqa: E402
from kinocyte.learning.training.run_folder import RunFolder, begin_run, resume_run  # noqa: E402
from kinocyte.learning.training.settings import TrainingSettings  # noqa: E402
from tests.learning import _training_scene as scene  # noqa: E402

SCRIPT = Path(scene.__file__)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    return folder, scene.run(folder, keep_every=5)


def test_two_runs_give_the_same_numbers_and_the_loss_falls(undisturbed: tuple[Path, Any], tmp_path: Path) -> None:
    _, first = undisturbed
    second = scene.run(tmp_path / "run", workers=3)
    assert same(first.weights, second.weights)
    assert same(first.last, second.last)
    assert first.rows[-1]["train_loss"] < first.rows[0]["train_loss"]
    assert not same(first.last, scene.run(tmp_path / "other", seed=4).last)


def test_a_run_that_is_killed_ends_with_the_same_weights(undisturbed: tuple[Path, Any], tmp_path: Path) -> None:
    where = tmp_path / "run"
    for resume in ("0", "1"):
        before = _step(where)
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(where), "pause=0.2", f"resume={resume}"], env=ENVIRONMENT
        )
        until = time.monotonic() + 200
        while _step(where) <= before and time.monotonic() < until and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)  # into the steps after a checkpoint
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert _step(where) > before
    assert _step(where) < 24
    found = scene.run(where, resume=True)
    assert same(found.weights, undisturbed[1].weights)
    assert same(found.last, undisturbed[1].last)
    without_clock = [{k: v for k, v in row.items() if k != "seconds"} for row in found.rows]
    assert without_clock == [{k: v for k, v in row.items() if k != "seconds"} for row in undisturbed[1].rows]
    assert [r["step"] for r in RunFolder(where).history()] == [6, 12, 18, 24]


def _step(where: Path) -> int:
    found = RunFolder(where).last_checkpoint()
    return 0 if found is None else int(found.notes["step"])


def test_a_file_that_was_being_written_when_power_failed_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, Checkpoint({"a": np.arange(3.0)}, {"step": 1}))
    (tmp_path / ".last.safetensors.part").write_bytes(b"half")
    assert read_checkpoint(path).notes == {"step": 1}
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputFileError, match="not a whole safetensors file"):
        read_checkpoint(path)


def test_two_processes_learn_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    subprocess.run(
        [*command, str(SCRIPT), str(tmp_path / "two"), "task=care", "batch_size=2"], env=ENVIRONMENT, check=True,
        capture_output=True, timeout=280,
    )  # fmt: skip
    scene.run(tmp_path / "one", task="care", batch_size=4)
    two, one = (RunFolder(tmp_path / n).last_checkpoint() for n in ("two", "one"))
    assert two is not None
    assert one is not None
    assert two.notes["step"] == one.notes["step"] == 24
    # patch i of a batch draws from its place in the batch, so batches differ; what must agree is how far it came
    ends = [r["held_out_loss"] for r in (two.notes["rows"][-1], one.notes["rows"][-1])]
    starts = [r["held_out_loss"] for r in (two.notes["rows"][0], one.notes["rows"][0])]
    assert max(ends) < min(starts)


def test_a_critic_is_trained_beside_the_network(tmp_path: Path) -> None:
    found = scene.run(tmp_path / "run", task="pix2pix")
    assert {"train_loss", "train_critic", "held_out_loss"} <= found.rows[-1].keys()
    checkpoint = RunFolder(tmp_path / "run").last_checkpoint()
    assert checkpoint is not None
    assert checkpoint.under("networks/critic")
    assert found.weights.keys() == checkpoint.under("networks/network").keys()


def test_it_ends_early_when_nothing_gets_better(tmp_path: Path) -> None:
    found = scene.run(tmp_path / "run", learning_rate=1e-9, schedule="constant", ema=0.0, check_every=2, patience=2)
    assert found.steps_done < 24
    assert found.steps_done == found.best_step + 4
    again = scene.run(
        tmp_path / "run", resume=True, learning_rate=1e-9, schedule="constant", ema=0.0, check_every=2, patience=2
    )
    assert again.steps_done == found.steps_done


def test_a_loss_that_is_no_number_ends_it_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no longer a number at step"):
        scene.run(tmp_path / "run", learning_rate=1e30, warmup_steps=0, ema=0.0)


def test_bf16_learns_too(tmp_path: Path) -> None:
    found = scene.run(tmp_path / "run", precision="bf16")
    assert found.rows[-1]["train_loss"] < found.rows[0]["train_loss"]
    assert all(a.dtype == np.float32 for a in found.weights.values())


def test_a_run_folder_is_never_overwritten(tmp_path: Path) -> None:
    begin_run(tmp_path / "run", {"training": {"steps": 3}})
    with pytest.raises(StoreError, match="--resume"):
        begin_run(tmp_path / "run", {"training": {"steps": 3}})
    with pytest.raises(StoreError, match=r"another training.steps \(3, now 4\)"):
        resume_run(tmp_path / "run", {"training": {"steps": 4}})
    assert resume_run(tmp_path / "run", {"training": {"steps": 3}}).history() == []
    with pytest.raises(InputFileError, match="no folder of a training"):
        resume_run(tmp_path / "nothing", {})


def test_runs_are_compared_by_what_differs(tmp_path: Path, undisturbed: tuple[Path, Any]) -> None:
    for name, rate in (("a", 0.1), ("b", 0.2)):
        run = begin_run(tmp_path / name, {"training": {"learning_rate": rate, "steps": 5}})
        run.keep_history([{"step": 5, "seconds": 1.0, "train_loss": rate, "held_out_loss": rate / 2}])
    table = compared(runs_below(tmp_path))
    assert table["training.learning_rate"].to_list() == [0.1, 0.2]
    assert table["held_out_loss"].to_list() == [0.05, 0.1]
    assert "training.steps" not in table.columns
    assert compared(runs_below(undisturbed[0]))["step"].to_list() == [24]
    with pytest.raises(InputFileError, match="no run of a training"):
        runs_below(tmp_path / "a" / "checkpoints")


def test_the_checksum_is_the_one_of_the_standard() -> None:
    # RFC 3720, appendix B.4
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283


def test_the_log_is_what_tensorboard_reads(tmp_path: Path) -> None:
    # written by TensorFlow's own writer: events_pb2.Event(wall_time=1.5, step=300, loss 0.25), from its wire format
    content = write_events([{"step": 300, "seconds": 1.5, "train_loss": 0.25}])
    length = int.from_bytes(content[:8], "little")
    assert content[12 + length - 13 : 12 + length] == b"brain.Event:2"
    event = content[12 + length + 4 :][12:-4]
    assert event[:9] == b"\x09" + np.float64(1.5).tobytes()
    assert event[9:12] == b"\x10\xac\x02"
    assert event[12:] == b"\x2a\x13\x0a\x11\x0a\x0atrain/loss\x15" + np.float32(0.25).tobytes()
    scene.run(tmp_path / "run", tensorboard=True, steps=6)
    assert next((tmp_path / "run" / "log").iterdir()).name.startswith("events.out.tfevents")


def test_weights_to_start_from_are_taken_where_they_fit() -> None:
    first, second = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    start = {"weight": np.ones((3, 2), np.float32), "bias": np.zeros(5, np.float32), "other": np.zeros(1, np.float32)}
    assert load_start(first, start) == ["bias"]
    assert float(first.weight.detach().sum()) == 6
    with pytest.raises(ParameterError, match="no layer in common"):
        load_start(second, {"other": np.zeros(1, np.float32)})


def test_the_learning_rate_rises_and_falls() -> None:
    s = TrainingSettings(steps=100, warmup_steps=10)
    factors = [s.rate_factor(k) for k in range(100)]
    assert factors[0] == pytest.approx(1 / 11)
    assert max(factors) == factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert 0 < factors[-1] < 1e-2
    assert TrainingSettings(schedule="constant", warmup_steps=0).rate_factor(9999) == 1.0
    assert json.loads(s.model_dump_json())["patch_px"] == 256


def test_states_are_kept_for_good_where_that_is_asked(undisturbed: tuple[Path, Any]) -> None:
    folder, made = undisturbed
    kept = sorted((folder / "checkpoints").glob("step-*"))
    assert [p.name for p in kept] == [f"step-{n:07d}.safetensors" for n in range(5, made.steps_done + 1, 5)]
    assert same(read_checkpoint(kept[-1]).arrays, made.last) == (made.steps_done % 5 == 0)


def test_a_run_of_an_earlier_version_may_go_on(tmp_path: Path) -> None:
    begin_run(tmp_path / "run", {"training": {"steps": 3}})
    assert resume_run(tmp_path / "run", {"training": {"steps": 3, "keep_every": 0}, "dataset": None}).path.is_dir()
    with pytest.raises(StoreError, match="keep_every"):
        resume_run(tmp_path / "run", {"training": {"steps": 3, "keep_every": 5}})
