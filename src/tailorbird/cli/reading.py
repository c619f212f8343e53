"""Commands that ask: profile, timeline, why, evaluate, features, outbox, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tailorbird.cli.output import instant_text, json_text, value_text
from tailorbird.cli.session import Session
from tailorbird.core.action import ActionStatus

__all__ = ["add_to"]

REF = Annotated[str, typer.Argument(help="External id, kind:value (email:ann@example.com) or public id.")]
AS_OF = Annotated[str | None, typer.Option("--as-of", help="As of which instant (ISO 8601, UTC); default now.")]


def profile(context: typer.Context, ref: REF) -> None:
    """Show a person: identifiers, attributes, tags, consent, segments."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.profile(ref)
    output = session.output
    if output.data(found):
        return
    output.say(f"{found.id} ({found.kind}), since {instant_text(found.created_at)}")
    output.table(("identifier", "value"), [(i.kind, i.value) for i in found.identifiers])
    rows = [
        (name, value_text(value), *_origin(found.provenance.get(name)))
        for name, value in sorted(found.attributes.items())
        if value is not None
    ]
    if rows:
        output.table(("attribute", "value", "type", "source", "since"), rows)
    output.say(f"tags: {', '.join(found.tags) or 'none'}")
    output.say(
        "consent: " + (", ".join(f"{k} {'given' if v else 'withdrawn'}" for k, v in sorted(found.consents.items())) or "none")
    )
    output.say(f"segments: {', '.join(found.segments) or 'none'}")


def _origin(source: Any) -> tuple[str, str, str]:
    return ("", "", "") if source is None else (source.type, source.source, instant_text(source.at))


def timeline(
    context: typer.Context, ref: REF, limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    before: Annotated[str | None, typer.Option(help="The cursor that the page before ended with.")] = None,
) -> None:  # fmt: skip
    """Show what happened to a person, newest first."""
    session: Session = context.obj
    with session.engine() as engine:
        page = engine.timeline(ref, before=before, limit=limit)
    if session.output.data(page):
        return
    session.output.table(
        ("at", "event", "data", "source"), [(instant_text(e.at), e.type, value_text(e.data), e.source) for e in page.events]
    )
    if page.next:
        session.output.note(f"older: --before {page.next}")


def why(context: typer.Context, ref: REF, segment: Annotated[str, typer.Argument()], as_of: AS_OF = None) -> None:
    """Say why a person is or is not in a segment: which clause, which events, until when."""
    from tailorbird.expr.why import tell

    session: Session = context.obj
    with session.engine() as engine:
        reason = engine.why(ref, segment, as_of=as_of)
    if not session.output.data(reason):
        session.output.say(f"{ref} is {'' if reason.value is True else 'not '}in {segment}")
        session.output.say(tell(reason))


def evaluate(
    context: typer.Context,
    expression: Annotated[str, typer.Argument(help="An expression, such as: count(order.placed, within 30d) >= 2")],
    profile: Annotated[str | None, typer.Option("--profile", "-p", help="For this person; else how many it is true for.")] = None,
    as_of: AS_OF = None,
) -> None:
    """Evaluate an expression for one person, or count for how many it is true, as of any instant."""
    session: Session = context.obj
    with session.engine() as engine:
        answer = engine.evaluate(expression, profile=profile, as_of=as_of)
    if session.output.data(answer):
        return
    if answer.profile is not None:
        session.output.say(value_text(answer.value))
    else:
        share = f" ({100 * answer.count / answer.total:.1f} %)" if answer.count and answer.total else ""
        session.output.say(f"{value_text(answer.count)} of {value_text(answer.total)}{share}")


def features(
    context: typer.Context, ref: Annotated[str | None, typer.Argument(help="Whose; left out: what is defined.")] = None,
    names: Annotated[list[str] | None, typer.Argument(help="Features or views; default all.")] = None, as_of: AS_OF = None,
) -> None:  # fmt: skip
    """Show a person's features as of any instant, or which features there are."""
    session: Session = context.obj
    with session.engine() as engine:
        if ref is None:
            found = engine.feature_list()
            if not session.output.data(found):
                rows = [(f.name, f.type, f.value, ", ".join(f.views), instant_text(f.fresh_at), f.error) for f in found]
                session.output.table(("feature", "type", "value", "views", "fresh as of", "error"), rows)
            return
        values = engine.features(ref, names or None, as_of=as_of)
    if not session.output.data(values):
        session.output.facts(values)


def outbox(
    context: typer.Context, status: Annotated[ActionStatus | None, typer.Option(help="Only with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    requeue: Annotated[str | None, typer.Option(help="Try the action with this key again.")] = None,
) -> None:  # fmt: skip
    """Show actions on their way, and dead letters."""
    session: Session = context.obj
    with session.engine() as engine:
        if requeue is not None:
            engine.requeue(requeue)
        page = engine.outbox(status=status, limit=limit)
    if session.output.data(page):
        return
    columns = ("key", "kind", "connector", "status", "attempts", "due", "error")
    rows = [(a.key, a.kind, a.connector, str(a.status), str(a.attempts), instant_text(a.due), a.error) for a in page.actions]
    session.output.table(columns, rows, numbers=("attempts",))


def export(context: typer.Context, ref: REF, to: Annotated[Path | None, typer.Option(help="Write to this file.")] = None) -> None:
    """Write everything known about one person as JSON."""
    session: Session = context.obj
    with session.engine() as engine:
        document = engine.export(ref)
    if to is None:
        sys.stdout.write(json_text(document) + "\n")
    else:
        to.write_text(json_text(document) + "\n", encoding="utf-8")
        session.output.note(f"written to {to}")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (profile, timeline, why, evaluate, features, outbox, export):
        app.command()(command)
