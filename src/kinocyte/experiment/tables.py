"""Parquet tables inside a zarr group, in the layout that ngio and Fractal read.

``tables/zarr.json`` lists the names; ``tables/<name>/`` is a group whose attributes say ``generic_table`` and
``parquet``, with the rows in ``table.parquet``.
"""

from __future__ import annotations

import io
from typing import Any

import polars as pl

from kinocyte.core.errors import StoreError, nearest
from kinocyte.experiment.groups import read_attributes, write_group
from kinocyte.experiment.names import item_name
from kinocyte.experiment.storage import Storage


def table_path(root: str, name: str) -> str:
    """Return the relative path of a table's Parquet file."""
    folder = f"{root}/tables" if root else "tables"
    return f"{folder}/{item_name(name, 'table')}/table.parquet"


def list_tables(storage: Storage, root: str) -> list[str]:
    """Return the names of the tables of a group, sorted."""
    folder = f"{root}/tables" if root else "tables"
    return sorted((read_attributes(storage, folder) or {}).get("tables", []))


def write_table(storage: Storage, root: str, name: str, frame: pl.DataFrame, *, step: str | None = None) -> None:
    """Write a table so that a reader sees the old one or the new one, never a part.

    Parameters
    ----------
    storage, root : Storage, str
        Group that holds the table.
    name : str
        Name of the table.
    frame : polars.DataFrame
        The rows.
    step : str, optional
        Key of the step record that vouches for the table; without it the table counts as given.
    """
    path = table_path(root, name)
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=True)
    group = path.rpartition("/")[0]
    attributes: dict[str, Any] = {
        "type": "generic_table",
        "table_version": "1",
        "backend": "parquet",
        "index_key": None,
        "index_type": None,
    }
    if step is not None:
        attributes["kinocyte"] = {"step": step}
    if read_attributes(storage, group) != attributes:
        write_group(storage, group, attributes)
    storage.write_bytes(path, buffer.getvalue())
    folder = group.rpartition("/")[0]
    known = list_tables(storage, root)
    if name not in known:
        write_group(storage, folder, {"tables": sorted({*known, name})})


def table_step(storage: Storage, root: str, name: str) -> str | None:
    """Return the key of the step record that vouches for a table, or None if it was given."""
    group = table_path(root, name).rpartition("/")[0]
    step = ((read_attributes(storage, group) or {}).get("kinocyte") or {}).get("step")
    return None if step is None else str(step)


def remove_table(storage: Storage, root: str, name: str) -> None:
    """Remove a table that a step of ours wrote; an absent one is fine."""
    known = list_tables(storage, root)
    if name in known:
        folder = f"{root}/tables" if root else "tables"
        write_group(storage, folder, {"tables": [n for n in known if n != name]})
    storage.remove(table_path(root, name).rpartition("/")[0])


def scan_table(storage: Storage, root: str, name: str) -> pl.LazyFrame:
    """Return a table lazily; columns that are not asked for are not read.

    Raises
    ------
    StoreError
        If there is no such table, or it is damaged.
    """
    path = table_path(root, name)
    try:
        if storage.is_local:
            frame = pl.scan_parquet(storage.local(path))
        else:
            content = storage.read_bytes(path)
            if content is None:
                raise FileNotFoundError(path)
            frame = pl.read_parquet(io.BytesIO(content)).lazy()
        frame.collect_schema()
    except FileNotFoundError:
        raise absent_table(storage, root, name) from None
    except pl.exceptions.PolarsError as error:
        msg = f"{storage.at(path)} is not a readable Parquet table ({error}); run the step that writes it again."
        raise StoreError(msg) from error
    return frame


def absent_table(storage: Storage, root: str, name: str) -> StoreError:
    """Return the sentence for a table that is not there."""
    return StoreError(f"There is no table '{name}' at {storage.at(root)}; {nearest(name, list_tables(storage, root))}.")
