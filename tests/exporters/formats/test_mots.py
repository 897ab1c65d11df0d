"""MOTS: object ids per pixel, and disjoint masks as text."""

from __future__ import annotations

import configparser
import json

import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as coco_mask

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.exporters.formats.mots import export_mots
from grounded_sam2.store import LabelStore, RunConfig


def run(tracked, **options):
    return export("mots", tracked.store, tracked.folder / "mots", ExportOptions(**options))


def rows(tracked, name="clip", split="train"):
    """Yield frame, id, class and mask of each line."""
    text = (tracked.folder / "mots/sequences" / split / name / "gt/gt.txt").read_text()
    for line in text.splitlines():
        frame, object_id, class_id, height, width, runs = line.split(" ")
        mask = coco_mask.decode({"size": [int(height), int(width)], "counts": runs.encode()})
        yield int(frame), int(object_id), int(class_id), mask.astype(bool)


def test_text_and_images_hold_the_same_masks(tracked):
    square = tracked.square
    labeled = {
        2: [square(9, 5), square(4, 30, 20, "box")],
        3: [],
        7: [square(9, 6), square(12, 40)],
    }
    tracked.add(tracked.movie("clip.mp4", 8), labeled)
    summary = run(tracked)
    root = tracked.folder / "mots/sequences/train/clip"
    found = list(rows(tracked))
    assert [each[:3] for each in found] == [
        (1, 1001, 1),
        (1, 2001, 2),
        (3, 1001, 1),
        (3, 1002, 1),
    ]
    for row, label in zip(found, labeled[2] + labeled[7], strict=True):
        np.testing.assert_array_equal(row[3], label.mask.decode())
    for place, number in enumerate(labeled, start=1):
        assert tracked.number_of(root / f"img1/{place:06}.jpg") == number
        with PIL.Image.open(root / f"instances/{place:06}.png") as image:
            pixels = np.asarray(image)
        assert pixels.dtype == np.uint16
        expected = np.zeros(tracked.size_hw, np.uint16)
        for frame, object_id, _, mask in found:
            expected[mask & (frame == place)] = object_id
        np.testing.assert_array_equal(pixels, expected)
    info = configparser.ConfigParser()
    info.read(root / "seqinfo.ini")
    assert dict(info["Sequence"]) == {
        "name": "clip",
        "imdir": "img1",
        "framerate": "25",
        "seqlength": "3",
        "imwidth": "64",
        "imheight": "48",
        "imext": ".jpg",
    }
    assert (tracked.folder / "mots/seqmaps/train.txt").read_text() == "name\nclip\n"
    objects = json.loads((tracked.folder / "mots/objects.json").read_text())
    assert objects["classes"] == {"ball": 1, "box": 2, "Katze ü": 3}
    assert objects["videos"]["clip"] == {
        "video": "clip",
        "objects": {
            "1001": {"class": "ball", "track": 9},
            "1002": {"class": "ball", "track": 12},
            "2001": {"class": "box", "track": 4},
        },
    }
    assert summary.objects == {"ball": 3, "box": 1, "Katze ü": 0}


def test_the_frame_rate_is_that_of_the_exported_frames(tracked):
    tracked.add(tracked.images("clip", 8), {n: [] for n in (0, 2, 4, 6)}, stride=2)
    run(tracked, frame_stride=2)
    text = (tracked.folder / "mots/sequences/train/clip/seqinfo.ini").read_text()
    assert "frameRate=6.25\n" in text
    assert "seqLength=2\n" in text
    assert "imExt=.png\n" in text


def test_the_object_of_higher_confidence_is_on_top(tracked):
    square = tracked.square
    objects = [
        square(1, 10, confidence=0.9),
        square(2, 16, confidence=0.5),
        square(3, 10, confidence=0.4),
    ]
    tracked.add(tracked.movie("clip.mp4", 1), {0: objects})
    summary = run(tracked)
    masks = {object_id: mask for _, object_id, _, mask in rows(tracked)}
    assert {object_id: mask.sum() for object_id, mask in masks.items()} == {1001: 144, 1002: 72}
    assert not (masks[1001] & masks[1002]).any()
    assert summary.notes == ("objects hidden behind others: 1",)


def test_a_box_without_a_mask_is_ignored_where_no_mask_is(tracked):
    square = tracked.square
    tracked.add(
        tracked.movie("clip.mp4", 1),
        {0: [square(1, 10, has_mask=False), square(2, 16), square(None, 40)]},
    )
    summary = run(tracked)
    (_, _, _, ball), (_, *ignored, region) = rows(tracked)
    assert ignored == [10000, 10]
    assert (ball.sum(), region.sum(), (ball & region).any()) == (144, 72, False)
    assert set(summary.notes) == {
        "objects without a mask, to be ignored where their box is: 1",
        "objects without a track, left out: 1",
    }


def test_no_class_gets_the_number_that_readers_ignore(tmp_path, tracked):
    with LabelStore.create(tmp_path / "many") as store:
        ontology = tuple((f"c{i}", f"c{i}") for i in range(12))
        tracked.store.close()
        tracked.store, tracked.folder = store, tmp_path / "many"
        tracked.run = store.begin_run(RunConfig(models={"t": "t"}, inference={}), ontology=ontology)
        objects = [tracked.square(i + 1, 5 * i, class_name=f"c{i}") for i in range(12)]
        tracked.add(tracked.movie("clip.mp4", 1), {0: objects})
        run(tracked)
    classes = json.loads((tracked.folder / "mots/objects.json").read_text())["classes"]
    assert list(classes.values()) == [*range(1, 10), 11, 12, 13]
    assert {number for _, _, number, _ in rows(tracked)} <= set(classes.values())


def test_more_classes_than_16_bits_hold_are_an_error(tmp_path, tracked):
    with LabelStore.create(tmp_path / "many") as store:
        ontology = tuple((f"c{i}", f"c{i}") for i in range(64))
        store.begin_run(RunConfig(models={"t": "t"}, inference={}), ontology=ontology)
        with pytest.raises(ExportError, match="at most 63 classes, there are 64"):
            export("mots", store, tmp_path / "mots", ExportOptions())


def test_of_too_many_tracks_the_shortest_are_left_out(tracked):
    square = tracked.square
    labeled = {0: [square(1, 0), square(5, 15), square(7, 30)], 1: [square(5, 15), square(7, 30)]}
    tracked.add(tracked.movie("clip.mp4", 2), labeled)
    folder = tracked.folder / "mots"
    summary = export_mots(tracked.store, folder, options=ExportOptions(), max_tracks=2)
    named = json.loads((tracked.folder / "mots/objects.json").read_text())["videos"]["clip"]
    assert [each["track"] for each in named["objects"].values()] == [5, 7]
    assert summary.objects["ball"] == 4
    assert "tracks beyond 2 of a class in a video, left out: 1" in summary.notes
