"""Score the embedded detector and segmenter on held-out scenes.

    python -m embedded_training.evaluate --scenes 200

All 36 combinations of color and shape are requested of every scene; most are not in it. A detection
is true if it has IoU 0.5 or more with an object of its caption that no more confident detection
matches.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embedded_training.calibration import auroc, expected_calibration_error
from grounded_sam2.config import load_config
from grounded_sam2.demo.coco_metrics import average_precision, coco_ground_truth
from grounded_sam2.demo.scenes import COLORS, SHAPES, Scene, make_scenes
from grounded_sam2.geometry.boxes import box_iou
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.geometry.rle import encode
from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.models.florence2.confidence import CONFIDENCE_FORMULAS, confidence
from grounded_sam2.models.florence2.output_parsing import bins_to_boxes
from grounded_sam2.models.sam2 import Sam2Segmenter

__all__ = [
    "CAPTIONS",
    "HELD_OUT_SEED",
    "ScoredDetection",
    "absent_detection_rate",
    "confidence_formula",
    "detect_captions",
    "main",
    "mask_iou_from_true_boxes",
    "true_positives",
]

HELD_OUT_SEED = 7
CAPTIONS = tuple(f"{color} {shape}" for color in COLORS for shape in SHAPES)
_BATCH_SIZE = 8


@dataclass(frozen=True, slots=True)
class ScoredDetection:
    """One detection, with its score under every candidate formula of confidence."""

    scene: int
    """Index of its scene."""
    caption: str
    box_xyxy: tuple[float, float, float, float]
    scores: dict[str, float]
    """By name of the formula."""


def detect_captions(
    detector: Florence2Detector, scenes: Sequence[Scene], captions: Sequence[str] = CAPTIONS
) -> list[ScoredDetection]:
    """Detections of every caption in every scene."""
    found: list[ScoredDetection] = []
    for first in range(0, len(scenes), _BATCH_SIZE):
        group = scenes[first : first + _BATCH_SIZE]
        features = detector.encode([scene.image for scene in group])
        requests = [(image, caption) for image in range(len(group)) for caption in captions]
        token = "<OPEN_VOCABULARY_DETECTION>"
        outputs = detector.generate(
            features, [(image, detector.prompt_text(token, caption)) for image, caption in requests]
        )
        for (image, caption), output in zip(requests, outputs, strict=True):
            size_hw = group[image].image.shape[:2]
            for instance in filter(lambda box: box.has_area, detector.parse(output)):
                (box,) = bins_to_boxes([instance.bins], size_hw).tolist()
                scores = {
                    name: formula(output, instance) for name, formula in CONFIDENCE_FORMULAS.items()
                }
                found.append(ScoredDetection(first + image, caption, tuple(box), scores))
    return found


def true_positives(
    found: Sequence[ScoredDetection], scenes: Sequence[Scene], by: str
) -> list[bool]:
    """Whether each detection is true; of several for one object, only the most confident is.

    Args:
        found: detections.
        scenes: the scenes that they refer to.
        by: name of the confidence formula.
    """
    taken: set[tuple[int, int]] = set()
    right = [False] * len(found)
    for index in sorted(range(len(found)), key=lambda i: -found[i].scores[by]):
        guess = found[index]
        objects = scenes[guess.scene].objects
        overlaps = box_iou(
            np.array([guess.box_xyxy], np.float32),
            np.array([each.box_xyxy for each in objects], np.float32).reshape(-1, 4),
        )[0]
        for candidate in np.argsort(-overlaps):
            key = guess.scene, int(candidate)
            named = objects[candidate].name == guess.caption
            if overlaps[candidate] >= 0.5 and named and key not in taken:
                taken.add(key)
                right[index] = True
                break
    return right


def confidence_formula() -> str:
    """Name of the confidence formula that the detector uses."""
    return next(name for name, formula in CONFIDENCE_FORMULAS.items() if formula is confidence)


def absent_detection_rate(
    found: Sequence[ScoredDetection], scenes: Sequence[Scene], floor: float
) -> float:
    """Share of captions without an object that have a detection of at least this confidence."""
    detected = {
        (box.scene, box.caption) for box in found if box.scores[confidence_formula()] >= floor
    }
    absent = [
        (index, caption)
        for index, scene in enumerate(scenes)
        for caption in CAPTIONS
        if caption not in {each.name for each in scene.objects}
    ]
    return sum(pair in detected for pair in absent) / len(absent)


def mask_iou_from_true_boxes(segmenter: Sam2Segmenter, scenes: Sequence[Scene]) -> list[float]:
    """IoU of every object's mask when its true box is the prompt."""
    values: list[float] = []
    for scene in scenes:
        boxes = np.array([each.box_xyxy for each in scene.objects], np.float32).reshape(-1, 4)
        (result,) = segmenter.segment_boxes([scene.image], [boxes])
        truth = encode(np.stack([each.mask for each in scene.objects]))
        values += [
            float(mask_iou([guess], [true])[0, 0])
            for guess, true in zip(result.masks, truth, strict=True)
        ]
    return values


def _coco_results(
    found: Sequence[ScoredDetection], segmenter: Sam2Segmenter, scenes: Sequence[Scene], by: str
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for index, scene in enumerate(scenes):
        here = [box for box in found if box.scene == index]
        boxes = np.array([box.box_xyxy for box in here], np.float32).reshape(-1, 4)
        (result,) = segmenter.segment_boxes([scene.image], [boxes])
        for box, mask in zip(here, result.masks, strict=True):
            x1, y1, x2, y2 = box.box_xyxy
            rows.append(
                {
                    "image_id": index + 1,
                    "category_id": CAPTIONS.index(box.caption) + 1,
                    "score": box.scores[by],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "segmentation": mask.to_coco(),
                }
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the scores.

    Args:
        arguments: of the command line; those of the process if ``None``.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--detector", type=Path, help="checkpoint folder (default: embedded)")
    parser.add_argument("--segmenter", type=Path, help="checkpoint folder (default: embedded)")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    scenes = list(make_scenes(options.scenes, options.seed))
    detector = Florence2Detector.from_pretrained(options.detector or "demo", device="cpu")
    segmenter = Sam2Segmenter.from_pretrained(options.segmenter or "demo", device="cpu")

    found = detect_captions(detector, scenes)
    print(f"{len(scenes)} scenes, {sum(len(s.objects) for s in scenes)} objects, "
          f"{len(found)} detections")  # fmt: skip
    for name in CONFIDENCE_FORMULAS:
        right, score = true_positives(found, scenes, name), [box.scores[name] for box in found]
        chosen = " (used)" if name == confidence_formula() else ""
        print(f"confidence {name:13s} AUROC {auroc(score, right):.3f} "
              f"ECE {expected_calibration_error(score, right):.3f}{chosen}")  # fmt: skip
    floor = load_config("demo").detector.min_confidence
    print(f"absent captions with a detection: {absent_detection_rate(found, scenes, 0.0):.3%}, "
          f"at confidence {floor}: {absent_detection_rate(found, scenes, floor):.3%}")  # fmt: skip

    truth = coco_ground_truth(
        ((str(index), scene) for index, scene in enumerate(scenes)), CAPTIONS, lambda o: o.name
    )
    rows = _coco_results(found, segmenter, scenes, confidence_formula())
    box = average_precision(truth, rows, "bbox")
    mask = average_precision(truth, rows, "segm")
    print(f"boxes AP {box.ap:.3f} AP50 {box.ap50:.3f}; masks AP {mask.ap:.3f} AP50 {mask.ap50:.3f}")
    overlap = mask_iou_from_true_boxes(segmenter, scenes)
    print(f"masks from true boxes: mean IoU {np.mean(overlap):.3f}, "
          f"10th percentile {np.percentile(overlap, 10):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
