"""`kinocyte app` as a person types it: a process of its own, where nothing was imported before."""

from __future__ import annotations

import subprocess
import sys

# it imports nothing itself: which library comes first is part of what is tested
TYPED = """
import sys, threading, time

def shown_then_closed():
    while True:
        time.sleep(0.2)
        qt = sys.modules.get("PySide6.QtWidgets")
        core = sys.modules.get("PySide6.QtCore")
        running = qt and getattr(qt, "QApplication", None) and qt.QApplication.instance()
        titles = [w.windowTitle() for w in running.topLevelWidgets() if w.isVisible()] if running else []
        if any("Kinocyte" in t for t in titles):  # again and again: before its events run the program hears nothing
            print("shown:", titles, flush=True)
            core.QMetaObject.invokeMethod(running, "quit", core.Qt.ConnectionType.QueuedConnection)

threading.Thread(target=shown_then_closed, daemon=True).start()
from kinocyte.cli import main
main(["app"])
"""


def test_the_command_opens_a_window_and_ends_with_it() -> None:
    done = subprocess.run([sys.executable, "-c", TYPED], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "shown:" in done.stdout
    assert "Traceback" not in done.stderr
