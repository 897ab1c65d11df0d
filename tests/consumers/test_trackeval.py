"""Exports of videos, as TrackEval reads and scores them.

The predictions that it scores are made here from the labels: if it reads an export correctly, the
score is perfect, and if an object is missing or two are swapped, it is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.results import Label

trackeval = pytest.importorskip("trackeval")

CLASSES = {"ball": 1, "box": 2}
QUIET = {"PRINT_CONFIG": False}
METRIC = {"PRINT_CONFIG": False, "THRESHOLD": 0.5}
PER_TRACK = {  # as TrackEval's own script for YouTube-VIS has it
    **QUIET,
    "USE_TIME_RANGES": False,
    "AREA_RANGES": [[0, 128**2], [128**2, 256**2], [256**2, 1e10]],
}


@pytest.fixture
def clips(tracked) -> Mapping[str, Mapping[int, list[Label]]]:
    """Objects that move, occlude each other, leave and return; frames without any."""
    square = tracked.square
    labeled: dict[str, dict[int, list[Label]]] = {"one": {}, "two": {}}
    for number in range(12):
        one = [square(3, 3 * number, 8, "box", confidence=0.9)]
        one += [square(8, 30 - 2 * number, 12, "box", confidence=0.8)]
        one += [square(5, 40, 30, confidence=None)] * (not 4 <= number < 7)
        labeled["one"][number] = one if number != 9 else []
        labeled["two"][number] = [square(1, 20, 2 * number, "box"), square(2, 22, 14, "box")]
    tracked.add(tracked.movie("one.mp4", 12), labeled["one"])
    tracked.add(tracked.images("two", 12), labeled["two"])
    return labeled


def visible_pixels(
    labels: list[Label], size_hw: tuple[int, int]
) -> Iterator[tuple[Label, NDArray[Any]]]:
    """Yield objects and their visible pixels; higher confidence is on top, of equals the first."""
    owner = np.full(size_hw, -1)
    confidence = [2.0 if each.confidence is None else each.confidence for each in labels]
    for place in sorted(range(len(labels)), key=lambda each: (confidence[each], -each)):
        owner[labels[place].mask.decode()] = place
    for place, label in enumerate(labels):
        yield label, owner == place


def compressed_rle(mask: NDArray[Any]) -> dict[str, Any]:
    found = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": found["size"], "counts": found["counts"].decode()}


def export_to(tracked, format_name: str) -> Path:
    folder = tracked.folder / format_name
    export(format_name, tracked.store, folder, ExportOptions())
    return folder


def scores(dataset: Any, name: str, *metrics: Any) -> dict[str, Any]:
    """Return the scores of the tracker ``ours``, over all videos."""
    config = {
        **{"PRINT_RESULTS": False, "PRINT_CONFIG": False, "TIME_PROGRESS": False},
        **{"OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False, "PLOT_CURVES": False},
        **{"BREAK_ON_ERROR": True, "LOG_ON_ERROR": None, "OUTPUT_EMPTY_CLASSES": False},
    }
    results, _ = trackeval.Evaluator(config).evaluate([dataset], list(metrics))
    return results[dataset.get_name()]["ours"]["COMBINED_SEQ"][name]


def test_mots_scores_are_perfect_for_the_labels_only(tracked, clips, tmp_path):
    truth_folder = export_to(tracked, "mots")

    def score(change) -> dict[str, Any]:
        for video, frames in clips.items():
            file = tmp_path / "predicted" / "ours" / "data" / f"{video}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            rows = []
            for number, labels in frames.items():
                for label, mask in visible_pixels(labels, tracked.size_hw):
                    if mask.any() and (track := change(label.track_id)) is not None:
                        class_id = CLASSES[label.class_name]
                        rle = compressed_rle(mask)
                        size = " ".join(map(str, rle["size"]))
                        rows.append(
                            f"{number + 1} {class_id}{track:03} {class_id} {size} {rle['counts']}\n"
                        )
            file.write_text("".join(rows))
        dataset = trackeval.datasets.MOTSChallenge(
            {
                **QUIET,
                "GT_FOLDER": str(truth_folder / "sequences" / "train"),
                "TRACKERS_FOLDER": str(tmp_path / "predicted"),
                "SEQMAP_FILE": str(truth_folder / "seqmaps" / "train.txt"),
                "SKIP_SPLIT_FOL": True,
            }
        )
        metrics = trackeval.metrics
        return scores(
            dataset,
            "pedestrian",  # class 2 in MOTS Challenge, which scores no other
            metrics.HOTA(),
            metrics.CLEAR(METRIC),
            metrics.Identity(METRIC),
        )

    perfect = score(lambda track: track)
    assert perfect["HOTA"]["HOTA"].min() == 1
    assert perfect["CLEAR"]["MOTA"] == perfect["CLEAR"]["sMOTA"] == perfect["Identity"]["IDF1"] == 1
    assert (perfect["CLEAR"]["IDSW"], perfect["Count"]["GT_IDs"]) == (0, 4)
    assert score(lambda track: None if track == 8 else track)["HOTA"]["HOTA"].max() < 1


def test_davis_scores_are_perfect_for_the_labels_only(tracked, clips, tmp_path):
    truth_folder = export_to(tracked, "davis")

    def score(shift: int, *metrics: Any) -> dict[str, Any]:
        for video, frames in clips.items():
            folder = tmp_path / "predicted" / "ours" / "data" / video
            folder.mkdir(parents=True, exist_ok=True)
            for number, labels in frames.items():
                pixels = np.zeros(tracked.size_hw, np.uint8)
                for label, mask in visible_pixels(labels, tracked.size_hw):
                    pixels[np.roll(mask, shift, axis=1)] = label.track_id
                PIL.Image.fromarray(pixels).save(folder / f"{number:05}.png")
        dataset = trackeval.datasets.DAVIS(
            {
                **QUIET,
                "GT_FOLDER": str(truth_folder / "Annotations"),
                "TRACKERS_FOLDER": str(tmp_path / "predicted"),
                "SEQMAP_FILE": str(truth_folder / "ImageSets" / "train.txt"),
            }
        )
        return scores(dataset, "general", *metrics)

    perfect = score(0, trackeval.metrics.HOTA())
    assert perfect["HOTA"]["HOTA"].min() == 1
    assert perfect["Count"]["GT_IDs"] == 5
    assert score(2, trackeval.metrics.HOTA())["HOTA"]["HOTA"].mean() < 0.9
    pytest.importorskip("skimage", reason="finds boundaries for TrackEval")
    perfect = score(0, trackeval.metrics.JAndF())["JAndF"]
    assert (perfect["J-Mean"], perfect["F-Mean"]) == (pytest.approx(1), pytest.approx(1))


def test_youtube_vis_scores_are_perfect_for_the_labels_only(tracked, clips, tmp_path):
    truth_folder = export_to(tracked, "youtube-vis")
    (tmp_path / "gold_youtube_vis_train").mkdir()
    truth = truth_folder / "annotations" / "instances_train.json"
    (tmp_path / "gold_youtube_vis_train" / truth.name).write_text(truth.read_text())

    def score(change) -> dict[str, Any]:
        tracks: dict[tuple[str, int], dict[str, Any]] = {}
        for video_id, (video, frames) in enumerate(clips.items(), start=1):
            for number, labels in frames.items():
                for label in labels:
                    track = tracks.setdefault(
                        (video, label.track_id),
                        {
                            "video_id": video_id,
                            "category_id": change(CLASSES[label.class_name]),
                            "score": 0.5,
                            "segmentations": [None] * len(frames),
                        },
                    )
                    mask = label.mask.decode()
                    track["segmentations"][number] = compressed_rle(mask) if mask.any() else None
        file = tmp_path / "predicted_youtube_vis_train" / "ours" / "data" / "tracks.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(list(tracks.values())))
        dataset = trackeval.datasets.YouTubeVIS(
            {
                **QUIET,
                "GT_FOLDER": str(tmp_path / "gold_"),
                "TRACKERS_FOLDER": str(tmp_path / "predicted_"),
                "SPLIT_TO_EVAL": "train",
            }
        )
        metrics = trackeval.metrics
        return scores(dataset, "cls_comb_det_av", metrics.TrackMAP(PER_TRACK), metrics.HOTA()) | {
            "box": scores(dataset, "box", metrics.TrackMAP(PER_TRACK))
        }

    perfect = score(lambda number: number)
    assert perfect["HOTA"]["HOTA"].min() == 1
    assert perfect["box"]["TrackMAP"]["AP_all"].min() == 1
    assert perfect["Count"]["GT_IDs"] == 5
    assert score(lambda number: 3 - number)["HOTA"]["HOTA"].max() < 0.5
