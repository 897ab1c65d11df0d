"""Memory, time and recall for an image of 10 000 × 8 000 pixels, labeled with and without tiles.

The image is a gray canvas with many small shapes and two large ones, whose boxes are known. The
file is a JPEG with an EXIF rotation, which is applied in labeling and again in the export, where
the most memory is needed. Each run is the command `label` in a fresh process, from the file to a
COCO dataset. Its peak memory is the maximum resident set size, libraries and models included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PILImage

from grounded_sam2.demo.scenes import COLORS, SHAPES, SceneObject, Sprite, render
from grounded_sam2.geometry.boxes import box_iou
from grounded_sam2.results import Image
from grounded_sam2.store import LabelStore

LABEL = """
import resource, sys
from grounded_sam2.cli import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print("used", used.ru_maxrss, used.ru_utime + used.ru_stime, file=sys.stderr)
sys.exit(code)
"""
_ROTATED_LEFT = 6  # EXIF orientation of a camera rotated left

Truth = list[tuple[str, tuple[float, float, float, float]]]


@dataclass(frozen=True)
class Outcome:
    """Cost and matches of one run."""

    peak_bytes: int
    seconds: float
    cpu_seconds: float
    """Sum over all cores; on a shared machine, the number to compare."""
    small_found: int
    small: int
    large_found: int
    large: int
    others: int
    """Objects that match no shape of their class."""


def draw(
    size_hw: tuple[int, int], small: int, radius: tuple[float, float], seed: int
) -> tuple[Image, Truth]:
    """Draw two large shapes and `small` small ones that do not touch; return image and boxes."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    coarse = rng.integers(90, 170, (6, 7, 1), np.uint8).repeat(3, axis=2)
    canvas = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    truth: Truth = []
    free = np.ones((height // 10, width // 10), np.bool_)
    radii = [0.16 * height, 0.12 * height, *rng.uniform(*radius, small)]
    for size in radii:
        x, y = _place(rng, free, size, size_hw)
        shape, image = _paint(rng, size)
        left, top = x - image.shape[1] // 2, y - image.shape[0] // 2
        window = canvas[top : top + image.shape[0], left : left + image.shape[1]]
        window[shape.mask] = image[shape.mask]
        box = tuple(np.add(shape.box_xyxy, (left, top, left, top)).tolist())
        truth.append((shape.shape, box))  # type: ignore[arg-type]
    return canvas, truth


def _place(
    rng: np.random.Generator, free: np.ndarray, radius: float, size_hw: tuple[int, int]
) -> tuple[int, int]:
    """Center of a free area for a shape, ``(x, y)``; marks the area as occupied."""
    reach = int(radius * 1.2 + 20)
    while True:
        x = int(rng.integers(reach, size_hw[1] - reach))
        y = int(rng.integers(reach, size_hw[0] - reach))
        around = free[(y - reach) // 10 : (y + reach) // 10, (x - reach) // 10 : (x + reach) // 10]
        if around.all():
            around[:] = False
            return x, y


def _paint(rng: np.random.Generator, radius: float) -> tuple[SceneObject, Image]:
    side = int(2 * radius + 10)
    sprite = Sprite(
        color=str(rng.choice(list(COLORS))),
        shape=str(rng.choice(SHAPES)),
        center_xy=(side / 2, side / 2),
        radius=radius,
        angle=float(rng.uniform(0, 6)),
    )
    scene = render(rng, (side, side), [sprite])
    return scene.objects[0], scene.image


def label(folder: Path, out: Path, truth: Truth, options: list[str]) -> Outcome:
    """Label the image in a separate process."""
    command = [sys.executable, "-c", LABEL, "label", str(folder), "--out", str(out)]
    command += ["--ontology", "shapes", "--config", "demo", "--format", "coco"]
    for option in options:
        command += ["--set", option]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    peak_kib, cpu_seconds = done.stderr.rsplit("used", 1)[1].split()  # KiB: as Linux counts it
    return Outcome(int(peak_kib) * 1024, seconds, float(cpu_seconds), *_compare(out, truth))


def _compare(out: Path, truth: Truth) -> tuple[int, int, int, int, int]:
    with LabelStore.open(out) as store:
        ((_, labels),) = store.labels()
    boxes = [each.box_xyxy for each in labels.objects]
    iou = box_iou([box for _, box in truth], boxes)
    names = np.array([each.class_name for each in labels.objects], np.object_)
    iou *= np.array([shape for shape, _ in truth], np.object_)[:, None] == names[None]
    found = iou.max(axis=1, initial=0) >= 0.5
    others = int((iou.max(axis=0, initial=0) < 0.5).sum())
    return int(found[2:].sum()), len(truth) - 2, int(found[:2].sum()), 2, others


def _draw_to(folder: Path, arguments: argparse.Namespace) -> None:
    """Draw the image and its boxes, in a separate process: the peak memory of a process includes
    that of its parent at the start."""
    size_hw = arguments.size[1], arguments.size[0]
    image, truth = draw(size_hw, arguments.shapes, tuple(arguments.radius), arguments.seed)
    exif = PILImage.Exif()
    exif[0x112] = _ROTATED_LEFT
    rotated = PILImage.fromarray(image).transpose(PILImage.Transpose.ROTATE_90)
    rotated.save(folder / "large.jpg", quality=92, exif=exif)
    (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(10_000, 8_000))
    parser.add_argument("--shapes", type=int, default=40)
    parser.add_argument("--radius", type=float, nargs=2, default=(30, 60))
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], help="option of the command label")
    parser.add_argument("--only-tiled", action="store_true")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--draw", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.draw is not None:
        _draw_to(arguments.draw, arguments)
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--draw", str(root)], check=True)
        truth = json.loads((root / "truth.json").read_text(encoding="utf-8"))
        runs = {"with tiles": arguments.set}
        if not arguments.only_tiled:
            runs["without"] = [*arguments.set, "tiling.mode=never"]
        outcomes = {
            title: label(root / "large.jpg", root / title, truth, options)
            for title, options in runs.items()
        }
    if arguments.json:
        print(json.dumps({title: asdict(outcome) for title, outcome in outcomes.items()}))
        return
    from timing import print_rows  # loads torch, which must not count for the processes above

    rows = [
        [
            title,
            f"{each.peak_bytes / 2**30:.2f} GiB",
            f"{each.seconds:.0f} s",
            f"{each.cpu_seconds:.0f} s",
            f"{each.small_found} of {each.small}",
            f"{each.large_found} of {each.large}",
            str(each.others),
        ]
        for title, each in outcomes.items()
    ]
    width, height = arguments.size
    title = f"{width} × {height} pixels, {len(SHAPES)} captions, from the file to a COCO dataset"
    print_rows(title, ["", "peak memory", "time", "CPU time", "small", "large", "others"], rows)


if __name__ == "__main__":
    main()
