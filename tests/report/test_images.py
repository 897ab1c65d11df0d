"""Images of a page: read or with a reason, encoded within their byte limit, mapped in threads."""

from __future__ import annotations

import base64
import io
import threading

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.report.images import ImageReader, Unreadable, data_url, prefetch_map, shrink


def read_image(item, images_from, longer_side):
    return ImageReader([], images_from).read(item, longer_side)


class TestReading:
    def test_an_image_is_upright_and_no_larger_than_needed(self, labeled) -> None:
        path = labeled.image("a.jpg", (400, 320), orientation=6)
        item = labeled.item(path, (400, 320), orientation=6)
        assert read_image(item, None, 720).shape == (400, 320, 3)
        assert read_image(item, None, 100).shape == (100, 80, 3)

    def test_a_moved_image_is_read_from_images_from(self, labeled, tmp_path) -> None:
        path = labeled.image("sub/a.png")
        item = labeled.item(path)
        (tmp_path / "elsewhere").mkdir()
        (labeled.images / "sub").rename(tmp_path / "elsewhere" / "sub")
        assert read_image(item, None, 72) == Unreadable(
            "are gone; give the folder that holds them now (images_from)"
        )
        assert read_image(item, tmp_path / "elsewhere", 72).shape == (60, 80, 3)

    def test_a_changed_image_is_unreadable(self, labeled) -> None:
        item = labeled.item(labeled.image("a.png"))
        labeled.image("a.png", (60, 60), seed=1)
        assert "have changed" in read_image(item, None, 72).reason

    def test_an_image_that_cannot_be_decoded_is_unreadable(self, labeled) -> None:
        path = labeled.image("a.png")
        path.write_bytes(b"no image")
        item = labeled.item(path)
        assert read_image(item, None, 72) == Unreadable("cannot be decoded any more")


class TestShrinking:
    @pytest.mark.parametrize(
        ("size_hw", "smaller"), [((50, 100), (36, 72)), ((72, 10), (72, 10)), ((900, 1), (72, 1))]
    )
    def test_the_longer_side_is_limited(self, size_hw, smaller) -> None:
        assert shrink(np.zeros((*size_hw, 3), np.uint8), 72).shape == (*smaller, 3)


class TestDataUrls:
    def decoded(self, url: str) -> PIL.Image.Image:
        head, _, data = url.partition(",")
        assert head == "data:image/webp;base64"
        return PIL.Image.open(io.BytesIO(base64.b64decode(data)))

    def test_an_image_is_decoded_again_with_small_errors(self) -> None:
        ramp = np.tile(np.arange(200, dtype=np.uint8)[:, None, None], (1, 300, 3))
        image = self.decoded(data_url(ramp, 45_000))
        assert image.size == (300, 200)
        assert np.abs(np.asarray(image.convert("RGB"), int) - ramp).max() < 12

    @pytest.mark.parametrize("limit", [2_000, 8_000, 45_000])
    def test_noise_that_cannot_be_compressed_is_shrunk(self, limit: int) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (720, 720, 3), np.uint8)
        url = data_url(noise, limit)
        assert len(base64.b64decode(url.partition(",")[2])) <= limit
        assert self.decoded(url).width < 720

    def test_the_same_image_gives_the_same_url(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
        assert data_url(noise, 8_000) == data_url(noise.copy(), 8_000)


class TestPrefetchMap:
    def test_results_are_in_order_whichever_is_done_first(self) -> None:
        last = threading.Event()

        def work(number: int) -> int:
            if number == 0:
                assert last.wait(timeout=60)
            if number == 3:
                last.set()
            return number * 10

        assert list(prefetch_map(work, range(6), threads=2)) == [(n, n * 10) for n in range(6)]

    def test_only_four_items_per_thread_are_prefetched(self) -> None:
        items = iter(range(100))
        next(prefetch_map(lambda number: number, items, threads=2))
        assert next(items) == 8

    def test_sequential_items_are_processed_in_the_callers_thread_and_in_order(self) -> None:
        here, order = threading.current_thread(), []

        def work(number: int) -> bool:
            order.append(number)
            return threading.current_thread() is here

        items = [1, 3, 5, 7, 9]
        results = prefetch_map(work, items, threads=2, sequential=lambda number: number != 5)
        assert list(results) == [(1, True), (3, True), (5, False), (7, True), (9, True)]
        assert [number for number in order if number != 5] == [1, 3, 7, 9]

    def test_no_items_give_no_results(self) -> None:
        assert list(prefetch_map(lambda number: number, [], threads=2)) == []

    def test_an_error_in_a_thread_is_raised(self) -> None:
        with pytest.raises(ZeroDivisionError):
            list(prefetch_map(lambda number: 1 / number, [1, 0], threads=2))
