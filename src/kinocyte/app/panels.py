"""The panels of the application: what they are called, where they stand, which key opens them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal


@dataclass(frozen=True)
class PanelSpec:
    """One panel.

    Parameters
    ----------
    name : str
        For programs; the dock is called ``kinocyte_<name>``.
    title : str
        On its tab.
    place : str
        ``module:Class``; the class takes the session.
    area : str
        Side of the window.
    shortcut : str
        Key that brings it to the front.
    help : str
        Tooltip of its menu entry.
    page : str
        Page of the documentation.
    """

    name: str
    title: str
    place: str
    area: Literal["left", "right", "bottom"]
    shortcut: str
    help: str
    page: str = "app"

    def make(self, session: Any) -> Any:
        """Return a new panel."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name)(session)


PANELS: tuple[PanelSpec, ...] = (
    PanelSpec(
        "start",
        "Start",
        "kinocyte.app.start:StartPanel",
        "left",
        "Ctrl+1",
        "Open an experiment, make one from movies, or take the tour",
    ),
    PanelSpec(
        "navigator",
        "Experiment",
        "kinocyte.app.navigator:NavigatorPanel",
        "left",
        "Ctrl+2",
        "Plate, positions, populations and channels",
    ),
    PanelSpec(
        "builder",
        "Pipeline",
        "kinocyte.app.builder:BuilderPanel",
        "right",
        "Ctrl+3",
        "Choose and tune the steps with a live preview",
    ),
    PanelSpec("run", "Run", "kinocyte.app.running:RunPanel", "right", "Ctrl+4", "Run the pipeline and see what failed"),
    PanelSpec(
        "messages",
        "Messages",
        "kinocyte.app.notices:MessagesPanel",
        "right",
        "Ctrl+9",
        "Everything that was reported",
    ),
)


def panel(name: str) -> PanelSpec:
    """Return the panel of a name."""
    return next(p for p in PANELS if p.name == name)
