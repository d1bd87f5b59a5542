"""The report of a model: one HTML file that opens offline, and the same as a PDF."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from kinocyte.core.errors import StoreError
from kinocyte.core.version import __version__
from kinocyte.report.drawing import INK, plain
from kinocyte.report.material import Drawn, Sketchbook
from kinocyte.report.page import number

_BAD = frozenset({"overfitted", "underfitted", "unstable", "not learnt"})
_A4_IN = (8.27, 11.69)
_LINE_IN = 0.165
_MARGIN_IN = 0.8


@dataclass(frozen=True)
class Plate:
    """A figure with its words; ``section`` is ``curves``, ``scores``, ``examples`` or ``sensitivity``."""

    section: str
    name: str
    figure: Figure
    title: str
    caption: str


@dataclass(frozen=True, eq=False)
class TrainingPage:
    """Everything that the report of a model says; plain data.

    Attributes
    ----------
    title, subtitle : str
        Name of the model and what it does.
    tiles : sequence of (str, value)
        Numbers at the top.
    verdict, verdict_sentence : str
        What the curves of the training say; empty without a history.
    n_images : int
        How many images it was judged by.
    scores : polars.DataFrame
        Scores over all images.
    per_image : polars.DataFrame
        Scores of every image.
    plates : sequence of Plate
        Figures.
    methods : sequence of str
        Paragraphs for a paper.
    references : sequence of str
        What they cite.
    parameters : sequence of (title, rows)
        Every parameter, version and piece of hardware, as (name, value).
    sweep : polars.DataFrame, optional
        Checkpoints, best first, and a sentence about them.
    notes : sequence of str
        What a reader must know.
    """

    title: str
    subtitle: str
    tiles: Sequence[tuple[str, Any]]
    n_images: int
    scores: pl.DataFrame
    per_image: pl.DataFrame
    plates: Sequence[Plate]
    methods: Sequence[str]
    references: Sequence[str]
    parameters: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    verdict: str = ""
    verdict_sentence: str = ""
    sweep: pl.DataFrame | None = None
    sweep_sentence: str = ""
    notes: Sequence[str] = field(default=())

    @property
    def verdict_is_bad(self) -> bool:
        """Tell whether the training needs something."""
        return self.verdict in _BAD


def write_training_report(page: TrainingPage, html: Path, pdf: Path) -> None:
    """Write the report of a model as HTML and PDF; older files are replaced.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    content = {html: html_report(page).encode(), pdf: pdf_report(page)}
    for path, made in content.items():
        partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(made)
            partial.replace(path)
        except OSError as error:
            msg = f"The report {path} cannot be written: {error.strerror or error}; choose another place."
            raise StoreError(msg) from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def html_report(page: TrainingPage) -> str:
    """Return the report as one HTML page that needs no network and no script."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_asset)
    )
    environment.filters["number"] = number
    environment.filters["drawn"] = Markup  # only for SVG of ours, in which matplotlib has escaped every name
    book = Sketchbook()
    drawn: dict[str, list[Drawn]] = {s: [] for s in ("curves", "scores", "examples", "sensitivity")}
    for plate in page.plates:
        drawn[plate.section].append(book.add(plate.name, plate.figure, plate.title, plate.caption))
    template = environment.get_template("training.html.j2")
    css = Markup(_asset("report.css"))  # noqa: S704 - a file of ours
    return template.render(page=page, css=css, version=__version__, **drawn)


def _asset(name: str) -> str:
    return files("kinocyte.report").joinpath("templates", name).read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------- PDF
def pdf_report(page: TrainingPage) -> bytes:
    """Return the report as a PDF of A4 pages: words and tables first, then the figures."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_pdf import PdfPages

    buffer = io.BytesIO()
    about = {"Title": page.title, "CreationDate": None}
    settings: Any = {"pdf.fonttype": 42, "font.family": ["sans-serif"]}
    with rc_context(settings), PdfPages(buffer, metadata=about) as pdf:
        for sheet in [*_text_sheets(_words(page)), *_figure_sheets(page.plates), *_text_sheets(_tables(page))]:
            pdf.savefig(sheet)
    return buffer.getvalue()


#: a line of text: size in points, weight, text; monospaced where the last is set
_Line = tuple[float, str, str, bool]


def _wrapped(text: str, width: int = 98) -> list[_Line]:
    return [(9.5, "normal", row, False) for row in textwrap.wrap(text, width) or [""]] + [(9.5, "normal", "", False)]


def _heading(text: str) -> list[_Line]:
    return [(9.5, "normal", "", False), (13.0, "bold", text, False), (9.5, "normal", "", False)]


def _words(page: TrainingPage) -> list[_Line]:
    lines: list[_Line] = [(17.0, "bold", row, False) for row in textwrap.wrap(page.title, 60)]
    lines += [(9.5, "normal", "", False), *_wrapped(f"{page.subtitle}. Made with Kinocyte {__version__}.")]
    if page.verdict:
        lines += [*_heading("Training"), *_wrapped(f"{page.verdict.capitalize()}. {page.verdict_sentence}")]
    lines += _heading(f"Scores on {page.n_images} images")
    for note in page.notes:
        lines += _wrapped(note)
    lines += _table(page.scores)
    if page.sweep is not None:
        lines += [*_heading("Checkpoints"), *_wrapped(page.sweep_sentence), *_table(page.sweep)]
    lines += _heading("Materials and methods")
    for paragraph in page.methods:
        lines += _wrapped(paragraph)
    if page.references:
        lines += _heading("References")
        for i, reference in enumerate(page.references, 1):
            lines += _wrapped(f"{i}. {reference}")[:-1]
    return lines


def _tables(page: TrainingPage) -> list[_Line]:
    lines = [*_heading("Every image"), *_table(page.per_image)]
    for title, rows in page.parameters:
        lines += _heading(title)
        for name, value in rows:
            first, *rest = textwrap.wrap(str(value), 66) or [""]
            lines += [(8.5, "normal", f"{name[:30]:31}{first}", True)]
            lines += [(8.5, "normal", " " * 31 + row, True) for row in rest]
    return lines


#: columns that say what a row is of
_KEYS = ("image", "channel", "of", "name", "rank")


def _table(table: pl.DataFrame) -> list[_Line]:
    """Return a table in monospaced columns, as many beside each other as fit; what a row is of stands in each block."""
    cells = [[c.replace("_", " ") for c in table.columns], *([number(v) for v in row] for row in table.iter_rows())]
    cells = [[text if len(text) <= 24 else f"{text[:14]}...{text[-7:]}" for text in row] for row in cells]
    widths = [max(len(row[i]) for row in cells) for i in range(table.width)]
    n_keys = next((i for i, name in enumerate(table.columns) if i and name not in _KEYS), table.width)
    keys, at = list(range(n_keys)), n_keys
    lines: list[_Line] = []
    while at < table.width or not lines:
        chosen, used = [*keys], sum(widths[i] + 2 for i in keys)
        # at least one more, however wide
        while at < table.width and (len(chosen) == n_keys or used + widths[at] <= 104):
            chosen.append(at)
            used += widths[at] + 2
            at += 1
        for k, row in enumerate(cells):
            text = "  ".join(row[i].ljust(widths[i]) if i == 0 else row[i].rjust(widths[i]) for i in chosen)
            lines.append((8.0, "bold" if k == 0 else "normal", text, True))
        lines.append((9.5, "normal", "", False))
    return lines


def _text_sheets(lines: Sequence[_Line]) -> list[Figure]:
    sheets: list[Figure] = []
    top, bottom, left = _A4_IN[1] - _MARGIN_IN, _MARGIN_IN, _MARGIN_IN
    y = -1.0
    for size, weight, text, fixed in lines:
        height = _LINE_IN * size / 9.5
        if y - height < bottom:
            sheets.append(_sheet())
            y = top
        y -= height
        if text:
            family = "monospace" if fixed else "sans-serif"
            sheets[-1].text(
                left / _A4_IN[0], y / _A4_IN[1], plain(text), fontsize=size if not fixed else size * 0.9, weight=weight,
                family=family, color=INK, va="bottom",
            )  # fmt: skip
    return sheets


def _sheet() -> Figure:
    return Figure(figsize=_A4_IN)


def _figure_sheets(plates: Sequence[Plate]) -> list[Figure]:
    """Return the figures with their captions beneath, as many on a page as fit."""
    sheets: list[Figure] = []
    y_in = 0.0
    for plate in plates:
        image = FigureImage(plate.figure)
        caption = textwrap.wrap(f"{plate.title}. {plate.caption}", 92)
        words_in = _LINE_IN * len(caption) + 0.35
        height_in = image.height_in + words_in
        if not sheets or y_in - height_in < _MARGIN_IN:
            sheets.append(_sheet())
            y_in = _A4_IN[1] - _MARGIN_IN
        image.place(sheets[-1], top_in=y_in)
        y_in -= image.height_in + 0.1
        for k, row in enumerate(caption):
            at = (_MARGIN_IN / _A4_IN[0], (y_in - _LINE_IN * (k + 1)) / _A4_IN[1])
            sheets[-1].text(*at, plain(row), fontsize=9, color=INK, va="bottom")
        y_in -= words_in
    return sheets


class FigureImage:
    """A figure as a picture of 200 points an inch, so that figures of any layout stand on a page of another size."""

    def __init__(self, figure: Figure) -> None:
        import numpy as np
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure.set_dpi(200)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # type: ignore[no-untyped-call] # matplotlib has no types here
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call] # as above
        alpha = pixels[..., 3:] / 255.0
        self.pixels = (pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
        size_in = (float(figure.get_figwidth()), float(figure.get_figheight()))
        widest, highest = _A4_IN[0] - 2 * _MARGIN_IN, _A4_IN[1] - 2 * _MARGIN_IN - 1.2
        scale = min(widest / size_in[0], highest / size_in[1], 1.0)
        self.width_in, self.height_in = size_in[0] * scale, size_in[1] * scale

    def place(self, sheet: Figure, *, top_in: float) -> None:
        """Draw it on a page, its upper edge at a height above the lower edge of the page."""
        left = _MARGIN_IN / _A4_IN[0]
        size = (self.width_in / _A4_IN[0], self.height_in / _A4_IN[1])
        axes = sheet.add_axes((left, top_in / _A4_IN[1] - size[1], *size))
        axes.imshow(self.pixels, aspect="auto", interpolation="lanczos")
        axes.set_axis_off()
