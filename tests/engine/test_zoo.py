"""Unusual and broken files: each is labeled or fails with a reason; nothing crashes or hangs."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from grounded_sam2.exporters import EXPORTERS, VIDEO_FORMATS
from grounded_sam2.store import LabelStore
from grounded_sam2.testing import COLORS

if sys.platform != "linux":
    pytest.skip("makes files that other systems do not have", allow_module_level=True)

RED = COLORS["red"]


def scene(size_hw: tuple[int, int] = (24, 32)) -> PIL.Image.Image:
    """A red block on black, off center, so that every rotation moves it."""
    image = np.zeros((*size_hw, 3), np.uint8)
    height, width = size_hw
    image[height // 8 : height // 2, width // 8 : width // 2] = RED
    return PIL.Image.fromarray(image)


def saved(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rotated(orientation: int) -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return saved(scene(), "png", exif=exif)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, size: tuple[int, int] = (4, 4)) -> bytes:
    """A PNG with these chunks, and without any pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def animation(kind: str) -> bytes:
    frames = [PIL.Image.new("RGB", (32, 24), color) for color in ("green", "blue")]
    return saved(scene(), kind, save_all=True, append_images=frames, lossless=True)


def tiff_of(value: float) -> bytes:
    return saved(PIL.Image.fromarray(np.full((24, 32), value, np.float32)), "tiff")


def deep() -> PIL.Image.Image:
    return PIL.Image.fromarray(np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80)


BAD_EXIF = b"Exif\0\0II*\0" + bytes(range(200))

GOOD: dict[str, Callable[[], bytes]] = {
    # Unusual content
    **{f"rotated {n}.png": partial(rotated, n) for n in range(10)},
    "bad exif.jpg": lambda: saved(scene(), "jpeg", exif=BAD_EXIF),
    "bad exif.png": lambda: saved(scene(), "png", exif=BAD_EXIF),
    "bad profile.jpg": lambda: saved(scene(), "jpeg", icc_profile=b"no profile at all"),
    "bad profile.png": lambda: saved(scene(), "png", icc_profile=bytes(100)),
    "cmyk.jpg": lambda: saved(scene().convert("CMYK"), "jpeg"),
    "16 bits.png": lambda: saved(deep(), "png"),
    "16 bits.tif": lambda: saved(deep(), "tiff"),
    "float.tif": lambda: tiff_of(0.5),
    "palette.png": lambda: saved(scene().quantize(4), "png", transparency=0),
    "grey with alpha.png": lambda: saved(scene().convert("LA"), "png"),
    "1 bit.png": lambda: saved(scene().convert("1"), "png"),
    "1 bit.tif": lambda: saved(scene().convert("1"), "tiff", compression="group4"),
    "animated.gif": lambda: animation("gif"),
    "animated.webp": lambda: animation("webp"),
    "animated.png": lambda: animation("png"),
    "pages.tif": lambda: animation("tiff"),
    "one pixel.png": lambda: saved(scene((1, 1)), "png"),
    "tall.png": lambda: saved(scene((20_000, 1)), "png"),
    "wide.png": lambda: saved(scene((1, 20_000)), "png"),
    "more behind it.jpg": lambda: saved(scene(), "jpeg") + b"more" * 99,
    "really a png.jpg": lambda: saved(scene(), "png"),
    "really a webp.png": lambda: saved(scene(), "webp", lossless=True),
    # Unusual names
    "UPPER.JPG": lambda: saved(scene(), "jpeg"),
    **{
        name: partial(saved, scene((24 + number, 32)), "png")
        for number, name in enumerate(
            [
                *("same.png", "Same.png", "SAME.PNG", "same.png.png", "-o.png", " space .png"),
                *("new\nline.png", "tab\tand \x1b[31mescape.png", "'single' \"double\" `back`.png"),
                *("<&;,|>%s{}[bold].png", "smile 😀 e\u0301 é.png", "right to left \u202eע.png"),
                *("back\\slash.png", "\\xff.png", "\udcff.png", "caf\udce9/\udce9.png"),
                *(f"{'l' * 251}.png", "a folder.jpg/in it.png", "a folder.jpg/.././ .png", "~.png"),
            ]
        )
    },
    "same.jpg": lambda: saved(scene(), "jpeg"),
    f"{'l' * 251}.jpg": lambda: saved(scene(), "jpeg"),
}

BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "\x1b[31m\nempty.jpg": (bytes, r"is empty \(0 bytes\)"),
    "cut.jpg": (
        lambda: saved(scene((480, 640)), "jpeg")[:2000],
        "truncated.*; copy or download it again",
    ),
    "cut.png": (lambda: saved(scene(), "png")[:70], "truncated.*; copy or download it again"),
    "cut.webp": (
        lambda: saved(scene((480, 640)), "webp", lossless=True)[:-20],
        "decode.*; copy or download it again",
    ),
    "cut.gif": (
        lambda: saved(scene((480, 640)), "gif")[:400],
        "truncated.*; copy or download it again",
    ),
    "cut.tif": (
        lambda: saved(scene((480, 640)), "tiff")[:9000],
        "truncated.*; copy or download it again",
    ),
    "text.jpg": (lambda: b"just some text\n", "is not an image in a known format"),
    "page.jpg": (lambda: b"<!DOCTYPE html><title>404 Not Found</title>", "web page.*download it"),
    "pointer.jpg": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "drawing.png": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "convert it to PNG"),
    "zeros.png": (lambda: bytes(5000), "copy it again"),
    "huge.png": (
        lambda: png(size=(60_000, 60_000)),
        "60000 × 60000 pixels; the limit images.max_pixels is .* raise it if",
    ),
    "huge and cut.png": (lambda: png(size=(9_000, 9_000)), "truncated"),
    "no pixels.png": (lambda: png(size=(0, 10)), "damaged.*; copy or download it again"),
    "text bomb.png": (
        lambda: png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**25)))),
        "Decompressed data too large",
    ),
    "nan.tif": (lambda: tiff_of(np.nan), "float samples are not finite; replace them"),
    "infinite.tif": (lambda: tiff_of(np.inf), "float samples are not finite; replace them"),
    "negative.tif": (lambda: tiff_of(-3), "run from -3 to -3; scale them to 0…1 or 0…255"),
}
"""Content of a broken file, and a pattern of the reason that is reported."""

ODD = {
    "gone.jpg": "is a link to 'nowhere.jpg', which does not exist",
    "loop.jpg": "Too many levels of symbolic links",
    "linked pipe.jpg": "is a pipe or device; give a file",
    "linked socket.jpg": "is a pipe or device; give a file",
    "endless.jpg": "is a pipe or device; give a file",
    "forbidden.png": "cannot be read: Permission denied",
    "closed": "cannot be listed: Permission denied",
}
"""Links, devices and files without permission, with a pattern of the reported reason."""


def write_odd(folder: Path) -> None:
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "round").mkdir()
    (folder / "round" / "and round").symlink_to("..")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "linked pipe.jpg").symlink_to("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{os.open(folder, os.O_RDONLY)}/socket.jpg")
    (folder / "linked socket.jpg").symlink_to("socket.jpg")
    (folder / "endless.jpg").symlink_to("/dev/zero")
    (folder / "empty folder.png").mkdir()
    (folder / ".hidden.png").write_bytes(saved(scene(), "png"))
    for name in ("forbidden.png", "closed/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(saved(scene(), "png"))
    (folder / "forbidden.png").chmod(0)
    (folder / "closed").chmod(0)


@dataclass(frozen=True)
class Zoo:
    """The folder of images, its output folder, and the process that labeled it."""

    images: Path
    out: Path
    process: Any


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, driver: Any) -> Iterator[Zoo]:
    root = tmp_path_factory.mktemp("zoo")
    images = root / "images"
    images.mkdir()
    for name, make in [*GOOD.items(), *((name, make) for name, (make, _) in BAD.items())]:
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_bytes(make())
    write_odd(images)
    (root / "ontology.yaml").write_text("object: [red object]\n")
    process = driver.start(*label(images), unprivileged=True)
    process.wait()
    yield Zoo(images, root / "out", process)
    (images / "closed").chmod(0o700)


def label(images: Path) -> list[object]:
    """Command that labels a folder into one beside it, in batches of good and bad images."""
    where = ["--out", images.parent / "out", "--ontology", images.parent / "ontology.yaml"]
    return ["label", images, *where, "--format", "jsonl", "--set", "runtime.batch_size=4"]


def red_box(path: Path) -> tuple[tuple[int, int], tuple[int, ...] | None]:
    """Size ``(h, w)`` of an image and the bounding box of its pure red pixels, read by Pillow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = PIL.ImageOps.exif_transpose(PIL.Image.open(path)).convert("RGBA")
    page = PIL.Image.new("RGBA", image.size, "white")
    page.alpha_composite(image)
    red = (np.asarray(page)[..., :3] == RED).all(axis=2)
    box = PIL.Image.fromarray(red).getbbox()
    return red.shape, box


class TestLabels:
    def test_the_run_succeeds(self, zoo: Zoo) -> None:
        assert zoo.process.code == 0, zoo.process.text

    def test_no_warning_is_printed(self, zoo: Zoo) -> None:
        """Each warning would interrupt the progress bar."""
        assert "Warning" not in zoo.process.text

    def test_every_good_file_is_labeled_under_a_unique_id(self, zoo: Zoo) -> None:
        with LabelStore.open(zoo.out) as store:
            items = list(store.done_items())
        assert {os.fsencode(item.path) for item in items} == {
            os.fsencode(os.path.normpath(zoo.images / name)) for name in GOOD
        }
        assert len({item.item_id for item in items}) == len(items) == len(GOOD)

    def test_labels_match_the_objects(self, zoo: Zoo) -> None:
        boxes = 0
        with LabelStore.open(zoo.out) as store:
            for item, labels in store.labels():
                size_hw, box = red_box(item.path)
                assert labels.size_hw == size_hw, item
                if box is not None and min(size_hw) > 1:
                    assert [found.box_xyxy for found in labels.objects] == [box], item
                    boxes += 1
        assert boxes > 30

    @pytest.mark.parametrize("name", [*BAD, *ODD])
    def test_every_bad_file_fails_with_a_reason(self, zoo: Zoo, name: str) -> None:
        with LabelStore.open(zoo.out) as store:
            reasons = {item.path: reason for item, reason in store.failures()}
        reason = reasons[zoo.images / name]
        assert re.search(ODD[name] if name in ODD else BAD[name][1], reason)
        assert not re.search("Traceback|Error:|<.* object at", reason)
        assert "\n" not in reason

    def test_no_other_file_fails(self, zoo: Zoo) -> None:
        with LabelStore.open(zoo.out) as store:
            assert store.summary().failed == len(BAD) + len(ODD)

    def test_a_repeated_run_does_nothing(self, zoo: Zoo, driver: Any) -> None:
        again = driver.start(*label(zoo.images), unprivileged=True)
        assert again.wait() == 0
        assert "nothing to do" in again.text


class TestOutput:
    def test_control_characters_of_file_names_are_escaped(self, zoo: Zoo, driver: Any) -> None:
        info = driver.start("info", zoo.out)
        assert info.wait() == 0, info.text
        assert "empty.jpg" in info.text
        assert "\x1b" not in info.text
        assert "failed: \n" not in info.text

    def test_a_terminal_with_a_limited_encoding(self, driver: Any, tmp_path: Path) -> None:
        """Such as that of a cron job, or of output redirected to a file on Windows."""
        images = tmp_path / "images"
        images.mkdir()
        (images / "é 😀.png").write_bytes(saved(scene(), "png"))
        (images / "ü 😀.png").touch()
        (tmp_path / "ontology.yaml").write_text("object: [red object]\n")
        process = driver.start(*label(images), encoding="ascii")
        assert process.wait() == 0, process.text
        assert "\\U0001f600" in process.text

    @pytest.mark.parametrize("name", sorted(EXPORTERS.keys() - VIDEO_FORMATS))
    def test_every_format_exports_every_file_name(self, zoo: Zoo, driver: Any, name: str) -> None:
        export = driver.start("export", zoo.out, "--format", name, unprivileged=True)
        assert export.wait() == 0, export.text
        for path in (zoo.out / name).rglob("*.xml"):
            ElementTree.parse(path)
        for path in (zoo.out / name).rglob("*.json"):
            json.loads(path.read_text(encoding="utf-8"))
        if name in IMAGES_IN:
            written = IMAGES_IN[name](zoo.out / name)
            thin = 3 if name.startswith("yolo") else 0  # readers of YOLO refuse them
            assert len({*written}) == len(written) == len(GOOD) - thin
            assert all(path.is_file() for path in written)


def images_in_yolo(folder: Path) -> list[Path]:
    labels = [path for path in (folder / "labels").rglob("*") if path.is_file()]
    written = [path for path in (folder / "images").rglob("*") if path.is_file()]
    stems = {path.relative_to(folder / "images").with_suffix("") for path in written}
    assert stems == {path.relative_to(folder / "labels").with_suffix("") for path in labels}
    return written


def images_in_coco(folder: Path) -> list[Path]:
    written = json.loads((folder / "annotations" / "instances_train.json").read_text())
    return [folder / "images" / "train" / image["file_name"] for image in written["images"]]


def images_in_voc(folder: Path) -> list[Path]:
    (listed,) = folder.rglob("Main/train.txt")
    root = listed.parents[2]
    stems = listed.read_text(encoding="utf-8").splitlines()
    annotations = [ElementTree.parse(root / "Annotations" / f"{stem}.xml") for stem in stems]
    return [root / "JPEGImages" / (each.findtext("filename") or "") for each in annotations]


def images_in_jsonl(folder: Path) -> list[Path]:
    rows = (folder / "labels.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    return [folder / json.loads(row)["image"] for row in rows]


def images_in_csv(folder: Path) -> list[Path]:
    with (folder / "images.csv").open(newline="", encoding="utf-8") as file:
        return [folder / row["image"] for row in csv.DictReader(file)]


IMAGES_IN: dict[str, Callable[[Path], list[Path]]] = {
    "yolo": images_in_yolo,
    "yolo-boxes": images_in_yolo,
    "coco": images_in_coco,
    "voc": images_in_voc,
    "jsonl": images_in_jsonl,
    "csv": images_in_csv,
}
"""Functions that list the image files of a dataset, as a reader would find them."""


class TestChangingFiles:
    """Files that change between their examination and their opening."""

    @pytest.fixture
    def images(self, tmp_path: Path) -> Path:
        images = tmp_path / "images"
        images.mkdir()
        for name in ("a.png", "b.png", "c.png"):
            (images / name).write_bytes(saved(scene(), "png"))
        (tmp_path / "ontology.yaml").write_text("object: [red object]\n")
        return images

    def outcome(self, images: Path) -> dict[str, Any]:
        with LabelStore.open(images.parent / "out") as store:
            labeled = {item.item_id: labels for item, labels in store.labels()}
            return labeled | {item.item_id: reason for item, reason in store.failures()}

    def test_a_file_that_vanishes_fails(self, driver: Any, images: Path) -> None:
        process = driver.start(*label(images), on_open=(f"{images}/b.png", 1, f"rm {images}/b.png"))
        assert process.wait() == 0, process.text
        found = self.outcome(images)
        assert "does not exist" in found["b.png"]
        assert len(found["a.png"]) == len(found["c.png"]) == 1

    def test_a_file_that_is_replaced_is_labeled_in_its_new_content(
        self, driver: Any, images: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "new.png").write_bytes(saved(scene((48, 64)), "png"))
        replace = f"cp {tmp_path}/new.png {images}/b.png"
        process = driver.start(*label(images), on_open=(f"{images}/b.png", 1, replace))
        assert process.wait() == 0, process.text
        found = self.outcome(images)
        assert found["b.png"].size_hw == (48, 64)
        again = driver.start(*label(images))
        again.wait()
        assert "nothing to do" in again.text
        assert self.outcome(images) == found
        exported = images.parent / "out" / "jsonl" / "images" / "train" / "b.png"
        assert exported.read_bytes() == (images / "b.png").read_bytes()

    def test_a_file_that_is_still_being_written_fails_and_is_labeled_later(
        self, driver: Any, images: Path, tmp_path: Path
    ) -> None:
        whole = (images / "b.png").read_bytes()
        half = f"truncate -s {len(whole) // 2} {images}/b.png"
        process = driver.start(*label(images), on_open=(f"{images}/b.png", 1, half))
        assert process.wait() == 0, process.text
        assert "truncated" in self.outcome(images)["b.png"]
        (images / "b.png").write_bytes(whole)
        again = driver.start(*label(images))
        assert again.wait() == 0, again.text
        found = self.outcome(images)
        assert found["b.png"] == found["a.png"]

    def test_the_failure_of_a_removed_file_is_deleted(self, driver: Any, images: Path) -> None:
        """It has no labels to keep."""
        (images / "b.png").write_bytes(b"")
        driver.start(*label(images)).wait()
        (images / "b.png").unlink()
        again = driver.start(*label(images))
        assert again.wait() == 0, again.text
        assert "gone" not in again.text
        assert {*self.outcome(images)} == {"a.png", "c.png"}

    @pytest.mark.parametrize("command", ["rm", "chmod 0"])
    def test_a_file_that_cannot_be_exported_any_more_is_left_out(
        self, driver: Any, images: Path, command: str
    ) -> None:
        """It was examined and decoded, and is changed just before it is copied."""
        image = f"{images}/b.png"
        process = driver.start(
            *label(images), on_open=(image, 3, f"{command} {image}"), unprivileged=True
        )
        assert process.wait() == 0, process.text
        assert "left out: 1 images" in process.text
        assert "train 2 images" in process.text
