"""Work beside the window: threads for what takes a moment, with progress, cancel and errors as one sentence.

The window itself never computes. A function that takes a parameter named ``job`` receives the `Job`, tells it how far
it is (`Job.tell`) and asks it whether to go on (`Job.check`). Everything that reaches the window is delivered in the
thread of the window.
"""

from __future__ import annotations

import inspect
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

from qtpy.QtCore import QCoreApplication, QEventLoop, QObject, Qt, QTimer, Signal

from kinocyte.core.errors import KinocyteError

State = Literal["waiting", "running", "done", "failed", "cancelled"]
#: Threads beside the window; pipelines run in processes of their own.
_THREADS = 3
#: An answer within this time is quick enough to be given at every key, after a rest of no more than the other.
_QUICK_MS, _SHORT_REST_MS = 600.0, 10


class Cancelled(BaseException):
    """A job was asked to stop; no error, and not to be caught with the errors of the work."""


class Job(QObject):
    """One piece of work beside the window.

    Attributes
    ----------
    title : str
        What a person reads, such as ``Opening plate.zarr``.
    state : str
        ``waiting``, ``running``, ``done``, ``failed`` or ``cancelled``.
    result : object
        What the function returned.
    message : str
        Why it failed: one sentence.
    trace : str
        The traceback of a defect; empty for errors a person can act on.
    fraction : float
        How far it is, 0 to 1; -1 while unknown.
    """

    #: emitted in the thread of the window
    progressed = Signal(float, str)
    finished = Signal(object)
    failed = Signal(str)
    #: after `finished`, `failed` or a cancel
    ended = Signal()

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        super().__init__()
        self.title, self.quiet = title, quiet
        self.state: State = "waiting"
        self.result: Any = None
        self.message = ""
        self.trace = ""
        self.fraction = -1.0
        self.text = ""
        self.asked_to_stop = threading.Event()
        self._tell: Callable[[Job, float, str], None] | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether the work has ended, however it ended."""
        return self.state in {"done", "failed", "cancelled"}

    def cancel(self) -> None:
        """Ask the work to stop; its result is not delivered any more."""
        self.asked_to_stop.set()

    # ------------------------------------------------------------ called by the work itself
    def check(self) -> None:
        """Raise `Cancelled` if the work should stop."""
        if self.asked_to_stop.is_set():
            raise Cancelled

    def tell(self, fraction: float, text: str = "") -> None:
        """Say how far the work is (0 to 1) and at what; stops it if somebody cancelled it."""
        self.check()
        if self._tell is not None:
            self._tell(self, fraction, text)


class Jobs(QObject):
    """All work beside one window.

    Signals
    -------
    started, ended : Job
        For a list of what goes on.
    """

    started = Signal(object)
    ended = Signal(object)
    #: title, sentence, traceback ("" where the sentence says all)
    trouble = Signal(str, str, str)
    _told = Signal(object, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="kinocyte-job")
        self._lone: dict[str, ThreadPoolExecutor] = {}
        self.running: list[Job] = []
        self._closed = False
        self._told.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def start(
        self,
        title: str,
        function: Callable[..., Any],
        *args: Any,
        done: Callable[[Any], None] | None = None,
        failed: Callable[[str], None] | None = None,
        quiet: bool = False,
        lane: str = "",
    ) -> Job:
        """Run a function beside the window.

        Parameters
        ----------
        title : str
            What a person reads.
        function : callable
            Runs in another thread; must not touch widgets. A parameter named ``job`` receives the `Job`.
        done, failed : callable, optional
            Called in the window's thread with the result, or with the sentence that says why there is none.
        quiet : bool
            Neither listed nor, when it fails, shown as trouble: for previews, which are asked for again all the time.
        lane : str
            Work of one lane is done one after the other, in order; without a lane, as soon as there is a thread.
        """
        job = Job(title, quiet=quiet)
        job._tell = self._on_progress
        if done is not None:
            job.finished.connect(done)
        if failed is not None:
            job.failed.connect(failed)
        self.running.append(job)
        self.started.emit(job)
        self._executor(lane).submit(self._work, job, function, args).add_done_callback(_forget)
        return job

    def _executor(self, lane: str) -> ThreadPoolExecutor:
        if not lane:
            return self._pool
        if lane not in self._lone:
            self._lone[lane] = ThreadPoolExecutor(1, thread_name_prefix=f"kinocyte-{lane}")
        return self._lone[lane]

    def _work(self, job: Job, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            job.check()
            job.state = "running"
            more = {"job": job} if "job" in inspect.signature(function).parameters else {}
            outcome: tuple[str, Any] = ("done", function(*args, **more))
        except Cancelled:
            outcome = ("cancelled", None)
        except KinocyteError as error:
            outcome = ("failed", (str(error), ""))
        except MemoryError:
            outcome = ("failed", ("There is not enough memory for this; close other programs and try again.", ""))
        except Exception as error:  # noqa: BLE001 - a defect is reported whole, the window goes on
            sentence = f"{job.title}: stopped with {type(error).__name__}: {error}"
            outcome = ("failed", (sentence, traceback.format_exc()))
        if not self._closed:
            self._say(job, *outcome)

    def _on_progress(self, job: Job, fraction: float, text: str) -> None:
        if not self._closed:
            self._say(job, "progress", (fraction, text))

    def _say(self, job: Job, what: str, content: Any) -> None:
        try:
            self._told.emit(job, what, content)
        except RuntimeError:  # the window was closed at this moment; nobody is there to be told
            self._closed = True

    def _deliver(self, job: Job, what: str, content: Any) -> None:
        """Tell the window, in its own thread, what became of a job."""
        if self._closed or job.is_over:
            return
        if what == "progress":
            job.fraction, job.text = content
            job.progressed.emit(job.fraction, job.text)
            return
        if job.asked_to_stop.is_set():
            what = "cancelled"
        job.state = what  # type: ignore[assignment]  # one of the words of State
        self.running.remove(job)
        try:
            if what == "done":
                job.result = content
                job.finished.emit(content)
            elif what == "failed":
                job.message, job.trace = content
                if not job.quiet:
                    self.trouble.emit(job.title, job.message, job.trace)
                job.failed.emit(job.message)
        finally:
            job.ended.emit()
            self.ended.emit(job)

    def wait(self, job: Job, timeout_s: float = 30.0) -> Any:
        """Return the result of a job, with the window alive meanwhile; for tests and scripts.

        Raises
        ------
        TimeoutError
            If it takes longer.
        RuntimeError
            If it failed.
        """
        end = time.monotonic() + timeout_s
        while not job.is_over:
            if time.monotonic() > end:
                msg = f"'{job.title}' did not end within {timeout_s:g} s"
                raise TimeoutError(msg)
            QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
            time.sleep(0.002)
        if job.state == "failed":
            raise RuntimeError(job.message)
        return job.result

    def close(self, timeout_s: float = 5.0) -> None:
        """Ask all work to stop, wait for it a little and deliver nothing any more."""
        self._closed = True
        for job in self.running:
            job.cancel()
        end = time.monotonic() + timeout_s
        for pool in (self._pool, *self._lone.values()):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._pool, *self._lone.values()):
            for thread in getattr(pool, "_threads", ()):
                thread.join(max(0.0, end - time.monotonic()))


def _forget(future: Future[None]) -> None:
    """Look at a future, so that a defect of the delivery itself is not lost in silence."""
    if not future.cancelled() and future.exception() is not None:
        traceback.print_exception(future.exception())


class Latest(QObject):
    """The newest of many questions, asked after a short rest: for live previews.

    A question that comes while an older one is being answered drops the older answer; of several that wait only the
    newest is asked. Where the last answer came quickly, the next question hardly rests: another one can soon follow.

    Parameters
    ----------
    jobs : Jobs
        Where it is answered.
    title : str
        What is done.
    delay_ms : int
        Longest rest before a question is asked.
    """

    #: the newest question has been answered, or has failed
    settled = Signal()

    def __init__(self, jobs: Jobs, title: str, delay_ms: int = 120, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs, self._title = jobs, title
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._ask)
        self._delay_ms, self._rest_ms = delay_ms, delay_ms
        self._question: tuple[Callable[..., Any], tuple[Any, ...], Any, Any] | None = None
        self._job: Job | None = None
        self._since = 0.0

    @property
    def is_busy(self) -> bool:
        """Tell whether an answer is still to come."""
        return self._timer.isActive() or self._job is not None

    def ask(
        self,
        function: Callable[..., Any],
        *args: Any,
        done: Callable[[Any], None],
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """Ask; ``done`` is called with the answer unless a newer question comes first."""
        self._question = (function, args, done, failed)
        if self._job is not None:
            self._job.cancel()  # what it answers was changed meanwhile
        self._timer.start(self._rest_ms)

    def drop(self) -> None:
        """Forget what was asked."""
        self._timer.stop()
        self._question = None
        if self._job is not None:
            self._job.cancel()

    def _ask(self) -> None:
        if self._question is None:
            return
        if self._job is not None:  # answered one by one; `_over` asks again
            return
        function, args, done, failed = self._question
        self._question, self._since = None, time.monotonic()
        self._job = self._jobs.start(self._title, function, *args, quiet=True, lane=self._title)
        self._job.finished.connect(done)
        if failed is not None:
            self._job.failed.connect(failed)
        self._job.ended.connect(self._over)

    def _over(self) -> None:
        self._job = None
        took_ms = 1000.0 * (time.monotonic() - self._since)
        self._rest_ms = min(self._delay_ms, _SHORT_REST_MS if took_ms < _QUICK_MS else self._delay_ms)
        if self._question is not None and not self._timer.isActive():
            self._ask()
        if not self.is_busy:
            self.settled.emit()
