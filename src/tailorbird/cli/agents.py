"""Commands for agents and those who serve them: mcp, invoke, personalization."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from tailorbird.cli.session import Session
from tailorbird.errors import Unavailable

__all__ = ["add_to"]


def mcp(
    context: typer.Context,
    allow_writes: Annotated[bool, typer.Option("--allow-writes", help="Also the tools that change something.")] = False,
) -> None:
    """Serve the MCP tools over standard input and output, for an agent that starts this command."""
    if find_spec("mcp") is None:
        raise Unavailable("The MCP package is not installed.", hint="Install it with: pip install 'tailorbird[mcp]'")
    from tailorbird.mcp.stdio import serve_stdio

    session: Session = context.obj
    with session.engine() as engine:
        serve_stdio(engine, writes=allow_writes)


def invoke(
    context: typer.Context,
    contact: Annotated[str, typer.Argument(help="A public id, an external id, or kind:value.")],
    limit: Annotated[int, typer.Option(help="How many of the latest interactions to show.")] = 20,
    query: Annotated[str | None, typer.Option(help="What the narrative should answer.")] = None,
) -> None:
    """Say everything about a contact: who they are, their segment, how to reach them, what to say, what is missing."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.service.invoke(contact, limit, query)
    if session.output.data(found):
        return
    judged = found.segmentation
    session.output.facts(
        {
            "segment": judged.segment, "interactions": judged.interaction_count,
            "preferred channel": judged.personalization.preferred_channel,
            "recommended": ", ".join(judged.personalization.recommended_content), "missing": ", ".join(found.data_gaps),
        }
    )  # fmt: skip
    session.output.say(found.narrative)


def personalization(context: typer.Context) -> None:
    """Print the rules of the service that are in force, as a file to edit and apply."""
    import yaml

    from tailorbird.definitions.files import read
    from tailorbird.definitions.shipped import PERSONALIZATION

    session: Session = context.obj
    with session.engine() as engine:
        active = engine.loop.catalog.personalization
    chosen = read(PERSONALIZATION)[0] if active is None else active
    if session.output.data({"kind": chosen.kind, "name": chosen.name, **chosen.spec}):
        return
    if active is None:  # the file as it is shipped, with what it explains
        session.output.say(PERSONALIZATION.read_text(encoding="utf-8").rstrip("\n"))
    else:
        shown = {"kind": active.kind, "name": active.name, **active.spec}
        session.output.say(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120).rstrip("\n"))


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (mcp, invoke, personalization):
        app.command()(command)
