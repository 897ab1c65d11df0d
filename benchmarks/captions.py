"""Many captions on one image, against one `generate` call per caption with the same model.

The peer is the usual code: processor and `generate` for every caption, which encodes the image once
per caption. Both sides must generate the same tokens.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from models import FORCED_TOKENS, add_model_options, detector
from timing import count_flops, interleave, print_rows

from embedded_training.evaluate import CAPTIONS
from grounded_sam2.demo.scenes import make_scene
from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.results import Image

TASK = "<OPEN_VOCABULARY_DETECTION>"


def ours(model: Florence2Detector, image: Image, captions: list[str]) -> list[tuple[int, ...]]:
    """Tokens of each caption: the image encoded once, all captions decoded together."""
    prompts = [(0, model.prompt_text(TASK, caption)) for caption in captions]
    return [output.tokens for output in model.generate(model.encode([image]), prompts)]


@torch.inference_mode()
def one_by_one(
    model: Florence2Detector, image: Image, captions: list[str], length: int | None
) -> list[tuple[int, ...]]:
    """Tokens of each caption: one `generate` call per caption, from pixels."""
    outputs = []
    end = model.model.config.text_config.eos_token_id
    for caption in captions:
        inputs = model.processor(images=image, text=TASK + caption, return_tensors="pt")
        inputs = inputs.to(model.model.device, model.model.dtype)
        sequence = model.model.generate(
            **inputs, num_beams=1, do_sample=False, max_new_tokens=length or 256
        )[0].tolist()
        tokens = sequence[2:] if length is None else sequence[1:]
        outputs.append(tuple(tokens[: tokens.index(end)] if end in tokens else tokens))
    return outputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_model_options(parser)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = detector(arguments)
    length = FORCED_TOKENS if arguments.full_size else None
    image = make_scene(5).image
    rows = []
    for count in (1, 4, 16, 64):
        captions = [CAPTIONS[i % len(CAPTIONS)] for i in range(count)]
        assert arguments.full_size or ours(model, image, captions) == one_by_one(
            model, image, captions, length
        ), "both sides must generate the same tokens"
        run = partial(ours, model, image, captions)
        peer = partial(one_by_one, model, image, captions, length)
        allowed = count_flops(peer) / count_flops(run)
        times = interleave({"ours": run, "peer": peer}, arguments.repeats)
        ratio = times["peer"].median / times["ours"].median
        rows.append(
            [
                str(count),
                f"{1000 * times['ours'].median:.1f} ms ±{times['ours'].spread:.0%}",
                f"{1000 * times['peer'].median:.1f} ms ±{times['peer'].spread:.0%}",
                f"{ratio:.1f}×",
                f"{allowed:.1f}×",
                f"{ratio / allowed:.0%}",
            ]
        )
    columns = ["captions", "ours", "one generate each", "ratio", "FLOPs allow", "share"]
    print_rows("Captions on one image", columns, rows)


if __name__ == "__main__":
    main()
