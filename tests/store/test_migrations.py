"""Stores of earlier schema versions are upgraded in one transaction and lose nothing."""

from __future__ import annotations

import json
import sqlite3
from hashlib import sha256

import pytest

from grounded_sam2.errors import StoreError
from grounded_sam2.store import LabelStore, RunConfig
from grounded_sam2.store.migrations import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION

VERSION_1_RECIPE = {
    "config": {
        "detector": {"min_confidence": 0.3, "task": "open_vocabulary_detection"},
        "segmenter": {"min_mask_quality": 0.0},
        "cleanup": {"nms": "none"},
    },
    "models": {"detector": "d"},
    "ontology": [["red circle", "ball"], ["blue square", "box"]],
    "source": "../images",
}


def write_first_version(folder, *run_configs: dict) -> None:
    """Write a store of schema version 1: one labeled image in each run."""
    folder.mkdir(exist_ok=True)
    old = sqlite3.connect(folder / "labels.db")
    old.executescript(MIGRATIONS[0])
    for number, run_config in enumerate(run_configs, start=1):
        old.execute(
            "INSERT INTO runs VALUES (?, ?, ?, '{}', '{}', '2026-01-01T00:00:00+00:00', ?)",
            (number, f"key {number}", json.dumps(run_config), number),
        )
        old.execute(
            "INSERT INTO items VALUES (?, ?, 'a.jpg', 'a.jpg', 'aa', '1:2', 20, 30, 6, NULL, "
            "'done', NULL)",
            (number, number),
        )
        old.execute(
            "INSERT INTO objects VALUES (?, ?, 0, 'ball', 'red circle', 1, 2, 3, 4, NULL, 0.75, "
            "NULL, NULL, 'model', 'unreviewed')",
            (number, number),
        )
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()


def test_published_steps_are_unchanged():
    digests = [sha256(step.encode()).hexdigest() for step in MIGRATIONS]
    assert digests == [
        "ef4bd9d8eee5739aa0dd04426f5db70f6e94f9e3ffe2244f52e6f1f4c405fcef",
        "6f705c04597c1cc3136e53537d0a2efb793e82cfb3bbb03f837643f5083f3fc5",
        "666032f94cf10eae3101b1a571d2976c3593ffabcee9ae0f0cd7ff8bacd8668a",
        "ec0e574663851c84c85252b95d4636b695c684c3e13d565efca304ef84f90dd7",
    ]


def test_a_version_1_store_keeps_its_labels_and_its_run(tmp_path):
    write_first_version(tmp_path, VERSION_1_RECIPE)
    with LabelStore.create(tmp_path) as store:
        [(item, labels)] = store.labels()
        assert (item.item_id, item.size_hw, item.exif_orientation) == ("a.jpg", (20, 30), 6)
        [ball] = labels.objects
        assert (ball.class_name, ball.confidence, ball.detected_box_xyxy) == ("ball", 0.75, None)
        run = store.run()
        assert run.ontology == (("red circle", "ball"), ("blue square", "box"))
        assert run.config == RunConfig(
            models={"detector": "d"},
            inference={"detector": {"task": "open_vocabulary_detection"}, "segmenter": {}},
            postprocess={
                "detector": {"min_confidence": 0.3},
                "segmenter": {"min_mask_quality": 0.0},
                "cleanup": {"nms": "none"},
            },
            source="../images",
        )
        assert store.begin_run(run.config, ontology=run.ontology) == run
        assert store.item_states(run.id, ["a.jpg"])["a.jpg"].captions is None


def test_version_1_runs_that_differ_in_ontology_alone_both_stay(tmp_path):
    write_first_version(tmp_path, VERSION_1_RECIPE, {**VERSION_1_RECIPE, "ontology": None})
    with LabelStore.create(tmp_path) as store:
        first, second = store.runs()
        assert first.ontology is not None
        assert second.ontology is None
        assert store.summary(first.id).objects == store.summary(second.id).objects == 1


def test_a_failed_migration_leaves_the_store_unchanged(tmp_path):
    write_first_version(tmp_path, {"no": "ontology in it"})
    with pytest.raises(StoreError):
        LabelStore.create(tmp_path)
    old = sqlite3.connect(tmp_path / "labels.db")
    assert old.execute("PRAGMA user_version").fetchone() == (1,)
    tables = {name for (name,) in old.execute("SELECT name FROM sqlite_master")}
    assert "candidates" not in tables
    assert old.execute("SELECT count(*) FROM objects").fetchone() == (1,)
    old.close()


def test_a_version_2_store_gains_the_video_tables(tmp_path):
    old = sqlite3.connect(tmp_path / "labels.db")
    old.create_function("recipe_ontology", 1, lambda text: None)
    old.create_function("recipe_without_ontology", 1, lambda text: text)
    old.create_function("recipe_key", 1, lambda text: "key")
    old.executescript("".join(MIGRATIONS[:2]))
    old.execute(
        "INSERT INTO runs VALUES (1, 'key', ?, '{}', '{}', '2026-01-01T00:00:00+00:00', 1, NULL)",
        (RunConfig(models={"detector": "d"}, inference={}).to_json(),),
    )
    old.execute(
        "INSERT INTO items (key, run_id, item_id, height, width, status) "
        "VALUES (1, 1, 'a.jpg', 20, 30, 'done')"
    )
    old.execute(
        "INSERT INTO objects (item_key, position, class_name, x_min, y_min, x_max, y_max, "
        "track_id, origin) VALUES (1, 0, 'ball', 1, 2, 3, 4, 7, 'human')"
    )
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute("PRAGMA user_version = 2")
    old.commit()
    old.close()
    with LabelStore.create(tmp_path) as store:
        [(item, labels)] = store.labels()
        assert (item.item_id, item.frame_index, item.time) == ("a.jpg", None, None)
        [ball] = labels.objects
        assert (ball.track_id, ball.track_origin, ball.origin) == (7, None, "human")
        assert store.videos() == []


def test_a_new_store_has_the_current_version(tmp_path):
    with LabelStore.create(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "labels.db")
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()
