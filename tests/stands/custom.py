"""The stand of the custom connector: the shipped description against the simulator that speaks its contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulated import served
from stands import Stand, Switch
from tailorbird.connectors.custom import CustomConnector, load_spec
from tailorbird.connectors.rest import Retry
from tailorbird.crm.model import WebhookCall
from tailorbird.simulators.custom import CustomSimulator

EXAMPLE = Path(__file__).parents[2] / "examples" / "crm" / "customers.yaml"


@contextmanager
def stand() -> Iterator[Stand]:
    app = CustomSimulator()
    with served(app) as url:
        secret = {"key": app.key, "webhook_secret": app.webhook_secret}
        connector = CustomConnector(
            "customers", load_spec(str(EXAMPLE)), secret=secret, url=f"{url}/api/v1", retry=Retry(tries=1), sleep=lambda _: None
        )

        def signed(record: str) -> WebhookCall:
            method, address, headers, body = app.hook(record)
            return WebhookCall(method=method, url=address, headers=headers, body=body)

        yield Stand(
            connector=connector, down=lambda: Switch(app, "down"), revoked=lambda: Switch(app, "revoked"),
            now=lambda: int(app.clock() * 1000), delete=app.delete, signed=signed, bad={"title": 7},
            activities=lambda record: [key for key, one in app.engagements.items() if one["customer"] == record],
            members=lambda segment: {id for id, one in app.customers.items() if segment in one["tags"]},
            drops=lambda name: Switch(app, "drops", {name}),
        )  # fmt: skip
