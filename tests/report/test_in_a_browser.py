"""The page in Chromium, opened as a file, with its Content-Security-Policy enforced."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from grounded_sam2.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]


def after_scripts(page: Path, profile: Path) -> str:
    """The document after the page's scripts have run."""
    ran = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",  # which root may not use
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            "--dump-dom",
            page.as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return ran.stdout.decode()


def test_scripts_and_style_run(labeled, clean, tmp_path) -> None:
    for index in range(30):
        labeled.add(f"{index:02d}.png", clean(labeled.disc(), confidence=0.3), seed=index)
    labeled.add("copy.png", clean(labeled.disc()), seed=0)
    page = write_report(labeled.folder, tmp_path / "out.html").page
    document = after_scripts(page, tmp_path / "profile")
    assert '<output id="image-count" class="soft">31 shown</output>' in document
    assert document.count('<svg viewBox="0 0 400 190"') == 3  # the histograms
    assert document.count('<rect class="bar-all"') > 3
    labels = re.findall(r'<li class="issue"[^>]*>', document)
    assert [" data-folded" in label for label in labels] == [False] * 24 + [True] * 6
    assert "Show 6 more</button>" in document
    alike = re.search(r'<li class="group">.*?</li>', document, flags=re.DOTALL)
    assert alike is not None
    assert alike[0].count("data:image/webp;base64,") == 2  # taken from the grid


def test_a_page_of_an_empty_store(labeled, tmp_path) -> None:
    page = write_report(labeled.folder, tmp_path / "out.html").page
    assert after_scripts(page, tmp_path / "profile").count(">No objects.</p>") == 3
