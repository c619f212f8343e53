"""Commands that change people: tag, consent, merge, merges, unmerge, forget."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tailorbird.cli.output import instant_text, plain
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
        tags_now = engine.profile(ref).tags
    if not session.output.data({"tags": tags_now}):
        session.output.say(f"tags: {', '.join(tags_now) or 'none'}")


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
        consents = engine.profile(ref).consents
    if not session.output.data({"consents": consents}):
        given = consents.get(f"{channel}/{purpose}", False)
        session.output.say(f"{channel}/{purpose}: {'given' if given else 'not given'}")


def merge(context: typer.Context, winner: REF, loser: REF, reason: Annotated[str, typer.Option()] = "by hand") -> None:
    """Make two profiles one; nothing is lost, and it can be undone."""
    session: Session = context.obj
    with session.engine() as engine:
        done = engine.merge(winner, loser, reason=reason)
    if not session.output.data(done):
        session.output.say(f"merged; undo with: tailorbird unmerge {done.id}")


def merges(context: typer.Context, ref: REF) -> None:
    """List the merges that a profile took part in."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.merges(ref)
        people = engine.store.profiles(sorted({key for merge in found for key in (merge.winner, merge.loser)}))
    names = {key: profile.id for key, profile in people.items()}
    shown = [{**plain(m), "winner": names.get(m.winner), "loser": names.get(m.loser)} for m in found]
    if not session.output.data(shown):
        rows = [
            (m.id, names.get(m.winner), names.get(m.loser), instant_text(m.at), m.reason, instant_text(m.undone_at))
            for m in found
        ]
        session.output.table(("merge", "winner", "loser", "at", "reason", "undone"), rows)


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
    if not yes and (session.output.json or not sys.stdin.isatty()):
        raise InvalidInput("Nothing was erased: there is nobody to ask.", hint="Say --yes if you are sure.")
    if not yes and not typer.confirm(f"Erase {ref} and everything known about them, for good?"):
        raise InvalidInput("Nothing was erased.")
    with session.engine() as engine:
        done = engine.forget(ref)
    if not session.output.data(done):
        session.output.say("forgotten")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (tag, consent, merge, merges, unmerge, forget):
        app.command()(command)
