"""What filters leave out, marked in the image."""

# napari's layers carry no types that mypy can follow; they are Any here.
from __future__ import annotations

from typing import Any

import polars as pl

from kinocyte.app.layers import layer_scale, layer_units
from kinocyte.app.session import Session

#: More points than these would stall the window.
_MOST_POINTS = 50_000
_OUT = "#d55e00"


class LeftOut:
    """Crosses on objects that do not pass; a form and a colour, told apart by any colour vision."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.layer: Any = None

    def show(self, rows: pl.DataFrame) -> None:
        """Mark objects, given by ``frame x_um y_um z_um``."""
        viewer, position = self._session.viewer, self._session.position
        if viewer is None or position is None:
            return
        scale, deep = position.scale, len(position.image().frame_shape) == 3
        axes = [pl.col("y_um") / scale.y_um, pl.col("x_um") / scale.x_um]
        axes = [pl.col("z_um") / (scale.z_um or 1.0), *axes] if deep else axes
        points = rows.head(_MOST_POINTS).select(pl.col("frame").cast(pl.Float64), *axes).to_numpy()
        if self.layer is not None and self.layer in viewer.layers:
            self.layer.data = points
            return
        active = viewer.layers.selection.active
        self.layer = viewer.add_points(
            points,
            ndim=points.shape[1],
            name="Left out",
            symbol="x",
            size=9,
            face_color=_OUT,
            border_color=_OUT,
            scale=layer_scale(scale, points.shape[1]),
            units=layer_units(points.shape[1]),
            metadata={"kinocyte": True, "preview": True},
        )
        viewer.layers.selection.active = active

    def hide(self) -> None:
        """Take the marks away."""
        layer, self.layer = self.layer, None
        viewer = self._session.viewer
        if layer is not None and viewer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)
