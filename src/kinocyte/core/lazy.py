"""Names that import their module on first use, so that `import kinocyte` takes no time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def attach(
    module: str, *, names: Mapping[str, str], rooms: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a module whose names are imported on first use.

    Parameters
    ----------
    module : str
        The module's ``__name__``.
    names : mapping of str to str
        Public name to the module that defines it.
    rooms : iterable of str
        Submodules that are attributes as well.

    Returns
    -------
    tuple of callables
        To be bound to ``__getattr__, __dir__`` in the module.
    """
    submodules = frozenset(rooms)

    def load(name: str) -> Any:
        if name in names:
            return getattr(import_module(names[name]), name)
        if name in submodules:
            return import_module(f"{module}.{name}")
        msg = f"module '{module}' has no attribute '{name}'"
        raise AttributeError(msg)

    def listing() -> list[str]:
        return sorted({*names, *submodules})

    return load, listing
