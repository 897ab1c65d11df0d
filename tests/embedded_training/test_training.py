"""Training of detector and segmenter: a few steps on a few scenes, saved, resumed and loaded."""

from __future__ import annotations

import numpy as np
import pytest

from embedded_training import train_detector, train_segmenter
from embedded_training.scene_pool import ScenePool, build_scene_pool
from embedded_training.segmenter import build_model
from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.models.sam2 import Sam2Segmenter


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    build_scene_pool(folder, count=4, processes=1)
    return folder


def test_a_pool_holds_scenes_and_their_objects(pool):
    scenes = ScenePool.open(pool)
    assert len(scenes) == 4
    for instances, names in zip(scenes.instances, scenes.names, strict=True):
        assert instances.max() == (names[:, 0] >= 0).sum()


@pytest.mark.slow
def test_a_detector_is_trained_saved_and_resumed(pool, tmp_path, capsys):
    options = {"--out": tmp_path, "--dense-steps": 1, "--batch-size": 2, "--threads": 1}
    arguments = [str(pool), *(str(each) for pair in options.items() for each in pair)]
    train_detector.main([*arguments, "--steps", "2"])
    train_detector.main([*arguments, "--steps", "3"])
    assert capsys.readouterr().out.count("step") == 1  # the second call resumes at step 2
    detector = Florence2Detector.from_pretrained(tmp_path, device="cpu", max_new_tokens=4)
    image = np.zeros((64, 64, 3), np.uint8)
    assert len(detector.detect([image], [["red circle"]])) == 1


@pytest.mark.slow
def test_a_segmenter_is_trained_and_saved(pool, tmp_path):
    stage = train_segmenter.Stage(128, 2, 2, dense_steps=1, multimask=0.5, refine=1.0)
    model = build_model(128)
    heads = train_segmenter.DenseHeads(model.hidden_dim)
    train_segmenter.train_stage(model, heads, ScenePool.open(pool), stage, tmp_path)
    segmenter = Sam2Segmenter.from_pretrained(tmp_path, device="cpu")
    box = np.array([[10, 10, 40, 40]], np.float32)
    (found,) = segmenter.segment_boxes([np.zeros((64, 64, 3), np.uint8)], [box])
    assert len(found) == 1
