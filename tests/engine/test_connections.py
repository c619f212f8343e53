"""Connections: the connector of each is opened once, what is missing is said, and what is brought along needs no credentials."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from acme_crm import ACME, AcmeConnector
from tailorbird.connectors.memory import MemoryCrm
from tailorbird.connectors.rest import AuthExpired, QuotaExhausted, RemoteInvalid, Transient
from tailorbird.core.context import ManualClock
from tailorbird.core.event import Json
from tailorbird.crm.port import CrmConnector
from tailorbird.engine import Engine
from tailorbird.engine.connections import Connections
from tailorbird.errors import InvalidInput, NotFound, Unavailable
from tailorbird.storage.secrets import fresh_key, open_vault
from token_server import TokenServer, vendor


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.delenv("TAILORBIRD_VAULT_KEY", raising=False)
    with Engine.open(":memory:", clock=ManualClock(1_000_000)) as opened:
        yield opened


def test_a_connection_that_is_not_there_is_said_with_the_command_that_makes_it(engine: Engine) -> None:
    with pytest.raises(NotFound) as told:
        engine.connections.open("hubspot")
    assert told.value.message == "No CRM credentials found for user"
    assert "tailorbird connect hubspot" in told.value.hint


def test_a_provider_that_is_not_supported_is_said_with_those_that_are(engine: Engine) -> None:
    with pytest.raises(InvalidInput) as told:
        engine.connections.add("acme", secret={"key": "k"})
    assert told.value.message == "Unsupported CRM provider: acme"
    assert "hubspot" in told.value.hint


def test_engine_parts_lead_to_the_same_connections(engine: Engine) -> None:
    assert engine.parts.connections is engine.connections
    assert engine.connections.list() == []


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with vendor() as running:
        running.valid.add("key-1")
        yield running


@pytest.fixture
def connections(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connections]:
    vault = open_vault(engine.store.crm, engine.clock, environ={"TAILORBIRD_VAULT_KEY": fresh_key()})
    made = Connections(engine.store, vault, engine.clock, given={"acme": ACME})
    yield made
    made.close()


def test_a_connection_is_tried_before_it_is_kept(connections: Connections, server: TokenServer) -> None:
    settings: dict[str, Json] = {"url": server.url}
    with pytest.raises(AuthExpired):
        connections.connect("acme", secret={"key": "wrong"}, settings=settings)
    assert connections.list() == []
    assert connections.vault.names() == []
    assert connections.connect("acme", secret={"key": "key-1"}, settings=settings).user == "ann"
    assert [(c.name, c.provider, c.status) for c in connections.list()] == [("acme", "acme", "connected")]


def test_a_failed_attempt_to_connect_anew_leaves_the_connection_as_it_was(
    connections: Connections, server: TokenServer
) -> None:  # fmt: skip
    connections.connect("acme", secret={"key": "key-1"}, settings={"url": server.url})
    with pytest.raises(AuthExpired):
        connections.connect("acme", secret={"key": "wrong"}, settings={"url": server.url, "more": 1})
    assert connections.get("acme").settings == {"url": server.url}
    assert connections.test("acme").user == "ann"


def test_everybody_gets_the_same_connector_until_the_credentials_change(connections: Connections, server: TokenServer) -> None:
    settings: dict[str, Json] = {"url": server.url}
    connections.add("acme", secret={"key": "key-1"}, settings=settings)
    found: list[CrmConnector] = []
    threads = [threading.Thread(target=lambda: found.append(connections.open("acme"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = found[0]
    assert isinstance(first, AcmeConnector)
    assert all(one is first for one in found)
    connections.add("acme", secret={"key": "key-2"}, settings=settings)
    other = connections.open("acme")
    assert isinstance(other, AcmeConnector)
    assert other is not first
    assert not first.closed  # somebody may be in the middle of a call
    connections.close()
    assert first.closed
    assert other.closed


def test_an_open_connector_is_had_in_microseconds(connections: Connections) -> None:
    connections.add("acme", secret={"key": "key-1"})
    connections.open("acme")
    began = time.perf_counter()
    for _ in range(10_000):
        connections.open("acme")
    assert (time.perf_counter() - began) / 10_000 < 20e-6


def test_what_goes_wrong_is_kept_in_the_status_until_it_works_again(
    connections: Connections, server: TokenServer, engine: Engine
) -> None:  # fmt: skip
    connections.add("acme", secret={"key": "key-1"}, settings={"url": server.url})
    now = engine.clock.now()
    for error, status, resumes in (
        (AuthExpired("Acme API error: 401"), "unauthorised", None),
        (QuotaExhausted("Acme API error: 429", retry_after=5_000), "limited", now + 5_000),
        (Transient("Acme cannot be reached"), "unreachable", None),
    ):
        found = connections.note("acme", error)
        assert (found.status, found.error, found.resumes_at) == (status, error.message, resumes)
    assert connections.note("acme", RemoteInvalid("Acme API error: 400")).status == "unreachable"
    connections.test("acme")
    found = connections.get("acme")
    assert (found.status, found.error) == ("connected", None)


def test_a_paused_connection_stays_so_until_it_is_resumed(connections: Connections, server: TokenServer) -> None:
    connections.add("acme", secret={"key": "key-1"}, settings={"url": server.url})
    connections.pause("acme")
    connections.test("acme")
    connections.note("acme", Transient("Acme cannot be reached"))
    assert connections.get("acme").status == "paused"
    assert connections.resume("acme").status == "connected"


def test_a_removed_connection_is_gone_with_its_credentials(connections: Connections) -> None:
    connections.add("acme", "other", secret={"key": "key-1"})
    connections.remove("other")
    assert connections.vault.names() == []
    with pytest.raises(NotFound, match="No CRM credentials found for user"):
        connections.open("other")
    with pytest.raises(NotFound):
        connections.remove("other")


def test_credentials_that_are_gone_are_said_with_the_command_that_mends_it(connections: Connections) -> None:
    connections.add("acme", "other", secret={"key": "key-1"})
    connections.vault.drop("other")
    with pytest.raises(NotFound) as told:
        connections.open("other")
    assert str(told.value) == (
        "No CRM credentials found for user; run `tailorbird connect acme --name other`; `tailorbird connections` shows what there is."
    )


@pytest.mark.parametrize("name", ["", "Main", "a b", "1st", "oauth:x", "a" * 61, "../x"])
def test_a_name_that_fits_no_command_is_refused(connections: Connections, name: str) -> None:
    if not name:
        assert connections.add("acme", name, secret={"key": "k"}).name == "acme"
        return
    with pytest.raises(InvalidInput, match="name of a connection"):
        connections.add("acme", name, secret={"key": "k"})


def test_connectors_that_are_brought_along_are_connections_and_closed_with_the_engine() -> None:
    closed: list[str] = []

    class Mine(MemoryCrm):
        """Tells that it is closed."""

        def close(self) -> None:
            closed.append(self.name)

    one = Mine("one")
    with Engine.open(":memory:", crm={"one": one, "two": lambda: Mine("two")}) as engine:
        assert engine.connections.open("one") is one
        assert engine.connections.open("two") is engine.connections.open("two")
        assert [(c.name, c.provider) for c in engine.connections.list()] == [("one", "memory"), ("two", "memory")]
        engine.store.crm.put_cursor("one", "contacts", "7", now=1)
        assert engine.connections.test("one").account
    assert sorted(closed) == ["one", "two"]


def test_without_a_key_everything_else_works(engine: Engine) -> None:
    engine.identify("ann", attributes={"plan": "pro"})
    assert engine.connections.list() == []
    with pytest.raises(Unavailable, match="TAILORBIRD_VAULT_KEY is not set"):
        engine.connections.vault.check()
