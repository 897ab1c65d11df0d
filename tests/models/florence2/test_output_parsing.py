"""Parsing of published, random and broken output, against the processor's own post-processing."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.models.florence2.output_parsing import (
    OutputVocabulary,
    ParsedBox,
    bins_to_boxes,
    match_phrase,
    parse_output,
    to_detected_boxes,
)

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
    return OutputVocabulary.from_processor(processor)


@pytest.fixture
def parse(processor, vocabulary):
    def parse_text(text: str):
        ids = processor.tokenizer(text, add_special_tokens=False).input_ids
        return parse_output(ids, vocabulary)

    return parse_text


def test_published_open_vocabulary_output(parse):
    parsed = parse(WHEELS)
    boxes = bins_to_boxes([box.bins for box in parsed], SIZE_HW)
    assert [box.phrase for box in parsed] == ["wheels"] * 3
    assert np.floor(boxes).astype(int).tolist() == [
        [92, 273, 557, 373],
        [455, 275, 554, 371],
        [95, 278, 194, 371],
    ]


def test_published_detection_output(parse):
    assert [box.phrase for box in parse(CAR)] == ["car", "door handle", "wheel", "wheel"]


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("<OPEN_VOCABULARY_DETECTION>", WHEELS),
        ("<OD>", CAR),
        ("<CAPTION_TO_PHRASE_GROUNDING>", CAR),
    ],
)
def test_agrees_with_the_processor(parse, processor, task, text):
    ours = parse(text)
    theirs = processor.post_process_generation(text, task=task, image_size=SIZE_HW[::-1])[task]
    boxes = bins_to_boxes([box.bins for box in ours], SIZE_HW)
    assert boxes.astype(int).tolist() == theirs["bboxes"]
    assert [box.phrase for box in ours] == theirs.get("labels", theirs.get("bboxes_labels"))


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_the_processor_on_random_output(parse, processor, seed):
    """Without incomplete groups before the last, for which the processor loses the phrase."""
    rng = np.random.default_rng(seed)
    names = ["red circle", "a blue thing", "door handle", "x"]
    text = "".join(
        str(rng.choice(names))
        + "".join(f"<loc_{b}>" for b in rng.integers(0, 1000, rng.integers(4, 11)))
        for _ in range(rng.integers(0, 6))
    )
    theirs = processor.post_process_generation(text, task="<OD>", image_size=(777, 333))["<OD>"]
    ours = parse(text)
    assert (
        bins_to_boxes([box.bins for box in ours], (333, 777)).astype(int).tolist()
        == theirs["bboxes"]
    )
    assert [box.phrase for box in ours] == theirs["labels"]


def test_every_character_of_a_phrase_is_kept(parse):
    phrase = "façade 黒い猫 🚲 naïve"
    assert parse(f"{phrase}<loc_1><loc_2><loc_3><loc_4>")[0].phrase == phrase


def test_boxes_stay_floats():
    box = bins_to_boxes([(0, 0, 999, 999)], (480, 640))[0]
    np.testing.assert_allclose(box, [0.32, 0.24, 639.68, 479.76], rtol=1e-6)


def test_steps_are_those_of_the_tokens_of_the_box(parse, processor):
    ids = processor.tokenizer(CAR, add_special_tokens=False).input_ids
    handle, wheel = parse(CAR)[1], parse(CAR)[3]
    phrase = processor.tokenizer.decode([ids[s] for s in handle.phrase_steps])
    assert phrase.strip() == "door handle"
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
def test_the_complete_boxes_of_broken_output_are_parsed(parse, text, count):
    assert len(parse(text)) == count


@pytest.mark.parametrize("seed", range(10))
def test_random_tokens_do_not_raise(vocabulary, processor, seed):
    rng = np.random.default_rng(seed)
    for box in parse_output(rng.integers(0, len(processor.tokenizer), 300).tolist(), vocabulary):
        assert all(0 <= b <= 999 for b in box.bins)


def test_no_bins_give_no_boxes():
    assert bins_to_boxes([], (10, 10)).shape == (0, 4)


def test_repeated_boxes_are_merged_and_flat_ones_dropped():
    def parsed(bins, confidence):
        return "x", ParsedBox("x", bins, (0,), (1, 2, 3, 4)), confidence

    boxes = to_detected_boxes(
        [
            parsed((10, 10, 20, 20), 0.4),
            parsed((10, 10, 20, 20), 0.6),
            parsed((30, 10, 30, 20), 0.9),
            parsed((50, 10, 40, 20), 0.9),
        ],
        (1000, 1000),
    )
    np.testing.assert_allclose(boxes.boxes_xyxy, [[10.5, 10.5, 20.5, 20.5]])
    np.testing.assert_allclose(boxes.confidence, [0.6])


@pytest.mark.parametrize(
    ("phrase", "captions", "expected"),
    [
        ("red circle", ["blue star", "red circle"], "red circle"),
        ("Red Circle.", ["red circle"], "red circle"),
        ("the red circle", ["a red circle"], "a red circle"),
        ("red circle on the left", ["circle", "red circle"], "red circle"),
        ("circle", ["red circle", "circle"], "circle"),
        ("wheel", ["steering wheel", "car wheel"], "steering wheel"),
        ("scar", ["car"], None),
        ("dog", ["cat"], None),
        ("黒い猫", ["黒い猫"], "黒い猫"),
        ("", ["cat"], None),
        ("the", ["the"], "the"),
        ("🔵", ["🔴", "🔵"], "🔵"),
        ("", ["🔴"], None),
    ],
)
def test_a_phrase_matches_the_caption_with_the_most_common_words(phrase, captions, expected):
    assert match_phrase(phrase, captions) == expected
