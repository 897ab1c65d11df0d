"""Text in XML 1.0 documents: escaping for elements and double-quoted attributes."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

__all__ = ["NOT_XML", "xml_text"]

NOT_XML = r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""Regular expression of a character that XML 1.0 forbids, even escaped."""

_ESCAPES = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def xml_text(text: str) -> str:
    """Escape text for a document; forbidden characters become U+FFFD."""
    return escape(re.sub(NOT_XML, "\ufffd", text), _ESCAPES)
