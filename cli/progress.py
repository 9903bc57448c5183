"""Progress of a long command on standard error: a bar on a terminal, events for programs."""

import json
import signal
import sys
import time
from types import TracebackType
from typing import Any, Self

from divmatch.cli.main import say

PATIENCE = 0.5  # seconds before a bar appears: short runs show none


class Progress:
    """Counts items. auto: a bar on a terminal; always: a bar anywhere; json: one event an item."""

    def __init__(self, mode: str, total: int | None, what: str) -> None:
        self.mode, self.total, self.what = mode, total, what
        self.count, self.name = 0, ""
        self.started = time.perf_counter()
        self.bar: Any = None
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self.drawn = mode == "always" or (mode == "auto" and terminal)

    def __enter__(self) -> Self:
        """Answer SIGUSR1 with a line of status while running."""
        if hasattr(signal, "SIGUSR1"):
            self._before = signal.signal(signal.SIGUSR1, self._status)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
        if hasattr(signal, "SIGUSR1"):
            signal.signal(signal.SIGUSR1, self._before)

    def at(self, name: str) -> None:
        """Start with an item."""
        self.name = name
        if self.drawn and self.bar is None and time.perf_counter() - self.started > PATIENCE:
            self._open()
        if self.bar is not None:
            self.bar.update(self.task, description=name)

    def done(self) -> None:
        """Finish an item."""
        self.count += 1
        if self.bar is not None:
            self.bar.update(self.task, completed=self.count)
        if self.mode == "json":
            event = {
                "event": "progress",
                "done": self.count,
                "total": self.total,
                "item": self.name,
            }
            say(json.dumps(event), prefix="")

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(file=sys.stderr)
        self.bar = Bar(*shown, TimeRemainingColumn(), console=console, transient=True)
        self.task = self.bar.add_task(self.name, total=self.total, completed=self.count)
        self.bar.start()

    def _status(self, number: int, frame: object) -> None:
        seconds = time.perf_counter() - self.started
        of = "" if self.total is None else f" of {self.total}"
        say(f"{self.what}: {self.count}{of} done in {seconds:.0f} s, now {self.name}")
