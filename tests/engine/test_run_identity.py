"""Keys of runs as the first stores hold them: a store of today is continued for ever."""

from __future__ import annotations

import pytest

from grounded_sam2 import CaptionOntology
from grounded_sam2.config import Config, load_config
from grounded_sam2.engine.run_config import image_run_config, video_run_config

ONTOLOGY = CaptionOntology({"red circle": "ball", "blue square": "box"})
FRAMES = {"stride": 1, "start": None, "end": None, "fps": 25.0}
DEMO_JSON = (
    '{"config":{"detector":{"candidate_confidence":0.1,"max_new_tokens":256,"num_beams":1,'
    '"task":"open_vocabulary_detection"},"segmenter":{"complement":"repair","mask_threshold":0.0,'
    '"multimask":false},"tiling":{"above_side":1024,"mode":"auto","overlap":0.25,"tile_size":320}},'
    '"decisions":{"cleanup":{"across_classes":true,"boxes_from_masks":true,'
    '"largest_part_only":false,"max_hole_area":16,"merge_iou":0.5,"min_part_area":16,'
    '"nms":"class_specific","nms_iou":0.7,"non_overlapping":false},'
    '"detector":{"min_confidence":0.3},"segmenter":{"min_mask_quality":0.0}},'
    '"models":{"detector":"demo","segmenter":"demo"},"source":"../images"}'
)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (
            load_config("default"),
            "8ff6aae9a5ddc8188087e2324321968760d0cc871b0cd2afdfe87013bbd3cc48",
        ),
        (load_config("demo"), "510d9db759f8c31f81193f1d8a7423fa4825047ba9d4925c8177fd64d2fc8848"),
        (load_config("fast"), "a2e207ceb364b9de24ed4ed69ba32485bc330a4af535902ad43ed9ddf9d498c9"),
        (
            load_config("accurate"),
            "b400c6aafa65bfacdacdc697ff38423c8080f0474cbddef667509bbcc21a6532",
        ),
        (
            load_config("demo").with_options({"detector.task": "phrase_grounding"}),
            "c11b99a7cd0b7beecb8ebce8d1fec5c198efe39b7f1d054b9f62126a7466cc35",
        ),
    ],
)
def test_keys_of_runs_of_images(config: Config, key: str) -> None:
    assert image_run_config(config, ONTOLOGY, source="../images").key == key


def test_the_stored_json_of_a_run_of_images() -> None:
    stored = image_run_config(load_config("demo"), ONTOLOGY, source="../images").to_json()
    assert stored == DEMO_JSON


def test_the_key_of_a_run_of_videos() -> None:
    models = {"detector": "demo", "tracker": "demo"}
    run_config = video_run_config(load_config("demo"), ONTOLOGY, models=models, frames=FRAMES)
    assert run_config.key == "b80d5e16c36f1f130d540689e7f9080262ccbe0cd7b8d1f80b41419037beb642"
