"""Images of labeled items: found, checked, decoded, or refused with a reason."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.errors import ImageError, UnavailableImageError, UnavailableReason
from grounded_sam2.results import Labels, TrackedFrame
from grounded_sam2.sources.image import load_image
from grounded_sam2.store import Item, ItemImages, VideoRecord


def find(item: Item, images_from: Path | None = None):
    return ItemImages([], images_from=images_from).find(item)


def reason(item: Item, images_from: Path | None = None) -> UnavailableReason:
    with pytest.raises(UnavailableImageError) as caught:
        find(item, images_from)
    return caught.value.reason


def gray_level(image: np.ndarray) -> int:
    """The number that `Tracked` encodes in a frame."""
    return round((float(image.mean()) - 20) / 15)


class TestImageFiles:
    def test_an_unchanged_image_is_found_and_decoded(self, labeled) -> None:
        path = labeled.image("a.png")
        image = find(labeled.item(path))
        assert (image.path, image.in_video, image.exif_orientation()) == (path, False, 1)
        assert np.array_equal(image.decode(), load_image(path))

    def test_an_image_with_another_time_and_equal_bytes_is_unchanged(self, labeled) -> None:
        path = labeled.image("a.png")
        assert find(replace(labeled.item(path), file_stamp="0:0")).path == path

    def test_a_changed_image_is_refused(self, labeled) -> None:
        item = labeled.item(labeled.image("a.png"))
        labeled.image("a.png", (60, 60), seed=1)
        assert reason(item) is UnavailableReason.CHANGED

    def test_a_missing_image_is_refused(self, labeled) -> None:
        path = labeled.image("a.png")
        item = labeled.item(path)
        path.unlink()
        assert reason(item) is UnavailableReason.GONE

    def test_a_moved_image_is_found_by_its_id_in_images_from(self, labeled, tmp_path) -> None:
        item = labeled.item(labeled.image("sub/a.png"))
        moved = labeled.images.rename(tmp_path / "elsewhere")
        assert reason(item) is UnavailableReason.GONE
        assert find(item, moved).path == moved / "sub" / "a.png"

    def test_an_image_that_was_never_a_file_is_refused(self) -> None:
        item = Item("row-1", None, size_hw=(60, 80))
        assert reason(item) is UnavailableReason.NEVER_A_FILE

    def test_an_image_that_was_never_a_file_may_be_a_file_now(self, labeled) -> None:
        path = labeled.image("a.png")
        assert find(replace(labeled.item(path), path=None), labeled.images).path == path

    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    def test_an_image_is_decoded_upright(self, labeled, orientation) -> None:
        path = labeled.image("a.jpg", (60, 80), orientation=orientation)
        image = find(labeled.item(path, orientation=orientation))
        assert image.exif_orientation() == orientation
        assert image.decode().shape == (60, 80, 3)

    def test_a_large_jpeg_is_decoded_no_larger_than_needed(self, labeled) -> None:
        image = find(labeled.item(labeled.image("a.jpg", (400, 320)), (400, 320)))
        assert image.decode(longer_side=720).shape == (400, 320, 3)
        assert image.decode(longer_side=100).shape == (100, 80, 3)

    def test_a_damaged_image_is_found_and_cannot_be_decoded(self, labeled) -> None:
        path = labeled.image("a.png")
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(UnavailableImageError) as caught:
            find(labeled.item(path)).decode()
        assert caught.value.reason is UnavailableReason.UNDECODABLE

    def test_an_image_larger_than_when_it_was_labeled_is_not_decoded(self, labeled) -> None:
        item = labeled.item(labeled.image("a.png", (60, 81)), (60, 80))
        with pytest.raises(UnavailableImageError, match="cannot be decoded"):
            find(item).decode()


@pytest.fixture
def clips(tracked):
    """Two videos: a file with gaps among its labeled frames, and a folder of frames."""
    tracked.add(tracked.movie("sub/a.mp4", 12), {index: [] for index in (0, 1, 6)}, name="sub/a")
    tracked.add(tracked.images("b", 12), {index: [] for index in (2, 10)})
    return tracked


def frames_of(tracked, video: str) -> list[Item]:
    return [item for item in tracked.store.done_items() if item.group == video]


class TestFrames:
    def test_frames_of_a_video_file_are_decoded(self, clips) -> None:
        with ItemImages.of_run(clips.store) as images:
            found = [images.find(item) for item in frames_of(clips, "sub/a")]
            assert [gray_level(image.decode()) for image in found] == [0, 1, 6]
        assert {(image.path, image.in_video) for image in found} == {
            (clips.clips / "sub" / "a.mp4", True)
        }

    def test_frames_of_a_folder_are_its_files(self, clips) -> None:
        with ItemImages.of_run(clips.store, clips.run.id) as images:
            found = [images.find(item) for item in frames_of(clips, "b")]
        assert [image.path.name for image in found] == ["f2.png", "f10.png"]
        assert [gray_level(image.decode()) for image in found] == [2, 10]
        assert not any(image.in_video for image in found)

    def test_the_orientation_of_a_frame_file_is_read_from_it(self, tracked) -> None:
        folder = tracked.images("b", 1, ".jpg")
        exif = PIL.Image.Exif()
        exif[0x0112] = 3
        with PIL.Image.open(folder / "f0.jpg") as image:
            image.save(folder / "f0.jpg", exif=exif)
        tracked.add(folder, {0: []})
        with ItemImages.of_run(tracked.store) as images:
            assert images.find(*frames_of(tracked, "b")).exif_orientation() == 3

    def test_moved_videos_are_found_by_their_names(self, clips) -> None:
        moved = clips.clips.with_name("elsewhere")
        shutil.copytree(clips.clips, moved)  # new stamps, the same bytes
        shutil.rmtree(clips.clips)
        with ItemImages.of_run(clips.store, images_from=moved) as images:
            paths = [images.find(item).path for item in clips.store.done_items()]
        assert set(paths) == {moved / "b" / "f2.png", moved / "b" / "f10.png", moved / "sub/a.mp4"}

    def test_a_missing_video_is_refused_for_each_frame(self, clips) -> None:
        (clips.clips / "sub" / "a.mp4").unlink()
        with ItemImages.of_run(clips.store) as images:
            for item in frames_of(clips, "sub/a"):
                with pytest.raises(UnavailableImageError) as caught:
                    images.find(item)
                assert caught.value.reason is UnavailableReason.VIDEO_GONE
                assert caught.value.item_id == item.item_id

    def test_a_changed_video_is_refused(self, clips) -> None:
        clips.movie("sub/a.mp4", 11)
        with (
            ItemImages.of_run(clips.store) as images,
            pytest.raises(UnavailableImageError) as caught,
        ):
            images.find(frames_of(clips, "sub/a")[0])
        assert caught.value.reason is UnavailableReason.VIDEO_CHANGED

    def test_a_video_that_was_never_a_file_is_refused(self, tracked) -> None:
        tracked.store.begin_video(tracked.run.id, VideoRecord("camera", None, tracked.size_hw))
        frame = TrackedFrame(0, 0.0, Labels(tracked.size_hw))
        tracked.store.write_frames(tracked.run.id, "camera", [frame])
        with (
            ItemImages.of_run(tracked.store) as images,
            pytest.raises(UnavailableImageError) as caught,
        ):
            images.find(*frames_of(tracked, "camera"))
        assert caught.value.reason is UnavailableReason.VIDEO_NEVER_A_FILE

    def test_images_need_no_store_once_its_videos_are_known(self, clips) -> None:
        items, videos = frames_of(clips, "b"), clips.store.videos()
        clips.store.close()
        with ItemImages(videos) as images:
            assert gray_level(images.find(items[0]).decode()) == 2


class TestErrors:
    def test_the_message_names_the_image_and_the_repair(self, labeled) -> None:
        item = labeled.item(labeled.image("a.png"))
        (labeled.images / "a.png").unlink()
        with pytest.raises(ImageError) as caught:
            find(item)
        assert str(caught.value) == (
            "image 'a.png': is gone; give the folder that holds it now (images_from)"
        )

    def test_an_error_passes_between_processes(self) -> None:
        error = UnavailableImageError("a.png", UnavailableReason.CHANGED)
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), copy.item_id, copy.reason) == (str(error), "a.png", error.reason)

    def test_each_reason_is_told_apart_in_counts(self) -> None:
        assert len({reason.of_many for reason in UnavailableReason}) == len(UnavailableReason)
