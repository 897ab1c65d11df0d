"""A store on disk, written before settings were renamed, is read, continued and exported.

``data/labels-schema-3.db`` holds three runs: the images of ``data/images`` and the clip
``data/walk.mp4``, both labeled by the embedded models, and a run written by hand with a person's
label and an unfinished video. Its run configurations have the keys ``sure_confidence``,
``revive_by``, ``revive_distance`` and ``min_likeness``.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from grounded_sam2.config import load_config
from grounded_sam2.engine.image_run import label_images
from grounded_sam2.engine.run_config import image_run_config, video_run_config
from grounded_sam2.engine.video_run import label_videos
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.geometry.rle import areas
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import BrokenFrame
from grounded_sam2.sources.folder import FolderSource
from grounded_sam2.sources.video.discovery import find_videos
from grounded_sam2.store import LabelStore, ReviewCounts, StoredTrack, StoreSummary

DATA = Path(__file__).parent / "data"
IMAGES, CLIP, OTHER = 1, 2, 3  # ids of the runs
IMAGES_KEY = "ac6b7b4508ac4578c14f413c18d70c4996b11f1e3562f631a835855f9e59dc60"
CLIP_KEY = "243295c22541b3e27f8c8963ab733ce04cd0deb3170795168b998b26dad2e9b3"
SHAPES = {
    "red circle": "ball",
    "circle": "ball",
    "square": "box",
    "triangle": "wedge",
    "star": "star",
    "ring": "ring",
    "cross": "cross",
}
MODIFIED_NS = {  # as the file stamps in the store say
    "images/scene-1.jpg": 1796079043566460120,
    "images/scene-2.jpg": 1796079043670423587,
    "images/scene-3.jpg": 1796079043720099874,
    "images/torn.png": 1796079043720625327,
    "walk.mp4": 1796079044078538846,
}
NO_MODEL = object()  # fails when it is called


@pytest.fixture
def folder(tmp_path) -> Path:
    """Images, clip and store, in the places that the store has on record."""
    shutil.copytree(DATA / "images", tmp_path / "images")
    shutil.copy(DATA / "walk.mp4", tmp_path)
    (tmp_path / "labeled").mkdir()
    shutil.copy(DATA / "labels-schema-3.db", tmp_path / "labeled" / "labels.db")
    for name, modified_ns in MODIFIED_NS.items():
        os.utime(tmp_path / name, ns=(modified_ns, modified_ns))
    return tmp_path


@pytest.fixture
def store(folder):
    with LabelStore.open(folder / "labeled") as store:
        yield store


def rows_of(folder: Path) -> list[str]:
    """All rows of the upgraded store as SQL, those of the runs without their order."""
    LabelStore.open(folder / "labeled").close()
    connection = sqlite3.connect(folder / "labeled" / "labels.db")
    connection.execute("UPDATE runs SET last_begun = 0")
    rows = list(connection.iterdump())
    connection.close()
    return rows


# Upgrading


def test_all_its_columns_are_kept_by_the_upgrade(folder):
    path = folder / "labeled" / "labels.db"
    before = columns_of(path)
    LabelStore.open(folder / "labeled").close()
    after = columns_of(path)
    assert after.keys() - before.keys() == {"proposals", "edits", "edited_objects"}
    for table, columns in before.items():
        assert {name: after[table][name] for name in columns} == columns, table


def test_its_objects_get_the_uids_of_their_candidates_and_tracks(store):
    for _, labels in store.labels(IMAGES):
        assert len({label.uid for label in labels.objects}) == len(labels)
    _, predictions = store.predictions(IMAGES, "scene-1.jpg")
    uids = {candidate.uid for candidate in predictions.candidates}
    assert {label.uid for label in store.objects("scene-1.jpg", run_id=IMAGES)} <= uids
    uids_of_tracks = {}
    [video] = store.videos(CLIP)
    for _, label in store.labels_by_track(CLIP, video.record.name):
        uids_of_tracks.setdefault(label.track_id, set()).add(label.uid)
    assert all(len(uids) == 1 for uids in uids_of_tracks.values())
    assert len(set().union(*uids_of_tracks.values())) == len(uids_of_tracks)


def columns_of(path: Path) -> dict[str, dict[str, list[object]]]:
    """Values of every column of every table, in the order of the rows."""
    connection = sqlite3.connect(path)
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    columns = {}
    for table in tables:
        cursor = connection.execute(f"SELECT * FROM {table} ORDER BY rowid")
        names = [each[0] for each in cursor.description]
        columns[table] = dict(
            zip(names, map(list, zip(*cursor.fetchall(), strict=True)), strict=False)
        )
    connection.close()
    return columns


# Reading


def test_its_runs_are_read_with_the_current_names_of_settings(store):
    clip, other, images = store.runs()
    assert (images.id, clip.id, other.id) == (IMAGES, CLIP, OTHER)
    assert images.config.models == {
        "detector": "demo@df34bed06ee7",
        "segmenter": "demo@e602def8c99e",
    }
    assert images.config.source == "../images"
    assert images.config.postprocess["detector"] == {"min_confidence": 0.3}
    assert images.ontology == clip.ontology == tuple(SHAPES.items())
    assert images.created_at == "2026-11-30T22:51:01+00:00"
    assert images.versions["grounded-sam2"] == "0.1.0"
    assert other.config.inference == {"crowds": True}
    tracking = clip.config.inference["tracking"]
    assert tracking["high_confidence"] == 0.5
    assert tracking["reid_by"] == "place"
    assert tracking["reid_distance"] == 2.0
    assert tracking["min_similarity"] == 0.8
    assert tracking.items() <= clip.settings["tracking"].items()


def test_its_summaries(store):
    assert store.summary() == StoreSummary(
        run_id=IMAGES,
        images=3,
        background=0,
        failed=1,
        pending=0,
        objects_per_class={"ball": 4, "box": 2, "wedge": 0, "star": 2, "ring": 0, "cross": 0},
        dropped_candidates={"cleaned_up": 2},
        review=ReviewCounts(unreviewed=8),
    )
    other = store.summary(OTHER)
    assert (other.images, other.background, other.objects_per_class) == (3, 1, {"ball": 2})


def test_its_labels(store, folder):
    found = [
        (item.item_id, label.class_name, label.caption, label.box_xyxy, label.confidence)
        for item, labels in store.labels(IMAGES)
        for label in labels.objects
    ]
    assert found == [
        ("scene-1.jpg", "ball", "red circle", (80.0, 47.0, 215.0, 182.0), 0.997),
        ("scene-1.jpg", "box", "square", (19.0, 114.0, 111.0, 202.0), 0.9967),
        ("scene-1.jpg", "ball", "circle", (100.0, 196.0, 175.0, 270.0), 0.9874),
        ("scene-2.jpg", "star", "star", (50.0, 0.0, 168.0, 116.0), 0.998),
        ("scene-2.jpg", "ball", "circle", (140.0, 98.0, 202.0, 160.0), 0.9975),
        ("scene-2.jpg", "box", "square", (118.0, 237.0, 186.0, 304.0), 0.9949),
        ("scene-2.jpg", "star", "star", (154.0, 173.0, 257.0, 279.0), 0.9949),
        ("scene-3.jpg", "ball", "red circle", (58.0, 41.0, 159.0, 143.0), 0.9933),
    ]
    first, *_ = store.done_items(IMAGES)
    assert (first.path, first.size_hw) == (folder / "images" / "scene-1.jpg", (270, 272))
    [(torn, reason)] = store.failures(IMAGES)
    assert (torn.item_id, torn.size_hw) == ("torn.png", None)
    assert "broken PNG file" in reason
    [(person, labels), *_] = store.labels(OTHER)
    assert (person.item_id, person.exif_orientation) == ("person.jpg", 6)
    assert [label.origin for label in labels.objects] == ["human"]


def test_its_raw_predictions(store):
    _, predictions = store.predictions(IMAGES, "scene-1.jpg")
    assert predictions.captions == SHAPES.keys()
    found = [
        (each.caption, each.box_xyxy, each.confidence, each.mask_quality)
        for each in predictions.candidates
    ]
    assert found == [
        ("red circle", (80.38, 47.65, 213.93, 180.23), 0.997, 0.9522),
        ("circle", (83.64, 47.65, 214.47, 181.04), 0.8802, 0.9547),
        ("circle", (100.78, 198.32, 174.22, 269.6), 0.9874, 0.9685),
        ("square", (19.99, 115.15, 111.66, 203.45), 0.9967, 0.9439),
    ]
    assert areas([each.mask for each in predictions.candidates]).tolist() == [
        14222,
        14217,
        4375,
        5999,
    ]


def test_its_videos(store, folder):
    [walk] = store.videos(CLIP)
    assert (walk.record.path, walk.record.size_hw) == (folder / "walk.mp4", (208, 208))
    assert (walk.frames, walk.last_index, walk.finished) == (10, 9, True)
    assert store.tracks(CLIP, "walk") == [
        StoredTrack(1, "box", frames=10, first_index=0, last_index=9),
        StoredTrack(2, "wedge", frames=10, first_index=0, last_index=9),
    ]
    labels = store.labels_of(CLIP, "walk/000008")
    assert [(label.box_xyxy, label.track_origin) for label in labels.objects] == [
        ((0.0, 21.0, 74.0, 109.0), "detected"),
        ((36.0, 20.0, 82.0, 74.0), "detected"),
    ]


def test_its_unfinished_video(store):
    [cut] = store.videos(OTHER)
    assert (cut.frames, cut.last_index, cut.finished, cut.broken_frames) == (2, 2, False, 1)
    assert (cut.record.stride, cut.record.fps, cut.record.frame_count) == (2, 25.0, 300)
    assert store.tracker_state(OTHER, "cut.mp4") == b"saved state of a tracker"
    assert store.broken_frames(OTHER, "cut.mp4") == [BrokenFrame(1, 0.04, "torn packet")]


# Continuing


def test_its_run_configurations_are_written_as_they_were_stored(store):
    connection = sqlite3.connect(store.path)
    stored = dict(connection.execute("SELECT key, recipe FROM runs"))
    connection.close()
    assert {run.config.key: run.config.to_json() for run in store.runs()} == stored
    assert "sure_confidence" in json.loads(stored[CLIP_KEY])["config"]["tracking"]


def test_the_same_command_continues_its_run_of_images(folder):
    before = rows_of(folder)
    with LabelStore.create(folder / "labeled") as store:
        run = store.run(IMAGES)
        config, ontology = load_config(run.settings), CaptionOntology(SHAPES)
        models = run.config.models
        run_config = image_run_config(config, ontology, models=models, source="../images")
        assert run_config.key == IMAGES_KEY
        assert store.run_of(run_config) == run
        source = FolderSource(folder / "images")
        options = (store, NO_MODEL, ontology, config)
        summary = label_images(source, *options, models=models)
    assert (summary.run_id, summary.labeled, summary.failed, summary.skipped) == (IMAGES, 0, 0, 4)
    assert rows_of(folder) == before


def test_the_same_command_continues_its_run_of_videos(folder):
    before = rows_of(folder)
    with LabelStore.create(folder / "labeled") as store:
        run = store.run(CLIP)
        config, ontology = load_config(run.settings), CaptionOntology(SHAPES)
        frames = {"stride": 1, "start": None, "end": None, "fps": 25.0}
        run_config = video_run_config(config, ontology, models=run.config.models, frames=frames)
        assert run_config.key == CLIP_KEY
        assert store.run_of(run_config) == run
        videos = find_videos(folder / "walk.mp4")
        options = (store, NO_MODEL, NO_MODEL, ontology, config)
        summary = label_videos(videos, *options, run_config=run_config)
    [walk] = summary.videos
    assert (summary.run_id, walk.frames, walk.frames_now, walk.error) == (CLIP, 10, 0, None)
    assert rows_of(folder) == before


# Exporting


def test_its_images_are_exported_as_coco(store, tmp_path):
    export("coco", store, tmp_path / "coco")
    [file] = (tmp_path / "coco" / "annotations").iterdir()
    coco = json.loads(file.read_text(encoding="utf-8"))
    assert [image["file_name"] for image in coco["images"]] == [
        "scene-1.jpg",
        "scene-2.jpg",
        "scene-3.jpg",
    ]
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert [(each["image_id"], names[each["category_id"]]) for each in coco["annotations"]] == [
        *((1, "ball"), (1, "box"), (1, "ball")),
        *((2, "star"), (2, "ball"), (2, "box"), (2, "star")),
        (3, "ball"),
    ]


def test_its_labels_are_exported_at_a_lower_threshold(store, tmp_path):
    options = ExportOptions(min_confidence=0.1)
    export("jsonl", store, tmp_path / "jsonl", options)
    [file] = (tmp_path / "jsonl").glob("*.jsonl")
    objects = [json.loads(line)["objects"] for line in file.read_text().splitlines()]
    assert [len(each) for each in objects] == [3, 4, 1]


def test_its_tracks_are_exported_as_mots(store, tmp_path):
    export("mots", store, tmp_path / "mots", ExportOptions(run_id=CLIP))
    [file] = (tmp_path / "mots").rglob("gt.txt")
    lines = [line.split()[:2] for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 20
