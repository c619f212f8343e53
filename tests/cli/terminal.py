"""A terminal for tests: runs the command line in this process and keeps what it said and how it ended."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from tailorbird.cli.main import main


@dataclass(frozen=True)
class Ran:
    """What a command did: exit code, answer, remarks."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer read as JSON."""
        return json.loads(self.out)


def run(*arguments: str) -> Ran:
    """Run a command and return what it did, however it ends; a trace in what it says fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return Ran(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Terminal:
    """Commands on one database. ``cli(…)`` must succeed, ``cli.fails(…)`` must not; ``cli.json(…)`` gives the JSON answer."""

    database: str

    def __call__(self, *arguments: str) -> str:
        """Run a command that must succeed; return what it answers people."""
        ran = run("--database", self.database, *arguments)
        assert ran.code == 0, ran.err
        return ran.out

    def json(self, *arguments: str) -> Any:
        """Run a command that must succeed; return its JSON."""
        ran = run("--database", self.database, *arguments, "--json")
        assert ran.code == 0, ran.out
        return ran.json

    def fails(self, *arguments: str, code: int = 1) -> str:
        """Run a command that must end with this code; return what it said."""
        ran = run("--database", self.database, *arguments)
        assert ran.code == code, (ran.code, ran.out, ran.err)
        return ran.err
