"""XML as it flows by: elements that are kept as they are, numbers as Java writes them."""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import polars as pl
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from kinocyte.core.errors import InputFileError
from kinocyte.interop.tracks.files import unreadable

_BLOCK = 1 << 18
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass
class Node:
    """An element that is kept word for word: its children are elements, texts, and comments as elements ``!--``."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Node | str] = field(default_factory=list)

    def find(self, tag: str) -> Node | None:
        """Return the first child element of that name."""
        return next((c for c in self.elements() if c.tag == tag), None)

    def elements(self) -> Iterator[Node]:
        """Go through the child elements."""
        return (c for c in self.children if isinstance(c, Node))

    def add(self, tag: str, **attributes: str) -> Node:
        """Append a child element and return it."""
        child = Node(tag, attributes)
        self.children.append(child)
        return child


def parse(path: Path, target: Any, *, opened: Callable[[Path], Any] | None = None) -> Any:
    """Feed a file block by block to a target with ``start end data comment close`` and return what it returns.

    Entities, document types and references to other files are refused, as no format of tracks has them.

    Raises
    ------
    InputFileError
        If the file cannot be opened, is no XML, or holds what may not be trusted.
    """
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    try:
        with opened(path) if opened else path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                parser.feed(block)
        return parser.close()
    except InputFileError:
        raise
    except DefusedXmlException as error:
        msg = f"'{path}' declares entities or a document type, which no file of tracks needs; it is not read."
        raise InputFileError(msg) from error
    except (ParseError, ExpatError, EOFError, LookupError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        msg = f"'{path}' is damaged or no XML ({error}); export it again."
        raise InputFileError(msg) from error
    except OSError as error:
        raise unreadable(path, error) from error


def write_node(node: Node, write: Callable[[str], object], streamed: Mapping[str, Callable[[Node], None]]) -> None:
    """Write an element; where ``streamed`` holds its name, that function writes the element instead."""
    if node.tag == "!--":
        write(f"<!--{''.join(c for c in node.children if isinstance(c, str))}-->")
        return
    if node.tag in streamed:
        streamed[node.tag](node)
        return
    write(opening(node))
    if not node.children:
        write(" />")
        return
    write(">")
    for child in node.children:
        if isinstance(child, str):
            write(text_of(child))
        else:
            write_node(child, write, streamed)
    write(f"</{node.tag}>")


def opening(node: Node) -> str:
    """Return the beginning of an element with its attributes, without the closing bracket."""
    return f"<{node.tag}" + "".join(f' {k}="{attribute_of(v)}"' for k, v in node.attributes.items())


def text_of(text: str) -> str:
    """Return text as it stands between elements; carriage returns survive, what XML cannot hold is left out."""
    plain = _ILLEGAL.sub("", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace("\r", "&#xD;")


def attribute_of(text: str) -> str:
    """Return text as it stands in an attribute."""
    return text_of(text).replace('"', "&quot;").replace("\n", "&#xA;").replace("\t", "&#x9;")


def java_double(value: float) -> str:
    """Return a number as Java's ``Double.toString``: ``1.0E-5``, ``NaN``, ``Infinity``.

    Between 1e-3 and 1e7 it is written plainly, elsewhere with an exponent; the digits are the fewest that read back
    as the same number.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0.0" if math.copysign(1.0, value) < 0 else "0.0"
    if 1e-3 <= abs(value) < 1e7:
        return repr(float(value))
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    power = int(exponent or 0) + len(whole) - 1
    if whole == "0":
        power -= len(fraction) - len(fraction.lstrip("0")) + 1
    digits = digits.rstrip("0") or "0"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{power}"


_PLAIN_NUMBER = r"^-?\d{1,7}\.\d+$"


def number_texts(values: pl.Series) -> pl.Series:
    """Return numbers as text as Java writes them; nulls stay nulls."""
    if values.dtype == pl.String:
        return values
    if values.dtype == pl.Boolean or values.dtype.is_integer():
        return (values.cast(pl.Int64, strict=False) if values.dtype != pl.UInt64 else values).cast(pl.String)
    values = values.cast(pl.Float64)
    text = values.cast(pl.String)
    size = values.abs()
    plain = ((size >= 1e-3) & (size < 1e7) & text.str.contains(_PLAIN_NUMBER)) | values.is_null()
    if plain.all():
        return text
    odd = (~plain).fill_null(value=False).arg_true()
    return text.scatter(odd, [java_double(v) for v in values.gather(odd).to_list()])


class Columns:
    """Rows of attributes, gathered block by block into typed columns.

    Whole numbers stay whole numbers, other numbers become floats, the rest stays text; what a row lacks is null.
    """

    def __init__(self, *, text: tuple[str, ...] = (), block: int = 20_000) -> None:
        self._rows: list[dict[str, str]] = []
        self._parts: list[pl.DataFrame] = []
        self._text, self._block = text, block

    def add(self, row: dict[str, str]) -> None:
        """Take a row."""
        self._rows.append(row)
        if len(self._rows) >= self._block:
            self._flush()

    def _flush(self) -> None:
        names = list(dict.fromkeys(k for row in self._rows for k in row))
        columns = [pl.Series(n, [row.get(n) for row in self._rows], dtype=pl.String) for n in names]
        height = len(self._rows)
        part = pl.DataFrame([c if c.name in self._text else typed(c) for c in columns])
        self._parts.append(
            part if columns else pl.DataFrame({"": [None] * height}).select(pl.lit(None).alias("_empty"))
        )
        self._rows = []

    def frame(self) -> pl.DataFrame:
        """Return all rows as one table."""
        if self._rows:
            self._flush()
        if not self._parts:
            return pl.DataFrame()
        kinds: dict[str, set[pl.DataType]] = {}
        for part in self._parts:
            for name, dtype in part.schema.items():
                kinds.setdefault(name, set()).add(dtype)
        wanted = {n: _common(k) for n, k in kinds.items()}
        parts = [
            p.with_columns(
                number_texts(p[n]) if wanted[n] == pl.String else p[n].cast(wanted[n])
                for n in p.columns
                if p[n].dtype != wanted[n]
            )
            for p in self._parts
        ]
        self._parts = []
        return pl.concat(parts, how="diagonal") if len(parts) > 1 else parts[0]


def _common(kinds: set[pl.DataType]) -> pl.DataType:
    for dtype in (pl.String(), pl.Float64(), pl.Int64()):
        if dtype in kinds:
            return dtype
    return pl.Null()


def typed(column: pl.Series) -> pl.Series:
    """Return a column of texts as whole numbers, else as floats, else as it is."""
    empty = column.null_count()
    if empty == column.len():
        return column
    whole = column.cast(pl.Int64, strict=False)
    if whole.null_count() == empty and bool((whole.cast(pl.String) == column).all()):
        return whole
    number = column.cast(pl.Float64, strict=False)
    return number if number.null_count() == empty else column
