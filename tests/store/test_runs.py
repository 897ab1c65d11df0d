"""Runs of a label store: continued, refused, begun beside others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures.stored_values import ONTOLOGY, RUN_CONFIG, ball, candidate, done, failed, predicted

from grounded_sam2.errors import StoreError
from grounded_sam2.store import LabelStore, RunConfig


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


def test_a_changed_ontology_continues_the_run_and_makes_labeled_items_pending(store):
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [predicted("a.jpg", candidate()), failed("b.jpg")])

    renamed = (("red circle", "sphere"), *ONTOLOGY[1:])
    again = store.begin_run(RUN_CONFIG, ontology=renamed)

    assert (again.id, again.ontology) == (run.id, renamed)
    assert store.pending_postprocess(run.id) == ["a.jpg"]
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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"detector": "d", "segmenter": "s"}, {"grounder": "g"}),
        ({"detector": "d", "tracker": "t"}, {"grounder": "g", "tracker": "t"}),
    ],
)
def test_a_model_of_another_type_is_a_change_of_settings(store, before, after):
    run = store.begin_run(RunConfig(before, {}), ontology=ONTOLOGY)
    store.write_batch(run.id, [done("a.jpg")])
    with pytest.raises(StoreError, match=r"other settings.*new-run"):
        store.begin_run(RunConfig(after, {}), ontology=ONTOLOGY)
    assert store.begin_run(RunConfig({"import": "coco"}, {})).id != run.id
