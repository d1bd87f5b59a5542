"""Writing whole or not at all, never over something that is there."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinocyte.core.errors import InputFileError, StoreError
from kinocyte.experiment.storage import write_error


@contextmanager
def published(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a place beside ``path`` to write a file or folder, which takes its name when the block ends well.

    Parameters
    ----------
    path : Path
        Where it will be found.
    overwrite : bool
        Whether something that is there already may be replaced.

    Raises
    ------
    StoreError
        If something is there and was not to be replaced, or the disk may not be written.
    """
    refuse_existing(path, overwrite=overwrite)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if partial.is_dir() or path.is_dir():
            _replace_folder(partial, path)
        else:
            partial.replace(path)
    except OSError as error:
        if isinstance(error, InputFileError) or error.errno is None:
            raise
        raise write_error(str(path), error) from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def refuse_existing(path: Path, *, overwrite: bool = False) -> None:
    """Refuse to write where something lies already.

    Raises
    ------
    StoreError
        Names what is there.
    """
    if path.exists() and not overwrite:
        msg = f"{path} exists already and is left as it is; name another place, or say --overwrite."
        raise StoreError(msg)


def _replace_folder(partial: Path, path: Path) -> None:
    """Put a folder where an older one or a file may be: that is moved aside first and removed last."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
    if path.exists():
        path.rename(aside)
    try:
        partial.rename(path)
    except OSError:
        if aside.exists():
            aside.rename(path)
        raise
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """Return a text file, whatever its encoding mark.

    Raises
    ------
    InputFileError
        If it cannot be opened or is no text.
    """
    try:
        content = path.read_bytes()
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> InputFileError:
    """Return the sentence for a file that cannot be opened."""
    return InputFileError(
        f"'{path}' cannot be opened ({error.strerror or error}); check that it is there and may be read."
    )
