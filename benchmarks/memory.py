"""Memory of labeling 200, 2 000 and 10 000 small images: growth per image, and peaks.

Each run is a fresh process that labels and exports a folder. Its resident memory is read after
every batch; the growth is the slope of a line fitted to the readings of the second half. Only runs
of many thousands of images measure it: up to about 2 500 images, two caches of fixed size fill, the
2 MiB of the store and the interpreter's cache of attribute names, which Pillow creates anew for
each file. The peaks are those of the kernel, libraries included, after the last label and after the
last export. The fakes of `grounded_sam2.testing` measure the engine alone, without torch;
``--models demo`` measures it with the embedded models.

All images are in one folder, whose listing is held in memory: that is the difference between the
peaks. ``--folders`` distributes them over folders of 200.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from array import array
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from grounded_sam2 import GroundedSAM2
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter

SIZE_HW = (96, 128)
ONTOLOGY = {"red circle": "circle", "blue square": "square", "green star": "star"}
FORMATS = ("yolo", "coco")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Used:
    """Resident memory of one process, in bytes."""

    labeling_peak: int
    peak: int
    """After the exports."""
    slope: float
    """Growth per image, in the second half."""


class Readings:
    """A `Progress` that records the resident memory after every batch."""

    def __init__(self) -> None:
        self.images = array("q", [0])  # not lists, which would grow with what they measure
        self.resident = array("q", [resident()])

    def start(self, total: int) -> None:
        """Do nothing: the first reading is taken at construction."""

    def advance(self, *, labeled: int, failed: int, skipped: int) -> None:
        """Record the resident memory."""
        self.images.append(self.images[-1] + labeled + failed + skipped)
        self.resident.append(resident())

    def slope(self) -> float:
        """Bytes per image in the second half, by least squares."""
        first = len(self.images) // 2
        return float(np.polyfit(self.images[first:], self.resident[first:], 1)[0])


def resident() -> int:
    """Resident memory of this process now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def peak() -> int:
    """Peak resident memory of this process so far, in bytes; `getrusage` includes the parent's."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) * 1024


def draw(folder: Path, count: int, per_folder: int) -> None:
    """Write `count` images of blocks of three colors on noise."""
    for number in range(count):
        rng = np.random.default_rng(number)
        image = rng.integers(0, 60, (*SIZE_HW, 3), np.uint8)
        for color in ("red", "green", "blue"):
            top, left = rng.integers(0, (SIZE_HW[0] - 24, SIZE_HW[1] - 30))
            image[top : top + 24, left : left + 30] = COLORS[color][::-1]
        path = folder / f"{number // per_folder:03}" / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)


def measure(images: Path, out: Path, models: str, batch_size: int) -> Used:
    """Label and export in this process."""
    config = {"runtime": {"batch_size": batch_size, "device": "cpu"}}
    if models == "fake":
        model = GroundedSAM2(
            ONTOLOGY, config=config, detector=FakeDetector(), segmenter=FakeSegmenter()
        )
    else:
        demo = {section: {"checkpoint": "demo"} for section in ("detector", "segmenter")}
        model = GroundedSAM2(ONTOLOGY, config={**config, **demo})
    readings = Readings()
    model.label(images, output_folder=out, formats=(), progress=readings)
    labeling_peak = peak()
    model.label(images, output_folder=out, formats=FORMATS)
    return Used(labeling_peak, peak(), readings.slope())


def measure_in_new_process(images: Path, out: Path, models: str, batch_size: int) -> Used:
    """Run `measure` in a process in which nothing was loaded or allocated before."""
    command = [sys.executable, __file__, "--models", models, "--batch-size", str(batch_size)]
    done = subprocess.run(
        [*command, "--measure", images, out], check=True, stdout=subprocess.PIPE, text=True
    )
    return Used(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", choices=["fake", "demo"], default="fake")
    parser.add_argument("--images", type=int, nargs="+", default=[200, 2_000, 10_000])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--folders", action="store_true", help="200 images to each folder")
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        used = measure(*arguments.measure, arguments.models, arguments.batch_size)
        print(json.dumps(asdict(used)))
        return

    from timing import print_rows  # loads torch, which is not to be measured

    rows = []
    for count in arguments.images:
        with tempfile.TemporaryDirectory() as name:
            images = Path(name) / "images"
            draw(images, count, 200 if arguments.folders else count)
            used = measure_in_new_process(
                images, Path(name) / "out", arguments.models, arguments.batch_size
            )
        peaks = [f"{size / 2**20:.0f} MiB" for size in (used.labeling_peak, used.peak)]
        rows.append([f"{count}", *peaks, f"{1000 * used.slope / 2**10:+.0f} KiB"])
    title = f"memory, {arguments.models} models, images of {SIZE_HW[1]}×{SIZE_HW[0]}"
    print_rows(title, ["images", "peak labeling", "and exporting", "1 000 more"], rows)


if __name__ == "__main__":
    main()
