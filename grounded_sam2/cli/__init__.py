"""The command line: ``grounded-sam2 demo | predict | label | export | info``.

A guest of the library: commands parse, call and print. Nothing heavy is imported until a command
runs, so that ``--help`` answers at once.
"""

from grounded_sam2.cli.entry import console, main

__all__ = ["console", "main"]
