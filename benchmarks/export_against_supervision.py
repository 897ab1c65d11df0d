"""Export to YOLO and COCO datasets, against supervision's writers, on one core.

The peer gets its best case: its masks are decoded before the measurement. It writes all points of a
polygon unless it is configured to drop some; ours drops points that cost less than 2 % of the IoU.
Both are therefore measured with all points, and with about as few as ours. The images, one small
gray file under many names, are copied by both sides.

The datasets are read back twice: by supervision, and in the way of the readers that the formats are
made for, Ultralytics and pycocotools. They must contain the same objects with the original masks.
The union of each class is compared, since the peer writes a row per component of an object.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray
from pycocotools.coco import COCO
from synthetic import CLASSES, label_store
from timing import interleave, print_rows

from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.geometry.rle import decode
from grounded_sam2.results import Labels
from grounded_sam2.store import LabelStore

PEER_POINT_REDUCTION = 0.5
"""Share of a polygon's points that the peer drops, to keep about as many as ours."""

Objects = Iterator[tuple[int, NDArray[np.bool_]]]
"""Class and mask of each object of an image."""


@dataclass(frozen=True)
class Writer:
    """One way to write a dataset, and the paths of its parts."""

    run: Callable[[], None]
    images: Path
    labels: Path
    data: Path | None = None
    """``data.yaml`` of a YOLO dataset; ``None`` for COCO."""


@dataclass(frozen=True)
class ReadBack:
    """What readers find in a written dataset."""

    objects: int
    points: float
    """Mean number per polygon; 0 for COCO."""
    iou_supervision: float
    iou_format: float
    """Mean IoU with the original masks, as read by supervision and by the format's own reader."""


class Peer:
    """The labels of a store as a supervision dataset, and its writers."""

    def __init__(self, store: LabelStore, out: Path) -> None:
        annotations = {}
        for item, labels in store.labels():
            annotations[str(item.path)] = sv.Detections(
                xyxy=np.array([label.box_xyxy for label in labels.objects], np.float32),
                mask=decode([label.mask for label in labels.objects if label.mask is not None]),
                class_id=np.array([CLASSES.index(label.class_name) for label in labels.objects]),
            )
        self.dataset = sv.DetectionDataset(CLASSES, list(annotations), annotations)
        self.out = out

    def yolo(self, point_reduction: float = 0) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        paths = (str(self.out / name) for name in ("images", "labels", "data.yaml"))
        self.dataset.as_yolo(*paths, approximation_percentage=point_reduction)

    def coco(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.dataset.as_coco(str(self.out / "images"), str(self.out / "labels.json"))


def ours(store: LabelStore, out: Path, format_name: str, min_polygon_iou: float = 0.98) -> None:
    shutil.rmtree(out, ignore_errors=True)
    export(format_name, store, out, ExportOptions(min_polygon_iou=min_polygon_iou))


def writers(store: LabelStore, root: Path) -> dict[str, dict[str, Writer]]:
    peer = Peer(store, root / "peer")
    out = root / "ours"
    yolo = (out / "images/train", out / "labels/train", out / "data.yaml")
    coco = (out / "images/train", out / "annotations/instances_train.json")
    their_yolo = (peer.out / "images", peer.out / "labels", peer.out / "data.yaml")
    their_coco = (peer.out / "images", peer.out / "labels.json")
    return {
        "YOLO, few points": {
            "ours": Writer(partial(ours, store, out, "yolo"), *yolo),
            "supervision": Writer(partial(peer.yolo, PEER_POINT_REDUCTION), *their_yolo),
        },
        "YOLO, all points": {
            "ours": Writer(partial(ours, store, out, "yolo", 1), *yolo),
            "supervision": Writer(peer.yolo, *their_yolo),
        },
        "COCO": {
            "ours": Writer(partial(ours, store, out, "coco"), *coco),
            "supervision": Writer(peer.coco, *their_coco),
        },
    }


def read_back(written: Writer, truth: list[Labels]) -> ReadBack:
    if written.data is None:
        read = partial(sv.DetectionDataset.from_coco, str(written.images), str(written.labels))
        images, points = list(_as_pycocotools(written.labels)), 0.0
    else:
        folders = (str(written.images), str(written.labels), str(written.data))
        read = partial(sv.DetectionDataset.from_yolo, *folders)
        files = sorted(written.labels.glob("*.txt"))
        images = [_as_ultralytics(file, truth[0].size_hw) for file in files]
        points = float(np.mean([len(row.split()) // 2 for each in files for row in each.open()]))
    found = read(force_masks=True)
    theirs = [found.annotations[path] for path in sorted(found.image_paths)]
    by_supervision = [zip(each.class_id.tolist(), each.mask, strict=True) for each in theirs]
    return ReadBack(
        sum(map(len, theirs)),
        points,
        _mean_iou(by_supervision, truth),
        _mean_iou(images, truth),
    )


def _as_ultralytics(file: Path, size_hw: tuple[int, int]) -> Objects:
    """As ``ultralytics.data.utils.polygon2mask``."""
    for row in file.read_text().splitlines():
        class_id, *numbers = row.split()
        points = np.array(numbers, np.float32).reshape(-1, 2) * np.array(size_hw[::-1], np.float32)
        canvas = np.zeros(size_hw, np.uint8)
        cv2.fillPoly(canvas, [points.astype(np.int32)], color=(1,))
        yield int(class_id), canvas.astype(np.bool_)


def _as_pycocotools(file: Path) -> Iterator[Objects]:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(file))
    for image in sorted(coco.imgs):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image]))
        yield ((each["category_id"] - 1, coco.annToMask(each) > 0) for each in annotations)


def _mean_iou(images: list[Objects], truth: list[Labels]) -> float:
    overlaps = []
    for objects, labels in zip(images, truth, strict=True):
        wanted = np.zeros((len(CLASSES), *labels.size_hw), np.bool_)
        given = np.zeros_like(wanted)
        for label in labels.objects:
            assert label.mask is not None
            wanted[CLASSES.index(label.class_name)] |= label.mask.decode()
        for class_id, mask in objects:
            given[class_id] |= mask
        union = (wanted | given).sum(axis=(1, 2))
        assert ((union > 0) == wanted.any(axis=(1, 2))).all(), "the classes differ from the labels"
        overlaps += ((wanted & given).sum(axis=(1, 2))[union > 0] / union[union > 0]).tolist()
    return float(np.mean(overlaps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--objects", type=int, default=2000, help="the peer holds their dense masks in memory"
    )
    parser.add_argument("--per-image", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("W", "H"))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    width, height = arguments.size
    images = arguments.objects // arguments.per_image
    rows = []
    with tempfile.TemporaryDirectory() as name:
        store = label_store(Path(name), images, arguments.per_image, size_hw=(height, width))
        truth = [labels for _, labels in store.labels()]
        for title, sides in writers(store, Path(name)).items():
            written = {}
            for side, writer in sides.items():
                writer.run()
                written[side] = read_back(writer, truth)
            a, b = written["ours"], written["supervision"]
            assert a.objects == arguments.objects <= b.objects, "objects are missing"
            assert min(a.iou_format, b.iou_supervision) >= 0.95, "the masks differ from the labels"
            runs = {side: writer.run for side, writer in sides.items()}
            times = interleave(runs, arguments.repeats, warm_up=0)
            mine, theirs = times["ours"], times["supervision"]
            rows.append(
                [
                    title,
                    f"{arguments.objects / mine.median:.0f} ±{mine.spread:.0%}",
                    f"{arguments.objects / theirs.median:.0f} ±{theirs.spread:.0%}",
                    f"{theirs.median / mine.median:.1f}×",
                    f"{a.points:.0f} / {b.points:.0f}",
                    f"{a.iou_format:.3f} / {b.iou_format:.3f}",
                    f"{a.iou_supervision:.3f} / {b.iou_supervision:.3f}",
                ]
            )
    columns = ["", "ours, objects/s", "supervision", "ratio", "points", "IoU", "in supervision"]
    title = f"{arguments.objects} objects, images of {width} × {height}"
    print_rows(title, columns, rows)


if __name__ == "__main__":
    main()
