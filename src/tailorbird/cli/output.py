"""How the command line shows things: tables and sentences for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

# rich is imported where something is drawn with it: a line or JSON needs none of it.
if TYPE_CHECKING:
    from tailorbird.runtime.imports import Progress as Told

__all__ = ["Output", "instant_text", "json_text", "plain", "printable", "value_text"]


def instant_text(instant: int | None) -> str:
    """Return an instant for people: UTC, to the second, without a midnight that says nothing; in ms where no calendar has it.

    >>> instant_text(0), instant_text(1_000), instant_text(None), instant_text(10**18)
    ('1970-01-01', '1970-01-01 00:00:01', '', '1000000000000000000 ms')
    """
    if instant is None:
        return ""
    try:
        text = datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{instant} ms"
    return text.removesuffix(" 00:00:00")


def value_text(value: Any) -> str:
    """Return a value for people; unknown is shown as such.

    >>> value_text(None), value_text(3.0), value_text(2.5), value_text(True)
    ('unknown', '3', '2.5', 'yes')
    """
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def plain(value: Any) -> Any:
    """Return a view as JSON-ready values; keys that are pairs become text."""
    return msgspec.to_builtins(value, str_keys=True, enc_hook=str)


def printable(text: str) -> str:
    """Return text with control characters shown instead of sent: what comes from outside must not steer a terminal.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return text if text.isprintable() else "".join(c if c in "\n\t" or not _steers(c) else f"\\x{ord(c):02x}" for c in text)


def _line(text: str) -> str:
    return printable(" ".join(text.split("\n")) if "\n" in text else text)


def _steers(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


def json_text(value: Any) -> str:
    """Return a view as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(plain(value)), indent=2).decode()


class Output:
    """Where a command's answer goes. ``json`` chooses the form; messages and progress go to the error stream."""

    def __init__(self, *, json: bool) -> None:
        self.json = json

    def say(self, text: str) -> None:
        """Print a line for people; nothing where JSON was asked for."""
        if not self.json:
            sys.stdout.write(printable(text) + "\n")
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print a remark that is not part of the answer."""
        sys.stderr.write(printable(text) + "\n")

    def data(self, value: Any) -> bool:
        """Print the value as JSON if that was asked for; return whether it was."""
        if self.json:
            sys.stdout.write(json_text(value) + "\n")
        return self.json

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()) -> None:
        """Print rows; the columns named in ``numbers`` stand at the right, and columns without any value are left out."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        cells = [
            ["" if cell is None else _line(cell if isinstance(cell, str) else value_text(cell)) for cell in row] for row in rows
        ]
        if not cells:
            self.note("none")
            return
        shown = [place for place in range(len(columns)) if any(row[place] for row in cells)]
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
        for place in shown:
            name = columns[place]
            table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
        for row in cells:
            table.add_row(*(Text(row[place]) for place in shown))
        # In a file or a pipe a row is a line, however long.
        console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 100_000)
        with console.capture() as drawn:
            console.print(table)
        sys.stdout.write("".join(line.rstrip() + "\n" for line in drawn.get().splitlines()))

    def facts(self, values: Mapping[str, Any]) -> None:
        """Print names and values in two columns."""
        width = max((len(name) for name in values), default=0)
        for name, value in values.items():
            self.say(f"{name.ljust(width)}  {value_text(value)}")

    @contextmanager
    def progress(self, label: str) -> Iterator[Told]:
        """Show a bar; what is given is called with how many are done and how many there are."""
        if not sys.stderr.isatty():  # a bar in a log file is noise
            yield lambda done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
