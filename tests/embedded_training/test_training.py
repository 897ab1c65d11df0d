"""The training scripts: a few steps on a few scenes learn, are saved, and can be gone on with."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from embedded_training import train_detector, train_segmenter
from embedded_training.scene_pool import ScenePool, build_scene_pool
from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.models.sam2 import Sam2Segmenter


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    build_scene_pool(folder, count=4, processes=1)
    return folder


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["train", *map(str, arguments)])
    module.main()


def test_pool_holds_the_scenes(pool):
    scenes = ScenePool.open(pool)
    assert len(scenes) == 4
    for instances, names in zip(scenes.instances, scenes.names, strict=True):
        assert instances.max() == (names[:, 0] >= 0).sum()


def test_detector_trains_saves_and_goes_on(pool, tmp_path, monkeypatch, capsys):
    common = ("--out", tmp_path, "--dense-steps", 1, "--batch-size", 2, "--threads", 1)
    run(train_detector, monkeypatch, pool, *common, "--steps", 2)
    run(train_detector, monkeypatch, pool, *common, "--steps", 3)
    assert capsys.readouterr().out.count("step") == 1  # the second run goes on at step 2
    detector = Florence2Detector.from_pretrained(tmp_path, device="cpu", max_new_tokens=4)
    image = np.zeros((64, 64, 3), np.uint8)
    assert len(detector.detect([image], [["red circle"]])) == 1


def test_segmenter_trains_and_saves(pool, tmp_path, monkeypatch):
    small = train_segmenter.Stage(128, 2, 2, dense_steps=1, multimask=0.5, refine=1.0)
    model = train_segmenter.build_model(128)
    heads = train_segmenter.DenseHeads(model.hidden_dim)
    train_segmenter.train_stage(model, heads, ScenePool.open(pool), small, tmp_path)
    segmenter = Sam2Segmenter.from_pretrained(tmp_path, device="cpu")
    box = np.array([[10, 10, 40, 40]], np.float32)
    (found,) = segmenter.segment_boxes([np.zeros((64, 64, 3), np.uint8)], [box])
    assert len(found) == 1
