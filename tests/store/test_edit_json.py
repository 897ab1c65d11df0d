"""Edits as JSON values, and the masks and boxes in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.stored_values import ONTOLOGY, RUN_CONFIG, ball, done

from grounded_sam2.errors import GeometryError, StaleEditError, StoreError
from grounded_sam2.geometry.rle import Rle, encode
from grounded_sam2.results import Labels, TrackedFrame
from grounded_sam2.store import LabelStore, RunConfig, VideoRecord
from grounded_sam2.store.edit_json import apply_edit_lines, apply_edit_record
from grounded_sam2.store.edit_records import EDIT_ACTIONS

SIZE = (20, 30)


def rectangle(left: int, width: int = 5) -> Rle:
    pixels = np.zeros(SIZE, np.bool_)
    pixels[5:15, left : left + width] = True
    return encode(pixels[None])[0]


MASK = rectangle(3).to_coco()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    """Two balls in ``a.jpg``; as another run, two tracks on two frames of a clip."""
    shapes = [rectangle(2), rectangle(20)]
    balls = [ball(mask=shape, box_xyxy=shape.bbox_xyxy) for shape in shapes]
    tracked = [ball(mask=m, box_xyxy=m.bbox_xyxy, track_id=i) for i, m in enumerate(shapes, 1)]
    with LabelStore.create(tmp_path) as store:
        video = store.begin_run(RunConfig({"detector": "d", "tracker": "t"}, {}), new_run=True)
        store.begin_video(video.id, VideoRecord("clip", None, SIZE, content_hash="h"))
        frames = [TrackedFrame(i, i / 10, Labels(SIZE, tuple(tracked))) for i in range(2)]
        store.write_frames(video.id, "clip", frames)
        run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        store.write_batch(run.id, [done("a.jpg", *balls)])
    with LabelStore.open(tmp_path) as store:
        yield store


def apply(store: LabelStore, *, video: bool = False, **record: Any) -> Any:
    return apply_edit_record(store.edits, record, run_id=1 if video else None, actor="ann")


def test_every_action_can_be_sent(store: LabelStore) -> None:
    first, second = (each.uid for each in store.objects("a.jpg"))
    apply(store, action="accept", uid=first, version=store.objects("a.jpg")[0].version)
    apply(store, action="reject", uid=second)
    apply(store, action="delete", uid=second)
    apply(store, action="relabel", uid=first, **{"class": "cat"})
    apply(store, action="reshape", uid=first, mask=MASK, prompts={"points": [[1, 2]]}, model="m")
    added = apply(store, action="add", item="a.jpg", box=[1, 2, 9, 9], **{"class": "dog"})
    parts = [rectangle(3, 2).to_coco(), rectangle(5, 3).to_coco()]
    left, right = apply(store, action="split", uid=first, masks=parts)
    apply(store, action="merge", uids=[left, right])
    apply(store, action="confirm", item="a.jpg")
    apply(store, action="flag", item="a.jpg", note="look")
    apply(store, action="undo", item="a.jpg")
    apply(store, action="redo")
    track, other = (each.uid for each in store.objects("clip/000000", run_id=1))
    apply(store, video=True, action="anchor", uid=track, item="clip/000001", mask=MASK)
    apply(store, video=True, action="end_track", uid=other, item="clip/000000")
    apply(store, video=True, action="merge_tracks", uids=[track, other])
    history = store.history("a.jpg") + store.history("clip", run_id=1)
    assert {edit.action for edit in history} == set(EDIT_ACTIONS)
    assert {edit.actor for edit in history} == {"ann"}
    assert [(each.uid, each.class_name) for each in store.objects("a.jpg")] == [
        (added, "dog"),
        (left, "cat"),
    ]


def test_an_actor_of_its_own(store: LabelStore) -> None:
    edit = apply(store, action="accept", uid=store.objects("a.jpg")[0].uid, actor="bob")
    assert edit.actor == "bob"


def test_a_stale_edit_is_refused(store: LabelStore) -> None:
    with pytest.raises(StaleEditError):
        apply(store, action="confirm", item="a.jpg", version="0123")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "action None: must be one of"),
        ({"action": ["accept"]}, "must be one of"),
        ({"action": "merge", "uids": ["a", ["b"]]}, r"uids \['b'\]: must be text"),
        ({"action": "accept", "uid": "\udcff"}, "no object or candidate"),
        ({"action": "flag", "item": "a.jpg", "note": ["look"]}, r"note \['look'\]: must be text"),
        ({"action": "accept"}, "lacks key 'uid'"),
        ({"action": "accept", "uid": "a", "mask": None}, "unknown key 'mask'"),
        ({"action": "undo", "version": "a"}, "unknown key 'version'"),
        ({"action": "merge", "uids": "a"}, "uids 'a': must be a list"),
        ({"action": "relabel", "uid": "a", "class": None}, "class None: must be text"),
        ({"action": "add", "item": "a.jpg", "class": "cat", "mask": [1]}, "COCO run lengths"),
        ({"action": "add", "item": "a.jpg", "class": "cat"}, "a mask or a box"),
        ({"action": "add", "item": "a.jpg", "class": "cat", "box": [1, 2, 3]}, "four numbers"),
        ({"action": "add", "item": "a.jpg", "class": "cat", "box": "1 2 3 4"}, "four numbers"),
        ({"action": "add", "item": "a.jpg", "class": "cat", "box": "1234"}, "four numbers"),
        ({"action": "add", "item": "a.jpg", "class": "cat", "box": list("1234")}, "four numbers"),
        ({"action": "add", "item": "a.jpg", "class": "cat", "box": [1, 2, 3, 4, 5]}, "four"),
        ({"action": "add", "item": "a.jpg", "class": "cat", "box": [0, 0, 9, 10**400]}, "four"),
        ({"action": "add", "item": "a.jpg", "class": "c", "box": [9, 9, 1, 1]}, "x1 < x2"),
        ({"action": "add", "item": "a.jpg", "class": "c", "box": [40, 9, 50, 19]}, "no extent"),
        ({"action": "add", "item": "a.jpg", "class": "c", "box": [0, 0, float("nan"), 9]}, "box"),
    ],
)
def test_what_is_wrong_is_named(store: LabelStore, record: dict[str, Any], reason: str) -> None:
    with pytest.raises(StoreError, match=reason):
        apply(store, **record)
    assert store.edits.count() == 0


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.zeros(SIZE, np.bool_), "no pixels"),
        (np.ones((5, 5), np.bool_), r"size \(5, 5\).*\(20, 30\)"),
        (np.ones((*SIZE, 3), np.bool_), r"\(h, w\) bool"),
        (np.ones(SIZE, np.float32), r"float32.*\(h, w\) bool"),
        (Rle(SIZE, b"0"), "damaged|size"),
    ],
    ids=["empty", "another size", "three dimensions", "numbers", "damaged"],
)
def test_a_mask_that_cannot_be_one(store: LabelStore, mask: Any, reason: str) -> None:
    with pytest.raises((StoreError, GeometryError), match=reason):
        store.edits.add("a.jpg", "cat", mask)
    assert store.edits.count() == 0


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        ({"counts": MASK["counts"]}, "needs 'size'"),
        ({"size": [20, 30], "counts": "zz"}, "cut off"),
        ({"size": [20, 30], "counts": [-1, 601]}, "negative"),
        ({"size": [float("inf"), 30], "counts": [600]}, "needs 'size'"),
        ({"size": [10**12, 10**12], "counts": [0]}, "larger than any image"),
        ({"size": [30, 20], "counts": [0, 600]}, r"size \(30, 20\).*\(20, 30\)"),
    ],
)
def test_run_lengths_that_cannot_be_a_mask(
    store: LabelStore, mask: dict[str, Any], reason: str
) -> None:
    with pytest.raises((StoreError, GeometryError), match=reason):
        apply(store, action="add", item="a.jpg", mask=mask, **{"class": "cat"})
    assert store.edits.count() == 0


def test_a_box_is_clipped_to_its_image_and_rounded(store: LabelStore) -> None:
    apply(store, action="add", item="a.jpg", box=[-5, 2.504, float("inf"), 9], **{"class": "dog"})
    assert store.objects("a.jpg")[-1].box_xyxy == (0.0, 2.5, 30.0, 9.0)


def test_half_a_letter_is_kept_as_its_escape(store: LabelStore) -> None:
    apply(store, action="flag", item="a.jpg", note="look \udcff", actor="\udcff")
    apply(store, action="reshape", uid=store.objects("a.jpg")[0].uid, mask=MASK, model="\udcff")
    flagged, reshaped = store.history("a.jpg")
    assert (flagged.params["note"], flagged.actor) == ("look \\udcff", "\\udcff")
    assert reshaped.model == "\\udcff"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 3: is not JSON"),
        ("[" * 100_000, "line 3: is not JSON"),
        ("7", "line 3: is no JSON object"),
        ('{"action": "accept", "uid": "0123"}', "line 3: .* no object or candidate '0123'"),
        ('{"action": "confirm", "item": "a.jpg", "version": "0123"}', "line 3: .* has changed"),
    ],
    ids=["cut off", "nested", "number", "unknown", "stale"],
)
def test_one_wrong_line_and_no_edit_is_applied(store: LabelStore, line: str, reason: str) -> None:
    before = store.objects("a.jpg")
    lines = ['{"action": "confirm", "item": "a.jpg"}\n', "\n", f"{line}\n"]
    with pytest.raises(StoreError, match=f"(?s){reason}.*no edit of the file is applied"):
        apply_edit_lines(store.edits, lines)
    assert (store.objects("a.jpg"), store.edits.count()) == (before, 0)
