"""A page that shows what was labeled, and which labels are worth a look first.

    from grounded_sam2.report import write_report

    summary = write_report("labeled")  # labeled/report.html

A report is a pure function of the label store and the images; it needs no model. It goes through
the store twice: once to measure everything (`scan`), and, when it is clear what is flagged
(`issues`) and what to show (`selection`), once more for the images that are shown (`views`).
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
