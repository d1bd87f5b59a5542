"""`kinocyte classifier`: a pixel classifier trained from strokes, and its maps of probability."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from kinocyte.cli._options import Several
from kinocyte.cli.console import err
from kinocyte.cli.console import out as console
from kinocyte.cli.movie_writing import Files, Out, each
from kinocyte.core.errors import ParameterError, StoreError
from kinocyte.pipeline.plain.movies import FileOptions, PlainMovie, opened, refuse_existing
from kinocyte.pipeline.plain.writing import FrameProgress

app = App(name="classifier", help_format="plaintext", help="Train a pixel classifier from strokes, and apply it.")


@app.command
def train(
    *images: str,
    strokes: Annotated[tuple[Path, ...], Parameter(name="--strokes", consume_multiple=True)],
    out: Out,
    options: Files = FileOptions(),  # noqa: B008 - frozen
    classes: Several = ("background", "object"),
    use_channels: Several = (),
    trees: int = 100,
    sigmas_um: Annotated[tuple[float, ...] | None, Parameter(consume_multiple=True)] = None,
    seed: int = 0,
) -> int:
    """Train a classifier from strokes on some frames: which pixels belong to cells. Takes seconds.

    Parameters
    ----------
    images : str
        Files, each a movie or a single image.
    strokes : tuple of Path
        Images of the same size as the files, in which 0 means nothing drawn, 1 the first class, 2 the second; of the
        same names or in the same order. Or one table with the columns x_um y_um class (and image, frame).
    out : Path
        File of the classifier, ending in .npz; it must not exist yet.
    options : FileOptions
        What the files do not say.
    classes : tuple of str
        Names of the classes 1, 2, ..; the last one is what a pipeline takes for cells unless it says otherwise.
    use_channels : tuple of str
        Channels to learn from; all when left out.
    trees : int
        Number of trees.
    sigmas_um : tuple of float
        Scales of the features in micrometres; 0.7, 1.6, 3.5, 5 and 10 pixels when left out.
    seed : int
        Fixes the result.
    """
    from kinocyte.pipeline.plain.classifier import train as train_classifier

    if out.suffix.lower() != ".npz":
        msg = f"--out {out} must end in .npz."
        raise ParameterError(msg)
    if out.exists():
        msg = f"{out} exists already and is left as it is; name another file."
        raise StoreError(msg)
    begin = time.perf_counter()
    with opened(images, options) as movies:
        model, frames = train_classifier(
            movies, strokes, channels=use_channels, classes=classes, trees=trees, sigmas_um=sigmas_um, seed=seed
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)
    seconds = time.perf_counter() - begin
    told = f"{frames} frame{'s' if frames > 1 else ''} with strokes, {len(model.classes)} classes, {seconds:.1f} s"
    err.print(f"Trained on {told}.", markup=False, soft_wrap=True)
    console.print(f"The classifier is in {out}.", markup=False, soft_wrap=True)
    return 0


@app.command
def apply(
    *images: str,
    model: Path,
    out: Out,
    options: Files = FileOptions(),  # noqa: B008 - frozen
    object_class: str = "",
    probability: float = 0.5,
    use_channels: Several = (),
) -> int:
    """Write the probability of each class at each pixel, and the objects of one class as a label image.

    Parameters
    ----------
    images : str
        Files, each a movie or a single image.
    model : Path
        File of the classifier.
    out : Path
        Folder for NAME_probabilities.ome.tif and NAME_labels.ome.tif.
    options : FileOptions
        What the files do not say.
    object_class : str
        Class whose pixels make up the objects; the last one when left out.
    probability : float
        Pixels that are at least this likely belong to objects.
    use_channels : tuple of str
        Channels to read, in the order of those it was trained on; those of the same names when left out.
    """
    from kinocyte.pipeline.plain.classifier import write_maps
    from kinocyte.segmentation.pixel_classifier import PixelClassifier

    method = PixelClassifier(
        model=str(model), object_class=object_class, probability=probability, channel=tuple(use_channels)
    )
    with opened(images, options) as movies:
        method.rule()
        words = ("probabilities", "labels")
        refuse_existing(out, [f"{m.stem}_{w}.ome.tif" for m in movies for w in words])

        def work(movie: PlainMovie, progress: FrameProgress) -> str:
            return write_maps(movie, method, out, progress)

        return each(movies, "Classifying", work)
