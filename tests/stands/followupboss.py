"""The stand of the connector to Follow Up Boss, over its simulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from simulated import served
from stands import Stand, Switch
from tailorbird.connectors.followupboss import FollowUpBossConnector
from tailorbird.connectors.rest import Retry, basic_auth
from tailorbird.core.context import HOUR, SystemClock
from tailorbird.crm.model import WebhookCall
from tailorbird.simulators.followupboss import FollowUpBossSimulator


@contextmanager
def stand() -> Iterator[Stand]:
    app = FollowUpBossSimulator()
    with served(app) as url:
        connector = FollowUpBossConnector(
            auth=basic_auth(app.key), clock=SystemClock(), url=f"{url}/v1", system_key=app.system_key, retry=Retry(tries=1),
            sleep=lambda _: None,
        )  # fmt: skip

        def signed(record: str) -> WebhookCall:
            method, address, headers, body = app.hook(record)
            return WebhookCall(method=method, url=address, headers=headers, body=body)

        yield Stand(
            connector=connector, down=lambda: Switch(app, "down"), revoked=lambda: Switch(app, "revoked"),
            now=lambda: int(app.clock() * 1000), delete=app.trash, signed=signed, bad={"status": 7},
            activities=lambda record: [
                (kind, one["id"]) for kind, all in app.written.items() for one in all if str(one["personId"]) == record
            ],
            members=lambda segment: {str(id) for id, one in app.people.items() if segment in one["tags"]},
            drops=lambda name: Switch(app, "drops", {name}), stale_after=25 * HOUR,
        )  # fmt: skip
