"""Commands for definitions: apply, check, definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tailorbird.cli.output import Output, instant_text, value_text
from tailorbird.cli.session import Session
from tailorbird.core.definition import Kind, Status

__all__ = ["add_to"]

PATH = Annotated[Path, typer.Argument(help="A YAML or JSON file, or a folder of them.", exists=True)]
KIND = Annotated[
    str, typer.Argument(help="segment, feature, feature_view, attribute, subscription, gate, merge_rule or template.")
]
NAME = Annotated[str, typer.Argument(help="Its name.")]
OF_KIND = Annotated[Kind | None, typer.Option("--kind", help="Only of this kind.")]
WITH_STATUS = Annotated[Status | None, typer.Option("--status", help="Only with this status.")]


def apply(
    context: typer.Context,
    path: PATH,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show who would enter and leave; change nothing.")] = False,
    activate: Annotated[bool, typer.Option(help="Activate what changed, or only store it.")] = True,
) -> None:
    """Check definitions, all mistakes at once; then store and activate what changed."""
    session: Session = context.obj
    with session.engine() as engine:
        if dry_run:
            _show_previews(session.output, engine.preview(path))
        else:
            _show_applied(session.output, engine.apply(path, activate=activate))


def check(context: typer.Context, path: PATH) -> None:
    """Check definitions and change nothing."""
    session: Session = context.obj
    with session.engine() as engine:
        done = engine.check(path)
    if not session.output.data(done):
        session.output.say("all right: " + _counted(done, "to activate", "to store", "to archive"))


def definitions(context: typer.Context, kind: OF_KIND = None, status: WITH_STATUS = None) -> None:
    """List definitions with their status, freshness and last error."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.definitions(kind=kind, status=status)
    if session.output.data(found):
        return
    columns = ("kind", "name", "version", "status", "activated", "fresh as of", "error")
    rows = [
        (d.kind, d.name, str(d.version), str(d.status), instant_text(d.activated_at), instant_text(d.fresh_at), d.error)
        for d in found
    ]
    session.output.table(columns, rows, numbers=("version",))


def activate(
    context: typer.Context, kind: KIND, name: NAME,
    version: Annotated[int | None, typer.Argument(help="Which version; default the newest.")] = None,
) -> None:  # fmt: skip
    """Make a stored version the active one."""
    session: Session = context.obj
    with session.engine() as engine:
        _show_applied(session.output, engine.activate(kind, name, version))


def rollback(context: typer.Context, kind: KIND, name: NAME) -> None:
    """Go back to the version that was active before."""
    session: Session = context.obj
    with session.engine() as engine:
        _show_applied(session.output, engine.roll_back(kind, name))


def archive(context: typer.Context, kind: KIND, name: NAME) -> None:
    """Take a definition out of use; refused while another one needs it."""
    session: Session = context.obj
    with session.engine() as engine:
        _show_applied(session.output, engine.archive(kind, name))


def _counted(done: Any, activated: str, saved: str, archived: str) -> str:
    return f"{len(done.activated)} {activated}, {len(done.saved)} {saved}, {len(done.archived)} {archived}, {len(done.unchanged)} unchanged"


def _show_applied(output: Output, done: Any) -> None:
    if output.data(done):
        return
    for item in done.activated:
        changed = done.segments.get(item.name) if item.kind == "segment" else None
        tail = f": {value_text(changed.size)} members" if changed is not None and hasattr(changed, "size") else ""
        output.say(f"active    {item.kind} {item.name} v{item.version}{tail}")
    for item in done.archived:
        output.say(f"archived  {item.kind} {item.name} v{item.version}")
    output.say(_counted(done, "activated", "stored", "archived"))


def _show_previews(output: Output, found: Any) -> None:
    if output.data(found):
        return
    if not found:
        output.say("no segment would change")
    for item in found:
        output.say(f"{item.segment}: {value_text(item.size)} of {value_text(item.total)} ({item.percent:.1f} %)")
        if item.explanation:
            output.say(f"  who {item.explanation}")
        output.say(f"  would enter: {value_text(item.entering)}{_sampled(item.entering_sample)}")
        output.say(f"  would leave: {value_text(item.leaving)}{_sampled(item.leaving_sample)}")


def _sampled(people: Any) -> str:
    names = ", ".join(person.name for person in people[:5])
    return f" (for example {names})" if names else ""


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(apply)
    app.command()(check)
    group = typer.Typer(help="Definitions: list, activate, rollback, archive.", invoke_without_command=True)

    @group.callback()
    def _listing(context: typer.Context, kind: OF_KIND = None, status: WITH_STATUS = None) -> None:
        """List definitions, or do something with one."""
        if context.invoked_subcommand is None:
            definitions(context, kind, status)

    group.command("list")(definitions)
    group.command()(activate)
    group.command()(rollback)
    group.command()(archive)
    app.add_typer(group, name="definitions")
