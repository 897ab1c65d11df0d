"""The façade `GroundedSAM2`: prediction on images, labeling of folders, and errors."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from PIL import Image as PILImage

from grounded_sam2 import CaptionOntology, GroundedSAM2
from grounded_sam2.errors import (
    CheckpointError,
    ConfigError,
    ExportError,
    ImageError,
    PromptError,
    SourceError,
    StoreError,
)
from grounded_sam2.exporters import export
from grounded_sam2.store import LabelStore
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter


class OtherDetector(FakeDetector):
    """Another model, which finds the same objects."""


def draw_image(*colors: str) -> np.ndarray:
    """A dark image with one block per color, side by side."""
    image = np.zeros((40, 20 + 20 * len(colors), 3), np.uint8)
    for index, color in enumerate(colors):
        image[10:26, 10 + 20 * index : 26 + 20 * index] = COLORS[color]
    return image


def forbidden(model: type) -> object:
    """A model that is recorded under this class and fails when called."""

    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("no model must be called")

    names = {"__module__": model.__module__, "__qualname__": model.__qualname__}
    methods = {name: fail for name in vars(model) if not name.startswith("_")}
    return type(model.__name__, (), {**methods, **names})()


def fake_model(**options) -> GroundedSAM2:
    return GroundedSAM2(
        CaptionOntology({"red box": "warm", "yellow box": "warm", "blue box": "cold"}),
        **{"detector": FakeDetector(), "segmenter": FakeSegmenter()} | options,
    )


@pytest.fixture
def model():
    return fake_model()


class TestPredict:
    def test_predict_returns_supervision_detections(self, model):
        found = model.predict(draw_image("blue", "red"))
        assert found.class_id.tolist() == [1, 0]
        assert found.data["class_name"].tolist() == ["cold", "warm"]
        assert found.data["caption"].tolist() == ["blue box", "red box"]
        assert found.mask.shape == (2, 40, 60)
        assert found.mask.sum(axis=(1, 2)).tolist() == [256, 256]
        np.testing.assert_array_equal(found.xyxy, [[10, 10, 26, 26], [30, 10, 46, 26]])
        np.testing.assert_allclose(found.confidence, 0.9)
        np.testing.assert_allclose(found.data["mask_quality"], 0.8)

    def test_predict_returns_uids_that_do_not_depend_on_the_threshold(self, model):
        uids = model.predict(draw_image("blue", "red")).data["uid"].tolist()
        assert len(set(uids)) == 2
        again = fake_model().predict(draw_image("blue", "red"), min_confidence=0.05)
        assert again.data["uid"].tolist() == uids
        other = fake_model(detector=OtherDetector()).predict(draw_image("blue", "red"))
        assert not set(other.data["uid"].tolist()) & set(uids)

    def test_predict_returns_empty_detections_for_an_image_without_objects(self, model):
        found = model.predict(draw_image("green"))
        assert len(found) == 0
        assert found.mask.shape == (0, 40, 40)

    @pytest.mark.parametrize("prompt", ["green box", ["green box"]])
    def test_a_prompt_replaces_the_ontology(self, model, prompt):
        found = model.predict(draw_image("red", "green"), prompt=prompt)
        assert found.data["class_name"].tolist() == ["green box"]
        assert found.class_id.tolist() == [0]

    def test_prompts_are_classes_in_their_order(self, model):
        found = model.predict(draw_image("red", "green"), prompt=["green box", "red box"])
        assert dict(zip(found.data["caption"], found.class_id, strict=True)) == {
            "green box": 0,
            "red box": 1,
        }

    def test_predict_batch_keeps_the_order_of_the_images(self):
        model = fake_model(config={"runtime": {"batch_size": 2}})
        images = [draw_image(color) for color in ("red", "blue", "green", "yellow", "red")]
        names = [found.data["class_name"].tolist() for found in model.predict_batch(images)]
        assert names == [["warm"], ["cold"], [], ["warm"], ["warm"]]

    def test_predict_takes_paths(self, model, tmp_path):
        PILImage.fromarray(draw_image("red")).save(tmp_path / "a.png")
        assert len(model.predict(tmp_path / "a.png")) == 1
        assert len(model.predict(str(tmp_path / "a.png"))) == 1

    def test_supervision_annotators_accept_the_result(self, model):
        import supervision as sv

        image = draw_image("red")
        assert (sv.MaskAnnotator().annotate(image.copy(), model.predict(image)) != image).any()

    def test_min_confidence_applies_to_a_single_call(self, model):
        image = draw_image("red")  # detected with confidence 0.9
        assert len(model.predict(image, min_confidence=0.9)) == 1
        assert len(model.predict(image, min_confidence=0.95)) == 0
        assert len(model.predict(image)) == 1
        with pytest.raises(ConfigError, match=r"detector\.min_confidence is 2"):
            model.predict(image, min_confidence=2)


class TestLabel:
    def test_label_writes_a_dataset_and_continues(self, model, tmp_path):
        (tmp_path / "in").mkdir()
        PILImage.fromarray(draw_image("red", "blue")).save(tmp_path / "in" / "a.png")
        (tmp_path / "in" / "broken.png").write_bytes(b"no image")
        (tmp_path / "in" / "left_out.jpg").write_bytes(b"another extension")
        result = model.label(
            str(tmp_path / "in"),
            extension=".png",
            output_folder=str(tmp_path / "out"),
            formats=("yolo", "coco"),
        )
        assert (result.run.labeled, result.run.failed) == (1, 1)
        assert result.summary.objects_per_class == {"warm": 1, "cold": 1}
        assert sorted(path.name for path in result.folder.iterdir() if path.is_dir()) == [
            "coco",
            "yolo",
        ]
        without_models = fake_model(
            detector=forbidden(FakeDetector), segmenter=forbidden(FakeSegmenter)
        )
        assert without_models.label(
            tmp_path / "in", ".png", tmp_path / "out", formats=("yolo", "coco")
        ).run.nothing_to_do

    def test_label_writes_beside_its_input_by_default(self, model, tmp_path):
        (tmp_path / "in").mkdir()
        PILImage.fromarray(draw_image("red")).save(tmp_path / "in" / "a.png")
        assert model.label(tmp_path / "in").folder == tmp_path / "in_labeled"

    def test_label_takes_patterns_lists_and_archives(self, model, tmp_path):
        (tmp_path / "in" / "sub").mkdir(parents=True)
        PILImage.fromarray(draw_image("red")).save(tmp_path / "in" / "a.png")
        PILImage.fromarray(draw_image("blue")).save(tmp_path / "in" / "sub" / "b.png")
        (tmp_path / "list.txt").write_text("in/sub/b.png\n", encoding="utf-8")
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            archive.write(tmp_path / "in" / "a.png", "a.png")
            archive.write(tmp_path / "in" / "sub" / "b.png", "sub/b.png")

        pattern = model.label(f"{tmp_path}/in/**/*.png", output_folder=tmp_path / "1")
        listed = model.label(tmp_path / "list.txt", output_folder=tmp_path / "2")
        zipped = model.label(tmp_path / "in.zip", output_folder=tmp_path / "3")
        assert [each.run.labeled for each in (pattern, listed, zipped)] == [2, 1, 2]
        assert listed.summary.objects_per_class == {"warm": 0, "cold": 1}
        # Images of an archive are copied beside the labels unchanged, and exported from there.
        kept = (tmp_path / "3" / "pictures").rglob("*.png")
        assert sorted(path.name for path in kept) == ["a.png", "b.png"]
        (tmp_path / "in.zip").unlink()
        with LabelStore.open(tmp_path / "3") as store:
            exported = export("coco", store, tmp_path / "coco")
        assert exported.images == {"train": 2}

    @pytest.mark.parametrize("out", [".", "in"])
    def test_the_output_folder_may_be_the_folder_of_the_images(self, model, tmp_path, out):
        """Exported images are not labeled, and labeled images are not overwritten by exports."""
        (tmp_path / "in" / "coco").mkdir(parents=True)
        PILImage.fromarray(draw_image("red")).save(tmp_path / "in" / "a.png")
        PILImage.fromarray(draw_image("blue")).save(tmp_path / "in" / "coco" / "b.png")
        assert model.label(tmp_path / "in", output_folder=tmp_path / out).run.total == 2
        again = model.label(tmp_path / "in", output_folder=tmp_path / out).run
        assert (again.total, again.skipped) == (2, 2)

    def test_an_output_folder_inside_the_images_is_not_labeled(self, model, tmp_path):
        PILImage.fromarray(draw_image("red")).save(tmp_path / "a.png")
        for _ in range(2):
            assert model.label(tmp_path, output_folder=tmp_path / "out").run.total == 1

    def test_an_unknown_format_is_refused_before_anything_is_labeled(self, model, tmp_path):
        (tmp_path / "in").mkdir()
        PILImage.fromarray(draw_image("red")).save(tmp_path / "in" / "a.png")
        with pytest.raises(ExportError, match="'vok' is not known"):
            model.label(tmp_path / "in", output_folder=tmp_path / "out", formats=("yolo", "vok"))
        assert not (tmp_path / "out").exists()

    def test_if_every_image_fails_no_dataset_is_written(self, model, tmp_path):
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "broken.png").write_bytes(b"no image")
        result = model.label(tmp_path / "in")
        assert (result.summary.failed, result.exports) == (1, {})

    def test_the_store_records_the_classes_of_given_models(self, model, tmp_path):
        (tmp_path / "in").mkdir()
        PILImage.fromarray(draw_image("red")).save(tmp_path / "in" / "a.png")
        folder = model.label(tmp_path / "in").folder
        from grounded_sam2 import LabelStore

        with LabelStore.open(folder) as store:
            assert store.run().config.models == {
                "detector": "grounded_sam2.testing.FakeDetector",
                "segmenter": "grounded_sam2.testing.FakeSegmenter",
            }

    def test_other_settings_in_a_labeled_folder_need_a_new_run(self, model, tmp_path):
        (tmp_path / "in").mkdir()
        PILImage.fromarray(draw_image("red")).save(tmp_path / "in" / "a.png")
        model.label(tmp_path / "in")
        model = fake_model(config={"detector": {"min_confidence": 0.9}})
        with pytest.raises(StoreError, match="min_confidence"):
            model.label(tmp_path / "in")
        assert model.label(tmp_path / "in", new_run=True).run.labeled == 1


class TestConstruction:
    def test_models_load_on_first_use(self, tmp_path):
        """A folder without weights is an error of the first prediction, not of the construction."""
        model = GroundedSAM2({"a": "b"}, config={"detector": {"checkpoint": str(tmp_path)}})
        with pytest.raises(CheckpointError):
            model.predict(draw_image("red"))

    @pytest.mark.parametrize(
        ("ontology", "expected"),
        [({"a": "b"}, {"a": "b"}), (CaptionOntology({"a": "b"}), {"a": "b"}), (None, None)],
    )
    def test_an_ontology_is_a_mapping_an_object_or_none(self, ontology, expected):
        held = GroundedSAM2(ontology).ontology
        assert expected == (None if held is None else held.to_dict())

    def test_a_shipped_ontology_is_loaded_by_name(self):
        assert "circle" in GroundedSAM2("shapes").ontology.classes()

    def test_the_device_argument_replaces_the_configured_one(self):
        model = GroundedSAM2(config={"runtime": {"device": "cuda"}}, device="cpu")
        assert model.config.runtime.device == "cpu"

    def test_repr_states_ontology_models_and_device(self):
        model = GroundedSAM2({"red box": "warm", "hot box": "warm"}, config="demo", device="cpu")
        assert repr(model) == (
            "GroundedSAM2(ontology: 2 captions of 1 classes, detector: 'demo', segmenter: 'demo', "
            "device: 'cpu')"
        )
        assert "ontology: none" in repr(GroundedSAM2(segmenter=FakeSegmenter()))
        assert "FakeSegmenter" in repr(GroundedSAM2(segmenter=FakeSegmenter()))


class TestErrors:
    def test_invalid_images_prompts_and_folders_are_errors(self, model, tmp_path):
        with pytest.raises(ImageError, match="does not exist"):
            model.predict(tmp_path / "none.png")
        for prompt in ("", [], ["red box", " "], [3]):
            with pytest.raises(PromptError, match="prompt: "):
                model.predict(draw_image("red"), prompt=prompt)
        with pytest.raises(SourceError):
            model.label(tmp_path / "none")
        with pytest.raises(ConfigError, match="ontology"):
            GroundedSAM2(detector=FakeDetector(), segmenter=FakeSegmenter()).predict(
                draw_image("red")
            )
