"""Weights of other programs as models of ours: StarDist on Keras, Cellpose 2 and 3, starshape."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from kinocyte.core.errors import InputFileError, MissingExtraError, ParameterError
from kinocyte.learning.data.normalisation import Normalisation
from kinocyte.learning.devices import need_torch
from kinocyte.learning.model import ImageModel, InputChannel
from kinocyte.learning.package import MOST_BYTES, MOST_FILES
from kinocyte.learning.tasks.base import Task

Arrays = dict[str, NDArray[Any]]
Kind = Literal["package", "stardist", "cellpose", "starshape"]

_CELLPOSE, _STARSHAPE = "downsample.down.res_down_0.proj.1.weight", "out_ray.conv.weight"
_LONGEST_CONFIG = 1_000_000


def kind_of(source: Path) -> Kind:
    """Return what a file or folder is.

    Raises
    ------
    InputFileError
        If it is none of what can be installed.
    """
    if source.is_dir():
        if (source / "config.json").is_file() and not (source / "rdf.yaml").is_file():
            return "stardist"
        return "package"
    if source.suffix in {".h5", ".hdf5"}:
        return "stardist"
    if source.suffix == ".zip":
        return "package"
    keys = read_state(source)
    if _CELLPOSE in keys:
        return "cellpose"
    if _STARSHAPE in keys:
        return "starshape"
    msg = f"{source} holds weights of no known network; install BioImage.IO packages, StarDist or Cellpose models."
    raise InputFileError(msg)


def name_of(source: Path) -> str:
    """Return a name for a model from that of its file or folder."""
    import re

    stem = source.parent.name if source.suffix in {".h5", ".hdf5"} else source.stem if source.is_file() else source.name
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", stem).strip("-._+")[:64] or "model"


def converted(
    source: Path, kind: str, *, name: str, diameter_um: float | None = None, pixel_um: float | None = None
) -> ImageModel:
    """Return the weights of another program as a model.

    Parameters
    ----------
    source : Path
        Folder or file.
    kind : {"stardist", "cellpose", "starshape"}
        What it is.
    name : str
        Name of the model.
    diameter_um : float, optional
        Cellpose: usual diameter of objects; images are then scaled so that it is what the network was trained on.
    pixel_um : float, optional
        Pixel size of the training images.

    Raises
    ------
    InputFileError
        If it is not what it is said to be, or could run code.
    ParameterError
        If a diameter is given for a model that was not trained at one.
    MissingExtraError
        If h5py is needed and not installed.
    """
    if diameter_um is not None and kind != "cellpose":
        msg = f"--diameter-um is for Cellpose models; {source} is a {kind} model: give --pixel-um, or nothing."
        raise ParameterError(msg)
    size = None if pixel_um is None else (pixel_um, pixel_um)
    if kind == "stardist":
        return _stardist(source, name, size)
    state = read_state(source)
    return (
        _cellpose(source, state, name, size, diameter_um)
        if kind == "cellpose"
        else _starshape(source, state, name, size)
    )


def read_state(path: Path) -> Arrays:
    """Return the tensors of a state dict of torch by name; a file that holds anything else is refused.

    Raises
    ------
    InputFileError
        If it cannot be read as numbers alone, is too large, or holds values that are no numbers.
    """
    torch = need_torch("Reading weights of torch")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _refused(path, f"it is larger than {MOST_BYTES // 1024**2} MiB")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
            if len(entries) > 10 * MOST_FILES or sum(e.file_size for e in entries) > MOST_BYTES:
                raise _refused(path, "it would unpack to far more than weights are")
        with warnings.catch_warnings():  # of torch about its own format
            warnings.simplefilter("ignore")
            found = torch.load(path, weights_only=True, map_location="cpu")
    except InputFileError:
        raise
    except Exception as error:  # whatever a broken or hostile file makes the reader raise
        raise _refused(path, "it holds more than numbers, or is no file of torch") from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not found or not all(torch.is_tensor(t) for t in found.values()):
        raise _refused(path, "it holds no state dict")
    arrays = {str(n).removeprefix("module."): t.detach().cpu().numpy() for n, t in found.items()}
    if not all(np.isfinite(a).all() for a in arrays.values()):
        raise _refused(path, "it holds weights that are no numbers")
    return arrays


def _refused(path: Path, why: str) -> InputFileError:
    return InputFileError(f"{path} is not read as weights: {why}; get it again from its maker.")


def _made(
    source: Path, name: str, task: Task, channels: tuple[str, ...], weights: Mapping[str, NDArray[Any]], *,
    size: tuple[float, ...] | None, high: float, settings: Mapping[str, float], card: Mapping[str, Any],
) -> ImageModel:  # fmt: skip
    scaled = Normalisation(low=1.0, high=high)
    model = ImageModel(
        name, task, tuple(InputChannel(name=c, normalisation=scaled) for c in channels), (InputChannel(name="labels"),),
        "yx", size, dict(weights), dict(settings), {"license": "that of the original weights", **card},
    )  # fmt: skip
    try:
        model.network()
    except ParameterError as error:
        msg = f"The weights in {source} are not those of the network that they are said to be for; get them again."
        raise InputFileError(msg) from error
    return model


def _starshape(source: Path, state: Arrays, name: str, size: tuple[float, ...] | None) -> ImageModel:
    from kinocyte.learning.foreign.tasks import Starshape

    if _STARSHAPE not in state or "inc.conv.conv.0.weight" not in state:
        raise _refused(source, "it is no model of starshape")
    n_inputs = state["inc.conv.conv.0.weight"].shape[1]
    task = Starshape(n_rays=len(state[_STARSHAPE]))
    return _made(
        source, name, task, _names(n_inputs, "nuclei"), state, size=size, high=99.8, settings={},
        card={"description": "Weights of starshape, a StarDist network on torch.", "cite": [*task.references]},
    )  # fmt: skip


def _names(n: int, first: str) -> tuple[str, ...]:
    return (first, *(f"channel_{i}" for i in range(1, n)))


def _cellpose(
    source: Path, state: Arrays, name: str, size: tuple[float, ...] | None, diameter_um: float | None
) -> ImageModel:
    from kinocyte.learning.foreign.tasks import Cellpose

    n_scales = sum(1 for k in state if k.startswith("downsample.down.") and k.endswith(".proj.1.weight"))
    if _CELLPOSE not in state or not 1 < n_scales <= 8:
        raise _refused(source, "it is no model of Cellpose 2 or 3")
    scales = [state[f"downsample.down.res_down_{i}.proj.1.weight"].shape for i in range(n_scales)]
    if any(len(s) != 4 for s in scales):
        raise _refused(source, "it is a Cellpose network for volumes, which is not read")
    state = {"diam_mean": np.full(1, 30, np.float32), "diam_labels": np.full(1, 30, np.float32), **state}
    trained_px = float(state["diam_mean"].reshape(-1)[0])
    if diameter_um is not None:
        if size is not None or not 0 < diameter_um < 1e4:
            msg = f"--diameter-um is {diameter_um:g}; give a positive diameter, and no --pixel-um beside it."
            raise ParameterError(msg)
        size = (diameter_um / trained_px,) * 2
    task = Cellpose(widths=(scales[0][1], *(s[0] for s in scales)))
    card = {
        "description": f"A Cellpose model, trained on objects of a diameter of {trained_px:g} pixels.",
        "cite": [*task.references],
    }
    return _made(source, name, task, ("cells",), state, size=size, high=99.0, settings={}, card=card)


def _stardist(source: Path, name: str, size: tuple[float, ...] | None) -> ImageModel:
    """Return a StarDist model: a folder with config.json, weights_best.h5 and perhaps thresholds.json."""
    from kinocyte.learning.foreign.tasks import KerasStarDist

    folder = source if source.is_dir() else source.parent
    weights = source if source.is_file() else folder / "weights_best.h5"
    if not weights.is_file():
        weights = next(iter(sorted(folder.glob("*.h5"))), weights)
    config = _json(folder / "config.json")
    _check_config(config, folder)
    try:
        task = KerasStarDist(
            n_rays=config["n_rays"], grid=config["grid"][0], depth=config["unet_n_depth"],
            width=config["unet_n_filter_base"], last_width=config["net_conv_after_unet"],
            kernel=config["unet_kernel_size"][0], convolutions=config["unet_n_conv_per_depth"],
            activation=config["unet_activation"],
            last_activation=config.get("unet_last_activation") or config["unet_activation"],
        )  # fmt: skip
        n_inputs = int(config["n_channel_in"])
    except (KeyError, TypeError, IndexError, ValueError, ValidationError) as error:
        msg = f"{folder / 'config.json'} is no configuration of StarDist that can be read: {error!r}."
        raise InputFileError(msg) from error
    state = _layers(weights, task.build(n_inputs, 1, 2).state_dict(), str(config.get("unet_prefix") or ""))
    known = _json(folder / "thresholds.json") if (folder / "thresholds.json").is_file() else {}
    settings = {
        ours: float(known[theirs])
        for ours, theirs in (("probability_threshold", "prob"), ("overlap_threshold", "nms"))
        if isinstance(known.get(theirs), (int, float))
    }
    card = {"description": "A StarDist model that was trained with TensorFlow.", "cite": [*task.references]}
    return _made(
        source, name, task, _names(n_inputs, "image"), state, size=size, high=99.8, settings=settings, card=card
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
        found = json.loads(text) if len(text) < _LONGEST_CONFIG else None
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} cannot be read; a StarDist model is a folder with config.json and weights_best.h5."
        raise InputFileError(msg) from error
    if not isinstance(found, dict):
        msg = f"{path} is no table of settings; get the model again."
        raise InputFileError(msg)
    return found


def _check_config(config: Mapping[str, Any], folder: Path) -> None:
    """Refuse configurations whose network is another one."""
    odd = {
        "n_dim": config.get("n_dim", 2) != 2,
        "backbone": config.get("backbone", "unet") != "unet",
        "unet_batch_norm": bool(config.get("unet_batch_norm")),
        "unet_pool": any(p != 2 for p in config.get("unet_pool") or ()),
        "unet_kernel_size": len(set(config.get("unet_kernel_size") or ())) > 1,
        "grid": len(set(config.get("grid") or ())) > 1,
    }
    wrong = [name for name, is_odd in odd.items() if is_odd]
    if wrong:
        msg = f"The StarDist model {folder} has {wrong[0]} = {config.get(wrong[0])!r}, which is not read."
        raise InputFileError(msg)


def _layers(path: Path, wanted: Mapping[str, Any], prefix: str) -> Arrays:
    """Return the weights of a Keras file by the names of our network."""
    try:
        import h5py
    except ImportError as error:
        msg = "Reading weights of Keras needs h5py, which is not installed; install it with: pip install h5py"
        raise MissingExtraError(msg) from error
    try:
        with h5py.File(path, "r") as file:
            found = _arrays(file, path)
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, InputFileError):
            raise
        raise _refused(path, f"it is no file of Keras ({' '.join(str(error).split())[:120]})") from error
    state: Arrays = {}
    stem = 0
    for layer, (kernel, bias) in found.items():
        own = layer.removeprefix(prefix)
        if f"layers.{own}.weight" not in wanted:
            if "class" in own or f"layers.stem_{stem}.weight" not in wanted:
                continue
            own, stem = f"stem_{stem}", stem + 1
        state[f"layers.{own}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), np.float32)
        state[f"layers.{own}.bias"] = bias.astype(np.float32)
    if not all(np.isfinite(a).all() for a in state.values()):
        raise _refused(path, "it holds weights that are no numbers")
    return state


def _arrays(file: Any, path: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Return kernel and bias of each layer in order; links to other files are not followed."""
    import h5py

    root = file.get("model_weights", file)
    total, found = 0, {}
    for name in (_text(n) for n in root.attrs["layer_names"]):
        names = [_text(n) for n in root[name].attrs["weight_names"]]
        pair = []
        for inside in names:
            at = root
            for part in (*name.split("/"), *inside.split("/")):
                link = at.get(part, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise _refused(path, f"it links '{part}' to another place")
                at = at[part]
            if not isinstance(at, h5py.Dataset) or at.is_virtual or at.external:
                raise _refused(path, f"'{inside}' is no plain array")
            total += at.nbytes
            if total > MOST_BYTES or at.dtype.kind != "f":
                raise _refused(path, f"'{inside}' is no weight")
            pair.append(at[...])
        if len(pair) == 2 and pair[0].ndim == 4 and pair[1].ndim == 1:
            found[name] = (pair[0], pair[1])
        elif pair:
            raise _refused(path, f"its layer '{name}' is no convolution of planes")
    return found


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
