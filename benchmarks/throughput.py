"""Images per second of each model, and the share of the machine's arithmetic throughput.

The throughput ceiling is measured in the same run: a large matrix product in the number format of
the models. Operations are counted, not assumed. With full-size models, outputs have a forced length
and boxes are injected, because random weights neither end an output nor detect an object.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import torch
from models import add_model_options, detector, segmenter
from timing import count_flops, interleave, print_rows

from embedded_training.evaluate import CAPTIONS
from grounded_sam2.demo.scenes import make_scenes
from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.models.sam2 import Sam2Segmenter
from grounded_sam2.results import Image


def generate(model: Florence2Detector, images: list[Image], captions: list[str]) -> object:
    """Output of every caption on every image."""
    token = "<OPEN_VOCABULARY_DETECTION>"
    prompts = [(i, model.prompt_text(token, c)) for i in range(len(images)) for c in captions]
    return model.generate(model.encode(images), prompts)


def segment(model: Sam2Segmenter, images: list[Image], boxes: list[np.ndarray]) -> object:
    """Masks of all boxes."""
    return model.segment_boxes(images, boxes)


def ceiling(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large matrix product."""
    size = 8192 if torch.device(device).type == "cuda" else 1536
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    timed = interleave({"product": lambda: left @ right}, repeats=7, warm_up=2)["product"]
    return 2 * size**3 / timed.median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_model_options(parser)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--captions", type=int, default=16)
    parser.add_argument("--boxes", type=int, default=8, help="per image")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = [scene.image for scene in make_scenes(arguments.images, 3)]
    rng = np.random.default_rng(0)
    boxes = []
    for image in images:
        corner, size = rng.uniform(0, 0.6, (arguments.boxes, 2)), rng.uniform(0.1, 0.4, 2)
        scale = np.tile(image.shape[1::-1], 2)
        boxes.append((np.concatenate([corner, corner + size], 1) * scale).astype(np.float32))
    captions = [CAPTIONS[i % len(CAPTIONS)] for i in range(arguments.captions)]
    florence, sam2 = detector(arguments), segmenter(arguments)
    florence.batcher.batch_size = 256
    stages = {
        "detector": partial(generate, florence, images, captions),
        "segmenter": partial(segment, sam2, images, boxes),
    }
    limit = ceiling(arguments.device, florence.model.dtype)
    times = interleave(stages, arguments.repeats)
    rows = []
    for name, run in stages.items():
        rate = count_flops(run) / times[name].median
        rows.append(
            [
                name,
                f"{1000 * times[name].median / len(images):.1f} ms ±{times[name].spread:.0%}",
                f"{len(images) / times[name].median:.1f}",
                f"{rate / 1e12:.3f} TFLOP/s",
                f"{rate / limit:.0%}",
            ]
        )
    total = sum(times[name].median for name in stages)
    rows.append(
        ["both", f"{1000 * total / len(images):.1f} ms", f"{len(images) / total:.1f}", "", ""]
    )
    title = (
        f"{arguments.captions} captions and {arguments.boxes} boxes an image; "
        f"ceiling {limit / 1e12:.2f} TFLOP/s"
    )
    columns = ["stage", "per image", "images/s", "arithmetic", "of the ceiling"]
    print_rows(title, columns, rows)


if __name__ == "__main__":
    main()
