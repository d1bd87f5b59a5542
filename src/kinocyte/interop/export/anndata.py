"""AnnData: objects as observations, numeric features as variables, conditions in ``obs``.

Source: AnnData on-disk format, https://anndata.readthedocs.io.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from kinocyte.core.errors import MissingExtraError
from kinocyte.core.schema import OBJECTS, unit_of_column
from kinocyte.experiment.experiment import Experiment

_POSITION = ("x_um", "y_um", "z_um")


def write_anndata(experiment: Experiment, folder: Path, populations: Sequence[str]) -> list[Path]:
    """Write one ``.h5ad`` a population.

    ``X`` (objects x features, float32), ``obs`` (ids, time, track, well, position, conditions), ``var`` (unit),
    ``obsm["spatial"]`` (x, y, z in um).

    Raises
    ------
    MissingExtraError
        If anndata is not installed.
    """
    try:
        from anndata import AnnData
    except ImportError as error:
        msg = "Export to AnnData needs anndata; install it with: pip install 'kinocyte[formats]'"
        raise MissingExtraError(msg) from error
    import pandas as pd  # noqa: TID251 - AnnData's obs and var are pandas frames

    written = []
    for population in populations:
        table = experiment.objects(population).collect()
        about = [*OBJECTS, "track_id", "well", "position", *experiment.conditions.columns]
        features = [c for c, t in table.schema.items() if c not in about and t.is_numeric()]
        obs_names = (table["position"] + "/" + table["object_id"].cast(pl.String)).to_list()
        rest = [c for c in table.columns if c not in features and c not in _POSITION]
        obs = pd.DataFrame({c: _column(table[c]) for c in rest}, index=pd.Index(obs_names, dtype=object))
        var = pd.DataFrame(
            {"unit": [unit_of_column(f) or "" for f in features]}, index=pd.Index(features, dtype=object)
        )
        matrix = table.select(pl.col(features).cast(pl.Float32)).to_numpy() if features else None
        data = AnnData(X=matrix, obs=obs, var=var if features else None)
        data.obsm["spatial"] = table.select(_POSITION).to_numpy()
        data.uns["kinocyte"] = {"experiment": experiment.name, "population": population}
        target = folder / f"{population}.h5ad"
        data.write_h5ad(target)
        written.append(target)
    return written


def _column(values: pl.Series) -> object:
    """Return a column as AnnData can write it: text as categories, whole numbers with nulls as floats."""
    import pandas as pd  # noqa: TID251 - see above

    if values.dtype == pl.String:
        return pd.Categorical(values.fill_null("").to_list())
    if values.null_count() and values.dtype.is_integer():
        return values.cast(pl.Float64).to_numpy()
    return values.to_numpy()
