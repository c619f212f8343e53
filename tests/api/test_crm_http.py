"""CRMs over HTTP: pulling, pushing, asking, and webhooks that need no key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tailorbird.api.security import Keyring
from tailorbird.connectors.memory import MemoryCrm
from tailorbird.crm.model import Row
from tailorbird.engine import Engine


@pytest.fixture
def crm() -> MemoryCrm:
    return MemoryCrm("memory")


@pytest.fixture
def live(tmp_path: Path, crm: MemoryCrm, serve: Callable[..., Any]) -> Iterator[Any]:
    with Engine.open(str(tmp_path / "crm.db"), connectors={}, crm={"memory": crm}) as engine:
        yield serve(engine)


def add(crm: MemoryCrm, **values: Any) -> str:
    return crm.create(Row(key="k", values=values)).id or ""


def test_a_crm_is_pulled_pushed_and_asked(live: Any, crm: MemoryCrm) -> None:
    ann = add(crm, email="ann@example.org", city="Lyon")
    assert live.post("/api/v1/crm/memory/pull", {"full": True}).json()["created"] == 1
    live.engine.identify("email:ann@example.org", attributes={"city": "Nice"})
    planned = live.post("/api/v1/crm/memory/push", {"dry_run": True}).json()
    assert planned["rows"][0]["values"] == {"city": "Nice"}
    assert live.post("/api/v1/crm/memory/push", {}).json()["written"] == 1
    assert [r["id"] for r in live.get("/api/v1/crm/memory/records", city="Nice")["items"]] == [ann]
    assert live.get(f"/api/v1/crm/memory/records/{ann}")["email"] == "ann@example.org"
    assert live.client.get("/api/v1/crm/memory/records/404").status_code == 404
    assert live.post(f"/api/v1/crm/memory/records/{ann}", {"attributes": {"title": "CTO"}}).json()["id"] == ann
    made = live.post("/api/v1/crm/memory/records", {"attributes": {"email": "bob@example.org"}}).json()
    assert made["created"] is True
    assert live.get("/api/v1/crm/memory/conflicts") == {"items": [], "next": None}
    assert live.client.get("/api/v1/crm/nobody/conflicts").status_code == 404


def test_a_signed_webhook_needs_no_key_and_anything_else_does(live: Any, crm: MemoryCrm) -> None:
    Keyring(live.engine.store).create("ops", ["admin"], live.engine.now())
    live.wait_for_keys()
    call = crm.signed(add(crm, email="ann@example.org"))
    headers = {**call.headers, "content-type": "text/plain", "host": "crm.example.com"}
    path = "/api/v1/crm/memory/webhook"
    assert live.client.post(path, content=call.body, headers=headers).json() == {"news": 1}
    assert live.client.post(path, content=call.body, headers=headers).json() == {"news": 0}
    refused = live.client.post(path, content=call.body + b" ", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (401, "webhook_refused")
    assert live.client.post("/api/v1/crm/memory/pull", json={}).status_code == 401
    assert live.client.post(path, content=b"x" * 1_100_000, headers=headers).status_code == 413
