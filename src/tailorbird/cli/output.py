"""How the command line shows things: tables and sentences for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tailorbird.runtime.imports import Progress as Told

__all__ = ["Output", "instant_text", "plain", "value_text"]


def instant_text(instant: int | None) -> str:
    """Return an instant for people: UTC, to the second, without a midnight that says nothing.

    >>> instant_text(0), instant_text(1_000), instant_text(None)
    ('1970-01-01', '1970-01-01 00:00:01', '')
    """
    if instant is None:
        return ""
    text = datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
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


class Output:
    """Where a command's answer goes. ``json`` chooses the form; messages and progress go to the error stream."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self._out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
        self._err = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def say(self, text: str) -> None:
        """Print a line for people; nothing where JSON was asked for."""
        if not self.json:
            self._out.print(text)

    def note(self, text: str) -> None:
        """Print a remark that is not part of the answer."""
        self._err.print(text)

    def data(self, value: Any) -> bool:
        """Print the value as JSON if that was asked for; return whether it was."""
        if self.json:
            sys.stdout.write(msgspec.json.format(msgspec.json.encode(plain(value)), indent=2).decode() + "\n")
        return self.json

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", numbers: Sequence[str] = ()
    ) -> None:
        """Print rows; the columns named in ``numbers`` stand at the right."""
        table = Table(
            title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0)
        )
        for name in columns:
            table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*("" if cell is None else cell if isinstance(cell, str) else value_text(cell) for cell in row))
        Console(highlight=False, markup=False, emoji=False, width=None if self._out.is_terminal else 200).print(table)

    def facts(self, values: Mapping[str, Any]) -> None:
        """Print names and values in two columns."""
        width = max((len(name) for name in values), default=0)
        for name, value in values.items():
            self._out.print(f"{name.ljust(width)}  {value_text(value)}")

    @contextmanager
    def progress(self, label: str) -> Iterator[Told]:
        """Show a bar; what is given is called with how many are done and how many there are."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._err, transient=False) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
