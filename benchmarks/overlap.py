"""A labeling run, whose stages overlap, against its slowest stage alone.

Each stage is first run alone for all images, with its inputs in memory; then the whole run is
executed as users do. Both alternate. ``--models device`` simulates a GPU: the models sleep, as if
waiting for a kernel, and leave the processor to the other stages. ``--models demo`` computes the
embedded models on the processor, which the other stages then share: with few cores, the lower bound
is the time of all stages together divided by the cores.

On a machine under other load, the models' thread waits for a core, alone and in a run. Linux counts
that time; it is printed beside the time that the thread ran on a core. The rest of the models' time
is waiting for the interpreter's lock.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from timing import print_rows

from grounded_sam2 import CaptionOntology, GroundedSAM2
from grounded_sam2.config import Config
from grounded_sam2.demo.scenes import make_scenes
from grounded_sam2.geometry.rle import encode
from grounded_sam2.inference.detect_and_segment import DetectThenSegment
from grounded_sam2.inference.grounding import start_ground_images
from grounded_sam2.inference.postprocess import postprocess
from grounded_sam2.models.protocols import Detector, Segmenter
from grounded_sam2.results import (
    Candidate,
    DetectedBoxes,
    Image,
    LoadedImage,
    RawPredictions,
    SegmentedMasks,
)
from grounded_sam2.sources.folder import FolderSource
from grounded_sam2.sources.image import load_image_file
from grounded_sam2.sources.refs import ImageRef
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig

CAPTIONS = ["red circle", "blue square", "green star", "orange ring"]
STAGES = ("decode", "models", "masks", "store")
OBJECTS = 6


class Device:
    """Both models as a simulated device that sleeps and detects six objects in every image."""

    def __init__(self, milliseconds: float) -> None:
        self._seconds = milliseconds / 1000

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        time.sleep(self._seconds / 2 * len(images))
        return [
            DetectedBoxes(_boxes(image), (given[0],) * OBJECTS, np.full(OBJECTS, 0.9, np.float32))
            for image, given in zip(images, captions, strict=True)
        ]

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[np.ndarray]
    ) -> list[SegmentedMasks]:
        return self.start_segment_boxes(images, boxes_xyxy)()

    def start_segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[np.ndarray]
    ) -> Callable[[], list[SegmentedMasks]]:
        time.sleep(self._seconds / 2 * len(images))
        sizes = [image.shape[:2] for image in images]
        return lambda: [_discs(size, boxes) for size, boxes in zip(sizes, boxes_xyxy, strict=True)]


class MeasuredModels:
    """Both models, with the time that their thread runs and waits for a core."""

    def __init__(self, detector: Detector, segmenter: Segmenter) -> None:
        self._detector = detector
        self._segmenter = segmenter
        self._elapsed = np.zeros(2)

    def take_elapsed(self) -> tuple[float, float]:
        """Seconds on a core and waiting for one since the previous call."""
        on_core, waiting = self._elapsed.tolist()
        self._elapsed = np.zeros(2)
        return on_core, waiting

    def detect(self, *arguments: Any) -> list[DetectedBoxes]:
        with self._measured():
            return self._detector.detect(*arguments)

    def segment_boxes(self, *arguments: Any) -> list[SegmentedMasks]:
        return self.start_segment_boxes(*arguments)()

    def start_segment_boxes(self, *arguments: Any) -> Callable[[], list[SegmentedMasks]]:
        with self._measured():
            return self._segmenter.start_segment_boxes(*arguments)

    @contextmanager
    def _measured(self) -> Iterator[None]:
        before = _thread_times()
        yield
        self._elapsed += _thread_times() - before


def _thread_times() -> np.ndarray:
    """Seconds that this thread ran on a core and waited for one: ``(2,)``."""
    nanoseconds = Path("/proc/thread-self/schedstat").read_text().split()[:2]
    return np.array(nanoseconds, np.float64) / 1e9


def _boxes(image: Image) -> np.ndarray:
    height, width = image.shape[:2]
    left, top = np.meshgrid(np.arange(3) * width / 3, np.arange(2) * height / 2)
    left, top = left.ravel(), top.ravel()
    boxes = np.stack([left, top, left + width / 4, top + height / 3], axis=1)
    return boxes.astype(np.float32)


def _discs(size_hw: tuple[int, ...], boxes: np.ndarray) -> SegmentedMasks:
    y, x = np.ogrid[: size_hw[0], : size_hw[1]]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    radius = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) / 2
    masks = np.stack(
        [(x - cx) ** 2 + (y - cy) ** 2 < r**2 for (cx, cy), r in zip(center, radius, strict=True)]
    )
    none = np.zeros(len(boxes), np.bool_)
    return SegmentedMasks(tuple(encode(masks)), np.full(len(boxes), 0.9, np.float32), none)


def stages_alone(
    images: Path, out: Path, models: tuple[Detector, Segmenter], config: Config
) -> dict[str, float]:
    """Seconds of each stage, run one after the other."""
    ontology = CaptionOntology({caption: caption for caption in CAPTIONS})
    step = config.runtime.batch_size
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - began

    def load(ref: ImageRef) -> LoadedImage:
        return load_image_file(ref.path, ref.item_id)

    with timed("decode"), ThreadPoolExecutor(config.runtime.loader_threads) as pool:
        frames = list(pool.map(load, FolderSource(images)))
    batches = [frames[first : first + step] for first in range(0, len(frames), step)]
    with timed("models"):
        started = [
            start_ground_images(
                [frame.image for frame in batch],
                [CAPTIONS] * len(batch),
                DetectThenSegment(*models),
                min_confidence=0,
            )
            for batch in batches
        ]
    with timed("masks"):
        outcomes = [
            [result_of(*each, ontology, config) for each in zip(batch, finish(), strict=True)]
            for batch, finish in zip(batches, started, strict=True)
        ]
    with timed("store"), LabelStore.create(out) as store:
        run = store.begin_run(RunConfig(models={}, inference={}))
        for results in outcomes:
            store.write_batch(run.id, results)
    return seconds


def result_of(
    frame: LoadedImage, candidates: tuple[Candidate, ...], ontology: CaptionOntology, config: Config
) -> ItemOutcome:
    """The store's record of an image."""
    postprocessed = postprocess(candidates, frame.size_hw, ontology, config)
    item = Item(frame.item_id, frame.path, frame.content_hash, frame.size_hw)
    predictions = RawPredictions(frozenset(CAPTIONS), candidates)
    return ItemOutcome(
        item, postprocessed.labels, predictions=predictions, statuses=postprocessed.statuses
    )


def whole_run(
    images: Path, out: Path, models: tuple[Detector, Segmenter], config: Config
) -> tuple[float, dict[str, float]]:
    """Seconds of a run, and of the work of each of its stages."""
    ontology = CaptionOntology({caption: caption for caption in CAPTIONS})
    model = GroundedSAM2(ontology, config=config, detector=models[0], segmenter=models[1])
    run = model.label(images, output_folder=out, formats=()).run
    return run.seconds, {stage.name: stage.seconds / stage.threads for stage in run.stages}


def select_models(arguments: argparse.Namespace) -> tuple[Any, Any]:
    if arguments.models == "device":
        device = Device(arguments.milliseconds)
        return device, device
    from grounded_sam2.models.florence2 import Florence2Detector
    from grounded_sam2.models.sam2 import Sam2Segmenter

    return (
        Florence2Detector.from_pretrained("demo", device="cpu"),
        Sam2Segmenter.from_pretrained("demo", device="cpu"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", choices=["device", "demo"], default="device")
    parser.add_argument("--milliseconds", type=float, default=60, help="of the device per image")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--side", type=int, default=1024, help="of the images, in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the models on the processor")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = Config().with_options({"runtime.batch_size": 8, "runtime.device": "cpu"})
    measured = MeasuredModels(*select_models(arguments))
    models = (measured, measured)
    alone, runs, stage_seconds, thread_seconds = [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        images = Path(name) / "images"
        images.mkdir()
        for number, scene in enumerate(make_scenes(arguments.images, 5)):
            image = PILImage.fromarray(scene.image).resize((arguments.side,) * 2)
            image.save(images / f"{number:04}.jpg", quality=92)
        for repeat in range(-1, arguments.repeats):  # the first warms up
            each = stages_alone(images, Path(name) / f"{repeat} alone", models, config)
            elapsed_alone = measured.take_elapsed()
            seconds, stages = whole_run(images, Path(name) / f"{repeat} run", models, config)
            elapsed = measured.take_elapsed()
            if repeat >= 0:
                thread_seconds.append((elapsed_alone, elapsed))
                alone.append(each)
                runs.append(seconds)
                stage_seconds.append(stages)
    median = {name: statistics.median(each[name] for each in alone) for name in STAGES}
    rows = [
        [
            name,
            f"{median[name]:.2f} s",
            f"{statistics.median(each[name] for each in stage_seconds):.2f} s",
        ]
        for name in STAGES
    ]
    for index, name in enumerate(("on a core", "waiting for one")):
        medians = [
            statistics.median(each[where][index] for each in thread_seconds) for where in (0, 1)
        ]
        rows.append([f"models {name}", *(f"{each:.2f} s" for each in medians)])
    run = statistics.median(runs)
    slowest = statistics.median(max(each.values()) for each in alone)
    rows += [
        ["one after the other", f"{sum(median.values()):.2f} s", ""],
        ["the whole run", "", f"{run:.2f} s"],
        ["run / slowest", "", f"{statistics.median(map(_ratio, runs, alone)):.2f}"],
    ]
    print_rows(
        f"{arguments.images} images of {arguments.side}×{arguments.side}, {arguments.models}; "
        f"slowest stage alone {slowest:.2f} s",
        ["", "alone", "in the run"],
        rows,
    )


def _ratio(seconds: float, alone: dict[str, float]) -> float:
    return seconds / max(alone.values())


if __name__ == "__main__":
    main()
