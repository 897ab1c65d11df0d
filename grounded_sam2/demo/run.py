"""The image demo: label synthetic scenes with the embedded models, and score the labels.

    demo/
      images/              the scenes
      ground_truth.json    their objects (COCO)
      labels.db            the label store
      yolo/  coco/         datasets of the labels
      contact_sheet.png    the first scenes with their labels

None of the scenes was used for training. The scores say nothing about photographs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import PIL.Image

from grounded_sam2.demo.coco_metrics import (
    AveragePrecision,
    average_precision,
    coco_ground_truth,
)
from grounded_sam2.demo.output_folder import CONTACT_SHEET, writable_demo_folder
from grounded_sam2.demo.scenes import SHAPES, Scene, make_scenes
from grounded_sam2.engine.summaries import ImageRunSummary
from grounded_sam2.pipeline import GroundedSAM2, LabelResult
from grounded_sam2.results import ImageProgress, to_supervision
from grounded_sam2.store import ItemImages, LabelStore
from grounded_sam2.visualization.annotated_image import annotate, save_image
from grounded_sam2.visualization.contact_sheet import contact_sheet

__all__ = ["DemoResult", "run_demo"]

_FORMATS = ("yolo", "coco")
_SHEET_IMAGES = 24
_IMAGES, _GROUND_TRUTH = "images", "ground_truth.json"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Labels of the scenes and their scores; all files are in ``labels.folder``."""

    labels: LabelResult[ImageRunSummary]
    boxes: AveragePrecision
    masks: AveragePrecision

    @property
    def images(self) -> Path:
        """Folder of the scenes."""
        return self.labels.folder / _IMAGES

    @property
    def ground_truth(self) -> Path:
        """COCO JSON."""
        return self.labels.folder / _GROUND_TRUTH

    @property
    def contact_sheet(self) -> Path:
        """PNG of the first 24 scenes, annotated."""
        return self.labels.folder / CONTACT_SHEET


def run_demo(
    folder: str | Path,
    *,
    images: int = 24,
    seed: int = 0,
    model: GroundedSAM2 | None = None,
    progress: ImageProgress | None = None,
) -> DemoResult:
    """Make scenes, label them, score the labels and draw them.

    The same call writes the same files; in its own folder it continues where it stopped.

    Args:
        folder: output folder.
        images: number of scenes, at least 1.
        seed: base seed of the scenes, from 0 to `grounded_sam2.demo.output_folder.LAST_SEED`.
        model: labels the scenes; the embedded models with the ontology ``shapes`` if ``None``.
            Its classes must be those of that ontology.
        progress: receives the progress of the labeling.

    Raises:
        ExportError: the folder holds a demo with other scenes, or cannot be written.
        CheckpointError: the embedded models are missing from the installation.
        RunInterrupted: Ctrl-C; run it again to continue.
    """
    folder = Path(folder)
    model = model or GroundedSAM2("shapes", config="demo")
    info = {"description": "synthetic scenes of grounded-sam2", "images": images, "seed": seed}
    with writable_demo_folder(folder, folder / _GROUND_TRUTH, info, "images"):
        files, truth = _write_scenes(folder, images, seed, info)
    labels = model.label(files, output_folder=folder, formats=_FORMATS, progress=progress)
    with LabelStore.open(folder) as store:
        rows = _coco_results(store, truth)
        sheet = contact_sheet(_annotated_images(store))
    save_image(sheet, folder / CONTACT_SHEET)
    return DemoResult(
        labels=labels,
        boxes=average_precision(truth, rows, "bbox"),
        masks=average_precision(truth, rows, "segm"),
    )


def _write_scenes(
    folder: Path, count: int, seed: int, info: dict[str, Any]
) -> tuple[list[Path], dict[str, Any]]:
    """Write images and ground truth, one scene in memory at a time; return both."""
    (folder / _IMAGES).mkdir(parents=True, exist_ok=True)
    files = [folder / _IMAGES / f"scene-{index:04d}.png" for index in range(count)]

    def write_images() -> Iterator[tuple[str, Scene]]:
        for file, scene in zip(files, make_scenes(count, seed), strict=True):
            PIL.Image.fromarray(scene.image).save(file)
            yield file.name, scene

    truth = {"info": info, **coco_ground_truth(write_images(), SHAPES, lambda o: o.shape)}
    path = folder / _GROUND_TRUTH
    path.write_text(json.dumps(truth) + "\n", encoding="utf-8")
    return files, truth


def _coco_results(store: LabelStore, truth: dict[str, Any]) -> list[dict[str, Any]]:
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


def _annotated_images(store: LabelStore) -> list[Any]:
    classes = store.classes()
    with ItemImages.of_run(store) as images:
        return [
            annotate(images.find(item).decode(), to_supervision(labels, classes))
            for item, labels in islice(store.labels(), _SHEET_IMAGES)
        ]
