"""Groups of a zarr hierarchy, read and written as the small JSON documents they are."""

from __future__ import annotations

import json
from typing import Any

from kinocyte.core.errors import StoreError
from kinocyte.experiment.storage import Storage


def read_attributes(storage: Storage, path: str) -> dict[str, Any] | None:
    """Return the attributes of a zarr group of format 3 or 2, or None if there is no group."""
    content = storage.read_bytes(_join(path, "zarr.json"))
    if content is not None:
        document = _parse(content, storage.at(_join(path, "zarr.json")))
        attributes = document.get("attributes", {})
        return attributes if isinstance(attributes, dict) else {}
    content = storage.read_bytes(_join(path, ".zattrs"))
    if content is not None:
        return _parse(content, storage.at(_join(path, ".zattrs")))
    return {} if storage.exists(_join(path, ".zgroup")) else None


def write_group(storage: Storage, path: str, attributes: dict[str, Any]) -> None:
    """Write a zarr 3 group document in one piece."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    storage.write_bytes(_join(path, "zarr.json"), json.dumps(document, indent=1, ensure_ascii=False).encode())


def read_json(storage: Storage, path: str) -> dict[str, Any] | None:
    """Return a JSON object, or None if the file is absent."""
    content = storage.read_bytes(path)
    return None if content is None else _parse(content, storage.at(path))


def create_json(storage: Storage, path: str, document: dict[str, Any]) -> bool:
    """Write a JSON object whose file must not be there yet; return False if it is."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return storage.create_bytes(path, text.encode())


def write_json(storage: Storage, path: str, document: dict[str, Any]) -> None:
    """Write a JSON object in one piece; NaN is refused, as JSON has none."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    storage.write_bytes(path, text.encode())


def _parse(content: bytes, place: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError as error:
        msg = f"{place} is not valid JSON ({error}); restore it from a backup or import the position again."
        raise StoreError(msg) from error
    if not isinstance(document, dict):
        msg = f"{place} does not hold a JSON object; restore it from a backup or import the position again."
        raise StoreError(msg)
    return document


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
