"""What every command needs: which database, which form of answer, and how errors are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from tailorbird.cli.output import Output, json_text
from tailorbird.errors import InvalidInput, TailorbirdError
from tailorbird.settings import Settings

if TYPE_CHECKING:
    from tailorbird.engine import Engine

__all__ = ["Session", "assignments", "fail"]


@dataclass
class Session:
    """The options before the command: where the database is and how to answer."""

    url: str | None
    output: Output

    @cached_property
    def settings(self) -> Settings:
        """The settings as the environment gives them; raise ``InvalidInput`` naming the variable that cannot be read."""
        try:
            return Settings()
        except ValueError as error:
            raise InvalidInput(str(error), hint="Correct it or unset it.") from None

    @property
    def database(self) -> str:
        """The database's URL: as given, else from the environment, else ``tailorbird.db`` here."""
        return self.settings.database_url if self.url is None else self.url

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """Open the engine for one command."""
        from tailorbird.engine import Engine  # here, so that help, version and wrong usage are answered at once

        engine = Engine.open(self.database, settings=self.settings)
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
        sys.stdout.write(json_text({"error": body}) + "\n")
    else:
        output.note(f"error: {error}")
    return 2 if error.status >= 500 else 1


def assignments(pairs: Sequence[str], what: str = "a value") -> dict[str, Any]:
    """Read ``name=value`` arguments: values that are JSON numbers, true, false, null, lists or objects are those, others text.

    >>> assignments(["total=42", "plan=pro", "zip=\\"01234\\""])
    {'total': 42, 'plan': 'pro', 'zip': '01234'}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise InvalidInput(f"{pair!r:.80} is not {what}.", hint="Write name=value.")
        try:
            found[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[name] = value
    return found
