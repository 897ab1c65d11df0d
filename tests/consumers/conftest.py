"""A store of difficult cases, whose exports other programs read in these tests.

The images are drawn upright and saved in every way that cameras and people save them. Exports are
compared with what was drawn and labeled, not with what our own code reads back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from PIL.Image import Transpose

from grounded_sam2.exporters import ExportOptions, ExportSummary, export
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Label, Labels
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig

CLASSES = (
    *("ball", "traffic light", "Katze ü", "日本語", "yes", "12"),
    *("a: b, {c} & <d> \"e\" 'f' #g | h", "never seen"),
)
SIZE_HW = (72, 96)
ORIENTATION_TAG = 0x0112
ROTATED = {  # how a camera with this orientation saves an upright image
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}
LONG = "n" * 250


class Names:
    """Names in the dataset of the images that cannot keep their own, by item id.

    Names collide by case everywhere, and by stem where label files share the stem. YOLO's readers
    find labels by the folder ``images``, ignore hidden files, and accept few file types.
    """

    EVERYWHERE: ClassVar = {
        "a.jpg": "a_jpg.jpg",
        "odd/back\\slash.jpg": "odd/back_slash.jpg",
    }
    BY_STEM: ClassVar = EVERYWHERE | {
        "a.png": "a_png.png",
        "sub/a.png": "sub/a_png.png",
        f"{LONG}.png": f"{LONG[:-4]}_png.png",
    }
    YOLO: ClassVar = BY_STEM | {
        ".hidden.jpg": "_hidden.jpg",
        ".hidden/b.jpg": "_hidden/b.jpg",
        "images/a.jpg": "images_/a.jpg",
        "labels/images/a.jpg": "labels/images_/a.jpg",
        "kinds/animation.gif": "kinds/animation.png",
        "kinds/avif.avif": "kinds/avif.png",
        "kinds/jfif.jfif": "kinds/jfif.jpg",
        "kinds/jp2.jp2": "kinds/jp2.png",
        "kinds/no ending": "kinds/no ending.png",
        "kinds/pixmap.ppm": "kinds/pixmap.png",
    }


@dataclass(frozen=True)
class LabeledImage:
    """An image as it was drawn and labeled."""

    item_id: str
    size_hw: tuple[int, int]
    upright: NDArray[np.uint8]
    """As drawn: RGB ``(h, w, 3)``, even if its file holds less."""
    in_color: bool
    """Whether its file holds these colors, up to compression."""
    objects: tuple[Label, ...]
    """The objects that have an extent in the image."""


def disc(y: float = 36, x: float = 48, radius: float = 20, size_hw=SIZE_HW) -> NDArray[np.bool_]:
    rows, columns = np.indices(size_hw)
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def box(top: int, left: int, bottom: int, right: int, size_hw=SIZE_HW) -> NDArray[np.bool_]:
    mask = np.zeros(size_hw, np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def pixels(rows: Any, columns: Any) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE_HW, np.bool_)
    mask[rows, columns] = True
    return mask


def label(mask: NDArray[np.bool_] | None, class_name: str = "ball", **fields: Any) -> Label:
    run_lengths = None if mask is None else encode(mask)[0]
    fields.setdefault("box_xyxy", (0, 0, 0, 0) if run_lengths is None else run_lengths.bbox_xyxy)
    fields.setdefault("confidence", 0.75)
    fields.setdefault("mask_quality", None if mask is None else 0.5)
    return Label(class_name, fields.pop("caption", f"a {class_name}"), mask=run_lengths, **fields)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


class Awkward:
    """A store, the images added to it, and its exports, each made once."""

    classes = CLASSES
    names = Names
    disc = staticmethod(disc)
    box = staticmethod(box)
    label = staticmethod(label)
    iou = staticmethod(iou)

    def __init__(self, root: Path) -> None:
        self.images: dict[str, LabeledImage] = {}
        """By item id, in the order of the ids once all are added."""
        self._images = root / "images"
        self._exports = root / "exports"
        self._made: dict[str, tuple[Path, ExportSummary]] = {}
        self.store = LabelStore.create(root / "labeled")
        ontology = tuple((f"a {name}", name) for name in CLASSES)
        self._run = self.store.begin_run(RunConfig(models={}, inference={}), ontology=ontology)

    def add(
        self,
        item_id: str,
        *objects: Label,
        without_extent: Sequence[Label] = (),
        size_hw: tuple[int, int] = SIZE_HW,
        orientation: int = 1,
        mode: str = "RGB",
        **saving: Any,
    ) -> None:
        """Draw an image, save it, and label it.

        Args:
            item_id: its path relative to the folder of images.
            objects: objects in it.
            without_extent: objects without extent in the image.
            size_hw: height and width of the upright image.
            orientation: EXIF orientation to save it with.
            mode: of the file: a mode of Pillow, or a dtype of numpy.
            saving: arguments of Pillow's ``save``.
        """
        drawn = _noise(size_hw, seed=len(self.images))
        image = drawn.convert(mode) if mode in PIL.Image.MODES else _deep(drawn, mode)
        if orientation != 1:
            image = image.transpose(ROTATED[orientation])
            exif = PIL.Image.Exif()
            exif[ORIENTATION_TAG] = orientation
            saving["exif"] = exif
        path = self._images / item_id
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **saving)
        item = Item(
            item_id=item_id,
            path=path,
            content_hash=hashlib.sha256(path.read_bytes()).hexdigest(),
            size_hw=size_hw,
            exif_orientation=orientation,
        )
        labels = Labels(size_hw, (*objects, *without_extent))
        self.store.write_batch(self._run.id, [ItemOutcome(item, labels)])
        self.images[item_id] = LabeledImage(
            item_id, size_hw, np.asarray(drawn), mode == "RGB", objects
        )

    def export(self, format_name: str, **options: Any) -> Path:
        """Return the folder of an export."""
        return self._export(format_name, options)[0]

    def summary(self, format_name: str, **options: Any) -> ExportSummary:
        """Return the summary of an export."""
        return self._export(format_name, options)[1]

    def _export(self, format_name: str, options: dict[str, Any]) -> tuple[Path, ExportSummary]:
        key = f"{format_name} {options}"
        if key not in self._made:
            folder = self._exports / f"{len(self._made)} {format_name}"
            summary = export(format_name, self.store, folder, ExportOptions(**options))
            self._made[key] = (folder, summary)
        return self._made[key]

    def by_name(self, names: dict[str, str], *, min_side: int = 1) -> dict[str, LabeledImage]:
        """Return the images by their names in an export, without those with a shorter side."""
        return {
            names.get(item_id, item_id): image
            for item_id, image in self.images.items()
            if min(image.size_hw) >= min_side
        }


def _noise(size_hw: tuple[int, int], seed: int) -> PIL.Image.Image:
    """Return a random image, smooth enough to survive JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return PIL.Image.fromarray(coarse).resize(size_hw[::-1], PIL.Image.Resampling.BICUBIC)


def _deep(drawn: PIL.Image.Image, dtype: str) -> PIL.Image.Image:
    gray = np.asarray(drawn.convert("L"))
    deep = gray / 255 if dtype.startswith("float") else gray.astype(np.uint16) * 257
    return PIL.Image.fromarray(deep.astype(dtype))


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder as ``consumers``."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("consumers")


@pytest.fixture(scope="session")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Awkward]:
    """A store with everything that makes an export difficult."""
    awkward = Awkward(tmp_path_factory.mktemp("awkward"))
    with awkward.store:
        _shapes(awkward)
        _objects(awkward)
        _names(awkward)
        _files(awkward)
        _sizes(awkward)
        awkward.images = dict(sorted(awkward.images.items()))
        yield awkward


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Awkward]:
    """An empty store of the same kind, filled by a test."""
    empty = Awkward(tmp_path_factory.mktemp("empty"))
    with empty.store:
        yield empty


def _shapes(awkward: Awkward) -> None:
    holes = disc(radius=30) & ~disc(30, 38, 8) & ~disc(44, 60, 6)
    awkward.add("shapes/holes.png", label(holes), label(disc(60, 10, 9) & ~disc(60, 10, 4), "12"))
    parts = box(5, 5, 20, 25) | disc(50, 30, 14) | box(40, 60, 70, 90)
    awkward.add("shapes/parts.jpg", label(parts, "traffic light"))
    island = disc(radius=34) & ~disc(radius=25) | disc(radius=17) & ~disc(radius=8) | disc(radius=3)
    awkward.add("shapes/island in a hole.png", label(island, "日本語"))
    corners = [(0, 0), (0, 95), (71, 0), (71, 95), (36, 48)]
    awkward.add("shapes/one pixel.png", *(label(pixels(y, x)) for y, x in corners))
    steps = np.arange(60)
    awkward.add(
        "shapes/thin lines.png",
        label(box(10, 0, 11, 96)),
        label(box(0, 40, 72, 41), "yes"),
        label(pixels(steps + 5, steps + 10), "12"),
        label(pixels(steps // 2 + 10, steps + 20), "Katze ü"),
    )
    edges = [(0, 30, 10, 50), (62, 30, 72, 50), (30, 0, 40, 10), (30, 86, 40, 96)]
    frame = label(~box(3, 3, 69, 93))
    awkward.add("shapes/borders.png", frame, *(label(box(*each), "yes") for each in edges))
    whole = np.ones(SIZE_HW, np.bool_)
    awkward.add("shapes/whole image.jpg", label(whole), label(whole, "yes", confidence=0.9))
    spots = [
        box(4 * (i // 24), 4 * (i % 24), 4 * (i // 24) + 2, 4 * (i % 24) + 3) for i in range(300)
    ]
    awkward.add("shapes/crowd.png", *(label(spot, "yes") for spot in spots))
    size_hw = (600, 800)
    large = disc(300, 400, 250, size_hw) & ~disc(280, 350, 60, size_hw)
    pair = disc(100, 100, 60, size_hw) | disc(500, 700, 80, size_hw)
    awkward.add("shapes/large.jpg", label(large), label(pair, "yes"), size_hw=size_hw)


def _objects(awkward: Awkward) -> None:
    awkward.add("objects/none.jpg")
    awkward.add(
        "objects/overlapping.png",
        label(disc(30, 40), confidence=0.9),
        label(disc(35, 50), "yes", confidence=0.5),
        label(disc(30, 40, 5), "12", confidence=0.2),
        label(disc(40, 60, 10), "12", confidence=None, mask_quality=None, origin="human"),
    )
    ring = disc() & ~disc(radius=10)
    awkward.add("objects/twice.png", label(disc()), label(ring), label(disc()))
    awkward.add(
        "objects/box only.jpg",
        label(None, box_xyxy=(8.25, 6, 40.5, 30)),
        label(disc(50, 70, 12), "yes"),
        label(None, "yes", box_xyxy=(0, 40, 20, 60), confidence=None, origin="human"),
    )
    outside = label(None, box_xyxy=(200, 6, 240, 30))
    nothing = label(np.zeros(SIZE_HW, np.bool_), "yes")
    awkward.add("objects/nowhere.jpg", label(disc()), without_extent=[outside, nothing])
    for name in CLASSES[:-1]:
        awkward.add(f"objects/class {CLASSES.index(name)}.jpg", label(disc(), name, caption=name))


def _names(awkward: Awkward) -> None:
    colliding = ["A.jpg", "a.jpg", "a.png", "sub/a.jpg", "sub/a.png", "sub/deep/a.jpg"]
    misleading = ["images/a.jpg", "labels/images/a.jpg", ".hidden.jpg", ".hidden/b.jpg"]
    odd = ["ünï cödé/日本 語 😀.jpg", "odd/'n' & <x> #1, 100%; a=b?.jpg", "odd/[a]*{b}.jpg"]
    odd += ["odd/back\\slash.jpg", "2024.01/v1.0/dots.in.names.jpg", f"{LONG}.jpg", f"{LONG}.png"]
    for number, item_id in enumerate([*colliding, *misleading, *odd]):
        awkward.add(item_id, label(disc(20 + number, 30 + number, 12 + number % 5)))


def _files(awkward: Awkward) -> None:
    corner, lamp = label(box(0, 0, 30, 20)), label(disc(50, 70, 15), "traffic light")
    for orientation in range(1, 9):
        awkward.add(f"turned/{orientation}.jpg", corner, lamp, orientation=orientation)
    awkward.add("turned/png.png", corner, lamp, orientation=6)
    awkward.add("turned/webp.webp", corner, lamp, orientation=7)
    awkward.add("turned/tif.tif", corner, lamp, orientation=8)
    modes = {"gray.png": "L", "gray jpeg.jpg": "L", "palette.png": "P", "alpha.png": "RGBA"}
    modes |= {"gray alpha.png": "LA", "bits.png": "1", "cmyk.jpg": "CMYK", "cmyk tiff.tif": "CMYK"}
    modes |= {"deep.png": "uint16", "deep tiff.tif": "uint16", "floats.tif": "float32"}
    for name, mode in modes.items():
        awkward.add(f"modes/{name}", label(disc()), mode=mode)
    for name in ("bitmap.bmp", "pixmap.ppm", "webp.webp", "avif.avif", "jp2.jp2", "upper case.JPG"):
        awkward.add(f"kinds/{name}", label(disc()))
    awkward.add("kinds/jfif.jfif", label(disc()), format="JPEG")
    awkward.add("kinds/no ending", label(disc()), format="PNG")
    awkward.add("kinds/really png.jpg", label(disc()), format="PNG")
    awkward.add("kinds/really gif.png", label(disc()), format="GIF")
    more = {"save_all": True, "append_images": [_noise(SIZE_HW, seed) for seed in (900, 901)]}
    awkward.add("kinds/animation.gif", label(disc()), **more)
    awkward.add("kinds/animated.webp", label(disc()), **more)
    awkward.add("kinds/pages.tif", label(disc()), **more)


def _sizes(awkward: Awkward) -> None:
    awkward.add("tiny/one pixel.png", label(np.ones((1, 1), np.bool_)), size_hw=(1, 1))
    awkward.add("tiny/nine.png", label(disc(4, 4, 3, (9, 9))), size_hw=(9, 9))
    awkward.add("tiny/nine high.png", label(box(2, 2, 5, 60, (9, 64))), size_hw=(9, 64))
    awkward.add("tiny/ten.png", label(disc(5, 5, 4, (10, 10))), size_hw=(10, 10))
    awkward.add("tiny/band.png", label(box(3, 5, 6, 500, (10, 2000))), size_hw=(10, 2000))
