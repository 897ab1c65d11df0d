"""``grounded-sam2 predict``: the objects of one image, printed and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grounded_sam2.cli.options import (
    ConfigOption,
    MinConfidenceOption,
    OntologyOption,
    SetOption,
    build_pipeline,
)

__all__ = ["predict"]


def predict(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Path or http(s) URL of an image.")],
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            metavar="CAPTION",
            help="Caption to detect; also its class. Repeatable.",
        ),
    ] = None,
    ontology: OntologyOption = None,
    config: ConfigOption = "default",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Annotated image to write."),
    ] = None,
    min_confidence: MinConfidenceOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with masks, instead of a table.")
    ] = False,
    settings: SetOption = None,
) -> None:
    """Detect and segment objects in one image.

    \b
    Example:
      grounded-sam2 predict scene.png --prompt "red circle" --prompt "blue square" \\
        --config demo --out annotated.png
    """
    from grounded_sam2.cli.tables import detections_json, print_detections
    from grounded_sam2.errors import ImageError
    from grounded_sam2.sources.image import load_image
    from grounded_sam2.visualization.annotated_image import annotate, image_format, save_image

    if prompt and ontology:
        raise typer.BadParameter("--prompt and --ontology both give captions; give one of them")
    if "://" not in image and not Path(image).is_file():
        raise typer.BadParameter(f"'{image}' is not a file", param_hint="IMAGE")
    if out is not None:
        try:
            image_format(out)
        except ImageError as error:
            raise typer.BadParameter(str(error), param_hint="--out") from error
    model = build_pipeline(ontology, config, min_confidence, settings)
    pixels = load_image(image, config=model.config.images)
    detections = model.predict(pixels, prompt or None)
    if out is not None:
        save_image(annotate(pixels, detections), out)
    if as_json:
        print(detections_json(detections))
    else:
        print_detections(detections)
        if out is not None:
            print(f"annotated image: {out}")
