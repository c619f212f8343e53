"""The contract of customers, served over the native CRM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api.conftest import Live
from tailorbird.api.security import Keyring
from tailorbird.engine import Engine

ROUTE = "/api/v1/customers"


def make(live: Live, who: str, **values: Any) -> dict[str, Any]:
    answer = live.post(ROUTE, {"email": f"{who}@shop.example", "first_name": who.title(), **values})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def ids(answer: Any) -> list[str]:
    return [one["id"] for one in answer["customers"]]


def test_a_customer_is_made_read_and_changed_by_what_is_given(live: Live) -> None:
    made = make(live, "ann", city="Paris", tags=["vip"], attributes={"plan": "pro"}, consents={"email/marketing": False})
    assert (made["email"], made["city"], made["tags"], made["consents"]) == (
        "ann@shop.example", "Paris", ["vip"], {"email/marketing": False},
    )  # fmt: skip
    changed = live.client.patch(
        f"{ROUTE}/{made['id']}", json={"city": None, "add_tags": ["new"], "attributes": {"seats": 5}}
    ).json()
    assert (changed["city"], changed["first_name"], changed["attributes"]) == (None, "Ann", {"plan": "pro", "seats": 5})
    assert sorted(changed["tags"]) == ["new", "vip"]
    assert live.client.patch(f"{ROUTE}/{made['id']}", json={"tags": ["only"]}).json()["tags"] == ["only"]
    assert live.get(f"{ROUTE}/{made['id']}")["tags"] == ["only"]


def test_pages_tell_how_many_there_are_in_all(live: Live) -> None:
    made = [make(live, f"p{place}")["id"] for place in range(5)]
    first = live.get(ROUTE, page=1, per_page=2)
    assert first["meta"] == {"total": 5, "page": 1, "per_page": 2}
    found = [id for page in (1, 2, 3) for id in ids(live.get(ROUTE, page=page, per_page=2))]
    assert found == made
    assert live.get(ROUTE, page=9, per_page=2)["customers"] == []
    assert live.client.get(ROUTE, params={"per_page": 101}).status_code == 422


def test_filters_all_have_to_hold(live: Live) -> None:
    ann = make(
        live,
        "ann",
        city="Paris",
        attributes={"services": ["roof", "lawn"], "signed_seasons": ["2025"], "last_service": "2025-03-01"},
    )
    ben = make(
        live,
        "ben",
        city="Oslo",
        attributes={"services": ["lawn"], "signed_seasons": ["2026"], "last_service": "2026-03-01", "seats": 5},
    )
    eve = make(live, "eve", city="Paris", attributes={"seats": 50, "plan": "professional"})
    assert ids(live.get(ROUTE, city="Paris")) == [ann["id"], eve["id"]]
    assert ids(live.get(ROUTE, services=["lawn", "roof"])) == [ann["id"]]
    assert ids(live.get(ROUTE, services="lawn", city="Oslo")) == [ben["id"]]
    assert ids(live.get(ROUTE, not_signed_for_season="2026")) == [ann["id"], eve["id"]]
    assert ids(live.get(ROUTE, last_service_before="2026-01-01")) == [ann["id"], eve["id"]]
    assert ids(live.get(ROUTE, **{"attribute.seats": "5"})) == [ben["id"]]
    assert ids(live.get(ROUTE, **{"attribute.plan": "pro"})) == []
    assert ids(live.get(ROUTE, **{"attribute.plan": "professional"})) == [eve["id"]]
    assert ids(live.get(ROUTE, email="BEN@shop.example")) == [ben["id"]]
    assert ids(live.get(ROUTE, email="nobody@shop.example")) == []


def test_changed_since_sees_facts_tags_and_consents(live: Live) -> None:
    ann, ben, eve, dan = (make(live, who) for who in ("ann", "ben", "eve", "dan"))
    later = live.engine.now() + 1
    while live.engine.now() <= later:
        pass
    live.client.patch(f"{ROUTE}/{ann['id']}", json={"city": "Rome"})
    live.client.patch(f"{ROUTE}/{ben['id']}", json={"tags": ["vip"]})
    live.client.patch(f"{ROUTE}/{eve['id']}", json={"consents": {"email/marketing": False}})
    found = live.get(ROUTE, changed_since=str(later))
    assert ids(found) == [ann["id"], ben["id"], eve["id"]]
    assert dan["id"] in ids(live.get(ROUTE, changed_since="1970-01-02"))
    assert all(one["updated_at"] > dan["updated_at"] for one in found["customers"])


def test_search_finds_words_anywhere(live: Live) -> None:
    make(live, "ann", company="Northwind")
    ben = make(live, "ben", company="Southpaw")
    assert ids(live.get(f"{ROUTE}/search", q="southpaw")) == [ben["id"]]
    assert live.client.get(f"{ROUTE}/search", params={"q": ""}).status_code == 422


def test_nobody_is_404_a_twin_409_with_their_id_and_nonsense_422(live: Live) -> None:
    ann, ben = make(live, "ann"), make(live, "ben")
    assert live.client.get(f"{ROUTE}/p_nobody").status_code == 404
    assert live.client.patch(f"{ROUTE}/nobody", json={"city": "Rome"}).status_code == 404
    twin = live.post(ROUTE, {"email": "ANN@shop.example"})
    assert (twin.status_code, twin.json()["existing"]) == (409, ann["id"])
    taken = live.client.patch(f"{ROUTE}/{ben['id']}", json={"email": "ann@shop.example"})
    assert (taken.status_code, taken.json()["existing"]) == (409, ann["id"])
    assert live.get(ROUTE)["meta"]["total"] == 2
    for body in (
        {},
        {"city": "Rome"},
        {"email": "ann@x.example", "title": 7},
        {"email": "no address"},
        {"email": "x@y.example", "hue": 1},
    ):
        assert live.post(ROUTE, body).status_code == 422, body


def test_reading_and_writing_are_scopes_of_their_own(serve: Callable[..., Live]) -> None:
    with Engine.open() as engine:
        key = Keyring(engine.store).create("reader", ["read"], engine.now())
        live = serve(engine)
        headers = {"authorization": f"Bearer {key}"}
        assert live.client.get(ROUTE).status_code == 401
        assert live.client.get(ROUTE, headers=headers).status_code == 200
        assert live.post(ROUTE, {"email": "ann@shop.example"}, headers=headers).status_code == 403
