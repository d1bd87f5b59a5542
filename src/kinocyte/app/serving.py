"""How a process of the window is asked and tells: one JSON line in, JSON lines out, stopped by a word or by silence."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kinocyte.app.run_process import Teller
from kinocyte.core.errors import KinocyteError


class Stop:
    """Heard from the window: ends work at once, or after the step it is at where that is ``patient``."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.patient = False

    def listen(self) -> None:
        """Wait for the word, or for the window's end."""
        for line in sys.stdin:
            if line.strip() == "stop":
                break
        self.asked.set()
        if not self.patient:
            signal.raise_signal(signal.SIGINT)


Work = Callable[[Mapping[str, Any], Teller, Stop], None]


def serve(work: Mapping[str, Work]) -> int:
    """Read the question from standard input, do that work, and return the exit code.

    Parameters
    ----------
    work : mapping of str to callable
        By the key ``what`` of the question.
    """
    teller = Teller(sys.stdout)
    sys.stdout = sys.stderr  # libraries that print must not end up between the events
    asked = json.loads(sys.stdin.readline())
    stop = Stop()
    try:
        threading.Thread(target=stop.listen, name="kinocyte-stop", daemon=True).start()
        work[asked["what"]](asked, teller, stop)
    except KinocyteError as error:
        teller.say("refused", sentence=str(error))
        return 2
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        teller.say("refused", sentence=f"{error.strerror or error}:{place}; choose another folder, or make room.")
        return 2
    except MemoryError:
        teller.say("refused", sentence="There is not enough memory for this; ask for less at a time.")
        return 2
    except KeyboardInterrupt:
        teller.say("stopped")
        return 130
    return 0
