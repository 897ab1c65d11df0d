"""``grounded-sam2 predict``: one image, looked at and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grounded_sam2.cli.options import (
    ConfigOption,
    MinConfidenceOption,
    OntologyOption,
    SetOption,
    chosen_config,
)

__all__ = ["predict"]


def predict(
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="Picture: a path or an http(s) URL.")
    ],
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt", metavar="CAPTION", help="Caption to look for; is its own class. Repeatable."
        ),
    ] = None,
    ontology: OntologyOption = None,
    config: ConfigOption = "default",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the annotated image here.")
    ] = None,
    min_confidence: MinConfidenceOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with masks, instead of a table.")
    ] = False,
    options: SetOption = None,
) -> None:
    """Find and outline things in one image.

    \b
    Example:
      grounded-sam2 predict scene.png --prompt "red circle" --prompt "blue square" \\
        --config demo --out annotated.png
    """
    from grounded_sam2.cli.tables import detections_json, print_detections
    from grounded_sam2.errors import ImageError
    from grounded_sam2.pipeline import GroundedSAM2
    from grounded_sam2.sources.image import load_image
    from grounded_sam2.visualization.annotated_image import annotate, image_format, save_image

    if prompt and ontology:
        raise typer.BadParameter("--prompt and --ontology both say what to look for; give one")
    if "://" not in image and not Path(image).is_file():
        raise typer.BadParameter(f"'{image}' is no file", param_hint="IMAGE")
    if out is not None:
        try:
            image_format(out)
        except ImageError as error:
            raise typer.BadParameter(str(error), param_hint="--out") from error
    model = GroundedSAM2(ontology, config=chosen_config(config, min_confidence, options))
    picture = load_image(image, config=model.config.images)
    detections = model.predict(picture, prompt or None)
    if out is not None:
        save_image(annotate(picture, detections), out)
    if as_json:
        print(detections_json(detections))
    else:
        print_detections(detections)
        if out is not None:
            print(f"annotated image: {out}")
