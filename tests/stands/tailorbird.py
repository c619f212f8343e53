"""The stand of two Tailorbirds: the custom connector with the shipped description, and our own server at the other end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from api.conftest import running
from stands import Stand, Switch
from tailorbird.api.security import Keyring
from tailorbird.connectors.custom import CustomConnector, load_spec
from tailorbird.connectors.rest import Retry
from tailorbird.engine import Engine

EXAMPLE = Path(__file__).parents[2] / "examples" / "crm" / "customers.yaml"


class Cable(httpx2.HTTPTransport):
    """The way to the other end, which can be cut, and on which the key can be made a wrong one."""

    cut = False
    wrong = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.cut:
            raise httpx2.ConnectError("cut")
        if self.wrong:
            request.headers["authorization"] = "Bearer nobody"
        return super().handle_request(request)


@contextmanager
def stand() -> Iterator[Stand]:
    with TemporaryDirectory() as folder, Engine.open(str(Path(folder) / "other.db")) as engine:
        key = Keyring(engine.store).create("the other one", ["read", "write"], engine.now())
        with running(engine) as live:
            cable = Cable()
            connector = CustomConnector(
                "other", load_spec(str(EXAMPLE)), secret={"key": key}, url=f"{live.url}/api/v1", retry=Retry(tries=1),
                sleep=lambda _: None, transport=cable,
            )  # fmt: skip

            def activities(record: str) -> list[str]:
                kinds = set(connector.capabilities.activities.values())
                return [event.id for event in engine.timeline(record, limit=200).events if event.type in kinds]

            def members(segment: str) -> set[str]:
                return {person.id for person in engine.directory.find(tag=segment).people}

            yield Stand(
                connector=connector, down=lambda: Switch(cable, "cut"), revoked=lambda: Switch(cable, "wrong"), now=engine.now,
                activities=activities, members=members, delete=lambda id: engine.forget(id) and None, bad={"title": 7},
            )  # fmt: skip
