"""What every command needs: which database, which form of answer, and how errors are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from tailorbird.cli.output import Output
from tailorbird.engine import Engine
from tailorbird.errors import InvalidInput, TailorbirdError
from tailorbird.settings import Settings

__all__ = ["Session", "assignments", "fail"]


@dataclass(slots=True)
class Session:
    """The options before the command: where the database is and how to answer."""

    url: str | None
    output: Output

    @property
    def database(self) -> str:
        """The database's URL: as given, else from the environment, else ``tailorbird.db`` here."""
        return self.url or Settings().database_url

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """Open the engine for one command."""
        engine = Engine.open(self.database)
        try:
            yield engine
        finally:
            engine.close()


def fail(error: TailorbirdError, output: Output) -> int:
    """Tell an error and return the exit code: 1 for what was asked wrongly, 2 for what could not be done now."""
    if output.json:
        body = {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "mistakes": [m.render() for m in error.mistakes],
        }
        sys.stdout.write(msgspec.json.format(msgspec.json.encode({"error": body})).decode() + "\n")
    else:
        output.note(f"error: {error}")
    return 2 if error.status >= 500 else 1


def assignments(pairs: Sequence[str], what: str = "value") -> dict[str, Any]:
    """Read ``name=value`` arguments: values that are JSON numbers, true, false, null, lists or objects are those, others text.

    >>> assignments(["total=42", "plan=pro", "zip=\\"01234\\""])
    {'total': 42, 'plan': 'pro', 'zip': '01234'}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise InvalidInput(f"{pair!r:.80} is not a {what}.", hint="Write name=value.")
        try:
            found[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[name] = value
    return found
