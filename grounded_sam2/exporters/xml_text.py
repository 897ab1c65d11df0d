"""Text as XML 1.0 can hold it, in elements and between double quotes."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

__all__ = ["NOT_XML", "xml_text"]

NOT_XML = r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""A character that no XML document may hold, not even escaped; a regular expression."""

_ESCAPES = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def xml_text(text: str) -> str:
    """Text to be written into a document; what cannot be there becomes U+FFFD."""
    return escape(re.sub(NOT_XML, "\ufffd", text), _ESCAPES)
