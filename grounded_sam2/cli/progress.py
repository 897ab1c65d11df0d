"""The progress bar of a run: images done, images per second, time left.

Images that an earlier run has processed take no time. They count as done, but not for the speed:
else a continued run would show a time left near zero.
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

    Implements `grounded_sam2.results.ImageProgress`. Draws nothing before the run begins,
    and nothing at all where there is no terminal, so that logs stay free of bars.

    Args:
        activity: text before the bar.
        unit: plural noun after the speed.
        console: where to draw; standard error if ``None``.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        activity: str = "labeling",
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
        self._task = self._progress.add_task(activity, total=None, speed="", left="", failed="")
        self._start_time = clock()
        self._total: int | None = None
        self._done = self._processed = self._failed = 0

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
        """See `grounded_sam2.results.ImageProgress`; ``None`` if the total is unknown."""
        self._start_time = self._clock()
        self._total = total
        self._progress.update(self._task, total=total)
        self._progress.start()

    def advance(self, *, labeled: int, failed: int, skipped: int) -> None:
        """See `grounded_sam2.results.ImageProgress`."""
        self._done += labeled + failed + skipped
        self._processed += labeled + failed
        self._failed += failed
        seconds = self._clock() - self._start_time
        speed = left = ""
        if self._processed and seconds > 0:
            rate = self._processed / seconds
            speed = f"{rate:.1f} {self._unit}/s"
            if self._total is not None:  # a video's header may give too few frames
                left = f"{_duration(max(0, self._total - self._done) / rate)} left"
        self._progress.update(
            self._task,
            completed=self._done,
            speed=speed,
            left=left,
            failed=f"[red]{self._failed} failed" if self._failed else "",
        )


class VideoProgressBar:
    """One `ProgressBar` per video.

    Implements `grounded_sam2.results.VideoProgress`.
    """

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None
        self._first_advance = False

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
        """See `grounded_sam2.results.VideoProgress`."""
        self.__exit__(None, None, None)
        self._bar, self._first_advance = ProgressBar(name, unit="frames"), True
        self._bar.start(total)

    def advance(self, frames: int) -> None:
        """See `grounded_sam2.results.VideoProgress`."""
        assert self._bar is not None, "start() comes before advance()"
        # The first call counts the frames of earlier runs.
        labeled, skipped = (0, frames) if self._first_advance else (frames, 0)
        self._first_advance = False
        self._bar.advance(labeled=labeled, failed=0, skipped=skipped)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
