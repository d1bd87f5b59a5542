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
    at_once : bool
        Made with the window; the others when they are first looked at.
    shown : bool
        Has its place in the window from the start; the others when they are asked for.
    """

    name: str
    title: str
    place: str
    area: Literal["left", "right", "bottom"]
    shortcut: str
    help: str
    at_once: bool = False
    shown: bool = True

    def make(self, session: Any) -> Any:
        """Return a new panel."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name)(session)


def _late(name: str, title: str, place: str, shortcut: str, help: str, **more: Any) -> PanelSpec:  # noqa: A002 - as the field
    """Return a panel on the right that is made when it is first looked at."""
    return PanelSpec(name, title, f"kinocyte.app.{place}", more.pop("area", "right"), shortcut, help, **more)


PANELS: tuple[PanelSpec, ...] = (
    PanelSpec(
        "start",
        "Start",
        "kinocyte.app.start:StartPanel",
        "left",
        "Ctrl+1",
        "Open an experiment, make one from movies, or take the tour",
        at_once=True,
    ),
    PanelSpec(
        "navigator",
        "Experiment",
        "kinocyte.app.navigator:NavigatorPanel",
        "left",
        "Ctrl+2",
        "Plate, positions, populations and channels",
        at_once=True,
    ),
    PanelSpec(
        "builder",
        "Pipeline",
        "kinocyte.app.builder:BuilderPanel",
        "right",
        "Ctrl+3",
        "Choose and tune the steps with a live preview",
        at_once=True,
    ),
    PanelSpec(
        "run",
        "Run",
        "kinocyte.app.running:RunPanel",
        "right",
        "Ctrl+4",
        "Run the pipeline and see what failed",
        at_once=True,
    ),
    _late("review", "Review", "correct.review:ReviewPanel", "Ctrl+5", "Look at what is least certain first"),
    _late("labels", "Masks", "correct.labels:LabelsPanel", "Ctrl+6", "Correct the outlines of cells"),
    _late("tracks", "Tracks", "correct.tracks:TracksPanel", "Ctrl+7", "Correct links and divisions; the lineage tree"),
    _late("events", "Events", "correct.events:EventsPanel", "Ctrl+8", "Correct when something happened"),
    _late("history", "History", "correct.history:HistoryPanel", "Alt+H", "What was corrected, by whom; take it back"),
    _late("train", "Train", "train.panel:TrainPanel", "Alt+T", "Train a network on corrected cells or on two folders"),
    PanelSpec(
        "messages",
        "Messages",
        "kinocyte.app.notices:MessagesPanel",
        "right",
        "Ctrl+9",
        "Everything that was reported",
        at_once=True,
    ),
    _late(
        "drift",
        "Drift",
        "tools.drift:DriftPanel",
        "Alt+D",
        "Hold movies in plain files still, and lay their channels on each other",
        shown=False,
    ),
    _late(
        "track",
        "Track a movie",
        "tools.track_wizard:TrackPanel",
        "Alt+M",
        "Detect, filter, link, filter: the cells of one movie, step by step",
        shown=False,
    ),
    _late(
        "explore",
        "Explore",
        "explore.panel:ExplorePanel",
        "Alt+E",
        "Tables and plots, linked with the image",
        area="bottom",
        shown=False,
    ),
    _late(
        "compare",
        "Compare",
        "explore.comparing:ComparePanel",
        "Alt+V",
        "Survival, aligned signals and comparisons of conditions",
        area="bottom",
        shown=False,
    ),
)


def panel(name: str) -> PanelSpec:
    """Return the panel of a name."""
    return next(p for p in PANELS if p.name == name)
