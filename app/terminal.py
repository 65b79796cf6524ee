"""All that commands print: text from a database or an argument is shown on a terminal, and never obeyed by it."""

import codecs
import csv
import errno
import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NoReturn

from app.errors import SetupError, printable

WIDE = 200  # columns of a table where nobody looks at a terminal
FOLDED = 20  # columns below which no value of a table is folded
OBEYED_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r")


def say(line: str = "") -> None:
    """Print one line. A line break inside it is shown, so nobody's name becomes a line of its own."""
    print(printable(line))


def say_json(value: object) -> None:
    """Print a value as JSON."""
    print(json_in_ascii(json.dumps(value, indent=2, default=as_text)))


def as_text(value: object) -> str:
    """What JSON has no type for: an id, a time."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def counted(number: int, thing: str, things: str = "") -> str:
    """A number of things, as in "1 chatbot" and "2 chatbots"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {things or f'{thing}s'}"


def json_in_ascii(text: str) -> str:
    """JSON as PostgreSQL writes it, in printable ASCII. Also a part of a text, since each character stands alone."""
    return text.replace("\x7f", r"\u007f").encode("ascii", "escaped in JSON").decode("ascii")


def escaped_in_json(error: UnicodeError) -> tuple[str, int]:
    """Escape what ASCII lacks, as an error handler of `str.encode`."""
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101 - of nothing else
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error("escaped in JSON", escaped_in_json)


def fail(error: object) -> NoReturn:
    """End the command with a sentence.

    Args:
        error: a `SetupError`, or a text of our own, whose line breaks are ours as well.
    """
    sys.exit(f"Error: {error}")


def say_csv(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print CSV as RFC 4180 has it. Values are as they are, but on a terminal, and where a spreadsheet would obey."""

    def told(value: object) -> object:
        if not isinstance(value, str):
            return value
        harmless = f"'{value}" if value.startswith(OBEYED_BY_SPREADSHEETS) else value
        return printable(harmless) if sys.stdout.isatty() else harmless

    writer = csv.writer(sys.stdout, lineterminator="\n" if sys.stdout.isatty() else "\r\n")
    writer.writerow(headings)
    writer.writerows([told(value) for value in row] for row in rows)


def say_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Collection[str] = ()) -> None:
    """Print a line for each row; on a terminal that is too narrow for that, a line for each value.

    Args:
        headings: of the columns.
        rows: the values of each.
        numbers: the headings of the columns that are aligned to the right.
    """
    from rich.cells import cell_len  # noqa: PLC0415 - a tenth of a second that only tables are worth
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = [[printable(value) for value in row] for row in rows]
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    columns = zip(headings, *shown, strict=True)
    narrowest = sum(min(max(map(cell_len, column)), FOLDED) + 1 for column in columns) - 1
    if narrowest > console.width:
        for row in shown:
            print(*(f"{heading}: {value}" for heading, value in zip(headings, row, strict=True) if value), "", sep="\n")
        return
    made = Table(box=None, pad_edge=False)
    for heading in headings:
        is_number = heading in numbers
        made.add_column(heading, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    for row in shown:
        made.add_row(*map(Text, row))
    console.print(made)


@contextmanager
def errors_end_the_command() -> Iterator[None]:
    """End the command with the sentence of an error, also where its output cannot be written or somebody stops it."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except SetupError as error:
        fail(error)
    except OSError as error:
        if error.filename is not None or error.errno not in {errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG}:
            raise
        discard_output()
        fail(
            f"The output cannot be written ({os.strerror(error.errno)}): mend that. What the command did is done,"
            " so look before you run it again."
        )
    except KeyboardInterrupt:
        discard_output()
        fail("interrupted: run the same command again, which goes on where this one stopped.")


def discard_output() -> None:
    """Have what is still buffered go nowhere, or Python would fail on it once more as it ends."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a descriptor
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
