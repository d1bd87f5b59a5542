"""What a person may say about files whose metadata do not."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, field_validator

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.method import param
from kinocyte.interop.axes import parse_axes
from kinocyte.interop.filename_pattern import NamePattern


def _split(value: object) -> object:
    """Return the words of ``a,b,c``, given as one text or as texts that hold several."""
    if isinstance(value, str):
        return tuple(v.strip() for v in value.split(",")) if value.strip() else ()
    if isinstance(value, (tuple, list)) and any(isinstance(v, str) and "," in v for v in value):
        return tuple(w.strip() for v in value for w in (v.split(",") if isinstance(v, str) else [v]))
    return value


class ImportOptions(BaseModel):
    """Options of an import; each command-line option is one field."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pixel_size_um: float | None = param(None, help="Width and height of a pixel.", unit="um", gt=0)
    frame_interval_min: float | None = param(None, help="Time between two frames.", unit="min", gt=0)
    z_step_um: float | None = param(None, help="Distance of two planes of a stack.", unit="um", gt=0)
    channels: Annotated[tuple[str, ...], BeforeValidator(_split)] = param(
        (), help="Channel names in the order of the files, or OLD=NEW to rename: phase,green or P=phase,G=green."
    )
    wells: str | None = param(
        None,
        help="Plate map (CSV or TOML) with a column 'well', a column 'file' where names do not tell the well, and any "
        "condition; or one well, such as A1, for everything.",
    )
    pattern: str | None = param(
        None, help="What file names say: {well} {position} {time} {channel} {z} {plate} {condition:NAME} {*}."
    )
    axes: str | None = param(None, help="Axes of files that do not state them, such as tyx, zyx or tcyx.")
    missing_frames: Literal["refuse", "skip", "fill"] = param(
        "refuse",
        help="What to do where a frame or a channel of it is missing: refuse the position, skip the frame and keep the "
        "times of the others, or fill it with black.",
    )
    override_metadata: bool = param(False, help="Let options win where the files state something else.")
    labels: bool = param(True, help="Import masks and tables that came with the images.")
    shard: bool | None = param(
        None,
        help="Put the chunks of many frames into one file, for disks that suffer from very many files; when left out, "
        "done for more than 100,000 chunks.",
    )
    link: bool = param(False, help="Leave OME-Zarr pixels where they are and keep only what is new in the experiment.")

    @field_validator("axes")
    @classmethod
    def _axes(cls, value: str | None) -> str | None:
        return None if value is None else parse_axes(value)

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        if value is not None:
            NamePattern(value)
        return value

    @field_validator("channels")
    @classmethod
    def _channels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        renames = [v for v in value if "=" in v]
        new = [v.partition("=")[2].strip() if "=" in v else v for v in value]
        if renames and len(renames) < len(value):
            msg = "mixes names and OLD=NEW; write all of one kind"
            raise ValueError(msg)
        if not all(new) or len(set(new)) < len(new):
            msg = "names a channel twice or leaves a name empty"
            raise ValueError(msg)
        return value


def import_options(**values: Any) -> ImportOptions:
    """Return options after checking them.

    Raises
    ------
    ParameterError
        One sentence that names the option and what is wrong with it.
    """
    try:
        return ImportOptions(**values)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        name = str(item["loc"][0]) if item["loc"] else ""
        option = "--" + name.replace("_", "-")
        if item["type"] == "extra_forbidden":
            msg = f"There is no import option '{name}'; {nearest(name, ImportOptions.model_fields)}."
        else:
            reason = item["msg"].removeprefix("Value error, ")
            msg = f"{option} = {item.get('input')!r} is refused: {reason}."
        raise ParameterError(msg) from error
