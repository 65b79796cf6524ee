"""How far an index is: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

EVERY = 10.0  # seconds between two lines


class Progress:
    """Shows the progress of index builds for the length of a `with` block. Two threads share it.

    One thread runs the statements, and says when each begins and ends. The other one looks on and shows.

    Args:
        tell: takes a line, where there is no terminal.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        """Nothing is shown yet."""
        self.statement = 0  # the number of the statement that runs
        self._tell = tell
        self._bar: Any = None
        self._next_line = time.monotonic() + EVERY
        self._lock = threading.Lock()

    def __enter__(self) -> "Progress":
        """Begin."""
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Leave nothing on the terminal."""
        self.next_statement()

    def next_statement(self) -> None:
        """A statement begins or ends: leave nothing of the one before on the terminal."""
        with self._lock:
            self.statement += 1
            self._clear()

    def tell(self, line: str) -> None:
        """Print a line, on a terminal without the bar, which comes back at the next look."""
        with self._lock:
            self._clear()
            self._tell(line)

    def show(self, build: Any, statement: int) -> None:
        """Show how far a build is.

        Args:
            build: index, phase and the part of the phase that is done (0 to 1, None if unknown); None: there is none.
            statement: the number of the statement that was looked at; nothing is shown of one that has ended.
        """
        with self._lock:
            if build is None or statement != self.statement:
                self._clear()
            else:
                self._show(*build)

    def _clear(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, index: str, phase: str, part: float | None) -> None:
        if sys.stderr.isatty():
            self._show_bar(f"{index}: {phase}", part)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + EVERY
            self._tell(f"{index}: {phase}" + ("" if part is None else f", {part:.0%}"))

    def _show_bar(self, text: str, part: float | None) -> None:
        if self._bar is None:
            from rich import progress  # noqa: PLC0415 - a tenth of a second that only a long build is worth
            from rich.console import Console  # noqa: PLC0415

            columns = progress.SpinnerColumn(), progress.TextColumn("{task.description}"), progress.BarColumn()
            self._bar = progress.Progress(
                *columns, progress.TimeElapsedColumn(), console=Console(stderr=True), transient=True
            )
            self._bar.add_task(text, total=1)
            self._bar.start()
        self._bar.update(0, description=text, completed=part or 0)
