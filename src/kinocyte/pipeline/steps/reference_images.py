"""Reference images of restoration: named as files in a pipeline, found, read and fingerprinted."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, KinocyteError, ParameterError, nearest
from kinocyte.core.method import Method
from kinocyte.experiment.position import Position
from kinocyte.experiment.records import fingerprint
from kinocyte.restoration.base import Restorer

if TYPE_CHECKING:
    from kinocyte.interop.source import Movie

_PART = 2**20


def find_reference(name: str, position: Position) -> Path:
    """Return the file of a reference image: where the name says, or beside the experiment.

    Raises
    ------
    ParameterError
        If there is no such file.
    """
    named = Path(name).expanduser()
    beside = Path() if "://" in position.place else Path(_experiment_folder(position))
    path = named if named.is_absolute() else beside / named
    if not path.is_file():
        where = "" if named.is_absolute() else f" neither beside the pipeline file nor in {beside.absolute()}"
        msg = f"restoration: there is no reference image '{name}'{where}; name a file, absolute or relative to these."
        raise ParameterError(msg)
    return path


def _experiment_folder(position: Position) -> str:
    """Return the folder that holds the experiment of a position."""
    root = position.place.removesuffix(position.path).rstrip("/") if position.path else position.place
    return str(Path(root).parent)


def reference_fingerprint(path: Path) -> str:
    """Return the hash of a reference image's file."""
    info = path.stat()
    return _hash(str(path), info.st_mtime_ns, info.st_size)


def package_fingerprint(path: Path) -> str:
    """Return the hash of a model's package, a file or a folder of files."""
    if path.is_file():
        return reference_fingerprint(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return fingerprint({p.relative_to(path).as_posix(): reference_fingerprint(p) for p in files})


def trained_models(method: Method) -> dict[str, str]:
    """Return the hashes of the models that a method was told to apply, so that a model trained anew is applied anew.

    A method says where its model is by ``package``, or by the path of a file in ``model``.

    Raises
    ------
    InputFileError
        If a model is not there.
    """
    package = getattr(method, "package", None)
    if isinstance(package, Path):
        return {"model": package_fingerprint(package)}
    model = getattr(method, "model", None)
    trained = Path(model) if isinstance(model, str) else None
    return {"model": reference_fingerprint(trained)} if trained is not None and trained.is_file() else {}


@lru_cache(maxsize=512)
def _hash(path: str, mtime_ns: int, size: int) -> str:
    del mtime_ns, size  # part of the key: a file that was changed is read again
    found = hashlib.blake2b(digest_size=16)
    with Path(path).open("rb") as file:
        while part := file.read(_PART):
            found.update(part)
    return found.hexdigest()


def references_of(position: Position, restorer: Restorer, channel: str) -> dict[str, NDArray[np.float64]]:
    """Return the reference images that a method names, as movies of one frame.

    Parameters
    ----------
    position : Position
        Where the method works.
    restorer : Restorer
        The method.
    channel : str
        Channel that is restored; a reference of several channels is looked up by that name.

    Raises
    ------
    ParameterError
        If a file is missing, is no image, or has no such channel.
    """
    images = {}
    for name in restorer.reference_names:
        path = find_reference(name, position)
        info = path.stat()
        images[name] = _mean(str(path), info.st_mtime_ns, info.st_size, channel)[None]
    return images


@lru_cache(maxsize=16)
def _mean(path: str, mtime_ns: int, size: int, channel: str) -> NDArray[np.float64]:
    """Return the mean over frames and planes of what is finite, (y, x), NaN where nothing is."""
    del mtime_ns, size  # part of the key
    from kinocyte.interop.options import ImportOptions
    from kinocyte.interop.recognise import recognise
    from kinocyte.interop.source import Movie

    try:
        found = recognise([path], ImportOptions())[0]
    except KinocyteError as error:
        msg = f"restoration: the reference image {path} cannot be read: {error}"
        raise ParameterError(msg) from error
    movies = [m for m in found if isinstance(m, Movie)]
    try:
        if len(movies) != 1 or len(found) != 1:
            said = next((m.problem for m in found if not isinstance(m, Movie)), f"it holds {len(movies)} images")
            msg = f"restoration: the reference image {path} cannot be read: {said}"
            raise ParameterError(msg)
        return _mean_of(movies[0], path, channel)
    except InputFileError as error:
        raise ParameterError(str(error)) from error
    finally:
        for movie in movies:
            movie.close()


def _mean_of(movie: Movie, path: str, channel: str) -> NDArray[np.float64]:
    at = 0
    if movie.shape[1] > 1:
        names = movie.channels or ()
        if channel not in names:
            msg = f"restoration: the reference image {path} has no channel '{channel}'; {nearest(channel, names)}."
            raise ParameterError(msg)
        at = names.index(channel)
    total = np.zeros(movie.shape[-2:])
    count = np.zeros(movie.shape[-2:])
    for t in range(movie.shape[0]):
        for plane in movie.read(t, at).reshape(-1, *movie.shape[-2:]).astype(np.float64):
            finite = np.isfinite(plane)
            total[finite] += plane[finite]
            count += finite
    if not count.any():
        msg = f"restoration: the reference image {path} holds no finite value; take it again."
        raise ParameterError(msg)
    mean: NDArray[np.float64] = np.full(total.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    mean.setflags(write=False)
    return mean
