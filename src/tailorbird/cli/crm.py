"""Commands about CRMs: pull, push, query, find, conflicts, segment, status, autosync."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tailorbird.cli.output import instant_text, value_text
from tailorbird.cli.session import Session
from tailorbird.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from tailorbird.crm.model import Record
    from tailorbird.engine.crm_pushing import Pushed

__all__ = ["add_to"]

NAME = Annotated[str | None, typer.Argument(help="The connection; may be left out where there is only one.")]
LIMIT = Annotated[int, typer.Option("--limit", help="How many at most.", min=1)]


def pull(
    context: typer.Context, name: NAME = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything, not only what changed.")] = False,
) -> None:  # fmt: skip
    """Read what changed at a CRM since the last time, and take it in. What was cut short goes on where it was."""
    session: Session = context.obj
    with session.engine() as engine:
        chosen = engine.crm.only(name)
        with session.output.progress(f"pulling {chosen}") as progress:
            taken = engine.sync.pull(chosen, full=full, progress=progress)
    if session.output.data(taken):
        return
    counts = {"new": taken.created, "changed": taken.changed, "deleted": taken.deleted, "conflicts": taken.conflicts}
    told = [f"{value_text(count)} {word}" for word, count in counts.items() if count]
    session.output.say(f"{value_text(taken.read)} records read: {', '.join(told) or 'nothing new'}")
    for record, why in list(taken.rejected.items())[:10]:
        session.output.note(f"record {record} was left out: {why}")
    if len(taken.rejected) > 10:
        session.output.note(f"… and {value_text(len(taken.rejected) - 10)} more")


def push(
    context: typer.Context, name: NAME = None,
    profile: Annotated[list[str] | None, typer.Option("--profile", help="Only these people; may be given several times.")] = None,
    create: Annotated[bool, typer.Option("--create", help="Make records for people who have none.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be written.")] = False,
) -> None:  # fmt: skip
    """Write what changed with us into a CRM: only changed, mapped fields. What changed there is read first."""
    session: Session = context.obj
    with session.engine() as engine:
        chosen = engine.crm.only(name)
        with session.output.progress(f"pushing {chosen}") as progress:
            done = engine.sync.push(chosen, profile, dry_run=dry_run, create=create, progress=progress)
    if not session.output.data(done):
        _show(session, done)
    if done.failed:
        raise typer.Exit(1)


def _show(session: Session, done: Pushed) -> None:
    output = session.output
    if done.dry_run:
        rows = [
            (row.profile, row.record or "(new)", field, "(cleared)" if value is None else value)
            for row in done.rows for field, value in [*row.values.items(), *((name, "opt-out") for name in row.optouts)]
        ]  # fmt: skip
        output.table(("profile", "record", "field", "value"), rows)
        return
    made = f", {value_text(done.created)} of them new" if done.created else ""
    output.say(f"{value_text(done.written)} records written{made}")
    for failure in done.failed:
        output.note(f"{failure.profile} was refused: {failure.detail or failure.error}")
    for profile, fields in done.dropped.items():
        output.note(f"the CRM dropped {', '.join(fields)} of {profile}")


def query(
    context: typer.Context, name: NAME = None,
    status: Annotated[str | None, typer.Option(help="Their status there.")] = None,
    city: Annotated[str | None, typer.Option(help="Their city.")] = None,
    service: Annotated[list[str] | None, typer.Option("--service", help="A service they have; may be given several times.")] = None,
    not_signed_for_season: Annotated[str | None, typer.Option(help="A season they have not signed for.")] = None,
    last_service_before: Annotated[str | None, typer.Option(help="An instant before which they were last served.")] = None,
    changed_since: Annotated[str | None, typer.Option(help="An instant since which they changed.")] = None,
    where: Annotated[list[str] | None, typer.Option("--where", help="attribute=value; may be given several times.")] = None,
    search: Annotated[str | None, typer.Option(help="A text for the CRM's own search, in place of all the others.")] = None,
    limit: LIMIT = 50,
) -> None:  # fmt: skip
    """Show people of a CRM for whom everything given holds, as they are there right now."""
    session: Session = context.obj
    attributes = {}
    for text in where or ():
        attribute, sign, value = text.partition("=")
        if not sign or not attribute:
            raise InvalidInput(f"{text!r:.60} is no condition.", hint="Write attribute=value.")
        attributes[attribute] = value
    with session.engine() as engine:
        chosen = engine.crm.only(name)
        if search is not None:
            found = engine.crm.search(search, connection=chosen, limit=limit)
        else:
            found = engine.crm.query(
                status=status, city=city, services=service, not_signed_for_season=not_signed_for_season,
                last_service_before=last_service_before, changed_since=changed_since, attributes=attributes, connection=chosen,
                limit=limit,
            )  # fmt: skip
    if not session.output.data(found):
        columns = ("id", "name", "email", "phone", "city", "status", "changed")
        session.output.table(columns, [_row(record) for record in found])


def _row(record: Record) -> tuple[str | None, ...]:
    name = record.name or " ".join(part for part in (record.first_name, record.last_name) if part)
    changed = instant_text(record.updated_at)
    return record.id, name, record.email, record.phone, record.city, record.status, changed


def find(
    context: typer.Context, id: Annotated[str, typer.Argument(help="The record's id at the CRM.")], name: NAME = None
) -> None:
    """Show one record of a CRM, by its id there."""
    session: Session = context.obj
    with session.engine() as engine:
        chosen = engine.crm.only(name)
        found = engine.crm.find(id, connection=chosen)
    if found is None:
        raise NotFound(f"there is no record {id!r:.80} at {chosen}.", hint="It may have been deleted there.")
    if session.output.data(found):
        return
    neutral = ("id", "name", "email", "phone", "company", "title", "city", "country", "status", "owner")
    facts = {name: value for name in neutral if (value := getattr(found, name)) is not None}
    consents = {name: "given" if given else "withdrawn" for name, given in found.consents.items()}
    session.output.facts({**facts, **({"tags": ", ".join(found.tags)} if found.tags else {}), **consents, **found.fields})


def conflicts(context: typer.Context, name: NAME = None, limit: LIMIT = 50) -> None:
    """Show where both sides had changed a field: what each said, and who won."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.sync.conflicts(engine.crm.only(name), limit=limit)
    if not session.output.data(found):
        columns = ("when", "record", "field", "the CRM", "we", "rule", "won")
        rows = [
            (instant_text(e.at), *(e.data[key] for key in ("record", "field", "crm", "ours", "rule", "winner"))) for e in found
        ]
        session.output.table(columns, rows)


def segment(
    context: typer.Context, segment: Annotated[str, typer.Argument(help="The segment's name.")], name: NAME = None
) -> None:
    """Bring a segment's list, campaign or tag at a CRM up to date; only differences are sent."""
    session: Session = context.obj
    with session.engine() as engine:
        done = engine.sync.sync_segment(segment, engine.crm.only(name))
    if not session.output.data(done):
        refused = f", {value_text(done.failed)} refused" if done.failed else ""
        session.output.say(f"{value_text(done.added)} added, {value_text(done.removed)} removed{refused}")


def status(context: typer.Context) -> None:
    """Show how each connection does, and how many activities wait for it."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.crm_status()
    if session.output.data(found):
        return
    if not found:
        session.output.say("there is no connection; make one with: tailorbird connect hubspot")
        return
    columns = ("connection", "provider", "status", "waiting", "since", "resumes", "autosync", "why")
    rows = [
        (
            s.connection, s.provider, s.status, s.waiting, instant_text(s.oldest), instant_text(s.resumes_at),
            value_text(s.auto_sync), s.error or "",
        )
        for s in found
    ]  # fmt: skip
    session.output.table(columns, rows, numbers=("waiting",))


def autosync(
    context: typer.Context, name: Annotated[str, typer.Argument(help="The connection.")],
    on: Annotated[bool, typer.Option("--on/--off", help="Whether what happens is written there by itself.")] = True,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; may be given several times.")] = None,
) -> None:  # fmt: skip
    """Have what happens to people written into a CRM's timelines by itself, or no longer."""
    session: Session = context.obj
    with session.engine() as engine:
        engine.activities.auto_sync(name, on, kinds=kind or ())
    if not session.output.data({"connection": name, "auto_sync": on, "kinds": kind or []}):
        session.output.say(
            f"{name}: {', '.join(kind) if kind else 'everything'} is written there by itself" if on else f"{name}: off"
        )


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="CRMs: pull, push, query, find, conflicts, segment, status, autosync.", no_args_is_help=True)
    for command in (pull, push, query, find, conflicts, segment, status, autosync):
        group.command()(command)
    app.add_typer(group, name="crm")
