"""Throughput of the label store, in batches, against files of JSON lines.

Batches have eight images and are one transaction each. As in a labeling run, raw predictions are
written beside the labels. The peers append the same labels, without raw predictions, to a file of
JSON lines: flushed after each batch, which survives a killed process but not a power cut, as a
commit to the store does (SQLite's WAL with ``synchronous=NORMAL`` leaves an intact store, perhaps
without the last batches); or with an ``fsync`` after each batch. Before anything is timed, all
sides must read back what was written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from synthetic import CLASSES, RUN_CONFIG, item_outcomes
from timing import interleave, print_rows

from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Candidate, Label, Labels, RawPredictions
from grounded_sam2.store import ItemOutcome, LabelStore

BATCH = 8


def with_predictions(result: ItemOutcome) -> ItemOutcome:
    """The same labels, each made of a candidate."""
    assert result.labels is not None
    candidates = tuple(
        Candidate(each.caption, each.box_xyxy, each.mask, each.confidence, each.mask_quality)
        for each in result.labels.objects
    )
    predictions = RawPredictions(frozenset(CLASSES), candidates)
    return replace(result, predictions=predictions, statuses=("label",) * len(candidates))


def write_store(folder: Path, batches: Sequence[Sequence[ItemOutcome]]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with LabelStore.create(folder) as store:
        run = store.begin_run(RUN_CONFIG, ontology=tuple((name, name) for name in CLASSES))
        for batch in batches:
            store.write_batch(run.id, batch)


def read_store(folder: Path) -> Iterator[Labels]:
    with LabelStore.open(folder) as store:
        for _, labels in store.labels():
            yield labels


def write_lines(file: Path, batches: Sequence[Sequence[ItemOutcome]], *, sync: bool) -> None:
    with file.open("w", encoding="utf-8") as lines:
        for batch in batches:
            lines.writelines(_line(result) for result in batch)
            lines.flush()
            if sync:
                os.fsync(lines.fileno())


def _line(result: ItemOutcome) -> str:
    assert result.labels is not None
    item = {**asdict(result.item), "path": str(result.item.path)}
    objects = [
        {
            **{name: getattr(each, name) for name in ("class_name", "caption", "box_xyxy")},
            **{name: getattr(each, name) for name in ("confidence", "mask_quality")},
            "counts": each.mask.counts.decode() if each.mask else None,
        }
        for each in result.labels.objects
    ]
    return json.dumps({"item": item, "size_hw": result.labels.size_hw, "objects": objects}) + "\n"


def read_lines(file: Path) -> Iterator[Labels]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            height, width = record["size_hw"]
            objects = []
            for each in record["objects"]:
                mask = Rle((height, width), each.pop("counts").encode())
                box = tuple(each.pop("box_xyxy"))
                objects.append(Label(**each, box_xyxy=box, mask=mask))
            yield Labels((height, width), tuple(objects))


def count(labels: Iterator[Labels]) -> int:
    return sum(len(each) for each in labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--per-image", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    arguments = parser.parse_args()
    objects = arguments.images * arguments.per_image
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        root = Path(name)
        plain = list(item_outcomes(root / "images", arguments.images, arguments.per_image))
        predicted = [with_predictions(result) for result in plain]
        expected = [result.labels for result in plain]
        batches, full = (
            [results[first : first + BATCH] for first in range(0, len(results), BATCH)]
            for results in (plain, predicted)
        )
        store, lines = root / "store", root / "labels.jsonl"
        writers = {
            "store": partial(write_store, store, full),
            "store, labels only": partial(write_store, store, batches),
            "JSON lines": partial(write_lines, lines, batches, sync=False),
            "JSON lines, synced": partial(write_lines, lines, batches, sync=True),
        }
        for write in writers.values():
            write()
        assert list(read_store(store)) == list(read_lines(lines)) == expected
        written = interleave(writers, arguments.repeats)
        writers["store"]()
        readers = {
            "store": lambda: count(read_store(store)),
            "JSON lines": lambda: count(read_lines(lines)),
        }
        read = interleave(readers, arguments.repeats)
    rows = [
        [
            f"{action} {name}",
            f"{arguments.images / timed.median:.0f} ±{timed.spread:.0%}",
            f"{objects / timed.median:.0f}",
            f"{timed.median / times['store'].median:.1f}×",
        ]
        for action, times in (("write", written), ("read", read))
        for name, timed in times.items()
    ]
    title = f"{arguments.images} images with {arguments.per_image} objects each"
    print_rows(title, ["", "images/s", "objects/s", "ratio"], rows)


if __name__ == "__main__":
    main()
