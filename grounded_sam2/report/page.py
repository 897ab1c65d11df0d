"""The page itself: one HTML file that needs nothing else, filled by Jinja from `template/`.

It carries its own rules for what a browser may do with it: a Content-Security-Policy that allows
this style, this script and embedded images, and no network. So a file name that holds markup is
text twice over: the template escapes it, and the policy would not run it.
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
from grounded_sam2.report.messages import percent
from grounded_sam2.report.svg_paths import UNITS
from grounded_sam2.report.views import ImageView

__all__ = ["render_image_card", "write_page"]

_PALETTE = 12
"""Colours of the style sheet, which classes take in turn."""
_PIECE = 1 << 16
"""Characters of cards that are read at once."""


def write_page(file: IO[str], contents: Mapping[str, Any], cards: IO[str]) -> None:
    """Write the page, piece by piece.

    Args:
        file: to write to.
        contents: what the template is told; see `grounded_sam2.report.page_contents`.
        cards: what `render_image_card` gave for the images shown, one after another.
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
            cards=_pieces(cards),
        )
    )


def render_image_card(view: ImageView) -> str:
    """The HTML of one embedded image."""
    objects = [
        [
            found.class_id,
            found.label.caption,
            found.label.confidence,
            found.label.mask_quality,
            float(f"{found.share:.3g}"),
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


def _pieces(file: IO[str]) -> Iterator[Markup]:
    file.seek(0)
    while piece := file.read(_PIECE):
        yield Markup(piece)


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
        "percent": percent,
        "score": lambda value: "–" if value is None else f"{value:.2f}",
    }
    environment.filters.update(filters)
    environment.globals.update(palette=_PALETTE, units=UNITS)
    return environment


def _asset(name: str) -> str:
    return files("grounded_sam2.report").joinpath("template", name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """How a Content-Security-Policy names an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
