"""Shared fixtures: embedded weights, the command line as a function, and filled label stores."""

from __future__ import annotations

import gc
import hashlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest

import grounded_sam2
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Label, Labels, TrackedFrame
from grounded_sam2.sources.fingerprint import file_stamp
from grounded_sam2.sources.video import open_video
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig, VideoRecord

pytest_plugins = [
    "fixtures.exporting",
    "fixtures.importing",
    "fixtures.runs",
    "fixtures.toy_models",
    "fixtures.videos",
]

WEIGHTS = Path(grounded_sam2.__file__).parent / "demo" / "weights"


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Handle SIGINT in every test: background jobs are started with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.hookimpl(trylast=True)  # when all markers are set
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let other programs warn: only our own warnings are errors."""
    for item in items:
        if item.get_closest_marker("consumers") is not None:
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(autouse=True)
def _collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """Files that other programs leave open are warned of in the test that opened them."""
    yield
    if request.node.get_closest_marker("consumers") is not None:
        gc.collect()


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Run the command line in this process: ``cli("label", folder, "--out", out)``."""
    from grounded_sam2.cli import main

    def run(*arguments: object) -> CommandResult:
        code = main([str(argument) for argument in arguments])
        return CommandResult(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def demo_weights() -> Path:
    """Folder of the embedded models. Without them the package is broken: no test is skipped."""
    missing = [
        str(path)
        for path in (WEIGHTS / "detector", WEIGHTS / "segmenter")
        if not (path / "model.safetensors").is_file()
    ]
    assert not missing, f"the package lacks its embedded models: {', '.join(missing)}"
    return WEIGHTS


ORIENTATION_TAG = 0x0112
RUN_CONFIG = RunConfig(
    models={},
    inference={},
)
ONTOLOGY = (("red circle", "ball"), ("blue square", "box"), ("cat", "Katze ü"))


def disc(size_hw=(60, 80), center=(30, 40), radius=18) -> np.ndarray:
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    return (y - center[0]) ** 2 + (x - center[1]) ** 2 < radius**2


def ring(size_hw=(60, 80), center=(30, 40), radii=(9, 18)) -> np.ndarray:
    return disc(size_hw, center, radii[1]) & ~disc(size_hw, center, radii[0])


def two_parts() -> np.ndarray:
    mask = np.zeros((60, 80), bool)
    mask[5:25, 0:20] = True
    mask[30:60, 50:80] = True
    return mask


def pixel(x: int, y: int, size_hw=(60, 80)) -> np.ndarray:
    mask = np.zeros(size_hw, bool)
    mask[y, x] = True
    return mask


def label(mask: np.ndarray | None, class_name: str = "ball", **fields) -> Label:
    run_lengths = None if mask is None else encode(mask)[0]
    fields.setdefault("box_xyxy", (0, 0, 0, 0) if run_lengths is None else run_lengths.bbox_xyxy)
    return Label(
        class_name=class_name,
        caption=fields.pop("caption", "red circle"),
        mask=run_lengths,
        confidence=fields.pop("confidence", 0.75),
        mask_quality=fields.pop("mask_quality", 0.5),
        **fields,
    )


class Labeled:
    """A folder of images and its label store, filled image by image, and masks to fill it with."""

    disc = staticmethod(disc)
    ring = staticmethod(ring)
    two_parts = staticmethod(two_parts)
    pixel = staticmethod(pixel)
    classes = ["ball", "box", "Katze ü"]  # noqa: RUF012
    label = staticmethod(label)

    def __init__(self, root: Path) -> None:
        self.images = root / "images"
        self.folder = root / "labeled"
        self.store = LabelStore.create(self.folder)
        self.run = self.store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)

    def image(self, name: str, size_hw=(60, 80), *, orientation: int = 1, seed: int = 0) -> Path:
        """Write an image of noise that has `size_hw` when upright."""
        stored = size_hw[::-1] if orientation >= 5 else size_hw
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
        image = PIL.Image.fromarray(coarse).resize(stored[::-1], PIL.Image.Resampling.BICUBIC)
        path = self.images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = PIL.Image.Exif()
        if orientation != 1:
            exif[ORIENTATION_TAG] = orientation
        image.save(path, exif=exif)
        return path

    def item(self, path: Path, size_hw=(60, 80), *, orientation: int = 1) -> Item:
        return Item(
            item_id=path.relative_to(self.images).as_posix(),
            path=path,
            content_hash=hashlib.sha256(path.read_bytes()).hexdigest(),
            size_hw=size_hw,
            exif_orientation=orientation,
            file_stamp=file_stamp(path),
        )

    def add(self, name: str, *objects: Label, size_hw=(60, 80), orientation=1, seed=0) -> Path:
        path = self.image(name, size_hw, orientation=orientation, seed=seed)
        item = self.item(path, size_hw, orientation=orientation)
        self.write(ItemOutcome(item, Labels(size_hw, objects)))
        return path

    def write(self, result: ItemOutcome) -> None:
        self.store.write_batch(self.run.id, [result])


@pytest.fixture
def labeled(tmp_path) -> Iterator[Labeled]:
    labeled = Labeled(tmp_path)
    yield labeled
    labeled.store.close()


class Tracked:
    """A label store of videos, and the folder of the videos.

    The gray level of a frame encodes its number, and survives being compressed twice.
    """

    size_hw = (48, 64)

    def __init__(self, root: Path) -> None:
        self.clips = root / "clips"
        self.folder = root / "tracked"
        self.store = LabelStore.create(self.folder)
        self.run = self.store.begin_run(
            RunConfig(models={"tracker": "t"}, inference={}), ontology=ONTOLOGY
        )

    def frame(self, number: int) -> np.ndarray:
        return np.full((*self.size_hw, 3), 20 + 15 * number, np.uint8)

    def number_of(self, path: Path) -> int:
        """The number that the gray level of a frame encodes."""
        with PIL.Image.open(path) as image:
            assert image.size == self.size_hw[::-1]
            return round((float(np.asarray(image.convert("L")).mean()) - 20) / 15)

    def square(
        self, track_id: int | None, left: int, top: int = 10, *args, has_mask=True, **fields
    ) -> Label:
        """Label of a square of 12×12 pixels, clipped to the image."""
        mask = np.zeros(self.size_hw, bool)
        mask[max(top, 0) : max(top + 12, 0), max(left, 0) : max(left + 12, 0)] = True
        square = label(mask, *args, track_id=track_id, track_origin="detected", **fields)
        return square if has_mask else replace(square, mask=None)

    def movie(self, name: str, frames: int) -> Path:
        """Write an MPEG-4 video."""
        path = self.clips / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(path, "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width = self.size_hw
            stream.pix_fmt = "yuv420p"
            for number in range(frames):
                image = av.VideoFrame.from_ndarray(self.frame(number), "rgb24")
                container.mux(stream.encode(image))
            container.mux(stream.encode())
        return path

    def images(self, name: str, frames: int, ending: str = ".png") -> Path:
        """Write a folder of frames whose numeric order is not the alphabetical order."""
        path = self.clips / name
        path.mkdir(parents=True)
        for number in range(frames):
            PIL.Image.fromarray(self.frame(number)).save(path / f"f{number}{ending}")
        return path

    def add(self, path: Path, frames, *, name: str | None = None, stride: int = 1) -> None:
        """Store the labels of a video: objects by frame index."""
        video = open_video(path, stride=stride, name=name)
        record = VideoRecord(
            video.name,
            path,
            self.size_hw,
            fps=video.fps,
            stride=stride,
            content_hash=video.content_hash(),
            file_stamp=video.stamp(),
        )
        self.store.begin_video(self.run.id, record)
        labeled = [
            TrackedFrame(index, index / video.fps, Labels(self.size_hw, tuple(objects)))
            for index, objects in frames.items()
        ]
        self.store.write_frames(self.run.id, video.name, labeled, finished=True)


@pytest.fixture
def tracked(tmp_path) -> Iterator[Tracked]:
    tracked = Tracked(tmp_path)
    yield tracked
    tracked.store.close()
