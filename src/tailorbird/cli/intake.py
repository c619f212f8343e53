"""Commands that take something in: track, identify, import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tailorbird.cli.output import Output, value_text
from tailorbird.cli.session import Session, assignments
from tailorbird.errors import InvalidInput

__all__ = ["add_to"]

PAIRS = Annotated[list[str] | None, typer.Argument(help="name=value …")]
PROFILE = Annotated[str | None, typer.Option("--profile", "-p", help="External id, kind:value or public id.")]
AT = Annotated[str | None, typer.Option(help="When it happened (ISO 8601, UTC); default now.")]
ID = Annotated[str | None, typer.Option(help="The event's id: taking it in again changes nothing.")]
MAP = Annotated[
    list[str] | None, typer.Option("--map", "-m", help="field=column, or field==constant; see docs/how-to/import.md.")
]
DRY = Annotated[bool, typer.Option("--dry-run", help="Show how the file would be read; load nothing.")]


def track(context: typer.Context, type: Annotated[str, typer.Argument(help="What happened, such as order.placed.")],
          data: PAIRS = None, profile: PROFILE = None, at: AT = None, id: ID = None) -> None:  # fmt: skip
    """Take in one event."""
    from tailorbird.engine.refs import is_public, read_instant, read_ref
    from tailorbird.runtime.ingest import Incoming

    session: Session = context.obj
    ref = _need(profile)
    whose: dict[str, Any] = {"profile": ref} if is_public(ref) else {"identifiers": dict([read_ref(ref)])}
    instant = None if at is None else read_instant(at, "at", anywhere=True)
    with session.engine() as engine:
        receipt = engine.take([Incoming(type=type, data=assignments(data or []), id=id, at=instant, source="cli", **whose)])[0]
    _show_receipt(session.output, receipt)


def identify(context: typer.Context, attributes: PAIRS = None, profile: PROFILE = None, at: AT = None, id: ID = None,
             also: Annotated[list[str] | None, typer.Option(help="Further identifiers: kind=value.")] = None) -> None:  # fmt: skip
    """Set attributes of a person, and join the identifiers that are given."""
    session: Session = context.obj
    _need(profile)
    others = {kind: str(value) for kind, value in assignments(also or [], "an identifier").items()}
    with session.engine() as engine:
        receipt = engine.identify(
            profile, attributes=assignments(attributes or [], "an attribute"), identifiers=others, at=at, id=id, source="cli"
        )
    _show_receipt(session.output, receipt)


FILE = Annotated[Path, typer.Argument(help="A CSV, JSONL or Parquet file.", exists=True, dir_okay=False)]
MAPPING = Annotated[Path | None, typer.Option(help="A YAML file with the mapping.", exists=True, dir_okay=False)]


ENCODING = Annotated[str, typer.Option(help="The file's encoding, such as latin-1.")]
DELIMITER = Annotated[str | None, typer.Option(help="What stands between the columns of a CSV file; default what it looks like.")]
REJECTED = Annotated[Path | None, typer.Option(help="Where to write rows that cannot be read; default beside the file.")]


def import_events(
    context: typer.Context, file: FILE, map: MAP = None, mapping: MAPPING = None, dry_run: DRY = False,
    encoding: ENCODING = "utf-8", delimiter: DELIMITER = None, rejected: REJECTED = None,
) -> None:  # fmt: skip
    """Import events from a CSV, JSONL or Parquet file."""
    options = {"dry_run": dry_run, "encoding": encoding, "delimiter": delimiter, "rejected": rejected}
    _import(context.obj, "import_events", file, _mapping(mapping, map or []), options)


def import_contacts(
    context: typer.Context, file: FILE, map: MAP = None, mapping: MAPPING = None, dry_run: DRY = False,
    encoding: ENCODING = "utf-8", delimiter: DELIMITER = None, rejected: REJECTED = None,
) -> None:  # fmt: skip
    """Import contacts from a CSV, JSONL or Parquet file."""
    options = {"dry_run": dry_run, "encoding": encoding, "delimiter": delimiter, "rejected": rejected}
    _import(context.obj, "import_contacts", file, _mapping(mapping, map or []), options)


def _import(session: Session, verb: str, file: Path, mapping: dict[str, Any] | None, options: dict[str, Any]) -> None:
    with session.engine() as engine, session.output.progress(file.name) as progress:
        report = getattr(engine, verb)(file, mapping, progress=progress, **options)
    _show_report(session.output, report)


def _mapping(path: Path | None, pairs: Sequence[str]) -> dict[str, Any] | None:
    """Read the mapping's file, then ``field=column``; ``data`` may name several columns: ``data=quantity,amount``."""
    found: dict[str, Any] = {}
    if path is not None:
        import yaml

        try:
            found = dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        except (yaml.YAMLError, ValueError, TypeError) as error:
            raise InvalidInput(f"{path} is not a mapping: {error}", hint="Write lines of field: column.") from None
    for pair in pairs:
        field, mark, column = pair.partition("=")
        if not mark or not column:
            raise InvalidInput(f"{pair!r:.80} is not a mapping.", hint="Write field=column, or field==constant.")
        found[field] = [c.strip() for c in column.split(",")] if field in ("data", "attributes") and column != "*" else column
    return found or None


def _need(profile: str | None) -> str:
    if profile is None:
        raise InvalidInput(
            "--profile is missing.", hint="Say whom it concerns: --profile ann, or --profile email:ann@example.com."
        )
    return profile


def _show_receipt(output: Output, receipt: Any) -> None:
    if receipt.status == "rejected":
        raise InvalidInput("; ".join(receipt.mistakes))
    if output.data(receipt):
        return
    output.say(f"{receipt.status}: {receipt.profile}")
    for word, names in (("entered", receipt.entered), ("left", receipt.exited)):
        if names:
            output.say(f"{word}: {', '.join(names)}")
    output.say(f"in: {', '.join(receipt.segments) or 'no segment'}")


def _show_report(output: Output, report: Any) -> None:
    if output.data(report):
        return
    if report.dry_run:
        output.say("read as: " + ", ".join(f"{k} ← {value_text(v)}" for k, v in report.mapping.items()))
        for row in report.first[:3]:
            output.say(f"  {value_text(row)}")
        output.say(f"{value_text(report.rows)} rows: {value_text(report.loaded)} acceptable, {value_text(report.rejected)} not")
    else:
        state = "imported before; " if report.already else "continued; " if report.resumed else ""
        output.say(
            f"{state}{value_text(report.rows)} rows: {value_text(report.loaded)} loaded, {value_text(report.duplicates)} known already, "
            f"{value_text(report.rejected)} rejected; {value_text(report.created)} new profiles"
            + (f"; {value_text(report.joined)} rows joined people" if report.joined else "")
        )
    for reason, count in report.reasons.items():
        output.say(f"  {value_text(count)} × {reason}")
    if report.rejected_path:
        output.say(f"rejected rows: {report.rejected_path}")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(track)
    app.command()(identify)
    group = typer.Typer(help="Import events or contacts from files.", no_args_is_help=True)
    group.command("events")(import_events)
    group.command("contacts")(import_contacts)
    app.add_typer(group, name="import")
