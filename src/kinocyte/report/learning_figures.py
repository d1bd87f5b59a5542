"""Figures on a trained model: its training, its scores, its errors in pictures, and what it is sensitive to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kinocyte.report.drawing import INK, new_figure, plain, style

Array = NDArray[Any]

#: found, spurious and missed objects: sky blue, orange and pink of Okabe and Ito, apart for every common colour vision
FOUND, SPURIOUS, MISSED = "#56B4E9", "#E69F00", "#CC79A7"
_WIDE_IN = 7.2
_LONGEST_PX = 384
_NAMES = {
    "train_loss": "training", "loss": "training", "held_out_loss": "held out", "noise": "added noise (share of range)",
    "blur_px": "blur (px)", "size": "size of the image (factor)", "probability_threshold": "probability threshold",
    "overlap_threshold": "overlap threshold",
}  # fmt: skip


def loss_curves(history: pl.DataFrame, best_step: int | None = None) -> Figure:
    """Return the loss of the training and of the held-out images by step, linear and logarithmic.

    Parameters
    ----------
    history : polars.DataFrame
        ``step``, ``train_loss`` or ``loss``, and where there are held-out images ``held_out_loss``.
    best_step : int, optional
        Marked by a line.
    """
    figure = new_figure(2.7, _WIDE_IN)
    pair = figure.subplots(1, 2, sharex=True)
    drawn = [c for c in ("train_loss", "loss", "held_out_loss") if c in history.columns]
    for axes, scale in zip(pair, ("linear", "log"), strict=True):
        style(axes, x_label="step", y_label=f"loss ({scale})", grid="y")
        for column, colour in zip(drawn, ("#0072B2", "#D55E00"), strict=False):
            values = history[column].cast(pl.Float64).to_numpy()
            shown = np.where(values > 0, values, np.nan) if scale == "log" else values
            axes.plot(history["step"], shown, color=colour, linewidth=1.4, label=_NAMES[column])
        if scale == "log" and any((history[c].cast(pl.Float64) > 0).any() for c in drawn):
            axes.set_yscale("log")
        if best_step is not None:
            axes.axvline(best_step, color=INK, linewidth=0.9, linestyle=":", label=f"best: step {best_step}")
    pair[0].legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def error_overlay(image: Array, truth: Array, result: Array, matched: Mapping[int, int]) -> Array:
    """Return an image with outlines of found, missed and spurious objects, (y, x, 3) uint8.

    Parameters
    ----------
    image : ndarray, (y, x)
        Grey values.
    truth, result : ndarray of int, (y, x)
        Labels.
    matched : mapping of int to int
        Labels of the truth that were found, to those of the result.
    """
    low, high = np.nanpercentile(image, (1, 99.7))
    grey = np.clip((image.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1)
    factor = max(1, _LONGEST_PX // max(image.shape))
    large = np.ones((factor, factor), np.int64)
    canvas = np.repeat((200 * np.kron(grey, large)).astype(np.uint8)[..., None], 3, axis=-1)
    truth, result = np.kron(truth, large), np.kron(result, large)
    found_truth = np.isin(truth, list(matched)) & (truth > 0)
    found_result = np.isin(result, list(matched.values())) & (result > 0)
    for labels, chosen, colour in (
        (result, found_result, FOUND),
        (result, ~found_result & (result > 0), SPURIOUS),
        (truth, ~found_truth & (truth > 0), MISSED),
    ):
        canvas[_rim(np.where(chosen, labels, 0))] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return canvas


def _rim(labels: Array) -> Array:
    """Return the pixels of objects that touch something else, two pixels wide."""
    rim = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            rim |= labels != np.roll(labels, step, axis)
    return rim & (labels > 0)


def object_examples(rows: Sequence[tuple[str, Array, Array, Array, Mapping[int, int]]]) -> Figure:
    """Return one row an example: the image, the truth, the prediction, and the errors.

    Parameters
    ----------
    rows : sequence of (title, image, truth, result, matched)
        Planes (y, x); see `error_overlay`.
    """
    figure = new_figure(0.35 + 2.0 * len(rows), _WIDE_IN)
    grid = figure.subplots(len(rows), 4, squeeze=False)
    for axes_row, (title, image, truth, result, matched) in zip(grid, rows, strict=True):
        low, high = np.nanpercentile(image, (1, 99.7))
        _picture(axes_row[0], image, cmap="gray", vmin=low, vmax=max(high, low + 1e-12))
        _picture(axes_row[1], _coloured(truth))
        _picture(axes_row[2], _coloured(result))
        _picture(axes_row[3], error_overlay(image, truth, result, matched))
        axes_row[0].set_ylabel(plain(title, 26, 2), fontsize=8, color=INK)
    for axes, name in zip(grid[0], ("image", "truth", "prediction", "errors"), strict=True):
        axes.set_title(name, fontsize=9.5, color=INK)
    _legend(figure, (("found", FOUND), ("spurious", SPURIOUS), ("missed", MISSED)))
    return figure


def _legend(figure: Figure, entries: Sequence[tuple[str, str]]) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=c, linewidth=3, label=n) for n, c in entries]
    figure.legend(handles=lines, loc="outside lower right", ncols=3, frameon=False, fontsize=9, labelcolor=INK)


def _coloured(labels: Array) -> Array:
    """Return labels in colours in which neighbours differ, on black."""
    hues = np.array(
        [[0, 114, 178], [230, 159, 0], [0, 158, 115], [213, 94, 0], [204, 121, 167], [86, 180, 233], [240, 228, 66]]
    )
    shown = hues[(labels.astype(np.int64) * 3) % 7]
    return np.where(labels[..., None] > 0, shown, 0).astype(np.uint8)


def _picture(axes: Axes, image: Array, **how: Any) -> Any:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_anchor("N")
    for side in axes.spines.values():
        side.set_visible(False)
    return axes.imshow(image, interpolation="nearest", **how)


def image_examples(
    rows: Sequence[tuple[str, Array, Array, Array, Mapping[str, str]]], maps: Sequence[tuple[Array, Array]]
) -> Figure:
    """Return two rows an example: input, target and prediction, and beneath signed errors and similarity.

    Parameters
    ----------
    rows : sequence of (title, input, target, prediction, scores)
        Planes (y, x) in the grey values of the target; scores by ``input`` and ``prediction`` in words.
    maps : sequence of (error, similarity)
        Prediction minus target and the map of SSIM, both floating point with their sign.
    """
    figure = new_figure(0.2 + 1.9 * len(rows), _WIDE_IN)
    grid = figure.subplots(len(rows), 5, squeeze=False)
    for axes, (title, start, target, prediction, scores), (error, similarity) in zip(grid, rows, maps, strict=True):
        low, high = np.nanpercentile(target, (0.5, 99.8))
        how = {"cmap": "gray", "vmin": low, "vmax": max(high, low + 1e-12)}
        for ax, image, name in zip(axes, (start, target, prediction), ("input", "target", "prediction"), strict=False):
            _picture(ax, image, **how)
            ax.set_title(name, fontsize=9.5, color=INK)
            ax.set_xlabel(scores.get(name, ""), fontsize=8, color=INK)
        axes[0].set_ylabel(plain(title, 26, 2), fontsize=8, color=INK)
        largest = max(float(np.nanpercentile(np.abs(error), 99.5)), 1e-12)
        shown = _picture(axes[3], error, cmap="PuOr", vmin=-largest, vmax=largest)
        _bar(figure, shown, axes[3], "prediction - target")
        _bar(figure, _picture(axes[4], similarity, cmap="cividis", vmin=-1, vmax=1), axes[4], "SSIM")
    return figure


def _bar(figure: Figure, drawn: Any, axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9.5, color=INK)
    # an inset, as a bar that takes its room from the axes would shift them out of their row
    bar = figure.colorbar(drawn, cax=axes.inset_axes((0.0, -0.1, 1.0, 0.05)), orientation="horizontal")
    bar.ax.tick_params(colors=INK, labelsize=7, length=2)
    bar.ax.locator_params(nbins=3)
    bar.outline.set_visible(False)


def precision_by_overlap(pooled: Mapping[str, float | int | None]) -> Figure:
    """Return average precision at the overlaps from 0.5 to 0.95, of entries ``ap_0.50`` and so on."""
    figure = new_figure(2.5, 3.5)
    axes = style(
        figure.add_subplot(), x_label="least overlap (IoU) of a found object", y_label="average precision", grid="y"
    )
    known = sorted((float(k[3:]), float(v)) for k, v in pooled.items() if k.startswith("ap_") and v is not None)
    axes.plot([k for k, _ in known], [v for _, v in known], "o-", color="#0072B2", linewidth=1.4, markersize=4)
    axes.set_ylim(-0.02, 1.02)
    return figure


def scores_by_image(scores: Mapping[str, Sequence[float]], label: str) -> Figure:
    """Return each image's score as a dot, one column a series (such as input and prediction), and their median."""
    figure = new_figure(2.5, 3.5)
    axes = style(figure.add_subplot(), y_label=label, grid="y")
    rng = np.random.default_rng(0)
    for x, (name, values) in enumerate(scores.items()):
        if not len(values):
            continue
        at = x + rng.uniform(-0.12, 0.12, len(values))
        axes.plot(
            at, values, "o", markersize=4, color=("#8A8A8A", "#0072B2")[x % 2 if len(scores) > 1 else 1], alpha=0.75
        )
        axes.plot([x - 0.25, x + 0.25], [float(np.median(values))] * 2, color=INK, linewidth=1.5)
        axes.annotate(
            f"{float(np.median(values)):.3g}",
            (x + 0.28, float(np.median(values))),
            fontsize=8.5,
            color=INK,
            va="center",
        )
        del name
    axes.set_xticks(range(len(scores)), [plain(n, 16) for n in scores])
    axes.set_xlim(-0.5, len(scores) - 0.3)
    return figure


def sensitivity_curves(table: pl.DataFrame, label: str) -> Figure:
    """Return the score by each thing that was changed; how the model stands is marked.

    Parameters
    ----------
    table : polars.DataFrame
        ``what value score as_is``.
    label : str
        Name of the score.
    """
    kinds = table["what"].unique(maintain_order=True).to_list()
    columns = min(3, max(1, len(kinds)))
    n_rows = -(-len(kinds) // columns)
    figure = new_figure(0.2 + 2.1 * n_rows, _WIDE_IN)
    grid = figure.subplots(n_rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(kinds) :]:
        axes.set_visible(False)
    for i, (axes, kind) in enumerate(zip(grid.flat, kinds, strict=False)):
        rows = table.filter(pl.col("what") == kind).sort("value")
        style(
            axes, x_label=_NAMES.get(kind, kind.replace("_", " ")), y_label=label if i % columns == 0 else "", grid="y"
        )
        axes.plot(rows["value"], rows["score"], "-", color="#0072B2", linewidth=1.4)
        mine = rows.filter(pl.col("as_is"))
        axes.plot(rows["value"], rows["score"], "o", color="#0072B2", markersize=3.5)
        axes.plot(mine["value"], mine["score"], "o", color="#D55E00", markersize=7)
    known = table["score"].drop_nulls().to_numpy()
    grid.flat[0].set_ylim(min([0.0, *known]) - 0.02, max([1.0, *known]) + 0.02)
    return figure
