"""Colours of cells and their tracks: none of them grey or dark, so that every cell stands out from the image."""

# napari carries no types; its colour maps are Any here.
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: First the hues told apart by people with any colour vision (Okabe and Ito 2008, blue and green brighter), then others
#: between them, in an order in which neighbours differ much: cells found one after the other often lie side by side.
_HUES = ("#e69f00", "#56b4e9", "#d55e00", "#00b983", "#e07fc0", "#f0e442", "#3d8fe0", "#ff7a6e", "#a0e048", "#a98bff",
         "#2fd0c8")  # fmt: skip
#: Shares of white in the tones of a hue.
_TONES = (0.0, 0.28)


def palette() -> NDArray[np.float32]:
    """Return the colours, (n, 4) RGBA from 0 to 1."""
    plain = np.array([[int(h[i : i + 2], 16) / 255 for i in (1, 3, 5)] for h in _HUES])
    tones = [plain + share * (1.0 - plain) for share in _TONES]
    colours = np.concatenate(tones)
    return np.column_stack([colours, np.ones(len(colours))]).astype(np.float32)


def of_labels() -> Any:
    """Return napari's colour map of a label image; label 0 is clear."""
    from napari.utils.colormaps import CyclicLabelColormap

    return CyclicLabelColormap(colors=np.vstack([np.zeros((1, 4), np.float32), palette()]), name="cells")


def of_tracks() -> Any:
    """Return napari's colour map of tracks, in which a track has the colour of its labels (`Cells.track_labels`)."""
    from napari.utils.colormaps import Colormap

    class TrackColours(Colormap):  # type: ignore[misc]  # napari carries no types
        """The colour of a track by its id, which napari passes as it is."""

        def map(self, values: NDArray[Any]) -> NDArray[np.float32]:
            """Return (n, 4) colours of (n,) ids; the label of a track is its id + 1, and label 1 has the first."""
            return colours[np.atleast_1d(values).astype(np.int64) % len(colours)]

    colours = palette()
    return TrackColours(colors=colours, name="cells")
