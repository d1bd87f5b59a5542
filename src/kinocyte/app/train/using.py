"""A trained model as a step of the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kinocyte.app.draft import Draft
from kinocyte.app.draft import Path as DraftPath
from kinocyte.core import registry
from kinocyte.core.errors import ParameterError


def segment_with(draft: Draft, model: Path, population: str) -> tuple[str, DraftPath]:
    """Put a model into a pipeline and return a sentence about it, and the step.

    Parameters
    ----------
    draft : Draft
        Changed.
    model : Path
        The package, or the folder of its training.
    population : str
        Cells that are to be found; made where there are none of the name.

    Raises
    ------
    ParameterError
        If no step can use the model.
    """
    from kinocyte.learning.model import load_image_model

    loaded = load_image_model(model)
    channels = [c.name for c in loaded.inputs]
    for name, method in registry.methods("segmentation").items():
        step: Any = method.model_validate({"method": name, "model": str(model)}) if hasattr(method, "fits") else None
        if step is not None and step.fits(loaded):
            table: dict[str, Any] = {"method": name, "model": str(model), "channel": channels}
            known = draft.document.get("population", {})
            if population not in known:
                population = str(draft.add_population(population, channels[0])[1])
            kept = draft.document["population"][population].get("segmentation", {})
            table |= {k: kept[k] for k in ("min_area_um2", "max_area_um2", "exclude_border_um") if k in kept}
            if kept.get("channel") and len(_listed(kept["channel"])) == len(channels):
                table["channel"] = _listed(kept["channel"])
            path: DraftPath = ("population", population, "segmentation")
            draft.put(path, table)
            return f"'{population}' is now found by {loaded.name}. Run the pipeline to see it on your cells.", path
    if loaded.task.result == "image":
        path = draft.add_restoration("deep")
        draft.put(path, {"method": "deep", "model": str(model), "channel": channels[0]})
        return f"Images are now mended by {loaded.name}, before anything is found in them.", path
    msg = f"No step of a pipeline reads what {loaded.task.name()} gives; apply it with `kinocyte predict`."
    raise ParameterError(msg)


def _listed(channel: Any) -> list[str]:
    return [channel] if isinstance(channel, str) else list(channel)
