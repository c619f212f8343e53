"""Commands about connections to CRMs, and the vault that keeps their credentials."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import parse_qs, urlsplit

import typer

from tailorbird.cli.output import instant_text
from tailorbird.cli.session import Session, assignments
from tailorbird.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tailorbird.connectors.providers import Provider
    from tailorbird.crm.port import Identity
    from tailorbird.engine import Engine

__all__ = ["add_to"]

_WAIT: Final = 600.0
"""For how many seconds a person may take to allow access."""

PROVIDER = Annotated[str, typer.Argument(help="hubspot, salesforce, followupboss, pipedrive, zoho or custom.")]
NAME = Annotated[str | None, typer.Option("--name", help="What to call the connection; default the provider's name.")]
URL = Annotated[
    str | None, typer.Option("--url", help="Where the CRM is; for a simulator, or where the vendor gives each its own.")
]
SET = Annotated[list[str] | None, typer.Option("--set", help="A setting that is no secret, name=value; several are possible.")]
KEY_ENV = Annotated[str | None, typer.Option("--key-env", help="The environment variable that holds the key.")]
SECRET_ENV = Annotated[
    list[str] | None, typer.Option("--secret-env", help="Another secret, name=VARIABLE, such as webhook_secret=HUBSPOT_SECRET.")
]
OAUTH = Annotated[bool, typer.Option("--oauth", help="Allow access on the vendor's page in place of giving a key.")]
GRANT = Annotated[
    str | None,
    typer.Option("--grant", help="Another way to a token: client_credentials or jwt_bearer; where the vendor knows it."),
]
CLIENT_ID = Annotated[str | None, typer.Option("--client-id", help="The id of your app at the vendor; asked for when left out.")]
CLIENT_SECRET_ENV = Annotated[
    str | None, typer.Option("--client-secret-env", help="The environment variable that holds the app's secret.")
]
PRIVATE_KEY = Annotated[
    Path | None, typer.Option("--private-key", help="For jwt_bearer: a file with the private key, in PEM.", exists=True)
]
USER = Annotated[str | None, typer.Option("--user", help="For jwt_bearer: whose access it is.")]
NO_BROWSER = Annotated[
    bool, typer.Option("--no-browser", help="Open no browser and wait for none: paste the address you were sent to.")
]
PORT = Annotated[int, typer.Option("--port", help="Where to wait for the browser; the app must know it.", min=0, max=65535)]
TEST = Annotated[bool, typer.Option("--test/--no-test", help="Try the connection before it is kept.")]


def connect(
    context: typer.Context, provider: PROVIDER, name: NAME = None, url: URL = None, setting: SET = None, key_env: KEY_ENV = None,
    secret_env: SECRET_ENV = None, oauth: OAUTH = False, grant: GRANT = None, client_id: CLIENT_ID = None,
    client_secret_env: CLIENT_SECRET_ENV = None, private_key: PRIVATE_KEY = None, user: USER = None, no_browser: NO_BROWSER = False,
    port: PORT = 8323, test: TEST = True,
) -> None:  # fmt: skip
    """Connect a CRM: asks for what it needs, tries it, and keeps it sealed. Secrets are never taken from the command line itself."""
    from tailorbird.connectors import providers

    session: Session = context.obj
    chosen = providers.provider(provider)
    settings: dict[str, Any] = assignments(setting or ())
    if url:
        settings["url"] = url
    secret = {key: _variable(variable) for key, variable in assignments(secret_env or ()).items()}
    with session.engine() as engine:
        engine.connections.vault.check()  # before anybody types a key
        if oauth or grant:
            secret |= _app(session, chosen, client_id, client_secret_env)
        if oauth:
            kept = _authorise(session, engine, chosen, name, secret, settings, port=port, paste=no_browser)
            _told(session, engine, kept, engine.connections.test(kept))
            return
        if grant:
            secret |= {"grant": grant}
            if private_key is not None:
                secret |= {"private_key": private_key.read_text(encoding="utf-8"), "user": user or ""}
        else:
            _ask(session, chosen, secret, settings, key_env)
        kept = name or chosen.name
        found = engine.connections.connect(provider, name, secret=secret, settings=settings) if test else None
        if not test:
            engine.connections.add(provider, name, secret=secret, settings=settings)
        _told(session, engine, kept, found)


def connections(
    context: typer.Context, test: Annotated[bool, typer.Option("--test", help="Ask each CRM who we are.")] = False
) -> None:
    """Show the connections and how they do."""
    session: Session = context.obj
    with session.engine() as engine:
        if test:
            _test_all(session, engine)
        found = engine.connections.list()
    if session.output.data(found):
        return
    columns = ("name", "provider", "status", "since", "resumes", "error")
    rows = [
        (c.name, c.provider, c.status, instant_text(c.changed_at), instant_text(c.resumes_at), c.error) for c in found
    ]  # fmt: skip
    session.output.table(columns, rows)


def disconnect(context: typer.Context, name: Annotated[str, typer.Argument(help="The connection's name.")]) -> None:
    """Forget a connection: its credentials, and which records stand for whom. People and their history stay."""
    session: Session = context.obj
    with session.engine() as engine:
        engine.connections.remove(name)
    if not session.output.data({"disconnected": name}):
        session.output.say(f"{name} is disconnected; its credentials are gone. Take the access back at the vendor, too.")


def key(context: typer.Context) -> None:
    """Print a fresh key of the vault, for TAILORBIRD_VAULT_KEY."""
    from tailorbird.storage.secrets import fresh_key

    session: Session = context.obj
    made = fresh_key()
    if not session.output.data({"key": made}):
        session.output.say(made)
        session.output.note(
            "Keep it in a safe place and set TAILORBIRD_VAULT_KEY to it: without it credentials cannot be opened."
        )


def rotate(context: typer.Context) -> None:
    """Seal all credentials anew with the first key of TAILORBIRD_VAULT_KEY; servers go on meanwhile."""
    session: Session = context.obj
    with session.engine() as engine:
        count = engine.connections.vault.rotate()
    if not session.output.data({"sealed": count}):
        session.output.say(
            f"{count} {'secret is' if count == 1 else 'secrets are'} sealed with the first key; others are not needed."
        )


# ---- inside


def _told(session: Session, engine: Engine, name: str, found: Identity | None) -> None:
    row = engine.connections.get(name)
    said = {"connection": row.name, "provider": row.provider, "account": found and found.account, "user": found and found.user}
    if session.output.data(said):
        return
    who = "" if found is None else f": {found.account}" + (f", as {found.user}" if found.user else "")
    session.output.say(f"{name} is connected{who}")


def _test_all(session: Session, engine: Engine) -> None:
    from tailorbird.connectors.rest import RemoteError

    for row in engine.connections.list():
        try:
            engine.connections.test(row.name)
        except RemoteError as error:
            session.output.note(f"{row.name}: {error}")


def _ask(session: Session, chosen: Provider, secret: dict[str, str], settings: dict[str, Any], key_env: str | None) -> None:
    """Ask for what is missing: the first secret is taken from the variable named, where one is."""
    wanted = list(chosen.asks)
    if key_env is not None:
        if not wanted:
            raise InvalidInput(f"{chosen.label} has no key.", hint="Use --oauth.")
        secret.setdefault(wanted[0], _variable(key_env))
        return
    for name, label in chosen.asks.items():
        if name not in secret and (answer := _typed(session, f"{chosen.label}, {label}", hidden=True)):
            secret[name] = answer
    if sys.stdin.isatty():
        for name, label in chosen.settings.items():
            if name not in settings and (answer := _typed(session, f"{chosen.label}, {label} (empty: as it is)", hidden=False)):
                settings[name] = answer


def _app(session: Session, chosen: Provider, client_id: str | None, secret_env: str | None) -> dict[str, str]:
    found = {"client_id": client_id or _typed(session, f"Client id of your app at {chosen.label}", hidden=False)}
    if secret_env is not None:
        found["client_secret"] = _variable(secret_env)
    elif sys.stdin.isatty() and (answer := _typed(session, "Client secret (empty where there is none)", hidden=True)):
        found["client_secret"] = answer
    return found


def _typed(session: Session, label: str, *, hidden: bool) -> str:
    """Ask at the terminal, on the error stream; from a pipe a line is read."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    answer = typer.prompt(label, default="", show_default=False, hide_input=hidden, err=True)
    return str(answer).strip()


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise InvalidInput(
            f"the environment variable {name:.80} is not set.", hint="Set it, or leave the option out to be asked."
        )
    return value


def _authorise(
    session: Session, engine: Engine, chosen: Provider, name: str | None, secret: dict[str, str], settings: dict[str, Any],
    *, port: int, paste: bool,
) -> str:  # fmt: skip
    """Send a person to the vendor's page and wait until they are back; return the connection's name."""
    from tailorbird.cli.callback import Callback

    if paste:
        back = f"http://localhost:{port}/callback"
        page = engine.connections.begin(chosen.name, name, secret=secret, settings=settings, redirect_uri=back)
        session.output.note(f"Open this page, allow access, and paste the address that you are sent to:\n{page.url}")
        return _back(engine, page.state, parse_qs(urlsplit(_typed(session, "Address", hidden=False)).query))
    with Callback(port) as waiting:
        page = engine.connections.begin(chosen.name, name, secret=secret, settings=settings, redirect_uri=waiting.url)
        session.output.note(f"Allow access on this page, which a browser should open now:\n{page.url}")
        waiting.expect(page.state)
        threading.Thread(target=_browse, args=(page.url,), daemon=True).start()  # some browsers are waited for until they end
        found = waiting.wait(_WAIT)
    if found is None:
        raise Unavailable("nobody came back within ten minutes.", hint="Begin anew, perhaps with --no-browser.")
    return _back(engine, page.state, found)


def _back(engine: Engine, state: str, said: dict[str, list[str]]) -> str:
    if said.get("state") != [state]:
        raise InvalidInput("the address does not have the state that belongs to this attempt.", hint="Paste the whole address.")
    if "code" not in said:
        engine.connections.refuse(state)
        reason = (said.get("error") or ["no code came back"])[0]
        raise InvalidInput(f"access was not allowed ({reason:.80}).", hint="Begin anew and allow it.")
    return engine.connections.finish(state, said["code"][0]).name


def _browse(url: str) -> None:
    import webbrowser

    webbrowser.open(url)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    commands: tuple[Callable[..., None], ...] = (connect, connections, disconnect)
    for command in commands:
        app.command()(command)
    group = typer.Typer(help="The vault that keeps credentials of CRMs, sealed.", no_args_is_help=True)
    for command in (key, rotate):
        group.command()(command)
    app.add_typer(group, name="vault")
