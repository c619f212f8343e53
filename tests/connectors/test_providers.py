"""The connectors to enrichment providers by themselves: what they send, what they make of refusals, what they never do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from simulated import served
from tailorbird.connectors.apollo import ApolloConnector
from tailorbird.connectors.dropcontact import DropcontactConnector
from tailorbird.connectors.enrichment import Asking, Conclusion
from tailorbird.connectors.rest import Retry
from tailorbird.core.action import Action, Outcome
from tailorbird.simulators import ApolloSimulator, DropcontactSimulator

KEY = "t0psecret"


def ask(place: int = 0, *, provider: str = "apollo", **more: Any) -> Action:
    payload = {
        "provider": provider, "question": {"email": f"ann{place}@shop.example"}, "question_digest": str(place), "take": ["title"],
        "over": {}, "verifies": True, "run": {"id": "r", "definition": "contacts", "at": 0, "given": {}}, **more,
    }  # fmt: skip
    return Action(key=f"k{place}", kind="person.enrich", connector=provider, payload=payload)


@pytest.fixture
def apollo() -> ApolloSimulator:
    return ApolloSimulator(key=KEY, unknown=0)


@pytest.fixture
def dropcontact() -> DropcontactSimulator:
    return DropcontactSimulator(key=KEY, unknown=0, ready_after=0)


@pytest.fixture
def one(apollo: ApolloSimulator) -> Iterator[ApolloConnector]:
    with served(apollo) as url:
        connector = ApolloConnector(key=KEY, url=url + "/api/v1", retry=Retry(tries=2, first=1, patience=50))
        yield connector
        connector.close()


@pytest.fixture
def other(dropcontact: DropcontactSimulator) -> Iterator[DropcontactConnector]:
    with served(dropcontact) as url:
        connector = DropcontactConnector(key=KEY, url=url, poll=1, retry=Retry(tries=2, first=1, patience=5_000))
        yield connector
        connector.close()


@pytest.fixture(params=["one", "other", "conclusion"])
def any_connector(request: pytest.FixtureRequest) -> Any:
    return Conclusion() if request.param == "conclusion" else request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    "payload",
    [{}, {"question": 7}, {"run": []}, {"question": {}, "run": {}}, {"question": {"email": []}, "run": {}, "provider": "x"},
     {"question": {}, "run": {}, "provider": "x", "request_id": {}, "options": 7, "limits": "many", "cost": "?"}],
)  # fmt: skip
def test_a_payload_that_makes_no_sense_is_an_outcome(any_connector: Any, payload: dict[str, Any]) -> None:
    action = Action(key="k", kind="person.enrich", connector="x", payload=payload)
    assert isinstance(any_connector.destination(action), str)
    outcome = any_connector.perform(action)
    assert isinstance(outcome, Outcome)
    assert outcome.final or outcome.again is not None or outcome.ok


def test_the_key_travels_in_its_header_alone(one: ApolloConnector, apollo: ApolloSimulator) -> None:
    assert one.perform(ask()).ok
    request = apollo.log[0]
    assert request.headers["x-api-key"] == KEY
    assert KEY not in str((request.path, request.query, request.body)) + repr(one)
    assert (request.method, request.query) == ("POST", {"email": "ann0@shop.example"})


def test_dropcontacts_key_travels_in_its_header_alone(other: DropcontactConnector, dropcontact: DropcontactSimulator) -> None:
    outcome = other.perform(ask(provider="dropcontact"))
    assert outcome.again == 1 and outcome.payload is not None
    request = dropcontact.log[0]
    assert request.headers["x-access-token"] == KEY
    assert KEY not in str((request.path, request.query, request.body, outcome)) + repr(other)
    assert request.body["data"][0]["email"] == "ann0@shop.example"


@pytest.mark.parametrize("silent", [True, False])
def test_a_429_is_waited_for_with_and_without_retry_after(silent: bool, one: ApolloConnector, apollo: ApolloSimulator) -> None:
    apollo.silent_429 = silent
    apollo.limits = {"hour": 0}
    (outcome,) = one.perform_many([ask(give_up_at=2**60)])
    assert not outcome.ok and not outcome.final
    assert outcome.again is not None and outcome.again > 50
    assert "limit per hour" in outcome.detail


def test_a_plain_text_401_is_final_and_says_where_to_mend_it(one: ApolloConnector, apollo: ApolloSimulator) -> None:
    apollo.revoked = True
    outcome = one.perform(ask())
    assert (outcome.final, outcome.detail) == (True, "Apollo API error: 401 - Unauthorized")
    assert [event.type for event in outcome.events] == ["enrichment.failed"]


def test_trouble_is_tried_again_later_and_then_told(one: ApolloConnector, apollo: ApolloSimulator) -> None:
    apollo.down = True
    action = ask(give_up_at=2**60)
    outcomes = []
    while not outcomes or not outcomes[-1].final:
        outcomes.append(one.perform(action))
        action = ask(**{**action.payload, **(outcomes[-1].payload or {})})
    assert [outcome.again is not None for outcome in outcomes] == [True, True, False]
    assert len(apollo.log) <= 6


def test_a_limit_that_is_set_is_never_overstepped(apollo: ApolloSimulator) -> None:
    apollo.limits = {"minute": 3}
    with served(apollo) as url:
        connector = ApolloConnector(key=KEY, url=url + "/api/v1", retry=Retry(tries=1, patience=0))
        outcomes = [connector.perform(ask(n, limits={"minute": 3}, give_up_at=2**60)) for n in range(8)]
        connector.close()
    assert len(apollo.log) == 3
    assert [outcome.ok for outcome in outcomes].count(True) == 3
    assert all(outcome.ok or outcome.again for outcome in outcomes)


def test_a_batch_is_alike_for_the_legacy_address(dropcontact: DropcontactSimulator) -> None:
    with served(dropcontact) as url:
        connector = DropcontactConnector(key=KEY, url=url, path="/batch", poll=1)
        waiting = connector.perform(ask(provider="dropcontact"))
        assert waiting.payload is not None
        done = connector.perform(ask(**waiting.payload))
        connector.close()
    assert done.ok
    assert [request.path.split("/")[1] for request in dropcontact.log] == ["batch", "batch"]


def test_a_refused_batch_is_told_and_costs_nothing(other: DropcontactConnector, dropcontact: DropcontactSimulator) -> None:
    dropcontact.credits_left = 0
    outcome = other.perform(ask(provider="dropcontact"))
    assert outcome.final and "403" in outcome.detail
    assert outcome.events[-1].data["credits"] == 0


@pytest.mark.parametrize("kind", [ApolloConnector, DropcontactConnector])
def test_without_a_key_nobody_is_called(kind: type[Asking]) -> None:
    connector = kind()  # type: ignore[call-arg]
    outcome = connector.perform(ask())
    assert outcome.final and "no key is set" in outcome.detail
    connector.close()


@pytest.mark.parametrize("url", ["http://api.apollo.io/api/v1", "https://evil.example/api/v1", "https://10.0.0.1/"])
def test_apollo_is_called_at_its_own_address_only(url: str) -> None:
    with pytest.raises(Exception, match=r"encryption|not a host|inside a network"):
        ApolloConnector(key=KEY, url=url)
