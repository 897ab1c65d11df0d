"""The label store: round trips, whole batches, one writer, many readers."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from grounded_sam2.errors import StoreError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Candidate, Label, Labels, RawPredictions
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig

RUN_CONFIG = RunConfig(
    models={"detector": "d", "segmenter": "s"},
    inference={"detector": {"task": "open_vocabulary_detection"}},
    postprocess={"detector": {"min_confidence": 0.3}, "cleanup": {"nms": "none"}},
    source="../images",
)
ONTOLOGY = (("red circle", "ball"), ("blue square", "box"), ("orange circle", "ball"))


def square_mask(size_hw: tuple[int, int] = (20, 30)):
    mask = np.zeros(size_hw, bool)
    mask[5:15, 5:25] = True
    return encode(mask)[0]


def ball(**changes) -> Label:
    label = Label(
        class_name="ball",
        caption="red circle",
        box_xyxy=(5.0, 5.0, 25.0, 15.0),
        mask=square_mask(),
        confidence=0.75,
        mask_quality=0.5,
    )
    return replace(label, **changes)


def done(item_id: str, *objects: Label, size_hw=(20, 30), **fields) -> ItemOutcome:
    fields = {"path": None, "content_hash": f"hash of {item_id}", **fields}
    return ItemOutcome(Item(item_id, size_hw=size_hw, **fields), Labels(size_hw, objects))


def candidate(**changes) -> Candidate:
    found = Candidate(
        caption="red circle",
        box_xyxy=(4.0, 4.0, 26.0, 16.0),
        mask=square_mask(),
        confidence=0.75,
        mask_quality=0.5,
    )
    return replace(found, **changes)


def predicted(item_id: str, *candidates: Candidate) -> ItemOutcome:
    """An image with raw predictions; every candidate of high confidence is a ball."""
    kept = [each for each in candidates if each.confidence >= 0.3]
    return ItemOutcome(
        Item(item_id, path=None, content_hash=f"hash of {item_id}", size_hw=(20, 30)),
        Labels((20, 30), (ball(),) * len(kept)),
        predictions=RawPredictions(frozenset({"red circle", "blue square"}), candidates),
        statuses=tuple("label" if each in kept else "low_confidence" for each in candidates),
    )


def failed(item_id: str, reason: str = "empty file") -> ItemOutcome:
    return ItemOutcome(Item(item_id, path=None), None, reason)


@pytest.fixture
def store(tmp_path):
    with LabelStore.create(tmp_path / "labeled") as store:
        yield store


# Writing and reading labels


def test_labels_are_read_as_they_were_written(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    item = Item("sub/a.jpg", path=None, content_hash="aa", size_hw=(20, 30), exif_orientation=6)
    labels = Labels((20, 30), (ball(), ball(track_id=7, origin="human")))

    store.write_batch(run.id, [ItemOutcome(item, labels)])

    assert list(store.labels()) == [(item, labels)]
    assert list(store.done_items()) == [item]


def test_values_that_a_model_does_not_give_stay_none(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    label = ball(mask=None, confidence=None, mask_quality=None)
    store.write_batch(run.id, [done("a.jpg", label)])
    [(_, labels)] = store.labels()
    assert labels.objects == (label,)


def test_background_has_empty_labels_and_failures_have_none(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [done("a.jpg"), failed("b.jpg", "truncated"), done("c.jpg", ball())])
    assert [(item.item_id, len(labels)) for item, labels in store.labels()] == [
        ("a.jpg", 0),
        ("c.jpg", 1),
    ]
    assert [(item.item_id, reason) for item, reason in store.failures()] == [("b.jpg", "truncated")]


def test_labels_of_returns_the_objects_of_one_item(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(
        run.id, [done("a.jpg"), failed("b.jpg"), done("c.jpg", ball(), ball(confidence=0.25))]
    )
    assert store.labels_of(run.id, "a.jpg") == Labels((20, 30))
    assert [o.confidence for o in store.labels_of(run.id, "c.jpg").objects] == [0.75, 0.25]
    assert store.labels_of(run.id, "b.jpg") is store.labels_of(run.id, "absent.jpg") is None
    assert store.labels_of(run.id + 1, "c.jpg") is None


def test_items_are_read_by_id_whatever_the_order_of_writing(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    for name in ("b.jpg", "ä.jpg", "a/z.jpg", "a.jpg", "B.jpg"):
        store.write_batch(run.id, [done(name, ball(), ball(confidence=0.25))])
    names = [item.item_id for item, _ in store.labels()]
    assert names == sorted(names) == ["B.jpg", "a.jpg", "a/z.jpg", "b.jpg", "ä.jpg"]
    assert all(
        [o.confidence for o in labels.objects] == [0.75, 0.25] for _, labels in store.labels()
    )


def test_boxes_are_rounded_to_hundredths_and_scores_to_four_decimals(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    label = ball(
        box_xyxy=(np.float32(0.123456), 1.005, 2.999, 3.0),
        confidence=np.float32(0.123456),
        mask_quality=0.98765,
    )
    store.write_batch(run.id, [done("a.jpg", label)])
    [(_, labels)] = store.labels()
    assert labels.objects[0].box_xyxy == (0.12, 1.0, 3.0, 3.0)
    assert labels.objects[0].confidence == 0.1235
    assert labels.objects[0].mask_quality == 0.9877


def test_an_outcome_replaces_the_earlier_one(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [done("a.jpg", ball(), ball(), ball())])
    store.write_batch(run.id, [done("a.jpg", ball(confidence=0.5))])
    [(_, labels)] = store.labels()
    assert [o.confidence for o in labels.objects] == [0.5]
    store.write_batch(run.id, [failed("a.jpg")])
    assert list(store.labels()) == []
    assert store.summary().objects == 0


def test_a_mask_of_another_size_is_refused_with_its_whole_batch(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    wrong = done("b.jpg", ball(mask=square_mask((40, 40))))
    with pytest.raises(StoreError, match=r"'b\.jpg'.*\(40, 40\).*\(20, 30\)"):
        store.write_batch(run.id, [done("a.jpg", ball()), wrong])
    assert list(store.labels()) == []


@pytest.mark.skipif(os.name != "posix", reason="names are Unicode elsewhere")
def test_an_item_id_that_is_not_utf8_is_found_again(store, tmp_path):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    name = os.fsdecode(b"caf\xe9.jpg")
    store.register_items(run.id, [(name, tmp_path / name)])
    store.write_batch(run.id, [done(name, ball(), path=tmp_path / name, content_hash="e9")])
    [(item, _)] = store.labels()
    assert item.item_id == "caf\\udce9.jpg"
    assert item.path == tmp_path / name
    assert store.item_states(run.id, [name])[name].status == "done"


def test_reading_holds_one_item_in_memory(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [done(f"{i:05}.jpg", *[ball()] * 5) for i in range(1000)])
    tracemalloc.start()
    count = sum(len(labels) for _, labels in store.labels())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 5000
    assert peak < 200_000  # all 5000 labels at once take more than two million bytes


# Paths


def test_paths_stay_valid_when_labels_and_images_move_together(tmp_path):
    (tmp_path / "before").mkdir()
    image = tmp_path / "before" / "images" / "a.jpg"
    with LabelStore.create(tmp_path / "before" / "labeled") as store:
        run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        store.write_batch(run.id, [done("a.jpg", path=image)])
        assert [item.path for item, _ in store.labels()] == [image]
    (tmp_path / "before").rename(tmp_path / "after")
    with LabelStore.open(tmp_path / "after" / "labeled") as store:
        assert [i.path for i, _ in store.labels()] == [tmp_path / "after" / "images" / "a.jpg"]


def test_symbolic_links_in_image_paths_are_kept(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with LabelStore.create(tmp_path / "labeled") as store:
        run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        store.write_batch(run.id, [done("a.jpg", path=tmp_path / "link" / "a.jpg")])
        assert [item.path for item, _ in store.labels()] == [tmp_path / "link" / "a.jpg"]


# Runs


def test_the_same_configuration_continues_its_run(tmp_path):
    with LabelStore.create(tmp_path) as store:
        first = store.begin_run(
            RUN_CONFIG, ontology=ONTOLOGY, settings={"a": 1}, versions={"torch": "2"}
        )
        store.write_batch(first.id, [done("a.jpg")])
    with LabelStore.create(tmp_path) as store:
        again = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        assert again == first
        assert (again.settings, again.versions) == ({"a": 1}, {"torch": "2"})
        assert again.config == RUN_CONFIG
        assert store.summary().images == 1


def test_a_changed_configuration_is_refused_with_each_difference(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [done("a.jpg")])
    changed = replace(
        RUN_CONFIG,
        postprocess={"detector": {"min_confidence": 0.4}, "cleanup": {"nms": "none"}},
        models={"detector": "other", "segmenter": "s"},
    )
    with pytest.raises(StoreError) as error:
        store.begin_run(changed)
    message = str(error.value)
    assert "detector.min_confidence: 0.3 → 0.4" in message
    assert "models.detector: 'd' → 'other'" in message
    assert "nms" not in message
    assert "another folder" in message
    assert "--new-run" in message
    assert len(store.runs()) == 1


def test_a_run_that_ended_before_its_first_batch_is_deleted(store):
    mistaken = store.begin_run(replace(RUN_CONFIG, models={"detector": "typo", "segmenter": "s"}))
    store.register_items(mistaken.id, [("a.jpg", None)])
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    assert store.runs() == [run]


def test_a_run_configuration_round_trips_through_json():
    assert RunConfig.from_json(RUN_CONFIG.to_json()) == RUN_CONFIG
    assert replace(RUN_CONFIG, source="elsewhere").key != RUN_CONFIG.key


def test_a_changed_ontology_continues_the_run_and_makes_labeled_items_pending(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [predicted("a.jpg", candidate()), failed("b.jpg")])

    renamed = (("red circle", "sphere"), *ONTOLOGY[1:])
    again = store.begin_run(RUN_CONFIG, ontology=renamed)

    assert (again.id, again.ontology) == (run.id, renamed)
    assert list(store.labels()) == []
    known = store.item_states(run.id, ["a.jpg", "b.jpg"])
    assert known["a.jpg"].status == "pending"
    assert known["a.jpg"].captions == {"red circle", "blue square"}
    assert known["b.jpg"].status == "failed"
    item, predictions = store.predictions(run.id, "a.jpg")
    assert item.content_hash == "hash of a.jpg"
    assert predictions.candidates == (candidate(),)
    assert store.predictions(run.id, "b.jpg") is None


def test_the_same_ontology_leaves_items_done(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [predicted("a.jpg", candidate())])
    store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    assert store.item_states(run.id, ["a.jpg"])["a.jpg"].status == "done"


def test_raw_predictions_are_read_as_they_were_written_and_dropped_ones_counted(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    unsure = candidate(confidence=0.15, mask=None, mask_quality=None)
    store.write_batch(run.id, [predicted("a.jpg", candidate(), unsure)])
    _, predictions = store.predictions(run.id, "a.jpg")
    assert predictions.captions == {"red circle", "blue square"}
    assert predictions.candidates == (candidate(), unsure)
    assert store.summary().dropped_candidates == {"low_confidence": 1}

    store.write_batch(run.id, [predicted("a.jpg", unsure)])  # replaces
    assert store.predictions(run.id, "a.jpg")[1].candidates == (unsure,)
    store.write_batch(run.id, [failed("a.jpg")])
    assert store.predictions(run.id, "a.jpg") is None


def test_a_run_with_other_postprocessing_copies_the_raw_predictions(store):
    first = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(
        first.id, [predicted("a.jpg", candidate()), predicted("b.jpg"), failed("c.jpg")]
    )
    strict = replace(RUN_CONFIG, postprocess={"detector": {"min_confidence": 0.9}})
    second = store.begin_run(strict, ontology=ONTOLOGY, new_run=True)
    known = store.item_states(second.id, ["a.jpg", "b.jpg", "c.jpg"])
    assert [each.status for each in known.values()] == ["pending", "pending", "failed"]
    assert store.predictions(second.id, "a.jpg") == store.predictions(first.id, "a.jpg")
    assert store.summary(first.id).images == 2

    other = replace(RUN_CONFIG, models={"detector": "other"})
    third = store.begin_run(other, ontology=ONTOLOGY, new_run=True)
    assert store.item_states(third.id, ["a.jpg"]) == {}


def test_two_runs_coexist_and_the_last_begun_is_current(store):
    first = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(first.id, [done("a.jpg", ball())])
    second = store.begin_run(replace(RUN_CONFIG, source="elsewhere"), new_run=True)
    store.write_batch(second.id, [done("a.jpg", ball(class_name="wheel", caption="wheel"))])

    assert store.run() == second
    assert [o.class_name for _, labels in store.labels() for o in labels.objects] == ["wheel"]
    [(_, labels)] = store.labels(first.id)
    assert labels.objects == (ball(),)

    assert store.begin_run(RUN_CONFIG, ontology=ONTOLOGY) == first
    assert store.run() == first
    assert [run.id for run in store.runs()] == [second.id, first.id]


def test_a_run_that_does_not_exist_is_named_in_the_error(store):
    with pytest.raises(StoreError, match="no run yet"):
        store.summary()
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    with pytest.raises(StoreError, match=f"no run 99; it has {run.id}"):
        store.run(99)


def test_classes_are_in_ontology_order_then_alphabetical(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    assert store.classes() == ["ball", "box"]
    store.write_batch(
        run.id, [done("a.jpg", ball(class_name="zebra"), ball(class_name="ape"), ball())]
    )
    assert store.classes() == ["ball", "box", "ape", "zebra"]


# Progress


def test_summary_counts_items_and_objects(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    assert store.register_items(run.id, [(f"{n}.jpg", None) for n in "abcde"]).total == 5
    store.write_batch(run.id, [done("a.jpg", ball(), ball()), done("b.jpg"), failed("c.jpg")])
    summary = store.summary()
    assert (summary.images, summary.background, summary.failed, summary.pending) == (2, 1, 1, 2)
    assert summary.objects_per_class == {"ball": 2, "box": 0}
    assert summary.objects == 2


def test_registering_again_keeps_results_and_deletes_absent_pending_items(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.register_items(run.id, [("a.jpg", None), ("b.jpg", None), ("gone.jpg", None)])
    store.write_batch(run.id, [done("a.jpg", ball())])
    store.register_items(run.id, [("a.jpg", None), ("b.jpg", None), ("new.jpg", None)])
    summary = store.summary()
    assert (summary.images, summary.objects, summary.pending) == (1, 1, 2)


def test_items_absent_from_the_source_are_reported_and_deleted_only_with_prune(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(
        run.id, [done("a.jpg", ball()), predicted("b.jpg", candidate()), failed("c.jpg")]
    )
    registration = store.register_items(run.id, [("a.jpg", None)])
    assert (registration.total, registration.removed, registration.removed_ids) == (
        1,
        1,
        ("b.jpg",),
    )
    assert (store.summary().images, store.summary().failed) == (2, 0)  # failed items are deleted
    registration = store.register_items(run.id, [("a.jpg", None)], prune=True)
    assert registration.removed == 1
    assert store.summary().images == 1
    assert store.predictions(run.id, "b.jpg") is None
    assert store.register_items(run.id, [("a.jpg", None)]).removed == 0


def test_file_stamps_can_be_updated(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [done("a.jpg", ball(), file_stamp="10:1")])
    store.update_file_stamps(run.id, [Item("a.jpg", path=None, file_stamp="10:2")])
    known = store.item_states(run.id, ["a.jpg"])["a.jpg"]
    assert (known.status, known.file_stamp) == ("done", "10:2")
    assert store.summary().objects == 1


def test_item_states_hold_status_hash_and_stamp(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.register_items(run.id, [("a.jpg", None), ("b.jpg", None)])
    store.write_batch(run.id, [done("a.jpg", content_hash="aa", file_stamp="10:99")])
    known = store.item_states(run.id, ["a.jpg", "b.jpg", "c.jpg"])
    assert set(known) == {"a.jpg", "b.jpg"}
    assert known["b.jpg"].status == "pending"
    a = known["a.jpg"]
    assert (a.status, a.content_hash, a.file_stamp) == ("done", "aa", "10:99")


# One writer, many readers


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path):
    with LabelStore.create(tmp_path) as store:
        run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        store.write_batch(run.id, [done("a.jpg")])
        with pytest.raises(StoreError, match="being labeled by another process"):
            LabelStore.create(tmp_path)
        with LabelStore.open(tmp_path) as reader:
            assert reader.summary().images == 1
            store.write_batch(run.id, [done("b.jpg")])
            assert reader.summary().images == 2
            with pytest.raises(StoreError, match="open for reading"):
                reader.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    LabelStore.create(tmp_path).close()


def test_a_writer_in_another_process_is_refused(tmp_path):
    program = (
        "import sys; from grounded_sam2.store import LabelStore; LabelStore.create(sys.argv[1])"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with LabelStore.create(tmp_path):
        stopped = subprocess.run(command, check=False, capture_output=True, text=True)
        assert stopped.returncode == 1
        assert "is being labeled by another process" in stopped.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_a_snapshot_does_not_see_later_writes(tmp_path):
    with LabelStore.create(tmp_path) as store, LabelStore.open(tmp_path) as reader:
        run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        store.write_batch(run.id, [done("a.jpg")])
        with reader.snapshot():
            assert reader.summary().images == 1
            store.write_batch(run.id, [done("b.jpg")])
            assert reader.summary().images == 1
        assert reader.summary().images == 2


def test_reading_leaves_no_files_beside_the_store(tmp_path):
    with LabelStore.create(tmp_path) as store:
        run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        store.write_batch(run.id, [done("a.jpg")])
    with LabelStore.open(tmp_path) as reader:
        assert reader.summary().images == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.db", "labels.lock"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only to the superuser"
)
def test_a_store_in_a_read_only_folder_can_be_read(tmp_path):
    with LabelStore.create(tmp_path / "labeled") as store:
        run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        store.write_batch(run.id, [done("a.jpg")])
    (tmp_path / "labeled").chmod(0o555)
    with LabelStore.open(tmp_path / "labeled") as reader:
        assert reader.summary().images == 1


WRITER = """
import os, signal, sys
from grounded_sam2.results import Labels
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig
store = LabelStore.create(sys.argv[1])
run = store.begin_run(RunConfig(models={}, inference={}))
def batch(names):
    for name in names:
        if name == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        yield ItemOutcome(Item(name, None), Labels((2, 2)))
class Lazy(list):
    def __iter__(self):
        return batch(["c.jpg", "d.jpg", "die"])
store.write_batch(run.id, list(batch(["a.jpg", "b.jpg"])))
store.write_batch(run.id, Lazy())
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_writer_leaves_whole_batches_and_no_lock(tmp_path):
    killed = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with LabelStore.open(tmp_path) as reader:
        assert [item.item_id for item in reader.done_items()] == ["a.jpg", "b.jpg"]
    with LabelStore.create(tmp_path) as store:
        assert store.summary().images == 2


# Files that are not label stores


def test_opening_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"labels\.db.*missing"):
        LabelStore.open(tmp_path)


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("here first")
    with pytest.raises(StoreError, match="cannot be made"):
        LabelStore.create(tmp_path / "file")


@pytest.mark.parametrize("opening", [LabelStore.create, LabelStore.open])
def test_a_file_that_is_not_sqlite_is_refused(tmp_path, opening):
    (tmp_path / "labels.db").write_bytes(b"not a database, and long enough to have pages" * 50)
    with pytest.raises(StoreError, match="cannot be read"):
        opening(tmp_path)


@pytest.mark.parametrize("opening", [LabelStore.create, LabelStore.open])
def test_an_sqlite_file_of_another_program_is_refused(tmp_path, opening):
    other = sqlite3.connect(tmp_path / "labels.db")
    other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    with pytest.raises(StoreError, match="no label store"):
        opening(tmp_path)


@pytest.mark.parametrize("opening", [LabelStore.create, LabelStore.open])
def test_a_store_of_a_later_version_is_refused(tmp_path, opening):
    LabelStore.create(tmp_path).close()
    later = sqlite3.connect(tmp_path / "labels.db")
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(StoreError, match=r"schema 99.*upgrade"):
        opening(tmp_path)


def test_a_failed_opening_releases_the_lock(tmp_path):
    (tmp_path / "labels.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError):
        LabelStore.create(tmp_path)
    (tmp_path / "labels.db").unlink()
    LabelStore.create(tmp_path).close()


def test_damage_inside_the_file_is_a_store_error(tmp_path):
    with LabelStore.create(tmp_path) as store:
        run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        store.write_batch(run.id, [done(f"{i}.jpg", *[ball()] * 20) for i in range(100)])
    whole = tmp_path / "labels.db"
    content = bytearray(whole.read_bytes())
    content[3 * 4096 :] = b"\x17" * (len(content) - 3 * 4096)
    whole.write_bytes(content)
    with pytest.raises(StoreError, match="restore it from a copy"), LabelStore.open(tmp_path) as s:
        list(s.labels())
