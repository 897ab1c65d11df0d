"""The commands, one per file: each parses its options, calls the library and prints.

They import the library inside their functions, so that ``--help`` is fast.
"""

from __future__ import annotations

from typing import Annotated

import typer

from grounded_sam2.cli.commands.compare import compare
from grounded_sam2.cli.commands.demo import demo
from grounded_sam2.cli.commands.edit import edit
from grounded_sam2.cli.commands.export import export
from grounded_sam2.cli.commands.import_labels import import_labels
from grounded_sam2.cli.commands.info import info
from grounded_sam2.cli.commands.label import label
from grounded_sam2.cli.commands.merge import merge
from grounded_sam2.cli.commands.models import models
from grounded_sam2.cli.commands.predict import predict
from grounded_sam2.cli.commands.report import report
from grounded_sam2.cli.commands.track import track

__all__ = ["app"]

# Plain help, not rich panels: examples can be copied out of it, and it needs no import of rich.
app = typer.Typer(
    name="grounded-sam2", rich_markup_mode=None, add_completion=False, no_args_is_help=False
)


def _print_version(requested: bool) -> None:
    if requested:
        from grounded_sam2 import __version__

        print(f"grounded-sam2 {__version__}")
        raise typer.Exit


@app.callback()
def _grounded_sam2(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Labeled segmentation datasets from images, videos and captions.

    Florence-2 detects what your captions name, SAM 2 segments it and tracks it through videos, and
    the result is a dataset in the format that you need.

    \b
    Examples:
      grounded-sam2 demo --out demo
      grounded-sam2 label images/ --ontology ontology.yaml --out labeled
    """


# In the order in which users need them, which is the order of the help.
app.command("demo")(demo)
app.command("predict")(predict)
app.command("label")(label)
app.command("track")(track)
app.command("edit")(edit)
app.command("import")(import_labels)
app.command("export")(export)
app.command("report")(report)
app.command("info")(info)
app.command("models")(models)
app.command("compare")(compare)
app.command("merge")(merge)
