"""Commands about enrichment: contacts, campaigns, cost, statistics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tailorbird.cli.output import value_text
from tailorbird.cli.session import Session
from tailorbird.errors import InvalidInput

if TYPE_CHECKING:
    from tailorbird.engine import Engine
    from tailorbird.engine.enriching import Begun, Cost

__all__ = ["add_to"]

_ASK: Final = 10
"""From how many people on the cost has to be confirmed."""

REFS = Annotated[list[str] | None, typer.Argument(help="People: external id, kind:value or public id.")]
FILE = Annotated[Path | None, typer.Option("--file", help="A file with a person on each line.")]
SEGMENT = Annotated[str | None, typer.Option("--segment", help="Everybody in a segment.")]
CHAIN = Annotated[str | None, typer.Option("--definition", help="Which enrichment; default the only one, else the built-in.")]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether the cost is all right.")]
FORCE = Annotated[bool, typer.Option("--force", help="Ask again about people who were asked about lately; it costs again.")]
WAIT = Annotated[bool, typer.Option("--wait/--no-wait", help="Deliver here until all is answered, or leave it to the server.")]


def contacts(
    context: typer.Context, refs: REFS = None, file: FILE = None, segment: SEGMENT = None, definition: CHAIN = None,
    yes: YES = False, force: FORCE = False, wait: WAIT = True,
) -> None:  # fmt: skip
    """Enrich people: ask the providers what is missing. Answers come in as events of each person."""
    session: Session = context.obj
    with session.engine() as engine:
        _run(session, engine, _people(engine, refs, file, segment), definition, yes=yes, force=force, wait=wait)


def campaign(
    context: typer.Context, name: Annotated[str, typer.Argument(help="The campaign's name.")], definition: CHAIN = None,
    yes: YES = False, force: FORCE = False, wait: WAIT = True,
) -> None:  # fmt: skip
    """Enrich everybody who came with a campaign."""
    session: Session = context.obj
    with session.engine() as engine:
        _run(session, engine, engine.enrichment.campaign(name), definition, yes=yes, force=force, wait=wait)


def cost(
    context: typer.Context, refs: REFS = None, file: FILE = None, segment: SEGMENT = None, definition: CHAIN = None,
    force: FORCE = False,
) -> None:  # fmt: skip
    """Show what enriching people may cost at most; nobody is asked."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.enrichment.cost(_people(engine, refs, file, segment), definition=definition, force=force)
    if not session.output.data(found):
        _show(session, found)


def statistics(context: typer.Context) -> None:
    """Show how many people are enriched and verified, and how each provider did."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.enrichment.statistics()
    if session.output.data(found):
        return
    names = ("people", "enriched", "verified", "assumed", "invalid", "waiting")
    session.output.facts({name: getattr(found, name) for name in names})
    columns = ("provider", "knew", "did not know", "failed", "credits today", "credits", "")
    rows = [(p.provider, p.received, p.missed, p.failed, p.credits_today, p.credits, p.reason) for p in found.providers]
    session.output.table(columns, rows, numbers=columns[1:6])


def _people(engine: Engine, refs: list[str] | None, file: Path | None, segment: str | None) -> list[str]:
    found = list(refs or ())
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise InvalidInput(
                f"{file.name} is not text in UTF-8.", hint="Give a text file with a person on each line."
            ) from None
        except OSError as error:
            raise InvalidInput(f"{file} cannot be read: {error.strerror}.") from None
        found += [line.strip() for line in text.splitlines() if line.strip()]
    if segment is not None:
        after: str | None = None
        while True:
            page = engine.members(segment, after=after, limit=1_000)
            found += [member.id for member in page.members]
            after = page.next
            if after is None:
                break
    if not found:
        raise InvalidInput("nobody was named.", hint="Name people, or give --file or --segment.")
    return found


def _run(
    session: Session, engine: Engine, people: list[str], definition: str | None, *, yes: bool, force: bool, wait: bool
) -> None:
    found = engine.enrichment.cost(people, definition=definition, force=force)
    if found.to_ask >= _ASK and not yes:
        if session.output.json:
            raise InvalidInput(f"this may cost {found.credits} credits.", hint="Confirm it with --yes.")
        _show(session, found)
        typer.confirm("Go on?", abort=True, err=True)
    begun = engine.enrichment.enrich_batch(people, definition=definition, force=force)
    left = 0
    if wait and any(item.status != "skipped" for item in begun):
        with session.output.progress("enriching") as progress:
            left = engine.enrichment.work(begun, progress=progress)
    failed, received = engine.enrichment.failures(begun) if wait else ({}, 0)
    _tell(session, begun, left, failed)
    if failed and not received:
        raise typer.Exit(1)


def _tell(session: Session, begun: list[Begun], left: int, failed: dict[str, dict[str, int]]) -> None:
    counts = {status: sum(item.status == status for item in begun) for status in ("begun", "running", "skipped")}
    if session.output.data({**counts, "waiting": left, "failed": failed, "contacts": begun}):
        return
    session.output.say(", ".join(f"{value_text(count)} {status}" for status, count in counts.items() if count))
    reasons: dict[str, int] = {}
    for item in begun:
        if item.status == "skipped" and item.reason:
            reasons[item.reason] = reasons.get(item.reason, 0) + 1
    for reason, count in reasons.items():
        session.output.note(f"{value_text(count)} skipped: {reason}")
    for provider, why in failed.items():
        for reason, count in why.items():
            session.output.note(f"{provider} failed for {value_text(count)}: {reason}")
    if failed:
        session.output.note("mend what is said above, then ask again with --force")
    if left:
        session.output.note(f"{value_text(left)} wait for later: a limit or a budget is reached, or a provider does not answer")


def _show(session: Session, found: Cost) -> None:
    session.output.say(
        f"{value_text(found.to_ask)} of {value_text(found.people)} people would be asked about; "
        f"it costs {value_text(found.credits)} credits at most"
    )
    columns = ("provider", "people", "credits at most", "left of today's budget", "")
    rows = [(p.provider, p.people, p.credits, "" if p.budget is None else p.budget, p.missing) for p in found.providers]
    session.output.table(columns, rows, numbers=columns[1:4])
    for reason, count in found.skipped.items():
        session.output.note(f"{value_text(count)} skipped: {reason}")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="Enrichment: contacts, campaigns, cost, statistics.", no_args_is_help=True)
    for command in (contacts, campaign, cost, statistics):
        group.command()(command)
    app.add_typer(group, name="enrich")
