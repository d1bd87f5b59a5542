"""The version, made from the newest git tag when the package is built."""

from __future__ import annotations

try:
    from kinocyte._version import __version__
except ImportError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
