"""The command line: ``grounded-sam2 demo | predict | label | track | edit | export | …``.

Commands parse their options, call the library and print. Heavy modules are imported only when a
command runs, so that ``--help`` is fast.
"""

from grounded_sam2.cli.entry import console, main

__all__ = ["console", "main"]
