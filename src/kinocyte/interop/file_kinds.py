"""Endings of files that are read as single images or stacks."""

from __future__ import annotations

from pathlib import PurePath

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".png")


def is_tiff(path: PurePath) -> bool:
    """Tell whether a file name is one of a TIFF."""
    return path.suffix.lower() in TIFF_SUFFIXES
