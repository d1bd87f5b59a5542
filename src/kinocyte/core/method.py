"""What a method is: one frozen model from which every face of it is made.

The fields of a method are its Python arguments, its keys in a pipeline file, its command-line options, its
form in the application and its page in the reference. Nothing about a parameter is declared a second time.
"""

from __future__ import annotations

from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


def param(  # a field has as many properties as it has faces
    default: Any = ...,
    *,
    help: str,  # noqa: A002 - the word every reader knows
    unit: str | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    advanced: bool = False,
) -> Any:
    """Declare one parameter of a method.

    Parameters
    ----------
    default : object
        Value when the parameter is left out; ``...`` makes it required.
    help : str
        One sentence a biologist understands; shown in the form, the option list and the reference.
    unit : str, optional
        Physical unit of the number, as in the end of the field's name (``um``, ``min``, ``um2``).
    ge, gt, le, lt : float, optional
        Bounds; a value outside is refused before anything runs.
    advanced : bool
        Shown only when a person asks for all parameters.

    Returns
    -------
    pydantic field
        To be assigned to an annotated class attribute.
    """
    extra: dict[str, Any] = {"advanced": advanced}
    if unit is not None:
        extra["unit"] = unit
    return Field(default, description=help, ge=ge, gt=gt, le=le, lt=lt, json_schema_extra=extra)


class Method(BaseModel):
    """Base of every method: frozen, strict about its keys, told apart by ``method``.

    A subclass states ``kind`` (the place in a pipeline where it may stand), ``method: Literal["name"]`` and its
    parameters with `param`, and implements the one verb of its kind. Heavy libraries are imported inside the
    verb, so that reading a pipeline file stays quick.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=False
    )

    kind: ClassVar[str] = ""
    #: papers and pages the kernel is built from, for the reference and the methods paragraph of the report
    references: ClassVar[tuple[str, ...]] = ()
    #: whether it runs much faster on a GPU: a run on a cluster then asks for one
    wants_gpu: ClassVar[bool] = False

    @classmethod
    def name(cls) -> str:
        """Return the value of ``method`` that selects this class."""
        field = cls.model_fields.get("method")
        values = get_args(field.annotation) if field is not None else ()
        if len(values) != 1:
            msg = f"{cls.__qualname__} must declare `method: Literal['its_name'] = 'its_name'`."
            raise TypeError(msg)
        return str(values[0])

    def replace(self, **changes: Any) -> Any:
        """Return a validated copy with some parameters changed."""
        return type(self).model_validate({**self.model_dump(exclude_unset=True), **changes})

    def __repr__(self) -> str:
        """Show only what differs from the defaults."""
        shown = ", ".join(
            f"{k}={getattr(self, k)!r}"
            for k, f in type(self).model_fields.items()
            if k != "method" and getattr(self, k) != f.default
        )
        return f"{type(self).__name__}({shown})"

    __str__ = __repr__


def unit_of(field: FieldInfo) -> str | None:
    """Return the unit of a field declared with `param`, or None."""
    extra = field.json_schema_extra
    return str(extra["unit"]) if isinstance(extra, dict) and "unit" in extra else None


def is_advanced(field: FieldInfo) -> bool:
    """Tell whether a field is shown only on request."""
    extra = field.json_schema_extra
    return bool(isinstance(extra, dict) and extra.get("advanced", False))
