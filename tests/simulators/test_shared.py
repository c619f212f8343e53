"""What all simulators of CRMs share: people by number, and switches over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from simulated import served
from tailorbird.simulators.base import Reply, Request, Simulator
from tailorbird.simulators.people import NEWEST, person


class Parrot(Simulator):
    """Answers with what it was sent, to whoever has the key."""

    def reply(self, request: Request) -> Reply:
        return Reply(401, {}) if self.revoked else Reply(200, request.body)


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with served(Parrot()) as url, httpx2.Client(base_url=url) as client:
        yield client


def test_people_are_the_same_for_the_same_seed_and_have_addresses_of_their_own() -> None:
    people = [person(number, people=1_000) for number in range(1_000)]
    assert people == [person(number, people=1_000) for number in range(1_000)]
    assert len({one.email for one in people}) == len({one.phone for one in people}) == 1_000
    assert [one.updated_at for one in people] == sorted({one.updated_at for one in people})
    assert all(one.created_at < one.updated_at < NEWEST for one in people)
    assert not {one.email for one in people} & {person(number, seed=1).email for number in range(1_000)}


def test_switches_are_set_over_http_and_set_back(client: httpx2.Client) -> None:
    assert client.post("/x", json={"a": 1}).json() == {"a": 1}
    for on, off, status in (("down", "up", 503), ("revoke", "restore", 401)):
        assert client.post(f"/_simulator/{on}").status_code == 200
        assert client.get("/x").status_code == status
        client.post(f"/_simulator/{off}")
        assert client.get("/x").status_code == 200
    client.post("/_simulator/limit", params={"requests": "2"})
    assert [client.get("/x").status_code for _ in range(3)] == [429, 429, 200]
    assert client.post("/_simulator/slow", params={"ms": "0"}).json()["latency"] == [0, 0]
    assert client.post("/_simulator/nonsense").status_code == 404


def test_the_log_shows_what_was_asked_and_no_form(client: httpx2.Client) -> None:
    client.post("/x", json={"a": 1})
    assert client.post("/token", data={"client_secret": "s3cret"}).json() == {"client_secret": "s3cret"}
    seen = client.get("/_simulator/log").json()
    assert seen == [{"method": "POST", "path": "/x", "body": {"a": 1}}, {"method": "POST", "path": "/token", "body": None}]
    assert client.get("/_simulator/people").json() == []
