"""Making a report: two looks at the store, one page, and if asked for the issues as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

import numpy as np

from grounded_sam2.errors import ExportError, printable
from grounded_sam2.report.crops import LabelView
from grounded_sam2.report.issues import ISSUE_KINDS, Issues, label_scores
from grounded_sam2.report.messages import issue_record
from grounded_sam2.report.options import ReportOptions
from grounded_sam2.report.page import render_image_card, write_page
from grounded_sam2.report.page_contents import RunOverview, page_contents
from grounded_sam2.report.rules import find_issues
from grounded_sam2.report.scan import Scan, scan_run
from grounded_sam2.report.selection import select
from grounded_sam2.report.views import load_views
from grounded_sam2.store import LabelStore

__all__ = ["Progress", "ReportSummary", "write_report"]

PAGE = "report.html"
"""Name of the page in the store's folder, if no other is given."""
_LISTED_FAILURES = 200
"""Of what failed, as much as the page lists; the JSON lists all."""


class Progress(Protocol):
    """Told how a report comes along, as a labeling run tells it."""

    def start(self, total: int) -> None:
        """The report begins; so many images will be looked at, those shown a second time."""
        ...

    def advance(self, *, labeled: int, failed: int, skipped: int) -> None:
        """So many more are done."""
        ...


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """What a report says, in numbers, and where it is."""

    page: Path
    json: Path | None
    run_id: int
    images: int
    """Labeled images."""
    objects: int
    shown_images: int
    """Pictures that the page holds."""
    unreadable: int
    """Pictures that could not be shown: gone, changed or broken since."""
    flagged: int
    """Labels with at least one issue."""
    issues: dict[str, int]
    """Issues of each kind; see `grounded_sam2.report.issues.ISSUE_KINDS`."""
    page_bytes: int


def write_report(
    store_folder: str | Path,
    out: str | Path | None = None,
    *,
    run_id: int | None = None,
    options: ReportOptions | None = None,
    json_out: str | Path | None = None,
    progress: Progress | None = None,
) -> ReportSummary:
    """Write one page of HTML that shows what was labeled, and what is worth a look.

    The page needs no network and no other file. The same store and images give the same bytes.

    Args:
        store_folder: output folder of a labeling run.
        out: where the page goes; ``report.html`` in the store's folder if ``None``. What is there
            is replaced once the new page is whole.
        run_id: which run; the current one if ``None``.
        options: how much to show, what is flagged, where the images are now.
        json_out: write all issues here as well, a row each, for scripts.
        progress: told how it comes along.

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
            failures=tuple(
                (name, why)
                for _, name, why in islice(_failures(store, run.id, scan), _LISTED_FAILURES)
            ),
            failed_count=counts.failed + sum(video.error is not None for video in scan.videos),
        )
        with (
            _replaced(page) as file,
            TemporaryFile("w+", encoding="utf-8", dir=page.parent) as cards,
        ):
            labels: dict[tuple[int, int], LabelView] = {}
            for look in load_views(store, run.id, scan, issues, selection, options):
                if look.image is not None:
                    cards.write(render_image_card(look.image))
                    advance()
                for view in look.labels:
                    labels[view.shown.image, view.shown.position] = view
            in_order = [labels[shown.image, shown.position] for shown in selection.labels]
            contents = page_contents(
                overview, scan, issues, selection, in_order, options.thresholds
            )
            write_page(file, contents, cards)
        if json_file is not None:
            with _replaced(json_file) as file:
                file.writelines(_json(store, run.id, scan, issues, options))
    kinds = np.bincount(issues["kind"], minlength=len(ISSUE_KINDS)).tolist()
    return ReportSummary(
        page=page,
        json=json_file,
        run_id=run.id,
        images=len(scan.item_ids),
        objects=len(scan.objects),
        shown_images=len(selection.images),
        unreadable=scan.unreadable.total(),
        flagged=len(label_scores(issues)[0]),
        issues=dict(zip(ISSUE_KINDS, kinds, strict=True)),
        page_bytes=page.stat().st_size,
    )


def _failures(store: LabelStore, run_id: int, scan: Scan) -> Iterator[tuple[str, str, str]]:
    """What failed: ``item`` or ``video``, its name, and why."""
    for item, why in store.failures(run_id):
        yield "item", item.item_id, why
    for video in scan.videos:
        if video.error is not None:
            yield "video", video.record.name, video.error


def _json(
    store: LabelStore, run_id: int, scan: Scan, issues: Issues, options: ReportOptions
) -> Iterator[str]:
    """The issues as a JSON document, a line each, and what failed."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    yield "{\n"
    yield f'"run": {run_id}, "images": {len(scan.item_ids)}, "objects": {len(scan.objects)},\n'
    yield f'"background": {int((scan.object_counts == 0).sum())},\n'
    yield f'"thresholds": {line(asdict(options.thresholds))},\n'
    yield '"doubts": ['
    for number, issue in enumerate(issues):
        yield f"{',' if number else ''}\n{line(issue_record(issue, scan))}"
    yield '\n],\n"failed": ['
    for number, (kind, name, why) in enumerate(_failures(store, run_id, scan)):
        yield f"{',' if number else ''}\n{line({kind: name, 'reason': why})}"
    yield "\n]\n}\n"


@contextmanager
def _replaced(path: Path) -> Iterator[IO[str]]:
    """A text file that takes its place when it is whole."""
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
