"""``tailorbird``: the commands."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tailorbird import __version__
from tailorbird.cli import (
    agents,
    authoring,
    changing,
    connecting,
    contacts,
    content,
    crm,
    directory,
    enriching,
    intake,
    narrative,
    reading,
    segments,
    serving,
    simulating,
)
from tailorbird.cli.output import Output
from tailorbird.cli.session import Session, fail
from tailorbird.errors import InvalidInput, TailorbirdError, Unavailable

__all__ = ["app", "main"]

app = typer.Typer(
    name="tailorbird",
    help="Personalization for the CRM a team already has: exact live segments, features and decisions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    context: typer.Context,
    database: Annotated[
        str | None,
        typer.Option("--database", "-d", help="A file's path, sqlite:///path or postgresql://…; default tailorbird.db here."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Take the options that stand before every command."""
    context.obj = Session(database, Output(json=json))


@app.command()
def version(context: typer.Context) -> None:
    """Print the version."""
    output: Output = context.obj.output
    if not output.data({"version": __version__}):
        output.say(__version__)


for module in (
    authoring, intake, reading, segments, changing, contacts, directory, enriching, connecting, crm, content, narrative, agents,
    serving, simulating,
):  # fmt: skip
    module.add_to(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 asked wrongly, 2 wrong usage or not possible now; errors never show a trace."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # --json is welcome after the command too.
    json = "--json" in (given[: given.index("--")] if "--" in given else given)
    if json:
        given.remove("--json")
        given.insert(0, "--json")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a letter must not end the command
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(_run(given, Output(json=json)))


def _run(arguments: list[str], output: Output) -> int:
    try:
        # For people typer itself tells wrong usage, in a frame; programs get it as JSON.
        done = app(arguments, prog_name="tailorbird", standalone_mode=not output.json)
        return done if isinstance(done, int) else 0
    except TailorbirdError as error:
        return fail(error, output)
    except typer.TyperException as error:
        return fail(InvalidInput(error.format_message(), hint="See: tailorbird --help"), output) and error.exit_code
    except BrokenPipeError:  # whoever read has seen enough, as in: tailorbird timeline ann | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        named = f": {error.filename}" if error.filename else ""
        return fail(Unavailable(f"{error.strerror or error}{named}"), output)
    except (KeyboardInterrupt, typer.Abort):
        return 130


if __name__ == "__main__":
    main()
