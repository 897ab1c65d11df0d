"""A folder of images to a YOLO dataset, against a loop that labels as autodistill does.

The loop calls `generate` per image and caption, encodes each image once for SAM 2, decodes the mask
of each box separately, keeps all dense masks in memory, and writes the dataset at the end with
supervision. Both sides use the same weights and captions, and must find the same boxes (compared
before cleanup and thresholds, to within one location bin, by which different batching may differ).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import supervision as sv
import torch
from boxes import TransformersSegmenter
from captions import one_by_one
from models import add_model_options
from PIL import Image as PILImage
from timing import print_rows

from grounded_sam2 import CaptionOntology, GroundedSAM2
from grounded_sam2.demo.scenes import make_scenes
from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.models.florence2.output_parsing import bins_to_boxes, parse_output
from grounded_sam2.models.sam2 import Sam2Segmenter

CAPTIONS = [
    f"{color} {shape}"
    for color in ("red", "orange", "green", "blue")
    for shape in ("circle", "square", "star", "ring")
]


def label_in_a_loop(
    detector: Florence2Detector, segmenter: TransformersSegmenter, folder: Path, out: Path
) -> dict[str, sv.Detections]:
    """Label one image, one caption, one box at a time."""
    annotations: dict[str, sv.Detections] = {}
    for path in sorted(folder.iterdir()):
        image = np.asarray(PILImage.open(path).convert("RGB"))
        height, width = image.shape[:2]
        boxes, classes = [], []
        for class_id, caption in enumerate(CAPTIONS):
            (tokens,) = one_by_one(detector, image, [caption], None)
            parsed = parse_output(tokens, detector.vocabulary)
            for instance in filter(lambda box: box.has_area, parsed):
                boxes.append(bins_to_boxes([instance.bins], (height, width))[0])
                classes.append(class_id)
        masks = [np.zeros((0, height, width), np.bool_)]
        features = segmenter.encode(image) if boxes else []
        for box in boxes:
            masks.append(segmenter.masks(features, (height, width), box[None]))
        annotations[str(path)] = sv.Detections(
            xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            mask=np.concatenate(masks),
            class_id=np.array(classes, int),
            confidence=np.ones(len(boxes), np.float32),
        )
    dataset = sv.DetectionDataset(CAPTIONS, list(annotations), annotations)
    dataset.as_yolo(str(out / "images"), str(out / "labels"), str(out / "data.yaml"))
    return annotations


def assert_same(detector: Florence2Detector, theirs: dict[str, sv.Detections]) -> None:
    """Assert that both sides find the same boxes, caption by caption."""
    for path, found in list(theirs.items())[:40]:
        image = np.asarray(PILImage.open(path).convert("RGB"))
        (ours,) = detector.detect([image], [CAPTIONS])
        classes = [CAPTIONS.index(caption) for caption in ours.captions]
        assert classes == found.class_id.tolist(), path
        np.testing.assert_allclose(ours.boxes_xyxy, found.xyxy, atol=max(image.shape) / 999)


def main() -> None:
    """Print the times and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_model_options(parser)
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ontology = CaptionOntology({caption: caption for caption in CAPTIONS})
    detector = Florence2Detector.from_pretrained("demo", device=arguments.device)
    segmenter = Sam2Segmenter.from_pretrained("demo", device=arguments.device)
    peer_segmenter = TransformersSegmenter(segmenter)
    model = GroundedSAM2(ontology, config="demo", detector=detector, segmenter=segmenter)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "images").mkdir()
        for index, scene in enumerate(make_scenes(arguments.images, 11)):
            PILImage.fromarray(scene.image).save(root / "images" / f"{index:04}.png")
        start = time.perf_counter()
        result = model.label(root / "images", output_folder=root / "ours", formats=("yolo",))
        ours_seconds = time.perf_counter() - start
        start = time.perf_counter()
        found = label_in_a_loop(detector, peer_segmenter, root / "images", root / "loop")
        loop_seconds = time.perf_counter() - start
        assert_same(detector, found)
    boxes = sum(len(each) for each in found.values())
    rows = [
        ["ours", f"{ours_seconds:.1f} s", f"{arguments.images / ours_seconds:.2f}",
         str(result.summary.objects)],
        ["loop", f"{loop_seconds:.1f} s", f"{arguments.images / loop_seconds:.2f}", str(boxes)],
        ["ratio", f"{loop_seconds / ours_seconds:.1f}×", "", ""],
    ]  # fmt: skip
    title = f"{arguments.images} images, {len(CAPTIONS)} captions, to a YOLO dataset"
    print_rows(title, ["", "time", "images/s", "objects"], rows)


if __name__ == "__main__":
    main()
