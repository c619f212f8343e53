"""The stand of Zoho: its connector against its simulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from simulated import served
from stands import Stand, Switch
from tailorbird.connectors.rest import Retry, bearer_auth
from tailorbird.connectors.zoho import ZohoConnector
from tailorbird.crm.model import WebhookCall
from tailorbird.simulators.zoho import ZohoSimulator


@contextmanager
def stand() -> Iterator[Stand]:
    app = ZohoSimulator()
    with served(app) as url:
        auth = bearer_auth(app.key, scheme="Zoho-oauthtoken")
        connector = ZohoConnector("zoho", url, auth=auth, webhook_secret="t0ken", retry=Retry(tries=1), sleep=lambda _: None)

        def activities(record: str) -> list[str]:
            rows = [row for module in ("Notes", "Tasks", "Calls", "Events") for row in app.rows[module].values()]
            parents = ((row["id"], row.get("Parent_Id") or row.get("Who_Id") or row.get("What_Id") or {}) for row in rows)
            return [id for id, parent in parents if parent.get("id") == record]

        def signed(record: str) -> WebhookCall:
            if not app.channels:
                connector.subscribe("https://us.example/hook")
            method, address, headers, body = app.hook(record)
            return WebhookCall(method=method, url=address, headers=headers, body=body)

        def forged(call: WebhookCall) -> list[WebhookCall]:
            told = json.loads(call.body)
            others = [{**told, "token": "guess"}, {name: value for name, value in told.items() if name != "token"}]
            return [
                WebhookCall(method=call.method, url=call.url, headers=call.headers, body=json.dumps(one).encode())
                for one in others
            ]

        yield Stand(
            connector=connector, down=lambda: Switch(app, "down"), revoked=lambda: Switch(app, "revoked"),
            now=lambda: int(app.clock() * 1000), delete=app.delete, signed=signed, forged=forged, bad={"first_name": 7},
            activities=activities, drops=lambda name: Switch(app, "drops", {name.title()}),
            members=lambda name: {id for id, row in app.rows["Contacts"].items() if name in [tag["name"] for tag in row["Tag"]]},
        )  # fmt: skip
