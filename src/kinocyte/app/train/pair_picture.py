"""A picture of an image with the outlines of its target, for looking at what a check found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices, QImage, QPixmap
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from kinocyte.app.session import Session
from kinocyte.app.widgets import hint, named

Colours = NDArray[np.uint8]
_SIDE_PX = 340
_OUTLINE = (230, 159, 0)


def picture_of(image: str, target: str, frame: int) -> tuple[Colours, str]:
    """Return colours (y, x, 3) of an image, first channel and middle plane, with outlines of its labels.

    Raises
    ------
    InputFileError
        If a file cannot be read.
    """
    from kinocyte.interop.pair_folders import image_file

    words = []
    grey = labels = None
    if image:
        grey = _plane(image_file(Path(image)).read(frame))
        words.append(f"{Path(image).name}: {grey.shape[1]} x {grey.shape[0]} px, {grey.dtype}")
    if target:
        labels = _plane(image_file(Path(target)).read(frame))
        words.append(f"{Path(target).name}: {len(np.setdiff1d(np.unique(labels), [0]))} different values")
    shown = _stretched(labels if grey is None else grey)  # type: ignore[arg-type]  # one of both is there
    if grey is not None and labels is not None and labels.shape == grey.shape and labels.dtype.kind in "iub":
        shown[_edges(labels)] = _OUTLINE
    return shown, "; ".join(words)


def _plane(frame: NDArray[Any]) -> NDArray[Any]:
    first = frame[0]
    return np.asarray(first[len(first) // 2] if first.ndim == 3 else first)


def _stretched(plane: NDArray[Any]) -> Colours:
    values = np.nan_to_num(plane.astype(np.float64))
    low, high = np.percentile(values, (0.5, 99.7))
    grey = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=2)


def _edges(labels: NDArray[Any]) -> NDArray[np.bool_]:
    edge = np.zeros(labels.shape, bool)
    edge[:-1] |= (labels[:-1] != labels[1:]) & (labels[:-1] > 0)
    edge[1:] |= (labels[:-1] != labels[1:]) & (labels[1:] > 0)
    edge[:, :-1] |= (labels[:, :-1] != labels[:, 1:]) & (labels[:, :-1] > 0)
    edge[:, 1:] |= (labels[:, :-1] != labels[:, 1:]) & (labels[:, 1:] > 0)
    return edge


class PairPicture(QWidget):
    """Shows one pair of files; hidden while there is none."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.picture = named(QLabel(), "train_picture")
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.caption = hint("")
        self.caption.setObjectName("train_caption")
        self.caption.linkActivated.connect(lambda link: QDesktopServices.openUrl(QUrl(link)))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.picture)
        column.addWidget(self.caption)
        self._folder = ""
        self.hide()

    def show_files(self, image: str, target: str, frame: int) -> None:
        """Read and show a pair beside the window."""
        self._folder = QUrl.fromLocalFile(str(Path(image or target).parent)).toString()
        self._session.job("Reading the image", picture_of, image, target, frame, done=self._shown, failed=self._not)

    def _shown(self, found: tuple[Colours, str]) -> None:
        colours, words = found
        colours = np.ascontiguousarray(colours)
        y, x, _ = colours.shape
        pixels = QPixmap.fromImage(QImage(colours.data, x, y, 3 * x, QImage.Format.Format_RGB888))
        mode = Qt.TransformationMode.SmoothTransformation if max(x, y) > _SIDE_PX else _FAST
        self.picture.setPixmap(pixels.scaled(_SIDE_PX, _SIDE_PX, Qt.AspectRatioMode.KeepAspectRatio, mode))
        self.picture.show()
        self._say(words)

    def _not(self, sentence: str) -> None:
        self.picture.hide()
        self._say(sentence)

    def _say(self, words: str) -> None:
        self.caption.setText(f"{words} – <a href='{self._folder}'>open the folder</a>")
        self.show()


_FAST = Qt.TransformationMode.FastTransformation
