"""Learning to track: what is drawn from the pool, and that gradients reach what is to be learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from embedded_training import episodes
from embedded_training.clip_pool import CROWD, ClipPool, build_clip_pool, training_clip
from embedded_training.episodes import SMALLEST_PROMPT, Episode, EpisodeSampler
from embedded_training.segmenter import build_model, build_processor
from embedded_training.train_tracker import answer_loss, episode_loss, freeze, with_new_memory
from embedded_training.unrolled_tracker import Unroll
from grounded_sam2.geometry.rle import encode
from grounded_sam2.models.checkpoints import resolve_checkpoint
from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.models.sam2.tracker import Sam2Tracker

SIDE = 64
PROCESSOR = build_processor()


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> ClipPool:
    folder = tmp_path_factory.mktemp("clips")
    build_clip_pool(folder, count=3, frames=9, processes=1)
    return ClipPool.open(folder)


@pytest.fixture(scope="module")
def episode(pool) -> Episode:
    sampler = EpisodeSampler(pool, PROCESSOR, SIDE)
    return sampler.draw(np.random.default_rng(2), clips=2, frames=4, objects=5)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_model(SIDE)
    with torch.no_grad():
        # A fresh model is indifferent to most of what it is told.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    return model


def test_a_pool_holds_clips(pool):
    assert len(pool) == 3
    assert pool.frames == 9
    assert pool.images.shape == (3, 9, 256, 256, 3)
    assert pool.instances.shape == (3, 9, 256, 256)
    assert all(clip[0].max() >= 1 for clip in pool.instances)


def test_another_pool_may_hold_the_clips_that_follow(pool, tmp_path):
    build_clip_pool(tmp_path, count=1, frames=9, processes=1, skip=2)
    more = ClipPool.open(tmp_path)
    np.testing.assert_array_equal(more.images[0], pool.images[2])
    np.testing.assert_array_equal(more.instances[0], pool.instances[2])


def test_half_of_the_clips_of_a_pool_are_crowded():
    clips = [training_clip(seed, frames=2) for seed in range(30)]
    crowded = [
        clip
        for clip in clips
        if len(clip.objects) >= CROWD[0] and len({thing.color for thing in clip.objects}) <= 2
    ]
    assert len(crowded) == 15


@pytest.mark.parametrize("seed", range(8))
def test_an_episode_shows_its_objects_first(pool, seed):
    sampler = EpisodeSampler(pool, PROCESSOR, SIDE)
    episode = sampler.draw(np.random.default_rng(seed), clips=2, frames=4, objects=5)
    frames = len(episode.times)
    assert frames >= 4
    assert episode.pixels.shape == (frames, 2, 3, SIDE, SIDE)
    assert episode.masks.shape == (frames, 5, SIDE, SIDE)
    assert episode.rows.tolist() == sorted(episode.rows.tolist())
    shares = episode.masks[0].float().mean((1, 2))
    assert (shares > 0.5 * SMALLEST_PROMPT).all()
    assert episode.times[0] == 0
    steps = np.diff(episode.times)
    assert steps[0] >= 1
    assert (steps[1:] == 1).all()


def test_masks_lie_on_their_objects():
    """Pictures and truth are turned, flipped and reduced together."""
    instances = np.zeros((1, 6, 256, 256), np.uint8)
    for frame in range(6):
        instances[0, frame, 20:90, 10 + 9 * frame : 120 + 9 * frame] = 1
        instances[0, frame, 150 - 7 * frame : 230, 130:200] = 2
    images = np.stack([100 * instances] * 3, -1)
    sampler = EpisodeSampler(ClipPool(images, instances), PROCESSOR, SIDE)
    shown = set()
    for seed in range(12):
        episode = sampler.draw(np.random.default_rng(seed), clips=1, frames=3, objects=2)
        order = set()
        for masks, pixels in zip(episode.masks, episode.pixels, strict=True):
            grey = pixels[0].mean(0)
            values = [grey[mask].median().item() for mask in masks]
            background = grey[~masks.any(0)].median().item()
            assert background < min(values)
            order.add(values[0] < values[1])
        assert len(order) == 1, "the same object in every frame"
        shown.add(tuple(episode.masks[0].sum((1, 2)).tolist()))
        shown.add(tuple(episode.masks[0, 0].nonzero().float().mean(0).tolist()))
    assert len(shown) > 12, "not always laid the same way"


def test_stories_in_which_things_disappear_are_told_more_often(monkeypatch):
    instances = np.zeros((1, 30, 256, 256), np.uint8)
    instances[:, :, 20:90, 20:90] = 1
    instances[:, :15, 120:200, 120:200] = 2
    sampler = EpisodeSampler(ClipPool(np.stack([instances] * 3, -1), instances), PROCESSOR, SIDE)

    def share() -> float:
        draws = [sampler.draw(np.random.default_rng(seed), 1, 4, 1) for seed in range(60)]
        return float(np.mean([(draw.masks.flatten(2).sum(2) == 0).any() for draw in draws]))

    looked_for = share()
    monkeypatch.setattr(episodes, "EVENTFUL", 0)
    assert looked_for > share() + 0.15


def test_stories_in_which_things_meet_are_told_more_often(monkeypatch):
    instances = np.zeros((1, 30, 256, 256), np.uint8)
    for frame in range(30):
        left = 100 + 4 * max(frame - 20, 0)  # it reaches the other one at frame 25
        instances[0, frame, 20:90, left : left + 40] = 1
    instances[:, :, 20:90, 160:200] = 2
    sampler = EpisodeSampler(ClipPool(np.stack([instances] * 3, -1), instances), PROCESSOR, SIDE)

    def share() -> float:
        stories = [sampler._story(np.random.default_rng(seed), 4, []) for seed in range(60)]
        return float(np.mean([(min(index) < 25) & (max(index) >= 25) for _, index, _ in stories]))

    looked_for = share()
    monkeypatch.setattr(episodes, "EVENTFUL", 0)
    assert looked_for > share() + 0.15


def test_an_interrupted_story_shows_another_clip_without_the_object(pool, monkeypatch):
    monkeypatch.setattr(episodes, "INTERRUPTED", 1)
    monkeypatch.setattr(episodes, "SKIPPED", 0)
    monkeypatch.setattr(episodes, "LOST", 0)
    monkeypatch.setattr(episodes, "EVENTFUL", 0)
    sampler = EpisodeSampler(pool, PROCESSOR, SIDE)
    for seed in range(10):
        episode = sampler.draw(np.random.default_rng(seed), clips=2, frames=6, objects=4)
        gone = ~episode.masks.flatten(1).any(1)
        assert gone[1:5].any(), "at least one frame"
        assert not gone[0]


def test_a_lost_object_is_given_time_to_be_found_again(pool, monkeypatch):
    monkeypatch.setattr(episodes, "SKIPPED", 0)
    monkeypatch.setattr(episodes, "LOST", 1)
    sampler = EpisodeSampler(pool, PROCESSOR, SIDE)
    for seed in range(6):
        episode = sampler.draw(np.random.default_rng(seed), clips=2, frames=6, objects=4)
        assert episode.lost.start == 1
        assert len(episode.masks) - episode.lost.stop >= 3


def test_nothing_is_found_while_lost(model, pool, monkeypatch):
    monkeypatch.setattr(episodes, "SKIPPED", 0)
    monkeypatch.setattr(episodes, "LOST", 1)
    episode = EpisodeSampler(pool, PROCESSOR, SIDE).draw(np.random.default_rng(0), 2, 6, 4)
    unroll = Unroll(model)
    features = [unroll.features(unroll.look(frame), episode.rows) for frame in episode.pixels]
    with torch.no_grad():
        answers = list(
            unroll.track(features, episode.times, episode.masks[0], True, lost=episode.lost)
        )
    silent = [step for step, answer in enumerate(answers, start=1) if answer is None]
    assert silent == list(episode.lost)


def test_the_same_draw_twice(pool):
    sampler = EpisodeSampler(pool, PROCESSOR, SIDE)
    first, second = (sampler.draw(np.random.default_rng(1), 2, 3, 4) for _ in range(2))
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.masks, second.masks)


@pytest.mark.parametrize("corrected", [None, 4], ids=["once", "corrected"])
@pytest.mark.parametrize("by_mask", [True, False], ids=["masks", "boxes"])
def test_it_is_unrolled_as_the_tracker_tracks(model, pool, by_mask, corrected):
    """Same frames, same prompts, same answers."""
    model.eval()
    sampler = EpisodeSampler(pool, PROCESSOR, SIDE)
    episode = sampler.draw(np.random.default_rng(5), clips=1, frames=9, objects=2)
    assert episode.times == tuple(range(9)), "choose a seed that skips nothing"
    assert not episode.lost
    unroll = Unroll(model, half=False)
    looked = [unroll.look(pixels) for pixels in episode.pixels]
    features = [unroll.features(each, episode.rows) for each in looked]
    boxes = torch.tensor([[10.0, 12.0, 40.0, 44.0], [20.0, 5.0, 60.0, 30.0]])
    with torch.no_grad():
        first = None if by_mask else unroll.ask(features[0], multimask=False, boxes=boxes[:, None])
        ours = list(
            unroll.track(
                features,
                episode.times,
                episode.masks[0],
                by_mask,
                first,
                corrected=None if corrected is None else (corrected, boxes.flip(0)[:, None]),
            )
        )

    tracker = Sam2Tracker(model, _Given(build_processor().image_processor))
    state = tracker.empty_state()
    for frame, pixels in enumerate(episode.pixels):
        encoded = tracker.encode(_Given.image(pixels))
        if frame == 0:
            prompts = {
                row + 1: TrackPrompt(mask=encode(episode.masks[0, row].numpy()[None])[0])
                if by_mask
                else TrackPrompt(box_xyxy=boxes[row].numpy())
                for row in range(2)
            }
            answers = tracker.prompt(encoded, prompts)
        else:
            answers = tracker.propagate(encoded, state, frame)
            if frame == corrected:
                prompts = {row + 1: TrackPrompt(box_xyxy=boxes[1 - row].numpy()) for row in (0, 1)}
                answers = tracker.prompt(encoded, prompts, state, frame)
            answer = ours[frame - 1]
            best = answer.quality.argmax(1)
            torch.testing.assert_close(
                answer.quality[range(2), best], torch.from_numpy(answers.quality), **CLOSE
            )
            torch.testing.assert_close(answer.score, torch.from_numpy(answers.score), **CLOSE)
            present = answer.score > 0
            expected = answers.logits[present]
            torch.testing.assert_close(answer.logits[range(2), best][present], expected, **CLOSE)
        state = tracker.update_state(encoded, state, frame, answers)


CLOSE = {"atol": 2e-2, "rtol": 2e-2}
"""The tracker rounds its maps to bfloat16."""


class _Given:
    """An image processor that is given what it would have made."""

    def __init__(self, real) -> None:
        self.real = real

    @staticmethod
    def image(pixels: torch.Tensor) -> np.ndarray:
        _Given.pixels = pixels[:1]
        return np.zeros((SIDE, SIDE, 3), np.uint8)

    def __call__(self, **_):
        return {"pixel_values": _Given.pixels}

    def __getattr__(self, name):
        return getattr(self.real, name)


def test_gradients_reach_all_of_the_memory(model, episode):
    freeze(model)
    loss = torch.tensor(0.0)
    for seed in range(4):  # masks, boxes, points
        loss = loss + episode_loss(Unroll(model), episode, np.random.default_rng(seed))[0]
    loss.backward()
    without = {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    }
    # It is only said where an object is absent, or where there is no memory at all.
    assert without <= {"no_object_pointer", "no_memory_positional_encoding"} | {
        "occlusion_spatial_embedding_parameter"
    }
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert all(model.get_parameter(name).grad is None for name in frozen)
    assert {name.split(".")[0] for name in frozen} == {
        "vision_encoder",
        "prompt_encoder",
        "no_memory_embedding",
        "mask_decoder",
    }


def test_a_step_down_the_gradient_helps(model, episode):
    freeze(model)
    unroll = Unroll(model)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
    losses = []
    for _ in range(6):
        loss, log = episode_loss(unroll, episode, np.random.default_rng(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert set(log) == {"asked", "track", "iou", "last", "gates"}
    assert losses[-1] < losses[0]


def test_nothing_is_asked_of_masks_that_are_not_there(model, episode):
    unroll = Unroll(model)
    features = unroll.features(unroll.look(episode.pixels[0]), episode.rows)
    answer = unroll.ask(features, multimask=True)
    gone = torch.zeros_like(episode.masks[0])
    loss, iou, right = answer_loss(answer, gone)
    assert np.isnan(iou)
    assert right == float((answer.score <= 0).float().mean())
    loss.backward()
    assert model.mask_decoder.upscale_conv1.weight.grad is None


def test_the_image_part_is_taken_over():
    shipped = Path(resolve_checkpoint("demo", "segmenter"))
    model = with_new_memory(shipped)
    again = Sam2Tracker.from_pretrained("demo", device="cpu").model
    for name in ("vision_encoder.neck.convs.0.weight", "mask_decoder.iou_token.weight"):
        torch.testing.assert_close(model.get_parameter(name), again.get_parameter(name))
    # float16 on disk
    assert model.mem_dim == 64
