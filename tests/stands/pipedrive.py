"""The stand of the connector to Pipedrive, over its simulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from simulated import served
from stands import Stand, Switch
from tailorbird.connectors.pipedrive import PipedriveConnector
from tailorbird.connectors.rest import Retry, StaticAuth
from tailorbird.core.context import SystemClock
from tailorbird.crm.model import WebhookCall
from tailorbird.simulators.pipedrive import PipedriveSimulator


def forged(call: WebhookCall) -> list[WebhookCall]:
    """Return the call without its password, and with another; the body is not signed by this vendor."""
    others: tuple[dict[str, str], ...] = ({}, {**call.headers, "authorization": "Basic dGFpbG9yYmlyZDpvdGhlcg=="})
    return [WebhookCall(method=call.method, url=call.url, headers=headers, body=call.body) for headers in others]


@contextmanager
def stand() -> Iterator[Stand]:
    app = PipedriveSimulator()
    with served(app) as url:
        connector = PipedriveConnector(
            auth=StaticAuth({"x-api-token": app.key}), clock=SystemClock(), url=url, webhook_secret=app.webhook_secret,
            campaigns=True, per_second=1_000, retry=Retry(tries=1), sleep=lambda _: None,
        )  # fmt: skip

        def signed(record: str) -> WebhookCall:
            method, address, headers, body = app.hook(record)
            return WebhookCall(method=method, url=address, headers=headers, body=body)

        yield Stand(
            connector=connector, down=lambda: Switch(app, "down"), revoked=lambda: Switch(app, "revoked"),
            now=lambda: int(app.clock() * 1000), delete=app.delete, signed=signed, bad={"title": 7}, members=app.members,
            activities=lambda record: [one for one in (*app.activities, *app.notes) if str(one["person_id"]) == record],
            drops=lambda name: Switch(app, "drops", {"job_title" if name == "title" else name}), forged=forged,
        )  # fmt: skip
