"""Tables and labels for other programs: one file a format.

Every format is a function ``write(experiment, folder, populations)`` that returns the files it wrote; `FORMATS` lists
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from kinocyte.experiment.experiment import Experiment

Writer = Callable[[Experiment, Path, Sequence[str]], list[Path]]

#: Format to the module that writes it, and what it is for.
FORMATS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "csv": ("kinocyte.interop.export.flat:write_csv", "one CSV a table, all positions, conditions joined"),
        "parquet": ("kinocyte.interop.export.flat:write_parquet", "the same as Parquet, with exact types"),
        "excel": ("kinocyte.interop.export.flat:write_excel", "one workbook a population, one sheet a table"),
        "anndata": ("kinocyte.interop.export.anndata:write_anndata", "one .h5ad a population for scanpy and squidpy"),
        "labels": ("kinocyte.interop.export.label_tiff:write_labels", "label images as calibrated TIFF stacks"),
        "napari": (
            "kinocyte.interop.export.napari_tracks:write_napari",
            "tracks as napari's CSV, with the lineage graph",
        ),
        "trackmate": ("kinocyte.interop.export.track_files:write_trackmate", "tracks as TrackMate XML with outlines"),
        "trackmate-csv": (
            "kinocyte.interop.export.track_files:write_trackmate_csv",
            "TrackMate's tables of spots, edges and tracks",
        ),
        "geff": ("kinocyte.interop.export.track_files:write_geff", "tracks as GEFF graphs"),
        "ctc": ("kinocyte.interop.export.track_files:write_ctc", "Cell Tracking Challenge folders"),
        "celldetective": (
            "kinocyte.interop.export.celldetective:write_celldetective",
            "a project folder of Celldetective: movies, masks, tables, classes",
        ),
        "motilitylab": ("kinocyte.interop.export.track_files:write_motilitylab", "tracks for MotilityLab"),
        "mastodon": ("kinocyte.interop.export.track_files:write_mastodon", "tracks for Mastodon's CSV importer"),
        "isbi": ("kinocyte.interop.export.track_files:write_isbi", "tracks as XML of the ISBI challenge"),
        "rois": ("kinocyte.interop.export.track_files:write_rois", "ImageJ regions of every object"),
        "celltrackr": ("kinocyte.interop.export.track_files:write_celltrackr", "tracks for celltrackR"),
        "cellphe": ("kinocyte.interop.export.track_files:write_cellphe", "tracks and outlines for CellPhe"),
        "celltrackscolab": ("kinocyte.interop.export.track_files:write_colab", "spots for CellTracksColab"),
    }
)


def writer(name: str) -> Writer:
    """Return the function that writes a format."""
    module, _, function = FORMATS[name][0].partition(":")
    found: Writer = getattr(import_module(module), function)
    return found
