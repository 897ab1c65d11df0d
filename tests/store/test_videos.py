"""Videos in the label store: whole batches, resuming, and reading in constant memory."""

from __future__ import annotations

import sqlite3
import tracemalloc
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grounded_sam2.errors import StoreError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import BrokenFrame, Label, Labels, TrackedFrame
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig, VideoRecord
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.edit_log import EditLog
from grounded_sam2.store.items import Items
from grounded_sam2.store.objects import Objects
from grounded_sam2.store.videos import Videos

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
def connection(tmp_path):
    with closing(StoreConnection.create(tmp_path / "tracked" / "labels.db")) as connection:
        yield connection


@pytest.fixture
def store(connection):
    store = LabelStore(connection)
    store.begin_run(RUN_CONFIG)
    return store


@pytest.fixture
def run_id(store):
    return store.run().id


def indices(store) -> list[int | None]:
    return [item.frame_index for item, _ in store.labels()]


# Writing and reading frames


def test_each_frame_is_an_item_grouped_by_its_video(store, run_id, tmp_path):
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


def test_paths_stay_valid_when_video_and_labels_move_together(store, run_id, tmp_path):
    store.begin_video(run_id, clip(path=tmp_path / "tracked" / "clip.mp4"))
    store.close()
    moved = (tmp_path / "tracked").rename(tmp_path / "elsewhere")
    with LabelStore.open(moved) as reader:
        assert reader.videos()[0].record.path == moved / "clip.mp4"


def test_a_video_name_that_is_not_utf8_is_escaped(store, run_id):
    name = "caf\udce9.mp4"
    path = Path("/clips") / name
    store.begin_video(run_id, clip(name, path=path))
    store.write_frames(run_id, name, [frame(0)])
    assert store.video(run_id, name).record.path == path
    [(item, _)] = store.labels()
    assert item.path == path
    assert item.item_id == r"caf\udce9.mp4/000000"


def test_frames_are_read_in_numeric_order_whatever_their_digits(store, run_id):
    store.begin_video(run_id, clip("b"))
    store.begin_video(run_id, clip("a"))
    store.begin_video(run_id, clip("a/000001"))
    store.write_frames(run_id, "b", [frame(7)])
    store.write_frames(run_id, "a", [frame(1_000_000), frame(999_999), frame(2)])
    store.write_frames(run_id, "a/000001", [frame(5)])
    ids = ["a/000002", "a/999999", "a/1000000", "a/000001/000005", "b/000007"]
    assert [item.item_id for item, _ in store.labels()] == ids
    assert [item.item_id for item in store.done_items()] == ids


def test_images_of_a_run_are_read_before_its_frames(store, run_id):
    store.begin_video(run_id, clip("a.mp4"))
    store.write_frames(run_id, "a.mp4", [frame(0)])
    image = Item("b.jpg", None, "aa", SIZE)
    store.write_batch(run_id, [ItemOutcome(image, Labels(SIZE, (ball(1),)))])
    assert [item.item_id for item, _ in store.labels()] == ["b.jpg", "a.mp4/000000"]
    assert [item.content_key for item in store.done_items()] == ["aa", "hash of 'a.mp4' frame 0"]


def test_an_unknown_video_is_named_in_the_error(store, run_id):
    assert store.video(run_id, "x.mp4") is None
    assert store.tracker_state(run_id, "x.mp4") is None
    assert store.videos() == []
    for read in (store.tracks, store.frames, store.labels_by_track, store.broken_frames):
        with pytest.raises(StoreError, match=r"no video 'x\.mp4'"):
            list(read(run_id, "x.mp4"))
    with pytest.raises(StoreError, match=r"no video 'x\.mp4'"):
        store.write_frames(run_id, "x.mp4", [frame(0)])
    with pytest.raises(StoreError, match=r"no video 'x\.mp4'"):
        store.fail_video(run_id, "x.mp4", "torn")


# Tracks


def test_labels_by_track_are_ordered_by_track_and_frame(store, run_id):
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
def test_reading_a_video_holds_a_few_masks_in_memory(store, run_id, read):
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


def test_no_query_scans_all_items_or_objects(store, run_id, connection):
    store.begin_video(run_id, clip())
    queries: list[str] = []
    connection.sqlite.set_trace_callback(queries.append)
    list(store.labels())
    list(store.done_items())
    store.write_frames(run_id, "clip.mp4", [frame(0, ball(1))])
    list(store.labels_by_track(run_id, "clip.mp4"))
    store.tracks(run_id, "clip.mp4")
    store.begin_video(run_id, clip(), restart=True)
    connection.sqlite.set_trace_callback(None)
    searches = [query for query in queries if query.startswith(("SELECT", "DELETE", "UPDATE"))]
    assert len(searches) > 9
    for query in searches:
        for *_, step in connection.rows(f"EXPLAIN QUERY PLAN {query}"):
            assert not step.startswith(("SCAN i", "SCAN o")), query


# Batches and resuming


def test_a_failed_batch_leaves_frames_and_tracker_state_unchanged(store, run_id):
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0, ball(1))], state=b"first")
    with pytest.raises(StoreError, match=r"clip\.mp4/000002.*\(9, 9\).*one size"):
        store.write_frames(
            run_id, "clip.mp4", [frame(1), frame(2, size_hw=(9, 9))], state=b"second"
        )
    assert indices(store) == [0]
    assert store.tracker_state(run_id, "clip.mp4") == b"first"
    assert store.video(run_id, "clip.mp4").last_index == 0


def test_a_reopened_store_continues_from_the_last_batch(store, run_id):
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0), frame(1)], state=b"first")
    store.write_frames(run_id, "clip.mp4", [frame(2)], state=b"second", broken_frames=2)
    store.close()
    with LabelStore.create(store.folder) as reopened:
        assert reopened.begin_run(RUN_CONFIG).id == run_id
        video = reopened.begin_video(run_id, clip())
        assert (video.frames, video.last_index, video.broken_frames) == (3, 2, 2)
        assert reopened.tracker_state(run_id, "clip.mp4") == b"second"


def test_rewritten_frames_are_replaced_and_progress_never_decreases(store, run_id):
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0), frame(1)], broken_frames=1)
    store.write_frames(run_id, "clip.mp4", [frame(0, ball(1))])
    assert [len(labels) for _, labels in store.labels()] == [1, 0]
    video = store.video(run_id, "clip.mp4")
    assert (video.frames, video.last_index, video.broken_frames) == (2, 1, 1)
    store.write_frames(run_id, "clip.mp4", [])
    assert store.video(run_id, "clip.mp4") == video


def test_a_finished_video_has_no_tracker_state_and_stays_finished(store, run_id):
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0)], state=b"first")
    store.write_frames(run_id, "clip.mp4", [frame(1)], finished=True)
    assert store.tracker_state(run_id, "clip.mp4") is None
    assert store.begin_video(run_id, clip()).finished
    assert indices(store) == [0, 1]
    store.write_frames(run_id, "clip.mp4", [frame(1, ball(1))])  # a correction
    assert store.video(run_id, "clip.mp4").finished


def test_a_failed_video_keeps_its_frames_and_can_be_continued(store, run_id):
    store.begin_video(run_id, clip())
    store.write_frames(run_id, "clip.mp4", [frame(0)], state=b"first")
    store.fail_video(run_id, "clip.mp4", "ends in the middle of a packet")
    assert store.video(run_id, "clip.mp4").error == "ends in the middle of a packet"
    again = store.begin_video(run_id, clip())
    assert (again.error, again.last_index, again.finished) == (None, 0, False)
    assert store.tracker_state(run_id, "clip.mp4") == b"first"


@pytest.mark.parametrize(
    ("stored", "given", "continues"),
    [
        ({"content_hash": "aa"}, {"content_hash": "aa"}, True),
        ({"content_hash": "aa"}, {"content_hash": "bb"}, False),
        ({"content_hash": "aa"}, {"content_hash": "aa", "stride": 3}, False),
        ({"content_hash": "aa", "file_stamp": "1:1"}, {"file_stamp": "1:1"}, True),
        ({"content_hash": "aa", "file_stamp": "1:1"}, {"file_stamp": "1:2"}, False),
        ({"content_hash": "aa", "path": Path("/a")}, {"content_hash": "aa"}, True),
        ({}, {}, False),
    ],
    ids=["same hash", "changed", "stride", "same stamp", "new stamp", "moved", "camera"],
)
def test_a_changed_video_begins_from_the_start(store, run_id, stored, given, continues):
    store.begin_video(run_id, clip(**{"content_hash": None, **stored}))
    store.write_frames(run_id, "clip.mp4", [frame(0, ball(1))], state=b"first")
    record = clip(**{"content_hash": None, **given})
    video = store.begin_video(run_id, record)
    assert video.record == record
    assert (video.frames, video.last_index) == ((1, 0) if continues else (0, None))
    assert store.tracker_state(run_id, "clip.mp4") == (b"first" if continues else None)
    assert indices(store) == ([0] if continues else [])


def test_a_restarted_video_leaves_no_rows_behind(store, run_id, connection):
    store.begin_video(run_id, clip())
    broken = [BrokenFrame(1, 0.04, "torn")]
    store.write_frames(
        run_id, "clip.mp4", [frame(0, ball(1))], state=b"first", broken_frames=1, broken=broken
    )
    begun = store.begin_video(run_id, clip(), restart=True)
    assert (begun.frames, begun.broken_frames) == (0, 0)
    for table in ("items", "objects", "tracker_states", "broken_frames"):
        assert list(connection.rows(f"SELECT count(*) FROM {table}")) == [(0,)], table


def test_a_tracker_state_is_split_into_rows(store, run_id, connection):
    objects = Objects(connection, EditLog(connection))
    videos = Videos(connection, Items(connection, objects), objects, state_part_bytes=1000)
    connection.sqlite.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4000)
    state = np.random.default_rng(0).bytes(9500)
    nothing_broken = {"broken_frames": None, "broken": (), "finished": False}
    store.begin_video(run_id, clip())
    videos.write_frames(run_id, "clip.mp4", [frame(0)], state=state, **nothing_broken)
    assert store.tracker_state(run_id, "clip.mp4") == state
    videos.write_frames(run_id, "clip.mp4", [frame(1)], state=b"smaller", **nothing_broken)
    assert store.tracker_state(run_id, "clip.mp4") == b"smaller"


def test_a_value_larger_than_sqlite_can_hold_is_a_store_error(store, run_id, connection):
    store.begin_video(run_id, clip())
    connection.sqlite.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4000)
    with pytest.raises(StoreError, match="larger than SQLite can hold"):
        store.write_frames(run_id, "clip.mp4", [frame(0)], state=bytes(5000))
    assert indices(store) == []


def test_the_first_100_broken_frames_keep_their_reasons(store, run_id):
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


def test_beginning_a_video_deletes_its_failed_item(store, run_id):
    reason = "does not exist"
    store.write_batch(run_id, [ItemOutcome(Item("clip.mp4", None), None, reason)])
    store.write_batch(run_id, [ItemOutcome(Item("other.mp4", None), None, reason)])
    store.begin_video(run_id, clip())
    assert [item.item_id for item, _ in store.failures()] == ["other.mp4"]


def test_a_store_open_for_reading_refuses_frames(store, run_id):
    store.begin_video(run_id, clip())
    with LabelStore.open(store.folder) as reader, pytest.raises(StoreError, match="for reading"):
        reader.write_frames(run_id, "clip.mp4", [frame(0)])


def test_a_run_with_videos_refuses_another_ontology(store, run_id):
    store.begin_video(run_id, clip())
    with pytest.raises(StoreError, match=r"ontology has changed.*another folder"):
        store.begin_run(RUN_CONFIG, ontology=(("red circle", "ball"),))
    assert store.run().ontology is None
