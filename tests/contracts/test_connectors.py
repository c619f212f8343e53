"""What every connector keeps to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest
from pytest_httpserver import HTTPServer

from tailorbird.connectors import Connector, LogConnector, WebhookConnector, open_connectors
from tailorbird.connectors.slack import VARIABLE, SlackConnector
from tailorbird.core.action import Action, Outcome

NAMES = sorted(open_connectors())


class Outside:
    """The world behind one connector: an action it can perform, and how many different ones arrived."""

    def __init__(self, connector: Connector, action: Action, arrived: Callable[[], int]) -> None:
        self.connector = connector
        self.action = action
        self.arrived = arrived


@pytest.fixture(params=NAMES)
def outside(request: pytest.FixtureRequest, httpserver: HTTPServer) -> Iterator[Outside]:
    httpserver.expect_request("/hook").respond_with_data("ok")
    action = Action(key="key-1", kind="message.send", connector=request.param, payload={}, channel="email", profile=1)
    if request.param == "webhook":
        payload = {"url": httpserver.url_for("/hook"), "body": {"n": 1}}
        webhook = WebhookConnector(timeout=2)
        found = Outside(
            webhook,
            msgspec.structs.replace(action, payload=payload),
            lambda: len({received.headers["webhook-id"] for received, _ in httpserver.log}),
        )
    elif request.param == "slack":
        found = Outside(
            SlackConnector(environ={VARIABLE: httpserver.url_for("/hook")}),
            msgspec.structs.replace(action, payload={"text": "Hello"}),
            lambda: len({received.headers["webhook-id"] for received, _ in httpserver.log}),
        )
    else:
        assert request.param == "log", f"the contract suite does not know the connector {request.param}"
        log = LogConnector()
        found = Outside(log, action, lambda: len(log.sent))
    yield found
    found.connector.close()


def test_a_connector_performs_and_says_so(outside: Outside) -> None:
    assert outside.connector.perform(outside.action) == Outcome(ok=True, detail=outside.connector.perform(outside.action).detail)
    assert outside.arrived() == 1


def test_a_second_delivery_of_one_key_carries_the_key_again(outside: Outside) -> None:
    for _ in range(3):
        assert outside.connector.perform(outside.action).ok
    assert outside.arrived() == 1


def test_a_connector_says_whether_keys_are_honoured(outside: Outside) -> None:
    assert isinstance(outside.connector.honours_idempotency, bool)
    assert open_connectors()[outside.connector.name].name == outside.connector.name


def test_the_destination_is_the_same_for_the_same_place(outside: Outside) -> None:
    other = msgspec.structs.replace(outside.action, key="key-2")
    assert outside.connector.destination(outside.action) == outside.connector.destination(other)


@pytest.mark.parametrize("payload", [{}, {"url": 7}, {"url": "http://["}, {"body": None}])
def test_a_payload_that_makes_no_sense_is_an_outcome_and_not_an_exception(outside: Outside, payload: dict[str, object]) -> None:
    action = msgspec.structs.replace(outside.action, payload=payload)
    assert isinstance(outside.connector.destination(action), str)
    assert isinstance(outside.connector.perform(action), Outcome)
