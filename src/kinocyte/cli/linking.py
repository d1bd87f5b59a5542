"""`kinocyte link`: detections made elsewhere in, links out."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from cyclopts import App, Parameter

from kinocyte.cli.console import out as console
from kinocyte.cli.methods import Words, call_with_method
from kinocyte.core.errors import InputFileError, ParameterError, StoreError
from kinocyte.experiment.storage import Storage

app = App(help_flags=[], version_flags=[])


@app.default
def link(*words: Words) -> int:
    """Link objects found elsewhere: the options are those of the linker that --method names."""
    return call_with_method("link", "tracking", words, _command, default="lap")


def _command(annotation: Any, default: Any) -> Callable[..., int]:
    def link_objects(objects: Path, /, *, out: Annotated[Path, Parameter(name="--out")], method: Any = default) -> int:
        """Link objects found elsewhere.

        Parameters
        ----------
        objects : Path
            CSV or Parquet with the columns object_id, frame, x_um, y_um and, in 3D, z_um.
        out : Path
            File to write, CSV or Parquet: source_id, target_id, cost, frame_gap, confidence. It must not exist yet.
        method
            The linker.
        """
        if out.exists():
            msg = f"{out} exists already and is left as it is; name a new file."
            raise StoreError(msg)
        links = method.link(_read(objects))
        _write(links, out)
        console.print(f"{links.height} links are in {out}.", markup=False, soft_wrap=True)
        return 0

    link_objects.__annotations__["method"] = annotation
    return link_objects


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = f"{path} cannot be read as a table of objects: {' '.join(str(error).split())}"
        raise InputFileError(msg) from error


def _write(links: pl.DataFrame, path: Path) -> None:
    buffer = io.BytesIO()
    if path.suffix == ".parquet":
        links.write_parquet(buffer)
    elif path.suffix == ".csv":
        links.write_csv(buffer)
    else:
        msg = f"{path} must end in .csv or .parquet."
        raise ParameterError(msg)
    Storage(path.absolute().parent).write_bytes(path.name, buffer.getvalue())
