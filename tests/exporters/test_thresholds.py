"""Thresholds of an export: above the run's own, labels are left out; below, some are added."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from grounded_sam2 import CaptionOntology, GroundedSAM2
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.results import DetectedBoxes, Label
from grounded_sam2.store import ItemOutcome, LabelStore
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter


class ConfidenceByPosition(FakeDetector):
    """A detector whose confidence rises from 0.05 at the left edge to 0.95 near the right one."""

    def detect(self, images, captions):
        return [
            DetectedBoxes(
                found.boxes_xyxy,
                found.captions,
                (0.05 + found.boxes_xyxy[:, 0] / 100).astype(np.float32),
            )
            for found in super().detect(images, captions)
        ]


@pytest.fixture
def labeled(tmp_path: Path) -> Path:
    """A run over five balls with confidences 0.05, 0.15, 0.25, 0.45 and 0.85."""
    image = np.zeros((20, 100, 3), np.uint8)
    for left in (0, 10, 20, 40, 80):
        image[5:12, left : left + 6] = COLORS["red"]
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(image).save(tmp_path / "in" / "a.png")
    model = GroundedSAM2(
        CaptionOntology({"red thing": "ball"}),
        detector=ConfidenceByPosition(),
        segmenter=FakeSegmenter(),
    )
    model.label(tmp_path / "in", output_folder=tmp_path / "out", formats=())
    return tmp_path / "out"


def scores(labeled: Path, **options) -> tuple[list[float], tuple[str, ...]]:
    with LabelStore.open(labeled) as store:
        summary = export("coco", store, labeled / "coco", ExportOptions(**options))
    annotations = labeled / "coco" / "annotations" / "instances_train.json"
    found = json.loads(annotations.read_text(encoding="utf-8"))["annotations"]
    return sorted(each["score"] for each in found), summary.notes


def test_the_labels_are_those_of_the_run_by_default(labeled):
    assert scores(labeled) == ([0.45, 0.85], ())


def test_above_the_threshold_of_the_run_labels_are_left_out(labeled):
    assert scores(labeled, min_confidence=0.5)[0] == [0.85]
    assert scores(labeled, min_confidence=0.3)[0] == [0.45, 0.85]


def test_below_the_threshold_of_the_run_stored_candidates_are_added(labeled):
    assert scores(labeled, min_confidence=0.2) == ([0.25, 0.45, 0.85], ())
    found, notes = scores(labeled, min_confidence=0.0)
    assert found == [0.15, 0.25, 0.45, 0.85]
    assert "the store has kept nothing below a confidence of 0.1" in notes


def test_lower_thresholds_leave_the_store_unchanged(labeled):
    scores(labeled, min_confidence=0.2)
    with LabelStore.open(labeled) as store:
        assert store.summary().objects == 2


def test_objects_drawn_by_people_are_kept(labeled):
    drawn = Label("ball", "red thing", (0.0, 0.0, 4.0, 4.0), None, None, None, origin="human")
    with LabelStore.create(labeled) as store:
        run = store.run()
        [(item, labels)] = store.labels()
        _, predictions = store.predictions(run.id, item.item_id)
        mixed = replace(labels, objects=(*labels.objects, drawn))
        statuses = ("label",) * len(predictions.candidates)
        result = ItemOutcome(item, mixed, predictions=predictions, statuses=statuses)
        store.write_batch(run.id, [result])
        summary = export("yolo-boxes", store, labeled / "boxes", ExportOptions(min_confidence=0.2))
    assert summary.objects == {"ball": 4}
