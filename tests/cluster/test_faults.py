"""What goes wrong with machines goes wrong here, at random: results are never wrong or half, every fault is reported.

The default takes about half a minute; ``KINOCYTE_TEST_FAULTS_S=1800 pytest -m endurance tests/cluster/test_faults.py``
goes on for half an hour, ``KINOCYTE_TEST_SEED`` draws other faults.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment, Scale
from kinocyte.core.errors import StoreError
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from kinocyte.pipeline.status import status
from tests.pipeline.conftest import PIPELINE, blobs
from tests.pipeline.test_run import assert_same, results

psutil = pytest.importorskip("psutil")
SEED = int(os.environ.get("KINOCYTE_TEST_SEED", "11"))
LONG_S = float(os.environ.get("KINOCYTE_TEST_FAULTS_S", "0"))
ASKED = (
    'name = "faults"\nseed = 3\n[restoration.smooth]\nmethod = "gaussian"\nchannel = "dna"\nsigma_um = 0.5\n'
    + PIPELINE.partition("seed = 3\n")[2]
    + '[[population.nuclei.measure]]\nmethod = "shape"\n'
    + '[[comparison]]\nmethod = "values"\nvalue = "mean_speed_um_per_min"\nby = "dose"\n'
)
#: Moves the clock that Python programs ask.
CLOCK = (
    "import os, time\n_true, _jump = time.time, float(os.environ.get('KINOCYTE_TEST_JUMP_S', '0'))\n"
    "_begin = time.monotonic()\n"
    "time.time = lambda: _true() + (_jump if time.monotonic() - _begin > 1.0 else 0.0)\n"
)


def fill(place: Path) -> Experiment:
    """Make an experiment of three short movies."""
    experiment = kinocyte.create(place)
    for n, well in enumerate(("A1", "A2", "A3")):
        movie = blobs(24, n, size=72)
        writer = experiment.new_position(
            well=well,
            field="1",
            shape=(24, 1, 1, *movie.shape[1:]),
            dtype=movie.dtype,
            channels=["dna"],
            scale=Scale(y_um=0.5, x_um=0.5, frame_interval_min=2.0),
        )
        for t, frame in enumerate(movie):
            writer.write(t, frame[None])
        writer.finish()
    rows = {"well": ["A1", "A2", "A3"], "dose": [0.0, 1.0, 1.0], "replicate": [1, 1, 2]}
    experiment.set_conditions(pl.DataFrame(rows))
    return kinocyte.open(place)


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """Mount a disk of 24 MB where that is allowed, and say whether it was."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "kinocyte-test", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["mount", "-o", "remount,rw", str(place)], capture_output=True, check=False)
            subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


@dataclass
class Hunt:
    """An experiment whose runs are disturbed."""

    folder: Path
    disk: Path
    mounted: bool
    calm: dict[str, object]
    chance: random.Random
    said: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def place(self) -> Path:
        return self.disk / "hunted.zarr"

    def command(self, workers: int) -> list[str]:
        words = ["run", str(self.folder / "p.toml"), str(self.place), "--no-report", "--workers", str(workers)]
        return [sys.executable, "-m", "kinocyte.cli", *words]

    def start(self, workers: int, **more: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(workers), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more
        )  # type: ignore[call-overload, no-any-return]

    def finish(self, process: subprocess.Popen[str], what: str) -> int:
        """Wait for a run that ends by itself, and keep what it said."""
        _, said = process.communicate(timeout=900)
        self.said.append((what, process.returncode, said))
        return process.returncode

    def forget_something(self) -> None:
        """Withdraw the records of a position, so that there is something to do."""
        for well in self.chance.sample((1, 2, 3), 2):
            shutil.rmtree(self.place / f"A/{well}/1/records", ignore_errors=True)

    def chunk(self) -> Path:
        """Return a file with pixels that were imported."""
        files = sorted(self.place.glob("A/*/1/0/c/**/0"))
        return self.chance.choice([f for f in files if f.is_file()])


def kill_client(hunt: Hunt) -> None:
    """Kill the program itself, which leaves its workers behind."""
    process = hunt.start(hunt.chance.choice((0, 2)))
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(hunt.chance.uniform(1.0, 5.0))
    process.send_signal(signal.SIGKILL)
    process.communicate()


def kill_workers(hunt: Hunt) -> None:
    """Kill a worker, or two, while they work."""
    process = hunt.start(2)
    deadline = time.monotonic() + hunt.chance.uniform(3.0, 8.0)
    killed = 0
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.5)
        with contextlib.suppress(psutil.Error):
            workers = [c for c in psutil.Process(process.pid).children(recursive=True) if _is_worker(c)]
            if workers and killed < 2 and hunt.chance.random() < 0.3:
                hunt.chance.choice(workers).kill()
                killed += 1
    assert hunt.finish(process, "worker killed") in {0, 1}


def _is_worker(process: object) -> bool:
    with contextlib.suppress(psutil.Error):
        return any("spawn_main" in word for word in process.cmdline())  # type: ignore[attr-defined]
    return False


def corrupt_chunk(hunt: Hunt) -> None:
    """Change one byte of an imported frame, or cut it off."""
    chunk = hunt.chunk()
    whole = chunk.read_bytes()
    if hunt.chance.random() < 0.3:
        chunk.write_bytes(whole[: len(whole) // 2])
    else:
        place = hunt.chance.randrange(16, len(whole))
        chunk.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << hunt.chance.randrange(8)]) + whole[place + 1 :])
    position = hunt.place.joinpath(*chunk.relative_to(hunt.place).parts[:3])
    shutil.rmtree(position / "records", ignore_errors=True)
    code = hunt.finish(hunt.start(0), "chunk damaged")
    said = hunt.said[-1][2]
    chunk.write_bytes(whole)
    # a byte that no decoder looks at changes no pixel
    assert code == 0 or (code == 1 and "is damaged" in said), said


def full_disk(hunt: Hunt) -> None:
    """Leave a few kilobytes."""
    if not hunt.mounted:
        return limit_files(hunt)
    filler = hunt.disk / "filler"
    left = shutil.disk_usage(hunt.disk).free - hunt.chance.choice((4_000, 60_000, 300_000))
    with filler.open("wb") as file, contextlib.suppress(OSError):
        for _ in range(max(left, 0) // 4096):
            file.write(b"x" * 4096)
    code = hunt.finish(hunt.start(hunt.chance.choice((0, 2))), "disk full")
    filler.unlink()
    assert code in {0, 1, 2}
    assert code == 0 or "disk is full" in hunt.said[-1][2], hunt.said[-1][2]
    return None


def limit_files(hunt: Hunt) -> None:
    """Let no file grow beyond a few kilobytes, as a quota does."""
    import resource

    limit = hunt.chance.choice((500, 3_000, 12_000))
    process = hunt.start(0, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    code = hunt.finish(process, "file too large")
    assert code == 0 or "Cannot write" in hunt.said[-1][2] or "cannot" in hunt.said[-1][2], hunt.said[-1][2]


def take_permission(hunt: Hunt) -> None:
    """Make the disk read-only while a run goes on, or before it begins."""
    if not hunt.mounted:
        folder = hunt.place / "A/2/1"
        folder.chmod(0o500)
        hunt.finish(hunt.start(0), "no permission")
        folder.chmod(0o700)
        return
    before = hunt.chance.random() < 0.5
    process = None if before else hunt.start(0)
    if process is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(hunt.chance.uniform(1.0, 4.0))
    # a file that is open for writing keeps a disk from being made read-only; a bind mount over it does not wait
    subprocess.run(["mount", "--bind", str(hunt.place), str(hunt.place)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(hunt.place)], check=True, capture_output=True)
    code = hunt.finish(process or hunt.start(0), "no permission")
    subprocess.run(["umount", "-l", str(hunt.place)], check=True, capture_output=True)
    assert code in {0, 1, 2}
    assert code == 0 or "No permission" in hunt.said[-1][2], hunt.said[-1][2]


def jump_clock(hunt: Hunt) -> None:
    """Move the clock by hours or days, and make files old or of the future."""
    jump = hunt.chance.choice((-172_800.0, -3_600.0, 3_600.0, 172_800.0))
    (hunt.folder / "clock").mkdir(exist_ok=True)
    (hunt.folder / "clock/sitecustomize.py").write_text(CLOCK)
    for path in hunt.place.rglob("*.json"):
        then = time.time() + hunt.chance.uniform(-1, 1) * 1e6
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, (then, then))
    own = [str(hunt.folder / "clock"), *filter(None, [os.environ.get("PYTHONPATH")])]
    more = {"PYTHONPATH": os.pathsep.join(own), "KINOCYTE_TEST_JUMP_S": str(jump)}
    process = hunt.start(0, env={**os.environ, **more})
    assert hunt.finish(process, f"clock moved by {jump:g} s") == 0, hunt.said[-1][2]


FAULTS: tuple[Callable[[Hunt], None], ...] = (
    corrupt_chunk,
    kill_client,
    full_disk,
    take_permission,
    jump_clock,
    kill_workers,
    limit_files,
)


def check_what_stands(hunt: Hunt, fault: str) -> None:
    """Compare every table and label image that counts with the undisturbed ones."""
    for name, position in kinocyte.open(hunt.place).positions.items():
        for table in position.tables:
            if position.stands(table):
                assert position.table(table).equals(hunt.calm[f"{name} {table}"]), f"{table} of {name} after {fault}"
        record = position.records.get("segmentation", "nuclei")
        if record is not None:
            labels = position.labels("nuclei")
            for t in range(labels.n_frames):
                assert (labels.frame(t) == hunt.calm[f"{name} nuclei"][t]).all(), f"labels of {name} after {fault}"  # type: ignore[index]


def chase(folder: Path, seconds: float) -> None:
    """Disturb runs for some time, check after every fault, and end with an undisturbed run."""
    calm = fill(folder / "calm.zarr")
    assert run(parse_pipeline(ASKED), calm, where=Workers(workers=0)).ok
    (folder / "p.toml").write_text(ASKED)
    with small_disk(folder / "disk") as mounted:
        hunt = Hunt(folder, folder / "disk", mounted, results(calm), random.Random(SEED))
        fill(hunt.place)
        begin, n = time.monotonic(), 0
        while n < len(FAULTS) or time.monotonic() - begin < seconds:
            if n >= _LEAST and time.monotonic() - begin > seconds:
                break
            fault = FAULTS[n] if n < len(FAULTS) else hunt.chance.choice(FAULTS)
            n += 1
            hunt.forget_something()
            fault(hunt)
            for what, code, said in hunt.said:
                assert "Traceback" not in said, f"{what} ({code}): {said}"
                assert "please report" not in said, f"{what} ({code}): {said}"
            check_what_stands(hunt, fault.__name__)
        wait_for_workers(hunt)
        assert hunt.finish(hunt.start(0), "undisturbed") == 0, hunt.said[-1][2]
        assert_same(hunt.calm, results(kinocyte.open(hunt.place)))
        end = status(kinocyte.open(hunt.place))
        assert end.run_state == "finished", end.run_state
        assert set(end.counts) == {"done"}
        assert end.comparisons["state"].to_list() == ["done"]
        print(f"{n} faults in {time.monotonic() - begin:.0f} s: {[(what, code) for what, code, _ in hunt.said]}")  # noqa: T201
        left = [p for p in hunt.place.rglob("*") if p.name.endswith((".partial", ".old")) and "runs" not in p.parts]
        assert left == []


def wait_for_workers(hunt: Hunt) -> None:
    """Wait for workers that outlived their program: they hold their position until they end."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with kinocyte.open(hunt.place).lock():
                return
        except StoreError:
            time.sleep(0.5)


#: Faults of a run on a machine that is busy with other things.
_LEAST = 3
needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL and no quotas")


@pytest.mark.slow
@needs_signals
@pytest.mark.long
def test_faults_of_half_a_minute(tmp_path: Path) -> None:
    chase(tmp_path, 30.0)


@pytest.mark.endurance
@pytest.mark.timeout(4000)
@needs_signals
@pytest.mark.skipif(LONG_S <= 0, reason="minutes: run by hand with KINOCYTE_TEST_FAULTS_S=1800 and -m endurance")
def test_faults_of_many_minutes(tmp_path: Path) -> None:
    chase(tmp_path, LONG_S)
