"""No secret of a connection is in anything that a run printed, logged, answered, raised or stored."""

from __future__ import annotations

import logging
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from acme_crm import ACME
from api.conftest import Live, running
from tailorbird.core.connection import ConnectionStatus
from tailorbird.core.context import ManualClock
from tailorbird.engine import Engine
from tailorbird.errors import TailorbirdError
from tailorbird.storage.secrets import fresh_key
from token_server import CLIENT, CLIENT_SECRET, TokenServer, vendor

KEY, WRONG, HOOK = "key-secret-1", "wrong-secret-2", "hook-secret-3"
CODE = "code-secret-4"


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with vendor() as running_vendor:
        running_vendor.valid.add(KEY)
        yield running_vendor


def test_no_secret_is_in_anything_that_a_run_printed_logged_answered_raised_or_stored(
    server: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    vault_key = fresh_key()
    monkeypatch.setenv("TAILORBIRD_VAULT_KEY", vault_key)
    clock = ManualClock(1_800_000_000_000)
    said: list[str] = []

    def failing(call: Callable[[], Any]) -> None:
        try:
            call()
        except TailorbirdError as error:
            said.extend([str(error), repr(error), error.hint, "".join(traceback.format_exception(error))])
        else:
            pytest.fail("it did not fail")

    with Engine.open(str(tmp_path / "told.db"), clock=clock, crm={"acme": ACME}) as engine, running(engine) as live:
        connections = engine.connections
        plain = {"url": server.url}
        answered = [
            live.post(
                "/api/v1/connections", {"provider": "acme", "secret": {"key": KEY, "webhook_secret": HOOK}, "settings": plain}
            ),
            live.post("/api/v1/connections", {"provider": "acme", "secret": {"key": WRONG}, "settings": plain}),
            live.post("/api/v1/connections", {"provider": "acme", "secret": {"key": 7, "more": WRONG}, "settings": plain}),
            live.post("/api/v1/connections", {"provider": "acme", "name": "UPPER", "secret": {"key": WRONG}}),
        ]
        failing(lambda: connections.connect("acme", secret={"key": WRONG}, settings=plain))
        said += [repr(connections.open("acme")), repr(connections.vault), repr(connections.vault.read("acme"))]

        back = f"{live.url}/api/v1/connections/callback"
        page = connections.begin(
            "acme", "byoauth", secret={"client_id": CLIENT, "client_secret": CLIENT_SECRET}, settings=plain, redirect_uri=back
        )
        said.append(repr(page))
        challenge = page.url.partition("code_challenge=")[2].partition("&")[0]
        server.allow(CODE, challenge, back)
        answered += [_come(live, CODE, page.state), _come(live, CODE, page.state)]
        connections.open("byoauth").test()
        clock.move_to(clock.now() + 3_600_000)
        connections.open("byoauth").test()
        server.revoked = True
        clock.move_to(clock.now() + 3_600_000)
        failing(lambda: connections.test("byoauth"))
        answered += [live.post("/api/v1/connections/byoauth/test", None), live.client.get("/api/v1/connections")]
        assert connections.get("byoauth").status == ConnectionStatus.UNAUTHORISED
        monkeypatch.setenv("TAILORBIRD_VAULT_KEY", "bm8ga2V5")
        with Engine.open(str(tmp_path / "told.db"), clock=clock, crm={"acme": ACME}) as other:
            failing(lambda: other.connections.open("acme"))
        said += [repr(found) for found in (*engine.log(), *connections.list(), connections._authorising)]
        said += [msgspec.json.encode(item).decode() for item in engine.log()]
        said += [answer.text + str(answer.headers) for answer in answered]
        answered.append(live.client.delete("/api/v1/connections/byoauth"))
        said.append(live.log.getvalue())
        stored = _stored(tmp_path)
    printed = capfd.readouterr()
    said += [printed.out, printed.err, *(record.getMessage() for record in caplog.records)]

    assert server.given == 2
    assert [answer.status_code for answer in answered] == [200, 502, 422, 422, 200, 422, 502, 200, 200]
    tokens = [f"{kind}-token-{number}" for kind in ("access", "refresh") for number in range(1, server.given + 1)]
    secrets = [
        KEY,
        WRONG,
        HOOK,
        CODE,
        CLIENT_SECRET,
        page.state,
        vault_key,
        *tokens,
        *(form.get("code_verifier", "none at all") for form in server.asked),
    ]
    secrets += [b64encode(text.encode()).decode() for text in secrets]
    everything = "\n".join(said)
    assert "acme" in everything
    assert [text for text in secrets if text in everything] == []
    assert b"acme" in stored
    assert [text for text in secrets if text.encode() in stored] == []


def _come(live: Live, code: str, state: str) -> Any:
    return live.client.get("/api/v1/connections/callback", params={"code": code, "state": state})


def _stored(folder: Path) -> bytes:
    """Return all that is in the files of the database, while it is open and afterwards."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
