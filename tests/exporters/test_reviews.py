"""What people decided, in the exports: uid, origin, review state, and what is left out."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image as PillowImage

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Label, Labels
from grounded_sam2.sources.fingerprint import file_hash
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig

SIZE = (40, 60)
CONFIG = RunConfig({"detector": "d", "segmenter": "s"}, {})


def ball(left: int, confidence: float) -> Label:
    mask = np.zeros(SIZE, np.bool_)
    mask[10:30, left : left + 15] = True
    return Label(
        "ball", "red ball", (left, 10, left + 15, 30), encode(mask[None])[0], confidence, 0.5
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    """Two balls in each of three images, and an image without objects."""
    outcomes = []
    for number, name in enumerate(("a.png", "b.png", "c.png", "empty.png")):
        path = tmp_path / name
        PillowImage.new("RGB", SIZE[::-1], (number, 0, 0)).save(path)
        objects = () if name == "empty.png" else (ball(2, 0.9), ball(30, 0.4))
        item = Item(name, path, file_hash(path), SIZE)
        outcomes.append(ItemOutcome(item, Labels(SIZE, objects)))
    with LabelStore.create(tmp_path / "labeled") as store:
        run = store.begin_run(CONFIG, ontology=(("red ball", "ball"),))
        store.write_batch(run.id, outcomes)
        yield store


def lines(store: LabelStore, **options: Any) -> dict[str, list[dict[str, Any]]]:
    """Objects by image, of a jsonl export."""
    folder = store.folder / "jsonl"
    export("jsonl", store, folder, ExportOptions(**options))
    records = map(json.loads, (folder / "labels.jsonl").read_text("utf-8").splitlines())
    return {Path(record["image"]).name: record["objects"] for record in records}


def uids(store: LabelStore, name: str) -> list[str]:
    return [label.uid for label in store.objects(name)]


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


class TestFields:
    def test_an_untouched_store_has_uids_and_no_review(self, store: LabelStore) -> None:
        objects = lines(store)["a.png"]
        assert [each["uid"] for each in objects] == uids(store, "a.png")
        assert all("review" not in each for each in objects)

    def test_a_person_s_objects_are_human_and_accepted(self, store: LabelStore) -> None:
        first, second = uids(store, "a.png")
        store.edits.accept(first)
        store.edits.reject(second)
        [accepted] = lines(store)["a.png"]
        assert (accepted["uid"], accepted["origin"], accepted["review"]) == (
            first,
            "human",
            "accepted",
        )
        assert {each["review"] for each in lines(store)["b.png"]} == {"unreviewed"}

    def test_csv(self, store: LabelStore) -> None:
        def rows() -> list[dict[str, str]]:
            export("csv", store, store.folder / "csv")
            with (store.folder / "csv" / "objects.csv").open(encoding="utf-8") as file:
                return list(csv.DictReader(file))

        assert [row["uid"] for row in rows()][:2] == uids(store, "a.png")
        assert "review" not in rows()[0]
        store.edits.accept(uids(store, "a.png")[0])
        assert [row["review"] for row in rows()][:2] == ["accepted", "unreviewed"]

    def test_coco(self, store: LabelStore) -> None:
        store.edits.relabel(uids(store, "a.png")[0], "cat")
        export("coco", store, store.folder / "coco")
        file = store.folder / "coco" / "annotations" / "instances_train.json"
        first, second = json.loads(file.read_text("ascii"))["annotations"][:2]
        assert [first["uid"], second["uid"]] == uids(store, "a.png")
        assert (first["origin"], first["review"]) == ("human", "accepted")
        assert "review" not in second

    def test_cvat(self, store: LabelStore) -> None:
        store.edits.accept(uids(store, "a.png")[0])
        export("cvat", store, store.folder / "cvat")
        document = ElementTree.parse(store.folder / "cvat" / "annotations" / "train.xml")
        first, second = document.findall("image[@name='a.png']/mask")
        assert [each.attrib["source"] for each in (first, second)] == ["manual", "auto"]
        attributes = {each.attrib["name"]: each.text for each in first}
        assert (attributes["uid"], attributes["review"]) == (uids(store, "a.png")[0], "accepted")
        labels = json.loads((store.folder / "cvat" / "labels.json").read_text("ascii"))
        assert {each["name"] for each in labels[0]["attributes"]} >= {"uid", "review"}

    def test_label_studio(self, store: LabelStore) -> None:
        store.edits.accept(uids(store, "a.png")[1])
        export("labelstudio", store, store.folder / "ls")
        [task, *_] = json.loads((store.folder / "ls" / "tasks" / "00000.json").read_text("ascii"))
        # The last is on top: the person's, whatever the confidence of the model's.
        lower, upper = task["predictions"][0]["result"]
        assert [lower["id"], upper["id"]] == uids(store, "a.png")
        assert (lower.get("origin"), upper["origin"]) == (None, "manual")

    def test_hugging_face(self, store: LabelStore) -> None:
        import pyarrow.parquet as pq

        def objects() -> dict[str, list[Any]]:
            export("hf", store, store.folder / "hf")
            [shard] = (store.folder / "hf" / "data").iterdir()
            found: dict[str, list[Any]] = pq.read_table(shard).column("objects")[0].as_py()
            return found

        assert objects()["uid"] == uids(store, "a.png")
        assert "review" not in objects()
        store.edits.accept(uids(store, "a.png")[0])
        assert objects()["review"] == ["accepted", "unreviewed"]
        assert objects()["origin"] == ["human", "model"]

    @pytest.mark.parametrize("name", ["jsonl", "csv", "coco", "cvat", "labelstudio", "hf"])
    def test_neither_actor_nor_time_is_exported(self, store: LabelStore, name: str) -> None:
        edit = store.edits.accept(uids(store, "a.png")[0], actor="zaphod")
        export(name, store, store.folder / name)
        content = all_bytes(store.folder / name)
        assert b"zaphod" not in content
        assert edit.at.encode() not in content


class TestSelection:
    def test_reviewed_only(self, store: LabelStore) -> None:
        first, _ = uids(store, "a.png")
        store.edits.accept(first)
        store.edits.confirm("empty.png")
        store.edits.flag("b.png", "?")  # a flag is no decision
        found = lines(store, reviewed_only=True)
        assert {name: [each["uid"] for each in objects] for name, objects in found.items()} == {
            "a.png": [first],
            "empty.png": [],
        }

    def test_reviewed_only_with_unreviewed_objects_as_they_are(self, store: LabelStore) -> None:
        store.edits.accept(uids(store, "a.png")[0])
        found = lines(store, reviewed_only=True, unreviewed="as-is")
        assert {name: len(objects) for name, objects in found.items()} == {"a.png": 2}

    def test_unreviewed_objects_are_skipped(self, store: LabelStore) -> None:
        store.edits.reject(uids(store, "a.png")[0])
        store.edits.confirm("b.png")
        found = lines(store, unreviewed="skip")
        assert {name: len(objects) for name, objects in found.items()} == {"a.png": 0, "b.png": 2}

    def test_what_is_left_out_is_counted(self, store: LabelStore) -> None:
        store.edits.accept(uids(store, "a.png")[0])
        summary = export("jsonl", store, store.folder / "jsonl", ExportOptions(reviewed_only=True))
        assert summary.notes == ("objects that are not reviewed, left out: 1",)
        [skipped] = summary.skipped
        assert (skipped.count, skipped.reason.split(";")[0]) == (3, "are not reviewed")

    def test_nothing_reviewed_is_an_error_that_says_what_to_do(self, store: LabelStore) -> None:
        with pytest.raises(ExportError, match=r"4 are not reviewed; accept .* confirm"):
            lines(store, reviewed_only=True)

    def test_an_unknown_value_is_refused(self) -> None:
        with pytest.raises(ExportError, match=r"'drop'.*'as-is' or 'skip'"):
            ExportOptions(unreviewed="drop")  # type: ignore[arg-type]

    def test_thresholds_do_not_drop_what_a_person_accepted(self, store: LabelStore) -> None:
        _, weak = uids(store, "a.png")
        store.edits.accept(weak)
        found = lines(store, min_confidence=0.8)
        assert weak in [each["uid"] for each in found["a.png"]]
        assert len(found["b.png"]) == 1

    def test_the_options_are_on_record(self, store: LabelStore) -> None:
        store.edits.accept(uids(store, "a.png")[0])
        lines(store)
        plain = (store.folder / "jsonl" / "export.json").read_text("utf-8")
        lines(store, reviewed_only=True)
        reviewed = (store.folder / "jsonl" / "export.json").read_text("utf-8")
        assert ("reviewed_only" in plain, "reviewed_only" in reviewed) == (False, True)

    @pytest.mark.parametrize("name", ["yolo", "voc", "masks", "coco"])
    def test_every_format_takes_the_option(self, store: LabelStore, name: str) -> None:
        store.edits.confirm("c.png")
        options = ExportOptions(reviewed_only=True)
        summary = export(name, store, store.folder / name, options)
        assert (sum(summary.images.values()), summary.objects) == (1, {"ball": 2})
