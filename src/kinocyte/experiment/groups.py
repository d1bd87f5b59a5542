"""Groups of a zarr hierarchy, read and written as the small JSON documents they are."""

from __future__ import annotations

import json
from typing import Any

from kinocyte.experiment.storage import Storage


def read_attributes(storage: Storage, path: str) -> dict[str, Any] | None:
    """Return the attributes of a zarr group of format 3 or 2, or None if there is no group."""
    document = storage.read_document(_join(path, "zarr.json"))
    if document is not None:
        attributes = document.get("attributes", {})
        return attributes if isinstance(attributes, dict) else {}
    document = storage.read_document(_join(path, ".zattrs"))
    if document is not None:
        return document
    return {} if storage.exists(_join(path, ".zgroup")) else None


def write_group(storage: Storage, path: str, attributes: dict[str, Any]) -> None:
    """Write a zarr 3 group document in one piece."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    storage.write_bytes(_join(path, "zarr.json"), json.dumps(document, indent=1, ensure_ascii=False).encode())


def read_json(storage: Storage, path: str) -> dict[str, Any] | None:
    """Return a JSON object, or None if the file is absent."""
    return storage.read_document(path)


def create_json(storage: Storage, path: str, document: dict[str, Any]) -> bool:
    """Write a JSON object whose file must not be there yet; return False if it is."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return storage.create_bytes(path, text.encode())


def write_json(storage: Storage, path: str, document: dict[str, Any]) -> None:
    """Write a JSON object in one piece; NaN is refused, as JSON has none."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    storage.write_bytes(path, text.encode())


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
