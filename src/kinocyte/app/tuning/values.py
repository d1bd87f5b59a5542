"""Which keys of a step can be varied, and which values are worth a try. No Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel

from kinocyte.app.form_models import bare_type, is_constant, model_fields, plain
from kinocyte.app.words import label_of
from kinocyte.core.method import is_advanced, unit_of

#: of what a number is now
_FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Tunable:
    """One key that can be varied.

    Parameters
    ----------
    key : str
        Of the form.
    title : str
        With its unit.
    text : str
        Values worth a try, as `kinocyte sweep --over` reads them.
    advanced : bool
        Whether few people need it.
    """

    key: str
    title: str
    text: str
    advanced: bool = False


def tunables(model: type[BaseModel], values: Mapping[str, Any]) -> list[Tunable]:
    """Return the keys of a form that are numbers or words to choose from, with values around what they are now."""
    found = []
    for key, info in model_fields(model).items():
        if is_constant(info) or key in {"device", "channel", "tile_px", "name"}:
            continue
        kind, optional, metadata = bare_type(info.annotation, tuple(info.metadata))
        default = None if info.is_required() else plain(info.get_default(call_default_factory=True))
        now = values.get(key, default)
        if get_origin(kind) is Literal:
            text = ",".join(str(w) for w in get_args(kind))
        elif kind in (int, float) and isinstance(now, int | float) and not isinstance(now, bool):
            text = ",".join(_written(v) for v in around(now, metadata, whole=kind is int))
        elif kind in (int, float) and optional:
            text = ""
        else:
            continue
        unit = unit_of(info)
        title = label_of(key, unit) + (f" ({unit.replace('um', 'µm')})" if unit else "")
        found.append(Tunable(key, title, text, is_advanced(info)))
    return found


def around(now: float, metadata: Sequence[Any], *, whole: bool) -> list[float]:
    """Return values around a number, inside the bounds of its field."""
    tried = [now * f for f in _FACTORS] if now else ([0, 1, 2, 4] if whole else [0.0, 0.1, 0.3, 1.0])
    out = []
    for value in (round(v) if whole else float(f"{v:.3g}") for v in tried):
        if all(_allowed(value, bound) for bound in metadata) and value not in out:
            out.append(value)
    return out


def _allowed(value: float, bound: Any) -> bool:
    if isinstance(bound, Ge):
        return bool(value >= bound.ge)  # type: ignore[operator]  # the bounds of numbers are numbers
    if isinstance(bound, Gt):
        return bool(value > bound.gt)  # type: ignore[operator]  # as above
    if isinstance(bound, Le):
        return bool(value <= bound.le)  # type: ignore[operator]  # as above
    return bool(value < bound.lt) if isinstance(bound, Lt) else True  # type: ignore[operator]  # as above


def _written(value: float) -> str:
    return f"{value:g}"
