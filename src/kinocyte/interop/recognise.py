"""Which reader understands which files, and which files make up one movie."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tifffile

from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.interop import celldetective, ctc, micromanager, ndtiff, omezarr, vendor
from kinocyte.interop.file_kinds import IMAGE_SUFFIXES, is_tiff
from kinocyte.interop.file_series import Series, file_stack, group_by_pattern, group_known, series_found
from kinocyte.interop.filename_pattern import NamePattern, example_pattern, number_free
from kinocyte.interop.ome import parse_ome, set_files
from kinocyte.interop.options import ImportOptions
from kinocyte.interop.source import Found, Movie, Unreadable
from kinocyte.interop.tiff import read_stacks
from kinocyte.interop.units import natural_key

#: files that lie beside images and are no images
_BESIDE = frozenset(
    (
        "",
        ".csv",
        ".db",
        ".gz",
        ".index",
        ".ini",
        ".json",
        ".log",
        ".md",
        ".npy",
        ".pdf",
        ".pkl",
        ".toml",
        ".txt",
        ".xlsx",
        ".xml",
    )
)


@dataclass(slots=True)
class _Files:
    """Loose images below one folder and what else was found there."""

    root: Path
    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    stores: list[Path] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)


def recognise(paths: Sequence[str | Path], options: ImportOptions) -> tuple[list[Found], list[str]]:
    """Return the movies that files and folders hold, and sentences on what was left out.

    Parameters
    ----------
    paths : sequence of str or Path
        Files, folders, or URLs of OME-Zarr.
    options : ImportOptions
        ``pattern``, ``axes`` and ``override_metadata`` are used here.

    Raises
    ------
    ParameterError
        If a path does not exist, nothing can be imported, or ``--pattern`` fits no file.
    MissingExtraError
        If a vendor's format needs the extra ``formats``.
    """
    found: list[Found] = []
    notes: list[str] = []
    loose: dict[Path, _Files] = {}
    for text in paths:
        if "://" in str(text) and not str(text).startswith("file://"):
            found += omezarr.read_omezarr(str(text))
            continue
        path = Path(str(text).removeprefix("file://")).absolute()
        if not path.exists():
            msg = f"'{text}' does not exist; check the path."
            raise ParameterError(msg)
        if path.is_dir():
            files = loose.setdefault(path, _Files(path))
            found += list(_walk(path, path, files))
        else:
            found += list(_file(path, loose.setdefault(path.parent, _Files(path.parent))))
    for files in loose.values():
        found += _images(files, options)
        if files.others:
            kinds = ", ".join(sorted({p.suffix or p.name for p in files.others}))
            notes.append(f"{len(files.others)} other file(s) below '{files.root}' were left out ({kinds})")
        notes += [f"'{s}' is an experiment and was left out; name it to import from it" for s in files.stores]
    if not found:
        places = ", ".join(f"'{p}'" for p in paths)
        msg = (
            f"There is no image in {places}; TIFF, PNG, ND2, CZI, LIF, OME-Zarr, Micro-Manager, Celldetective "
            "and CTC folders are read."
        )
        raise ParameterError(msg)
    return _distinct(found), notes


def _distinct(found: Sequence[Found]) -> list[Found]:
    """Return what was found under names that differ: equal ones get their folder's name, or a number."""
    names = [f.name for f in found]
    for rename in (_with_folder, _with_number):
        twice = {n for n, times in Counter(names).items() if times > 1}
        names = [rename(f, n, i) if n in twice else n for i, (f, n) in enumerate(zip(found, names, strict=True))]
    return [f if f.name == n else dataclasses.replace(f, name=n) for f, n in zip(found, names, strict=True)]


def _with_folder(found: Found, name: str, _: int) -> str:
    return f"{found.files[0].parent.name} {name}" if found.files else name


def _with_number(_: Found, name: str, number: int) -> str:
    return f"{name} ({number + 1})"


def _file(path: Path, files: _Files) -> Iterator[Found]:
    """Sort one file given by name; loose images are collected."""
    suffix = path.suffix.lower()
    if path.name == ndtiff.INDEX or (is_tiff(path) and (path.parent / ndtiff.INDEX).is_file()):
        yield from ndtiff.read_ndtiff(path.parent)
    elif path.name == "config.ini" and celldetective.experiment_folder(path):
        yield from celldetective.read_celldetective(path.parent)
    elif suffix in vendor.PLUGINS:
        yield from vendor.read_vendor(path)
    elif suffix in IMAGE_SUFFIXES or path.name.lower().endswith(".companion.ome"):
        files.images.append(path)
    else:
        msg = f"'{path}' is of a kind that is not read; give TIFF, PNG, ND2, CZI, LIF, an OME-Zarr or a folder of them."
        raise ParameterError(msg)


def _walk(folder: Path, root: Path, files: _Files) -> Iterator[Found]:
    """Sort what a folder holds; folders of a known kind are read as a whole."""
    real = folder.resolve()
    if real in files.seen:
        return  # a link that leads in a circle
    files.seen.add(real)
    inside = _listed(folder)
    whole = _whole(folder, root, files)
    if whole is not None:
        yield from whole
        return
    taken: set[str] = set()
    for sequence in ctc.sequences(folder):
        yield ctc.read_ctc(sequence)
        taken |= {sequence.name, *(f"{sequence.name}{p}" for p in ("_GT", "_ST", "_RES", "_ERR_SEG"))}
    if folder.name in taken:
        return
    for path in inside:
        if path.is_dir() and path.name not in taken:
            yield from _walk(path, root, files)
        elif path.suffix.lower() in vendor.PLUGINS:
            yield from vendor.read_vendor(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES or path.name.lower().endswith(".companion.ome"):
            files.images.append(path)
        elif path.is_file() and path.suffix.lower() not in _BESIDE:
            files.others.append(path)


def _listed(folder: Path) -> list[Path]:
    """Return what a folder holds, hidden things left out, in natural order."""
    try:
        inside = [p for p in folder.iterdir() if not p.name.startswith(".")]
    except OSError as error:
        msg = f"The folder '{folder}' cannot be read ({error.strerror}); change its permissions or leave it out."
        raise InputFileError(msg) from error
    return sorted(inside, key=lambda p: natural_key(p.name))


def _whole(folder: Path, root: Path, files: _Files) -> list[Found] | None:
    """Return the movies of a folder that one program wrote as a whole, None for other folders."""
    if omezarr.is_zarr(folder):
        if folder != root and omezarr.is_experiment(folder):
            files.stores.append(folder)  # often the very experiment that is being written
            return []
        return omezarr.read_omezarr(str(folder))
    if folder == root or (folder / "config.ini").is_file():
        experiment = celldetective.experiment_folder(folder)
        if experiment is not None:
            return celldetective.read_celldetective(experiment, None if experiment == folder else folder)
    if (folder / ndtiff.INDEX).is_file():
        return ndtiff.read_ndtiff(folder)
    return None


def _images(files: _Files, options: ImportOptions) -> list[Found]:
    """Return the movies of loose image files."""
    if not files.images:
        return []
    images = sorted(dict.fromkeys(files.images), key=lambda p: natural_key(p.as_posix()))
    if options.pattern is not None:
        series, rest = group_by_pattern(images, files.root, NamePattern(options.pattern))
        if rest:
            msg = (
                f"--pattern '{options.pattern}' does not fit {len(rest)} of {len(images)} images, such as "
                f"'{rest[0]}'; move them away or correct it."
            )
            raise ParameterError(msg)
        return series_found(series, axes=options.axes, override=options.override_metadata)
    sequence = [p for p in images if micromanager.sequence_name(p.stem)]
    found: list[Found] = micromanager.read_sequences(sequence, files.root) if sequence else []
    rest = [p for p in images if not micromanager.sequence_name(p.stem)]
    sets, rest = _ome_sets(rest)
    found += [f for p in sets for f in _single(p, options)]
    series, rest = group_known(rest, files.root)
    question = _untagged(series, rest)
    movies = series_found(series, axes=options.axes, override=options.override_metadata)
    for p in rest:
        movies += _single(p, options)
    return found + [_ask(m, question) for m in movies]


def _ask(movie: Found, question: dict[Path, str]) -> Found:
    """Return the movie with the question on the meaning of the numbers in its file name."""
    if isinstance(movie, Unreadable) or movie.shape[0] * movie.shape[2] > 1:
        return movie
    asked = dict.fromkeys(question[f] for f in movie.files if f in question)
    return movie.replace(questions=(*movie.questions, *asked))


def _single(path: Path, options: ImportOptions) -> list[Found]:
    """Return the movies of one file: one, or one for each image of an OME-TIFF."""
    try:
        if is_tiff(path) or path.suffix.lower() == ".ome":
            stacks = read_stacks(path, axes=options.axes, override=options.override_metadata)
        else:
            stacks = [file_stack(path)]
    except (InputFileError, OSError) as error:
        return [Unreadable(path.stem, "TIFF" if is_tiff(path) else "image", (path,), str(error))]
    reader = "PNG" if path.suffix.lower() == ".png" else "TIFF"
    return [s.movie(reader) for s in stacks]


def _ome_sets(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return one file of each OME-TIFF set of several files, and the files that belong to none."""
    heads: list[Path] = []
    taken: set[Path] = set()
    for path in files:
        if path in taken or not re.search(r"\.ome(\.tiff?|\.btf|\.tf8)?$", path.name, re.IGNORECASE):
            continue
        members = _set_of(path)
        if len(members) > 1:
            heads.append(path)
            taken |= members | {path}
    return heads, [p for p in files if p not in taken]


def _set_of(path: Path) -> set[Path]:
    try:
        if path.suffix.lower() == ".ome":
            return set_files(parse_ome(path.read_text(encoding="utf-8"), path), path)
        with tifffile.TiffFile(path) as file:
            text = file.ome_metadata if file.is_ome else None
        return set_files(parse_ome(str(text), path), path) if text else {path}
    except Exception:  # noqa: BLE001 - a damaged file is reported when it is read on its own
        return {path}


def _untagged(series: Sequence[Series], rest: Iterable[Path]) -> dict[Path, str]:
    """Return a question for each file of a folder whose names differ in a number without a meaning."""
    groups: dict[tuple[Path, str, str], list[Path]] = defaultdict(list)
    for s in series:
        if s.scheme == "tagged" and not any(m.parts.time or m.parts.z for m in s.members):
            first = s.members[0]
            groups[first.path.parent, number_free(first.path.stem), first.parts.channel].append(first.path)
    for p in rest:
        groups[p.parent, number_free(p.stem), ""].append(p)
    out: dict[Path, str] = {}
    for (folder, _, _), members in groups.items():
        if len(members) < 2:
            continue
        pattern = example_pattern([p.stem for p in members])
        question = (
            f"{len(members)} images in '{folder}' differ in a number only ('{members[0].name}', "
            f"'{members[1].name}'), and nothing "
            f"says whether it counts frames, planes or positions; give --pattern, such as --pattern '{pattern}'."
        )
        out |= dict.fromkeys(members, question)
    return out


def movies_only(found: Iterable[Found]) -> list[Movie]:
    """Return the movies among what was found."""
    return [f for f in found if isinstance(f, Movie)]
