"""Commands that run things: serve, demo, keys, replay."""

from __future__ import annotations

import shlex
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tailorbird.cli.output import instant_text, value_text
from tailorbird.cli.session import Session
from tailorbird.errors import InvalidInput

if TYPE_CHECKING:
    from tailorbird.engine import Engine

__all__ = ["add_to"]

HOST = Annotated[str | None, typer.Option(help="Address to listen on; anything but loopback needs API keys.")]
PORT = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)]

_LOADED: Final = "demo"
_BEGUN: Final = "demo.begun"


def serve(context: typer.Context, host: HOST = None, port: PORT = None) -> None:
    """Serve the API until interrupted."""
    session: Session = context.obj
    _serve(session, host, port, ())


def demo(
    context: typer.Context,
    then_serve: Annotated[bool, typer.Option("--serve", help="Serve it afterwards.")] = False,
    profiles: Annotated[int, typer.Option(help="How many people.", min=100, max=1_000_000)] = 5_200,
    host: HOST = None,
    port: PORT = None,
) -> None:
    """Load a demonstration shop, once: people who do not exist and what they did in 120 days up to now."""
    from tailorbird.demo.trade import BUYERS

    session: Session = context.obj
    with session.engine() as engine:
        _load_shop(session, engine, profiles)
        person, segment = _somebody(engine)
    database = f"-d {shlex.quote(session.url)} " if session.url else ""
    lines = (
        f"tailorbird {database}segments",
        f"tailorbird {database}why {person} {segment}",
        f"tailorbird {database}invoke email:{BUYERS[0].email} --query 'what should I offer?'",
    )
    if then_serve:
        _serve(session, host, port, lines)
    elif not session.output.data({"database": session.database, "try": lines}):
        session.output.say("Try:\n" + "\n".join(f"  {line}" for line in lines))


def _load_shop(session: Session, engine: Engine, profiles: int) -> None:
    from tailorbird.demo import DEFINITIONS, TEMPLATES
    from tailorbird.demo.files import write_files

    loaded = engine.store.get_meta(_LOADED)
    if loaded is not None:
        session.output.note(f"the demonstration shop is loaded already (up to {instant_text(int(loaded))} UTC)")
        return
    begun = engine.store.get_meta(_BEGUN)
    if begun is None and engine.store.count_profiles():
        raise InvalidInput(
            "This database has people in it already.", hint="Name an empty one: tailorbird --database demo.db demo"
        )
    # Loading that was interrupted goes on with the same shop: the same end and size give the same files.
    end, people = (engine.now(), profiles) if begun is None else (int(part) for part in begun.split())
    engine.store.set_meta(_BEGUN, f"{end} {people}")
    with tempfile.TemporaryDirectory() as folder:
        session.output.note("making up a shop …")
        files = write_files(Path(folder), end, profiles=people)
        for file in files:
            with session.output.progress(f"loading {file.path.stem}") as progress:
                engine.import_events(file.path, dict(file.mapping), progress=progress)
    session.output.note("activating segments and features …")
    engine.apply(DEFINITIONS)
    if find_spec("liquid") is not None:
        engine.apply(TEMPLATES)
    _load_trade(engine, end)
    engine.store.set_meta(_LOADED, str(end))
    events, found = sum(file.rows for file in files), len(engine.segments())
    session.output.note(f"loaded {value_text(people)} people, {value_text(events)} events and {found} segments")


def _load_trade(engine: Engine, end: int) -> None:
    """Tell what happened with buyers of other companies, as it would come in: stages, deals and tasks follow from it."""
    from tailorbird.demo.trade import BUYERS, trade_rows
    from tailorbird.runtime.ingest import Incoming

    engine.take([Incoming(**row) for row in trade_rows(end)])
    for buyer in BUYERS:
        engine.contacts.link_company(f"email:{buyer.email}", attributes={"name": buyer.company}, source="demo")


def _somebody(engine: Engine) -> tuple[str, str]:
    """Return a person and a small segment that they are in, to try commands with."""
    for segment in sorted(engine.segments(), key=lambda s: s.size):
        for member in engine.members(segment.name, limit=1).members:
            return member.id, segment.name
    return engine.profile(engine.store.page_profiles(limit=1)[0].id).id, "newsletter"


def _serve(session: Session, host: str | None, port: int | None, lines: tuple[str, ...]) -> None:
    from tailorbird.api.server import serve as serve_api

    listen, _, place = session.settings.listen.rpartition(":")
    if not listen or not place.isdecimal():
        raise InvalidInput(f"TAILORBIRD_LISTEN {session.settings.listen!r:.60} is not host:port.", hint="Such as 127.0.0.1:8321.")
    chosen, number = (host or listen).strip("[]"), int(place) if port is None else port
    shown = f"[{chosen}]" if ":" in chosen else chosen

    def ready(bound: int) -> None:
        session.output.say(f"\nTailorbird is running. Open http://{shown}:{bound}/  (stop with Ctrl-C)")
        if lines:
            session.output.say("In another terminal, try:\n" + "\n".join(f"  {line}" for line in lines))

    serve_api(session.database, host=chosen, port=number, settings=session.settings, ready=ready)


def create_key(
    context: typer.Context, name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help="ingest, read, write or admin; may be repeated.")],
    expires_in: Annotated[str | None, typer.Option(help="How long it is valid, such as 90d.")] = None,
) -> None:  # fmt: skip
    """Make an API key; it is shown this once."""
    from tailorbird.api.security import Keyring
    from tailorbird.engine.refs import read_duration

    session: Session = context.obj
    with session.engine() as engine:
        now = engine.now()
        until = None if expires_in is None else now + read_duration(expires_in, "--expires-in")
        token = Keyring(engine.store).create(name, scope, now, expires_at=until)
    if not session.output.data({"key": token}):
        session.output.say(token)
        session.output.note("keep it: it cannot be shown again")


def list_keys(context: typer.Context) -> None:
    """List API keys, without their secrets."""
    from tailorbird.api.security import Keyring

    session: Session = context.obj
    with session.engine() as engine:
        found = Keyring(engine.store).listing()
    if session.output.data(found):
        return
    columns = ("id", "name", "scopes", "made", "expires", "revoked")
    rows = [
        (k["id"], k["name"], ", ".join(k["scopes"]), *(instant_text(k[n]) for n in ("created_at", "expires_at", "revoked_at")))
        for k in found
    ]
    session.output.table(columns, rows)


def rotate_key(
    context: typer.Context, id: Annotated[str, typer.Argument()],
    grace: Annotated[str, typer.Option(help="How long the old one stays valid, such as 1d.")] = "0s",
) -> None:  # fmt: skip
    """Replace a key by a new one with the same scopes."""
    from tailorbird.api.security import Keyring
    from tailorbird.engine.refs import read_duration

    session: Session = context.obj
    with session.engine() as engine:
        kept = 0 if grace == "0s" else read_duration(grace, "--grace")
        token = Keyring(engine.store).rotate(id, engine.now(), grace=kept)
    if not session.output.data({"key": token}):
        session.output.say(token)


def revoke_key(context: typer.Context, id: Annotated[str, typer.Argument()]) -> None:
    """Take a key out of force at once."""
    from tailorbird.api.security import Keyring

    session: Session = context.obj
    with session.engine() as engine:
        Keyring(engine.store).revoke(id, engine.now())
    if not session.output.data({"revoked": id}):
        session.output.say("revoked")


def replay(context: typer.Context, into: Annotated[str, typer.Argument(help="An empty database.")]) -> None:
    """Replay the log into an empty database: the same people, memberships and decisions come out."""
    session: Session = context.obj
    with session.engine() as engine:
        copy = engine.replay(into)
        try:
            people = copy.store.count_profiles()
            if not session.output.data({"database": into, "profiles": people}):
                session.output.say(f"replayed into {into}: {value_text(people)} profiles")
        finally:
            copy.close()


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (serve, demo, replay):
        app.command()(command)
    group = typer.Typer(help="API keys: create, list, rotate, revoke.", no_args_is_help=True)
    group.command("create")(create_key)
    group.command("list")(list_keys)
    group.command("rotate")(rotate_key)
    group.command("revoke")(revoke_key)
    app.add_typer(group, name="keys")
