"""What a person decided outlives everything that labeling does afterwards."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from grounded_sam2 import GroundedSAM2
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter

SIZE_HW = (48, 64)
ONTOLOGY = {"red box": "warm", "blue box": "cold"}


class OtherDetector(FakeDetector):
    """Another model, which finds the same objects."""


def draw(path: Path, *colors: str) -> None:
    """An image with a block of each color in a row."""
    image = np.zeros((*SIZE_HW, 3), np.uint8)
    for number, color in enumerate(colors):
        image[8:24, 2 + 20 * number : 18 + 20 * number] = COLORS[color]
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(image).save(path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    draw(folder / "a.png", "red", "blue", "red")
    draw(folder / "b.png", "blue", "green")
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "labeled"


def label(
    images: Path,
    output: Path,
    ontology: dict[str, str] | None = None,
    *,
    detector: FakeDetector | None = None,
    config: dict[str, object] | None = None,
    **options: object,
) -> None:
    model = GroundedSAM2(
        ontology or ONTOLOGY,
        config=config or {},
        detector=detector or FakeDetector(),
        segmenter=FakeSegmenter(),
    )
    model.label(images, output_folder=output, formats=(), **options)  # type: ignore[arg-type]


def objects(output: Path, item: str = "a.png") -> list[tuple[str, str]]:
    """Class and review state of the objects of an image."""
    with LabelStore.open(output) as store:
        found = store.objects(item, include_rejected=True)
        return [(each.class_name, each.review) for each in found]


@pytest.fixture
def decided(images: Path, output: Path) -> Path:
    """A labeled folder with a decision about each object of ``a.png``, and one that was added."""
    label(images, output)
    with LabelStore.open(output) as store:
        first, second, third = store.objects("a.png")
        assert [each.class_name for each in (first, second, third)] == ["cold", "warm", "warm"]
        store.edits.relabel(first.uid, "ice")
        store.edits.accept(second.uid)
        store.edits.reject(third.uid)
        mask = np.zeros(SIZE_HW, np.bool_)
        mask[30:40, 30:40] = True
        store.edits.add("a.png", "star", mask)
    return output


DECIDED = [("ice", "accepted"), ("warm", "accepted"), ("star", "accepted"), ("warm", "rejected")]


def test_the_decisions_themselves(decided: Path) -> None:
    assert objects(decided) == DECIDED


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"new_run": True, "config": {"detector": {"min_confidence": 0.95}}}, DECIDED),
        ({"new_run": True, "config": {"cleanup": {"largest_part_only": True}}}, DECIDED),
        ({"new_run": True, "detector": OtherDetector()}, DECIDED),
        ({"retry_failed": True}, DECIDED),
        ({"ontology": {**ONTOLOGY, "green box": "leaf"}}, DECIDED),
        (
            {"ontology": {"red box": "hot", "blue box": "cold"}},
            [("ice", "accepted"), ("hot", "accepted"), ("star", "accepted"), ("warm", "rejected")],
        ),
        ({"ontology": {"blue box": "cold"}}, DECIDED),
        ({"ontology": {"green box": "leaf"}}, DECIDED),
    ],
    ids=[
        "a threshold above all confidences",
        "another clean-up",
        "another model",
        "failed images again",
        "a new caption",
        "a class renamed",
        "a class dropped",
        "other captions",
    ],
)
def test_a_later_run_keeps_them(
    images: Path, decided: Path, options: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    label(images, decided, **options)  # type: ignore[arg-type]
    assert sorted(objects(decided)) == sorted(expected)


def test_the_earlier_run_has_what_was_decided_on_the_later_one(images: Path, decided: Path) -> None:
    label(images, decided, detector=OtherDetector(), new_run=True)
    with LabelStore.open(decided) as store:
        [blue] = store.objects("b.png")
        store.edits.relabel(blue.uid, "ice")
    label(images, decided)  # the first run is the current one again
    assert objects(decided, "b.png") == [("ice", "accepted")]


def test_a_confirmed_empty_image_stays_empty(tmp_path: Path, output: Path) -> None:
    draw(tmp_path / "images" / "a.png", "green")
    label(tmp_path / "images", output)
    with LabelStore.open(output) as store:
        assert store.objects("a.png") == ()
        store.edits.confirm("a.png")
    ontology = {"green box": "warm", "blue box": "cold"}  # the class is now found by another word
    label(tmp_path / "images", output, ontology)
    assert objects(output) == []
    label(tmp_path / "images", output, {**ONTOLOGY, "green box": "leaf"})  # a class of its own
    assert objects(output) == [("leaf", "unreviewed")]


def test_a_pruned_image_that_comes_back_has_its_edits(
    tmp_path: Path, images: Path, decided: Path
) -> None:
    shutil.move(images / "a.png", tmp_path / "a.png")
    label(images, decided, prune=True)
    with LabelStore.open(decided) as store:
        assert [item.item_id for item, _ in store.labels()] == ["b.png"]
    shutil.move(tmp_path / "a.png", images / "a.png")
    label(images, decided)
    assert objects(decided) == DECIDED


def test_edits_rest_while_another_image_has_the_name(
    tmp_path: Path, images: Path, decided: Path
) -> None:
    shutil.copy(images / "a.png", tmp_path / "a.png")
    draw(images / "a.png", "red")
    label(images, decided)
    assert objects(decided) == [("warm", "unreviewed")]
    with LabelStore.open(decided) as store:
        assert store.history("a.png") == []
    shutil.copy(tmp_path / "a.png", images / "a.png")
    label(images, decided)
    assert objects(decided) == DECIDED


def test_edits_are_written_while_a_run_goes_on(images: Path, output: Path) -> None:
    for number in range(6):
        draw(images / f"c{number}.png", "red", "blue")
    seen: list[Label] = []

    class Reviewer:
        """Rejects an object of the first image as soon as the first batch is committed."""

        def start(self, total: int) -> None: ...

        def advance(self, *, labeled: int, failed: int, skipped: int) -> None:
            if seen:
                return
            with LabelStore.open(output) as store:
                seen.append(store.objects("a.png")[0])
                store.edits.reject(seen[0].uid)

    label(images, output, config={"runtime": {"batch_size": 2}}, progress=Reviewer())
    with LabelStore.open(output) as store:
        assert store.summary().images == 8
        [rejected] = [
            each
            for each in store.objects("a.png", include_rejected=True)
            if each.review == "rejected"
        ]
        assert rejected == replace(seen[0], review="rejected")


def test_two_people_edit_at_once_and_both_are_heard(images: Path, output: Path) -> None:
    for number in range(10):
        draw(images / f"c{number}.png", "red", "blue")
    label(images, output)
    errors: list[Exception] = []

    def accept_all(class_name: str) -> None:
        try:
            with LabelStore.open(output) as store:
                uids = [
                    each.uid
                    for _, labels in store.labels()
                    for each in labels.objects
                    if each.class_name == class_name
                ]
                for uid in uids:
                    store.edits.accept(uid, actor=class_name)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=accept_all, args=(name,)) for name in ("warm", "cold")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with LabelStore.open(output) as store:
        review = store.summary().review
        assert (review.accepted, review.unreviewed) == (24, 0)
        assert {edit.actor for edit in store.history("c0.png")} == {"warm", "cold"}


_EDIT_UNTIL_KILLED = """
import sys
from grounded_sam2.store import LabelStore
with LabelStore.open(sys.argv[1]) as store:
    uids = [each.uid for _, labels in store.labels() for each in labels.objects]
    while True:
        for uid in uids:
            edit = store.edits.relabel(uid, f"class {store.edits.count()}")
            print(edit.id, uid, edit.after[0].class_name, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 7, 30])
def test_a_killed_process_loses_no_edit_that_it_reported(
    images: Path, output: Path, lines: int
) -> None:
    label(images, output)
    program = [sys.executable, "-c", _EDIT_UNTIL_KILLED, str(output)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        reported = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        reported += [line for line in process.stdout if line.endswith("\n")]
    last = {uid: name for _, uid, name in (line.strip().split(maxsplit=2) for line in reported)}
    with LabelStore.open(output) as store:
        count = store.edits.count()
        assert count in (len(reported), len(reported) + 1)  # one may be committed and not reported
        if count > len(reported):
            store.edits.undo()
        every = [each for _, labels in store.labels() for each in labels.objects]
        assert {each.uid: each.class_name for each in every if each.uid in last} == last
        store.edits.accept(next(iter(last)))  # the file can be written
