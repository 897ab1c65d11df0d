"""Rendering of the page: one self-contained HTML file, by Jinja from `template/`.

Its Content-Security-Policy allows this style, this script and embedded images, and no network. A
file name that contains markup is therefore harmless twice: the template escapes it, and the policy
would not run it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import IO, Any

import jinja2
from markupsafe import Markup

from grounded_sam2 import __version__
from grounded_sam2.report.messages import format_percent
from grounded_sam2.report.svg_paths import UNITS
from grounded_sam2.report.views import ImageView

__all__ = ["render_image_card", "write_page"]

_PALETTE = 12
"""Number of class colors in the style sheet, used cyclically."""
_CHUNK_SIZE = 1 << 16
"""Characters of the image cards to read at a time."""


def write_page(file: IO[str], contents: Mapping[str, Any], cards: IO[str]) -> None:
    """Write the page incrementally.

    Args:
        file: the file to write.
        contents: variables of the template; see `grounded_sam2.report.page_contents`.
        cards: file with the concatenated results of `render_image_card` for the images shown.
    """
    style, script = _asset("report.css"), _asset("report.js")
    page = _templates().get_template("report.html")
    file.writelines(
        page.generate(
            contents,
            style=Markup(style),
            script=Markup(script),
            style_hash=_source_hash(style),
            script_hash=_source_hash(script),
            version=__version__,
            cards=_read_chunks(cards),
        )
    )


def render_image_card(view: ImageView) -> str:
    """Return the HTML of one embedded image."""
    objects = [
        [
            found.class_id,
            found.label.caption,
            found.label.confidence,
            found.label.mask_quality,
            float(f"{found.area_fraction:.3g}"),
            found.label.origin == "human",
            found.label.mask is not None,
            found.detected_path,
            found.reasons,
            found.label.track_id,
            found.label.track_origin,
        ]
        for found in view.objects
    ]
    data = {
        "name": view.item_id,
        "time": view.time,
        "split": view.split,
        "size": view.size_hw,
        "missing": view.missing,
        "objects": objects,
    }
    flagged = sum(bool(found.reasons) for found in view.objects)
    card = _templates().get_template("image.html")
    return card.render(view=view, flagged=flagged, data=data)


def _read_chunks(file: IO[str]) -> Iterator[Markup]:
    file.seek(0)
    while chunk := file.read(_CHUNK_SIZE):
        yield Markup(chunk)


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("grounded_sam2.report", "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Any] = {
        "number": lambda value: f"{value:,}",
        "percent": format_percent,
        "score": lambda value: "–" if value is None else f"{value:.2f}",
    }
    environment.filters.update(filters)
    environment.globals.update(palette=_PALETTE, units=UNITS)
    return environment


def _asset(name: str) -> str:
    return files("grounded_sam2.report").joinpath("template", name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """The source expression of an inline style or script in a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
