"""The `kinocyte` command: one file a verb group, each imported when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import cyclopts
from cyclopts import App, Parameter
from pydantic import ValidationError

from kinocyte.cli._help import JoinedLines
from kinocyte.core.errors import KinocyteError
from kinocyte.core.version import __version__

app = App(
    name="kinocyte",
    version=__version__,
    help="Live-cell movies of a whole experiment in; what every cell did, when, and what differs, out.",
    result_action="return_value",
    help_format="plaintext",
    help_formatter=JoinedLines(),
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative_iterable=()),
)
app.command("kinocyte.cli.demo:demo", help="Run the whole analysis on a small real movie that comes with Kinocyte.")
app.command("kinocyte.cli.applying:show_app", name="app", help="Open the application: see, tune and run every step.")
app.command("kinocyte.cli.importing:import_movies", name="import", help="Bring movies into an experiment.")
app.command("kinocyte.cli.running:run_pipeline", name="run", help="Run a pipeline file on an experiment.")
app.command("kinocyte.cli.status:show_status", name="status", help="Show what is done, what is left, what failed.")
app.command("kinocyte.cli.tidying:tidy_experiment", name="tidy", help="Remove what killed programs left.")
app.command("kinocyte.cli.editing:edits", help="List what people corrected and what became of it; take it back.")
app.command("kinocyte.cli.reporting:report", help="Write the report page of an experiment.")
app.command("kinocyte.cli.exporting:export", help="Write tables and labels for other programs.")
app.command("kinocyte.cli.tracking:app", name="track", help="Track plain movie files: tables, XML, labels, movie each.")
app.command("kinocyte.cli.sweeping:sweep", help="Search the parameters that fit a movie best.")
app.command("kinocyte.cli.linking:app", name="link", help="Link objects that were found elsewhere into tracks.")
app.command("kinocyte.cli.converting:app", name="convert", help="Turn tracks of one program into another's.")
app.command("kinocyte.cli.classifying:app", name="classifier", help="Train a pixel classifier from strokes; apply it.")
app.command("kinocyte.cli.drifting:app", name="drift", help="Hold movies still: estimate their drift, undo it.")
app.command("kinocyte.cli.channel_aligning:app", name="channels", help="Lay channels on each other, as beads show.")
app.command("kinocyte.cli.evaluating:app", name="evaluate", help="Score tracking or segmentation against the truth.")
app.command("kinocyte.cli.simulating:simulate", help="Write a simulated assay whose answer is known.")
app.command("kinocyte.cli.events:app", name="events", help="Find events of tracks in any CSV or Parquet.")
app.command("kinocyte.cli.statistics:app", name="statistics", help="Compare groups of cells in any CSV or Parquet.")
app.command(
    "kinocyte.cli.data_checking:app", name="data", help="Check images and targets before training; rank frames."
)
app.command("kinocyte.cli.training:train", help="Train a model from annotations, as a training file says.")
app.command("kinocyte.cli.notebook:notebook", help="Write a notebook with forms for a task of deep learning.")
app.command("kinocyte.cli.predicting:predict", help="Apply a trained model to image files and movies.")
app.command("kinocyte.cli.modelling:app", name="model", help="List, install, check and export trained models.")
app.command("kinocyte.cli.schema:schema", help="Print the JSON schema of a pipeline file.")
app.command("kinocyte.cli.doctor:doctor", help="Say what is installed, what is missing, and how to mend it.")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process: 0 done, 1 something failed, 2 bad input, 130 interrupted."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    try:
        result = app(list(argv), exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        print(f"kinocyte: {_refusal(error)}", file=sys.stderr)  # noqa: T201 - what a person must read
        return 2
    except KinocyteError as error:
        print(f"kinocyte: {error}", file=sys.stderr)  # noqa: T201 - what a person must read
        return 2
    except KeyboardInterrupt:
        print("kinocyte: stopped; the same command goes on from here.", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:  # the reader of our output has left, as in `kinocyte status | head`
        return 0
    return result if isinstance(result, int) else 0


def _refusal(error: cyclopts.CycloptsError) -> str:
    """Return one sentence for words of the command line that are not understood."""
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        place = " ".join(("kinocyte", *(error.command_chain or ())))
        return f"{' '.join(str(error).split())} See: {place} --help"
    found = []
    for item in cause.errors(include_url=False):
        option = "--" + "-".join(str(p) for p in item["loc"]).replace("_", "-")
        found.append(f"{option} = {item.get('input')} is refused: {item['msg'].removeprefix('Value error, ')}")
    return "; ".join(found) + "."
