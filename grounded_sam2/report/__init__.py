"""Report of a run: one HTML page with statistics, images, and the labels to review first.

    from grounded_sam2.report import write_report

    summary = write_report("labeled")  # labeled/report.html

A report is a pure function of the label store and the images; no model is needed. The store is read
twice: once to measure all labels (`scan`), and, after the issues have been found (`rules`) and the
images selected (`selection`), once more to load the images that are shown (`views`).
"""

from grounded_sam2.report.issues import ISSUE_KINDS, IssueKind
from grounded_sam2.report.options import ReportOptions, Thresholds
from grounded_sam2.report.writer import ReportSummary, write_report

__all__ = [
    "ISSUE_KINDS",
    "IssueKind",
    "ReportOptions",
    "ReportSummary",
    "Thresholds",
    "write_report",
]
