"""Commands that start simulators of vendors."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tailorbird.cli.session import Session
from tailorbird.errors import InvalidInput

__all__ = ["add_to", "read_span"]

PORT = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)]
KEY = Annotated[str, typer.Option(help="The key that is accepted.")]
LATENCY = Annotated[str, typer.Option(help="How long an answer takes, in ms: 200, or from-to as 500-2000.")]
SEED = Annotated[int, typer.Option(help="The same seed gives the same people and the same troubles.")]
TROUBLE = Annotated[float, typer.Option(help="The share of requests that fail with 503.", min=0, max=1)]
UNKNOWN = Annotated[float, typer.Option(help="The share of people nothing is known of.", min=0, max=1)]
SILENT = Annotated[bool, typer.Option("--silent-429", help="Leave Retry-After out of answers with 429.")]


def read_span(text: str) -> tuple[int, int]:
    """Return from and to, in ms, of a latency; raise ``InvalidInput`` for what is none.

    >>> read_span("500-2000"), read_span("200")
    ((500, 2000), (200, 200))
    """
    low, _, high = text.partition("-")
    high = high or low
    if not (low.isdecimal() and high.isdecimal() and int(low) <= int(high) <= 600_000):
        raise InvalidInput(f"{text!r:.40} is not a latency.", hint="Write ms, such as 200 or 500-2000.")
    return int(low), int(high)


def apollo(
    context: typer.Context, port: PORT = 8401, key: KEY = "simulated", latency: LATENCY = "0", seed: SEED = 0,
    trouble: TROUBLE = 0.0, unknown: UNKNOWN = 0.15, silent_429: SILENT = False,
    per_minute: Annotated[int, typer.Option(help="Requests a minute per endpoint.", min=1)] = 1_000,
) -> None:  # fmt: skip
    """Answer as Apollo's enrichment does, about people who do not exist."""
    from tailorbird.simulators import ApolloSimulator

    app = ApolloSimulator(
        key=key, latency=read_span(latency), seed=seed, trouble=trouble, unknown=unknown, silent_429=silent_429,
        limits={"minute": per_minute},
    )  # fmt: skip
    _serve(context, app, port, "TAILORBIRD_APOLLO", "/api/v1")


def dropcontact(
    context: typer.Context, port: PORT = 8402, key: KEY = "simulated", latency: LATENCY = "0", seed: SEED = 0,
    trouble: TROUBLE = 0.0, unknown: UNKNOWN = 0.1, silent_429: SILENT = False,
    ready_after: Annotated[float, typer.Option(help="After how many seconds a batch is ready.", min=0)] = 5.0,
) -> None:  # fmt: skip
    """Answer as Dropcontact's batches do, about people who do not exist."""
    from tailorbird.simulators import DropcontactSimulator

    app = DropcontactSimulator(
        key=key, latency=read_span(latency), seed=seed, trouble=trouble, unknown=unknown, silent_429=silent_429,
        ready_after=ready_after,
    )  # fmt: skip
    _serve(context, app, port, "TAILORBIRD_DROPCONTACT", "")


def salesforce(
    context: typer.Context, port: PORT = 8404, key: KEY = "simulated", latency: LATENCY = "0", seed: SEED = 0,
    trouble: TROUBLE = 0.0,
    people: Annotated[int, typer.Option(help="How many contacts and leads are there from the beginning.", min=0)] = 100,
    daily: Annotated[int, typer.Option(help="Requests allowed in 24 hours.", min=1)] = 100_000,
    lag: Annotated[float, typer.Option(help="After how many seconds a search finds what was written.", min=0)] = 0.0,
) -> None:  # fmt: skip
    """Answer as an organisation of Salesforce does, with people who do not exist."""
    from tailorbird.simulators import SalesforceSimulator

    app = SalesforceSimulator(
        key=key, latency=read_span(latency), seed=seed, trouble=trouble, people=people, daily=daily, lag=lag
    )  # fmt: skip
    _serve(context, app, port, "TAILORBIRD_SALESFORCE", "")


def followupboss(
    context: typer.Context, port: PORT = 8405, key: KEY = "simulated", latency: LATENCY = "0", seed: SEED = 0,
    trouble: TROUBLE = 0.0, silent_429: SILENT = False,
    people: Annotated[int, typer.Option(help="How many people there are.", min=0)] = 200,
    system_key: Annotated[str, typer.Option(help="The X-System-Key that is registered.")] = "simulated-system",
    window: Annotated[int, typer.Option(help="Requests in ten seconds.", min=1)] = 250,
) -> None:  # fmt: skip
    """Answer as Follow Up Boss does, with people who do not exist."""
    from tailorbird.simulators import FollowUpBossSimulator

    app = FollowUpBossSimulator(
        key=key, latency=read_span(latency), seed=seed, trouble=trouble, silent_429=silent_429, people=people,
        system_key=system_key, window=window,
    )  # fmt: skip
    _serve(context, app, port, "TAILORBIRD_FOLLOWUPBOSS", "/v1")


def pipedrive(
    context: typer.Context, port: PORT = 8406, key: KEY = "simulated", latency: LATENCY = "0", seed: SEED = 0,
    trouble: TROUBLE = 0.0, silent_429: SILENT = False,
    people: Annotated[int, typer.Option(help="How many people there are.", min=0)] = 200,
    burst: Annotated[int, typer.Option(help="Requests in two seconds.", min=1)] = 20,
    webhook_secret: Annotated[str, typer.Option(help="The password that webhooks show.")] = "simulated",
) -> None:  # fmt: skip
    """Answer as Pipedrive does, both generations of its API, with people who do not exist."""
    from tailorbird.simulators import PipedriveSimulator

    app = PipedriveSimulator(
        key=key, latency=read_span(latency), seed=seed, trouble=trouble, silent_429=silent_429, people=people, burst=burst,
        webhook_secret=webhook_secret,
    )  # fmt: skip
    _serve(context, app, port, "TAILORBIRD_PIPEDRIVE", "")


def custom(
    context: typer.Context, port: PORT = 8408, key: KEY = "simulated", latency: LATENCY = "0", seed: SEED = 0,
    trouble: TROUBLE = 0.0, people: Annotated[int, typer.Option(help="How many customers there are.", min=0, max=100_000)] = 200,
) -> None:  # fmt: skip
    """Answer as a CRM of your own that speaks the contract of customers, about people who do not exist."""
    from tailorbird.simulators import CustomSimulator

    app = CustomSimulator(key=key, latency=read_span(latency), seed=seed, trouble=trouble, people=people)
    _serve(context, app, port, "TAILORBIRD_CUSTOM", "/api/v1")


def zoho(
    context: typer.Context, port: PORT = 8407, key: KEY = "simulated", latency: LATENCY = "0", seed: SEED = 0,
    trouble: TROUBLE = 0.0, people: Annotated[int, typer.Option(help="How many contacts there are.", min=0, max=100_000)] = 200,
    lag: Annotated[float, typer.Option(help="After how many seconds a search finds what was written.", min=0)] = 0.0,
) -> None:  # fmt: skip
    """Answer as Zoho CRM does, about people who do not exist."""
    from tailorbird.simulators import ZohoSimulator

    app = ZohoSimulator(key=key, latency=read_span(latency), seed=seed, trouble=trouble, people=people, lag=lag)
    _serve(context, app, port, "TAILORBIRD_ZOHO", "")


def _serve(context: typer.Context, app: Any, port: int, name: str, path: str) -> None:
    from tailorbird.simulators import run

    session: Session = context.obj

    def ready(number: int) -> None:
        session.output.say(
            f"export {name}_URL=http://127.0.0.1:{number}{path}\nexport {name}_KEY={app.key}\n# running; stop with Ctrl-C"
        )

    run(app, port=port, ready=ready)


def hubspot(
    context: typer.Context, port: PORT = 8410, key: KEY = "simulated", latency: LATENCY = "0", seed: SEED = 0,
    trouble: TROUBLE = 0.0, people: Annotated[int, typer.Option(help="How many contacts there are to begin with.", min=0)] = 500,
    lag: Annotated[float, typer.Option(help="For how many seconds searches see a contact as it was.", min=0)] = 2.0,
    per_ten_seconds: Annotated[int, typer.Option(help="Requests in ten seconds.", min=1)] = 100,
    hook: Annotated[str, typer.Option(help="An address to send signed webhooks to when contacts change.")] = "",
    secret: Annotated[str, typer.Option(help="The client secret that webhooks are signed with.")] = "simulated-secret",
) -> None:  # fmt: skip
    """Answer as HubSpot does, with contacts who do not exist."""
    from tailorbird.simulators import HubspotSimulator

    app = HubspotSimulator(
        key=key, latency=read_span(latency), seed=seed, trouble=trouble, people=people, lag=lag, hook_url=hook, secret=secret,
        limits={"ten_seconds": per_ten_seconds, "search": 5, "day": 250_000},
    )  # fmt: skip
    _serve(context, app, port, "TAILORBIRD_HUBSPOT", "")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="Simulators of vendors, for trying things out without an account.", no_args_is_help=True)
    for command in (apollo, dropcontact, hubspot, salesforce, followupboss, pipedrive, zoho, custom):
        group.command()(command)
    app.add_typer(group, name="simulate")
