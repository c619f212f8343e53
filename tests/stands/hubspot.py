"""The stand of HubSpot: its connector over its simulator, whose searches lag behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from simulated import served
from stands import Stand, Switch
from tailorbird.connectors.hubspot import HubspotConnector
from tailorbird.connectors.rest import Retry, bearer_auth
from tailorbird.core.context import ManualClock
from tailorbird.crm.model import WebhookCall
from tailorbird.simulators import HubspotSimulator

T0 = 1_800_000_000_000
THEIRS = {"title": "jobtitle"}


@contextmanager
def stand() -> Iterator[Stand]:
    clock = ManualClock(T0)
    app = HubspotSimulator(clock=lambda: clock.now() / 1000, people=25, lag=3.0)
    hook = "https://us.example/hooks/hubspot?name=a%40b"

    def pass_on(seconds: float) -> None:
        clock.move_to(clock.now() + max(1, int(seconds * 1000)))

    def signed(record: str) -> WebhookCall:
        method, _, headers, body = app.signed(record, url="https://us.example/hooks/hubspot?name=a@b")
        return WebhookCall(method=method, url=hook, headers=headers, body=body)

    with served(app) as url:
        connector = HubspotConnector(
            auth=bearer_auth("simulated"), clock=clock, url=url, webhook_secret=app.secret, tags_property="tailorbird_tags",
            retry=Retry(tries=2), sleep=pass_on,
        )  # fmt: skip
        yield Stand(
            connector=connector, down=lambda: Switch(app, "down"), revoked=lambda: Switch(app, "revoked"), now=clock.now,
            settle=lambda: pass_on(10), activities=lambda record: [one["id"] for one in app.activities(record)],
            members=app.members, delete=app.delete, signed=signed, bad={"status": "NO_SUCH_STATUS"},
            drops=lambda name: Switch(app, "drops", {THEIRS.get(name, name)}),
        )  # fmt: skip
