"""Random sequences of edits, labeling runs, interruptions and restarts: no decision is lost.

The machine labels three images with two models, two thresholds and three ontologies, in any order,
and edits in between. An oracle that knows nothing of the store replays the decisions. After every
step the labels of every run are what the run proposes, with the person's decisions applied. At the
end all edits are undone, and the store exports the bytes of a twin that was never edited.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from PIL import Image as PillowImage

from grounded_sam2.config import load_config
from grounded_sam2.errors import StaleEditError, StoreError
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.geometry.rle import Rle, rectangle
from grounded_sam2.inference.postprocess import postprocess
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Candidate, Label, RawPredictions
from grounded_sam2.sources.fingerprint import file_hash
from grounded_sam2.store import Item, ItemOutcome, LabelStore, Run, RunConfig

SIZE_HW = (48, 64)
CELL = 16
ITEMS = ("a.png", "b.png", "sub/c.png")
CAPTIONS = ("red ball", "orange ball", "blue box")
ONTOLOGIES = (
    {"red ball": "ball", "orange ball": "ball", "blue box": "box"},
    {"red ball": "sphere", "orange ball": "sphere", "blue box": "box"},  # a class renamed
    {"red ball": "ball", "orange ball": "ball"},  # a class dropped
)
THRESHOLDS = (0.3, 0.6)
MODELS = ("first", "second")
NEW_CLASSES = ("ball", "cat")
A_NAME = st.sampled_from(ITEMS)
A_NUMBER = st.integers(0, 11)


def box_of(cell: int, shift: int, size: int = 12) -> tuple[float, float, float, float]:
    columns = SIZE_HW[1] // CELL
    left, top = cell % columns * CELL + shift, cell // columns * CELL + shift
    return float(left), float(top), float(left + size), float(top + size)


def mask_of(box: tuple[float, float, float, float]) -> Rle:
    left, top, right, bottom = map(int, box)
    return rectangle((left, top, right, bottom), SIZE_HW)


def candidates_of(model: str, item: int) -> tuple[Candidate, ...]:
    """What a model finds: the second one finds most objects of the first, a pixel further."""
    found = []
    for cell in range(10):
        number = item + cell
        if model == "second" and number % 4 == 0:
            continue  # missed by the second model
        if model == "first" and number % 5 == 0:
            continue  # found by the second alone
        caption = CAPTIONS[number % 3]
        if model == "second" and number % 7 == 0:
            caption = CAPTIONS[(number + 2) % 3]  # taken for something else
        box = box_of(cell, 0 if model == "first" else 1)
        found.append(Candidate(caption, box, mask_of(box), 0.4 + 0.05 * number % 0.6, 0.9))
    return tuple(found)


@dataclass
class Decision:
    """What the person decided about a uid, as the oracle remembers it."""

    stands: bool
    shapes: list[Label] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    class_name: str | None = None  # named by the person
    mask: Rle | None = None
    made_by_person: bool = False


@dataclass(frozen=True)
class Step:
    """One edit as the oracle replays it: labels before and after."""

    before: tuple[Label, ...]
    after: tuple[Label, ...]
    seen: frozenset[str]
    kind: str = ""
    confirmed: frozenset[str] = frozenset()
    flag: str | None = None


def decisions_of(steps: Sequence[Step]) -> dict[str, Decision]:
    decisions: dict[str, Decision] = {}
    for step in steps:
        after = {label.uid: label for label in step.after}
        named = any(
            label.uid in decisions and decisions[label.uid].class_name for label in step.before
        )
        for label in step.before:
            decision = decisions.setdefault(label.uid, Decision(True))
            decision.stands = label.uid in after
            decision.seen |= step.seen
            decision.shapes.append(label)
            if not decision.stands and step.kind == "delete" and decision.made_by_person:
                decision.shapes.clear()
        for uid, label in after.items():
            decision = decisions.setdefault(uid, Decision(True))
            decision.stands, decision.mask = True, label.mask
            decision.seen |= step.seen
            decision.shapes.append(label)
            decision.made_by_person |= not step.before
            if step.kind in ("relabel", "add") or named:
                decision.class_name = label.class_name
    return decisions


@lru_cache(maxsize=10_000)
def pixels_of(mask: Rle) -> np.ndarray:
    return mask.decode()


def iou_of(label: Label, other: Label) -> float:
    """IoU of two masks, pixel by pixel: every object of these tests has one."""
    assert label.mask is not None
    assert other.mask is not None
    a, b = pixels_of(label.mask), pixels_of(other.mask)
    return float((a & b).sum() / (a | b).sum())


def is_same(label: Label, decision: Decision) -> bool:
    for shape in decision.shapes:
        iou = iou_of(label, shape)
        alike = label.class_name == shape.class_name or label.caption == shape.caption
        if (alike and iou >= 0.5) or (decision.stands and iou >= 0.7):
            return True
    return False


class EditedStore(RuleBasedStateMachine):
    """A store that is labeled and edited in turns, and its untouched twin."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        for number, name in enumerate(ITEMS):
            path = self.root / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            PillowImage.new("RGB", SIZE_HW[::-1], (number, 0, 0)).save(path)
        self.folders = (self.root / "edited", self.root / "twin")
        for folder in self.folders:
            LabelStore.create(folder).close()
        self.store = LabelStore.open(self.folders[0])
        self.steps: dict[str, list[Step]] = {name: [] for name in ITEMS}
        self.undone: dict[str, list[Step]] = {name: [] for name in ITEMS}
        self.last_config = ("", 0.0, 0)

    def teardown(self) -> None:
        for name, steps in self.steps.items():
            for _ in range(len(steps)):
                self.store.edits.undo(name)
        self.store.close()
        self.check_equal_exports()
        shutil.rmtree(self.root)

    def check_equal_exports(self) -> None:
        model, threshold, ontology = self.last_config
        for folder in self.folders:  # a run that was interrupted is completed
            self.label_into(folder, model, threshold, ontology, len(ITEMS))
        with LabelStore.open(self.folders[0]) as edited, LabelStore.open(self.folders[1]) as twin:
            for run, other in zip(edited.runs(), twin.runs(), strict=True):
                assert list(edited.labels(run.id)) == list(twin.labels(other.id))
                assert uids_of(edited, run) == uids_of(twin, other)
            for name, store in (("edited", edited), ("twin", twin)):
                options = ExportOptions(images="link")
                export("jsonl", store, self.root / f"{name}-export", options)
        exports = [self.root / f"{name}-export" / "labels.jsonl" for name in ("edited", "twin")]
        assert exports[0].read_bytes() == exports[1].read_bytes()

    # Labeling

    def label_into(
        self, folder: Path, model: str, threshold: float, ontology: int, count: int
    ) -> None:
        """Label the first images; an interrupted run leaves the others as they are."""
        captions = CaptionOntology(ONTOLOGIES[ontology])
        config = load_config({"detector": {"min_confidence": threshold}})
        run_config = RunConfig(
            models={"detector": model, "segmenter": model},
            inference={},
            postprocess={"detector": {"min_confidence": threshold}},
        )
        with LabelStore.create(folder) as store:
            pairs = tuple(ONTOLOGIES[ontology].items())
            run = store.begin_run(run_config, ontology=pairs, new_run=True)
            for number, name in enumerate(ITEMS[:count]):
                path = self.root / "images" / name
                item = Item(name, path, file_hash(path), SIZE_HW)
                predictions = RawPredictions(frozenset(CAPTIONS), candidates_of(model, number))
                result = postprocess(predictions.candidates, SIZE_HW, captions, config)
                outcome = ItemOutcome(
                    item, result.labels, predictions=predictions, statuses=result.statuses
                )
                store.write_batch(run.id, [outcome])

    @initialize()
    def label_all(self) -> None:
        self.label("first", THRESHOLDS[0], 0, len(ITEMS))

    @rule(
        model=st.sampled_from(MODELS),
        threshold=st.sampled_from(THRESHOLDS),
        ontology=st.sampled_from(range(len(ONTOLOGIES))),
        count=st.integers(1, len(ITEMS)),
    )
    def label(self, model: str, threshold: float, ontology: int, count: int) -> None:
        for folder in self.folders:
            self.label_into(folder, model, threshold, ontology, count)
        self.last_config = (model, threshold, ontology)

    @rule(item=A_NAME)
    def fail_and_retry(self, item: str) -> None:
        model, threshold, ontology = self.last_config
        for folder in self.folders:
            with LabelStore.create(folder) as store:
                failed = ItemOutcome(Item(item, None), None, "out of memory")
                store.write_batch(store.run().id, [failed])
            self.label_into(folder, model, threshold, ontology, len(ITEMS))

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = LabelStore.open(self.folders[0])

    @rule(item=A_NAME)
    def interrupted_edit(self, item: str) -> None:
        """What was not committed when a process ended did not happen."""

        def reject_all_and_stop() -> None:
            with self.store.edits.batch():
                for label in self.objects(item):
                    self.store.edits.reject(label.uid)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            reject_all_and_stop()

    # Editing

    def objects(self, item: str) -> tuple[Label, ...]:
        try:
            return self.store.objects(item, include_rejected=True)
        except StoreError:  # not labeled in the current run
            return ()

    def unreviewed(self, item: str, *without: str) -> frozenset[str]:
        objects = self.objects(item)
        return frozenset(each.uid for each in objects if each.review == "unreviewed") - {*without}

    def record(self, item: str, step: Step) -> None:
        self.steps[item].append(step)
        self.undone[item].clear()

    def edit(self, item: str, number: int, kind: str, *values: object) -> None:
        """Edit one object of an item, chosen by number, and record what the store did."""
        objects = self.objects(item)
        if not objects:
            return
        label = objects[number % len(objects)]
        seen = self.unreviewed(item, label.uid)
        with pytest.raises(StaleEditError) as refused:
            self.store.edits.accept(label.uid, version="another")
        assert (refused.value.current, refused.value.version) == ((label,), label.version)
        done = getattr(self.store.edits, kind)(label.uid, *values, version=label.version)
        edit = self.store.history(item)[-1]
        assert (edit.action, edit.uids, edit.before) == (kind, (label.uid,), (label,))
        assert done in (edit, [each.uid for each in edit.after])
        self.record(item, Step(edit.before, edit.after, seen, kind))

    @rule(item=A_NAME, number=A_NUMBER)
    def accept(self, item: str, number: int) -> None:
        self.edit(item, number, "accept")

    @rule(item=A_NAME, number=A_NUMBER)
    def reject(self, item: str, number: int) -> None:
        self.edit(item, number, "reject")

    @rule(item=A_NAME, number=A_NUMBER)
    def delete(self, item: str, number: int) -> None:
        self.edit(item, number, "delete")

    @rule(item=A_NAME, number=A_NUMBER, class_name=st.sampled_from(NEW_CLASSES))
    def relabel(self, item: str, number: int, class_name: str) -> None:
        self.edit(item, number, "relabel", class_name)

    @rule(item=A_NAME, number=A_NUMBER, shift=st.integers(0, 3))
    def reshape(self, item: str, number: int, shift: int) -> None:
        self.edit(item, number, "reshape", mask_of(box_of(number, shift)))

    @rule(item=A_NAME, number=A_NUMBER)
    def split(self, item: str, number: int) -> None:
        if objects := self.objects(item):
            left, top, right, bottom = objects[number % len(objects)].box_xyxy
            middle = (left + right) // 2
            boxes = (left, top, middle, bottom), (middle, top, right, bottom)
            if middle > left:
                self.edit(item, number, "split", [mask_of(box) for box in boxes])

    @rule(
        item=A_NAME,
        cell=st.integers(0, 11),
        shift=st.integers(0, 4),
        class_name=st.sampled_from(NEW_CLASSES),
    )
    def add(self, item: str, cell: int, shift: int, class_name: str) -> None:
        if not self.objects(item):
            return
        seen = self.unreviewed(item)
        uid = self.store.edits.add(item, class_name, mask_of(box_of(cell, shift)))
        edit = self.store.history(item)[-1]
        assert edit.uids == (uid,)
        self.record(item, Step((), edit.after, seen, "add"))

    @rule(item=A_NAME, numbers=st.tuples(st.integers(0, 5), st.integers(6, 11)))
    def merge(self, item: str, numbers: tuple[int, int]) -> None:
        objects = [each for each in self.objects(item) if each.review != "rejected"]
        if len(objects) < 2:
            return
        first, second = (objects[number % len(objects)] for number in numbers)
        if first.uid == second.uid:
            return
        seen = self.unreviewed(item, first.uid, second.uid)
        edit = self.store.edits.merge([first.uid, second.uid])
        assert {each.uid for each in edit.before} == {first.uid, second.uid}
        self.record(item, Step(edit.before, edit.after, seen, "merge"))

    @rule(item=A_NAME)
    def confirm(self, item: str) -> None:
        if not self.objects(item):
            return
        edit = self.store.edits.confirm(item)
        classes = frozenset(edit.params["classes"])
        named = {name for _, name in self.store.run().ontology or ()}
        assert classes >= named
        confirmed = classes | frozenset(edit.params["captions"])
        self.record(item, Step(edit.before, edit.after, frozenset(), "confirm", confirmed))

    @rule(item=A_NAME, note=st.sampled_from(["look", None]))
    def flag(self, item: str, note: str | None) -> None:
        if not self.objects(item):
            return
        self.store.edits.flag(item, note)
        self.record(item, Step((), (), frozenset(), "flag", flag=note))

    @rule(item=A_NAME)
    def undo(self, item: str) -> None:
        if not self.objects(item):
            return
        if not self.steps[item]:
            with pytest.raises(StoreError, match="undo"):
                self.store.edits.undo(item)
            return
        self.store.edits.undo(item)
        self.undone[item].append(self.steps[item].pop())

    @rule(item=A_NAME)
    def redo(self, item: str) -> None:
        if not self.objects(item):
            return
        if not self.undone[item]:
            with pytest.raises(StoreError, match="redo"):
                self.store.edits.redo(item)
            return
        self.store.edits.redo(item)
        self.steps[item].append(self.undone[item].pop())

    # What must hold after every step

    @invariant()
    def labels_are_proposals_with_the_decisions_applied(self) -> None:
        with LabelStore.open(self.folders[1]) as twin:
            for run, other in zip(self.store.runs(), twin.runs(), strict=True):
                found = {item.item_id: (item, labels) for item, labels in self.store.labels(run.id)}
                proposed = {item.item_id: labels.objects for item, labels in twin.labels(other.id)}
                assert found.keys() == proposed.keys()
                for name, (item, labels) in found.items():
                    self.check(run, item, labels.objects, proposed[name])

    def check(
        self, run: Run, item: Item, labels: Sequence[Label], proposals: Sequence[Label]
    ) -> None:
        steps = self.steps[item.item_id]
        decisions = decisions_of(steps)
        confirmed = frozenset().union(*(step.confirmed for step in steps))
        by_uid = {label.uid: label for label in labels}
        assert len(by_uid) == len(labels)
        for uid, decision in decisions.items():
            assert (uid in by_uid) == decision.stands
            if decision.stands:
                label = by_uid[uid]
                assert (label.origin, label.review) == ("human", "accepted")
                assert label.mask == decision.mask
                assert decision.class_name in (None, label.class_name)
        left_alone = [
            label
            for label in proposals
            if label.uid not in decisions
            and confirmed.isdisjoint({label.class_name, label.caption})
            and not any(
                label.uid not in decision.seen and is_same(label, decision)
                for decision in decisions.values()
            )
        ]
        assert [label for label in labels if label.uid not in decisions] == left_alone
        assert item.is_confirmed == any(step.kind == "confirm" for step in steps)
        flags = [step.flag for step in steps if step.kind == "flag"]
        assert item.flag == (flags[-1] if flags else None)


def uids_of(store: LabelStore, run: Run) -> list[str]:
    return [label.uid for _, labels in store.labels(run.id) for label in labels.objects]


EditedStore.TestCase.settings = settings(
    max_examples=int(os.environ.get("EDIT_EXAMPLES", "12")),
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # shrinking takes minutes: set it while you look into a failure
    suppress_health_check=list(HealthCheck),
)
TestEditedStore = EditedStore.TestCase


@pytest.mark.slow
class TestEditedStoreForThousandsOfSteps(EditedStore.TestCase):
    settings = settings(EditedStore.TestCase.settings, max_examples=100, stateful_step_count=50)
