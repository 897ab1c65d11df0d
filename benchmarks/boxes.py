"""Many boxes on one image, against one call per box and against one batched call of transformers.

All sides share one encoding of the image; measured is the time from boxes to masks in the size of
the image. The peers return dense masks, ours returns run lengths, which is more work.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import torch
from models import add_model_options, segmenter
from numpy.typing import NDArray
from timing import interleave, print_rows
from transformers import Sam2Model, Sam2Processor

from grounded_sam2.demo.scenes import make_scene
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.geometry.rle import encode
from grounded_sam2.models.sam2 import ImageEmbeddings, Prompts, Sam2Segmenter


class TransformersSegmenter:
    """The same weights in the image model of `transformers`."""

    def __init__(self, ours: Sam2Segmenter) -> None:
        video = ours.model
        config = Sam2Model.config_class(
            vision_config=video.config.vision_config.to_dict(),
            prompt_encoder_config=video.config.prompt_encoder_config.to_dict(),
            mask_decoder_config=video.config.mask_decoder_config.to_dict(),
        )
        self.model = Sam2Model(config).eval().to(ours.device)
        self.model.load_state_dict(video.state_dict(), strict=False)
        self.model.vision_encoder.to(next(video.vision_encoder.parameters()).dtype)
        self.model.mask_decoder.to(next(video.mask_decoder.parameters()).dtype)
        size = video.prompt_encoder.input_image_size
        self.processor = Sam2Processor(image_processor=ours.image_processor, target_size=size)

    @torch.inference_mode()
    def encode(self, image: NDArray[np.uint8]) -> list[torch.Tensor]:
        inputs = self.processor(images=image, return_tensors="pt").to(self.model.device)
        return list(self.model.get_image_embeddings(inputs["pixel_values"]))

    @torch.inference_mode()
    def masks(
        self, features: list[torch.Tensor], size_hw: tuple[int, int], boxes: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        inputs = self.processor(
            original_sizes=[list(size_hw)], input_boxes=[boxes.tolist()], return_tensors="pt"
        )
        output = self.model(
            image_embeddings=features,
            input_boxes=inputs["input_boxes"].to(self.model.device),
            multimask_output=False,
        )
        masks = self.processor.post_process_masks(output.pred_masks.float().cpu(), [size_hw])[0]
        return masks[:, 0].numpy()


def ours(
    model: Sam2Segmenter, embeddings: ImageEmbeddings, boxes: NDArray[np.float32]
) -> list[object]:
    return list(model.segment(embeddings, [Prompts(boxes_xyxy=boxes)])[0].masks)


def one_by_one(
    peer: TransformersSegmenter,
    features: list[torch.Tensor],
    size_hw: tuple[int, int],
    boxes: NDArray[np.float32],
) -> NDArray[np.bool_]:
    return np.concatenate([peer.masks(features, size_hw, box[None]) for box in boxes])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_model_options(parser)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = segmenter(arguments)
    peer = TransformersSegmenter(model)
    image = make_scene(5).image
    height, width = image.shape[:2]
    rng = np.random.default_rng(0)
    embeddings, features = model.encode([image]), peer.encode(image)
    rows = []
    for count in (1, 3, 10, 30, 100):
        corner = rng.uniform(0, 0.6, (count, 2))
        size = rng.uniform(0.15, 0.4, (count, 2))
        boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
        boxes *= np.array([width, height, width, height], np.float32)
        expected = encode(peer.masks(features, (height, width), boxes))
        found = model.segment(embeddings, [Prompts(boxes_xyxy=boxes)])[0]
        ious = [
            1.0 if a == b else float(mask_iou([a], [b])[0, 0])
            for a, b in zip(found.masks, expected, strict=True)
        ]
        # The median, because only our side repairs inverted masks.
        assert np.median(ious) >= 0.99, "both sides must return the same masks"
        run = partial(ours, model, embeddings, boxes)
        peers = {
            "ours": run,
            "batched": partial(peer.masks, features, (height, width), boxes),
            "each": partial(one_by_one, peer, features, (height, width), boxes),
        }
        times = interleave(peers, arguments.repeats)
        base = times["ours"].median
        rows.append(
            [
                str(count),
                f"{1000 * base:.1f} ms ±{times['ours'].spread:.0%}",
                f"{times['each'].median / base:.1f}×",
                f"{times['batched'].median / base:.2f}×",
                f"{np.median(ious):.3f}",
            ]
        )
    columns = ["boxes", "ours", "against one call per box", "against one batch", "median IoU"]
    print_rows("Boxes on one image, encoding excluded", columns, rows)


if __name__ == "__main__":
    main()
