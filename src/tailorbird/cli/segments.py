"""Commands about segments: sizes, members, history, overlap, drift, membership by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from tailorbird.cli.output import instant_text, value_text
from tailorbird.cli.session import Session

__all__ = ["add_to"]

NAME = Annotated[str, typer.Argument(help="The segment's name.")]
REFS = Annotated[list[str], typer.Argument(help="People: external id, kind:value or public id.")]


def listing(context: typer.Context) -> None:
    """List live segments with their sizes."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.segments()
    if session.output.data(found):
        return
    rows = [
        (s.name, value_text(s.size), f"v{s.version}", s.when or "kept by hand", instant_text(s.fresh_at), s.error) for s in found
    ]
    session.output.table(("segment", "members", "version", "when", "fresh as of", "error"), rows, numbers=("members",))


def members(
    context: typer.Context, name: NAME, limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    after: Annotated[str | None, typer.Option(help="The cursor that the page before ended with.")] = None,
) -> None:  # fmt: skip
    """List members of a segment."""
    session: Session = context.obj
    with session.engine() as engine:
        page = engine.members(name, after=after, limit=limit)
    if session.output.data(page):
        return
    session.output.table(("profile", "name", "since"), [(m.id, m.name, instant_text(m.entered_at)) for m in page.members])
    if page.next:
        session.output.note(f"more: --after {page.next}")


def history(
    context: typer.Context, name: NAME, since: Annotated[str | None, typer.Option(help="From when (ISO 8601).")] = None,
    until: Annotated[str | None, typer.Option(help="Until when.")] = None,
    step: Annotated[str, typer.Option(help="Per what: 1h, 1d, 7d.")] = "1d",
) -> None:  # fmt: skip
    """Show a segment's size over time, with how many entered and left."""
    session: Session = context.obj
    with session.engine() as engine:
        points = engine.history(name, since=since, until=until, step=step)
    if not session.output.data(points):
        rows = [(instant_text(p.at), value_text(p.size), value_text(p.entered), value_text(p.exited)) for p in points]
        session.output.table(("from", "size", "entered", "left"), rows, numbers=("size", "entered", "left"))


def overlap(
    context: typer.Context, names: Annotated[list[str] | None, typer.Argument(help="Which; default all.")] = None
) -> None:
    """Show how many people any two segments share."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.overlap(names or None)
    if session.output.data(found):
        return
    rows = [
        (
            p.left,
            p.right,
            value_text(p.both),
            f"{100 * p.share_of_left:.1f} %",
            f"{100 * p.share_of_right:.1f} %",
            f"{p.jaccard:.3f}",
        )
        for p in found.pairs
        if p.left != p.right and p.both
    ]
    columns = ("segment", "and", "in both", "of the first", "of the second", "Jaccard")
    session.output.table(columns, rows, numbers=("in both", "of the first", "of the second", "Jaccard"))


def drift(
    context: typer.Context, name: NAME, baseline: Annotated[str | None, typer.Option(help="As of when to compare with.")] = None
) -> None:
    """Compare a segment's members with what they were: population stability index by attribute."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.drift(name, baseline=baseline)
    if session.output.data(found):
        return
    session.output.say(f"{name}: {found.status}")
    rows = [
        (i.name, "" if i.psi is None else f"{i.psi:.3f}", "" if i.psi is None else f"{i.chance:.3f}", str(i.status))
        for i in found.items
    ]
    session.output.table(("attribute or feature", "PSI", "by chance", "status"), rows, numbers=("PSI", "by chance"))


def add(context: typer.Context, name: NAME, refs: REFS) -> None:
    """Put people into a segment that is kept by hand."""
    session: Session = context.obj
    with session.engine() as engine:
        count = engine.add_members(name, refs)
    if not session.output.data({"added": count}):
        session.output.say(f"{value_text(count)} added")


def remove(context: typer.Context, name: NAME, refs: REFS) -> None:
    """Take people out of a segment that is kept by hand."""
    session: Session = context.obj
    with session.engine() as engine:
        count = engine.remove_members(name, refs)
    if not session.output.data({"removed": count}):
        session.output.say(f"{value_text(count)} removed")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="Segments: sizes, members, history, overlap, drift.", invoke_without_command=True)

    @group.callback()
    def _listing(context: typer.Context) -> None:
        """List live segments, or look into one."""
        if context.invoked_subcommand is None:
            listing(context)

    group.command("list")(listing)
    for command in (members, history, overlap, drift, add, remove):
        group.command()(command)
    app.add_typer(group, name="segments")
