"""DAVIS: an object number per pixel."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image

from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.exporters.formats.davis import export_davis


def run(tracked, **options):
    return export("davis", tracked.store, tracked.folder / "davis", ExportOptions(**options))


def pixels_of(tracked, place: int, name="clip") -> np.ndarray:
    path = tracked.folder / "davis" / "Annotations" / name / f"{place:05}.png"
    with PIL.Image.open(path) as image:
        assert image.mode == "P"
        assert image.getpalette()[3:6] == [128, 0, 0]
        return np.asarray(image)


def test_an_object_has_the_same_number_in_all_frames(tracked):
    square = tracked.square
    labeled = {
        1: [square(300, 5), square(7, 30, 20, "box")],
        2: [],
        6: [square(300, 6)],
    }
    tracked.add(tracked.movie("clip.mp4", 8), labeled)
    summary = run(tracked)
    for place, number in enumerate(labeled):
        image = tracked.folder / "davis" / "JPEGImages" / "clip" / f"{place:05}.jpg"
        assert tracked.number_of(image) == number
        expected = np.zeros(tracked.size_hw, np.uint8)
        for label in labeled[number]:
            expected[label.mask.decode()] = {7: 1, 300: 2}[label.track_id]
        np.testing.assert_array_equal(pixels_of(tracked, place), expected)
    assert (tracked.folder / "davis/ImageSets/train.txt").read_text() == "clip\n"
    objects = json.loads((tracked.folder / "davis/objects.json").read_text())
    assert objects == {
        "void": 255,
        "videos": {
            "clip": {
                "video": "clip",
                "objects": {
                    "1": {"class": "box", "track": 7},
                    "2": {"class": "ball", "track": 300},
                },
            }
        },
    }
    assert summary.objects == {"ball": 2, "box": 1, "Katze ü": 0}


def test_splits_are_lists_of_videos(tracked):
    for number in range(8):
        tracked.add(tracked.images(f"clip{number}", 1), {0: []})
    summary = run(tracked, split={"train": 0.5, "val": 0.5})
    listed = {
        split: (tracked.folder / "davis/ImageSets" / f"{split}.txt").read_text().split()
        for split in ("train", "val")
    }
    assert {split: len(names) for split, names in listed.items()} == summary.images
    assert sorted(listed["train"] + listed["val"]) == [f"clip{number}" for number in range(8)]
    assert len(list((tracked.folder / "davis/JPEGImages").iterdir())) == 8


def test_overlaps_show_the_higher_confidence_and_boxes_are_void(tracked):
    square = tracked.square
    objects = [
        square(1, 10, confidence=0.4),
        square(2, 16, confidence=0.5),
        square(3, 40, has_mask=False),
        square(None, 52, 30),
    ]
    tracked.add(tracked.movie("clip.mp4", 1), {0: objects})
    summary = run(tracked)
    found = dict(zip(*np.unique(pixels_of(tracked, 0), return_counts=True), strict=True))
    assert found == {0: 48 * 64 - 144 - 72 - 144, 1: 72, 2: 144, 255: 144}
    assert set(summary.notes) == {
        "objects without a mask, void where their box is: 1",
        "objects without a track, left out: 1",
    }


def test_of_too_many_tracks_the_shortest_are_left_out(tracked):
    square = tracked.square
    labeled = {0: [square(1, 0), square(5, 15), square(7, 30)], 1: [square(5, 15), square(7, 30)]}
    tracked.add(tracked.movie("clip.mp4", 2), labeled)
    folder = tracked.folder / "davis"
    summary = export_davis(tracked.store, folder, options=ExportOptions(), max_tracks=2)
    assert set(np.unique(pixels_of(tracked, 0))) == {0, 1, 2}
    assert "tracks beyond 2 of a video, left out: 1" in summary.notes
