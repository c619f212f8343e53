"""Commands about many people: directory, campaign, exchange, duplicates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailorbird.cli.output import instant_text, value_text
from tailorbird.cli.session import Session, assignments
from tailorbird.errors import InvalidInput

if TYPE_CHECKING:
    from tailorbird.engine import Engine
    from tailorbird.ports import Criteria

__all__ = ["add_to"]

STATUS = Annotated[str | None, typer.Option(help="Life cycle stage.")]
DOMAIN = Annotated[str | None, typer.Option(help="Domain of an e-mail address.")]
TAG = Annotated[str | None, typer.Option(help="A tag they have.")]
SEGMENT = Annotated[str | None, typer.Option(help="A segment they are in.")]
WHERE = Annotated[
    list[str] | None, typer.Option("--where", "-w", help="Test of an attribute: city=Paris, 'plan in pro,team', title~sales.")
]
TEXT = Annotated[str | None, typer.Option(help="Words that all occur somewhere.")]
NAME = Annotated[str | None, typer.Option(help="A name that may be misspelt.")]
WHO = Annotated[list[str] | None, typer.Option("--profile", "-p", help="These people; repeatable.")]
FILE = Annotated[Path, typer.Argument(help="The file.")]


def find(
    context: typer.Context, status: STATUS = None, domain: DOMAIN = None, tag: TAG = None, segment: SEGMENT = None,
    where: WHERE = None, text: TEXT = None, name: NAME = None,
    sort: Annotated[str | None, typer.Option(help="name, created_at, updated_at, status or relevance.")] = None,
    descending: Annotated[bool | None, typer.Option("--descending/--ascending", help="The other way round.")] = None,
    after: Annotated[str | None, typer.Option(help="The cursor that the page before ended with.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    count: Annotated[bool, typer.Option("--count", help="Only say how many.")] = False,
) -> None:  # fmt: skip
    """Find people; everything that is given has to hold."""
    session: Session = context.obj
    with session.engine() as engine:
        _follow(session, engine)
        chosen = _criteria(engine, status, domain, tag, segment, where, text, name, None)
        if count:
            total = engine.directory.count(chosen)
            if not session.output.data({"count": total}):
                session.output.say(value_text(total))
            return
        found = engine.directory.find(chosen, sort=sort, descending=descending, after=after, limit=limit)
    if session.output.data(found):
        return
    rows = [
        (
            p.name,
            p.email,
            p.status,
            ", ".join(p.tags),
            instant_text(p.updated_at),
            "" if p.score is None else f"{p.score:.2f}",
            p.id,
        )
        for p in found.people
    ]
    session.output.table(("name", "email", "status", "tags", "updated", "score", "id"), rows, numbers=("score",))
    if found.next:
        session.output.note(f"more: --after {found.next}")


def statistics(context: typer.Context) -> None:
    """Count people: in all, by status, enriched, verified, with engagement."""
    session: Session = context.obj
    with session.engine() as engine:
        _follow(session, engine)
        found = engine.directory.statistics()
    if session.output.data(found._asdict()):
        return
    by_status = {f"  {name}": number for name, number in found.by_status.items()}
    rest = {name.replace("_", " "): value for name, value in found._asdict().items() if name not in ("total", "by_status")}
    session.output.facts({"people": found.total, **by_status, **rest})


def tag(
    context: typer.Context, tags: Annotated[list[str], typer.Argument(help="The tags.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the tags away instead.")] = False,
    status: STATUS = None, domain: DOMAIN = None, tag: TAG = None, segment: SEGMENT = None, where: WHERE = None,
    text: TEXT = None, name: NAME = None, profile: WHO = None,
) -> None:  # fmt: skip
    """Give tags to everybody who is chosen."""
    session: Session = context.obj
    with session.engine() as engine, session.output.progress("tagging") as progress:
        chosen = _some(engine, status, domain, tag, segment, where, text, name, profile)
        done = (engine.directory.untag if remove else engine.directory.tag)(chosen, *tags, source="cli", progress=progress)
    _tell(session, done)


def update(
    context: typer.Context, attributes: Annotated[list[str], typer.Argument(help="name=value …; null removes one.")],
    status: STATUS = None, domain: DOMAIN = None, tag: TAG = None, segment: SEGMENT = None, where: WHERE = None,
    text: TEXT = None, name: NAME = None, profile: WHO = None,
) -> None:  # fmt: skip
    """Set attributes of everybody who is chosen."""
    session: Session = context.obj
    said = assignments(attributes, "an attribute")
    with session.engine() as engine, session.output.progress("updating") as progress:
        chosen = _some(engine, status, domain, tag, segment, where, text, name, profile)
        done = engine.directory.update(chosen, said, source="cli", progress=progress)
    _tell(session, done)


def write_csv(
    context: typer.Context, file: FILE, fields: Annotated[str, typer.Option(help="Attributes with commas between.")] = "",
    status: STATUS = None, domain: DOMAIN = None, tag: TAG = None, segment: SEGMENT = None, where: WHERE = None, text: TEXT = None,
) -> None:  # fmt: skip
    """Write people as a CSV file that no spreadsheet runs anything of."""
    session: Session = context.obj
    with session.engine() as engine:
        _follow(session, engine)
        chosen = _criteria(engine, status, domain, tag, segment, where, text, None, None)
        rows = engine.directory.write_csv(file, chosen, [f.strip() for f in fields.split(",") if f.strip()])
    if not session.output.data({"rows": rows, "path": str(file)}):
        session.output.say(f"{value_text(rows)} people written to {file}")


# ---- campaigns


def campaign_import(
    context: typer.Context, name: Annotated[str, typer.Argument(help="The campaign.")], file: FILE,
    field: Annotated[list[str] | None, typer.Option("--field", "-f", help="name=value for everybody; repeatable.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A further tag for everybody; repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show how the file would be read; write nothing.")] = False,
    enrich: Annotated[bool, typer.Option("--enrich/--no-enrich", help="Give them to enrichment, where that is set up.")] = True,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until enrichment is done.")] = False,
    encoding: Annotated[str, typer.Option(help="The file's encoding, such as latin-1.")] = "utf-8",
    delimiter: Annotated[str | None, typer.Option(help="What stands between columns; default what it looks like.")] = None,
    rejected: Annotated[Path | None, typer.Option(help="Where to write rows that cannot be read; default beside the file.")] = None,
) -> None:  # fmt: skip
    """Import people for a campaign from a table or a list of addresses."""
    session: Session = context.obj
    fields = {
        key: value if isinstance(value, str) else value_text(value) for key, value in assignments(field or [], "a field").items()
    }
    with session.engine() as engine:
        with session.output.progress(file.name) as progress:
            report = engine.directory.import_campaign(
                name, file, fields=fields, tags=tag or [], dry_run=dry_run, encoding=encoding, delimiter=delimiter,
                rejected=rejected, progress=progress, enrich=enrich and not wait,
            )  # fmt: skip
        if wait and enrich and not dry_run:
            _enrich(session, engine, name)
    _show_report(session, report)


def _enrich(session: Session, engine: Engine, name: str) -> None:
    """Enrich a campaign's people with a bar, where enrichment is set up."""
    enrichment: Any = getattr(engine, "enrichment", None)
    if enrichment is None:
        session.output.note("enrichment is not set up")
        return
    with session.output.progress("enriching") as progress:
        enrichment.work(enrichment.enrich_from_campaign(name), progress=progress)


def _show_report(session: Session, report: Any) -> None:
    output = session.output
    if output.data(report):
        return
    if report.dry_run:
        output.say("read as: " + ", ".join(f"{key} ← {value_text(value)}" for key, value in report.mapping.items()))
    verb = "would come" if report.dry_run else "came"
    output.say(
        f"{value_text(report.rows)} rows: {value_text(report.people)} people {verb}, {value_text(report.created)} of them new; "
        f"{value_text(report.duplicates)} rows say nothing new, {value_text(report.rejected)} rejected"
    )
    for reason, number in report.reasons.items():
        output.say(f"  {value_text(number)} × {reason}")
    if report.rejected_path:
        output.say(f"rejected rows: {report.rejected_path}")
    if report.enriching:
        output.say(f"{value_text(report.enriching)} given to enrichment")
    if report.note:
        output.note(f"not enriched: {report.note}")
    if report.id:
        output.say(f"tag: {report.tag}; undo with: tailorbird campaign undo {report.id}")


def campaign_list(context: typer.Context) -> None:
    """List the imports of campaigns, newest first."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.directory.campaigns()
    if session.output.data(found):
        return
    rows = [(c.id, c.name, c.file, instant_text(c.at), c.rows, c.created, instant_text(c.undone_at)) for c in found]
    session.output.table(("import", "campaign", "file", "at", "rows", "new", "undone"), rows, numbers=("rows", "new"))


def campaign_undo(
    context: typer.Context, import_id: Annotated[str, typer.Argument(metavar="IMPORT")],
    also_enriched: Annotated[bool, typer.Option("--also-enriched", help="Also erase those who were enriched since.")] = False,
) -> None:  # fmt: skip
    """Take an import back; what others built on stays, and is told."""
    session: Session = context.obj
    with session.engine() as engine, session.output.progress("undoing") as progress:
        done = engine.directory.undo_import(import_id, also_enriched=also_enriched, progress=progress)
    if session.output.data(done):
        return
    session.output.say(
        f"{value_text(done.removed)} people removed, {value_text(done.restored)} as they were before, "
        f"{value_text(done.kept_people)} people kept"
    )
    for kept in done.kept[:20]:
        session.output.say(f"  kept {kept.what} of {kept.id}: {kept.why}")


# ---- moving in and out, duplicates


def exchange_read(context: typer.Context, file: FILE) -> None:
    """Take in a JSON contact file keyed by e-mail; a bad file changes nothing."""
    session: Session = context.obj
    with session.engine() as engine, session.output.progress(file.name) as progress:
        done = engine.directory.read_contacts(file, progress=progress)
    if not session.output.data(done):
        session.output.say(
            f"{value_text(done.contacts)} contacts, {value_text(done.created)} of them new, {value_text(done.unchanged)} known already; "
            f"{value_text(done.engagements)} engagements"
        )


def exchange_write(
    context: typer.Context, file: FILE, status: STATUS = None, domain: DOMAIN = None, tag: TAG = None, segment: SEGMENT = None,
    where: WHERE = None, text: TEXT = None,
) -> None:  # fmt: skip
    """Write people into a JSON contact file keyed by e-mail, whole or not at all."""
    session: Session = context.obj
    with session.engine() as engine:
        _follow(session, engine)
        chosen = _criteria(engine, status, domain, tag, segment, where, text, None, None)
        with session.output.progress(file.name) as progress:
            done = engine.directory.write_contacts(file, chosen, progress=progress)
    if not session.output.data(done):
        left = f"; {value_text(done.left_out)} without an address are not in it" if done.left_out else ""
        session.output.say(f"{value_text(done.contacts)} contacts written to {file}{left}")


def duplicates_list(
    context: typer.Context, min_score: Annotated[float, typer.Option(min=0, max=1, help="From 0 to 1.")] = 0.6,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    model: Annotated[bool, typer.Option("--model", help="By a statistical model; needs the extra duplicates.")] = False,
) -> None:  # fmt: skip
    """List pairs of people who may be one; nothing is merged."""
    session: Session = context.obj
    with session.engine() as engine:
        _follow(session, engine)
        found = engine.directory.duplicates(limit=limit, min_score=min_score, model=model)
    if not session.output.data(found):
        rows = [(f"{s.score:.2f}", s.winner_name, s.loser_name, ", ".join(s.reasons), s.id) for s in found]
        session.output.table(("score", "one", "other", "because of", "suggestion"), rows, numbers=("score",))


def duplicates_merge(
    context: typer.Context, suggestion: Annotated[str | None, typer.Argument(help="A suggestion's id.")] = None,
    rule: Annotated[float | None, typer.Option("--at-least", help="Merge all that score at least so much, 0.9 to 1.")] = None,
) -> None:  # fmt: skip
    """Merge the two people of a suggestion, or all suggestions by a rule."""
    session: Session = context.obj
    if (suggestion is None) == (rule is None):
        raise InvalidInput("Say either which suggestion or --at-least.")
    with session.engine() as engine:
        if suggestion is not None:
            done = [engine.directory.merge_suggestion(suggestion, by="cli")]
        else:
            done = engine.directory.merge_by_rule(rule or 0)
    if not session.output.data(done):
        for merge in done:
            session.output.say(f"merged; undo with: tailorbird unmerge {merge.id}")
        if not done:
            session.output.say("nobody is that much alike")


# ---- inside


def _criteria(engine: Engine, *given: Any) -> Criteria:
    status, domain, tag, segment, where, text, name, refs = given
    return engine.directory.criteria(
        status=status, domain=domain, tag=tag, segment=segment, where=where or (), text=text, name=name, refs=refs or None
    )


def _some(engine: Engine, *given: Any) -> Criteria:
    if not any(given):
        raise InvalidInput(
            "That would be everybody.", hint="Choose by --status, --domain, --tag, --segment, --where or --profile."
        )
    return _criteria(engine, *given)


def _follow(session: Session, engine: Engine) -> None:
    with session.output.progress("reading everybody once") as progress:
        engine.directory.people.follow(progress)


def _tell(session: Session, done: Any) -> None:
    if not session.output.data(done):
        session.output.say(f"{value_text(done.matched)} people, {value_text(done.changed)} changed")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    groups: dict[str, tuple[str, dict[str, Any]]] = {
        "directory": (
            "Find people, and change many at once.",
            {"find": find, "statistics": statistics, "tag": tag, "update": update, "csv": write_csv},
        ),
        "campaign": (
            "Import people for a campaign, and take it back.",
            {"import": campaign_import, "list": campaign_list, "undo": campaign_undo},
        ),
        "exchange": ("Move in and out with a JSON contact file.", {"read": exchange_read, "write": exchange_write}),
        "duplicates": ("People who may be one.", {"list": duplicates_list, "merge": duplicates_merge}),
    }
    for name, (text, commands) in groups.items():
        group = typer.Typer(help=text, no_args_is_help=True)
        for verb, command in commands.items():
            group.command(verb)(command)
        app.add_typer(group, name=name)
