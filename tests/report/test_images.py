"""Images for a page: readable or with a reason, and small enough."""

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
    def test_upright_and_no_larger_than_needed(self, labeled) -> None:
        path = labeled.image("a.jpg", (400, 320), orientation=6)
        item = labeled.item(path, (400, 320), orientation=6)
        assert read_image(item, None, 720).shape == (400, 320, 3)
        assert read_image(item, None, 100).shape == (100, 80, 3)

    def test_an_image_that_was_moved(self, labeled, tmp_path) -> None:
        path = labeled.image("sub/a.png")
        item = labeled.item(path)
        (tmp_path / "elsewhere").mkdir()
        (labeled.images / "sub").rename(tmp_path / "elsewhere" / "sub")
        assert read_image(item, None, 72) == Unreadable(
            "are gone; say where they are now (images_from)"
        )
        assert read_image(item, tmp_path / "elsewhere", 72).shape == (60, 80, 3)

    def test_an_image_that_has_changed(self, labeled) -> None:
        item = labeled.item(labeled.image("a.png"))
        labeled.image("a.png", (60, 60), seed=1)
        assert "have changed" in read_image(item, None, 72).reason

    def test_an_image_that_broke(self, labeled, monkeypatch) -> None:
        item = labeled.item(labeled.image("a.png"))
        item.path.write_bytes(b"no image")
        monkeypatch.setattr(
            "grounded_sam2.exporters.source_images.is_same_file", lambda *_, **__: True
        )
        assert read_image(item, None, 72) == Unreadable("cannot be decoded any more")


class TestShrinking:
    @pytest.mark.parametrize(
        ("size_hw", "smaller"), [((50, 100), (36, 72)), ((72, 10), (72, 10)), ((900, 1), (72, 1))]
    )
    def test_the_longer_side_decides(self, size_hw, smaller) -> None:
        assert shrink(np.zeros((*size_hw, 3), np.uint8), 72).shape == (*smaller, 3)


class TestDataUrls:
    def decoded(self, url: str) -> PIL.Image.Image:
        head, _, data = url.partition(",")
        assert head == "data:image/webp;base64"
        return PIL.Image.open(io.BytesIO(base64.b64decode(data)))

    def test_an_image_survives(self) -> None:
        ramp = np.tile(np.arange(200, dtype=np.uint8)[:, None, None], (1, 300, 3))
        image = self.decoded(data_url(ramp, 45_000))
        assert image.size == (300, 200)
        assert np.abs(np.asarray(image.convert("RGB"), int) - ramp).max() < 12

    @pytest.mark.parametrize("most", [2_000, 8_000, 45_000])
    def test_noise_that_cannot_be_compressed_becomes_smaller(self, most: int) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (720, 720, 3), np.uint8)
        url = data_url(noise, most)
        assert len(base64.b64decode(url.partition(",")[2])) <= most
        assert self.decoded(url).width < 720

    def test_the_same_image_gives_the_same_text(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
        assert data_url(noise, 8_000) == data_url(noise.copy(), 8_000)


class TestWorkAhead:
    def test_results_come_in_order_whoever_is_done_first(self) -> None:
        last = threading.Event()

        def work(number: int) -> int:
            if number == 0:
                assert last.wait(timeout=60)
            if number == 3:
                last.set()
            return number * 10

        assert list(prefetch_map(work, range(6), threads=2)) == [(n, n * 10) for n in range(6)]

    def test_only_a_few_are_ahead(self) -> None:
        given = iter(range(100))
        next(prefetch_map(lambda number: number, given, threads=2))
        assert next(given) == 8

    def test_what_is_to_be_done_in_turn_is_done_here_and_in_order(self) -> None:
        here, order = threading.current_thread(), []

        def work(number: int) -> bool:
            order.append(number)
            return threading.current_thread() is here

        given = [1, 3, 5, 7, 9]
        results = prefetch_map(work, given, threads=2, in_turn=lambda number: number != 5)
        assert list(results) == [(1, True), (3, True), (5, False), (7, True), (9, True)]
        assert [number for number in order if number != 5] == [1, 3, 7, 9]

    def test_nothing_to_do(self) -> None:
        assert list(prefetch_map(lambda number: number, [], threads=2)) == []

    def test_an_error_in_a_thread_arrives(self) -> None:
        with pytest.raises(ZeroDivisionError):
            list(prefetch_map(lambda number: 1 / number, [1, 0], threads=2))
