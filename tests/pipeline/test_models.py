"""Models of a pipeline: lazy loading, names, identities, and their Protocols."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grounded_sam2.config import Config, load_config
from grounded_sam2.errors import CheckpointError, ConfigError
from grounded_sam2.models.checkpoint_identity import checkpoint_identity
from grounded_sam2.models.florence2.model_type import FLORENCE2
from grounded_sam2.models.protocols import (
    DeferredMaskSegmenter,
    Detector,
    Segmenter,
    Tracker,
    TrackPrompt,
)
from grounded_sam2.models.sam2.model_type import SAM2
from grounded_sam2.pipeline.models import LazyModels, LazyTracker, TiledModels
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter, FakeTracker

DEMO = load_config("demo")
FAKE_NAMES = {
    "detector": "grounded_sam2.testing.FakeDetector",
    "segmenter": "grounded_sam2.testing.FakeSegmenter",
    "tracker": "grounded_sam2.testing.FakeTracker",
}


def fake_models(config: Config | None = None, **models: Any) -> LazyModels:
    fakes = {"detector": FakeDetector(), "segmenter": FakeSegmenter(), "tracker": FakeTracker()}
    return LazyModels(config or Config(), **{**fakes, **models})


@pytest.fixture
def missing(tmp_path: Path) -> LazyModels:
    """Models whose checkpoints are empty folders, so that loading one fails."""
    return LazyModels(
        Config().with_options(
            {"detector.checkpoint": str(tmp_path), "segmenter.checkpoint": str(tmp_path)}
        )
    )


class TestLoading:
    @pytest.mark.parametrize("role", ["detector", "segmenter", "tracker"])
    def test_a_model_is_loaded_when_it_is_first_used(self, missing: LazyModels, role: str) -> None:
        with pytest.raises(CheckpointError):
            getattr(missing, role)

    @pytest.mark.parametrize("role", ["detector", "segmenter", "tracker"])
    def test_a_model_is_loaded_once(self, demo_weights: Path, role: str) -> None:
        models = LazyModels(DEMO)
        assert getattr(models, role) is getattr(models, role)

    def test_the_configured_models_are_florence_2_and_sam_2(self, demo_weights: Path) -> None:
        from grounded_sam2.models.florence2 import Florence2Detector
        from grounded_sam2.models.sam2 import Sam2Segmenter, Sam2Tracker

        models = LazyModels(DEMO.with_options({"detector.task": "object_detection"}))
        assert isinstance(models.detector, Florence2Detector)
        assert models.detector.task == "object_detection"
        assert isinstance(models.segmenter, Sam2Segmenter)
        assert models.segmenter.options == DEMO.segmenter
        assert isinstance(models.tracker, Sam2Tracker)

    def test_names_and_identities_load_no_model_library(self) -> None:
        program = (
            "import sys; from grounded_sam2.config import load_config; "
            "from grounded_sam2.pipeline.models import LazyModels, LazyTracker, TiledModels; "
            "models = LazyModels(load_config('demo')); TiledModels(models); LazyTracker(models); "
            "models.names(); models.identities('detector', 'segmenter', 'tracker'); "
            "assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", program], check=True)

    def test_the_automatic_batch_size_is_that_of_the_configured_device(self) -> None:
        from grounded_sam2.models.devices import batch_size_for, resolve_device

        models = LazyModels(Config().with_options({"runtime.device": "cpu"}))
        assert models.auto_batch_size() == batch_size_for(resolve_device("cpu"))
        models = LazyModels(Config().with_options({"runtime.device": "cuda:99"}))
        with pytest.raises(ConfigError, match="cuda:99"):
            models.auto_batch_size()


class TestTracker:
    def test_runs_on_the_model_of_the_configured_segmenter(self, demo_weights: Path) -> None:
        config = DEMO.with_options({"tracker.objects_per_batch": 3})
        models = LazyModels(config)
        assert models.tracker.model is models.segmenter.model  # type: ignore[attr-defined]
        assert models.tracker.options == config.tracker  # type: ignore[attr-defined]

    def test_loads_its_checkpoint_beside_another_segmenter(self, demo_weights: Path) -> None:
        from grounded_sam2.models.sam2 import Sam2Tracker

        config = DEMO.with_options({"tracker.objects_per_batch": 3})
        tracker = LazyModels(config, segmenter=FakeSegmenter()).tracker
        assert isinstance(tracker, Sam2Tracker)
        assert tracker.options == config.tracker


class TestGivenModels:
    def test_are_used_instead_of_the_configured_ones(self, missing: LazyModels) -> None:
        detector, segmenter, tracker = FakeDetector(), FakeSegmenter(), FakeTracker()
        models = LazyModels(missing.config, detector=detector, segmenter=segmenter, tracker=tracker)
        assert models.detector is detector
        assert models.segmenter is segmenter
        assert models.tracker is tracker

    def test_are_named_by_their_class(self) -> None:
        assert fake_models().names() == FAKE_NAMES
        assert fake_models().identities("detector", "tracker") == {
            "detector": FAKE_NAMES["detector"],
            "tracker": FAKE_NAMES["tracker"],
        }

    def test_leave_the_names_of_the_others(self) -> None:
        assert LazyModels(DEMO, segmenter=FakeSegmenter()).names() == {
            "detector": "demo",
            "segmenter": FAKE_NAMES["segmenter"],
            "tracker": "demo",
        }

    def test_have_no_digest_of_a_folder_that_has_the_name_of_their_class(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path(FAKE_NAMES["detector"]).mkdir()
        assert fake_models().identities("detector") == {"detector": FAKE_NAMES["detector"]}


class TestConfiguredModels:
    def test_are_named_by_their_checkpoint(self) -> None:
        config = Config().with_options(
            {"detector.checkpoint": "a/detector", "segmenter.checkpoint": "a/segmenter"}
        )
        names = {"detector": "a/detector", "segmenter": "a/segmenter", "tracker": "a/segmenter"}
        assert LazyModels(config).names() == names
        assert LazyModels(config).identities("detector", "segmenter", "tracker") == names

    def test_of_local_weights_have_their_digest_in_the_identity(self, demo_weights: Path) -> None:
        detector = checkpoint_identity("demo", FLORENCE2.embedded)
        segmenter = checkpoint_identity("demo", SAM2.embedded)
        assert detector != segmenter
        models = LazyModels(DEMO)
        assert models.names() == dict.fromkeys(("detector", "segmenter", "tracker"), "demo")
        assert models.identities("detector", "segmenter", "tracker") == {
            "detector": detector,
            "segmenter": segmenter,
            "tracker": segmenter,
        }

    def test_only_the_requested_roles_have_an_identity(self) -> None:
        assert set(LazyModels(DEMO).identities("segmenter")) == {"segmenter"}


def parameters_of(protocol: type, implementation: type) -> list[tuple[str, list, list]]:
    """Names and kinds of the parameters of each method, of a Protocol and of a class."""

    def parameters(method: Any) -> list[tuple[str, Any]]:
        return [(p.name, p.kind) for p in inspect.signature(method).parameters.values()]

    methods = [name for name in vars(protocol) if not name.startswith("_")]
    return [
        (name, parameters(getattr(protocol, name)), parameters(getattr(implementation, name)))
        for name in methods
    ]


@pytest.mark.parametrize(
    ("protocol", "adapter"),
    [
        (Detector, TiledModels),
        (Segmenter, TiledModels),
        (DeferredMaskSegmenter, TiledModels),
        (Tracker, LazyTracker),
    ],
)
class TestProtocols:
    def test_are_satisfied_without_loading_a_model(
        self, missing: LazyModels, protocol: type, adapter: Any
    ) -> None:
        assert isinstance(adapter(missing), protocol)

    def test_have_the_same_parameters(self, protocol: type, adapter: type) -> None:
        methods = parameters_of(protocol, adapter)
        assert methods
        for name, expected, actual in methods:
            assert actual == expected, name


def draw(size_hw: tuple[int, int] = (40, 60)) -> np.ndarray:
    """A red rectangle on black: ``(h, w, 3)`` ``uint8``."""
    image = np.zeros((*size_hw, 3), np.uint8)
    image[10:20, 5:25] = COLORS["red"]
    return image


class SizeRecordingDetector(FakeDetector):
    """Records the size of each image that it processes."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes_hw: list[tuple[int, ...]] = []

    def detect(self, images, captions):
        self.sizes_hw += [image.shape[:2] for image in images]
        return super().detect(images, captions)


class SizeRecordingSegmenter(FakeSegmenter):
    """Records the size of each image that it processes."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes_hw: list[tuple[int, ...]] = []

    def segment_boxes(self, images, boxes_xyxy):
        self.sizes_hw += [image.shape[:2] for image in images]
        return super().segment_boxes(images, boxes_xyxy)


class TestTiledModels:
    BOXES = np.array([[5, 10, 25, 20]], np.float32)

    def test_small_images_are_passed_to_the_models(self) -> None:
        models = TiledModels(fake_models())
        [detected] = models.detect([draw()], [["red box"]])
        assert detected.boxes_xyxy.tolist() == self.BOXES.tolist()
        [segmented] = models.segment_boxes([draw()], [self.BOXES])
        assert segmented.masks[0].area == 200
        [deferred] = models.start_segment_boxes([draw()], [self.BOXES])()
        assert deferred.masks == segmented.masks

    def test_large_images_are_processed_in_tiles_of_the_configured_side(self) -> None:
        config = Config().with_options({"tiling.mode": "always", "tiling.tile_size": 256})
        detector, segmenter = SizeRecordingDetector(), SizeRecordingSegmenter()
        models = TiledModels(fake_models(config, detector=detector, segmenter=segmenter))
        image = draw((600, 700))
        [detected] = models.detect([image], [["red box"]])
        assert detected.boxes_xyxy.tolist() == self.BOXES.tolist()
        assert (256, 256) in detector.sizes_hw
        [segmented] = models.segment_boxes([image], [self.BOXES])
        assert (segmented.masks[0].area, segmented.masks[0].size_hw) == (200, (600, 700))
        assert (256, 256) in segmenter.sizes_hw

    def test_load_their_models_when_they_are_first_used(self, missing: LazyModels) -> None:
        models = TiledModels(missing)
        with pytest.raises(CheckpointError):
            models.detect([draw()], [["red box"]])
        with pytest.raises(CheckpointError):
            models.start_segment_boxes([draw()], [self.BOXES])


class RecordingTracker(FakeTracker):
    """Records the arguments of each call that `FakeTracker` ignores."""

    def __init__(self) -> None:
        super().__init__(quality=0.5)
        self.calls: list[tuple] = []

    def propagate(self, encoded, state, frame, *, reverse=False):
        self.calls.append(("propagate", frame, reverse))
        return super().propagate(encoded, state, frame, reverse=reverse)

    def prompt(self, encoded, prompts, state=None, frame=None, *, reverse=False):
        self.calls.append(("prompt", state, frame, reverse))
        return super().prompt(encoded, prompts, state, frame, reverse=reverse)

    def update_state(self, encoded, state, frame, masks, *, prompted=()):
        self.calls.append(("update_state", frame, prompted))
        return super().update_state(encoded, state, frame, masks, prompted=prompted)


class TestLazyTracker:
    PROMPTS = {1: TrackPrompt(box_xyxy=np.array([5, 10, 25, 20]))}  # noqa: RUF012

    def test_every_call_reaches_the_tracker_with_its_arguments(self) -> None:
        recording = RecordingTracker()
        tracker = LazyTracker(fake_models(tracker=recording))
        encoded = tracker.encode(draw())
        empty = tracker.empty_state()
        prompted = tracker.prompt(encoded, self.PROMPTS, empty, 3, reverse=True)
        state = tracker.update_state(encoded, empty, 3, prompted, prompted=[1])
        masks = tracker.propagate(encoded, state, 2, reverse=True)
        assert (masks.ids, masks.to_rles()[0].area, masks.quality.tolist()) == ((1,), 200, [0.5])
        assert tracker.load(tracker.save(state)) == state
        assert recording.calls == [
            ("prompt", empty, 3, True),
            ("update_state", 3, [1]),
            ("propagate", 2, True),
        ]

    def test_the_defaults_are_those_of_the_protocol(self) -> None:
        recording = RecordingTracker()
        tracker = LazyTracker(fake_models(tracker=recording))
        encoded, empty = tracker.encode(draw()), tracker.empty_state()
        prompted = tracker.prompt(encoded, self.PROMPTS)
        tracker.update_state(encoded, empty, 0, prompted)
        tracker.propagate(encoded, empty, 0)
        assert recording.calls == [
            ("prompt", None, None, False),
            ("update_state", 0, ()),
            ("propagate", 0, False),
        ]

    def test_loads_the_tracker_when_it_is_first_used(self, missing: LazyModels) -> None:
        tracker = LazyTracker(missing)
        with pytest.raises(CheckpointError):
            tracker.empty_state()
