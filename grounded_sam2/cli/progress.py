"""The progress bar of a run: images done, images per second, time left.

Images that an earlier run had settled pass in no time. They count as done, but not for the
speed, so that a continued run does not promise to end at once.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

__all__ = ["ProgressBar", "VideoProgressBar"]


class ProgressBar:
    """Progress bar of a run over images, on standard error; a context manager.

    Implements `grounded_sam2.engine.image_run.Progress`. Draws nothing before the run begins, and
    nothing at all where there is no terminal, so that logs stay free of bars.

    Args:
        doing: what is being done to the images.
        unit: what they are called.
        console: where to draw; standard error if ``None``.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        doing: str = "labeling",
        *,
        unit: str = "images",
        console: Console | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._unit = unit
        console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[failed]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(doing, total=None, speed="", left="", failed="")
        self._began = clock()
        self._total: int | None = None
        self._settled = self._worked = self._failed = 0

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def start(self, total: int | None) -> None:
        """See `grounded_sam2.engine.image_run.Progress`; ``None`` where no end is in sight."""
        self._began = self._clock()
        self._total = total
        self._progress.update(self._task, total=total)
        self._progress.start()

    def advance(self, *, labeled: int, failed: int, skipped: int) -> None:
        """See `grounded_sam2.engine.image_run.Progress`."""
        self._settled += labeled + failed + skipped
        self._worked += labeled + failed
        self._failed += failed
        seconds = self._clock() - self._began
        speed = left = ""
        if self._worked and seconds > 0:
            rate = self._worked / seconds
            speed = f"{rate:.1f} {self._unit}/s"
            if self._total is not None:  # of videos, it is what their file says
                left = f"{_duration(max(0, self._total - self._settled) / rate)} left"
        self._progress.update(
            self._task,
            completed=self._settled,
            speed=speed,
            left=left,
            failed=f"[red]{self._failed} failed" if self._failed else "",
        )


class VideoProgressBar:
    """One `ProgressBar` per video.

    Implements `grounded_sam2.engine.video_summaries.VideoProgress`.
    """

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None
        self._earlier = False

    def __enter__(self) -> VideoProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, traceback)

    def start(self, name: str, total: int | None) -> None:
        """See `grounded_sam2.engine.video_summaries.VideoProgress`."""
        self.__exit__(None, None, None)
        self._bar, self._earlier = ProgressBar(name, unit="frames"), True
        self._bar.start(total)

    def advance(self, frames: int) -> None:
        """See `grounded_sam2.engine.video_summaries.VideoProgress`."""
        assert self._bar is not None, "a video begins before its frames come"
        now, before = (0, frames) if self._earlier else (frames, 0)
        self._earlier = False
        self._bar.advance(labeled=now, failed=0, skipped=before)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
