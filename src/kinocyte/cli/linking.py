"""`kinocyte link`: detections made elsewhere in, links out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
from cyclopts import App, Parameter

from kinocyte.cli.console import out as console
from kinocyte.cli.methods import Words, call_with_method
from kinocyte.core.errors import ParameterError, TableError
from kinocyte.measurement.links import PLACE

if TYPE_CHECKING:
    from kinocyte.tracking.base import LabelSource

app = App(help_flags=[], version_flags=[])


@app.default
def link(*words: Words) -> int:
    """Link objects found elsewhere: the options are those of the linker that --method names."""
    return call_with_method("link", "tracking", words, _command, default="lap")


def _command(annotation: Any, default: Any) -> Callable[..., int]:
    def link_objects(
        objects: Path,
        /,
        *,
        out: Annotated[Path, Parameter(name="--out")],
        labels: Path | None = None,
        method: Any = default,
    ) -> int:
        """Link objects found elsewhere.

        Parameters
        ----------
        objects : Path
            CSV or Parquet with the columns object_id, frame, x_um, y_um and, in 3D, z_um; label with --labels.
        out : Path
            File to write, CSV or Parquet: source_id, target_id, cost, frame_gap, confidence. It must not exist yet.
        labels : Path
            Label images, for linkers that compare masks: a TIFF of all frames, or a folder with a file each, whose
            name ends with the number of the frame.
        method
            The linker. The options below are those of this one; --method NAME --help shows those of another.
        """
        from kinocyte.interop.plain_tables import check_new, read_table, write_table

        check_new(out)
        if out.suffix.lower() not in {".csv", ".parquet"}:
            msg = f"{out} must end in .csv or .parquet."
            raise ParameterError(msg)
        if getattr(method, "pairs", None) == ():
            msg = "--method manual makes the links that are listed, and none is; --pairs 1 12 --pairs 12 25 lists two."
            raise ParameterError(msg)
        table = read_table(objects)
        links = method.link(table, labels=_masks(labels, method, table))
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


def _masks(labels: Path | None, method: Any, objects: pl.DataFrame) -> LabelSource | None:
    """Return what reads the label images, where the linker looks at any."""
    compares = method.method == "overlap" or getattr(method, "cost", "") == "iou"
    if labels is None and compares:
        msg = f"--method {method.method} compares masks here; name their TIFF or folder with --labels."
        raise ParameterError(msg)
    if labels is None:
        return None
    if not compares:
        msg = f"--labels goes with --method overlap or --cost iou; '{method.method}' links by position, leave it out."
        raise ParameterError(msg)
    if "label" not in objects.columns:
        msg = "The objects lack the column label, the value of each in the label image of its frame."
        raise TableError(msg)
    from kinocyte.cli._label_source import frame_labels

    return frame_labels(labels, objects)


def _placed(objects: pl.DataFrame) -> int:
    """Return how many objects stand somewhere."""
    axes = [pl.col(c).cast(pl.Float64).is_finite().fill_null(value=False) for c in PLACE if c in objects.columns]
    return int(objects.select(pl.all_horizontal(axes).sum()).item())
