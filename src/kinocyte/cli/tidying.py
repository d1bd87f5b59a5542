"""`kinocyte tidy`."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter, validators

from kinocyte.cli._options import Json
from kinocyte.cli.console import out, table

_KILO = 1000.0


def tidy_experiment(
    experiment: str,
    /,
    *,
    dry_run: bool = False,
    older_than_min: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 60.0,
    json: Json = False,
) -> int:
    """Remove what killed programs left in an experiment: unfinished files, replaced folders, tables without record.

    Only what Kinocyte wrote and nobody can ever read is removed; what it is and how many bytes is printed. Results,
    corrections, imported labels and tables, and anything else that lies there stay.

    Parameters
    ----------
    experiment : str
        The experiment: a folder ending in .zarr, or a URL.
    dry_run : bool
        Say what would be removed and remove nothing.
    older_than_min : float
        Leave what was written in the last so many minutes.
    """
    import kinocyte
    from kinocyte.experiment.tidying import tidy

    done = tidy(kinocyte.open(experiment), dry_run=dry_run, older_than_min=older_than_min)
    if json:
        document = {
            "experiment": experiment,
            "dry_run": dry_run,
            "size_bytes": done.size_bytes,
            "removed": [asdict(o) for o in done.removed],
            "left": [asdict(o) | {"why": why} for o, why in done.left],
            "unfinished_imports": list(done.unfinished),
        }
        print(json_format.dumps(document, ensure_ascii=False))  # noqa: T201 - for programs
        return 0
    verb = "Would be removed" if dry_run else "Removed"
    if done.removed:
        table(
            verb,
            ("what", "where", "files", "size"),
            [(o.kind, o.path, o.files, bytes_text(o.size_bytes)) for o in done.removed],
        )
    for orphan, why in done.left:
        out.print(f"left: {orphan.path} ({orphan.kind}): {why}", markup=False, soft_wrap=True)
    for path in done.unfinished:
        said = "its import was interrupted; repeat the import and it goes on"
        out.print(f"left: {path}: {said}", markup=False, soft_wrap=True)
    number = "nothing" if not done.removed else f"{len(done.removed)} leftovers, {bytes_text(done.size_bytes)}"
    out.print(f"{verb}: {number}.", markup=False, soft_wrap=True)
    return 0


def bytes_text(size: float) -> str:
    """Return a size as people say it: ``312 bytes``, ``4.5 MB``."""
    if size < _KILO:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= _KILO
        if size < _KILO:
            return f"{size:.3g} {unit}"
    return f"{size / _KILO:.3g} TB"
