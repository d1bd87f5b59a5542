"""What can be added to a pipeline: one menu, with a menu of its own for each kind of cell, interaction and table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from qtpy.QtWidgets import QMenu

from kinocyte.app.draft import Draft, Path

#: Steps of a kind of cell that stand once, and those that may be added again.
_ONCE = (("segmentation", "Find cells"), ("tracking", "Follow cells"))
_OFTEN = (("measurement", "Measure more"), ("filter", "Keep some cells"))
_ON_TRACKS = (("mending", "Mend tracks"), ("track_filter", "Keep some tracks"))


def fill(
    menu: QMenu,
    draft: Draft,
    added: Callable[[Path], Any],
    *,
    channel: str | None,
    imported: Sequence[str],
    ask_population: Callable[[], Any],
) -> None:
    """Fill the menu with what can be added to a draft now.

    Parameters
    ----------
    menu : QMenu
        Is emptied first.
    draft : Draft
        The pipeline that is being built.
    added : callable
        Called with the place of the new step.
    channel : str, optional
        Channel that is likely meant.
    imported : sequence of str
        Label images that came with the movie.
    ask_population : callable
        Asks for the name of a kind of cell.
    """

    def offer(where: QMenu, text: str, add: Callable[[], Path]) -> None:
        where.addAction(text).triggered.connect(lambda _on=False: added(add()))

    menu.clear()
    document = draft.document
    known = document.get("population", {})
    offer(menu, "Correct background and light", partial(draft.add_restoration, "model_fit"))
    offer(menu, "Reduce noise", partial(draft.add_restoration, "median"))
    offer(menu, "Compute a channel from others", draft.add_stain)
    if "registration" not in document:
        offer(menu, "Hold the movie still", partial(draft.add_registration, channel))
    elif "corrected" not in document:
        offer(menu, "How frames are moved", partial(draft.add_table_of, "corrected"))
    menu.addAction("A kind of cell…").triggered.connect(lambda _on=False: ask_population())
    for name in [n for n in imported if n not in known]:
        offer(menu, f"The imported cells '{name}'", partial(draft.add_imported, name))
    for name, table in known.items():
        _fill_population(menu.addMenu(name), draft, name, table, offer)
    if known:
        offer(menu, "Who is near whom", draft.add_interaction)
        for at, table in enumerate(document.get("interaction", [])):
            _fill_interaction(menu, draft, at, table, offer)
        offer(menu, "Make a table", draft.add_table)
        for at, table in enumerate(document.get("table", [])):
            offer(menu, f"Go on with the table {table.get('name', '?')}", partial(draft.add_to_table, at))
        offer(menu, "Compare conditions", draft.add_comparison)
    if "report" not in document:
        offer(menu, "What the report shows", partial(draft.add_table_of, "report"))


_Offer = Callable[[QMenu, str, Callable[[], Path]], None]


def _fill_population(menu: QMenu, draft: Draft, name: str, table: dict[str, Any], offer: _Offer) -> None:
    several = len(draft.document.get("population", {})) > 1
    entries = [(k, t) for k, t in _ONCE if k not in table]
    entries += _OFTEN
    entries += [("cells", "Nucleus and cytoplasm")] if several and "cells" not in table else []
    if "tracking" in table:
        entries += _ON_TRACKS
        entries += [("motion", "How motion is measured")] if "motion" not in table else []
        entries += [("path", "Measure along the tracks")] if "path" not in table else []
        entries += [("event", "Find an event")]
    for kind, text in entries:
        offer(menu, text, partial(draft.add_to_population, name, kind))


def _fill_interaction(menu: QMenu, draft: Draft, at: int, table: dict[str, Any], offer: _Offer) -> None:
    sides = table.get("name") or f"{table.get('reference', '?')} and {table.get('neighbour', '?')}"
    inner = menu.addMenu(str(sides))
    offer(inner, "Find an event of pairs", partial(draft.add_to_interaction, at, "event"))
    if "killer" not in table:
        offer(inner, "Rank who killed", partial(draft.add_to_interaction, at, "killer"))
