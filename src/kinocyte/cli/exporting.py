"""`kinocyte export`."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kinocyte.cli._options import Several
from kinocyte.cli.console import out
from kinocyte.core.errors import ParameterError, StoreError, nearest

if TYPE_CHECKING:
    from kinocyte.experiment.experiment import Experiment


def export(
    experiment: str,
    folder: Path,
    /,
    *,
    formats: Annotated[tuple[str, ...], Parameter(name=("--formats", "--format"), consume_multiple=True)] = ("csv",),
    populations: Several = (),
) -> int:
    """Write tables and labels for other programs into a new folder, with provenance.json.

    Parameters
    ----------
    experiment : str
        The experiment: a folder ending in .zarr, or a URL.
    folder : Path
        The folder to make; it must not exist yet or be empty.
    formats : tuple of str
        Any of csv, parquet, excel, anndata, labels, napari; for tracks also trackmate, trackmate-csv, geff, ctc,
        motilitylab, mastodon, isbi, rois, celltrackr, cellphe, celltrackscolab; celldetective for a whole project
        folder.
    populations : tuple of str
        Populations to write; all when left out.
    """
    import kinocyte
    from kinocyte.interop.export import FORMATS, writer
    from kinocyte.interop.export.provenance import write_provenance

    opened = kinocyte.open(experiment)
    for name in formats:
        if name not in FORMATS:
            msg = f"There is no export format '{name}'; {nearest(name, FORMATS)}."
            raise ParameterError(msg)
    chosen = _populations(opened, populations)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder} exists already and is left as it is; name a new folder."
        raise StoreError(msg)
    staged = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        staged.mkdir(parents=True)
        written = [path for name in formats for path in writer(name)(opened, staged, chosen)]
        written.append(write_provenance(opened, staged))
        if folder.exists():
            folder.rmdir()
        staged.rename(folder)
    except OSError as error:
        msg = f"Cannot write {folder}: {error.strerror or error}; choose another folder or free some space."
        raise StoreError(msg) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    for path in written:
        out.print(folder / path.name, markup=False, soft_wrap=True)
    return 0


def _populations(experiment: Experiment, wanted: tuple[str, ...]) -> list[str]:
    known = experiment.populations
    for name in wanted:
        if name not in known:
            msg = f"{experiment.url} has no population '{name}'; {nearest(name, known)}."
            raise ParameterError(msg)
    if not known:
        msg = f"{experiment.url} holds no population yet; run: kinocyte run PIPELINE.toml {experiment.url}"
        raise ParameterError(msg)
    return list(wanted) or known
