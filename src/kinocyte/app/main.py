"""Starting the application."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence


def show(experiment: str | None = None) -> int:
    """Open a window, with an experiment if one is named, and return when it was closed.

    Raises
    ------
    StoreError
        If there is no screen to show it on.
    """
    _check_screen()
    # wholly imported before Qt: PySide looks into every module that is imported after it, which pydantic, half loaded,
    # answers with an ImportError
    import pydantic.fields  # noqa: F401
    from napari.qt import get_qapp

    from kinocyte.app.warming import WarmUp
    from kinocyte.app.window import Window

    application = get_qapp()
    window = Window()
    settle()
    WarmUp(window.session, experiment).start()
    return int(application.exec())


def settle() -> None:
    """Take what the started program consists of out of later searches for memory that can go.

    napari makes such a search whenever a layer is removed, and the window stands still for as long.
    """
    gc.collect()
    gc.freeze()


def _check_screen() -> None:
    from kinocyte.core.errors import StoreError

    named = os.environ.get("QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not named:
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            msg = "There is no screen here to show the application on; start it on a desktop, or over ssh with: ssh -X"
            raise StoreError(msg)


def main(argv: Sequence[str] | None = None) -> int:
    """Start from a desktop: the first argument, if any, is an experiment."""
    given = list(sys.argv[1:] if argv is None else argv)
    return show(given[0] if given else None)


if __name__ == "__main__":
    sys.exit(main())
