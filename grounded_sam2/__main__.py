"""``python -m grounded_sam2``: the command line, where the installed command is not on the path."""

from __future__ import annotations

from grounded_sam2.cli import console

__all__ = ["console"]

if __name__ == "__main__":
    console()
