"""How every figure is made: matplotlib without its global state, the same bytes for the same data."""

from __future__ import annotations

import io
import re
import textwrap
import threading
import warnings
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from kinocyte.core.errors import ParameterError, StoreError, nearest
from kinocyte.report.colours import CATEGORIES

#: Colours of text and of lines in the background; the page swaps them for those of its light or dark scheme.
INK, GRID, PAPER = "#1b1f24", "#c9ced6", "#fefefd"

#: Width that suits a telephone and a column of a paper.
WIDTH_IN = 4.1

#: Widths of figures in journals: one column, one and a half, two.
JOURNAL_MM = (85.0, 114.0, 174.0)

#: Dashes that tell groups apart without colour.
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))

FORMATS = ("svg", "pdf", "png")
# matplotlib takes the format of SVG text and ids from its global settings; one figure at a time
_LOCK = threading.Lock()


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """Return an empty figure whose parts are laid out without overlap."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor="none")
    FigureCanvasAgg(figure)
    return figure


def mm(width_mm: float | None) -> tuple[float]:
    """Return a width for `new_figure` in inches, that of the page for None.

    Raises
    ------
    ParameterError
        If the width is no length that a page has.
    """
    if width_mm is None:
        return (WIDTH_IN,)
    if not 40 <= width_mm <= 400:
        usual = ", ".join(f"{w:g}" for w in JOURNAL_MM)
        msg = f"A figure cannot be {width_mm:g} mm wide; journals print {usual} mm."
        raise ParameterError(msg)
    return (width_mm / 25.4,)


#: so many short names stand beside the curves; more go below, where they hide none
_MOST_INSIDE, _LONGEST_INSIDE = 3, 22


def legend(axes: Axes, title: str = "", *, below: bool = False, marker_scale: float = 1.0) -> None:
    """Name what was drawn with a label; nothing where nothing was. Many or long names stand below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    look: dict[str, Any] = {"fontsize": 8.5, "frameon": False, "labelcolor": INK, "markerscale": marker_scale}
    if title:
        look |= {"title": title, "title_fontsize": 8.5}
    longest = max(len(row) for label in labels for row in label.split("\n"))
    if not below and len(handles) <= _MOST_INSIDE and longest <= _LONGEST_INSIDE:
        axes.legend(handles, labels, loc="best", **look)
        return
    figure = axes.get_figure(root=True)
    if not isinstance(figure, Figure):
        return
    width, height = figure.get_size_inches()
    # a letter of this size is about 5 points wide, its line and the space around it 36
    columns = max(1, min(len(handles), int(72 * width / (5.0 * longest + 36.0))))
    rows = -(-len(handles) // columns) * max(label.count("\n") + 1 for label in labels) + bool(title)
    figure.set_size_inches(width, height + 0.17 * rows + 0.05)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, **look)


def style(axes: Axes, *, x_label: str = "", y_label: str = "", grid: str | None = None) -> Axes:
    """Give axes the house's look: few lines, small type, labels safe from being read as formulas."""
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(colors=INK, labelsize=9, width=0.8, length=3)
    axes.set_xlabel(plain(x_label, 48), fontsize=10, color=INK)
    axes.set_ylabel(plain(y_label, 40), fontsize=10, color=INK)
    if grid is not None:
        axes.grid(visible=True, axis=grid, color=GRID, linewidth=0.6)  # type: ignore[arg-type]
        axes.set_axisbelow(True)
    return axes


def plain(text: str, width: int | None = None, lines: int = 2) -> str:
    """Return text that matplotlib prints as it stands: no formula, wrapped and cut to ``lines`` of ``width``."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    if width is not None:
        rows = textwrap.wrap(clean, width) or [""]
        if len(rows) > lines:
            rows = [*rows[: lines - 1], rows[lines - 1][: width - 1] + "…"]
        clean = "\n".join(rows)
    return clean.replace("$", r"\$")


def render(figure: Figure, file_format: str, name: str) -> bytes:
    """Return a figure as the bytes of a file.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    file_format : {"svg", "pdf", "png"}
        Kind of file.
    name : str
        Seeds the ids inside SVG, so that two figures on one page do not share them.
    """
    if file_format not in FORMATS:
        msg = f"Figures cannot be written as '{file_format}'; {nearest(file_format, FORMATS)}."
        raise ParameterError(msg)
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[file_format]
    settings: Any = {"svg.hashsalt": name, "svg.fonttype": "none", "pdf.fonttype": 42, "font.family": ["sans-serif"]}
    buffer = io.BytesIO()
    with _LOCK, rc_context(settings), warnings.catch_warnings():
        # letters that the font lacks stand as text in SVG all the same
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if file_format == "svg":  # drawn once; `savefig` would draw everything twice
            FigureCanvasSVG(figure).print_svg(buffer, metadata=metadata)  # type: ignore[no-untyped-call]
            FigureCanvasAgg(figure)
        else:
            figure.savefig(buffer, format=file_format, metadata=metadata, transparent=True, dpi=200)
    return buffer.getvalue()


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """Return a figure as an ``<svg>`` element for a page: colours of the page, ids of its own, a text alternative."""
    from html import escape

    text = render(figure, "svg", name).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    key = re.sub(r"[^A-Za-z0-9]+", "-", name)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{key}-\1"', text)
    text = text.replace("xlink:href=", "href=")
    names = {INK: "currentColor", GRID: "var(--grid)", PAPER: "var(--card)"}
    names |= {colour.lower(): f"var(--c{i})" for i, colour in enumerate(CATEGORIES)}
    for colour, variable in names.items():
        text = text.replace(colour, variable)
    text = re.sub(r"\n\s*", "\n", text)
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', text)
    if size is not None:
        text = text.replace(size[0], f'style="width:{float(size[1]) * 4 / 3:.0f}px"', 1)
    head = f'<svg role="img" aria-label="{escape(description, quote=True)}"'
    return text.replace("<svg", head, 1).strip()


def save_figure(figure: Figure, folder: Path, name: str, formats: tuple[str, ...]) -> list[Path]:
    """Write a figure in every format asked for and return the files.

    Raises
    ------
    StoreError
        If the folder may not be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file_format in formats:
            path = folder / f"{name}.{file_format}"
            path.write_bytes(render(figure, file_format, name))
            written.append(path)
    except OSError as error:
        msg = f"Figure {name} cannot be written to {folder}: {error.strerror or error}; choose another folder."
        raise StoreError(msg) from error
    return written
