"""`kinocyte app`."""

from __future__ import annotations

from importlib.util import find_spec

from kinocyte.core.errors import MissingExtraError


def show_app(experiment: str | None = None, /) -> int:
    """Open the application: every step seen, tuned and run without code.

    Parameters
    ----------
    experiment : str
        The experiment to open: a folder ending in .zarr, or a URL.
    """
    missing = [name for name in ("napari", "qtpy", "pyqtgraph") if find_spec(name) is None]
    if not missing and not any(find_spec(name) for name in ("PySide6", "PyQt6")):
        missing = ["PySide6"]
    if missing:
        msg = f"The application needs {' and '.join(missing)}; install it with: pip install 'kinocyte[app]'"
        raise MissingExtraError(msg)
    from kinocyte.app.main import show

    return show(experiment)
