"""Who may call: keys and their scopes, loopback without keys, and nothing personal or secret in the log."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.conftest import Live, running
from tailorbird.api.guard import scope_of
from tailorbird.api.logs import fault, open_log
from tailorbird.api.security import SCOPES, Keyring, Unauthorized, is_loopback, token_of
from tailorbird.api.server import check_listening, serve
from tailorbird.core.context import DAY, ManualClock
from tailorbird.engine import Engine
from tailorbird.errors import Forbidden, InvalidInput, NotFound

EVENT = {"type": "x", "profile": "ann"}


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    with Engine.open(str(tmp_path / "keys.db")) as opened:
        yield opened


@pytest.fixture
def keyring(engine: Engine) -> Keyring:
    return Keyring(engine.store)


# ---- keys


def test_a_key_is_stored_as_a_hash_only(engine: Engine, keyring: Keyring) -> None:
    token = keyring.create("site", ["ingest"], 1)
    prefix, identity, secret = token.split("_", 2)
    assert prefix == "tb" and keyring.allow(token, "ingest", 2) == identity
    row = engine.store.keys()[0]
    assert secret not in str(row) and token not in str(row) and len(str(row["hash"])) == 64
    assert "hash" not in keyring.listing()[0]


@pytest.mark.parametrize(
    ("have", "may"),
    [("ingest", {"ingest"}), ("read", {"read"}), ("write", {"ingest", "read", "write"}), ("admin", set(SCOPES))],
)
def test_a_scope_grants_what_it_says_and_no_more(keyring: Keyring, have: str, may: set[str]) -> None:
    token = keyring.create("k", [have], 1)
    for scope in SCOPES:
        if scope in may:
            keyring.allow(token, scope, 2)
        else:
            with pytest.raises(Forbidden, match=scope):
                keyring.allow(token, scope, 2)


def test_a_key_expires_is_rotated_and_revoked(keyring: Keyring) -> None:
    token = keyring.create("k", ["read"], 0, expires_at=100)
    keyring.allow(token, "read", 99)
    with pytest.raises(Unauthorized):
        keyring.allow(token, "read", 100)
    old = keyring.create("k2", ["read"], 0)
    new = keyring.rotate(old.split("_")[1], 10, grace=DAY)
    assert keyring.allow(old, "read", 11) != keyring.allow(new, "read", 11)
    with pytest.raises(Unauthorized):
        keyring.allow(old, "read", 10 + DAY)
    keyring.revoke(new.split("_")[1], 20)
    with pytest.raises(Unauthorized):
        keyring.allow(new, "read", 21)
    with pytest.raises(NotFound):
        keyring.revoke("nobody", 1)


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "x", lambda t: t.replace("tb_", "tc_"), lambda _: "", lambda _: "tb__"]
)
def test_a_token_that_differs_in_anything_is_refused(keyring: Keyring, change: Callable[[str], str]) -> None:
    token = keyring.create("k", ["admin"], 1)
    with pytest.raises(Unauthorized):
        keyring.allow(change(token), "read", 2)


def test_unknown_scopes_are_named(keyring: Keyring) -> None:
    with pytest.raises(InvalidInput, match="everything"):
        keyring.create("k", ["everything"], 1)


def test_keys_come_as_bearer_or_as_the_user_of_basic() -> None:
    def basic(text: str) -> bytes:
        return b"Basic " + base64.b64encode(text.encode())

    assert token_of([(b"authorization", b"Bearer tb_1_2")]) == "tb_1_2"
    assert token_of([(b"authorization", basic("tb_1_2:"))]) == "tb_1_2"
    assert token_of([(b"authorization", basic(":tb_1_2"))]) == "tb_1_2"
    for value in (b"Basic ???", b"Digest x", b"", b"Basic /w=="):
        assert token_of([(b"authorization", value)]) is None
    assert token_of([]) is None


# ---- over HTTP


def test_every_route_asks_for_its_scope(serve: Callable[..., Live]) -> None:
    live = serve()
    keyring = Keyring(live.engine.store)
    tokens = {scope: keyring.create(scope, [scope], live.engine.now()) for scope in SCOPES}
    live.wait_for_keys()
    paths = live.client.get("/openapi.json").json()["paths"]
    grants = {"ingest": {"ingest"}, "read": {"read"}, "write": {"ingest", "read", "write"}, "admin": set(SCOPES)}
    for path, methods in paths.items():
        for method in methods:
            needed = scope_of(method.upper(), path)
            address = path.replace("{", "").replace("}", "")
            bare = live.client.request(method, address)
            assert (bare.status_code == 401) == (needed is not None), (method, path, bare.status_code)
            if needed is None:
                continue
            assert bare.headers["www-authenticate"].startswith("Bearer")
            for scope, token in tokens.items():
                answer = live.client.request(method, address, headers={"Authorization": f"Bearer {token}"})
                refused = answer.status_code in (401, 403)
                assert refused == (needed not in grants[scope]), (method, path, scope, answer.text)
                if path.startswith("/api/v1/keys/") and method == "delete":
                    break


def test_a_segment_write_key_is_the_user_of_basic_authentication(serve: Callable[..., Live]) -> None:
    live = serve()
    token = Keyring(live.engine.store).create("site", ["ingest"], live.engine.now())
    live.wait_for_keys()
    call = {"userId": "ann", "event": "x"}
    assert live.client.post("/v1/track", json=call, auth=(token, "")).status_code == 200
    assert live.client.post("/v1/track", json=call, auth=("wrong", "")).status_code == 401
    assert live.client.post("/v1/track", json=call).status_code == 401
    assert live.client.get("/api/v1/profiles/ann", auth=(token, "")).status_code == 403


def test_a_key_revoked_elsewhere_is_refused_within_seconds(serve: Callable[..., Live]) -> None:
    live = serve()
    keyring = Keyring(live.engine.store)
    token = keyring.create("reader", ["read"], live.engine.now())
    keyring.create("other", ["admin"], live.engine.now())
    live.wait_for_keys()
    live.client.headers["Authorization"] = f"Bearer {token}"
    live.get("/api/v1/segments")
    keyring.revoke(token.split("_")[1], live.engine.now())
    live.wait_for_keys()


def test_keys_are_managed_over_http_by_an_admin(live: Live) -> None:
    token = live.post("/api/v1/keys", {"name": "first", "scopes": ["admin"]}).json()["token"]
    assert live.client.get("/api/v1/keys").status_code == 401  # from now on a key is needed
    live.client.headers["Authorization"] = f"Bearer {token}"
    assert [k["name"] for k in live.get("/api/v1/keys")["items"]] == ["first"]
    reader = live.post("/api/v1/keys", {"name": "r", "scopes": ["read"], "expires_at": "2100-01-01"}).json()["token"]
    identity = reader.split("_")[1]
    rotated = live.post(f"/api/v1/keys/{identity}/rotate", {"grace": 0}).json()["token"]
    assert httpx2.get(f"{live.url}/api/v1/segments", headers={"Authorization": f"Bearer {reader}"}).status_code == 401
    assert httpx2.get(f"{live.url}/api/v1/segments", headers={"Authorization": f"Bearer {rotated}"}).status_code == 200
    assert live.client.delete(f"/api/v1/keys/{rotated.split('_')[1]}").status_code == 200
    assert live.post("/api/v1/keys", {"name": "r", "scopes": ["all"]}).status_code == 422


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403), ({"Host": "127.0.0.1.evil.example"}, 403), ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8321"}, 200), ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:8321"}, 200), ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200), ({"Sec-Fetch-Site": "none"}, 200), ({}, 200),
    ],
)  # fmt: skip
def test_without_keys_no_web_page_of_another_site_gets_in(live: Live, headers: dict[str, str], status: int) -> None:
    for method, path in (("GET", "/"), ("GET", "/api/v1/segments"), ("GET", "/openapi.json")):
        assert live.client.request(method, path, headers=headers).status_code == status
    assert live.client.post("/api/v1/events", json=EVENT, headers=headers).status_code == status
    answer = live.client.get("/", headers=headers)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_listening_beyond_loopback_is_refused_without_keys(engine: Engine, host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(Forbidden, match="tailorbird keys create shop --scope ingest"):
        serve(engine, host=host, port=0)
    keyring = Keyring(engine.store)
    assert check_listening(keyring, "127.0.0.1") and check_listening(keyring, "localhost") and check_listening(keyring, "::1")
    keyring.create("k", ["ingest"], 1)
    assert check_listening(keyring, host) is False


def test_beyond_loopback_nobody_gets_in_when_the_last_key_is_revoked(serve: Callable[..., Live]) -> None:
    live = serve(local=False)
    assert live.client.post("/api/v1/events", json=EVENT).status_code == 401
    assert live.client.get("/health").status_code == 200


def test_a_port_that_is_taken_is_said_in_a_sentence(live: Live, engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="Address already in use"):
        serve(engine, port=int(live.url.rpartition(":")[2]))


# ---- the log


def test_nothing_personal_or_secret_is_logged(serve: Callable[..., Live], capfd: pytest.CaptureFixture[str]) -> None:
    live = serve()
    person, secret = "planted.person@example.org", "tb_planted_secretsecret"
    headers = {"Authorization": f"Bearer {secret}"}
    for _ in range(2):
        live.post("/v1/identify", {"userId": person, "traits": {"email": person, "phone": "+33612345678"}}, headers=headers)
        live.post("/api/v1/events", {"type": "x", "profile": f"email:{person}", "data": {"note": person}}, headers=headers)
        live.client.get(f"/api/v1/profiles/email:{person}?x={person}", headers=headers)
        live.client.get(f"/api/v1/profiles/email:{person}/features?names={person}", headers=headers)
        live.post("/api/v1/evaluate", {"expression": f'email = "{person}" and'}, headers=headers)
        live.client.post("/v1/track", content=f'{{"userId": "{person}"', headers=headers)
        live.post("/api/v1/actions", {"key": "k", "kind": "a.b", "connector": "log", "payload": {"to": person}}, headers=headers)
        live.client.get("/metrics")
        token = Keyring(live.engine.store).create(person, ["admin"], live.engine.now())
    said = live.log.getvalue() + "".join(capfd.readouterr()) + live.client.get("/health").text
    for word in (person, "planted", secret, "33612345678", token, token.rpartition("_")[2]):
        assert word not in said


def test_a_defect_is_logged_by_its_kind_and_place_only() -> None:
    stream = io.StringIO()
    log = open_log(to=stream)
    try:
        raise KeyError("ann@example.org")
    except KeyError as error:
        fault(log, "api", error)
    row = json.loads(stream.getvalue())
    assert row["error"] == "KeyError" and row["where"] == "api" and "ann@" not in stream.getvalue()
    assert any("test_a_defect" in line for line in row["lines"])


def test_a_defect_answers_with_a_problem_and_is_counted(serve: Callable[..., Live], tmp_path: Path) -> None:
    class Broken(Engine):
        def segments(self) -> Any:
            raise KeyError("ann@example.org")

        def read_features(self, *_: Any, **__: Any) -> Any:
            raise KeyError("ann@example.org")

    with Broken.open(str(tmp_path / "broken.db")) as engine, running(engine) as live:
        for path in ("/api/v1/segments", "/api/v1/profiles/ann/features"):
            answer = live.client.get(path)
            assert answer.status_code == 500 and answer.json()["code"] == "error" and "ann@" not in answer.text
        assert "ann@" not in live.log.getvalue() and live.log.getvalue().count("fault") == 2
        assert 'tailorbird_faults_total{where="api"} 1.0' in live.client.get("/metrics").text


def test_the_clock_of_the_engine_decides_when_keys_expire(tmp_path: Path) -> None:
    clock = ManualClock(1_000)
    with Engine.open(str(tmp_path / "clock.db"), clock=clock) as engine:
        token = Keyring(engine.store).create("k", ["read"], 1_000, expires_at=2_000)
        headers = {"Authorization": f"Bearer {token}"}
        with running(engine) as live:
            assert live.client.get("/api/v1/segments", headers=headers).status_code == 200
            clock.move_to(2_000)
            assert live.client.get("/api/v1/segments", headers=headers).status_code == 401


def test_revoking_the_last_key_does_not_open_a_server_that_had_keys(engine: Engine) -> None:
    keyring = Keyring(engine.store)
    token = keyring.create("only", ["admin"], engine.now())
    keyring.revoke(token.split("_")[1], engine.now())
    with running(engine) as live:
        assert live.client.get("/api/v1/segments").status_code == 401
