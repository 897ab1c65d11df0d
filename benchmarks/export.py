"""Speed and peak memory of every export format, for a hundred thousand objects.

Each export runs in its own process, once for a tenth of the objects and once for all. The peak is
the resident memory that the kernel counted, including libraries but not the worker processes of an
export. Images are hard links to one small file.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from synthetic import label_store

from grounded_sam2.exporters import EXPORTERS, VIDEO_FORMATS

EXPORT = """
import sys, time
from pathlib import Path
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.store import LabelStore
name, store, out, segmentation, workers = sys.argv[1:]
options = ExportOptions(images="link", segmentation=segmentation, workers=int(workers))
with LabelStore.open(store) as labels:
    began = time.perf_counter()
    export(name, labels, out, options)
    seconds = time.perf_counter() - began
status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(seconds, status["VmHWM"].split()[0])
"""


def measure(store: Path, out: Path, name: str, segmentation: str, workers: int) -> list[float]:
    """Return seconds and peak memory in MiB of an export."""
    arguments = [name, str(store), str(out), segmentation, str(workers)]
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, *arguments], check=True, capture_output=True, text=True
    )
    shutil.rmtree(out)  # one file cannot have the links of all formats together
    seconds, peak_kib = map(float, done.stdout.split())
    return [seconds, peak_kib / 1024]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--per-image", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("W", "H"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--formats", nargs="*", default=sorted(EXPORTERS.keys() - VIDEO_FORMATS))
    arguments = parser.parse_args()
    width, height = arguments.size
    cases = []
    for name in arguments.formats:
        cases.append((name, "rle", 1))
        if name == "yolo":
            cases.append((name, "rle", arguments.workers))
        if name == "coco":
            cases += [(name, "polygons", workers) for workers in (1, arguments.workers)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        numbers = (arguments.objects // 10, arguments.objects)
        stores = [Path(folder) / str(number) for number in numbers]
        for number, store in zip(numbers, stores, strict=True):
            images = number // arguments.per_image
            label_store(store, images, arguments.per_image, size_hw=(height, width)).close()
        for name, segmentation, workers in cases:
            tenth, whole = (
                measure(store / "labeled", Path(folder) / "out", name, segmentation, workers)
                for store in stores
            )
            kind = "" if segmentation == "rle" else f", {segmentation}"
            rows.append(
                [
                    f"{name}{kind}" + (f", {workers} workers" if workers > 1 else ""),
                    f"{arguments.objects / whole[0]:.0f}",
                    f"{whole[0]:.1f} s",
                    f"{whole[1]:.0f} MiB",
                    f"{whole[1] - tenth[1]:+.1f} MiB",
                ]
            )
    from timing import print_rows  # loads torch, which the processes above must not inherit

    title = f"{arguments.objects} objects, images of {width} × {height}"
    columns = ["", "objects/s", "time", "peak memory", f"above that of {numbers[0]}"]
    print_rows(title, columns, rows)


if __name__ == "__main__":
    main()
