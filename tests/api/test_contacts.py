"""The small CRM over HTTP."""

from __future__ import annotations

import pytest

from api.conftest import Live


@pytest.fixture
def ann(live: Live) -> Live:
    live.engine.identify("ann", identifiers={"email": "ann@acme.io"})
    return live


def test_a_contact_is_engaged_moved_back_and_won(ann: Live) -> None:
    done = ann.post("/api/v1/contacts/ann/engagements", {"type": "reply_received", "metadata": {"text": "I love it"}})
    assert done.status_code == 200, done.text
    assert ann.get("/api/v1/contacts/ann/stage")["stage"] == "engaged"
    assert ann.post("/api/v1/contacts/ann/stage", {"stage": "new"}).status_code == 409
    assert ann.post("/api/v1/contacts/ann/stage", {"stage": "new", "reason": "a test"}).json()["stage"] == "new"
    deal = ann.post("/api/v1/contacts/ann/deals", {"name": "Toys", "amount": 10, "currency": "EUR"}).json()
    assert ann.post(f"/api/v1/deals/{deal['id']}/move", {"stage": "proposal"}).json()["probability"] == 0.5
    assert ann.get("/api/v1/pipeline")["items"][0]["weighted"] == 5.0
    assert ann.post(f"/api/v1/deals/{deal['id']}/win", {}).json()["status"] == "won"
    assert ann.post(f"/api/v1/deals/{deal['id']}/lose", {}).status_code == 409
    assert ann.get("/api/v1/contacts/ann/stage")["moves"][0]["to"] == "converted"
    assert [d["name"] for d in ann.get("/api/v1/deals", status="won", ref="ann")["items"]] == ["Toys"]


def test_notes_and_tasks_are_written_and_listed_page_by_page(ann: Live) -> None:
    assert ann.post("/api/v1/contacts/ann/notes", {"text": "hello", "by": "bob"}).json()["by"] == "bob"
    assert [n["text"] for n in ann.get("/api/v1/contacts/ann/notes")["items"]] == ["hello"]
    for title in ("one", "two", "three"):
        assert ann.post("/api/v1/contacts/ann/tasks", {"title": title, "due": "2030-01-01", "assignee": "bob"}).status_code == 200
    page = ann.get("/api/v1/tasks", limit=2, assignee="bob", status="open")
    rest = ann.get("/api/v1/tasks", limit=2, assignee="bob", after=page["next"])
    assert len(page["items"]) == 2 and len(rest["items"]) == 1 and rest["next"] is None
    ids = [task["id"] for task in (*page["items"], *rest["items"])]
    assert ann.post(f"/api/v1/tasks/{ids[0]}/complete", {"reason": "sent"}).json()["outcome"] == "sent"
    assert ann.post(f"/api/v1/tasks/{ids[1]}/cancel", {}).json()["status"] == "cancelled"
    assert len(ann.get("/api/v1/tasks", status="open")["items"]) == 1
    assert ann.post("/api/v1/tasks/none/complete", {}).status_code == 404


def test_a_company_has_its_contacts(ann: Live) -> None:
    found = ann.post("/api/v1/contacts/ann/company", {"attributes": {"name": "Acme"}})
    assert [c["stage"] for c in found.json()["items"]] == ["new"]
    assert len(ann.get("/api/v1/companies/acme.io/contacts")["items"]) == 1
    assert ann.client.get("/api/v1/companies/nobody/contacts").status_code == 404
    assert ann.client.get("/api/v1/tasks", params={"after": "x"}).status_code == 422


def test_bodies_of_the_wrong_form_are_refused(ann: Live) -> None:
    for path, body in (
        ("contacts/ann/stage", {"stage": "new", "more": 1}), ("contacts/ann/stage", {"stage": "nowhere"}),
        ("contacts/ann/notes", {"text": ""}), ("contacts/ann/tasks", {"title": "x", "due": "soon"}),
        ("contacts/ann/deals", {"name": "x", "amount": -1}), ("contacts/ann/engagements", {"type": "segment.entered"}),
    ):  # fmt: skip
        assert ann.post(f"/api/v1/{path}", body).status_code == 422, path
