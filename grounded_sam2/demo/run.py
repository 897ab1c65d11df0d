"""The demo: label synthetic scenes with the embedded models and compare with the truth.

    demo/
      images/              the images
      ground_truth.json    what is in them (COCO)
      labels.db            what the models found: the label store
      yolo/  coco/         the same as datasets
      contact_sheet.png    the same as images

The scenes are none that the models were trained on. How well the models do on them says nothing
about photographs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import PIL.Image

from grounded_sam2.demo.ground_truth import ground_truth
from grounded_sam2.demo.scenes import SHAPES, Scene, make_scenes
from grounded_sam2.demo.scores import AveragePrecision, average_precision
from grounded_sam2.engine.image_run import Progress
from grounded_sam2.errors import ExportError
from grounded_sam2.pipeline import GroundedSAM2, LabelResult
from grounded_sam2.results import to_supervision
from grounded_sam2.sources.image import load_image
from grounded_sam2.store import LabelStore
from grounded_sam2.visualization.annotated_image import annotate, save_image
from grounded_sam2.visualization.contact_sheet import contact_sheet

__all__ = ["LAST_SEED", "DemoResult", "run_demo"]

LAST_SEED = 999
"""Scenes of later base seeds may be ones that the models were trained on."""

_FORMATS = ("yolo", "coco")
_SHEET_IMAGES = 24


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did and where it is."""

    labels: LabelResult
    boxes: AveragePrecision
    masks: AveragePrecision
    images: Path
    """Folder of the images."""
    ground_truth: Path
    """COCO JSON."""
    contact_sheet: Path
    """PNG of the first 24 images, annotated."""


def run_demo(
    folder: str | Path,
    *,
    images: int = 24,
    seed: int = 0,
    model: GroundedSAM2 | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Make scenes, label them, score the labels and draw them. The same call, the same files.

    Running it again in its folder continues where it stopped.

    Args:
        folder: where everything goes.
        images: number of scenes, at least 1.
        seed: which scenes, from 0 to `LAST_SEED`.
        model: labels the scenes; the embedded models with the ontology ``shapes`` if ``None``.
            Its classes must be those of that ontology.
        progress: told how the labeling comes along.

    Raises:
        ExportError: the folder holds a demo with other scenes, or cannot be written.
        CheckpointError: the embedded models are missing from the installation.
        RunInterrupted: Ctrl-C; run it again to continue.
    """
    folder = Path(folder)
    model = model or GroundedSAM2("shapes", config="demo")
    try:
        files, truth = _write_scenes(folder, images, seed)
    except OSError as error:
        raise ExportError(f"demo folder '{folder}': cannot be written: {error}") from error
    labels = model.label(files, output_folder=folder, formats=_FORMATS, progress=progress)
    with LabelStore.open(folder) as store:
        rows = _results(store, truth)
        sheet = contact_sheet(_annotated(store))
    save_image(sheet, folder / "contact_sheet.png")
    return DemoResult(
        labels=labels,
        boxes=average_precision(truth, rows, "bbox"),
        masks=average_precision(truth, rows, "segm"),
        images=folder / "images",
        ground_truth=folder / "ground_truth.json",
        contact_sheet=folder / "contact_sheet.png",
    )


def _write_scenes(folder: Path, count: int, seed: int) -> tuple[list[Path], dict[str, Any]]:
    """Write images and truth, one scene in memory at a time. The files, and the truth."""
    path = folder / "ground_truth.json"
    info = {"description": "synthetic scenes of grounded-sam2", "images": count, "seed": seed}
    if path.exists() and _info(path) != info:
        raise ExportError(
            f"demo folder '{folder}': holds a demo with other images; give another folder, or "
            "remove this one"
        )
    (folder / "images").mkdir(parents=True, exist_ok=True)
    files = [folder / "images" / f"scene-{index:04d}.png" for index in range(count)]

    def written() -> Iterator[tuple[str, Scene]]:
        for file, scene in zip(files, make_scenes(count, seed), strict=True):
            PIL.Image.fromarray(scene.image).save(file)
            yield file.name, scene

    truth = {"info": info, **ground_truth(written(), SHAPES, lambda thing: thing.shape)}
    path.write_text(json.dumps(truth) + "\n", encoding="utf-8")
    return files, truth


def _info(path: Path) -> object:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # not JSON, or not even text
        return None
    return document.get("info") if isinstance(document, dict) else None


def _results(store: LabelStore, truth: dict[str, Any]) -> list[dict[str, Any]]:
    """The labels as COCO results."""
    image_ids = {image["file_name"]: image["id"] for image in truth["images"]}
    category_ids = {category["name"]: category["id"] for category in truth["categories"]}
    rows = []
    for item, labels in store.labels():
        for label in labels.objects:
            if label.mask is None:
                continue
            x_min, y_min, x_max, y_max = label.box_xyxy
            rows.append(
                {
                    "image_id": image_ids[item.item_id],
                    "category_id": category_ids[label.class_name],
                    "score": label.confidence,
                    "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
                    "segmentation": label.mask.to_coco(),
                }
            )
    return rows


def _annotated(store: LabelStore) -> list[Any]:
    classes = store.classes()
    return [
        annotate(load_image(item.path), to_supervision(labels, classes))
        for item, labels in islice(store.labels(), _SHEET_IMAGES)
        if item.path is not None
    ]
