"""Time of an edit in the label store, against annotation files that are rewritten.

A person relabels objects of one image one by one. The peer keeps one JSON file per image, as
labelme does, reads it, changes the object and replaces the file by a synced copy. Before anything
is timed, both must hold the same classes. The store also keeps who changed what and when, and how
to undo it. Below, an edit of a track: all its frames in one transaction.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from synthetic import CLASSES, SIZE_HW, item_outcomes
from timing import interleave, print_rows

from grounded_sam2.results import Labels, TrackedFrame
from grounded_sam2.store import LabelStore, RunConfig, VideoRecord


class Store:
    """One image in a label store."""

    def __init__(self, folder: Path, labels: Labels) -> None:
        outcome = next(iter(item_outcomes(folder / "images", 1, 1)))
        self.item_id = outcome.item.item_id
        with LabelStore.create(folder) as store:
            run = store.begin_run(
                RunConfig({"detector": "d", "segmenter": "s"}, {}),
                ontology=tuple((name, name) for name in CLASSES),
            )
            store.write_batch(run.id, [replace(outcome, labels=labels)])
        self.store = LabelStore.open(folder)
        self.uids = [label.uid for label in self.store.objects(self.item_id)]

    def relabel(self, number: int, name: str) -> None:
        self.store.edits.relabel(self.uids[number], name)

    def classes(self) -> list[str]:
        return [label.class_name for label in self.store.objects(self.item_id)]


class AnnotationFile:
    """One image in a JSON file of its own."""

    def __init__(self, folder: Path, labels: Labels) -> None:
        self.path = folder / "image.json"
        folder.mkdir(parents=True)
        shapes = [
            {
                "label": label.class_name,
                "box": label.box_xyxy,
                "counts": label.mask.counts.decode() if label.mask else None,
            }
            for label in labels.objects
        ]
        self._write(shapes)

    def relabel(self, number: int, name: str) -> None:
        shapes = json.loads(self.path.read_text(encoding="utf-8"))
        shapes[number]["label"] = name
        self._write(shapes)

    def _write(self, shapes: object) -> None:
        copy = self.path.with_suffix(".new")
        with copy.open("w", encoding="utf-8") as file:
            json.dump(shapes, file)
            file.flush()
            os.fsync(file.fileno())
        copy.replace(self.path)

    def classes(self) -> list[str]:
        return [each["label"] for each in json.loads(self.path.read_text(encoding="utf-8"))]


def labels_of(objects: int, folder: Path) -> Labels:
    """Labels of one image."""
    [outcome] = item_outcomes(folder, 1, objects)
    assert outcome.labels is not None
    return outcome.labels


def relabel_all(side: Store | AnnotationFile, edits: int, names: list[str]) -> None:
    """Relabel so many objects one by one, to the next of the names."""
    name = names.pop()
    for number in range(edits):
        side.relabel(number, name)


def image_rows(root: Path, objects: int, edits: int, repeats: int) -> list[list[str]]:
    labels = labels_of(objects, root / f"images {objects}")
    store = Store(root / f"store {objects}", labels)
    file = AnnotationFile(root / f"file {objects}", labels)
    for side in (store, file):
        relabel_all(side, edits, ["first"])
    assert store.classes() == file.classes()
    names = {id(side): [f"class {i}" for i in range(repeats + 1)] for side in (store, file)}
    timed = interleave(
        {
            "store": partial(relabel_all, store, edits, names[id(store)]),
            "file": partial(relabel_all, file, edits, names[id(file)]),
        },
        repeats,
    )
    store.store.close()
    return [
        [
            f"{objects} objects: {name}",
            f"{1000 * times.median / edits:.1f} ms ±{times.spread:.0%}",
            f"{times.median / timed['store'].median:.2f}×",
        ]
        for name, times in timed.items()
    ]


def track_row(root: Path, frames: int, repeats: int) -> list[str]:
    labels = labels_of(5, root / f"images of {frames}")
    tracked = Labels(
        SIZE_HW,
        tuple(replace(each, track_id=n) for n, each in enumerate(labels.objects, start=1)),
    )
    folder = root / f"video {frames}"
    with LabelStore.create(folder) as store:
        run = store.begin_run(RunConfig({"detector": "d", "tracker": "t"}, {}))
        store.begin_video(run.id, VideoRecord("clip", None, SIZE_HW, content_hash="clip"))
        for first in range(0, frames, 100):
            batch = range(first, min(first + 100, frames))
            store.write_frames(run.id, "clip", [TrackedFrame(i, i / 25, tracked) for i in batch])
    with LabelStore.open(folder) as store:
        uid = store.objects("clip/000000")[0].uid
        names = [f"class {i}" for i in range(repeats + 1)]
        edit: Callable[[], object] = lambda: store.edits.relabel(uid, names.pop())  # noqa: E731
        [times] = interleave({"store": edit}, repeats).values()
    return [f"track of {frames} frames", f"{1000 * times.median:.0f} ms ±{times.spread:.0%}", ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, nargs="+", default=[10, 100, 300])
    parser.add_argument("--edits", type=int, default=10)
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows: list[list[str]] = []
        for objects in arguments.objects:
            edits = min(arguments.edits, objects)
            rows += image_rows(Path(name), objects, edits, arguments.repeats)
        rows += [track_row(Path(name), frames, arguments.repeats) for frames in arguments.frames]
    print_rows("one edit", ["", "time", "ratio"], rows)


if __name__ == "__main__":
    main()
