"""Reading answers: published generations, the processor's own reading, and broken ones."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.models.florence2.detector import _answer_vocabulary
from grounded_sam2.models.florence2.output_parsing import bins_to_boxes, parse_output

WHEELS = (
    "</s><s>wheels<loc_144><loc_570><loc_870><loc_778>wheels<loc_711><loc_573><loc_866><loc_774>"
    "wheels<loc_148><loc_579><loc_304><loc_774></s>"
)
CAR = (
    "</s><s>car<loc_53><loc_333><loc_933><loc_774>door handle<loc_425><loc_503><loc_474><loc_515>"
    "wheel<loc_709><loc_576><loc_865><loc_772><loc_150><loc_584><loc_309><loc_773></s>"
)
SIZE_HW = (480, 640)


@pytest.fixture(scope="module")
def vocabulary(processor):
    return _answer_vocabulary(processor)[0]


@pytest.fixture
def read(processor, vocabulary):
    def read_text(text: str):
        ids = processor.tokenizer(text, add_special_tokens=False).input_ids
        return parse_output(ids, vocabulary)

    return read_text


def test_published_open_vocabulary_answer(read):
    instances = read(WHEELS)
    boxes = bins_to_boxes([i.bins for i in instances], SIZE_HW)
    assert [i.phrase for i in instances] == ["wheels"] * 3
    assert np.floor(boxes).astype(int).tolist() == [
        [92, 273, 557, 373],
        [455, 275, 554, 371],
        [95, 278, 194, 371],
    ]


def test_published_detection_answer(read):
    assert [i.phrase for i in read(CAR)] == ["car", "door handle", "wheel", "wheel"]


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("<OPEN_VOCABULARY_DETECTION>", WHEELS),
        ("<OD>", CAR),
        ("<CAPTION_TO_PHRASE_GROUNDING>", CAR),
    ],
)
def test_agrees_with_the_processor(read, processor, task, text):
    ours = read(text)
    answer = processor.post_process_generation(text, task=task, image_size=SIZE_HW[::-1])[task]
    boxes = bins_to_boxes([i.bins for i in ours], SIZE_HW)
    assert boxes.astype(int).tolist() == answer["bboxes"]
    assert [i.phrase for i in ours] == answer.get("labels", answer.get("bboxes_labels"))


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_the_processor_on_random_answers(read, processor, seed):
    """Groups cut short before the last are left out: there the processor loses the phrase."""
    rng = np.random.default_rng(seed)
    names = ["red circle", "a blue thing", "door handle", "x"]
    text = "".join(
        str(rng.choice(names))
        + "".join(f"<loc_{b}>" for b in rng.integers(0, 1000, rng.integers(4, 11)))
        for _ in range(rng.integers(0, 6))
    )
    answer = processor.post_process_generation(text, task="<OD>", image_size=(777, 333))["<OD>"]
    ours = read(text)
    assert (
        bins_to_boxes([i.bins for i in ours], (333, 777)).astype(int).tolist() == answer["bboxes"]
    )
    assert [i.phrase for i in ours] == answer["labels"]


def test_no_character_of_a_phrase_is_lost(read):
    phrase = "façade 黒い猫 🚲 naïve"
    assert read(f"{phrase}<loc_1><loc_2><loc_3><loc_4>")[0].phrase == phrase


def test_boxes_stay_floats():
    box = bins_to_boxes([(0, 0, 999, 999)], (480, 640))[0]
    np.testing.assert_allclose(box, [0.32, 0.24, 639.68, 479.76], rtol=1e-6)


def test_steps_point_at_the_tokens_that_said_the_box(read, processor):
    ids = processor.tokenizer(CAR, add_special_tokens=False).input_ids
    handle, wheel = read(CAR)[1], read(CAR)[3]
    said = processor.tokenizer.decode([ids[s] for s in handle.phrase_steps])
    assert said.strip() == "door handle"
    assert processor.tokenizer.decode([ids[s] for s in wheel.location_steps]).split("><") == [
        "<loc_150",
        "loc_584",
        "loc_309",
        "loc_773>",
    ]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("</s><s></s>", 0),
        ("just words", 0),
        ("cut off<loc_1><loc_2><loc_3>", 0),
        ("one and a bit<loc_1><loc_2><loc_3><loc_4><loc_5>", 1),
        ("<loc_1><loc_2><loc_3><loc_4>no phrase before", 1),
        ("<loc_7>" * 4003, 1000),
        ("a<loc_1>b<loc_2>c<loc_3>", 0),
        ("markup<poly><loc_1><loc_2><loc_3><loc_4></poly>", 1),
        ("twice<loc_1><loc_2><loc_3><loc_4>twice<loc_1><loc_2><loc_3><loc_4>", 2),
    ],
)
def test_broken_answers_are_read_as_far_as_they_go(read, text, count):
    assert len(read(text)) == count


@pytest.mark.parametrize("seed", range(10))
def test_random_tokens_never_raise(vocabulary, processor, seed):
    rng = np.random.default_rng(seed)
    for instance in parse_output(
        rng.integers(0, len(processor.tokenizer), 300).tolist(), vocabulary
    ):
        assert all(0 <= b <= 999 for b in instance.bins)


def test_no_bins_give_no_boxes():
    assert bins_to_boxes([], (10, 10)).shape == (0, 4)
