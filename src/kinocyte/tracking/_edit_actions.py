"""What each correction does; each looks at everything it needs before it changes anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from kinocyte.tracking._edit_masks import Masks, Pixels
from kinocyte.tracking._edit_sheet import Conflict, Sheet, TrackEdit
from kinocyte.tracking._edit_state import Spot

Payload = Mapping[str, Any]


def _add_object(sheet: Sheet, payload: Payload) -> None:
    frame, shape = int(payload["frame"]), payload["shape"]
    if sheet.masks is None:
        if "x_um" not in shape:
            msg = "there is no label image that the outline could be drawn on"
            raise Conflict(msg)
        place = (float(shape["x_um"]), float(shape["y_um"]), float(shape.get("z_um") or 0.0))
        sheet.cells.put(Spot(sheet.next_id(), frame, 0, *place))
        return
    pixels = _drawn(sheet.masks, frame, shape)
    pixels = pixels[sheet.masks.frame(frame).ravel()[pixels] == 0]
    if not len(pixels):
        msg = f"other objects or the edge of the image leave no pixel for the new object in frame {frame}"
        raise Conflict(msg)
    label = sheet.free_label(frame)
    sheet.cells.put(Spot(sheet.next_id(), frame, label, *sheet.masks.centre_um(frame, pixels)))
    sheet.masks.paint(frame, pixels, label)


def _drawn(masks: Masks, frame: int, shape: Payload) -> Pixels:
    pixels = masks.shape_pixels(frame, shape)
    extent = masks.frame(frame).shape
    if pixels is None:
        drawn_on = " x ".join(str(n) for n in shape["shape"])
        msg = f"the pixels were painted on frames of {drawn_on}, and these have {' x '.join(str(n) for n in extent)}"
        raise Conflict(msg)
    if len(pixels) and not 0 <= pixels[0] <= pixels[-1] < np.prod(extent):
        msg = f"the pixels lie outside frame {frame}"
        raise Conflict(msg)
    return pixels


def _remove_object(sheet: Sheet, payload: Payload) -> None:
    sheet.remove(sheet.find(payload["object"]))


def _move_object(sheet: Sheet, payload: Payload) -> None:
    spot = sheet.find(payload["object"])
    goal = np.array([payload["x_um"], payload["y_um"], payload.get("z_um") or 0.0], dtype=np.float64)
    if sheet.masks is None or not spot.label:
        sheet.cells.put(Spot(spot.object_id, spot.frame, spot.label, *(float(v) for v in goal)))
        return
    own = sheet.masks.pixels_of(spot.frame, spot.label)
    new = sheet.masks.moved(spot.frame, own, goal - spot.centre_um)
    under = sheet.masks.frame(spot.frame).ravel()[new]
    new = new[(under == 0) | (under == spot.label)]
    if not len(new):
        msg = f"object {spot.object_id} would have no pixel left where it should stand in frame {spot.frame}"
        raise Conflict(msg)
    sheet.masks.paint(spot.frame, own, 0)
    sheet.masks.paint(spot.frame, new, spot.label)
    sheet.place(spot.frame, spot.label)


def _merge_objects(sheet: Sheet, payload: Payload) -> None:
    first, *others = sheet.find_all(payload["objects"], one_frame=True)
    for other in others:
        before, after = sheet.links.predecessors(other.object_id), sheet.links.successors(other.object_id)
        pixels = None if sheet.masks is None else sheet.masks.pixels_of(other.frame, other.label)
        sheet.remove(other)
        for a in before:
            sheet.links.add(a, first.object_id)
        for b in after:
            sheet.links.add(first.object_id, b)
        if pixels is not None and first.label:
            sheet.paint(first.frame, pixels, first.label)
    if sheet.masks is None or not first.label:
        middle = np.mean([s.centre_um for s in (first, *others)], axis=0)
        sheet.cells.put(Spot(first.object_id, first.frame, first.label, *(float(v) for v in middle)))


def _split_object(sheet: Sheet, payload: Payload) -> None:
    spot = sheet.find(payload["object"])
    before, after = sheet.links.predecessors(spot.object_id), sheet.links.successors(spot.object_id)
    if sheet.masks is None or not spot.label:
        pieces = _split_points(sheet, spot, payload)
    else:
        pieces = _split_mask(sheet, spot, payload)
    sheet.links.detach(spot.object_id)
    for others, forward in ((before, False), (after, True)):
        for other in others:
            there = sheet.cells.get(other)
            if there is None:
                continue
            nearest = min(pieces, key=lambda p: (float(np.linalg.norm(p.centre_um - there.centre_um)), p.object_id))
            sheet.links.add(*((nearest.object_id, other) if forward else (other, nearest.object_id)))


def _split_points(sheet: Sheet, spot: Spot, payload: Payload) -> list[Spot]:
    if "seeds_um" not in payload:
        msg = f"object {spot.object_id} has no mask that the line could cut"
        raise Conflict(msg)
    seeds = _points(payload["seeds_um"])
    ids = [spot.object_id, *(sheet.next_id() for _ in seeds[1:])]
    pieces = [Spot(i, spot.frame, 0, *(float(v) for v in seed)) for i, seed in zip(ids, seeds, strict=True)]
    for piece in pieces:
        sheet.cells.put(piece)
    return pieces


def _split_mask(sheet: Sheet, spot: Spot, payload: Payload) -> list[Spot]:
    masks = sheet.masks
    if masks is None:
        msg = "a mask is split where there is none"
        raise LookupError(msg)
    pixels = masks.pixels_of(spot.frame, spot.label)
    places = masks.places_um(spot.frame, pixels)
    part = _side(places, payload["line_um"]) if "line_um" in payload else _closest(places, payload["seeds_um"])
    parts = [pixels[part == k] for k in range(int(part.max()) + 1)] if len(pixels) else []
    wanted = 2 if "line_um" in payload else len(payload["seeds_um"])
    if len(parts) < wanted or not all(len(p) for p in parts):
        msg = f"the cut leaves object {spot.object_id} in frame {spot.frame} whole"
        raise Conflict(msg)
    if "line_um" in payload:
        parts.sort(key=len, reverse=True)  # the larger part stays what it was
    free = sheet.free_label(spot.frame, len(parts) - 1)
    ids = [sheet.next_id() for _ in parts[1:]]
    for k, (object_id, piece) in enumerate(zip(ids, parts[1:], strict=True)):
        sheet.cells.put(Spot(object_id, spot.frame, free + k, *masks.centre_um(spot.frame, piece)))
        masks.paint(spot.frame, piece, free + k)
    sheet.place(spot.frame, spot.label)
    return [p for p in map(sheet.cells.get, (spot.object_id, *ids)) if p is not None]


def _points(points: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([[*p, 0.0][:3] for p in points], dtype=np.float64)


def _closest(places: np.ndarray[Any, Any], seeds: Any) -> np.ndarray[Any, Any]:
    centres = _points(seeds)
    return np.asarray(np.argmin(((places[:, None] - centres[None]) ** 2).sum(axis=2), axis=1))


def _side(places: np.ndarray[Any, Any], line: Any) -> np.ndarray[Any, Any]:
    (x0, y0), (x1, y1) = (p[:2] for p in line)
    return np.asarray((x1 - x0) * (places[:, 1] - y0) - (y1 - y0) * (places[:, 0] - x0) > 0, dtype=np.int64)


def _paint(sheet: Sheet, payload: Payload) -> None:
    if sheet.masks is None:
        msg = "there is no label image to paint on"
        raise Conflict(msg)
    spot = sheet.find(payload["object"]) if payload.get("object") else None
    if spot is not None and not spot.label:
        msg = f"object {spot.object_id} in frame {spot.frame} has no mask"
        raise Conflict(msg)
    frame = int(payload["frame"]) if spot is None else spot.frame
    pixels = _drawn(sheet.masks, frame, payload["shape"])
    sheet.paint(frame, pixels, 0 if spot is None else spot.label)


def _renumber(sheet: Sheet, payload: Payload) -> None:
    spot, label = sheet.find(payload["object"]), int(payload["label"])
    if sheet.masks is None or not spot.label:
        msg = f"object {spot.object_id} in frame {spot.frame} has no mask"
        raise Conflict(msg)
    if label == spot.label:
        return
    image = sheet.masks.frame(spot.frame)
    if label <= 0 or sheet.cells.with_label(spot.frame, label) is not None or (image == label).any():
        msg = f"the label {label} of frame {spot.frame} belongs to another object"
        raise Conflict(msg)
    own = sheet.masks.pixels_of(spot.frame, spot.label)
    sheet.masks.paint(spot.frame, own, label)
    sheet.cells.put(Spot(spot.object_id, spot.frame, label, spot.x_um, spot.y_um, spot.z_um))


def _set_object_class(sheet: Sheet, payload: Payload) -> None:
    found = []
    for reference in payload["objects"]:
        try:
            found.append(sheet.find(reference).object_id)
        except Conflict as conflict:
            sheet.notes.append(str(conflict))
    if not found:
        raise Conflict(sheet.notes[0])
    sheet.object_classes.append((str(payload["name"]), str(payload["value"]), found))


def _link(sheet: Sheet, payload: Payload) -> None:
    _chain(sheet, sheet.find_all([payload["source"], payload["target"]]))


def _link_chain(sheet: Sheet, payload: Payload) -> None:
    _chain(sheet, sheet.find_all(payload["objects"]))


def _chain(sheet: Sheet, spots: list[Spot]) -> None:
    _check_forward(spots)
    for a, b in pairwise(spots):
        for before in sheet.links.predecessors(b.object_id):
            if before != a.object_id:
                sheet.links.remove(before, b.object_id)
        for after in sheet.links.successors(a.object_id):
            if after != b.object_id:
                sheet.links.remove(a.object_id, after)
        sheet.links.add(a.object_id, b.object_id)


def _check_forward(spots: list[Spot]) -> None:
    for a, b in pairwise(spots):
        if b.frame <= a.frame:
            msg = f"the link from object {a.object_id} to object {b.object_id} would not run forward in time"
            raise Conflict(msg)


def _unlink(sheet: Sheet, payload: Payload) -> None:
    a, b = sheet.find_all([payload["source"], payload["target"]])
    if (a.object_id, b.object_id) not in sheet.links:
        sheet.notes.append(f"objects {a.object_id} and {b.object_id} are not linked, so there was nothing to do")
        return
    sheet.links.remove(a.object_id, b.object_id)


def _swap(sheet: Sheet, payload: Payload) -> None:
    a, b = sheet.find_all([payload["first"], payload["second"]], one_frame=True)
    before_a, before_b = sheet.links.predecessors(a.object_id), sheet.links.predecessors(b.object_id)
    if not before_a and not before_b:
        msg = f"neither object {a.object_id} nor object {b.object_id} has a link from an earlier frame"
        raise Conflict(msg)
    for spot, old, new in ((a, before_a, before_b), (b, before_b, before_a)):
        for other in old:
            sheet.links.remove(other, spot.object_id)
        for other in new:
            sheet.links.add(other, spot.object_id)


def _divide(sheet: Sheet, payload: Payload) -> None:
    mother, *daughters = sheet.find_all([payload["mother"], *payload["daughters"]])
    for daughter in daughters:
        _check_forward([mother, daughter])
    for after in sheet.links.successors(mother.object_id):
        sheet.links.remove(mother.object_id, after)
    for daughter in daughters:
        for before in sheet.links.predecessors(daughter.object_id):
            sheet.links.remove(before, daughter.object_id)
        sheet.links.add(mother.object_id, daughter.object_id)


def _say_of_track(action: str) -> Callable[[Sheet, Payload], None]:
    def say(sheet: Sheet, payload: Payload) -> None:
        found, missing = [], []
        for anchor in payload["track"]:
            try:
                found.append(sheet.find(anchor).object_id)
            except Conflict as conflict:
                missing.append(str(conflict))
        if not found:
            raise Conflict(missing[0])
        sheet.notes.extend(missing)
        sheet.track_edits.append(TrackEdit(sheet.number, action, found, payload))

    return say


def _say_of_tracks(sheet: Sheet, payload: Payload) -> None:
    found = []
    for anchors in payload["tracks"]:
        mine = []
        for anchor in anchors:
            try:
                mine.append(sheet.find(anchor).object_id)
            except Conflict as conflict:
                sheet.notes.append(str(conflict))
        if mine:
            found.append(mine)
    if not found:
        raise Conflict(sheet.notes[0])
    for mine in found:
        sheet.track_edits.append(TrackEdit(sheet.number, "set_track_class", mine, payload, n_tracks=len(found)))


ACTIONS: Mapping[str, Callable[[Sheet, Payload], None]] = MappingProxyType(
    {
        "add_object": _add_object,
        "remove_object": _remove_object,
        "move_object": _move_object,
        "merge_objects": _merge_objects,
        "split_object": _split_object,
        "paint": _paint,
        "renumber": _renumber,
        "set_object_class": _set_object_class,
        "link": _link,
        "link_chain": _link_chain,
        "unlink": _unlink,
        "swap": _swap,
        "divide": _divide,
        "set_track_class": _say_of_track("set_track_class"),
        "set_track_classes": _say_of_tracks,
        "set_event": _say_of_track("set_event"),
    }
)
