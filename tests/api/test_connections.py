"""Connections over HTTP: made and removed by admins, read by others, and never a secret in an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from acme_crm import ACME
from api.conftest import Live, running
from tailorbird.engine import Engine
from tailorbird.storage.secrets import fresh_key
from token_server import CLIENT, CLIENT_SECRET, TokenServer, vendor


@pytest.fixture
def acme() -> Iterator[TokenServer]:
    with vendor() as running:
        running.valid.add("key-secret-1")
        yield running


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    monkeypatch.setenv("TAILORBIRD_VAULT_KEY", fresh_key())
    with Engine.open(str(tmp_path / "served.db"), crm={"acme": ACME}) as engine, running(engine) as server:
        yield server


def test_a_connection_is_made_listed_and_removed_and_its_key_is_in_no_answer(live: Live, acme: TokenServer) -> None:
    body = {"provider": "acme", "secret": {"key": "key-secret-1"}, "settings": {"url": acme.url}}
    made = live.post("/api/v1/connections", body)
    assert made.status_code == 200, made.text
    assert made.json() == {
        "name": "acme", "provider": "acme", "status": "connected", "settings": {"url": acme.url}, "error": None, "resumes_at": None,
        "created_at": made.json()["created_at"], "changed_at": made.json()["changed_at"],
    }  # fmt: skip
    listed = live.client.get("/api/v1/connections")
    assert [item["name"] for item in listed.json()["items"]] == ["acme"]
    tried = live.post("/api/v1/connections/acme/test", None)
    assert tried.json() == {"account": "Acme", "user": "ann"}
    assert live.post("/api/v1/connections/acme/pause", None).json()["status"] == "paused"
    assert live.post("/api/v1/connections/acme/resume", None).json()["status"] == "connected"
    gone = live.client.delete("/api/v1/connections/acme")
    assert gone.json()["items"] == []
    assert live.client.delete("/api/v1/connections/acme").status_code == 404
    said = made.text + listed.text + tried.text + gone.text + live.log.getvalue()
    assert "key-secret-1" not in said


def test_what_the_crm_refuses_is_told_and_not_kept(live: Live, acme: TokenServer) -> None:
    answer = live.post(
        "/api/v1/connections", {"provider": "acme", "secret": {"key": "wrong-secret"}, "settings": {"url": acme.url}}
    )
    assert (answer.status_code, answer.json()["code"]) == (502, "remote_auth_expired")
    assert "wrong-secret" not in answer.text
    assert live.get("/api/v1/connections")["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"provider": "nobody", "secret": {"key": "the-secret"}},
        {"provider": "acme", "secret": {"key": ["the-secret"]}},
        {"provider": "acme", "secret": "the-secret"},
        {"provider": "acme", "name": "No Name", "secret": {"key": "the-secret"}},
        {"provider": "acme", "secret": {"key": "the-secret"}, "settings": {"url": "http://10.0.0.1/"}},
    ],
)
def test_what_is_refused_is_refused_without_showing_the_secret(live: Live, body: dict[str, object]) -> None:
    answer = live.post("/api/v1/connections", body)
    assert answer.status_code == 422, answer.text
    assert "the-secret" not in answer.text + live.log.getvalue()


def test_a_provider_that_is_not_supported_is_said(live: Live) -> None:
    answer = live.post("/api/v1/connections", {"provider": "nobody", "secret": {"key": "k"}})
    assert answer.json()["detail"] == "Unsupported CRM provider: nobody"


def test_a_person_comes_back_to_the_callback_once_from_another_site_and_without_a_key(live: Live, acme: TokenServer) -> None:
    back = f"{live.url}/api/v1/connections/callback"
    begun = live.post(
        "/api/v1/connections/authorize",
        {
            "provider": "acme", "secret": {"client_id": CLIENT, "client_secret": CLIENT_SECRET}, "settings": {"url": acme.url},
            "redirect_uri": back,
        },
    )  # fmt: skip
    assert begun.status_code == 200, begun.text
    assert CLIENT_SECRET not in begun.text
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.json()["url"]).query).items()}
    acme.allow("code-secret-1", asked["code_challenge"], back)
    come = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    wrong = live.client.get(back, params={"code": "code-secret-1", "state": "x" * 43}, headers=come)
    assert wrong.status_code == 422
    good = live.client.get(back, params={"code": "code-secret-1", "state": asked["state"]}, headers=come)
    assert (good.status_code, good.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "acme is connected" in good.text
    again = live.client.get(back, params={"code": "code-secret-1", "state": asked["state"]}, headers=come)
    assert again.status_code == 422
    assert live.get("/api/v1/connections")["items"][0]["status"] == "connected"
    said = wrong.text + good.text + again.text + live.log.getvalue()
    assert not [text for text in ("code-secret-1", "access-token", "refresh-token", asked["state"]) if text in said]
    assert live.client.get("/api/v1/connections", headers=come).status_code == 403  # only the callback may be come to


def test_a_person_who_does_not_allow_access_sees_so_and_what_they_brought_is_shown_as_text(live: Live, acme: TokenServer) -> None:
    back = f"{live.url}/api/v1/connections/callback"
    body = {"provider": "acme", "secret": {"client_id": CLIENT}, "settings": {"url": acme.url}, "redirect_uri": back}
    begun = live.post("/api/v1/connections/authorize", body)
    state = parse_qs(urlsplit(begun.json()["url"]).query)["state"][0]
    page = live.client.get(back, params={"error": "<script>no</script>", "state": state})
    assert page.status_code == 422
    assert "<script>" not in page.text
    assert "was not allowed" in page.text
    assert live.get("/api/v1/connections")["items"] == []


def test_connecting_and_removing_need_the_scope_admin(live: Live) -> None:
    tokens = {}
    for scope in ("admin", "write", "read"):
        headers = {"authorization": f"Bearer {tokens['admin']}"} if tokens else {}
        made = live.client.post("/api/v1/keys", json={"name": scope, "scopes": [scope]}, headers=headers)
        tokens[scope] = made.json()["token"]
    live.wait_for_keys()
    as_writer = {"authorization": f"Bearer {tokens['write']}"}
    for path in ("/api/v1/connections", "/api/v1/connections/authorize"):
        assert live.client.post(path, json={}, headers=as_writer).status_code == 403
    assert live.client.delete("/api/v1/connections/acme", headers=as_writer).status_code == 403
    as_reader = {"authorization": f"Bearer {tokens['read']}"}
    assert live.client.get("/api/v1/connections", headers=as_reader).status_code == 200
    assert live.client.post("/api/v1/connections/acme/pause", headers=as_reader).status_code == 403
    as_admin = {"authorization": f"Bearer {tokens['admin']}"}
    assert live.client.post("/api/v1/connections", json={"provider": "nobody"}, headers=as_admin).status_code == 422


def test_without_the_vaults_key_the_server_says_so_and_serves_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.delenv("TAILORBIRD_VAULT_KEY", raising=False)
    with Engine.open(str(tmp_path / "served.db"), crm={"acme": ACME}) as engine, running(engine) as live:
        assert live.get("/api/v1/connections")["items"] == []
        answer = live.post("/api/v1/connections", {"provider": "acme", "secret": {"key": "k"}, "test": False})
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "tailorbird vault key" in answer.json()["hint"]
        assert live.client.get("/health").status_code == 200
        assert live.get("/api/v1/connections")["items"] == []
