"""Commands that change people: tag, consent, merge, unmerge, forget."""

from __future__ import annotations

from typing import Annotated

import typer

from tailorbird.cli.session import Session
from tailorbird.errors import InvalidInput

__all__ = ["add_to"]

REF = Annotated[str, typer.Argument(help="External id, kind:value or public id.")]


def tag(
    context: typer.Context, ref: REF, tags: Annotated[list[str], typer.Argument()],
    remove: Annotated[bool, typer.Option("--remove", help="Take the tags away instead.")] = False,
) -> None:  # fmt: skip
    """Give tags to a person."""
    session: Session = context.obj
    with session.engine() as engine:
        (engine.untag if remove else engine.tag)(ref, *tags)
        session.output.say(f"tags: {', '.join(engine.profile(ref).tags) or 'none'}")


def consent(
    context: typer.Context, ref: REF, channel: Annotated[str, typer.Argument(help="email, sms, …")],
    purpose: Annotated[str, typer.Argument(help="marketing, newsletter, …")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="The person withdraws it.")] = False,
    explicit: Annotated[bool, typer.Option("--explicit", help="It is the person's own word: it undoes an earlier opt-out.")] = False,
    proof: Annotated[str | None, typer.Option(help="How we know, in words.")] = None,
) -> None:  # fmt: skip
    """Record consent, or that it was withdrawn."""
    session: Session = context.obj
    with session.engine() as engine:
        evidence = {"method": "cli", "text": proof} if proof else None
        engine.consent(ref, channel, purpose, not withdraw, explicit=explicit, proof=evidence)
        given = engine.profile(ref).consents.get(f"{channel}/{purpose}", False)
    session.output.say(f"{channel}/{purpose}: {'given' if given else 'not given'}")


def merge(context: typer.Context, winner: REF, loser: REF, reason: Annotated[str, typer.Option()] = "by hand") -> None:
    """Make two profiles one; nothing is lost, and it can be undone."""
    session: Session = context.obj
    with session.engine() as engine:
        done = engine.merge(winner, loser, reason=reason)
    if not session.output.data(done):
        session.output.say(f"merged; undo with: tailorbird unmerge {done.id}")


def unmerge(context: typer.Context, merge_id: Annotated[str, typer.Argument()]) -> None:
    """Undo a merge."""
    session: Session = context.obj
    with session.engine() as engine:
        done = engine.unmerge(merge_id)
    if not session.output.data(done):
        session.output.say("undone")


def forget(context: typer.Context, ref: REF, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Erase a person everywhere, for good."""
    session: Session = context.obj
    if not yes and not typer.confirm(f"Erase {ref} and everything known about them, for good?"):
        raise InvalidInput("Nothing was erased.")
    with session.engine() as engine:
        done = engine.forget(ref)
    if not session.output.data(done):
        session.output.say("forgotten")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (tag, consent, merge, unmerge, forget):
        app.command()(command)
