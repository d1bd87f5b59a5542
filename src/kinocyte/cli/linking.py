"""`kinocyte link`: detections made elsewhere in, links out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from cyclopts import App, Parameter

from kinocyte.cli.console import out as console
from kinocyte.cli.methods import Words, call_with_method
from kinocyte.core.errors import ParameterError
from kinocyte.measurement.links import PLACE

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
            The linker. The options below are those of this one; --method NAME --help shows those of another.
        """
        from kinocyte.interop.plain_tables import check_new, read_table, write_table

        check_new(out)
        if out.suffix.lower() not in {".csv", ".parquet"}:
            msg = f"{out} must end in .csv or .parquet."
            raise ParameterError(msg)
        table = read_table(objects)
        links = method.link(table)
        write_table(links, out)
        mothers = int((links["source_id"].value_counts()["count"] > 1).sum())
        found = f"{links.height} links with {mothers} divisions" if mothers else f"{links.height} links"
        console.print(f"{found} are in {out}.", markup=False, soft_wrap=True)
        lost = table.height - _placed(table)
        if lost:
            console.print(
                f"{lost} of {table.height} objects have no position and stay alone.", markup=False, soft_wrap=True
            )
        if links.height and getattr(method, "splitting_max_distance_um", 0.0) is None:
            hint = "Divisions were not looked for; --splitting-max-distance-um with a distance finds them."
            console.print(hint, markup=False, soft_wrap=True)
        return 0

    link_objects.__annotations__["method"] = annotation
    return link_objects


def _placed(objects: pl.DataFrame) -> int:
    """Return how many objects stand somewhere."""
    axes = [pl.col(c).cast(pl.Float64).is_finite().fill_null(value=False) for c in PLACE if c in objects.columns]
    return int(objects.select(pl.all_horizontal(axes).sum()).item())
