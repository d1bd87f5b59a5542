"""What is installed and what works here: facts, without a word about how they are printed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: Extras in the order in which a person may want them, with what each is for.
EXTRAS = {
    "formats": "microscope files (ND2, CZI, LIF) and AnnData export",
    "deep": "deep learning models",
    "app": "the napari application",
    "cluster": "Slurm and object storage",
    "docs": "building this documentation",
    "dev": "running the tests",
    "bench": "the benchmarks",
}

#: Imports one module a line and says so before and after, so that a crash names its library.
_TRY_IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    print("start", name, flush=True)
    try:
        importlib.import_module(name)
    except Exception as error:
        print("broken", name, " ".join(f"{type(error).__name__}: {error}".split()), flush=True)
    else:
        print("works", name, flush=True)
"""

_ASK_TORCH = """
import torch
if torch.cuda.is_available():
    print(", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())))
elif torch.backends.mps.is_available():
    print("Apple GPU (MPS)")
"""


@dataclass(frozen=True, slots=True)
class Library:
    """One required library: ``state`` is ``works``, ``missing``, ``too old`` or ``broken``."""

    name: str
    needed: str
    version: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Extra:
    """One optional part of the program."""

    name: str
    purpose: str
    complete: bool
    missing: tuple[str, ...]
    mend: str


@dataclass(frozen=True, slots=True)
class Check:
    """Something tried on this machine; ``ok`` is None where it is optional and absent."""

    name: str
    ok: bool | None
    detail: str
    mend: str = ""


def pip_install(requirements: tuple[str, ...]) -> str:
    """Return the command that installs the requirements into the running Python."""
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return " ".join([python, "-m", "pip", "install", *(f'"{r}"' for r in requirements)])


def machine() -> dict[str, str]:
    """Return what the machine is, in words."""
    from kinocyte.core.version import __version__

    try:
        import psutil
    except ImportError:
        memory = "unknown"
    else:
        found = psutil.virtual_memory()
        memory = f"{found.total / 2**30:.1f} GiB, {found.available / 2**30:.1f} GiB free"
    return {
        "Kinocyte": f"{__version__} in {Path(__file__).parents[1]}",
        "Python": f"{platform.python_version()} ({sys.executable})",
        "System": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "Processor cores": str(_usable_cores()),
        "Memory": memory,
        "Disk here": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free in {Path.cwd()}",
    }


def _usable_cores() -> int:
    """Return the cores this process may use; a cluster often grants fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _requirements(extra: str = "") -> Iterator[Requirement]:
    """Yield what the base, or one extra beyond the base, needs on this Python and system."""
    for text in requires("kinocyte") or ():
        need = Requirement(text)
        in_base = need.marker is None or need.marker.evaluate({"extra": ""})
        if in_base != (extra == "") or (need.marker and not need.marker.evaluate({"extra": extra})):
            continue
        if canonicalize_name(need.name) == "kinocyte":
            for part in sorted(need.extras):
                yield from _requirements(part)
        else:
            yield need


def _state(need: Requirement) -> tuple[str, str]:
    """Return the installed version of a requirement and whether it is missing, too old or installed."""
    try:
        found = version(need.name)
    except PackageNotFoundError:
        return "", "missing"
    return found, "installed" if need.specifier.contains(found, prereleases=True) else "too old"


def base_libraries() -> list[Library]:
    """Return every library the base needs, each imported in a process of its own to see whether it works."""
    needs = sorted(_requirements(), key=lambda r: r.name.lower())
    modules = _import_names()
    wanted = {n.name: modules.get(canonicalize_name(n.name), n.name) for n in needs if _state(n)[1] == "installed"}
    results = import_results(list(wanted.values()))
    libraries = []
    for need in needs:
        found, state = _state(need)
        detail = ""
        if state == "installed":
            state, detail = results[wanted[need.name]]
        libraries.append(Library(need.name, str(need.specifier), found, state, detail))
    return libraries


def _import_names() -> dict[str, str]:
    """Return the module to import for each distribution: scikit-image gives skimage."""
    names: dict[str, str] = {}
    for module, owners in sorted(packages_distributions().items()):
        for owner in owners:
            key = canonicalize_name(owner)
            public = not module.startswith("_") and module.isidentifier()
            if public and (key not in names or canonicalize_name(module) == key):
                names[key] = module
    return names


def import_results(modules: list[str]) -> dict[str, tuple[str, str]]:
    """Return ``works`` or ``broken`` with the reason for each module.

    The imports run in another process: a library built for another processor ends the process that imports it.
    """
    results: dict[str, tuple[str, str]] = {}
    waiting = list(modules)
    while waiting:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _TRY_IMPORTS, *waiting],
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stdout.splitlines():
            word, _, rest = line.partition(" ")
            name, _, detail = rest.partition(" ")
            if word in {"works", "broken"} and name in waiting:
                results[name] = (word, detail)
        waiting = [m for m in waiting if m not in results]
        if waiting:
            results[waiting[0]] = ("broken", f"importing it ends Python with code {done.returncode}")
            waiting = waiting[1:]
    return results


def extras() -> list[Extra]:
    """Return every extra with what it lacks and the command that installs it."""
    found = []
    for name, purpose in EXTRAS.items():
        lacking = [n for n in _requirements(name) if _state(n)[1] != "installed"]
        missing = tuple(_without_marker(n) for n in lacking)
        found.append(Extra(name, purpose, not missing, missing, pip_install(missing) if missing else ""))
    return found


def _without_marker(need: Requirement) -> str:
    """Return a requirement as pip takes it; the condition under which it holds has been looked at already."""
    extra = f"[{','.join(sorted(need.extras))}]" if need.extras else ""
    return f"{need.name}{extra}{need.specifier}"


def checks() -> list[Check]:
    """Return what was tried on this machine beyond the presence of libraries."""
    return [_python(), _try("Write a Zarr store", _zarr_store), _methods(), numba_cache(), _ffmpeg(), _gpu()]


def _methods() -> Check:
    """Import every method that an installed package offers."""
    from kinocyte.core import registry

    faulty = {f"{kind}.{name}": why for kind in registry.kinds() for name, why in registry.broken(kind).items()}
    if faulty:
        return Check("Methods", ok=False, detail=" ".join(faulty.values()), mend="update or uninstall that package")
    n = sum(len(registry.names(kind)) for kind in registry.kinds())
    return Check("Methods", ok=True, detail=f"{n} methods can be used")


def _python() -> Check:
    from packaging.specifiers import SpecifierSet

    allowed = distribution("kinocyte").metadata["Requires-Python"] or ""
    ok = SpecifierSet(allowed).contains(platform.python_version(), prereleases=True)
    mend = "" if ok else f"make an environment with a Python {allowed} and install Kinocyte there"
    return Check("Python version", ok=ok, detail=f"{platform.python_version()}, supported: {allowed}", mend=mend)


def _try(name: str, action: Callable[[], str]) -> Check:
    """Return a check that holds when the action ends without an error."""
    try:
        return Check(name, ok=True, detail=action())
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is the finding
        return Check(name, ok=False, detail=" ".join(f"{type(error).__name__}: {error}".split()))


def _zarr_store() -> str:
    """Write frames in shards as an experiment does, read them back and compare."""
    import numpy as np
    import zarr

    pixels = np.arange(2 * 64 * 64, dtype=np.uint16).reshape(2, 64, 64)
    with tempfile.TemporaryDirectory() as folder:
        array = zarr.create_array(
            store=str(Path(folder) / "try.zarr"), shape=pixels.shape, chunks=(1, 32, 32), shards=(1, 64, 64), dtype="u2"
        )
        array[:] = pixels
        back = np.asarray(zarr.open_array(str(Path(folder) / "try.zarr"), mode="r")[:])
        if not np.array_equal(back, pixels):
            msg = f"what was read from {folder} differs from what was written"
            raise OSError(msg)
        return f"written and read back in {tempfile.gettempdir()}"


def numba_cache() -> Check:
    """Return whether compiled code can be kept, in the order in which Numba looks for a place."""
    name = "Keep compiled code (Numba)"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(chosen)] if chosen else [Path(__file__).parents[1], _user_cache()]
    for place in places:
        if _writable(place):
            return Check(name, ok=True, detail=f"in {place}")
    mend = "set NUMBA_CACHE_DIR to a folder you may write to; until then each start compiles again"
    return Check(name, ok=False, detail=f"no right to write in {' or '.join(map(str, places))}", mend=mend)


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))


def _writable(folder: Path) -> bool:
    """Tell whether a file can be made in a folder, or in the nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _ffmpeg() -> Check:
    path = shutil.which("ffmpeg")
    if path is None:
        mend = "install ffmpeg with your system's package manager, or: " + pip_install(("imageio-ffmpeg",))
        try:
            from imageio_ffmpeg import get_ffmpeg_exe

            path = get_ffmpeg_exe()
        except (ImportError, RuntimeError):
            return Check("ffmpeg", ok=None, detail="not found; only MP4 movies need it", mend=mend)
    return Check("ffmpeg", ok=True, detail=path)


def _gpu() -> Check:
    """Ask torch for a GPU in another process, so that its memory is free again."""
    try:
        found = version("torch")
    except PackageNotFoundError:
        return Check("GPU", ok=None, detail="torch is not installed; deep models need the extra 'deep'")
    done = subprocess.run([sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Check(
            "GPU", ok=False, detail=f"torch {found} cannot be imported: {reason}", mend=pip_install(("torch",))
        )
    name = done.stdout.strip()
    return Check("GPU", ok=True if name else None, detail=f"{name or 'none'}, torch {found}")
