"""Import time of `grounded_sam2` in fresh interpreters, compared with an empty one."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from timing import interleave, print_rows


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def main() -> None:
    contestants = {
        "nothing": partial(run, "pass"),
        "package": partial(run, "import grounded_sam2"),
        "ontology": partial(run, "from grounded_sam2 import CaptionOntology"),
        "façade": partial(run, "from grounded_sam2 import GroundedSAM2"),
    }
    times = interleave(contestants, repeats=9)
    base = times["nothing"].median
    rows = [
        [name, f"{1000 * timed.median:.0f} ms ±{timed.spread:.0%}",
         f"{1000 * (timed.median - base):.0f} ms"]
        for name, timed in times.items()
    ]  # fmt: skip
    print_rows("Import", ["", "interpreter", "above an empty one"], rows)


if __name__ == "__main__":
    main()
