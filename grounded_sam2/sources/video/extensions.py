"""Endings of files that are videos."""

from __future__ import annotations

__all__ = ["VIDEO_EXTENSIONS"]

VIDEO_EXTENSIONS = (
    *(".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v"),
    *(".mpg", ".mpeg", ".mpe", ".m2v", ".m2ts", ".mts", ".vob", ".3gp", ".3g2", ".ogv", ".mxf"),
    *(".y4m", ".divx", ".h264", ".h265", ".hevc", ".ivf", ".nut"),
)
"""What can be nothing else. GIFs may be images, and ``.ts`` TypeScript: their bytes tell."""
