"""What a tile of the gallery shows: the signal of a cell or a pair, and crops of the movie around its event. No Qt."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.app.cells import Cells
from kinocyte.core import registry
from kinocyte.core.schema import EVENT_CLASSES
from kinocyte.experiment.position import Position

RGB = NDArray[np.uint8]
#: Crops of a tile: frames before and after the event.
AROUND = 2
_OWN = (230, 159, 0)
#: of the states of a partner (Okabe and Ito 2008), none of them that of the cell itself
STATE_COLOURS = ("#56b4e9", "#cc79a7", "#009e73", "#f0e442", "#0072b2", "#d55e00")
_UNKNOWN = (140, 140, 140)


@dataclass(frozen=True)
class Subject:
    """Whose events are shown.

    Parameters
    ----------
    event : str
        Name of the event.
    interaction : str
        Whose pairs; empty for cells.
    signal : str
        Column that is drawn.
    channel : str
        Channel of the crops.
    partner : str
        Column of the neighbours whose values colour their outlines; empty: their distance does.
    """

    event: str
    interaction: str = ""
    signal: str = ""
    channel: str = ""
    partner: str = ""


@dataclass(frozen=True, eq=False)
class Tile:
    """One cell, or one pair.

    Attributes
    ----------
    key : int
        Track, or number of the pair.
    tracks : tuple of int
        The track, or those of reference and neighbour.
    title : str
        What is written above.
    event_class, time_min : str, float or None
        What is said of the event.
    times_min, values : array
        The signal.
    crops : array, (n, side, side, 3), uint8
        Pictures around the event with the outline of the cell; ``frames`` says which.
    object_id, x_um, y_um, frame : int, float, float, int
        Where the cell is at that time.
    """

    key: int
    tracks: tuple[int, ...]
    title: str
    event_class: str
    time_min: float | None
    confidence: float | None
    times_min: NDArray[np.float64]
    values: NDArray[np.float64]
    frame: int
    object_id: int
    x_um: float
    y_um: float
    frames: tuple[int, ...] = ()
    crops: RGB = field(default_factory=lambda: np.zeros((0, 1, 1, 3), np.uint8))


@dataclass(frozen=True)
class Offer:
    """What the gallery can show of a population.

    Attributes
    ----------
    interactions : tuple of str
        Whose reference the population is, and whose pairs have events.
    events, signals : tuple of str
        Of the cells, or of the pairs of the interaction that was asked for.
    within : bool
        Whether both cells of its pairs are of this population.
    states : mapping of str to tuple of str
        Columns of the neighbours that hold a state, with their values.
    seen_in : mapping of str to str
        Of events, the signal that their condition names first.
    """

    interactions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    within: bool = True
    states: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seen_in: Mapping[str, str] = field(default_factory=dict)


def offer_of(cells: Cells, interaction: str) -> Offer:
    """Return what the gallery can show; an interaction that is not there is taken for none."""
    position = cells.position
    ends = "_pair_events"
    sides = {
        t.removesuffix(ends): sides_of(position, t.removesuffix(ends)) for t in position.tables if t.endswith(ends)
    }
    mine = tuple(n for n, (reference, _) in sides.items() if reference == cells.population)
    chosen = interaction if interaction in mine else ""
    events = position.table(f"{chosen}{ends}") if chosen else cells.events
    names = tuple(events["event"].unique(maintain_order=True).to_list())
    within = not chosen or sides[chosen][1] == cells.population
    other = _neighbours(cells, Subject("", chosen))
    states = {} if other is None else states_of(other.objects)
    signals = tuple(signals_of(cells, Subject("", chosen)))
    return Offer(mine, names, signals, within, states, seen_in(events, signals))


def seen_in(events: pl.DataFrame, signals: Collection[str]) -> dict[str, str]:
    """Return for each event the first signal that its condition names, where it names one."""
    if "condition" not in events.columns:
        return {}
    found = {}
    rows = events.select("event", "condition").drop_nulls().unique(subset="event", keep="first", maintain_order=True)
    for event, condition in rows.iter_rows():
        named = [word for word in re.findall(r"\w+", condition) if word in signals]
        if named:
            found[event] = named[0]
    return found


def states_of(objects: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the columns that hold a state or a group of few values, with the values in order."""
    found = {}
    for name, kind in objects.schema.items():
        if kind == pl.Boolean or kind in {pl.String, pl.Categorical, pl.Enum}:
            values = tuple(sorted(str(v) for v in objects[name].drop_nulls().unique().to_list()))
            if 0 < len(values) <= len(STATE_COLOURS):
                found[name] = values
    return found


def events_of(cells: Cells, subject: Subject) -> pl.DataFrame:
    """Return ``key tracks class time_min confidence``, one row a cell or pair, of one event."""
    if subject.interaction:
        events = cells.position.table(f"{subject.interaction}_pair_events").filter(pl.col("event") == subject.event)
        tracks = cells.position.table(f"{subject.interaction}_pair_tracks")
        rows = events.join(tracks.select("pair_id", "reference_track_id", "neighbour_track_id"), on="pair_id")
        ids = pl.concat_list("reference_track_id", "neighbour_track_id")
        return rows.select(
            pl.col("pair_id").alias("key"), ids.alias("tracks"), "class", "time_min", "confidence"
        ).sort("key")  # fmt: skip
    found = cells.events.filter(pl.col("event") == subject.event).select(
        pl.col("track_id").alias("key"), pl.concat_list("track_id").alias("tracks"), "class", "time_min", "confidence"
    )
    # a track of which nothing was said yet can be said something of
    rest = cells.tracks.filter(~pl.col("track_id").is_in(found["key"].implode())).select(
        pl.col("track_id").alias("key"),
        pl.concat_list("track_id").alias("tracks"),
        pl.lit("", pl.String).alias("class"),
        pl.lit(None, pl.Float64).alias("time_min"),
        pl.lit(None, pl.Float64).alias("confidence"),
    )
    return pl.concat([found, rest], how="vertical_relaxed").sort("key")


def chosen_events(
    cells: Cells, subject: Subject, *, classes: Sequence[str] = EVENT_CLASSES, condition: str = "", order: str = "track"
) -> pl.DataFrame:
    """Return the events to look at, in order.

    Parameters
    ----------
    cells, subject : Cells, Subject
        Whose.
    classes : sequence of str
        Classes that are shown; ``""`` for tracks of which nothing was said.
    condition : str
        Further condition on the tracks, in the language of the library; empty for none.
    order : {"track", "confidence", "time"}
        The least certain, or the earliest, first.

    Raises
    ------
    ParameterError, TableError
        If the condition is refused.
    """
    rows = events_of(cells, subject).filter(pl.col("class").is_in(list(classes)))
    if condition.strip():
        query: Any = registry.parse("table", {"method": "query", "when": condition})
        kept = query.apply(cells.tracks)["track_id"].to_list()
        rows = rows.filter(pl.col("tracks").list.eval(pl.element().is_in(kept)).list.all())
    if order == "confidence":
        return rows.sort("confidence", "key", nulls_last=True)
    return rows.sort("time_min", "key", nulls_last=True) if order == "time" else rows


def signals_of(cells: Cells, subject: Subject) -> list[str]:
    """Return the columns that can be drawn over time."""
    table = pair_rows(cells.position, subject.interaction) if subject.interaction else cells.objects
    left_out = {"object_id", "frame", "label", "time_min", "track_id", "pair_id", "z_um"}
    left_out |= {"reference_id", "neighbour_id", "reference_track_id", "neighbour_track_id"}
    return [c for c, d in table.schema.items() if (d.is_numeric() or d == pl.Boolean) and c not in left_out]


def pair_rows(position: Position, interaction: str) -> pl.DataFrame:
    """Return the pairs of an interaction, one row a pair and frame."""
    return position.table(f"{interaction}_pairs")


def sides_of(position: Position, interaction: str) -> tuple[str, str]:
    """Return the populations of reference and neighbour."""
    record = position.records.get("interaction", interaction)
    method: dict[str, Any] = {} if record is None else record.method
    return str(method.get("reference", "")), str(method.get("neighbour", ""))


def make_tiles(cells: Cells, subject: Subject, rows: pl.DataFrame, *, side_px: int = 48) -> list[Tile]:
    """Return the tiles of some events, with their crops; every frame of the movie is read once.

    Parameters
    ----------
    cells : Cells
        Whose; for pairs those of the reference.
    subject : Subject
        What is shown.
    rows : polars.DataFrame
        As `chosen_events` gives them.
    side_px : int
        Width of a crop in pixels of the movie.
    """
    pairs = pair_rows(cells.position, subject.interaction) if subject.interaction else None
    tiles = []
    for row in rows.iter_rows(named=True):
        own = cells.objects.filter(pl.col("track_id") == row["tracks"][0]).sort("frame")
        if own.is_empty():
            continue
        source = own if pairs is None else pairs.filter(pl.col("pair_id") == row["key"]).sort("frame")
        known = source.select("time_min", subject.signal).drop_nulls() if subject.signal in source.columns else None
        at = row["time_min"]
        times = own["time_min"].to_numpy()
        near = int(np.abs(times - at).argmin()) if at is not None else len(times) // 2
        here = own.row(near, named=True)
        name = "track" if len(row["tracks"]) == 1 else "pair"
        sure = "" if row["confidence"] is None else f", {row['confidence']:.0%} sure"
        tiles.append(
            Tile(
                key=int(row["key"]),
                tracks=tuple(int(t) for t in row["tracks"]),
                title=f"{name} {' · '.join(str(t) for t in row['tracks'])}{sure}",
                event_class=row["class"],
                time_min=at,
                confidence=row["confidence"],
                times_min=np.zeros(0) if known is None else known["time_min"].cast(pl.Float64).to_numpy(),
                values=np.zeros(0) if known is None else known[subject.signal].cast(pl.Float64).to_numpy(),
                frame=int(here["frame"]),
                object_id=int(here["object_id"]),
                x_um=float(here["x_um"]),
                y_um=float(here["y_um"]),
            )
        )
    return _with_crops(cells, subject, tiles, side_px)


def _with_crops(cells: Cells, subject: Subject, tiles: list[Tile], side_px: int) -> list[Tile]:
    position = cells.position
    image = position.image_of(cells.population)
    if not subject.channel or subject.channel not in image.channels:
        return tiles
    wanted = {
        tile.key: [f for f in range(tile.frame - AROUND, tile.frame + AROUND + 1) if 0 <= f < position.n_frames]
        for tile in tiles
    }
    pairs = pair_rows(position, subject.interaction) if subject.interaction else None
    other = _neighbours(cells, subject)
    found: dict[tuple[int, int], RGB] = {}
    for frame in sorted({f for frames in wanted.values() for f in frames}):
        grey = _grey(image.frame(frame, subject.channel))
        masks = [None if c is None or c.labels is None else _flat(c.labels.frame(frame)) for c in (cells, other)]
        for tile in tiles:
            if frame in wanted[tile.key]:
                state = _partner_state(other, tile, frame, subject.partner)
                colour = _partner_colour(pairs, tile.key, frame) if state is None else state
                found[tile.key, frame] = _crop((grey, masks), (cells, other), tile, (frame, side_px, colour))
    out = []
    for tile in tiles:
        frames = wanted[tile.key]
        crops = np.stack([found[tile.key, f] for f in frames])
        out.append(Tile(**{**tile.__dict__, "frames": tuple(frames), "crops": crops}))
    return out


def _neighbours(cells: Cells, subject: Subject) -> Cells | None:
    """Return the cells of the neighbours of pairs."""
    from kinocyte.app.cells import load_cells

    if not subject.interaction:
        return None
    neighbour = sides_of(cells.position, subject.interaction)[1]
    return cells if neighbour == cells.population else load_cells(cells.position, neighbour)


def _flat(block: NDArray[Any]) -> NDArray[Any]:
    return block.max(axis=0) if block.ndim == 3 else block


def _grey(block: NDArray[Any]) -> NDArray[np.uint8]:
    flat = _flat(block).astype(np.float32)
    low, high = np.percentile(flat[::4, ::4] if flat.size > 250_000 else flat, (1.0, 99.8))
    scaled = (flat - low) / (high - low if high > low else 1.0)
    return np.asarray((np.nan_to_num(scaled).clip(0, 1) * 255).astype(np.uint8))


def _partner_state(other: Cells | None, tile: Tile, frame: int, column: str) -> tuple[int, int, int] | None:
    """Return the colour of the state of the neighbour in a frame; None where the distance is asked for."""
    if other is None or not column or column not in other.objects.columns or len(tile.tracks) < 2:
        return None
    values = states_of(other.objects).get(column, ())
    here = other.frame(frame).filter(pl.col("track_id") == tile.tracks[1])[column].drop_nulls()
    if not here.len() or str(here[0]) not in values:
        return _UNKNOWN
    colour = STATE_COLOURS[values.index(str(here[0]))]
    return (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))


def _partner_colour(pairs: pl.DataFrame | None, pair: int, frame: int) -> tuple[int, int, int]:
    """Return the colour of the neighbour by its distance: yellow where near, blue where far (viridis)."""
    from matplotlib import colormaps

    if pairs is None:
        return (255, 255, 255)
    own = pairs.filter(pl.col("pair_id") == pair)
    here = own.filter(pl.col("frame") == frame)["distance_um"].drop_nulls()
    every = own["distance_um"].drop_nulls()
    if not here.len():
        return _UNKNOWN
    low, high = float(every.min() or 0.0), float(every.max() or 1.0)  # type: ignore[arg-type]  # of floats
    part = 1.0 - (float(here[0]) - low) / (high - low) if high > low else 1.0
    red, green, blue, _ = colormaps["viridis"](part)
    return (round(255 * red), round(255 * green), round(255 * blue))


def _crop(
    picture: tuple[NDArray[np.uint8], list[NDArray[Any] | None]],
    who: tuple[Cells, Cells | None],
    tile: Tile,
    how: tuple[int, int, tuple[int, int, int]],
) -> RGB:
    """Return the surroundings of a cell in one frame with its outline, and that of its partner."""
    grey, masks = picture
    frame, side, colour = how
    scale = who[0].position.scale
    own = who[0].frame(frame).filter(pl.col("track_id") == tile.tracks[0])
    x_um, y_um = (own["x_um"][0], own["y_um"][0]) if own.height else (tile.x_um, tile.y_um)
    x0, y0 = round(x_um / scale.x_um) - side // 2, round(y_um / scale.y_um) - side // 2
    out = np.repeat(_window(grey, y0, x0, side)[..., None], 3, axis=2)
    ids = [tile.tracks[0], tile.tracks[1] if len(tile.tracks) > 1 else None]
    for cells, mask, track, ink in zip(who, masks, ids, (_OWN, colour), strict=True):
        if cells is None or mask is None or track is None:
            continue
        rows = cells.frame(frame).filter(pl.col("track_id") == track)
        for label in rows["label"].to_list():
            out[_outline(_window(mask, y0, x0, side) == label)] = ink
    return out


def _window(image: NDArray[Any], y0: int, x0: int, side: int) -> NDArray[Any]:
    """Return a square of an image, 0 beyond its border."""
    out = np.zeros((side, side), image.dtype)
    ys, xs = slice(max(y0, 0), max(y0 + side, 0)), slice(max(x0, 0), max(x0 + side, 0))
    part = image[ys, xs]
    out[ys.start - y0 : ys.start - y0 + part.shape[0], xs.start - x0 : xs.start - x0 + part.shape[1]] = part
    return out


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return np.asarray(mask & ~inner)


def strip(crops: Any, middle: int) -> Any:
    """Return crops side by side, each twice as large, the one of the event framed."""
    pieces = []
    for number, crop in enumerate(crops):
        large = crop if crop.shape[0] > 64 else crop.copy()
        if number == middle:
            for edge in (large[:1], large[-1:], large[:, :1], large[:, -1:]):
                edge[...] = (213, 94, 0)
        pieces += [large, np.full((large.shape[0], 2, 3), 40, np.uint8)]
    return np.ascontiguousarray(np.concatenate(pieces[:-1], axis=1))
