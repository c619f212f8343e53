"""Slack: a text posted to an incoming webhook whose address stays secret."""

from __future__ import annotations

import httpx2
import msgspec

from tailorbird.connectors.slack import SlackConnector
from tailorbird.core.action import Action

URL = "https://hooks.slack.com/services/T000/B000/secret"


def action(**payload: object) -> Action:
    return Action(key="k", kind="escalation.send", connector="slack", payload=dict(payload))


def test_a_text_is_posted_to_the_address_of_the_environment() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, text="ok")

    slack = SlackConnector(environ={"TAILORBIRD_SLACK_WEBHOOK": URL}, transport=httpx2.MockTransport(answer))
    assert slack.ready
    assert slack.perform(action(text="CRM authentication failed")).ok
    assert str(seen[0].url) == URL
    assert msgspec.json.decode(seen[0].content) == {"text": "CRM authentication failed"}
    slack.close()


def test_no_outcome_and_no_representation_holds_the_address() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(404, text="no_service")

    slack = SlackConnector(environ={"TAILORBIRD_SLACK_WEBHOOK": URL}, transport=httpx2.MockTransport(answer))
    outcome = slack.perform(action(text="hello"))
    assert (outcome.ok, outcome.detail) == (False, "the receiver answered 404")
    assert "secret" not in repr(outcome) + repr(slack)
    slack.close()


def test_an_address_in_a_private_network_is_refused() -> None:
    slack = SlackConnector(
        environ={"TAILORBIRD_SLACK_WEBHOOK": "https://intern.example/x"}, resolve=lambda host, port: ["10.0.0.1"]
    )
    outcome = slack.perform(action(text="hello"))
    assert outcome.final
    assert "private network" in outcome.detail
    slack.close()


def test_without_an_address_it_is_not_ready_and_says_what_is_missing() -> None:
    slack = SlackConnector(environ={})
    assert not slack.ready
    assert slack.perform(action(text="hello")).detail == "the environment variable TAILORBIRD_SLACK_WEBHOOK is not set"
    assert slack.perform(action()).final
    slack.close()
