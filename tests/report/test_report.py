"""Complete reports: the page is parsed as HTML, the issues as JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.errors import ConfigError, ExportError, StoreError
from grounded_sam2.report import ISSUE_KINDS, ReportOptions, Thresholds, write_report
from grounded_sam2.results import Labels
from grounded_sam2.store import Item, ItemOutcome, RunConfig

SPLITS = {"train": 0.5, "val": 0.5}


@pytest.fixture
def planted(labeled, clean):
    """Forty clean images, and one with each kind of issue that a few images can have."""
    for index in range(40):
        tight = clean(labeled.disc(radius=14 + index % 5))
        disc = clean(labeled.disc(radius=14 + index % 5), detected_box_xyxy=tight.box_xyxy)
        labeled.add(f"clean/{index:02d}.png", disc, seed=100 + index)
    disc = labeled.disc()
    left, top, right, bottom = clean(disc).box_xyxy
    labeled.add("low-confidence.png", clean(disc, confidence=0.4, mask_quality=0.79), seed=1)
    labeled.add("low-quality.png", clean(disc, mask_quality=0.4), seed=2)
    labeled.add("twice.png", clean(disc), clean(disc, "box", confidence=0.8), seed=3)
    labeled.add("inside.png", clean(disc), clean(labeled.disc(radius=12)), seed=4)
    box = (left, top, right - 12, bottom)
    labeled.add("leaves.png", clean(disc, detected_box_xyxy=box), seed=5)
    labeled.add("edge.png", clean(~labeled.disc(radius=25), "Katze ü"), seed=6)
    labeled.add("tiny.png", clean(labeled.disc(radius=3)), seed=7)
    labeled.add("copy.png", clean(disc), seed=100)
    labeled.add("background.png", seed=9)
    labeled.write(ItemOutcome(Item("broken.png", None), None, "is <empty> (0 bytes)"))
    return labeled


@pytest.fixture
def report(planted, tmp_path):
    return write_report(planted.folder, tmp_path / "out.html", json_out=tmp_path / "out.json")


class TestPlantedIssues:
    def test_are_found_with_their_kinds(self, report) -> None:
        rows = json.loads(report.json.read_text(encoding="utf-8"))["doubts"]
        assert {(row["item"], row["object"], row["kind"]) for row in rows} == {
            ("low-confidence.png", 0, "low_confidence"),
            ("low-confidence.png", 0, "low_quality"),
            ("low-quality.png", 0, "low_quality"),
            ("low-quality.png", 0, "disagreement"),
            ("twice.png", 1, "overlap"),
            ("inside.png", 1, "inside"),
            ("leaves.png", 0, "outside_box"),
            ("edge.png", 0, "along_border"),
            ("tiny.png", 0, "size_outlier"),
            ("copy.png", None, "near_duplicate"),
        }

    def test_are_counted(self, report) -> None:
        assert report.images == 49
        assert report.objects == 50
        assert report.flagged == 7
        assert sum(report.issues.values()) == 10
        assert set(report.issues) == set(ISSUE_KINDS)
        assert report.unreadable == 0

    def test_are_the_only_labels_on_the_page(self, report, page) -> None:
        shown = page(report.page).all("li", "issue")
        assert len(shown) == 7
        cards = page(report.page).all("li", "card")
        names = {card["id"][1:]: card["data-name"] for card in cards}
        assert {names[label["data-image"]] for label in shown} == {
            f"{name}.png"
            for name in ("low-confidence", "low-quality", "twice", "inside", "leaves", "edge")
        } | {"tiny.png"}
        assert [card["data-name"] for card in cards if card["data-flagged"] != "0"] == sorted(
            names[label["data-image"]] for label in shown
        )

    def test_are_described(self, report, page) -> None:
        text = page(report.page).text()
        assert "overlaps another object “ball”, IoU 1.00" in text
        assert "low mask quality 0.40" in text
        assert "confidence and quality disagree 0.90 and 0.40" in text
        assert "of it outside" in text

    def test_are_sorted_by_score(self, report, page) -> None:
        rows = json.loads(report.json.read_text(encoding="utf-8"))["doubts"]
        scores = [row["score"] for row in rows]
        assert scores == sorted(scores, reverse=True)
        assert page(report.page).all("li", "issue")[0]["data-kinds"].split() == ["overlap"]

    def test_failures_and_background_are_listed_too(self, report, page) -> None:
        document = json.loads(report.json.read_text(encoding="utf-8"))
        assert document["background"] == 1
        assert document["failed"] == [{"item": "broken.png", "reason": "is <empty> (0 bytes)"}]
        text = page(report.page).text()
        assert "broken.png is <empty> (0 bytes)" in text
        assert "1 background" in text


class TestJson:
    def test_an_issue_is_a_record_of_plain_values(self, report) -> None:
        rows = json.loads(report.json.read_text(encoding="utf-8"))["doubts"]
        (row,) = [row for row in rows if row["kind"] == "overlap"]
        assert row == {
            "kind": "overlap",
            "score": 0.9,
            "item": "twice.png",
            "object": 1,
            "class": "box",
            "track": None,
            "time": None,
            "value": 1.0,
            "threshold": 0.5,
            "other_item": None,
            "other_object": 0,
            "reason": "overlaps another object: “ball”, IoU 1.00",
        }

    def test_a_near_duplicate_names_the_earlier_image(self, report) -> None:
        rows = json.loads(report.json.read_text(encoding="utf-8"))["doubts"]
        (row,) = [row for row in rows if row["kind"] == "near_duplicate"]
        assert row["item"] == "copy.png"
        assert row["other_item"] == "clean/00.png"
        assert row["class"] is None
        assert row["reason"] == "looks like an earlier image: the same file as clean/00.png"

    def test_every_issue_is_a_line(self, report) -> None:
        lines = report.json.read_text(encoding="utf-8").splitlines()
        assert sum(line.startswith('{"kind"') for line in lines) == 10

    def test_json_is_not_written_by_default(self, planted) -> None:
        summary = write_report(planted.folder)
        assert summary.page == planted.folder / "report.html"
        assert summary.json is None


class TestPage:
    def test_references_nothing_outside_of_itself(self, report, page) -> None:
        parsed = page(report.page)
        for tag, attributes in parsed.elements:
            assert not {"srcset", "style", "onclick", "onload"} & set(attributes), tag
            for name in ("src", "href"):
                assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
        assert "url(" not in report.page.read_text(encoding="utf-8")

    def test_allows_only_its_own_style_and_script(self, report, page) -> None:
        html = report.page.read_text(encoding="utf-8")
        (policy,) = [
            attributes["content"]
            for attributes in page(report.page).all("meta")
            if attributes.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policy.startswith("default-src 'none'; img-src data:;")
        for tag in ("style", "script"):
            (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy

    def test_names_are_text_whatever_they_contain(self, labeled, clean, page, tmp_path) -> None:
        evil = "<img src=x onerror=alert(1)>"
        run_config = RunConfig(models={"detector": f"</script>{evil}"}, inference={})
        run = labeled.store.begin_run(
            run_config, ontology=((evil, f"</script>{evil}"),), new_run=True
        )
        name = "&quot;'<script>alert(2)<!--.png"
        found = clean(labeled.disc(), f"</script>{evil}", caption=evil, confidence=0.2)
        item = labeled.item(labeled.image(name))
        labeled.store.write_batch(run.id, [ItemOutcome(item, Labels((60, 80), (found,)))])
        summary = write_report(labeled.folder, tmp_path / "out.html")
        parsed = page(summary.page)
        assert not [a for a in parsed.all("img") if "onerror" in a]
        assert len([a for a in parsed.all("script") if "type" not in a]) == 1
        assert name in parsed.text()
        assert evil in parsed.text()
        assert [card["data-name"] for card in parsed.all("li", "card")] == [name.lower()]

    def test_every_image_is_shown_with_its_masks(self, report, page) -> None:
        html = report.page.read_text(encoding="utf-8")
        cards = re.findall(r'<li class="card".*?</li>', html, flags=re.DOTALL)
        assert len(cards) == report.shown_images == 49
        facts = [
            json.loads(re.search(r'json">(.*?)</script>', card, flags=re.DOTALL)[1])
            for card in cards
        ]
        assert [fact["name"] for fact in facts] == sorted(fact["name"] for fact in facts)
        for card, fact in zip(cards, facts, strict=True):
            assert card.count("data:image/webp;base64,") == 1
            assert card.count("<path") == len(fact["objects"])

    def test_the_histograms_count_every_object(self, report) -> None:
        html = report.page.read_text(encoding="utf-8")
        data = json.loads(re.search(r'id="data">(.*?)</script>', html, flags=re.DOTALL)[1])
        for chart in data["charts"].values():
            assert np.sum(chart["counts"]) + np.sum(chart["unknown"]) == report.objects
            assert len(chart["counts"]) == len(data["classes"])
            assert all(len(row) == len(chart["edges"]) - 1 for row in chart["counts"])

    def test_the_same_store_gives_the_same_bytes(self, planted, tmp_path) -> None:
        first = write_report(planted.folder, tmp_path / "1.html", json_out=tmp_path / "1.json")
        options = ReportOptions(threads=1)
        second = write_report(
            planted.folder, tmp_path / "2.html", json_out=tmp_path / "2.json", options=options
        )
        assert first.page.read_bytes() == second.page.read_bytes()
        assert first.json.read_bytes() == second.json.read_bytes()


class TestSelection:
    def test_images_of_labels_with_issues_come_first(self, planted, page, tmp_path) -> None:
        options = ReportOptions(images=7)
        summary = write_report(planted.folder, tmp_path / "out.html", options=options)
        parsed = page(summary.page)
        cards = {card["id"][1:] for card in parsed.all("li", "card")}
        assert cards == {label["data-image"] for label in parsed.all("li", "issue")}
        assert "7 of 49" in parsed.text()

    def test_a_page_without_images_shows_labels(self, planted, page, tmp_path) -> None:
        options = ReportOptions(images=0, labels=3)
        summary = write_report(planted.folder, tmp_path / "out.html", options=options)
        parsed = page(summary.page)
        assert parsed.all("li", "card") == []
        assert len(parsed.all("li", "issue")) == 3
        assert parsed.all("button", "crop") == []  # there is no image to enlarge

    def test_the_sample_is_stable_when_images_are_added(self, labeled, clean, page) -> None:
        def sample() -> set[str]:
            summary = write_report(labeled.folder, options=ReportOptions(images=10))
            return {card["data-name"] for card in page(summary.page).all("li", "card")}

        for index in range(40):
            labeled.add(f"{index}.png", clean(labeled.disc()), seed=index)
        before = sample()
        labeled.add("another.png", clean(labeled.disc()), seed=99)
        assert len(before - sample()) <= 1

    @pytest.mark.slow
    def test_large_images_of_noise_stay_within_their_bytes(self, labeled, clean) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8)
        for index in range(4):
            path = labeled.image(f"{index}.png", (900, 1200))
            PIL.Image.fromarray(np.roll(noise, index * 100, axis=1)).save(path)
            item = labeled.item(path, (900, 1200))
            mask = labeled.disc((900, 1200), (450, 600), 200)
            labeled.write(ItemOutcome(item, Labels((900, 1200), (clean(mask, confidence=0.3),))))
        summary = write_report(labeled.folder)
        assert summary.page_bytes < 60_000 + 4 * (60_000 + 12_000 + 4_000)


class TestSplits:
    def test_objects_and_images_are_counted_per_split(self, planted, page, tmp_path) -> None:
        options = ReportOptions(split=SPLITS)
        summary = write_report(planted.folder, tmp_path / "out.html", options=options)
        text = page(summary.page).text()
        assert "Classes and splits" in text
        train, val = map(int, re.search(r"images 49 (\d+) (\d+) background images", text).groups())
        assert train + val == 49
        assert min(train, val) > 10

    def test_near_duplicates_in_two_splits_are_described(self, labeled, clean, tmp_path) -> None:
        for folder in ("train", "val"):
            labeled.add(f"{folder}/a.png", clean(labeled.disc()), seed=1)
        options = ReportOptions(split=SPLITS, split_by="folder")
        out = tmp_path / "out.json"
        write_report(labeled.folder, tmp_path / "o.html", json_out=out, options=options)
        (row,) = json.loads(out.read_text(encoding="utf-8"))["doubts"]
        assert row["reason"].endswith("the same file as train/a.png; in val, the other in train")


class TestUnusualStores:
    def test_one_image_without_issues(self, labeled, clean, page) -> None:
        labeled.add("a.png", clean(labeled.disc()))
        text = page(write_report(labeled.folder).page).text()
        assert "No label has an issue" in text
        assert "All images." in text

    def test_images_without_objects(self, labeled, page) -> None:
        labeled.add("a.png")
        summary = write_report(labeled.folder)
        assert summary.objects == 0
        assert "There are no labels" in page(summary.page).text()

    def test_failures_only(self, labeled, page, tmp_path) -> None:
        labeled.write(ItemOutcome(Item("broken.png", None), None, "is empty"))
        summary = write_report(labeled.folder, json_out=tmp_path / "out.json")
        assert summary.images == 0
        assert "broken.png is empty" in page(summary.page).text()
        assert json.loads(summary.json.read_text(encoding="utf-8"))["doubts"] == []

    def test_pending_images_only(self, labeled, page) -> None:
        labeled.store.register_items(labeled.run.id, [("a.png", Path("a.png"))])
        assert "1 pending" in page(write_report(labeled.folder).page).text()

    def test_boxes_only(self, labeled, clean, page) -> None:
        labeled.add("a.png", clean(None, box_xyxy=(5, 5, 30, 40), mask_quality=None))
        text = page(write_report(labeled.folder).page).text()
        assert "1 with a box only" in text
        assert "0 of 1 objects have both a mask and a box of the detector" in text

    def test_human_labels(self, labeled, clean, page) -> None:
        drawn = clean(labeled.disc(), confidence=None, mask_quality=None, origin="human")
        labeled.add("a.png", drawn)
        summary = write_report(labeled.folder)
        assert summary.flagged == 0
        assert "1 by people" in page(summary.page).text()

    def test_one_of_several_runs(self, labeled, clean, page) -> None:
        labeled.add("a.png", clean(labeled.disc()))
        other = labeled.store.begin_run(
            RunConfig(models={"detector": "another"}, inference={}), new_run=True
        )
        labeled.store.write_batch(
            other.id, [ItemOutcome(labeled.item(labeled.image("b.png")), Labels((60, 80)))]
        )
        assert "Run 2 of 2" in page(write_report(labeled.folder).page).text()
        first = write_report(labeled.folder, run_id=labeled.run.id)
        assert first.run_id == labeled.run.id
        assert [card["data-name"] for card in page(first.page).all("li", "card")] == ["a.png"]

    def test_missing_images_are_shown_as_masks(self, labeled, clean, page) -> None:
        path = labeled.add("a.png", clean(labeled.disc(), confidence=0.3))
        path.unlink()
        summary = write_report(labeled.folder)
        parsed = page(summary.page)
        assert summary.unreadable == 1
        assert parsed.all("img") == []
        assert len(parsed.all("path", "m")) == 2  # in the card and in the crop
        assert "1 of 1 images are gone; give the folder that holds them now" in parsed.text()

    def test_moved_images_are_read_from_images_from(self, labeled, clean, page, tmp_path) -> None:
        labeled.add("sub/a.png", clean(labeled.disc()))
        labeled.images.rename(tmp_path / "elsewhere")
        options = ReportOptions(images_from=tmp_path / "elsewhere")
        summary = write_report(labeled.folder, options=options)
        assert summary.unreadable == 0
        assert len(page(summary.page).all("img")) == 1

    @pytest.mark.parametrize("size_hw", [(1, 1), (1, 2000), (2000, 1)])
    def test_thin_images(self, labeled, clean, size_hw) -> None:
        mask = np.ones(size_hw, bool)
        labeled.add("a.png", clean(mask, confidence=0.1), size_hw=size_hw)
        assert write_report(labeled.folder).flagged == 1

    def test_an_image_with_an_exif_orientation_is_upright(self, labeled, clean) -> None:
        labeled.add("a.jpg", clean(labeled.disc()), orientation=6)
        html = write_report(labeled.folder).page.read_text(encoding="utf-8")
        assert 'width="80" height="60"' in html


class TestErrors:
    def test_a_missing_store_is_refused(self, tmp_path) -> None:
        with pytest.raises(StoreError, match="holds no labels"):
            write_report(tmp_path)

    def test_a_missing_run_is_refused(self, labeled) -> None:
        with pytest.raises(StoreError, match="no run 9"):
            write_report(labeled.folder, run_id=9)

    def test_a_page_that_cannot_be_written_keeps_the_old_one(self, labeled, clean) -> None:
        labeled.add("a.png", clean(labeled.disc()))
        page = write_report(labeled.folder).page
        before = page.read_bytes()

        class FullDisk:
            """Progress that fails when the first image card has been written."""

            def __init__(self) -> None:
                self.advanced = 0

            def start(self, total: int) -> None:
                pass

            def advance(self, **counts: int) -> None:
                self.advanced += 1
                if self.advanced == 2:
                    raise OSError(28, "No space left on device")

        with pytest.raises(ExportError, match="No space left on device; check that it can be"):
            write_report(labeled.folder, progress=FullDisk())
        assert page.read_bytes() == before
        assert [path.name for path in labeled.folder.glob(".*")] == []

    def test_a_folder_at_the_path_of_the_page_is_refused(self, labeled, clean, tmp_path) -> None:
        labeled.add("a.png", clean(labeled.disc()))
        (tmp_path / "out.html").mkdir()
        with pytest.raises(ExportError, match=r"out\.html"):
            write_report(labeled.folder, tmp_path / "out.html")

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"low_confidenc": 0.4}, "the nearest is 'low_confidence'"),
            ({"low_quality": 2}, "from 0 to 1"),
            ({"enough": 0}, "at least 1"),
        ],
    )
    def test_invalid_thresholds_are_refused(self, values, message) -> None:
        with pytest.raises(ConfigError, match=message):
            Thresholds.from_values(values)

    def test_invalid_options_are_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"report\.images is -1"):
            ReportOptions(images=-1)
        with pytest.raises(ExportError, match="sums to"):
            ReportOptions(split={"train": 0.5})


class TestCommand:
    def test_prints_counts_and_paths(self, planted, cli, tmp_path) -> None:
        out, rows = tmp_path / "page.html", tmp_path / "issues.json"
        ran = cli("report", planted.folder, "--out", out, "--json", rows, "--split", "0.5/0.5")
        assert ran.code == 0
        assert "7 of 50 labels to review" in ran.out
        assert f"report: {out} (49 of 49 images" in ran.out
        assert f"issues: {rows}" in ran.out
        assert out.exists()
        assert rows.exists()

    def test_set_replaces_thresholds(self, planted, cli) -> None:
        ran = cli(
            "report", planted.folder, "--set", "low_confidence=0.3", "--set", "low_quality=0.1"
        )
        assert "6 of 50 labels to review" in ran.out
        ran = cli("report", planted.folder, "--set", "low=0.3")
        assert ran.code == 2
        assert "unknown threshold 'low'" in ran.err

    def test_an_invalid_split_is_a_usage_error(self, planted, cli) -> None:
        ran = cli("report", planted.folder, "--split", "0.5/0.2")
        assert ran.code == 2
        assert "--split" in ran.err
