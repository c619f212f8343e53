"""Contacts over HTTP."""

from __future__ import annotations

import httpx2
import pytest

from api.conftest import Live


@pytest.fixture
def people(live: Live) -> Live:
    for number in range(5):
        attributes = {"first_name": f"N{number}", "status": ("new", "enriched")[number % 2], "city": "Paris"}
        live.engine.identify(identifiers={"email": f"n{number}@x.com"}, attributes=attributes)
    return live


def test_contacts_are_found_a_page_at_a_time(people: Live) -> None:
    one = people.get("/api/v1/contacts", domain="x.com", sort="name", limit=3, attribute="city=Paris")
    two = people.get("/api/v1/contacts", domain="x.com", sort="name", limit=3, attribute="city=Paris", after=one["next"])
    assert [p["name"] for p in one["items"] + two["items"]] == ["N0", "N1", "N2", "N3", "N4"]
    assert two["next"] is None
    assert people.get("/api/v1/contacts", status="enriched", text="n3")["items"][0]["score"] > 0.5
    assert people.get("/api/v1/contacts/count", status="enriched") == {"count": 2}


@pytest.mark.parametrize(
    "query",
    [
        "sort=size",
        "limit=0",
        "after=x",
        "attribute=city",
        "segment=nobody",
        "sort=relevance",
        "attribute=" + "x" * 600 + "=1",
        "tag=" + "x" * 400,
    ],
)
def test_what_cannot_be_asked_is_refused(people: Live, query: str) -> None:
    answer = people.client.get(f"/api/v1/contacts?{query}")
    assert answer.status_code in (404, 422), answer.text
    assert answer.json()["code"]


def test_many_are_changed_at_once(people: Live) -> None:
    body = {"choose": {"status": "new"}, "add_tags": ["vip"], "attributes": {"status": "engaged"}}
    assert people.post("/api/v1/contacts/bulk", body).json() == {"matched": 3, "changed": 3}
    assert people.post("/api/v1/contacts/bulk", body).json() == {"matched": 0, "changed": 0}
    assert people.get("/api/v1/contacts/statistics")["by_status"] == {"engaged": 3, "enriched": 2}
    again = {"choose": {"tag": "vip"}, "remove_tags": ["vip"], "attributes": {"city": None}}
    assert people.post("/api/v1/contacts/bulk", again).json() == {"matched": 3, "changed": 3}
    assert people.get("/api/v1/contacts/count", attribute="city=Paris") == {"count": 2}
    assert people.post("/api/v1/contacts/bulk", {"choose": {}, "add_tags": ["x"]}).status_code == 422
    chosen = {"choose": {"profiles": ["email:n1@x.com"]}, "add_tags": ["one"]}
    assert people.post("/api/v1/contacts/bulk", chosen).json()["changed"] == 1


def test_csv_is_csv_and_runs_nothing(people: Live) -> None:
    people.engine.identify(identifiers={"email": "n0@x.com"}, attributes={"city": "=1+1"})
    answer = people.client.get("/api/v1/contacts/csv?fields=city&status=new")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text.splitlines()[0] == "id,email,name,status,tags,city"
    assert "'=1+1" in answer.text


def test_a_campaign_comes_in_and_goes(people: Live) -> None:
    report = people.post(
        "/api/v1/campaigns", {"name": "Expo", "csv": "email,First Name\nn0@x.com,Zoe\nnew@x.com,New\n,x\n"}
    ).json()
    assert (report["people"], report["created"], report["rejected"], report["rejected_path"]) == (2, 1, 1, None)
    assert people.get("/api/v1/campaigns")["items"][0]["name"] == "Expo"
    undone = people.post(f"/api/v1/campaigns/{report['id']}/undo", {}).json()
    assert (undone["removed"], undone["restored"]) == (1, 1)
    assert people.post(f"/api/v1/campaigns/{report['id']}/undo", {}).status_code == 409
    assert people.post("/api/v1/campaigns/c_x/undo", {}).status_code == 404
    assert people.post("/api/v1/campaigns", {"name": "Expo", "addresses": ["a@x.com"]}).json()["created"] == 1
    assert people.post("/api/v1/campaigns", {"name": "Expo"}).status_code == 422


def test_a_contact_file_goes_out_and_in(people: Live) -> None:
    written = people.get("/api/v1/contacts/exchange", status="enriched")
    assert set(written) == {"n1@x.com", "n3@x.com"}
    written["new@x.com"] = {"first_name": "New"}
    assert people.post("/api/v1/contacts/exchange", written).json()["created"] == 1
    answer: httpx2.Response = people.post("/api/v1/contacts/exchange", {"bad": {}})
    assert answer.status_code == 422
    assert answer.json()["mistakes"][0]["where"] == "bad"


def test_duplicates_are_merged_when_a_person_says_so(people: Live) -> None:
    people.engine.identify(identifiers={"email": "ann.smith@x.com"}, attributes={"name": "Ann Smith"})
    people.engine.identify(identifiers={"email": "annsmith@x.com"}, attributes={"name": "Ann Smith"})
    pair = people.get("/api/v1/contacts/duplicates", min_score=0.8)["items"][0]
    merge = people.post("/api/v1/contacts/duplicates/merge", {"suggestion": pair["id"], "by": "eve"}).json()
    assert merge["loser"] == pair["loser"]
    assert people.post(f"/api/v1/merges/{merge['id']}/undo", {}).status_code == 200
    assert people.post("/api/v1/contacts/duplicates/merge", {"suggestion": "nonsense"}).status_code == 422
