"""Commands of the small CRM: ``tailorbird contacts …``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tailorbird.cli.output import instant_text, value_text
from tailorbird.cli.session import Session, assignments

__all__ = ["add_to", "group"]

REF = Annotated[str, typer.Argument(help="External id, kind:value or public id.")]
ID = Annotated[str, typer.Argument(help="The record's id.")]
AFTER = Annotated[str | None, typer.Option(help="The cursor that the page before ended with.")]
LIMIT = Annotated[int, typer.Option(min=1, max=1000)]
AMOUNT = Annotated[float | None, typer.Option(help="What it is worth.")]
CURRENCY = Annotated[str | None, typer.Option(help="EUR, USD, …")]

group = typer.Typer(help="Contacts: stages, engagements, notes, tasks, deals, companies.", no_args_is_help=True)


@group.command()
def stage(context: typer.Context, ref: REF) -> None:
    """Show where a contact stands in the life cycle, and how they came there."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.stage(ref)
    if session.output.data(found):
        return
    session.output.say(" · ".join(f"[{name}]" if name == found.stage else name for name in found.stages))
    if found.stage not in found.stages:
        session.output.say(f"status: {found.stage} (no stage of {found.lifecycle})")
    for move in found.moves:
        why = f"{move.rule}: {move.reason}" if move.reason else move.rule
        session.output.say(f"{instant_text(move.at)}  {move.before} → {move.to}  ({why})")


@group.command()
def move(
    context: typer.Context, ref: REF, stage: Annotated[str, typer.Argument()], reason: Annotated[str, typer.Option()] = ""
) -> None:
    """Put a contact into a stage; backwards only with a reason."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.set_stage(ref, stage, reason=reason, source="cli")
    if not session.output.data(found):
        session.output.say(f"stage: {found.stage}")


@group.command()
def disqualify(context: typer.Context, ref: REF, reason: Annotated[str, typer.Option(help="Why.")]) -> None:
    """Take a contact out of the life cycle; only a person's word brings them back."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.disqualify(ref, reason=reason, source="cli")
    if not session.output.data(found):
        session.output.say(f"stage: {found.stage}")


@group.command()
def engage(
    context: typer.Context, ref: REF, type: Annotated[str, typer.Argument(help="reply_received, link_clicked, …")],
    values: Annotated[list[str] | None, typer.Argument(metavar="[name=value …]")] = None,
    at: Annotated[str | None, typer.Option(help="When it happened; default now.")] = None,
) -> None:  # fmt: skip
    """Note that a contact did something; a reply with text=… gets its sentiment."""
    session: Session = context.obj
    with session.engine() as engine:
        receipt = engine.contacts.record_engagement(ref, type, at=at, metadata=assignments(values or []), source="cli")
        event = engine.store.event(str(receipt.id))
        found = engine.contacts.stage(str(receipt.profile))
    told: dict[str, Any] = {"receipt": receipt, "stage": found.stage}
    if event is not None and "sentiment" in event.data:
        told["sentiment"] = event.data["sentiment"]
    if not session.output.data(told):
        session.output.facts({name: value for name, value in told.items() if name != "receipt"})


@group.command()
def note(
    context: typer.Context, ref: REF, text: Annotated[str, typer.Argument()], by: Annotated[str | None, typer.Option()] = None
) -> None:
    """Write a note about a contact or company."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.add_note(ref, text, by=by, source="cli")
    if not session.output.data(found):
        session.output.say(f"noted: {found.id}")


@group.command()
def notes(context: typer.Context, ref: REF, limit: LIMIT = 20) -> None:
    """List the notes about a contact or company, newest first."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.notes(ref, limit=limit)
    if not session.output.data(found):
        session.output.table(("at", "by", "note"), [(instant_text(n.at), n.by, n.text) for n in found])


@group.command()
def task(
    context: typer.Context, ref: REF, title: Annotated[str, typer.Argument()],
    due: Annotated[str | None, typer.Option(help="Until when (ISO 8601).")] = None,
    assignee: Annotated[str | None, typer.Option(help="Whose work it is.")] = None,
) -> None:  # fmt: skip
    """Give a person some work about a contact or company."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.add_task(ref, title, due=due, assignee=assignee, source="cli")
    if not session.output.data(found):
        session.output.say(f"task: {found.id}")


@group.command()
def tasks(
    context: typer.Context, assignee: Annotated[str | None, typer.Option(help="Whose.")] = None,
    status: Annotated[str, typer.Option(help="open, done, cancelled or all.")] = "open",
    ref: Annotated[str | None, typer.Option("--about", help="Only about this contact or company.")] = None,
    due: Annotated[str | None, typer.Option(help="Only what is due before this instant.")] = None,
    after: AFTER = None, limit: LIMIT = 20,
) -> None:  # fmt: skip
    """List tasks, those due first first."""
    session: Session = context.obj
    with session.engine() as engine:
        page = engine.contacts.tasks(
            assignee=assignee, status=None if status == "all" else status, ref=ref, due_before=due, after=after, limit=limit
        )
    if session.output.data(page):
        return
    rows = [(t.id, instant_text(t.due), t.assignee, t.status, t.profile, t.title) for t in page.tasks]
    session.output.table(("task", "due", "assignee", "status", "about", "title"), rows)
    if page.next:
        session.output.note(f"more: --after {page.next}")


@group.command()
def done(context: typer.Context, id: ID, outcome: Annotated[str, typer.Option(help="What came of it.")] = "") -> None:
    """Note that a task is done."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.complete_task(id, outcome=outcome, source="cli")
    if not session.output.data(found):
        session.output.say(f"{found.id}: {found.status}")


@group.command()
def cancel(context: typer.Context, id: ID, reason: Annotated[str, typer.Option(help="Why.")] = "") -> None:
    """Take a task back."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.cancel_task(id, reason=reason, source="cli")
    if not session.output.data(found):
        session.output.say(f"{found.id}: {found.status}")


@group.command()
def deal(
    context: typer.Context, ref: REF, name: Annotated[str, typer.Argument()], amount: AMOUNT = None, currency: CURRENCY = None,
    stage: Annotated[str | None, typer.Option(help="Default the first of the pipeline.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Default the first.")] = None,
    due: Annotated[str | None, typer.Option(help="When it should close (ISO 8601).")] = None,
) -> None:  # fmt: skip
    """Open a deal with a contact or company."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.open_deal(
            ref, name, amount=amount, currency=currency, stage=stage, pipeline=pipeline, due=due, source="cli"
        )
    if not session.output.data(found):
        session.output.say(f"deal: {found.id} in {found.stage}")


@group.command()
def deals(
    context: typer.Context, status: Annotated[str | None, typer.Option(help="open, won or lost.")] = None,
    ref: Annotated[str | None, typer.Option("--with", help="Only with this contact or company.")] = None,
    after: AFTER = None, limit: LIMIT = 20,
) -> None:  # fmt: skip
    """List deals, those expected to close first first."""
    session: Session = context.obj
    with session.engine() as engine:
        page = engine.contacts.deals(ref=ref, status=status, after=after, limit=limit)
    if session.output.data(page):
        return
    rows = [(d.id, d.name, d.status, d.stage, _worth(d.amount, d.currency), instant_text(d.due), d.profile) for d in page.deals]
    session.output.table(("deal", "name", "status", "stage", "amount", "closes", "with"), rows, numbers=("amount",))
    if page.next:
        session.output.note(f"more: --after {page.next}")


@group.command()
def advance(
    context: typer.Context, id: ID, stage: Annotated[str, typer.Argument()], amount: AMOUNT = None, currency: CURRENCY = None
) -> None:
    """Move an open deal to another stage."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.move_deal(id, stage, amount=amount, currency=currency, source="cli")
    if not session.output.data(found):
        session.output.say(f"{found.id}: {found.stage}")


@group.command()
def win(context: typer.Context, id: ID, amount: AMOUNT = None, currency: CURRENCY = None) -> None:
    """Note that a deal was won."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.win_deal(id, amount=amount, currency=currency, source="cli")
    if not session.output.data(found):
        session.output.say(f"{found.id}: {found.status}")


@group.command()
def lose(context: typer.Context, id: ID, reason: Annotated[str, typer.Option(help="Why.")] = "") -> None:
    """Note that a deal was lost."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.lose_deal(id, reason=reason, source="cli")
    if not session.output.data(found):
        session.output.say(f"{found.id}: {found.status}")


@group.command()
def pipeline(context: typer.Context) -> None:
    """Show how many deals of what worth are in each stage."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.pipeline()
    if session.output.data(found):
        return
    rows = [
        (
            r.stage,
            f"{100 * r.probability:.0f} %",
            value_text(r.deals),
            _worth(r.amount, r.currency),
            _worth(r.weighted, r.currency),
        )
        for r in found
    ]
    columns = ("stage", "probability", "deals", "amount", "weighted")
    session.output.table(columns, rows, numbers=columns[1:])


@group.command()
def company(
    context: typer.Context, ref: REF,
    company: Annotated[str | None, typer.Argument(help="Its company id; default the contact's domain.")] = None,
    values: Annotated[list[str] | None, typer.Argument(metavar="[name=value …]")] = None,
) -> None:  # fmt: skip
    """Say for which company a contact works, and what is known of it."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.contacts.link_company(ref, company, attributes=assignments(values or []), source="cli")
    if not session.output.data({"company": found}):
        session.output.say(f"company: {found}")


@group.command()
def people(context: typer.Context, company: Annotated[str, typer.Argument()], after: AFTER = None, limit: LIMIT = 20) -> None:
    """List the contacts of a company."""
    session: Session = context.obj
    with session.engine() as engine:
        page = engine.contacts.company_contacts(company, after=after, limit=limit)
    if session.output.data(page):
        return
    session.output.table(("profile", "name", "title", "stage"), [(c.id, c.name, c.title, c.stage) for c in page.contacts])
    if page.next:
        session.output.note(f"more: --after {page.next}")


def _worth(amount: float | None, currency: str | None) -> str:
    return "" if amount is None else f"{amount:,.2f} {currency or ''}".strip()


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="contacts")
