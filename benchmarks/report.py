"""The report of many images with planted defects: defects found, time, memory, size of the page.

Scenes with known masks get labels like those of a good model. Then some are made defective: low
confidence, low quality, an object labeled twice, a box that is too small, background labeled as an
object, an image saved again smaller, brighter and more compressed. The report runs as the command
in a fresh process; its peak is the maximum resident memory, including the libraries.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image

from grounded_sam2.demo.scenes import SHAPES, Scene, make_scene
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Label, Labels
from grounded_sam2.sources.fingerprint import file_hash, file_stamp
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig

REPORT = """
import resource, sys
from grounded_sam2.cli import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print("used", used.ru_maxrss, used.ru_utime + used.ru_stime, file=sys.stderr)
sys.exit(code)
"""
_BATCH = 64
_SIZE_HW = (240, 320)
_DEFECT_RATE = 0.006
"""Fraction of labels, or of images, with each of the defects."""

Planted = dict[str, set[tuple[str, int | None]]]


def defective_labels(
    name: str, scene: Scene, rng: np.random.Generator, planted: Planted
) -> tuple[Label, ...]:
    """Labels of a scene, some with a defect, which is added to `planted`."""
    labels: list[Label] = []

    def plant(kind: str, label: Label) -> None:
        planted.setdefault(kind, set()).add((name, len(labels)))
        labels.append(label)

    for shape in scene.objects:
        confidence = float(np.clip(rng.beta(14, 2), 0.52, 1))
        quality = float(np.clip(rng.beta(30, 3), 0.82, 1))
        left, top, right, bottom = shape.box_xyxy
        label = Label(
            class_name=shape.shape,
            caption=shape.name,
            box_xyxy=shape.box_xyxy,
            mask=encode(shape.mask)[0],
            confidence=confidence,
            mask_quality=quality,
            detected_box_xyxy=shape.box_xyxy,
        )
        draw = rng.random() / _DEFECT_RATE
        if draw < 1:
            plant("low_confidence", replace(label, confidence=rng.uniform(0.3, 0.49)))
        elif draw < 2:
            plant("low_quality", replace(label, mask_quality=rng.uniform(0.3, 0.79)))
        elif draw < 3:
            box = (left, top, left + 0.6 * (right - left), bottom)
            plant("outside_box", replace(label, detected_box_xyxy=box))
        elif draw < 4:
            labels.append(label)
            other = SHAPES[(SHAPES.index(shape.shape) + 1) % len(SHAPES)]
            plant("overlap", replace(label, class_name=other, confidence=confidence - 0.01))
        else:
            labels.append(label)
    if rng.random() < _DEFECT_RATE:
        everything = np.logical_or.reduce([shape.mask for shape in scene.objects])
        mask = encode(~everything)[0]
        plant("along_border", Label("ring", "red ring", mask.bbox_xyxy, mask, 0.6, 0.85))
    return tuple(labels)


def fill(folder: Path, count: int) -> Planted:
    """Write images and their label store; return the planted defects by kind."""
    rng = np.random.default_rng(0)
    planted: Planted = {}
    results: list[ItemOutcome] = []

    def add(name: str, image: PIL.Image.Image, labels: tuple[Label, ...], quality: int) -> None:
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=quality)
        size_hw = (image.height, image.width)
        item = Item(name, path, file_hash(path), size_hw, file_stamp=file_stamp(path))
        results.append(ItemOutcome(item, Labels(size_hw, labels)))

    with LabelStore.create(folder / "labeled") as store:
        run = store.begin_run(RunConfig(models={}, inference={}), ontology=None)
        for number in range(count):
            scene = make_scene(number, _SIZE_HW)
            name = f"scenes/{number:05d}.jpg"
            image = PIL.Image.fromarray(scene.image)
            add(name, image, defective_labels(name, scene, rng, planted), 88)
            if rng.random() < _DEFECT_RATE:
                again = f"scenes/{number:05d}-again.jpg"
                smaller = image.resize((256, 192)).point(lambda value: min(255, value * 1.08))
                add(again, smaller, (), 70)
                # Of two near-duplicates, the report names the later one.
                planted.setdefault("near_duplicate", set()).add((max(name, again), None))
            if len(results) >= _BATCH:
                store.write_batch(run.id, results)
                results.clear()
        store.write_batch(run.id, results)
    return planted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1, 1000, 10_000])
    arguments = parser.parse_args()
    print("images | page MB | peak MB | CPU s | defects found | other labels")
    for count in arguments.images:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            planted = fill(folder, count)
            page, issues = folder / "report.html", folder / "issues.json"
            command = ["report", folder / "labeled", "--out", page, "--json", issues]
            ran = subprocess.run(
                [sys.executable, "-c", REPORT, *map(str, command)],
                check=True,
                capture_output=True,
                text=True,
            )
            _, peak, seconds = ran.stderr.splitlines()[-1].split()
            found: Planted = {}
            for row in json.loads(issues.read_text(encoding="utf-8"))["doubts"]:
                found.setdefault(row["kind"], set()).add((row["item"], row["object"]))
            hits = sum(len(places & found.get(kind, set())) for kind, places in planted.items())
            expected = set().union(*planted.values())
            others = set().union(*found.values()) - expected
            print(
                f"{count} | {page.stat().st_size / 1e6:.1f} | {int(peak) / 1024:.0f} | "
                f"{float(seconds):.1f} | {hits} of {sum(map(len, planted.values()))} | "
                f"{len(others)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
