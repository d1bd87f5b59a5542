"""Methods where they stand in a pipeline file: the keys of the place beside the keys of the method.

``[[population.targets.event]]`` takes the parameters of an event method and a ``name``; ``[[interaction]]`` those of an
interaction method and the two populations. Both sets of keys stand in one table, so a place and a method are joined
into one model, from which messages, the JSON schema and the forms follow as for any method.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

from kinocyte.core import registry
from kinocyte.core.method import Method


class MethodOf:
    """Annotation of a field that takes any installed method of one kind, told apart by its key ``method``.

    Parameters
    ----------
    kind : str
        Kind of method.
    place : type of Place, optional
        Keys that the place adds to the method's own.
    """

    def __init__(self, kind: str, place: type[Place] | None = None) -> None:
        self.kind, self.place = kind, place

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the union of the installed methods, so that refusals carry the place of the wrong key."""
        classes = registry.methods(self.kind)
        if self.place is not None:
            classes = {name: placed(self.place, name) for name in classes}
        choices = {name: handler.generate_schema(cls) for name, cls in classes.items()}
        if not choices:
            return core_schema.no_info_before_validator_function(self._refuse, core_schema.dict_schema())
        return core_schema.tagged_union_schema(choices, discriminator="method")

    def _refuse(self, _value: Any) -> Any:
        msg = f"no package offers a {self.kind} method; reinstall with: pip install --force-reinstall kinocyte"
        raise ValueError(msg)


class Place(BaseModel):
    """Keys of a place; a subclass names the kind of method that may stand there."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    method_kind: ClassVar[str]
    place_class: ClassVar[type[Place]]

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild in a worker from the values: the joined class is made on demand there as here."""
        name = self.model_dump(include={"method"})
        return _revive, (self.place_class, {**self.model_dump(mode="python", exclude_unset=True), **name})

    @property
    def method_parameters(self) -> Mapping[str, Any]:
        """Return the parameters of the method alone, JSON-able."""
        return self.model_dump(mode="json", exclude=set(self.place_class.model_fields))

    @property
    def bare(self) -> Method:
        """Return the method without the keys of the place; what nobody said stays a default, which may do without.

        A comparison, for one, refuses a table without the column that was asked for, not without the usual one.
        """
        values = self.model_dump(exclude=set(self.place_class.model_fields), exclude_unset=True)
        name = self.model_dump(include={"method"})["method"]
        return registry.get(self.method_kind, name).model_validate({**values, "method": name})

    @classmethod
    def of(cls, **keys: Any) -> Self:
        """Return the joined model that the keys of one table describe."""
        return placed(cls, str(keys.get("method"))).model_validate(keys)  # type: ignore[return-value]


@cache
def placed(place: type[Place], name: str) -> type[Method]:
    """Return a method's model with the keys of a place in front of its own."""
    method = registry.get(place.method_kind, name)
    taken = {f for f in place.model_fields if f in method.model_fields or hasattr(method, f)}
    if taken:
        msg = f"The {place.method_kind} method '{name}' has a parameter '{min(taken)}', which the pipeline file needs."
        raise TypeError(msg)
    joined: Any = cast("Any", create_model(method.__name__, __base__=(place, method), __module__=method.__module__))
    joined.place_class = place
    joined.__doc__ = method.__doc__
    made: type[Method] = joined
    return made


def _revive(place: type[Place], values: dict[str, Any]) -> Any:
    return placed(place, values["method"]).model_validate(values)
