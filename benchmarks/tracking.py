"""Frames per second of tracking, against ``Sam2VideoModel`` with the same weights.

Both get the same frames and boxes, and propagate every object from frame to frame with a full
memory. A step is timed from pixels to mask logits and the memory of the frame. The two take turns,
frame by frame. Agreement is asserted on the first frames; for the last frame, the share of equal
pixels is printed.

``--lengths`` tracks longer clips with one number of objects, and prints the cost of the last frames
in time and memory, relative to the first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from models import add_model_options, tracker
from numpy.typing import NDArray
from timing import count_flops, print_rows
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.models.sam2 import Sam2FrameMasks, Sam2Tracker, Sam2TrackerState

SIZE_HW = (256, 256)
WARM_UP = 16
"""Frames until all memories are full."""


def images(count: int) -> Iterator[NDArray[np.uint8]]:
    """Frames of blobs that move over noise, the same on every run."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 90, (*SIZE_HW, 3), dtype=np.uint8)
    rows, columns = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    for frame in range(count):
        image = noise.copy()
        for index in range(8):
            y, x = 24 + 28 * index, (30 * index + 2 * frame) % SIZE_HW[1]
            image[(rows - y) ** 2 + (columns - x) ** 2 < 300] = [30 * index, 255 - 30 * index, 99]
        yield image


def boxes(objects: int) -> list[NDArray[np.float32]]:
    """Boxes of a number of objects, spread over the image."""
    side = int(np.ceil(np.sqrt(objects)))
    step = SIZE_HW[0] / side
    corners = [(column * step, row * step) for row in range(side) for column in range(side)]
    return [np.array([x, y, x + step, y + step], np.float32) for x, y in corners[:objects]]


class Ours:
    """The tracker of this package."""

    def __init__(self, tracker: Sam2Tracker, objects: int) -> None:
        self.tracker = tracker
        self.state: Sam2TrackerState = tracker.empty_state()
        self.prompts = {i + 1: TrackPrompt(box_xyxy=box) for i, box in enumerate(boxes(objects))}

    def step(self, frame: int, image: NDArray[np.uint8]) -> Sam2FrameMasks:
        encoded = self.tracker.encode(image)
        if frame:
            masks = self.tracker.propagate(encoded, self.state, frame)
        else:
            masks = self.tracker.prompt(encoded, self.prompts)
        self.state = self.tracker.update_state(encoded, self.state, frame, masks)
        return masks


class Peer:
    """`Sam2VideoModel` in streaming mode, with the pixels of its own processor."""

    def __init__(self, tracker: Sam2Tracker, objects: int) -> None:
        self.tracker = tracker
        self.model = tracker.model
        self.session = Sam2VideoInferenceSession(
            inference_device=tracker.device,
            inference_state_device=tracker.device,
            video_storage_device=tracker.device,
            dtype=next(tracker.model.memory_attention.parameters()).dtype,
        )
        side = self.model.prompt_encoder.input_image_size
        for number, box in enumerate(boxes(objects), start=1):
            index = self.session.obj_id_to_idx(number)
            corners = torch.tensor(box.reshape(1, 1, 2, 2) * (side / SIZE_HW[0]))
            inputs = {
                "point_coords": corners.to(tracker.device),
                "point_labels": torch.tensor([[[2, 3]]], device=tracker.device),
            }
            self.session.add_point_inputs(index, 0, inputs)
        self.session.obj_with_new_inputs = list(self.session.obj_ids)

    def step(self, frame: int, image: NDArray[np.uint8]) -> torch.Tensor:
        pixels = self.tracker.image_processor(
            images=[image],
            input_data_format="channels_last",
            device=self.tracker.device,
            return_tensors="pt",
        )["pixel_values"][0]
        logits: torch.Tensor = self.model(
            self.session, frame=pixels.to(self.tracker.device), frame_idx=frame
        ).pred_masks
        return logits[:, 0]


def seconds(run: object, frame: int, image: NDArray[np.uint8]) -> tuple[float, object]:
    """Duration of one step of a contestant, and its masks."""
    wait()
    began = time.perf_counter()
    masks = run.step(frame, image)  # type: ignore[attr-defined]
    wait()
    return time.perf_counter() - began, masks


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def against_the_peer(ours_with: Sam2Tracker, objects: int, frames: int) -> list[str]:
    """One row of the table: speed on a clip with a number of objects."""
    contestants = {"ours": Ours(ours_with, objects), "peer": Peer(ours_with, objects)}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    agreement = 1.0
    for frame, image in enumerate(images(WARM_UP + frames)):
        masks = {}
        for name, contestant in contestants.items():
            took, masks[name] = seconds(contestant, frame, image)
            if frame >= WARM_UP:
                times[name].append(took)
        mine, theirs = masks["ours"].logits, masks["peer"].float()
        agreement = float(((mine > 0) == (theirs > 0)).float().mean())
        if frame < 2 and ours_with.device.type == "cpu":
            torch.testing.assert_close(mine, theirs, atol=2e-2, rtol=2e-2)
    mine, theirs = (statistics.median(times[name]) for name in ("ours", "peer"))
    last = WARM_UP + frames
    flops = count_flops(lambda: contestants["ours"].step(last, image))
    return [
        str(objects),
        f"{1 / mine:.1f}",
        f"{1 / theirs:.1f}",
        f"{theirs / mine:.2f}×",
        f"{100 * agreement:.1f} %",
        f"{flops / 1e9:.1f}",
        f"{flops / mine / 1e9:.0f}",
    ]


def over_length(ours_with: Sam2Tracker, objects: int, length: int) -> list[str]:
    """One row: cost of the last frames of a clip, relative to the first ones with a full memory."""
    contestant, times, sizes = Ours(ours_with, objects), [], []
    for frame, image in enumerate(images(length)):
        times.append(seconds(contestant, frame, image)[0])
        sizes.append(resident())
    early, late = times[WARM_UP : WARM_UP + 50], times[-50:]
    return [
        str(length),
        f"{length / sum(times):.1f}",
        f"{statistics.median(early) / statistics.median(late):.2f}×",
        f"{(sizes[-1] - sizes[WARM_UP]) / 2**10 / (length - WARM_UP):.2f} KiB",
    ]


def resident() -> int:
    """Bytes of memory in use: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_model_options(parser)
    parser.add_argument("--objects", type=int, nargs="*", default=[1, 4, 16, 64])
    parser.add_argument("--frames", type=int, default=12, help="timed, after those of the warm-up")
    parser.add_argument("--lengths", type=int, nargs="*", default=[])
    parser.add_argument("--length-objects", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = tracker(arguments)
    what = f"SAM 2.1 {arguments.sam2}, random weights" if arguments.full_size else "embedded model"
    rows = [against_the_peer(model, number, arguments.frames) for number in arguments.objects]
    if rows:
        columns = ["objects", "ours, frames/s", "Sam2VideoModel", "ratio", "same pixels"]
        print_rows(what, [*columns, "GFLOP a frame", "GFLOP/s"], rows)
    rows = [over_length(model, arguments.length_objects, each) for each in arguments.lengths]
    if rows:
        columns = ["frames", "frames/s", "last 50 against first 50", "memory per frame"]
        print_rows(f"{what}, {arguments.length_objects} objects", columns, rows)


if __name__ == "__main__":
    main()
