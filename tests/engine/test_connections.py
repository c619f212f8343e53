"""Connections: the connector of each is opened once, what is missing is said, and what is brought along needs no credentials."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tailorbird.core.context import ManualClock
from tailorbird.engine import Engine
from tailorbird.errors import InvalidInput, NotFound


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
