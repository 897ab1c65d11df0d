"""The label store: classes and summary, which combine its parts."""

from __future__ import annotations

from fixtures.stored_values import ONTOLOGY, RUN_CONFIG, ball, done, failed


def test_classes_are_in_ontology_order_then_alphabetical(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    assert store.classes() == ["ball", "box"]
    store.write_batch(
        run.id, [done("a.jpg", ball(class_name="zebra"), ball(class_name="ape"), ball())]
    )
    assert store.classes() == ["ball", "box", "ape", "zebra"]


def test_summary_counts_items_and_objects(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    assert store.register_items(run.id, [(f"{n}.jpg", None) for n in "abcde"]).total == 5
    store.write_batch(run.id, [done("a.jpg", ball(), ball()), done("b.jpg"), failed("c.jpg")])
    summary = store.summary()
    assert (summary.images, summary.background, summary.failed, summary.pending) == (2, 1, 1, 2)
    assert summary.objects_per_class == {"ball": 2, "box": 0}
    assert summary.objects == 2
