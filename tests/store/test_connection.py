"""The file of a label store: one writer, many readers, kills, damage, other files."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from fixtures.stored_values import ONTOLOGY, RUN_CONFIG, ball, done

from grounded_sam2.errors import StoreError
from grounded_sam2.store import LabelStore
from grounded_sam2.store.connection import StoreConnection


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


# Transactions


@pytest.fixture
def connection(tmp_path):
    with closing(StoreConnection.create(tmp_path / "labels.db")) as connection:
        yield connection


def count_caption_sets(connection: StoreConnection) -> int:
    [(count,)] = connection.rows("SELECT count(*) FROM caption_sets")
    return count


def test_a_transaction_is_rolled_back_on_any_exception(connection):
    def write_and_stop() -> None:
        with connection.transaction() as sql:
            sql.execute("INSERT INTO caption_sets (captions) VALUES ('[]')")
            assert count_caption_sets(connection) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert count_caption_sets(connection) == 0
    with connection.transaction() as sql:
        sql.execute("INSERT INTO caption_sets (captions) VALUES ('[]')")
    assert count_caption_sets(connection) == 1


def test_a_nested_snapshot_sees_the_state_of_the_outer_one(connection):
    with closing(StoreConnection.open(connection.path)) as reader:
        with reader.snapshot():
            assert count_caption_sets(reader) == 0
            with connection.transaction() as sql:
                sql.execute("INSERT INTO caption_sets (captions) VALUES ('[]')")
            with reader.snapshot():
                assert count_caption_sets(reader) == 0
            assert count_caption_sets(reader) == 0
        assert count_caption_sets(reader) == 1


def test_a_mistaken_query_is_not_reported_as_damage(connection):
    with connection.transaction() as sql:
        sql.execute("INSERT INTO caption_sets (captions) VALUES ('[]')")
    with pytest.raises(sqlite3.IntegrityError), connection.transaction() as sql:
        sql.execute("INSERT INTO caption_sets (captions) VALUES ('[]')")
    assert count_caption_sets(connection) == 1


def test_closing_twice_has_no_effect(tmp_path):
    connection = StoreConnection.create(tmp_path / "labels.db")
    connection.close()
    connection.close()
    StoreConnection.create(tmp_path / "labels.db").close()
