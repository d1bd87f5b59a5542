"""Print what the base install weighs; fail when it is heavy or holds what only an extra may bring."""

from __future__ import annotations

import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

LIMIT_MB = 1050
ONLY_IN_EXTRAS = ("torch", "tensorflow", "PySide6", "PyQt5", "PyQt6", "napari", "pandas", "anndata")
BELONGS_TO_PYTHON = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
MADE_LATER = {".nbi", ".nbc"}  # what Numba keeps of the kernels it has compiled


def size_mb(path: Path) -> float:
    """Return the bytes of a file or folder, compiled files included, in units of 10^6."""
    files = path.rglob("*") if path.is_dir() else [path]
    counted = (f for f in files if f.is_file() and not f.is_symlink() and f.suffix not in MADE_LATER)
    return sum(f.stat().st_size for f in counted) / 1e6


def main() -> int:
    """Print the table; return the exit code."""
    site = Path(sysconfig.get_path("purelib"))
    sizes = {p.name: size_mb(p) for p in site.iterdir() if not p.name.startswith(BELONGS_TO_PYTHON)}
    total = sum(sizes.values())
    print(f"The base install weighs {total:.0f} MB (limit {LIMIT_MB}); the largest:")
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[:12]:
        print(f"  {name:<24}{sizes[name]:6.0f} MB")
    found = [name for name in ONLY_IN_EXTRAS if find_spec(name)]
    if found:
        print(f"The base install must not bring {', '.join(found)}.")
    return int(total > LIMIT_MB or bool(found))


if __name__ == "__main__":
    sys.exit(main())
