"""Labels of the items of a label store: round trips, order, rounding, memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from fixtures.stored_values import ONTOLOGY, RUN_CONFIG, ball, done, failed, square_mask

from grounded_sam2.errors import StoreError
from grounded_sam2.results import Labels
from grounded_sam2.store import Item, ItemOutcome


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


def test_a_mask_of_another_size_is_refused_with_its_whole_batch(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    wrong = done("b.jpg", ball(mask=square_mask((40, 40))))
    with pytest.raises(StoreError, match=r"'b\.jpg'.*\(40, 40\).*\(20, 30\)"):
        store.write_batch(run.id, [done("a.jpg", ball()), wrong])
    assert list(store.labels()) == []


def test_reading_holds_one_item_in_memory(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [done(f"{i:05}.jpg", *[ball()] * 5) for i in range(1000)])
    tracemalloc.start()
    count = sum(len(labels) for _, labels in store.labels())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 5000
    assert peak < 200_000  # all 5000 labels at once take more than two million bytes
