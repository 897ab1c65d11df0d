"""Writing of a report: the page, and optionally all issues as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from grounded_sam2.errors import ExportError, printable
from grounded_sam2.report.issues import ISSUE_KINDS, Issues, label_scores
from grounded_sam2.report.messages import issue_record
from grounded_sam2.report.options import ReportOptions
from grounded_sam2.report.page import render_image_card, write_page
from grounded_sam2.report.page_contents import RunOverview, page_contents
from grounded_sam2.report.rules import find_issues
from grounded_sam2.report.scan import Scan, scan_run
from grounded_sam2.report.selection import select
from grounded_sam2.report.views import LabelView, load_views
from grounded_sam2.results import ImageProgress
from grounded_sam2.store import LabelStore, ReviewCounts, StoreSummary

__all__ = ["ReportSummary", "write_report"]

PAGE = "report.html"
"""Default name of the page in the folder of the store."""
_MAX_FAILURES = 200
"""Maximum number of failures that the page lists; the JSON lists all."""


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """Counts of a report, and its files."""

    page: Path
    json: Path | None
    run_id: int
    images: int
    """Labeled images."""
    objects: int
    review: ReviewCounts
    """How much of the run people have reviewed."""
    shown_images: int
    """Number of images on the page."""
    unreadable: int
    """Images that could not be read: missing, changed or broken since they were labeled."""
    flagged: int
    """Labels with at least one issue."""
    issues: dict[str, int]
    """Number of issues of each kind; see `grounded_sam2.report.issues.ISSUE_KINDS`."""
    page_bytes: int


def write_report(
    store_folder: str | Path,
    out: str | Path | None = None,
    *,
    run_id: int | None = None,
    options: ReportOptions | None = None,
    json_out: str | Path | None = None,
    progress: ImageProgress | None = None,
) -> ReportSummary:
    """Write an HTML page with the statistics of a run and the labels to review first.

    The page needs no network and no other file. The same store and images give the same bytes.

    Args:
        store_folder: output folder of a labeling run.
        out: path of the page; ``report.html`` in the store's folder if ``None``. An existing file
            is replaced once the new page is complete.
        run_id: the run; the current one if ``None``.
        options: how much to show, the thresholds of issues, where the images are.
        json_out: path for all issues as JSON, a line each; not written if ``None``.
        progress: receives the progress.

    Raises:
        StoreError: there is no store, or no such run.
        ExportError: a file cannot be written.
    """
    options = options or ReportOptions()
    page = Path(store_folder) / PAGE if out is None else Path(out)
    json_file = None if json_out is None else Path(json_out)
    with LabelStore.open(store_folder) as store, store.snapshot():
        run = store.run(run_id)
        counts = store.summary(run.id)

        def advance() -> None:
            if progress is not None:
                progress.advance(labeled=1, failed=0, skipped=0)

        if progress is not None:
            progress.start(counts.images + min(options.images, counts.images))
        scan = scan_run(store, run.id, options, advance)
        issues = find_issues(scan.objects, scan.duplicates, scan.split_ids, options.thresholds)
        selection = select(scan, issues, options)
        overview = RunOverview(
            name=printable(Path(store_folder).resolve().name),
            run=run,
            run_count=len(store.runs()),
            pending=counts.pending,
            review=counts.review,
            failures=tuple(
                (name, reason)
                for _, name, reason in islice(_failures(store, run.id, scan), _MAX_FAILURES)
            ),
            failed_count=counts.failed + sum(video.error is not None for video in scan.videos),
        )
        with (
            _open_replacing(page) as file,
            TemporaryFile("w+", encoding="utf-8", dir=page.parent) as cards,
        ):
            labels: dict[tuple[int, int], LabelView] = {}
            for shown in load_views(store, run.id, scan, issues, selection, options):
                if shown.image is not None:
                    cards.write(render_image_card(shown.image))
                    advance()
                for view in shown.labels:
                    labels[view.selected.image, view.selected.position] = view
            in_order = [labels[label.image, label.position] for label in selection.labels]
            contents = page_contents(
                overview, scan, issues, selection, in_order, options.thresholds
            )
            write_page(file, contents, cards)
        if json_file is not None:
            with _open_replacing(json_file) as file:
                file.writelines(_json(store, counts, scan, issues, options))
    kinds = np.bincount(issues["kind"], minlength=len(ISSUE_KINDS)).tolist()
    return ReportSummary(
        page=page,
        json=json_file,
        run_id=run.id,
        images=len(scan.item_ids),
        objects=len(scan.objects),
        review=counts.review,
        shown_images=len(selection.images),
        unreadable=scan.unreadable.total(),
        flagged=len(label_scores(issues)[0]),
        issues=dict(zip(ISSUE_KINDS, kinds, strict=True)),
        page_bytes=page.stat().st_size,
    )


def _failures(store: LabelStore, run_id: int, scan: Scan) -> Iterator[tuple[str, str, str]]:
    """Failed images and videos: ``item`` or ``video``, the name, and the reason."""
    for item, reason in store.failures(run_id):
        yield "item", item.item_id, reason
    for video in scan.videos:
        if video.error is not None:
            yield "video", video.record.name, video.error


def _json(
    store: LabelStore, counts: StoreSummary, scan: Scan, issues: Issues, options: ReportOptions
) -> Iterator[str]:
    """The JSON document of all issues and failures, a line each."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    run_id = counts.run_id
    yield "{\n"
    yield f'"run": {run_id}, "images": {len(scan.item_ids)}, "objects": {len(scan.objects)},\n'
    yield f'"background": {int((scan.object_counts == 0).sum())},\n'
    yield f'"review": {line(asdict(counts.review))},\n'
    yield f'"thresholds": {line(asdict(options.thresholds))},\n'
    yield '"doubts": ['
    for number, issue in enumerate(issues):
        yield f"{',' if number else ''}\n{line(issue_record(issue, scan))}"
    yield '\n],\n"failed": ['
    for number, (kind, name, reason) in enumerate(_failures(store, run_id, scan)):
        yield f"{',' if number else ''}\n{line({kind: name, 'reason': reason})}"
    yield "\n]\n}\n"


@contextmanager
def _open_replacing(path: Path) -> Iterator[IO[str]]:
    """Open a text file that replaces `path` once it has been written completely."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                yield file
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(
            f"report '{printable(path)}': {error}; check that it can be written and has space left"
        ) from error
