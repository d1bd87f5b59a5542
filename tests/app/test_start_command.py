"""`kinocyte app` as a person types it: a process of its own, where nothing was imported before."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

from packaging.requirements import Requirement

# it imports nothing itself: which library comes first is part of what is tested
TYPED = """
import json, sys, threading, time

others = set(json.loads(sys.argv[1]))

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in others else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

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

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
threading.Thread(target=shown_then_closed, daemon=True).start()
from kinocyte.cli import main
main(["app"])
"""


def installed_with(name: str, extras: tuple[str, ...]) -> set[str]:
    """Return the distributions that an installation of one with these extras brings."""
    found: set[str] = set()
    ahead = [(name, extras)]
    while ahead:
        name, extras = ahead.pop()
        name = name.lower().replace("_", "-").replace(".", "-")
        if name in found and not extras:
            continue
        found.add(name)
        try:
            needs = map(Requirement, metadata.requires(name) or ())
        except metadata.PackageNotFoundError:
            continue
        ahead += [
            (need.name, tuple(need.extras))
            for need in needs
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in ("", *extras))
        ]
    return found


def test_the_command_opens_a_window_and_ends_with_it_where_only_its_extra_is_installed() -> None:
    brought = installed_with("kinocyte", ("app",))
    assert {"napari", "pyside6-essentials", "polars"} <= brought
    assert "torch" not in brought
    others = [
        module
        for module, names in metadata.packages_distributions().items()
        if not brought & {n.lower().replace("_", "-").replace(".", "-") for n in names}
    ]
    done = subprocess.run(
        [sys.executable, "-c", TYPED, json.dumps(others)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "shown:" in done.stdout
    assert "Traceback" not in done.stderr
