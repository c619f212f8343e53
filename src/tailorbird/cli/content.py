"""Commands for content: render, and previewing, comparing and checking templates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailorbird.cli.output import Output, printable, value_text
from tailorbird.cli.session import Session, assignments
from tailorbird.errors import InvalidInput

if TYPE_CHECKING:
    from tailorbird.content.rendered import Rendered

__all__ = ["add_to"]

TEMPLATE = Annotated[str, typer.Argument(help="The template's name.")]
GIVEN = Annotated[list[str] | None, typer.Option("--var", help="A variable the template asks of the caller: name=value.")]
LANGUAGE = Annotated[str | None, typer.Option(help="In this language instead of the person's own.")]
STYLE = Annotated[str | None, typer.Option(help="formal or casual, instead of what the person prefers.")]
PROFILE = Annotated[str | None, typer.Option("--profile", "-p", help="For this person.")]


def render(
    context: typer.Context,
    template: Annotated[str | None, typer.Argument(help="The template's name; left out with --text.")] = None,
    profile: Annotated[str | None, typer.Argument(help="Whom for: external id, kind:value or public id.")] = None,
    text: Annotated[str | None, typer.Option(help="Render this text instead of a template; - reads it from the input.")] = None,
    type_: Annotated[str, typer.Option("--type", help="With --text: plain, html, sms or social.")] = "plain",
    given: GIVEN = None, language: LANGUAGE = None, style: STYLE = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="As of which instant (ISO 8601, UTC); default now.")] = None,
    part: Annotated[str | None, typer.Option(help="Print nothing but this part: subject, html, text, body.")] = None,
) -> None:  # fmt: skip
    """Show the message a person would get, and where every value in it comes from."""
    session: Session = context.obj
    variables = assignments(given or [], "a variable")
    with session.engine() as engine:
        if text is not None:
            if profile is not None:
                raise InvalidInput("There is both a template and --text.", hint="Write: tailorbird render --text '…' PROFILE")
            source = sys.stdin.read() if text == "-" else text
            found = engine.content.render_text(
                source, template, type=type_, variables=variables, language=language, style=style, as_of=as_of
            )
        elif template is None or profile is None:
            raise InvalidInput("A template and a person are needed.", hint="Write: tailorbird render TEMPLATE PROFILE")
        else:
            found = engine.content.render(template, profile, variables=variables, language=language, style=style, as_of=as_of)
    if not session.output.data(found):
        _show(session.output, found, part)


def _show(output: Output, found: Rendered, part: str | None) -> None:
    if part is not None:
        if part not in found.content:
            raise InvalidInput(f"There is no part {part}; there is {', '.join(found.content) or 'none'}.")
        sys.stdout.write(printable(found.content[part]) + "\n")
        return
    for name, text in found.content.items():
        output.say(f"{name}: {text}" if "\n" not in text else f"{name}:\n{text}")
    if found.skipped is not None:
        output.say(f"skipped: {found.skipped}")
    if found.facts:
        output.say(", ".join(f"{name} {value_text(value)}" for name, value in found.facts.items() if value is not None))
    output.say(
        f"language: {found.language} ({found.language_reason}), style: {found.style or 'as written'} ({found.style_reason})"
    )
    if found.variables:
        rows = [
            (u.name, None if u.value is None else value_text(u.value), f"{u.source} {u.detail}".strip()) for u in found.variables
        ]
        output.table(("variable", "value", "source"), rows)


def preview(
    context: typer.Context, template: TEMPLATE, segment: Annotated[str, typer.Argument(help="A live segment.")],
    sample: Annotated[int, typer.Option(min=1, help="How many people, spread over the segment.")] = 100,
    everybody: Annotated[bool, typer.Option("--all", help="All of the segment instead of a sample.")] = False,
    given: GIVEN = None, language: LANGUAGE = None, style: STYLE = None,
) -> None:  # fmt: skip
    """Render a template for people of a segment: who gets which language, for whom something is missing."""
    session: Session = context.obj
    output = session.output
    variables = assignments(given or [], "a variable")
    with session.engine() as engine, output.progress("rendering") as told:
        found = engine.content.preview(
            template,
            segment,
            sample=None if everybody else sample,
            variables=variables,
            language=language,
            style=style,
            progress=told,
        )
    if output.data(found):
        return
    output.say(f"{template} v{found.version} for {value_text(found.people)} of {value_text(found.size)} in {segment}")
    output.facts({"rendered": found.rendered, "skipped": found.skipped, "failed": found.failed})
    columns = {
        "language": found.languages, "why": found.reasons, "style": found.styles, "not known": found.missing,
        "segments": found.segments,
    }  # fmt: skip
    for name, counts in columns.items():
        if counts:
            output.table((name, "people"), [(key, value_text(count)) for key, count in counts.items()], numbers=("people",))
    for failure in found.failures[:3]:
        output.say(f"failed for {failure.profile}: {failure.message}")
    if found.samples:
        first = found.samples[0]
        output.say(f"for example {first.profile}:")
        for part, text in first.content.items():
            if part != "html":
                output.say(f"  {part}: {text}")


def diff(
    context: typer.Context, template: TEMPLATE, version_a: Annotated[int, typer.Argument(help="One version.")],
    version_b: Annotated[int, typer.Argument(help="Another.")], profile: PROFILE = None, given: GIVEN = None,
    language: LANGUAGE = None, style: STYLE = None,
) -> None:  # fmt: skip
    """Compare two versions of a template, in their texts and (with --profile) in what a person gets."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.content.diff(
            template,
            version_a,
            version_b,
            profile,
            variables=assignments(given or [], "a variable"),
            language=language,
            style=style,
        )
    if session.output.data(found):
        return
    for title, changes in (("in the texts", found.source), (f"for {found.profile}", found.rendered)):
        for change in changes:
            session.output.say(f"{change.part}, {title}\n{change.diff}")
    if not found.source and not found.rendered:
        session.output.say("no difference")


def check(
    context: typer.Context, path: Annotated[Path, typer.Argument(help="A file with the text of a template.", exists=True, dir_okay=False)],
    part: Annotated[str, typer.Option(help="What it is: html, mjml, subject, text or body; by the file's ending when left out.")] = "",
    given: Annotated[list[str] | None, typer.Option("--var", help="The name of a variable that the caller gives.")] = None,
) -> None:  # fmt: skip
    """Check the text of a template: every mistake at once, with its place."""
    session: Session = context.obj
    chosen = part or {".html": "html", ".htm": "html", ".mjml": "mjml"}.get(path.suffix.lower(), "body")
    with session.engine() as engine:
        engine.content.check(path.read_text(encoding="utf-8"), part=chosen, variables=given or ())
    if not session.output.data({"mistakes": []}):
        session.output.say("all right")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(render)
    group = typer.Typer(help="Templates: preview, diff, check.", no_args_is_help=True)
    commands: tuple[Any, ...] = (preview, diff, check)
    for command in commands:
        group.command()(command)
    app.add_typer(group, name="content")
