"""Commands about what is said to people: narrative, tone, languages."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tailorbird.cli.session import Session
from tailorbird.errors import InvalidInput, NotFound

__all__ = ["add_to"]

_MOST: int = 1_000_000


class Author(StrEnum):
    """Who writes: the model where one is set up, the rules, or the model only."""

    auto = "auto"
    rules = "rules"
    model = "model"


def narrative(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(help="External id, kind:value (email:ann@example.com) or public id.")],
    author: Annotated[Author, typer.Option(help="Who writes it.")] = Author.auto,
    language: Annotated[str, typer.Option(help="A language tag; narratives are in English, and say so.")] = "en",
    interactions: Annotated[int, typer.Option(min=1, max=100, help="How many interactions are looked at.")] = 20,
) -> None:
    """Tell why a person is in their segments and what to say to them."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.narrating.narrative(ref, language=language, author=author.value, interactions=interactions)
    if session.output.data(found):
        return
    session.output.say(found.text)
    if found.note:
        session.output.note(found.note)


def tone(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="A file with the draft, or - for the standard input.")],
    profile: Annotated[str | None, typer.Option("--profile", "-p", help="Compare with this person's own replies.")] = None,
    language: Annotated[str | None, typer.Option(help="The draft's language; default the person's, else en.")] = None,
    html: Annotated[bool, typer.Option("--html", help="The draft is HTML; only its prose counts.")] = False,
) -> None:
    """Measure how a draft sounds, and how far that is from how a person writes themselves."""
    session: Session = context.obj
    text = _text(file)
    with session.engine() as engine:
        found = engine.narrating.tone(text, language=language, html=html, profile=profile)
    output = session.output
    if output.data(found):
        return
    own = found.own
    columns = ("scale", "draft", *(("their own",) if own else ()))
    output.table(
        columns,
        [
            (name, f"{getattr(found.draft, name):.2f}", *((f"{getattr(own, name):.2f}",) if own else ()))
            for name in ("formality", "warmth", "length", "ease")
        ],
        numbers=columns[1:],
    )
    if found.draft.language is None:
        output.note("There is no word list for this language: only the length says something.")
    if found.distance is not None:
        output.say(f"distance {found.distance.distance:.2f}: {found.distance.advice}")
    elif profile is not None:
        output.note("No reply of theirs is known, so there is nothing to compare with.")


def languages(
    context: typer.Context,
    available: Annotated[list[str], typer.Argument(help="The languages that there are, such as: en fr de.")],
    chain: Annotated[list[str] | None, typer.Option("--fallback", help="What to fall back to, in order; repeat it.")] = None,
    segment: Annotated[str | None, typer.Option(help="Only the members of this segment.")] = None,
) -> None:
    """Show which of N people would get which language, and why."""
    session: Session = context.obj
    with session.engine() as engine:
        found = engine.narrating.coverage(available, chain or (), segment=segment)
    if session.output.data(found):
        return
    rows = [(part.language or "none", count, reason) for part in found.portions for reason, count in part.reasons.items()]
    session.output.table(("language", "people", "because"), rows, numbers=("people",))
    session.output.say(f"{found.people:,} people; {found.unmet:,} get a language other than the one they prefer, or none")


def _text(file: str) -> str:
    if file == "-":
        return sys.stdin.read(_MOST)
    path = Path(file)
    if not path.is_file():
        raise NotFound(f"There is no file {file}.", hint="Name a file with the draft, or - for the standard input.")
    try:
        with path.open(encoding="utf-8") as opened:
            return opened.read(_MOST)
    except UnicodeDecodeError:
        raise InvalidInput(f"{file} is not UTF-8 text.", hint="Save it as UTF-8.") from None


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (narrative, tone, languages):
        app.command()(command)
