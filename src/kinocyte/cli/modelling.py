"""`kinocyte model`: the models of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from kinocyte.cli.console import out as console
from kinocyte.cli.console import table
from kinocyte.core.errors import KinocyteError, ParameterError

if TYPE_CHECKING:
    from kinocyte.learning.signals.model import SignalModel

#: letters of a card that are shown; authors of packages write what they like
_LONGEST = 3000

app = App(name="model", help="List, install, check and export trained models.")


@app.command(name="list")
def list_models() -> int:
    """List the models that come with Kinocyte and those that were installed."""
    from kinocyte.learning import zoo

    rows: list[tuple[str, str, str, str, str]] = []
    ours = zoo.shipped()
    for name, path in sorted(zoo.every().items()):
        where = "comes with Kinocyte" if ours.get(name) == path else "installed"
        try:
            model = zoo.load(path, checked=False)
            channels = ", ".join(c.name for c in model.inputs)
            rows.append((name, model.task.name(), model.axes, channels, where))
        except KinocyteError as error:
            rows.append((name, "broken", "", "", str(error)))
    rows += [(name, "events", "t", ", ".join(model.signals), "comes with Kinocyte") for name, model in _event_models()]
    table("Models", ["name", "for", "axes", "channels", "where"], rows)
    console.print(f"Installed models are in {zoo.folder()}.", markup=False, soft_wrap=True)
    return 0


@app.command
def info(model: str, /) -> int:
    """Show what a model reads and gives, how good it is, and where its limits are.

    Parameters
    ----------
    model : str
        Name, or path of a package.
    """
    from kinocyte.learning import zoo

    events = _of_events(model)
    if events is not None:
        table(f"Model {model}", ["what", "value"], _told_of_events(events))
        return 0
    path = zoo.find(model)
    found = zoo.load(path, checked=False)
    rows: list[tuple[str, Any]] = [
        ("name", found.name), ("place", str(path)), ("for", found.task.name()), ("axes", found.axes),
        ("reads", "; ".join(f"{c.name} ({_scaled(c.normalisation)})" for c in found.inputs)),
        ("gives", f"{found.task.result}: {', '.join(c.name for c in found.targets)}"),
        ("pixel size (um)", "any" if found.pixel_um is None else " x ".join(f"{s:g}" for s in found.pixel_um)),
        ("settings", ", ".join(f"{k} = {v:g}" for k, v in {**found.task.untuned, **found.settings}.items())),
        ("parameters", int(sum(a.size for a in found.weights.values())) or "not counted"),
        ("used by", _used_by(found)),
    ]  # fmt: skip
    told = {key: value for key, value in found.card.items() if key not in {"name", "training"}}
    rows += [(str(key), _plain(value)) for key, value in told.items() if _plain(value)]
    rows += _history(found.card.get("training"))
    table(f"Model {model}", ["what", "value"], rows)
    return 0


def _event_models() -> list[tuple[str, SignalModel]]:
    """Return the models of events that come with Kinocyte."""
    from kinocyte.events._deep import shipped

    found = [(name, _of_events(str(path))) for name, path in sorted(shipped().items())]
    return [(name, model) for name, model in found if model is not None]


def _of_events(model: str) -> SignalModel | None:
    """Return a model of events, checked by its own test signals; None where it is for images, or nothing is there."""
    from kinocyte.events._deep import opened, shipped
    from kinocyte.learning.package import read_package

    path = Path(model).expanduser()
    path = path if path.exists() else shipped().get(model, path)
    if not path.is_file() and not any((path / n).is_file() for n in ("rdf.yaml", "bioimageio.yaml")):
        return None
    try:
        config = read_package(path).rdf.get("config", {})
    except KinocyteError:
        return None  # refused by whoever asks for a model of images
    ours = config.get("kinocyte") if isinstance(config, dict) else None
    return opened(str(path)) if isinstance(ours, dict) and ours.get("task") == "events" else None


def _told_of_events(model: SignalModel) -> list[tuple[str, str]]:
    """Return what a model of events reads, how good it is, and where its limits are."""
    held_out = model.card.get("held_out", {})
    scores = {k: f"{v:.3g}" for k, v in held_out.items() if isinstance(v, int | float)}
    left = {"name", "training", "losses", "best_epoch", "held_out"}
    rows = [("for", "events"), ("reads", ", ".join(model.signals))]
    rows += [(str(k), _plain(v)) for k, v in model.card.items() if k not in left and _plain(v)]
    rows += [("on held-out movies", _plain(scores) + " (times in frames)")] if scores else []
    return [*rows, ("used by", "event 'deep', kinocyte events deep")]


def _history(record: Any) -> list[tuple[str, str]]:
    """Return how a model was trained and how well it did on held-out images, in words."""
    if not isinstance(record, dict) or "settings" not in record:
        return []
    from kinocyte.learning._image_card import training_lines

    lines = [line.removeprefix("- ") for line in training_lines(record)]
    scores = [f"{name} {value:.3g}" for name, value in record.get("held_out", {}).items() if isinstance(value, float)]
    return [("training", "\n".join(lines)), *([("on held-out images", ", ".join(scores))] if scores else [])]


def _used_by(model: Any) -> str:
    from kinocyte.learning.staining import VirtualStain
    from kinocyte.restoration.deep import Deep
    from kinocyte.segmentation.flows import Flows
    from kinocyte.segmentation.semantic import Semantic
    from kinocyte.segmentation.stardist import StarDist

    methods = [k(model=model.name) for k in (StarDist, Flows, Semantic, Deep, VirtualStain)]
    names = [f"{m.kind} '{m.name()}'" for m in methods if m.misfit(model) is None]
    return ", ".join([*names, "kinocyte predict"])


def _scaled(n: Any) -> str:
    if n.method == "none":
        return "grey values as they are, or as its package says"
    return f"{n.method} {n.low:g} to {n.high:g}"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return _whole("; ".join(f"{k}: {_plain(v)}" for k, v in value.items()))
    if isinstance(value, (list, tuple)):
        return _whole("; ".join(_plain(v) for v in value))
    return f"{value:.4g}" if isinstance(value, float) else _whole(str(value))


def _whole(text: str) -> str:
    """Return a text; of one longer than a page its first words."""
    return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition(" ")[0] + " .."


@app.command
def install(
    source: Path,
    /,
    *,
    name: str | None = None,
    kind: Literal["auto", "package", "stardist", "cellpose", "starshape"] = "auto",
    diameter_um: Annotated[float | None, Parameter(name="--diameter-um")] = None,
    pixel_um: Annotated[float | None, Parameter(name="--pixel-um")] = None,
) -> int:
    """Install a model, so that pipelines may name it.

    Takes BioImage.IO packages (ours, or of other programs with TorchScript or ONNX), folders of trained models of
    StarDist on Keras (config.json and weights_best.h5), weights of Cellpose 2 and 3, and of starshape. A package is
    looked through before it is unpacked, nothing in it is run that could do more than compute, and pickles are refused.

    Parameters
    ----------
    source : Path
        File or folder; of the folder of a training its model.
    name : str
        Name to give it; left out: its own.
    kind : str
        What the file is; found out when left out.
    diameter_um : float
        Cellpose: usual diameter of the objects in the images it will be used on.
    pixel_um : float
        Size of the pixels that the model was trained at, where it does not say so; images of others are rescaled.
    """
    from kinocyte.learning import zoo
    from kinocyte.learning.devices import need_torch

    need_torch("kinocyte model install")
    if not source.exists():
        msg = f"There is no file or folder {source}."
        raise ParameterError(msg)
    from kinocyte.learning.foreign import convert

    found = convert.kind_of(source) if kind == "auto" else kind
    if found == "package":
        if diameter_um is not None or pixel_um is not None:
            msg = "--diameter-um and --pixel-um are for models of other programs; a package says its own pixel size."
            raise ParameterError(msg)
        target = zoo.install(source, name)
    else:
        called = zoo.checked_name(name or convert.name_of(source))
        target = zoo.folder() / called
        convert.converted(source, found, name=called, diameter_um=diameter_um, pixel_um=pixel_um).save(target)
    console.print(f"The model '{target.name}' is installed in {target}.", markup=False, soft_wrap=True)
    return 0


@app.command
def export(model: str, /, *, out: Annotated[Path, Parameter(name="--out")]) -> int:
    """Write a model as a BioImage.IO package to share, with TorchScript and ONNX for other programs.

    Parameters
    ----------
    model : str
        Name, or path of a package.
    out : Path
        Folder or .zip to write; it must not exist yet.
    """
    from kinocyte.learning import zoo
    from kinocyte.learning.model import load_image_model
    from kinocyte.learning.package import read_package, write_package

    path = zoo.find(model)
    found = load_image_model(model)
    if found.weights:
        found.save(out)
    else:  # of another program: as it came
        package = read_package(path)
        files = {n: c for n, c in package.files.items() if n not in {"rdf.yaml", "bioimageio.yaml"}}
        write_package(out, package.rdf, files)
    console.print(f"The model is in {out}.", markup=False, soft_wrap=True)
    return 0


@app.command(name="test")
def check(model: str, /) -> int:
    """Compute the test image, or the test signals, that a model comes with, and compare.

    Parameters
    ----------
    model : str
        Name, or path of a package.
    """
    from kinocyte.learning import zoo

    events = _of_events(model)
    name = zoo.load(zoo.find(model), checked=True).name if events is None else events.card.get("name", model)
    console.print(f"{name}: gives the test output that it comes with.", markup=False, soft_wrap=True)
    return 0


@app.command
def remove(name: str, /) -> int:
    """Remove an installed model.

    Parameters
    ----------
    name : str
        Its name in kinocyte model list.
    """
    from kinocyte.learning import zoo

    console.print(f"{zoo.remove(name)} is removed.", markup=False, soft_wrap=True)
    return 0
