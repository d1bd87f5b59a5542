"""`kinocyte schema`."""

from __future__ import annotations

import json


def schema() -> int:
    """Print the JSON schema of a pipeline file, for editors that check and complete while you type."""
    from kinocyte.pipeline.model import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))  # noqa: T201 - for programs
    return 0
