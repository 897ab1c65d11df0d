"""Labels drawn into images, and images saved to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.errors import ImageError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Image, Label, Labels, to_supervision
from grounded_sam2.visualization.annotated_image import (
    annotate,
    image_format,
    save_image,
)

SIZE = (60, 80)


def gray(height: int = SIZE[0], width: int = SIZE[1]) -> Image:
    return np.full((height, width, 3), 128, np.uint8)


def labels(*, confidence: float | None = 0.9, with_mask: bool = True) -> Labels:
    mask = np.zeros(SIZE, np.bool_)
    mask[40:50, 40:60] = True
    label = Label(
        class_name="ball",
        caption="red circle",
        box_xyxy=(40.0, 40.0, 60.0, 50.0),
        mask=encode(mask)[0] if with_mask else None,
        confidence=confidence,
        mask_quality=0.8 if with_mask else None,
    )
    return Labels(SIZE, (label,))


class TestAnnotate:
    def test_draws_into_the_mask_and_nowhere_far_from_it(self) -> None:
        drawn = annotate(gray(), to_supervision(labels(), ["ball"]))
        assert drawn.shape == (*SIZE, 3)
        assert drawn.dtype == np.uint8
        assert (drawn[43:47, 43:57] != 128).any(axis=2).all()
        assert (drawn[55:, :30] == 128).all()

    def test_does_not_modify_the_image(self) -> None:
        image = gray()
        annotate(image, to_supervision(labels(), ["ball"]))
        assert (image == 128).all()

    def test_no_detections_give_a_copy(self) -> None:
        image = gray()
        drawn = annotate(image, to_supervision(Labels(SIZE), ["ball"]))
        np.testing.assert_array_equal(drawn, image)
        assert not np.shares_memory(drawn, image)

    @pytest.mark.parametrize("case", [{"confidence": None}, {"with_mask": False}])
    def test_objects_without_mask_or_confidence_are_drawn(self, case: dict[str, bool]) -> None:
        drawn = annotate(gray(), to_supervision(labels(**case), ["ball"]))  # type: ignore[arg-type]
        assert (drawn != 128).any()

    def test_masks_are_blended_as_supervision_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import supervision as sv

        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (60, 80, 3), np.uint8)
        masks = np.zeros((5, 60, 80), np.bool_)
        masks[0, 10:50, 10:60] = True
        masks[1, 30:, 40:] = rng.random((30, 40)) < 0.5
        masks[2] = True
        masks[3, 59, 79] = True  # and the last is empty
        detections = sv.Detections(
            np.tile(np.float32([0, 0, 80, 60]), (5, 1)), masks, class_id=np.arange(5)
        )
        for kind in ("PolygonAnnotator", "BoxAnnotator", "LabelAnnotator"):
            monkeypatch.setattr(f"supervision.{kind}.annotate", lambda self, scene, *_, **__: scene)
        expected = sv.MaskAnnotator(opacity=0.3).annotate(image[..., ::-1].copy(), detections)
        np.testing.assert_array_equal(annotate(image, detections), expected[..., ::-1])

    def test_uses_the_colors_of_supervision_in_rgb(self) -> None:
        import supervision as sv

        drawn = annotate(np.zeros((*SIZE, 3), np.uint8), to_supervision(labels(), ["ball"]))
        color = np.array(sv.ColorPalette.DEFAULT.by_idx(0).as_rgb())
        np.testing.assert_allclose(drawn[45, 50], 0.3 * color, atol=2)


def frame(*track_ids: int, size_hw: tuple[int, int] = (240, 426)) -> Labels:
    """Squares side by side, one per track."""
    objects = []
    for place, track_id in enumerate(track_ids):
        left, top = 20 + 100 * place, 100
        mask = np.zeros(size_hw, np.bool_)
        mask[top : top + 60, left : left + 60] = True
        box = (float(left), float(top), left + 60.0, top + 60.0)
        objects.append(
            Label("ball", "red circle", box, encode(mask)[0], 0.9, 0.8, track_id=track_id)
        )
    return Labels(size_hw, tuple(objects))


def inside_of(track_ids: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """Color in the center of each object's mask, drawn on black, by track id."""
    black = np.zeros((240, 426, 3), np.uint8)
    drawn = annotate(black, to_supervision(frame(*track_ids), ["ball"]))
    return {
        track_id: tuple(drawn[130, 50 + 100 * place].tolist())
        for place, track_id in enumerate(track_ids)
    }


class TestAnnotateFrames:
    def test_track_keeps_its_color_whatever_the_other_tracks(self) -> None:
        first, later = inside_of((1, 2, 3)), inside_of((7, 3, 9, 1))
        assert first[3] == later[3]
        assert first[1] == later[1]

    def test_consecutive_tracks_have_distinct_colors(self) -> None:
        for track_id in range(1, 22):
            one, other = inside_of((track_id, track_id + 1)).values()
            distance = np.abs(np.subtract(one, other)).sum() / 0.3  # 0.3: opacity of masks
            assert distance > 120, (track_id, one, other)

    def test_track_ids_are_written(self) -> None:
        black = np.zeros((240, 426, 3), np.uint8)
        one, other = (
            annotate(black, to_supervision(frame(track_id), ["ball"])) for track_id in (1, 22)
        )
        assert inside_of((1,))[1] == inside_of((22,))[22], "there are 21 colors"
        assert (one != other).any(), "but the ids differ"

    @pytest.mark.parametrize(
        ("size_hw", "track_ids"), [((240, 426), range(1, 22)), ((2160, 3840), (4, 7, 10))]
    )
    def test_text_contrasts_with_its_background(
        self, size_hw: tuple[int, int], track_ids: Sequence[int]
    ) -> None:
        for track_id in track_ids:
            detections = to_supervision(frame(track_id, size_hw=size_hw), ["ball"])
            drawn = annotate(np.zeros((*size_hw, 3), np.uint8), detections)
            # Just above the top left corner of the box; about a twentieth of it is text.
            written = drawn[100 - size_hw[0] // 40 : 98, 22:70] @ (0.3, 0.6, 0.1)
            assert np.ptp(written) > 110, track_id

    def test_empty_frame_gives_a_copy(self) -> None:
        black = np.zeros((240, 426, 3), np.uint8)
        np.testing.assert_array_equal(annotate(black, to_supervision(frame(), ["ball"])), black)


class TestSaveImage:
    def test_writes_rgb(self, tmp_path: Path) -> None:
        image = gray()
        image[..., 0] = 200
        save_image(image, tmp_path / "new" / "a.PNG")
        saved = np.asarray(PIL.Image.open(tmp_path / "new" / "a.PNG"))
        np.testing.assert_array_equal(saved, image)

    @pytest.mark.parametrize("name", ["a.mp4", "a", "a.psd"])
    def test_unknown_image_format_is_an_error(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match=r"use \.png or \.jpg"):
            save_image(gray(), tmp_path / name)

    def test_error_states_why_the_file_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ImageError, match="cannot be written"):
            save_image(gray(), tmp_path / "file" / "a.png")

    def test_format_is_found_by_the_extension(self) -> None:
        assert image_format("a.jpeg") == "JPEG"
