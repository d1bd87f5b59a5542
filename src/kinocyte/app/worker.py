"""One process beside the window that is asked by a JSON line and tells in JSON lines."""

from __future__ import annotations

import json
import sys
from typing import Any

from qtpy.QtCore import QObject, QProcess, QTimer, Signal

#: Time to note that it was stopped, before it is ended.
_PATIENCE_MS = 8000
#: what is told last: the result, or why there is none
_LAST = {"trained", "checked", "ranked", "reported", "tuned", "end", "refused", "stopped"}


class Worker(QObject):
    """Runs ``python -m <module>``, passes on what it tells, and ends it when it is asked to.

    Parameters
    ----------
    module : str
        What is run.
    """

    #: one event: its name, and what it says
    told = Signal(str, dict)
    #: after the process ended: whether it said how, and what it wrote last otherwise
    over = Signal(bool, str)

    def __init__(self, module: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._module = module
        self._process: QProcess | None = None
        self._buffer, self._errors = b"", b""
        self._said = self.stopping = False

    @property
    def is_running(self) -> bool:
        """Tell whether work is going on."""
        return self._process is not None

    @property
    def process_id(self) -> int:
        """Return the number that the system gave the process; 0 where there is none."""
        return 0 if self._process is None else int(self._process.processId())

    def start(self, asked: dict[str, Any]) -> None:
        """Begin; nothing happens while another piece of work is going on."""
        if self._process is not None:
            return
        self._buffer, self._errors, self._said, self.stopping = b"", b"", False, False
        process = QProcess(self)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._over)
        process.errorOccurred.connect(self._broken)
        self._process = process
        process.start(sys.executable, ["-m", self._module])
        process.write(json.dumps(asked).encode() + b"\n")

    def _read(self) -> None:
        if self._process is None:
            return
        self._buffer += bytes(self._process.readAllStandardOutput().data())
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            if line.strip():
                event = json.loads(line)
                name = str(event.pop("event"))
                self._said = self._said or name in _LAST
                self.told.emit(name, event)

    def _read_errors(self) -> None:
        if self._process is not None:
            self._errors = (self._errors + bytes(self._process.readAllStandardError().data()))[-20_000:]

    def stop(self) -> None:
        """Ask the work to stop; it is ended where it does not."""
        if self._process is not None and not self.stopping:
            self.stopping, asked = True, self._process
            asked.write(b"stop\n")
            QTimer.singleShot(_PATIENCE_MS, lambda: self._kill(asked))

    def _kill(self, asked: QProcess) -> None:
        if self._process is asked:  # and not one that was begun meanwhile
            asked.kill()

    def _broken(self, error: Any) -> None:
        if self._process is not None and error == QProcess.ProcessError.FailedToStart:
            self._process = None
            self.over.emit(False, f"it could not be started with {sys.executable}")

    def _over(self, code: int, _status: Any = None) -> None:
        self._read()
        self._read_errors()
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        text = self._errors.decode(errors="replace").strip()
        if not self._said and not self.stopping and text:
            from kinocyte.app.crash import write_report

            write_report(text, f"{self._module} ended unexpectedly")
        self.over.emit(self._said or self.stopping, (text.splitlines() or [f"exit code {code}"])[-1])

    def end(self) -> None:
        """End the work because the window closes, and wait a moment until it has noted that."""
        process, self._process = self._process, None
        if process is None:
            return
        process.blockSignals(True)
        process.write(b"stop\n")
        process.closeWriteChannel()
        if not process.waitForFinished(_PATIENCE_MS):
            process.kill()
            process.waitForFinished(2000)
