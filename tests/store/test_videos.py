"""Videos in the label store: batches whole or not at all, and tracks without holding a video."""

from __future__ import annotations

import sqlite3
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grounded_sam2.errors import StoreError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import BrokenFrame, Label, Labels, TrackedFrame
from grounded_sam2.store import (
    Item,
    ItemOutcome,
    LabelStore,
    RunConfig,
    VideoRecord,
    video_writer,
)

RUN_CONFIG = RunConfig(models={"detector": "d", "tracker": "t"}, inference={}, source="../clips")
SIZE = (20, 30)


def ball(track_id: int | None, track_origin="forwards", **changes) -> Label:
    mask = np.zeros(SIZE, bool)
    mask[5:15, 5:25] = True
    label = Label("ball", "red circle", (5.0, 5.0, 25.0, 15.0), encode(mask)[0], 0.75, 0.5)
    return replace(label, track_id=track_id, track_origin=track_origin, **changes)


def frame(index: int, *objects: Label, size_hw=SIZE) -> TrackedFrame:
    return TrackedFrame(index, index / 25, Labels(size_hw, objects))


def clip(name: str = "clip.mp4", **changes) -> VideoRecord:
    record = VideoRecord(name, None, size_hw=SIZE, fps=25.0, content_hash=f"hash of {name!a}")
    return replace(record, **changes)


@pytest.fixture
def store(tmp_path):
    with LabelStore.create(tmp_path / "tracked") as store:
        store.begin_run(RUN_CONFIG)
        yield store


@pytest.fixture
def run_id(store):
    return store.run().id


def indices(store) -> list[int | None]:
    return [item.frame_index for item, _ in store.labels()]


# What goes in comes out


def test_frames_are_items_in_the_group_of_their_video(store, run_id, tmp_path):
    path = tmp_path / "clips" / "clip.mp4"
    record = clip(path=path, file_stamp="9:9", frame_count=300, stride=2)
    begun = store.begin_video(run_id, record)
    assert (begun.record, begun.frames, begun.last_index) == (record, 0, None)
    assert (begun.finished, begun.error, begun.broken_frames) == (False, None, 0)

    objects = (ball(1), ball(2, "backwards"), ball(None, None))
    store.write_frames(run_id, "clip.mp4", [frame(0), frame(2, *objects)])

    items = [
        Item(
            f"clip.mp4/{index:06}",
            path,
            "hash of 'clip.mp4'",
            SIZE,
            group="clip.mp4",
            file_stamp="9:9",
            frame_index=index,
            time=index / 25,
        )
        for index in (0, 2)
    ]
    assert list(store.labels()) == list(store.frames(run_id, "clip.mp4"))
    assert list(store.labels()) == [(items[0], Labels(SIZE)), (items[1], Labels(SIZE, objects))]
    assert list(store.done_items()) == items
    assert store.labels_of(run_id, "clip.mp4/000002") == Labels(SIZE, objects)
    [video] = store.videos()
    assert (video, video.frames, video.last_index) == (store.video(run_id, "clip.mp4"), 2, 2)
    assert store.summary().images == 2
    assert store.item_states(run_id, ["clip.mp4/000002"])["clip.mp4/000002"].status == "done"


def test_a_video_may_be_moved_together_with_its_labels(store, run_id, tmp_path):
    store.begin_video(run_id, clip(path=tmp_path / "tracked" / "clip.mp4"))
    store.close()
    moved = (tmp_path / "tracked").rename(tmp_path / "elsewhere")
    with LabelStore.open(moved) as there:
        assert there.videos()[0].record.path == moved / "clip.mp4"


def test_a_name_that_is_no_text_is_still_a_name(store, run_id):
    name = "caf\udce9.mp4"
    path = Path("/clips") / name
    store.begin_video(run_id, clip(name, path=path))
    store.write_frames(run_id, name, [frame(0)])
    assert store.video(run_id, name).record.path == path
    [(item, _)] = store.labels()
    assert item.path == path
    assert item.item_id == r"caf\udce9.mp4/000000"


def test_frames_come_in_the_order_of_the_video_however_many_digits(store, run_id):
    store.begin_video(run_id, clip("b"))
    store.begin_video(run_id, clip("a"))
    store.begin_video(run_id, clip("a/000001"))
    store.write_frames(run_id, "b", [frame(7)])
    store.write_frames(run_id, "a", [frame(1_000_000), frame(999_999), frame(2)])
    store.write_frames(run_id, "a/000001", [frame(5)])
    ids = ["a/000002", "a/999999", "a/1000000", "a/000001/000005", "b/000007"]
    assert [item.item_id for item, _ in store.labels()] == ids
    assert [item.item_id for item in store.done_items()] == ids


def test_images_and_videos_of_one_run_come_one_after_the_other(store, run_id):
    store.begin_video(run_id, clip("a.mp4"))
    store.write_frames(run_id, "a.mp4", [frame(0)])
    image = Item("b.jpg", None, "aa", SIZE)
    store.write_batch(run_id, [ItemOutcome(image, Labels(SIZE, (ball(1),)))])
    assert [item.item_id for item, _ in store.labels()] == ["b.jpg", "a.mp4/000000"]
    assert [item.content_key for item in store.done_items()] == ["aa", "hash of 'a.mp4' frame 0"]


def test_an_unknown_video_is_told_by_name(store, run_id):
    assert store.video(run_id, "x.mp4") is None
    assert store.tracker_state(run_id, "x.mp4") is None
    assert store.videos() == []
    for ask in (store.tracks, store.frames, store.labels_by_track):
        with pytest.raises(StoreError, match=r"no video 'x\.mp4'"):
            list(ask(run_id, "x.mp4"))
    with pytest.raises(StoreError, match=r"no video 'x\.mp4'"):
        store.write_frames(run_id, "x.mp4", [frame(0)])


# Tracks


def test_tracks_are_read_one_after_the_other(store, run_id):
    store.begin_video(run_id, clip())
    store.begin_video(run_id, clip("other.mp4"))
    store.write_frames(run_id, "other.mp4", [frame(3, ball(1))])
    box = ball(1, class_name="box")
    frames = [frame(0, ball(2)), frame(1, box, ball(2)), frame(5, ball(None), ball(1), ball(2))]
    store.write_frames(run_id, "clip.mp4", [*frames[1:], frames[0], frame(9, ball(1))])
    found = [
        (label.track_id, index, label.class_name)
        for index, label in store.labels_by_track(run_id, "clip.mp4")
    ]
    assert found == [
        *((1, 1, "box"), (1, 5, "ball"), (1, 9, "ball")),
        *((2, 0, "ball"), (2, 1, "ball"), (2, 5, "ball")),
    ]
    tracks = [
        (track.track_id, track.class_name, track.frames, track.first_index, track.last_index)
        for track in store.tracks(run_id, "clip.mp4")
    ]
    assert tracks == [(1, "ball", 3, 1, 9), (2, "ball", 3, 0, 5)]
    [(_, label), *_] = store.labels_by_track(run_id, "clip.mp4")
    assert label == box


def test_a_video_without_objects_has_no_tracks(store, run_id):
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0)])
    assert store.tracks(run_id, "clip.mp4") == []
    assert list(store.labels_by_track(run_id, "clip.mp4")) == []


@pytest.mark.parametrize("read", ["labels", "labels_by_track"])
def test_reading_holds_no_video(store, run_id, read):
    noise = np.random.default_rng(0).random((200, 300)) < 0.5  # a mask of 20 kB or more
    mask = encode(noise)[0]
    store.begin_video(run_id, clip(size_hw=(200, 300)))
    for start in range(0, 600, 100):
        frames = [
            frame(index, ball(1, mask=mask), ball(2, mask=mask), size_hw=(200, 300))
            for index in range(start, start + 100)
        ]
        store.write_frames(run_id, "clip.mp4", frames)
    reading = store.labels() if read == "labels" else store.labels_by_track(run_id, "clip.mp4")
    tracemalloc.start()
    number = sum(1 for _ in reading)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert number == (600 if read == "labels" else 1200)
    assert peak < 20 * len(mask.counts)


def test_no_question_looks_through_all_rows(store, run_id):
    store.begin_video(run_id, clip())
    queries: list[str] = []
    connection = store._connection
    connection.set_trace_callback(queries.append)
    list(store.labels())
    list(store.done_items())
    store.write_frames(run_id, "clip.mp4", [frame(0, ball(1))])
    list(store.labels_by_track(run_id, "clip.mp4"))
    store.tracks(run_id, "clip.mp4")
    store.begin_video(run_id, clip(), restart=True)
    connection.set_trace_callback(None)
    questions = [query for query in queries if query.startswith(("SELECT", "DELETE", "UPDATE"))]
    assert len(questions) > 9
    for query in questions:
        for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall():
            assert not step.startswith(("SCAN i", "SCAN o", "SCAN objects", "SCAN items")), query


# Batches, resume


def test_a_batch_is_there_whole_with_its_state_or_not_at_all(store, run_id):
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0, ball(1))], state=b"first")
    with pytest.raises(StoreError, match=r"clip\.mp4/000002.*\(9, 9\).*one size"):
        store.write_frames(
            run_id, "clip.mp4", [frame(1), frame(2, size_hw=(9, 9))], state=b"second"
        )
    assert indices(store) == [0]
    assert store.tracker_state(run_id, "clip.mp4") == b"first"
    assert store.video(run_id, "clip.mp4").last_index == 0


def test_a_killed_run_goes_on_from_its_last_batch(store, run_id):
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0), frame(1)], state=b"first")
    store.write_frames(run_id, "clip.mp4", [frame(2)], state=b"second", broken_frames=2)
    store.close()
    with LabelStore.create(store.folder) as again:
        assert again.begin_run(RUN_CONFIG).id == run_id
        video = again.begin_video(run_id, clip())
        assert (video.frames, video.last_index, video.broken_frames) == (3, 2, 2)
        assert again.tracker_state(run_id, "clip.mp4") == b"second"


def test_frames_that_are_there_are_replaced_and_nothing_goes_back(store, run_id):
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0), frame(1)], broken_frames=1)
    store.write_frames(run_id, "clip.mp4", [frame(0, ball(1))])
    assert [len(labels) for _, labels in store.labels()] == [1, 0]
    video = store.video(run_id, "clip.mp4")
    assert (video.frames, video.last_index, video.broken_frames) == (2, 1, 1)
    store.write_frames(run_id, "clip.mp4", [])
    assert store.video(run_id, "clip.mp4") == video


def test_a_finished_video_keeps_no_state_and_stays_finished(store, run_id):
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0)], state=b"first")
    store.write_frames(run_id, "clip.mp4", [frame(1)], finished=True)
    assert store.tracker_state(run_id, "clip.mp4") is None
    assert store.begin_video(run_id, clip()).finished
    assert indices(store) == [0, 1]
    store.write_frames(run_id, "clip.mp4", [frame(1, ball(1))])  # a correction
    assert store.video(run_id, "clip.mp4").finished


def test_a_video_that_failed_keeps_its_frames_and_is_tried_again(store, run_id):
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0)], state=b"first")
    store.fail_video(run_id, "clip.mp4", "ends in the middle of a packet")
    assert store.video(run_id, "clip.mp4").error == "ends in the middle of a packet"
    again = store.begin_video(run_id, clip())
    assert (again.error, again.last_index, again.finished) == (None, 0, False)
    assert store.tracker_state(run_id, "clip.mp4") == b"first"


@pytest.mark.parametrize(
    ("known", "now", "goes_on"),
    [
        ({"content_hash": "aa"}, {"content_hash": "aa"}, True),
        ({"content_hash": "aa"}, {"content_hash": "bb"}, False),
        ({"content_hash": "aa"}, {"content_hash": "aa", "stride": 3}, False),
        ({"content_hash": "aa", "file_stamp": "1:1"}, {"file_stamp": "1:1"}, True),
        ({"content_hash": "aa", "file_stamp": "1:1"}, {"file_stamp": "1:2"}, False),
        ({"content_hash": "aa", "path": Path("/a")}, {"content_hash": "aa"}, True),
        ({}, {}, False),
    ],
    ids=["same", "changed", "steps", "same stamp", "touched", "moved", "camera"],
)
def test_what_has_changed_begins_anew(store, run_id, known, now, goes_on):
    store.begin_video(run_id, clip(**{"content_hash": None, **known}))
    store.write_frames(run_id, "clip.mp4", [frame(0, ball(1))], state=b"first")
    record = clip(**{"content_hash": None, **now})
    video = store.begin_video(run_id, record)
    assert video.record == record
    assert (video.frames, video.last_index) == ((1, 0) if goes_on else (0, None))
    assert store.tracker_state(run_id, "clip.mp4") == (b"first" if goes_on else None)
    assert indices(store) == ([0] if goes_on else [])


def test_a_video_begun_anew_leaves_nothing_behind(store, run_id):
    store.begin_video(run_id, clip())
    broken = [BrokenFrame(1, 0.04, "torn")]
    store.write_frames(
        run_id, "clip.mp4", [frame(0, ball(1))], state=b"first", broken_frames=1, broken=broken
    )
    begun = store.begin_video(run_id, clip(), restart=True)
    assert (begun.frames, begun.broken_frames) == (0, 0)
    for table in ("items", "objects", "tracker_states", "broken_frames"):
        assert store._connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_state_may_be_larger_than_what_sqlite_holds_in_a_value(store, run_id, monkeypatch):
    store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4000)
    monkeypatch.setattr(video_writer, "_PART_BYTES", 1000)
    state = np.random.default_rng(0).bytes(9500)
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0)], state=state)
    assert store.tracker_state(run_id, "clip.mp4") == state
    store.write_frames(run_id, "clip.mp4", [frame(1)], state=b"smaller")
    assert store.tracker_state(run_id, "clip.mp4") == b"smaller"


def test_a_value_too_large_is_an_error_of_the_store(store, run_id):
    store.begin_video(run_id, clip())
    store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4000)
    with pytest.raises(StoreError, match="larger than SQLite can hold"):
        store.write_frames(run_id, "clip.mp4", [frame(0)], state=bytes(5000))
    assert indices(store) == []


def test_broken_frames_are_kept_with_their_reasons(store, run_id):
    store.begin_video(run_id, clip())
    torn = [BrokenFrame(index, index / 25, f"torn \udce9 {index}") for index in range(250)]
    assert store.broken_frames(run_id, "clip.mp4") == []
    store.write_frames(run_id, "clip.mp4", [], broken_frames=60, broken=torn[:60])
    store.write_frames(run_id, "clip.mp4", [])
    store.write_frames(run_id, "clip.mp4", [], broken_frames=250, broken=torn[60:160])
    store.write_frames(run_id, "clip.mp4", [], broken_frames=251, broken=torn[:1])
    kept = store.broken_frames(run_id, "clip.mp4")
    assert [each.index for each in kept] == list(range(100))
    assert kept[7] == BrokenFrame(7, 0.28, r"torn \udce9 7")
    assert store.video(run_id, "clip.mp4").broken_frames == 251


def test_a_video_that_could_not_begin_has_not_failed_once_it_does(store, run_id):
    reason = "does not exist"
    store.write_batch(run_id, [ItemOutcome(Item("clip.mp4", None), None, reason)])
    store.write_batch(run_id, [ItemOutcome(Item("other.mp4", None), None, reason)])
    store.begin_video(run_id, clip())
    assert [item.item_id for item, _ in store.failures()] == ["other.mp4"]


def test_a_reader_writes_nothing(store, run_id):
    store.begin_video(run_id, clip())
    with LabelStore.open(store.folder) as reader, pytest.raises(StoreError, match="for reading"):
        reader.write_frames(run_id, "clip.mp4", [frame(0)])


def test_another_ontology_does_not_undo_tracks(store, run_id):
    store.begin_video(run_id, clip())
    with pytest.raises(StoreError, match=r"ontology has changed.*another folder"):
        store.begin_run(RUN_CONFIG, ontology=(("red circle", "ball"),))
    assert store.run().ontology is None
