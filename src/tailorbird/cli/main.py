"""``tailorbird``: the commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tailorbird import __version__
from tailorbird.cli import authoring, changing, intake, reading, segments, serving
from tailorbird.cli.output import Output
from tailorbird.cli.session import Session, fail
from tailorbird.errors import TailorbirdError

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


for module in (authoring, intake, reading, segments, changing, serving):
    module.add_to(app)


def main() -> None:
    """Run the command line; errors are told in their own words, without a trace."""
    arguments = sys.argv[1:]
    # --json is welcome after the command too.
    if "--json" in arguments and "--" not in arguments:
        arguments = ["--json", *(a for a in arguments if a != "--json")]
    try:
        app(arguments)
    except TailorbirdError as error:
        sys.exit(fail(error, Output(json="--json" in arguments)))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
