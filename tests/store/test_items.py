"""Items of a label store: outcomes, raw predictions, states, registration, paths."""

from __future__ import annotations

import os

import pytest
from fixtures.stored_values import ONTOLOGY, RUN_CONFIG, ball, candidate, done, failed, predicted

from grounded_sam2.store import Item, LabelStore, Registration


def test_background_has_empty_labels_and_failures_have_none(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [done("a.jpg"), failed("b.jpg", "truncated"), done("c.jpg", ball())])
    assert [(item.item_id, len(labels)) for item, labels in store.labels()] == [
        ("a.jpg", 0),
        ("c.jpg", 1),
    ]
    assert [(item.item_id, reason) for item, reason in store.failures()] == [("b.jpg", "truncated")]


def test_an_outcome_replaces_the_earlier_one(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [done("a.jpg", ball(), ball(), ball())])
    store.write_batch(run.id, [done("a.jpg", ball(confidence=0.5))])
    [(_, labels)] = store.labels()
    assert [o.confidence for o in labels.objects] == [0.5]
    store.write_batch(run.id, [failed("a.jpg")])
    assert list(store.labels()) == []
    assert store.summary().objects == 0


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


def test_item_states_hold_status_hash_and_stamp(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.register_items(run.id, [("a.jpg", None), ("b.jpg", None)])
    store.write_batch(run.id, [done("a.jpg", content_hash="aa", file_stamp="10:99")])
    known = store.item_states(run.id, ["a.jpg", "b.jpg", "c.jpg"])
    assert set(known) == {"a.jpg", "b.jpg"}
    assert known["b.jpg"].status == "pending"
    a = known["a.jpg"]
    assert (a.status, a.content_hash, a.file_stamp) == ("done", "aa", "10:99")


def test_file_stamps_can_be_updated(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [done("a.jpg", ball(), file_stamp="10:1")])
    store.update_file_stamps(run.id, [Item("a.jpg", path=None, file_stamp="10:2")])
    known = store.item_states(run.id, ["a.jpg"])["a.jpg"]
    assert (known.status, known.file_stamp) == ("done", "10:2")
    assert store.summary().objects == 1


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
    assert registration == Registration(total=1, removed=1, removed_ids=("b.jpg",))
    assert (store.summary().images, store.summary().failed) == (2, 0)  # failed items are deleted
    registration = store.register_items(run.id, [("a.jpg", None)], prune=True)
    assert registration.removed == 1
    assert store.summary().images == 1
    assert store.predictions(run.id, "b.jpg") is None
    assert store.register_items(run.id, [("a.jpg", None)]).removed == 0


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


def test_relative_paths_start_at_the_store_and_addresses_stay(store, tmp_path):
    assert store.relative_path(tmp_path / "images") == "../images"
    assert store.relative_path("s3://bucket/images") == "s3://bucket/images"
    assert store.relative_path("caf\udce9") == "caf\\udce9"


def test_symbolic_links_in_image_paths_are_kept(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with LabelStore.create(tmp_path / "labeled") as store:
        run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        store.write_batch(run.id, [done("a.jpg", path=tmp_path / "link" / "a.jpg")])
        assert [item.path for item, _ in store.labels()] == [tmp_path / "link" / "a.jpg"]
